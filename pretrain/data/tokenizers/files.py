"""Files of tokenizers: where they are, and what the library `tokenizers` reads."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers

from mals.errors import ModelMissing, UserError
from pretrain.weights import find_in_cache, names_a_file

SUFFIXES = (".json", ".txt")


def locate(source: str, names: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file that a source names: a file, a folder that has one of `names`, or a hub id in the Hugging Face cache."""
    path = Path(source).expanduser()
    if path.is_file():
        if not path.name.endswith(tuple(suffixes)):
            raise UserError(f"{source} is no tokenizer; that is {' or '.join(names)}")
        return path
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                return path / name
        raise UserError(f"the folder {source} has neither {' nor '.join(names)}")
    if (cached := find_in_cache(source, names, "the tokenizer ")) is not None:
        return cached
    own = "data.tokenizer=train makes one of the captions"
    if names_a_file(source, suffixes):
        raise ModelMissing(f"there is no tokenizer {source}: no file or folder of that name; {own}")
    raise ModelMissing(
        f"there is no tokenizer {source}: no file or folder of that name, and none in the Hugging Face cache; "
        f"`hf download {source} {names[0]}` fetches it, and {own}"
    )


def backend_of(content: dict[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer in the parsed content of a tokenizer.json; UserError where it is none."""
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises no other class
        raise UserError(f"not a tokenizer: {str(error).splitlines()[0]}") from None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; UserError where the file holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not a tokenizer: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError("not a tokenizer: no JSON object")
    return content


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the file's name before the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
