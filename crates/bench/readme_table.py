#!/usr/bin/env python3
"""Measures with `veilsum bench` and writes the table of times into README.md, the comparison with Bulletproofs into
specs/benchmarks.md too.

    python3 crates/bench/readme_table.py             prints the table
    python3 crates/bench/readme_table.py --write     writes it into both pages
    python3 crates/bench/readme_table.py --runs 9    more runs of each line; the least of each figure counts

Machine, compiler, commit and command stand with the table: without them a figure is a rumour (`specs/benchmarks.md`). Each line
has the time of one curve25519-dalek point addition of the same runs, in which the targets are set.
"""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "specs" / "benchmarks.md"
# Coordinates, committee, threads, backend.
LINES = [
    (1_000, "20,14", 1, "auto"),
    (1_000, "20,14", 1, "portable"),
    (1_000, "64,46", 1, "auto"),
    (20_000, "64,46", 1, "auto"),
    (100_000, "64,46", 1, "auto"),
    (100_000, "64,46", 4, "auto"),
    (100_000, "64,46", 1, "portable"),
    (1_000_000, "64,46", 1, "auto"),
    (1_000_000, "64,46", 4, "auto"),
    (1_000_000, "64,46", 1, "portable"),
]
NAMES = {"avx512ifma": "IFMA", "portable": "portable"}


def output(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def measure(binary, line, runs):
    dim, committee, threads, backend = line
    command = [binary, "bench", "--dim", str(dim), "--committee", committee, "--threads", str(threads)]
    command += ["--backend", backend, "--json"]
    reports = [json.loads(output(*command).splitlines()[-1]) for _ in range(runs)]
    if not all(r["sum_exact"] for r in reports):
        raise SystemExit(f"a sum of {dim} coordinates was not exact")
    best = {key: min(r[key] for r in reports) for key in ("client_seconds", "verify_seconds_per_client")}
    addition = min(r["baselines"]["point_add_ns"] for r in reports)
    client, verify = best["client_seconds"], best["verify_seconds_per_client"]
    ms = lambda s: f"{s * 1e3:.1f} ms" if s < 0.02 else f"{s * 1e3:.0f} ms"
    ratio = lambda s: f"{s * 1e3 / addition:.2f} M"
    return [
        f"{dim:,}".replace(",", " "),
        committee.replace(",", ", "),
        str(threads),
        NAMES[reports[0]["backend"]],
        f"{ms(client)} ({ratio(client)})",
        f"{ms(verify)} ({ratio(verify)})",
        f"{reports[0]['client_peak_bytes'] / 2**20:.1f} MiB",
    ], reports


def bulletproofs(measured):
    """What aggregated Bulletproofs take for each coordinate against the clients of a million, everything from the same runs."""
    reports = [r for found in measured.values() for r in found]
    theirs = min(r["baselines"]["bulletproofs_seconds_per_coordinate"] for r in reports)
    lines = []
    for (dim, _, threads, _), found in measured.items():
        if dim == 1_000_000 and threads == 1:
            ours = min(r["client_seconds"] for r in found) / dim
            ratio = f"{theirs / ours:,.0f}".replace(",", " ")
            lines.append(f"{ratio} times ({NAMES[found[0]['backend']]}, {ours * 1e6:.2f} µs)")
    return (
        "A range proof for each coordinate, 16-bit Bulletproofs aggregated 64 at a time (the `bulletproofs` crate, one thread, same runs), "
        f"takes {theirs * 1e3:.2f} ms a coordinate.\nA client at d = 1 000 000 on one thread, masking, norm proof and sharing included, "
        f"is faster a coordinate {' and '.join(lines)}."
    )


def replace(page, marker, text):
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    before, rest = page.read_text().split(begin)
    page.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end)[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--write", action="store_true")
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "veilsum-cli"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = str(target / "release" / "veilsum")
    rows, measured = [], {}
    for line in LINES:
        row, measured[line] = measure(binary, line, options.runs)
        rows.append("| " + " | ".join(row) + " |")
        print(rows[-1], flush=True)
    addition = min(r["baselines"]["point_add_ns"] for found in measured.values() for r in found)
    commit = output("git", "rev-parse", "--short=12", "HEAD").strip()
    if output("git", "status", "--porcelain", "--untracked-files=no").strip():
        commit += " with changes"
    head = [
        f"{processor()}, {os.cpu_count()} processors; {output('rustc', '--version').strip()}; commit {commit}.",
        f"`veilsum bench --dim D --committee M,T --threads N --backend B --json`, n_max 1024, B_x 32767, the least of {options.runs} runs.",
        f"In brackets: millions of point additions of curve25519-dalek, one of which took {addition:.0f} ns in the same runs.",
        "",
        "| coordinates | committee | threads | arithmetic | client | verification | client's peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    table = "\n".join(head + rows)
    comparison = bulletproofs(measured)
    if options.write:
        replace(README, "times", table + "\n\n" + comparison)
        replace(BENCHMARKS, "bulletproofs", head[0] + "\n" + comparison)
    else:
        print("\n" + table + "\n\n" + comparison)


main()
