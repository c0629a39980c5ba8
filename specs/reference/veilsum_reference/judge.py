"""What the reference says about a vector."""

import functools

from . import codec, vectors
from .proof import Refused
from .rounds import Round, check_roster


@functools.cache
def index():
    return vectors.load()


@functools.cache
def round_of(name):
    (entry,) = [r for r in index()["rounds"] if r["name"] == name]
    roster = codec.decode("Signed<RosterContent>", vectors.read(entry["roster"]))
    announcement = codec.decode("Announcement", vectors.read(entry["announcement"]))
    content = check_roster(roster, bytes.fromhex(entry["registrar"]))
    return Round(announcement, content, bytes.fromhex(entry["server"]))


def verdict(check):
    """"valid", a check id, or "malformed"."""
    try:
        check()
    except Refused as refused:
        return refused.check
    except codec.Malformed:
        return "malformed"
    return "valid"


def contribution(vector, trace=None):
    def check():
        kind, upload = codec.message(vectors.content(vector))
        if kind != "Upload":
            raise codec.Malformed("not a contribution")
        round_of(vector["round"]).check_contribution(upload.header, upload.body, trace)

    return verdict(check)


KINDS = {"contribution": contribution}


def select(identifiers):
    held = {v["id"]: v for v in index()["vectors"]}
    return [held[i] for i in identifiers] if identifiers else list(held.values())


def batches(chosen):
    """Pieces that need the same round's generators, small enough for two processes."""
    out = {}
    for i, vector in enumerate(chosen):
        out.setdefault((vector["round"], i // 12), []).append(vector)
    return list(out.values())


def batch(chosen):
    return [(v["id"], v["expect"], KINDS[v["kind"]](v)) for v in chosen]


def trace(identifier):
    (vector,) = select([identifier])
    out = []
    contribution(vector, out)
    return out
