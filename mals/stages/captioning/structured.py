"""Captions as a field of a JSON answer, whose schema is checked here: some servers ignore what they were asked for."""

import json
from typing import Any

from mals.errors import UserError


def check_schema(schema: dict[str, Any], field: str, name: str) -> None:
    """Raise UserError for what is no JSON Schema of an object with the caption as a text in `field`; `name` says whose it is."""
    from jsonschema.exceptions import SchemaError

    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        raise UserError(f"json_schema of {name} is no JSON Schema: {error.message}") from None
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get(field), dict):
        raise UserError(f"json_schema of {name} has no property {field}, to hold the caption; add it, or set json_field to another one")


def caption_in(raw: str, schema: dict[str, Any], field: str) -> str | None:
    """The caption in an answer; None where that is no JSON of the schema, or its caption is no text.

    Raises UserError for a schema that refers to another one, which is not fetched.
    """
    from jsonschema.exceptions import ValidationError, best_match
    from referencing.exceptions import Unresolvable

    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    try:
        error: ValidationError | None = best_match(_validator(schema).iter_errors(answer))
    except Unresolvable as unresolvable:
        raise UserError(f"json_schema of a captioner refers to {unresolvable.ref}, which is not in it; add that") from None
    except RecursionError:
        return None
    if error is not None or not isinstance(answer, dict):
        return None
    caption = answer.get(field)
    return caption if isinstance(caption, str) else None


def _validator(schema: dict[str, Any]) -> Any:
    """A validator of the schema's own draft that fetches nothing from the network."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
