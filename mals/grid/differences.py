"""What differs between two settings, for messages."""

import json
from typing import Any


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What differs between two JSON trees, as "a.b: 3 -> 5"."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            lines += differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for at, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{path}.{at}")]
    return [] if old == new else [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
