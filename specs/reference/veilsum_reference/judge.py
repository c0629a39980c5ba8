"""What the reference says about a vector."""

import functools

from . import codec, vectors
from .primitives import matrix_digest
from .proof import Proof, Refused, Replay
from .rounds import Closing, Round, check_roster


@functools.cache
def index():
    return vectors.load()


def round_entry(name):
    (entry,) = [r for r in index()["rounds"] if r["name"] == name]
    return entry


@functools.cache
def round_of(name):
    entry = round_entry(name)
    roster = codec.decode("Signed<RosterContent>", vectors.read(entry["roster"]))
    announcement = codec.decode("Announcement", vectors.read(entry["announcement"]))
    content = check_roster(roster, bytes.fromhex(entry["registrar"]))
    return Round(announcement, content, bytes.fromhex(entry["registrar"]), bytes.fromhex(entry["server"]))


def verdict(check):
    """"valid", a check id, or "malformed"."""
    try:
        check()
    except Refused as refused:
        return refused.check
    except codec.Malformed:
        return "malformed"
    return "valid"


def contribution(vector):
    def check():
        kind, upload = codec.message(vectors.content(vector))
        if kind != "Upload":
            raise codec.Malformed("not a contribution")
        round_of(vector["round"]).check_contribution(upload.header, upload.body)

    return verdict(check)


def announcement(vector):
    def check():
        entry = round_entry(vector["round"])
        roster = codec.decode("Signed<RosterContent>", vectors.read(entry["roster"]))
        content = check_roster(roster, bytes.fromhex(entry["registrar"]))
        keys = bytes.fromhex(entry["registrar"]), bytes.fromhex(entry["server"])
        Round(codec.decode("Announcement", vectors.content(vector)), content, *keys)

    return verdict(check)


class Walk:
    """A transcript, message by message, with what is known before each of them."""

    def __init__(self, identifier):
        (self.vector,) = select([identifier])
        self.keys = {int(j): int.from_bytes(bytes.fromhex(k), "little") for j, k in self.vector["share_keys"].items()}
        data, at = vectors.content(self.vector), 0
        closing, self.before = Closing(round_of(self.vector["round"])), []
        for sender, receiver, length in self.vector["messages"]:
            self.before.append(closing.copy())
            wrong = self.give(closing, sender, receiver, data[at:at + length])
            if wrong:
                raise Refused(wrong[0])
            at += length
        if at != len(data):
            raise codec.Malformed("bytes behind the last message")
        self.end = closing

    def give(self, closing, sender, receiver, data):
        kind, message = codec.message(data)
        if kind == "Announcement":
            if message.raw != vectors.read(round_entry(self.vector["round"])["announcement"]):
                raise Refused("announcement.digest")
            return []
        return closing.take(sender, receiver, kind, message, self.keys)


walk = functools.cache(Walk)


def transcript(vector):
    def check():
        end = walk(vector["id"]).end
        complaints = {(c.content.member, dealer) for dealer, c in end.counting.items()}
        seen = {(j, dealer) for j, dealers in end.bad_shares.items() for dealer in dealers}
        if sorted(end.counting) != vector["convicted"] or not complaints <= seen or bool(seen) != bool(complaints):
            raise Refused("share.value")
        if len(end.finals) < end.round.t or end.convicted.convicted != vector["convicted"]:
            raise Refused("light.finals")

    return verdict(check)


def message(vector):
    def check():
        whole = walk(vector["transcript"])
        state = whole.before[vector["at"]].copy()
        wrong = whole.give(state, vector["from"], vector["to"], vectors.content(vector))
        if wrong:
            raise Refused(wrong[0])

    return verdict(check)


def light(vector):
    def check():
        header = codec.decode("Header", vectors.content(vector["header"]))
        result = codec.decode("RoundResult", vectors.content(vector["result"]))
        bundle = codec.decode("LightBundle", vectors.content(vector["bundle"]))
        round_of(vector["round"]).light_check(header, result, bundle)

    return verdict(check)


KINDS = {"announcement": announcement, "contribution": contribution, "transcript": transcript, "message": message, "light": light}


@functools.cache
def held():
    return {v["id"]: v for v in index()["vectors"]}


def select(identifiers):
    return [held()[i] for i in identifiers] if identifiers else list(held().values())


def batches(chosen):
    """Pieces for processes of their own: a transcript with its messages, a dozen of anything else."""
    out = {}
    for i, vector in enumerate(chosen):
        whole = vector.get("transcript") or (vector["kind"] == "transcript" and vector["id"])
        out.setdefault(whole or (vector["round"], i // 12), []).append(vector)
    return list(out.values())


def batch(chosen):
    return [(v["id"], v["expect"], KINDS[v["kind"]](v)) for v in chosen]


def trace(identifier):
    """Every challenge of a contribution, as (label, bytes), whether it is valid or not; None if its proof does not decode."""
    (vector,) = select([identifier])
    try:
        _, upload = codec.message(vectors.content(vector))
    except codec.Malformed:
        return None
    where, content = round_of(vector["round"]), upload.header.content
    lengths = where.shape.parts(where.m)
    if len(upload.body) != sum(lengths):
        return None
    begin = sum(lengths[:3])
    out = []
    try:
        proof = Proof(where.shape, upload.body[begin:begin + lengths[3]])
    except Refused:
        return None
    Replay(where.shape, content.params_digest, content, matrix_digest(content), proof, out)
    return out
