#!/usr/bin/env python3
"""Checks the JSON that `veilsum demo --json` puts on the last line of its standard output.

usage: check_demo.py [--honest] FILE

Every sum must be exact. Without --honest each attacker of the default demo must have been rejected in every round, for
the reason that is its own, and nobody else; with --honest nobody may be rejected or accused.
"""

import json
import sys


# The default attackers: one over the norm bound, one with another's proof, one that deals a bad share.
REASONS = ["proof.E2", "proof.norm-range", "share.value"]


def fail(reason):
    sys.exit(f"demo: {reason}")


def main():
    honest = "--honest" in sys.argv
    path = sys.argv[-1]
    lines = open(path, encoding="utf-8").read().splitlines()
    if len(lines) != 1:
        fail(f"{len(lines)} lines on standard output, expected exactly one")
    try:
        report = json.loads(lines[0])
    except ValueError as error:
        fail(f"not JSON: {error}")
    rounds = report.get("rounds")
    if not isinstance(rounds, list) or not rounds:
        fail("no rounds")
    if not honest and len(rounds) != 5:
        fail(f"{len(rounds)} rounds, expected 5")
    for i, r in enumerate(rounds, 1):
        for key, kind in (("round", int), ("accepted", int), ("rejected", list), ("dropped", int), ("sum_exact", bool),
                          ("accuracy", float)):
            if not isinstance(r.get(key), kind):
                fail(f"round {i}: {key} is {r.get(key)!r}")
        if r["round"] != i:
            fail(f"round {i} calls itself {r['round']}")
        if r["sum_exact"] is not True:
            fail(f"round {i}: the sum is not exact")
        if not 0.0 <= r["accuracy"] <= 1.0:
            fail(f"round {i}: accuracy {r['accuracy']}")
        for entry in r["rejected"]:
            if not entry.get("client") or not entry.get("reason"):
                fail(f"round {i}: a rejection without client or reason: {entry}")
        clients = [entry["client"] for entry in r["rejected"]]
        if len(set(clients)) != len(clients):
            fail(f"round {i}: a client is rejected twice: {clients}")
        if honest and r["rejected"]:
            fail(f"round {i}: honest clients were rejected: {r['rejected']}")
        reasons = {entry["client"]: entry["reason"] for entry in r["rejected"]}
        if not honest and sorted(reasons.values()) != REASONS:
            fail(f"round {i}: rejected for {sorted(reasons.values())}, expected {REASONS}")
        if reasons != {entry["client"]: entry["reason"] for entry in rounds[0]["rejected"]}:
            fail(f"round {i}: {reasons}: other clients or reasons than in round 1, although the same ones attack in every round")
    veilsum, plain = report.get("accuracy_veilsum"), report.get("accuracy_plain_fedavg_under_attack")
    if not isinstance(veilsum, float) or not isinstance(plain, float):
        fail("the final accuracies are missing")
    if not honest and veilsum <= plain:
        fail(f"accuracy {veilsum} is no better than that of plain averaging under attack, {plain}")
    if report.get("server_misbehaviour") != []:
        fail(f"an honest server is accused: {report.get('server_misbehaviour')}")
    print(f"demo: {len(rounds)} rounds, accuracy {veilsum:.3f} (plain averaging under attack {plain:.3f})")


if __name__ == "__main__":
    main()
