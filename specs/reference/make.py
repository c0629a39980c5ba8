#!/usr/bin/env python3
"""Makes specs/vectors/python: a whole round in direct mode, every byte of it by this implementation.

    make.py             writes it
    make.py --verify    fails unless it is there, byte for byte

Tests of the Rust code run the round from the same keys and contributions and demand the same bytes.
"""

import json
import sys

from veilsum_reference import codec, group, vectors
from veilsum_reference.codec import Point, Record, encode
from veilsum_reference.primitives import (
    complaints_digest, convicted_digest, digest, header_digest, merkle_path, params_digest, proposal_root, result_vector_digest,
    row_values_digest, entry_leaf, sample, share_context, open_share,
)
from veilsum_reference.proof import split
from veilsum_reference.prover import Random, contribution, point, sign
from veilsum_reference.rounds import Round

DIM, BOUND, EPOCH = 70, 5000, 3
CLIENTS = [5, 8, 13]


def keys():
    out = {}
    for client in CLIENTS:
        rng = Random("keys", client)
        out[client] = (rng.bytes(32), rng.scalar())
    return out


def make_round(clients, registrar, server):
    entries = []
    for client, (identity, share) in clients.items():
        share_key = point(group.multiply(share, group.BASE))
        statement = sign("ShareKeyContent", Record(client=client, epoch=EPOCH, share_key=share_key), identity)
        entries.append(Record(client=client, identity_key=group.ed25519_public(identity)[2], share_key=share_key,
                              share_key_signature=statement.signature))
    rule = Record(scheme=0, public_key=b"", participants=[], least=0, first_round=0, first_beacon=0, stride=1)
    roster = sign("RosterContent", Record(version=1, epoch=EPOCH, beacon=rule, revoked=[], entries=entries), registrar)
    beacon = Record(source=bytes(32), round=1, value=Random("beacon").bytes(32))
    n = len(CLIENTS)
    params = Record(
        protocol_version=1, generator_set=1, round_id=1, epoch=EPOCH, server_key=group.ed25519_public(server)[2],
        model_digest=bytes([6]) * 32, roster_digest=digest("ROSTER_DIGEST", encode("RosterContent", roster.content)), beacon=beacon,
        dim=DIM, scale_bits=8, norm_bound=BOUND, weight_max=1, predicates=0, groups=1, cohort_size=n, n_max=n, n_min=n,
        malicious_max=1, threshold=n, committee=[], contribute_deadline_ms=0)
    drawn = sample("COMMITTEE_XOF", beacon.value, 1, n, n)
    params["committee"] = [Record(client=entries[i].client, share_key=entries[i].share_key.raw) for i in drawn]
    content = Record(round_id=1, params_digest=params_digest(params))
    proof = Record(signature=b"", previous=b"", reveals=[])
    return roster, Record(signed=sign("AnnouncementContent", content, server), params=params, beacon=proof)


def make():
    """Files by name; the index is one of them."""
    clients, registrar, server = keys(), Random("registrar").bytes(32), Random("server").bytes(32)
    roster, announcement = make_round(clients, registrar, server)
    where = Round(announcement, roster.content, group.ed25519_public(registrar)[2], group.ed25519_public(server)[2])
    members = {j: entry.client for j, entry in enumerate(where.members, 1)}
    sent = []
    say = lambda tag, kind, sender, receiver, value: sent.append((sender, receiver, bytes([tag]) + encode(kind, value)))  # noqa: E731
    as_client, as_member = "client {}".format, "member {}".format
    for client in CLIENTS:
        say(1, "Announcement", "server", as_client(client), announcement)
    uploads, updates = {}, {}
    for client in CLIENTS:
        rng = Random("update", client)
        updates[client] = [int.from_bytes(rng.bytes(2), "little") % 1001 - 500 for _ in range(DIM)]
        header, body = contribution(where, client, clients[client][0], updates[client], Random("contribution", client))
        uploads[client] = (header, body)
        say(2, "Upload", as_client(client), "server", Record(header=header, body=body))
    for client, (header, _) in uploads.items():
        content = Record(params_digest=where.digest, client=client, header_digest=header_digest(header.content))
        say(3, "Signed<ReceiptContent>", "server", as_client(client), sign("ReceiptContent", content, server))

    lengths = where.shape.parts(where.m)
    at = [sum(lengths[:i]) for i in range(6)]
    parts = {client: [body[at[i]:at[i + 1]] for i in range(5)] for client, (_, body) in uploads.items()}
    entries = [(client, header_digest(uploads[client][0].content)) for client in CLIENTS]
    root = proposal_root(entries)
    about = {"params_digest": where.digest, "root": root}
    proposal = Record(signed=sign("ProposalContent", Record(about), server), entries=entries)
    headers = [uploads[client][0] for client in CLIENTS]
    leaves = {client: split(parts[client][4], 48) for client in CLIENTS}
    for j in members:
        shares = [Record(ciphertext=leaves[c][j - 1], path=merkle_path("SHARE_TREE", leaves[c], j - 1)) for c in CLIENTS]
        say(5, "MemberPackage", "server", as_member(j), Record(proposal=proposal, headers=headers, shares=shares))
    by = {j: clients[client][0] for j, client in members.items()}
    endorsements = []
    for j in members:
        content = Record(about, member=j, count=len(CLIENTS), complaints=complaints_digest([]))
        endorsements.append(sign("EndorseContent", content, by[j]))
        say(6, "Endorse", as_member(j), "server", Record(signed=endorsements[-1], complaints=[]))
    certificate = Record(endorsements=endorsements)
    listed = sign("ComplaintListContent", Record(about, convicted=[]), server)
    for j in members:
        say(7, "UnmaskRequest", "server", as_member(j), Record(certificate=certificate, list=listed, complaints=[]))
    sums = {}
    for j, client in members.items():
        total = 0
        for dealer in CLIENTS:
            ephemeral = uploads[dealer][0].content.ephemeral
            shared = group.encode(group.multiply(clients[client][1], ephemeral.point))
            context = share_context(where.digest, dealer, j, ephemeral.raw, where.member(j).share_key.raw)
            total += open_share(shared, context, leaves[dealer][j - 1])
        sums[j] = total % group.L
        unmask = sign("UnmaskContent", Record(about, member=j, convicted=[], sum=sums[j]), by[j])
        say(8, "Unmask", as_member(j), "server", Record(signed=unmask, complaints=[]))
    fixed = Record(signed=sign("ConvictedContent", Record(about, convicted=[]), server), certificate=certificate, complaints=[])
    for j in members:
        say(11, "Convicted", "server", as_member(j), fixed)
    total = group.IDENTITY
    for header in headers:
        total = group.add(total, header.content.commitments[0].point)
    sum_f0 = point(total)
    finals = []
    for j in members:
        content = Record(about, member=j, count=len(CLIENTS), convicted=[], sum_f0=sum_f0)
        finals.append(sign("FinalContent", content, by[j]))
        say(12, "Signed<FinalContent>", as_member(j), "server", finals[-1])

    slices, rows = [q for q in range(where.m) if len(where.slice_rows(q))], {}
    for q in slices:
        rows[q] = []
        for a in where.slice_rows(q):
            total = group.IDENTITY
            for client in CLIENTS:
                total = group.add(total, Point(split(parts[client][2])[a]).point)
            rows[q].append(group.encode(total))
        held = []
        for client in CLIENTS:
            matrix = split(parts[client][2])
            data = [b"".join(matrix[a] for a in where.slice_rows(k)) for k in range(where.m)]
            held.append(Record(rows=[matrix[a] for a in where.slice_rows(q)], path=merkle_path("ROW_TREE", data, q)))
        for j in members:
            say(13, "RowsRequest", "server", as_member(j), Record(root=root, slice=q, leaves=held))
    row_lists = []
    for j in members:
        for count, q in enumerate(slices, 1):
            listed = [(k, row_values_digest(rows[k])) for k in slices[:count]]
            content = Record(about, convicted=convicted_digest([]), member=j, slices=listed)
            signed = sign("RowsContent", content, by[j])
            say(14, "Rows", as_member(j), "server", Record(signed=signed, values=Record(slice=q, values=rows[q])))
        row_lists.append(signed)
    secret = 0
    for j in members:
        weight = 1
        for k in members:
            if k != j:
                weight = weight * k * pow(k - j, -1, group.L) % group.L
        secret += weight * sums[j]
    vector = [sum(column) for column in zip(*updates.values())]
    content = Record(about, convicted=[], r_sum=secret % group.L, vector_digest=result_vector_digest(vector))
    result = Record(signed=sign("ResultContent", content, server), vector=vector)
    say(15, "RoundResult", "server", as_client(CLIENTS[0]), result)

    files = {
        "roster.bin": encode("Signed<RosterContent>", roster),
        "announcement.bin": encode("Announcement", announcement),
        "round.messages": b"".join(data for _, _, data in sent),
        "result.bin": encode("RoundResult", result),
    }
    path = lambda name: f"python/{name}"  # noqa: E731
    found = [{"id": "python/round", "kind": "transcript", "round": "python", "file": path("round.messages"), "expect": "valid",
              "convicted": [], "messages": [[a, b, len(data)] for a, b, data in sent],
              "share_keys": {str(j): clients[c][1].to_bytes(32, "little").hex() for j, c in members.items()}}]
    tree = [entry_leaf(*entry) for entry in entries]
    for position, client in enumerate(CLIENTS):
        bundle = Record(certificate=certificate, count=len(CLIENTS), position=position,
                        path=merkle_path("PROPOSAL_TREE", tree, position), finals=finals,
                        rows=[Record(slice=q, values=rows[q]) for q in slices],
                        row_lists=[Record(member=l.content.member, slices=[q for q, _ in l.content.slices], signature=l.signature) for l in row_lists])
        name = f"client-{client}"
        files[f"{name}.upload"] = bytes([2]) + encode("Upload", Record(header=uploads[client][0], body=uploads[client][1]))
        files[f"{name}.header"] = encode("Header", uploads[client][0])
        files[f"{name}.bundle"] = encode("LightBundle", bundle)
        found.append({"id": f"python/{name}", "kind": "contribution", "round": "python", "file": path(f"{name}.upload"),
                      "expect": "valid"})
        found.append({"id": f"python/{name}/light", "kind": "light", "round": "python", "expect": "valid",
                      "header": {"file": path(f"{name}.header")}, "result": {"file": path("result.bin")},
                      "bundle": {"file": path(f"{name}.bundle")}})
    secrets = {"registrar": registrar.hex(), "server": server.hex(),
               "clients": {str(c): [seed.hex(), share.to_bytes(32, "little").hex()] for c, (seed, share) in clients.items()}}
    about = {"name": "python", "roster": path("roster.bin"), "announcement": path("announcement.bin"), "mode": "direct", "dim": DIM,
             "registrar": group.ed25519_public(registrar)[2].hex(), "server": group.ed25519_public(server)[2].hex()}
    index = {"format": 1, "rounds": [about], "vectors": found, "secrets": secrets}
    files["index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    return files


def main():
    if sys.argv[1:] not in ([], ["--verify"]):
        sys.exit(__doc__)
    files, directory = make(), vectors.DIR / "python"
    held = {p.name for p in directory.iterdir()} if directory.is_dir() else set()
    if sys.argv[1:]:
        wrong = sorted(held ^ files.keys()) + [n for n in sorted(held & files.keys()) if (directory / n).read_bytes() != files[n]]
        if wrong:
            sys.exit(f"specs/vectors/python is not what make.py makes: {', '.join(wrong)}")
    else:
        directory.mkdir(exist_ok=True)
        for name in held - files.keys():
            (directory / name).unlink()
        for name, data in files.items():
            (directory / name).write_bytes(data)
    print(f"specs/vectors/python: {len(files)} files, {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main()
