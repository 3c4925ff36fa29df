"""`python -m tests.fuzz [KIND ...] [--count 10000] [--start N]`: more inputs than the tests have; other ones for each --start."""

import argparse
import time

from tests.fuzz import KINDS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"one of {', '.join(KINDS)}; all where none is given")
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each kind")
    parser.add_argument("--start", type=int, default=None, help="a number for other inputs than those of the tests")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    for kind in options.kinds or KINDS:
        began = time.monotonic()
        run(kind, options.count, options.start)
        print(f"{kind}: {options.count:,} inputs, none taken or refused otherwise than it should be; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
