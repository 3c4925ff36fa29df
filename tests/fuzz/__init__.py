"""Many inputs of a kind, made by hypothesis: each is taken or refused as its module says, and nothing else happens.

2,000 of each kind run with the tests, the same each time; `python -m tests.fuzz KIND --count 10000` runs more. A kind is a module here, in
KINDS, with

    EXAMPLES  a strategy of hypothesis that makes the inputs
    check     a function of one input; raises AssertionError where the product does something else than take or refuse it

An input that once failed becomes a test of the module that it failed in.
"""

from importlib import import_module

import hypothesis
from hypothesis import HealthCheck, Phase, given, seed

KINDS = ("captions", "images", "json_lists", "settings", "weights")


def run(kind: str, count: int, start: int | None = None) -> None:
    """Check `count` inputs of a kind: the same ones each time, or others for each number `start`."""
    module = import_module(f"tests.fuzz.{kind}")

    @hypothesis.settings(
        max_examples=count,
        derandomize=start is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(module.EXAMPLES)
    def check(example: object) -> None:
        module.check(example)

    (check if start is None else seed(start)(check))()
