"""Reading specs/vectors/index.json."""

import json
import pathlib

DIR = pathlib.Path(__file__).resolve().parents[2] / "vectors"


def load():
    """Rounds and vectors of both indexes: what the Rust code made, and what make.py made."""
    out = {"rounds": [], "vectors": []}
    for path in (DIR / "index.json", DIR / "python" / "index.json"):
        held = json.loads(path.read_text(encoding="utf-8"))
        out["rounds"] += held["rounds"]
        out["vectors"] += held["vectors"]
    return out


def read(path):
    return (DIR / path).read_bytes()


def content(entry):
    """The bytes of a vector: a file, or changes of another one."""
    if "base" not in entry:
        return read(entry["file"])
    begin = entry.get("offset", 0)
    data = bytearray(read(entry["base"])[begin:begin + entry["length"]].ljust(entry["length"], b"\0"))
    own = read(entry["file"]) if "file" in entry else b""
    for offset, change in entry["changes"]:
        if isinstance(change, int):
            change, own = own[:change], own[change:]
        else:
            change = bytes.fromhex(change)
        data[offset:offset + len(change)] = change
    return bytes(data)
