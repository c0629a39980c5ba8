"""The wire format. Messages, round parameters and labels are read from the tables of specs/wire.md itself: what stands there is what
is decoded."""

import pathlib
import re

from . import group

SPEC = pathlib.Path(__file__).resolve().parents[2] / "wire.md"


class Malformed(Exception):
    """Bytes that are no message."""


class Record(dict):
    """A decoded structure; fields are attributes. `raw` holds its bytes."""

    __getattr__ = dict.__getitem__
    raw = b""


class Point:
    """A ristretto255 element with the bytes that it came in."""

    __slots__ = ("point", "raw")

    def __init__(self, raw, point=None):
        self.raw, self.point = raw, group.decode(raw) if point is None else point
        if self.point is None:
            raise Malformed("not a canonical point")

    def __eq__(self, other):
        return self.raw == other.raw

    def __hash__(self):
        return hash(self.raw)


def _tables():
    """Structures by name, labels by name, tags, and the label under which each kind is signed."""
    text = SPEC.read_text(encoding="utf-8")
    part = lambda name: text.split(f"<!-- generated: {name} -->")[1].split("<!-- end generated -->")[0]  # noqa: E731
    row = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \|", re.M)
    labels = dict(row.findall(part("labels")))
    structures, signed = {"RoundParams": row.findall(part("round parameters"))}, {}
    for section in part("messages").split("### ")[1:]:
        name = section.split("\n", 1)[0].strip()
        structures[name] = row.findall(section)
        label = re.search(r"Signed under `([^`]+)`", section)
        if label:
            signed[name] = label.group(1)
    tags = {int(t): kind for t, kind in re.findall(r"^\| (\d+) \| \w+ \| `([^`]+)` \|", part("tags"), re.M)}
    return structures, labels, tags, signed


STRUCTURES, LABELS, TAGS, SIGNED = _tables()
# Values of section 1, and the two structures that the tables name without a section of their own.
STRUCTURES["Beacon"] = [("source", "[u8; 32]"), ("round", "u64"), ("value", "[u8; 32]")]
STRUCTURES["MemberSlot"] = [("client", "ClientId"), ("share_key", "[u8; 32]")]
STRUCTURES["KnowledgeProof"] = [("announcement", "CanonicalPoint"), ("response", "Scalar")]
STRUCTURES["DleqProof"] = [("on_base", "CanonicalPoint"), ("on_ephemeral", "CanonicalPoint"), ("response", "Scalar")]
ALIASES = {"Header": "Signed<HeaderContent>", "ClientId": "u32", "MemberIndex": "u16", "Digest": "[u8; 32]",
           "Signature": "[u8; 64]", "[u8; CIPHERTEXT_LEN]": "[u8; 48]"}
STRUCTURES["Upload"] = [("header", "Header"), ("body", "Bytes")]
INTEGERS = {"u8": (1, False), "u16": (2, False), "u32": (4, False), "u64": (8, False), "i64": (8, True)}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if len(self.data) - self.at < count:
            raise Malformed(f"ends inside a field at {self.at}")
        self.at += count
        return self.data[self.at - count:self.at]

    def value(self, kind):
        kind = ALIASES.get(kind, kind)
        if kind in INTEGERS:
            size, signed = INTEGERS[kind]
            return int.from_bytes(self.take(size), "little", signed=signed)
        if found := re.fullmatch(r"\[u8; (\d+)\]", kind):
            return self.take(int(found.group(1)))
        if kind == "CanonicalPoint":
            return Point(self.take(32))
        if kind == "Scalar":
            value = int.from_bytes(self.take(32), "little")
            if value >= group.L:
                raise Malformed(f"scalar that is not canonical before {self.at}")
            return value
        if kind == "Bytes":
            return self.take(self.value("u32"))
        if found := re.fullmatch(r"Vec<(.*)>", kind):
            count, inner = self.value("u32"), found.group(1)
            if count > (len(self.data) - self.at) // least(inner):
                raise Malformed(f"count {count} before {self.at} exceeds what is there")
            return [self.value(inner) for _ in range(count)]
        if found := re.fullmatch(r"Signed<(.*)>", kind):
            begin = self.at
            content = self.value(found.group(1))
            signed = Record(content=content, signature=self.take(64))
            signed.raw = self.data[begin:self.at]
            signed.kind = found.group(1)
            return signed
        if found := re.fullmatch(r"\((.*)\)", kind):
            return tuple(self.value(k) for k in found.group(1).split(", "))
        begin = self.at
        record = Record((name, self.value(k)) for name, k in STRUCTURES[kind])
        record.raw = self.data[begin:self.at]
        return record


def least(kind):
    """The least number of bytes of a value."""
    kind = ALIASES.get(kind, kind)
    if kind in INTEGERS:
        return INTEGERS[kind][0]
    if found := re.fullmatch(r"\[u8; (\d+)\]", kind):
        return int(found.group(1))
    if kind in ("CanonicalPoint", "Scalar"):
        return 32
    if kind == "Bytes" or kind.startswith("Vec<"):
        return 4
    if found := re.fullmatch(r"Signed<(.*)>", kind):
        return least(found.group(1)) + 64
    if found := re.fullmatch(r"\((.*)\)", kind):
        return sum(least(k) for k in found.group(1).split(", "))
    return sum(least(k) for _, k in STRUCTURES[kind])


def decode(kind, data):
    """Exactly one value of a kind."""
    reader = Reader(data)
    value = reader.value(kind)
    if reader.at != len(data):
        raise Malformed(f"bytes after the last field, from {reader.at}")
    if encode(kind, value) != data:
        raise AssertionError(f"{kind} does not encode to the bytes that it was decoded from")
    return value


def encode(kind, value):
    kind = ALIASES.get(kind, kind)
    if kind in INTEGERS:
        size, signed = INTEGERS[kind]
        return value.to_bytes(size, "little", signed=signed)
    if kind.startswith("[u8; "):
        return bytes(value)
    if kind == "CanonicalPoint":
        return value.raw
    if kind == "Scalar":
        return value.to_bytes(32, "little")
    if kind == "Bytes":
        return len(value).to_bytes(4, "little") + value
    if found := re.fullmatch(r"Vec<(.*)>", kind):
        return len(value).to_bytes(4, "little") + b"".join(encode(found.group(1), v) for v in value)
    if found := re.fullmatch(r"Signed<(.*)>", kind):
        return encode(found.group(1), value.content) + value.signature
    if found := re.fullmatch(r"\((.*)\)", kind):
        return b"".join(encode(k, v) for k, v in zip(found.group(1).split(", "), value, strict=True))
    return b"".join(encode(k, value[name]) for name, k in STRUCTURES[kind])


def message(data):
    """What travels: a tag and a message."""
    if not data or data[0] not in TAGS:
        raise Malformed("no tag with a meaning")
    return TAGS[data[0]], decode(TAGS[data[0]], data[1:])
