"""What a command prints on stdout with --json: one JSON value, also where it fails."""

import json
import math
from pathlib import Path
from typing import Any

printed = False  # whether this process has printed its JSON, or a process that it started has


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in ASCII, which has no NaN and no infinity: they become null. Numbers of NumPy become numbers, paths texts."""
    return json.dumps(_finite(value), indent=indent, default=_plain, allow_nan=False)


def print_json(value: Any) -> None:
    """Print the result of a command."""
    global printed
    print(json_text(value), flush=True)
    printed = True


def show(value: Any, text: str, as_json: bool) -> None:
    """Print the result of a command: `value` as JSON, or else the text."""
    if as_json:
        print_json(value)
    else:
        print(text)


def print_error(sentence: str) -> None:
    """Print {"error": SENTENCE} if nothing else was printed."""
    if not printed:
        print_json({"error": sentence})


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """What JSON has for a value of another type."""
    if isinstance(value, Path):
        return str(value)
    return _finite(value.item() if getattr(value, "ndim", None) == 0 else value.tolist())
