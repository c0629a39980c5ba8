#!/usr/bin/env python3
"""Verifies every vector of specs/vectors with nothing but specs/ and the Python standard library.

    verify.py                 all of them; the exit code is 1 unless each ends as its entry says
    verify.py ID [ID ...]     some of them
    verify.py --trace ID      the challenges of one contribution, as `veilsum inspect --trace` prints them
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor

from veilsum_reference import judge


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--trace"] and len(arguments) == 2:
        for label, value in judge.trace(arguments[1]):
            print(f"{label} {value.hex()}")
        return 0
    if any(a.startswith("-") for a in arguments):
        sys.exit(__doc__)
    begin, wrong, done = time.monotonic(), [], 0
    wanted = judge.select(arguments)
    with ProcessPoolExecutor() as pool:
        for results in pool.map(judge.batch, judge.batches(wanted)):
            for identifier, expected, got in results:
                done += 1
                if got != expected:
                    wrong.append(f"{identifier}: expected {expected}, got {got}")
    print("\n".join(wrong + [f"{done} of {len(wanted)} vectors, {len(wrong)} wrong, {time.monotonic() - begin:.0f} s"]))
    return 1 if wrong or done != len(wanted) or not done else 0


if __name__ == "__main__":
    sys.exit(main())
