#!/usr/bin/env python3
"""Verifies every vector of specs/vectors with nothing but specs/ and the Python standard library.

    verify.py                 all of them; the exit code is 1 unless each ends as its entry says
    verify.py ID [ID ...]     some of them
    verify.py --trace ID      the challenges of one contribution, as `veilsum inspect --params` prints them
    verify.py --compare VEILSUM
                              the challenges of all contributions, valid or not, beside what that program's `inspect` says
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

from veilsum_reference import codec, group, judge, primitives, vectors


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--trace"] and len(arguments) == 2:
        for label, value in judge.trace(arguments[1]) or []:
            print(f"{label}  {value.hex()}")
        return 0
    if arguments[:1] == ["--compare"] and len(arguments) == 2:
        return compare(arguments[1])
    if any(a.startswith("-") for a in arguments):
        sys.exit(__doc__)
    begin, wrong, done = time.monotonic(), [] if arguments else golden(), 0
    wanted = judge.select(arguments)
    with ProcessPoolExecutor() as pool:
        for results in pool.map(judge.batch, judge.batches(wanted)):
            for identifier, expected, got in results:
                done += 1
                if got != expected:
                    wrong.append(f"{identifier}: expected {expected}, got {got}")
    print("\n".join(wrong + [f"{done} of {len(wanted)} vectors, {len(wrong)} wrong, {time.monotonic() - begin:.0f} s"]))
    return 1 if wrong or done != len(wanted) or not done else 0


def golden():
    """What the wire crate froze: every message decodes and encodes to the same bytes, generators are those of the specs."""
    frozen, wrong, kinds = vectors.DIR.parents[1] / "crates/wire/tests/wire", [], set()
    for line in (frozen / "golden-messages.txt").read_text().splitlines():
        if not line.startswith("#"):
            kind, data = line.split()
            kinds.add(kind)
            try:
                codec.decode(kind, bytes.fromhex(data))
            except (codec.Malformed, AssertionError, KeyError) as error:
                wrong.append(f"golden {kind}: {error!r}")
    letters = {"Column": "G", "Row": "V", "Key": "W", "Mask": "Pi", "MaskBlinding": "Hpi"}
    count = 0
    for line in (frozen / "golden-constants.txt").read_text().splitlines():
        if line.startswith("generator") and len(line.split()) == 4:
            _, family, index, data = line.split()
            count += 1
            if group.encode(primitives.generator(letters[family], int(index))).hex() != data:
                wrong.append(f"golden generator {family} {index}")
    if kinds != codec.STRUCTURES.keys() - {"Beacon", "MemberSlot", "KnowledgeProof", "DleqProof", "Upload"} or not count:
        wrong.append("golden files: not every message is there")
    print(f"{len(kinds)} golden messages, {count} golden generators")
    return wrong


def compare(program):
    chosen = [v for v in judge.select([]) if v["kind"] == "contribution"]
    compared, without, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "upload")
        for vector in chosen:
            path.write_bytes(vectors.content(vector))
            params = vectors.DIR / judge.round_entry(vector["round"])["announcement"]
            command = [program, "inspect", path, "--as", "message", "--params", params, "--json"]
            done = subprocess.run(command, capture_output=True, text=True)
            shown = json.loads(done.stdout).get("challenges") if done.returncode == 0 else None
            theirs = [(c["label"], c["value"]) for c in shown] if isinstance(shown, list) else None
            own = judge.trace(vector["id"])
            own = own and [(label, value.hex()) for label, value in own]
            if own != theirs:
                first = next((i for i, (a, b) in enumerate(zip(own or [], theirs or [])) if a != b), "none")
                wrong.append(f"{vector['id']}: challenges differ, the first at {first}")
            compared, without = compared + (own is not None), without + (own is None)
    print("\n".join(wrong + [f"challenges of {compared} proofs compared, {without} do not decode, {len(wrong)} differ"]))
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
