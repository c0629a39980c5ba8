#!/usr/bin/env python3
"""Instructions of the main kernels on the portable path, counted by valgrind.

Times on a shared machine vary by a factor of two; counts do not vary. A kernel's count is the difference between a run with
it and one that prepares everything and leaves it out.

    python3 specs/checks/instructions.py            prints the table and compares with specs/benchmarks.md
    python3 specs/checks/instructions.py --write    writes the table into specs/benchmarks.md

Exits with 1 when a kernel takes 10 % more than recorded. Needs valgrind; builds an example of `veilsum-simd`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "specs" / "benchmarks.md"
BEGIN, END = "<!-- instructions: begin -->", "<!-- instructions: end -->"
TOLERANCE = 1.10
# Kernel, items, what an item is.
KERNELS = [
    ("commit-16-bit", 8 * 256, "a coordinate"),
    ("same-scalar", 256, "a point"),
    ("decompress", 256, "a point"),
    ("double-and-compress", 256, "a point"),
    ("msm", 256, "a point"),
    ("dot", 256, "a product"),
    ("dot-integers", 256, "a product"),
    ("combine-integers", 16 * 256, "a product"),
    ("bind", 256, "an element"),
    ("subset-sums", 16 * 256, "an entry, 256 subsets"),
]


def count(binary, *arguments):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        sys.exit("valgrind printed no count:\n" + done.stderr)
    return int(found.group(1))


def main():
    build = ["cargo", "build", "--release", "--quiet", "-p", "veilsum-simd", "--example", "instructions"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = str(target / "release" / "examples" / "instructions")
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        sys.exit(f"{PAGE} has no place for the table")
    before, rest = page.split(BEGIN)
    recorded = dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \|", rest.split(END)[0], re.M))
    lines = ["| kernel, portable path | instructions | for |", "|---|---|---|"]
    worse = []
    for kernel, items, what in KERNELS:
        each = (count(binary, kernel) - count(binary, kernel, "base")) / items
        lines.append(f"| `{kernel}` | {each:.1f} | {what} |")
        old = float(recorded.get(kernel, "inf"))
        if each > old * TOLERANCE:
            worse.append(f"{kernel}: {each:.1f} instructions for {what}, {old:.1f} are recorded")
    print("\n".join(lines))
    if "--write" in sys.argv:
        table = "\n" + "\n".join(lines) + "\n"
        PAGE.write_text(before + BEGIN + table + END + rest.split(END)[1])
        return
    if worse:
        sys.exit("\n".join(worse))


main()
