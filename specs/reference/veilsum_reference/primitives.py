"""Hash inputs, trees, sampling, signatures and small proofs: specs/primitives.md."""

import functools
import hashlib

from . import codec, group, hashing
from .codec import LABELS

FAMILIES = {"G": "column G", "V": "row blinding V", "W": "key W", "Pi": "mask Pi", "Hpi": "mask blinding Hpi"}


@functools.cache
def generator(letter, index):
    name = f"veilsum/v1 generator {FAMILIES[letter]}".encode()
    data = len(name).to_bytes(8, "little") + name + index.to_bytes(8, "little")
    return group.double(group.wide_map(hashlib.sha512(data).digest()))


def generators(letter, count):
    return [generator(letter, i) for i in range(count)]


@functools.cache
def blinding_base():
    return group.wide_map(hashlib.sha3_512(group.BASE_BYTES).digest())


def digest(name, data):
    return hashing.digest(LABELS[name], data)


def header_digest(content):
    return digest("HEADER_DIGEST", codec.encode("HeaderContent", content))


def matrix_digest(content):
    return digest("MATRIX_DIGEST", content.row_root + content.other_rows)


def params_digest(params):
    return digest("PARAMS_DIGEST", codec.encode("RoundParams", params))


def complaints_digest(complaints):
    return digest("COMPLAINTS_DIGEST", len(complaints).to_bytes(8, "little") + b"".join(
        codec.encode("Signed<ComplaintContent>", c) for c in complaints))


def complaint_binding(content):
    return digest("COMPLAINT_BINDING", codec.encode("ComplaintContent", content)[:-96])


def result_vector_digest(vector):
    return digest("RESULT_VECTOR_DIGEST", len(vector).to_bytes(8, "little") + b"".join(
        x.to_bytes(8, "little", signed=True) for x in vector))


def convicted_digest(convicted):
    return digest("CONVICTED_DIGEST", codec.encode("Vec<ClientId>", convicted))


def row_values_digest(values):
    return digest("ROW_VALUES_DIGEST", b"".join(values))


def entry_leaf(client, header):
    return client.to_bytes(4, "little") + header


def root_of(count, tree):
    return digest("PROPOSAL_ROOT", count.to_bytes(8, "little") + tree)


def proposal_root(entries):
    return root_of(len(entries), merkle_root("PROPOSAL_TREE", [entry_leaf(*e) for e in entries]))


# ---------------------------------------------------------------- trees


def leaf(tree, index, data):
    return digest(tree, b"\0" + index.to_bytes(8, "little") + data)


def node(tree, left, right):
    return digest(tree, b"\1" + left + right)


def merkle_root(tree, leaves):
    level = [leaf(tree, i, data) for i, data in enumerate(leaves)]
    while len(level) > 1:
        pairs = [node(tree, *level[i:i + 2]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2:]
    return level[0] if level else bytes(32)


def merkle_path(tree, leaves, index):
    level, path = [leaf(tree, i, data) for i, data in enumerate(leaves)], []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        pairs = [node(tree, *level[i:i + 2]) for i in range(0, len(level) - 1, 2)]
        level, index = pairs + level[len(level) - len(level) % 2:], index // 2
    return path


def root_from_path(tree, index, count, data, path):
    """The root, or None for a path that has another length than index and count allow."""
    if index >= count:
        return None
    hashed, siblings = leaf(tree, index, data), list(path)
    while count > 1:
        if index ^ 1 < count:
            if not siblings:
                return None
            sibling = siblings.pop(0)
            hashed = node(tree, sibling, hashed) if index & 1 else node(tree, hashed, sibling)
        index, count = index // 2, (count + 1) // 2
    return None if siblings else hashed


# ---------------------------------------------------------------- signatures, sampling


def signing_input(kind, content):
    return hashing.digest(codec.SIGNED[kind], codec.encode(kind, content))


def signature_holds(signed, key):
    return group.ed25519_verify(key, signing_input(signed.kind, signed.content), signed.signature)


def sample(label, seed, context, available, wanted):
    xof, places = hashing.Xof(LABELS[label], seed, context), list(range(available))
    for i in range(wanted):
        bound = available - i
        draw = xof.u64()
        while draw >= 2**64 // bound * bound:
            draw = xof.u64()
        j = i + draw % bound
        places[i], places[j] = places[j], places[i]
    return places[:wanted]


# ---------------------------------------------------------------- shares


def share_context(params, dealer, index, ephemeral, share_key):
    return ephemeral + share_key + params + dealer.to_bytes(4, "little") + index.to_bytes(2, "little")


def seal_share(shared, context, share):
    return hashing.seal(digest("SHARE_KEY", shared + context), digest("SHARE_AD", context), share.to_bytes(32, "little"))


def open_share(shared, context, sealed):
    """The share as a scalar, or None for anything that is not one."""
    plain = hashing.open_sealed(digest("SHARE_KEY", shared + context), digest("SHARE_AD", context), sealed)
    value = None if plain is None else int.from_bytes(plain, "little")
    return None if value is None or value >= group.L else value


def on_polynomial(commitments, index, value):
    """value B = sum of index^k F_k."""
    powers = [index**k for k in range(len(commitments))]
    expected = group.msm([-value, *powers], [group.BASE, *commitments])
    return group.is_identity(expected)


def knowledge_challenge(content, announcement):
    t = hashing.Transcript(LABELS["EPHEMERAL_PROOF"])
    t.message("params_digest", content.params_digest)
    t.u64("dealer", content.client)
    t.u64("commitments", len(content.commitments))
    for f in content.commitments:
        t.message("F", f.raw)
    t.message("share_root", content.share_root)
    t.message("E", content.ephemeral.raw)
    t.message("A", announcement)
    return t.scalar("c")


def knowledge_holds(content):
    proof = content.knowledge
    c = knowledge_challenge(content, proof.announcement.raw)
    right = group.add(proof.announcement.point, group.multiply(c, content.ephemeral.point))
    return group.equal(group.multiply(proof.response, group.BASE), right)


def equality_holds(content, ephemeral, share_key):
    proof = content.equality
    t = hashing.Transcript(LABELS["COMPLAINT_PROOF"])
    t.message("complaint", complaint_binding(content))
    for label, point in (("E", ephemeral), ("PK", share_key), ("D", content.point),
                         ("A_B", proof.on_base), ("A_E", proof.on_ephemeral)):
        t.message(label, point.raw)
    c = t.scalar("c")
    on_base = group.add(proof.on_base.point, group.multiply(c, share_key.point))
    on_ephemeral = group.add(proof.on_ephemeral.point, group.multiply(c, content.point.point))
    return (group.equal(group.multiply(proof.response, group.BASE), on_base)
            and group.equal(group.multiply(proof.response, ephemeral.point), on_ephemeral))
