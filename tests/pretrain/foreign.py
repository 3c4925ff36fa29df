"""What writes other projects' checkpoints in tests."""

from typing import Any


class EasyDict(dict[str, Any]):
    """The class of the library of that name: its entries are attributes too, and dicts in it become EasyDicts."""

    def __init__(self, entries: dict[str, Any]) -> None:
        for name, value in entries.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple):
            value = type(value)(EasyDict(part) if isinstance(part, dict) else part for part in value)
        elif isinstance(value, dict):
            value = EasyDict(value)
        super().__setattr__(name, value)
        super().__setitem__(name, value)

    __setitem__ = __setattr__


EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
