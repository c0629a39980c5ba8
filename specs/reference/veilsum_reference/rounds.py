"""Rounds and their messages: who may say what, and the checks in their order (specs/primitives.md, section 6)."""

import copy
import pathlib
import secrets
import sys

from . import codec, group
from .primitives import (
    complaints_digest, convicted_digest, digest, entry_leaf, equality_holds, generators, header_digest, knowledge_holds,
    matrix_digest, merkle_root, on_polynomial, open_share, params_digest, proposal_root, result_vector_digest, root_from_path,
    root_of, row_values_digest, sample, share_context, signature_holds, signing_input,
)
from .opening import opened
from .proof import Refused, Shape, require, split, unpack_masked, verify

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
import layout  # noqa: E402


class RosterRefused(Exception):
    """A roster that nobody accepts: it has no check id of its own."""


def check_roster(signed, registrar):
    """specs/protocol.md, section 6: signature, order, keys and their owners' signatures."""
    if not signature_holds(signed, registrar):
        raise RosterRefused("registrar's signature")
    entries, seen, revoked = signed.content.entries, set(), signed.content.revoked
    if any(a >= b for a, b in zip(revoked, revoked[1:])):
        raise RosterRefused("order of revoked keys")
    check_rule(signed.content)
    for before, entry in zip([None, *entries], entries):
        if before is not None and before.client >= entry.client:
            raise RosterRefused("order")
        for key in (entry.identity_key, entry.share_key.raw):
            if key in seen:
                raise RosterRefused("doubled key")
            seen.add(key)
        if entry.identity_key in revoked:
            raise RosterRefused("revoked")
        content = codec.Record(client=entry.client, epoch=signed.content.epoch, share_key=entry.share_key)
        message = signing_input("ShareKeyContent", content)
        if not group.key_is_valid(entry.identity_key) or entry.share_key.raw == bytes(32):
            raise RosterRefused("key")
        if not group.ed25519_verify(entry.identity_key, message, entry.share_key_signature):
            raise RosterRefused("share key's signature")
    return signed.content


def check_rule(roster):
    """specs/protocol.md, section 2.3. Whether a drand key is a point of its group is not looked at: this reference has no pairing."""
    r = roster.beacon
    local = bool(r.participants or r.least)
    foreign = {0: local or r.public_key, 1: local or len(r.public_key) != 48, 2: local or len(r.public_key) != 96, 3: r.public_key}
    if foreign.get(r.scheme, True) or r.stride == 0:
        raise RosterRefused("beacon rule")
    if r.scheme == 3:
        ordered = all(a < b for a, b in zip(r.participants, r.participants[1:]))
        if not ordered or not 1 <= len(r.participants) <= 256 or not 2 * len(r.participants) < 3 * r.least <= 3 * len(r.participants):
            raise RosterRefused("beacon participants")
        if not set(r.participants) <= {e.client for e in roster.entries}:
            raise RosterRefused("beacon participant who is not in the roster")


def beacon_source(rule, registrar):
    if rule.scheme == 0:
        return bytes(32)
    parts = [("u8", rule.scheme), ("Vec<u8>", rule.public_key), ("Vec<ClientId>", rule.participants), ("u32", rule.least)]
    return digest("BEACON_SOURCE", registrar + b"".join(codec.encode(kind, value) for kind, value in parts))


def beacon_value(proof, roster, source, number):
    """The value that a proof gives, of a beacon of participants."""
    reveals, known = proof.reveals, {e.client: e.identity_key for e in roster.entries}
    ids = [r.client for r in reveals]
    require(all(a < b for a, b in zip(ids, ids[1:])) and set(ids) <= set(roster.beacon.participants)
            and len(ids) >= roster.beacon.least and not proof.signature and not proof.previous, "announcement.beacon")
    around = source + codec.encode("u64", number)
    commitments = [(r.client, digest("BEACON_COMMITMENT", around + codec.encode("u32", r.client) + r.secret)) for r in reveals]
    said = b"".join(codec.encode("u32", client) + commitment for client, commitment in commitments)
    seen = digest("BEACON_LIST", around + codec.encode("u64", len(reveals)) + said)
    for r in reveals:
        content = codec.Record(source=source, round=number, client=r.client, list=seen, secret=r.secret)
        message = signing_input("BeaconRevealContent", content)
        require(group.ed25519_verify(known[r.client], message, r.signature), "announcement.beacon")
    secrets_told = b"".join(codec.encode("u32", r.client) + r.secret for r in reveals)
    return digest("BEACON_VALUE", around + seen + secrets_told)


def check_beacon(announcement, roster, source):
    beacon, proof = announcement.params.beacon, announcement.beacon
    if roster.beacon.scheme == 0:
        require(not (proof.signature or proof.previous or proof.reveals), "announcement.beacon")
    elif roster.beacon.scheme == 3:
        require(beacon_value(proof, roster, source, beacon.round) == beacon.value, "announcement.beacon")
    else:
        raise NotImplementedError("this reference does not verify drand")


def check_ranges(p):
    m = len(p.committee)
    fits = [p.protocol_version == 1, p.generator_set == 1, p.weight_max == 1, p.predicates == 0, p.groups == 1,
            1 <= p.dim <= 10**8, p.scale_bits <= 40, p.norm_bound >= 1, 2 <= p.n_max <= 2**20,
            2 <= p.cohort_size <= p.n_max, max(2, -(-2 * p.cohort_size // 3)) <= p.n_min <= p.cohort_size,
            p.malicious_max <= p.n_min - 2, 2 <= m <= min(512, p.cohort_size), max(2, 2 * m // 3 + 1) <= p.threshold <= m,
            len({s.client for s in p.committee}) == m]
    require(all(fits), "announcement.params")


class Round:
    """A round that everybody agrees on."""

    def __init__(self, announcement, roster, registrar, server_key):
        signed, p = announcement.signed, announcement.params
        require(signature_holds(signed, server_key), "announcement.signature")
        self.digest = params_digest(p)
        require(signed.content.params_digest == self.digest and signed.content.round_id == p.round_id, "announcement.digest")
        require(p.server_key == server_key, "announcement.server-key")
        check_ranges(p)
        derived = layout.derive(p.dim, p.norm_bound, p.n_max, len(p.committee), p.threshold)
        require(derived is not None, "announcement.params")
        require(group.key_is_valid(p.server_key), "announcement.server-key")
        roster_digest = digest("ROSTER_DIGEST", codec.encode("RosterContent", roster))
        require(p.roster_digest == roster_digest and p.epoch == roster.epoch, "announcement.roster")
        entries, beacon, rule = roster.entries, p.beacon, roster.beacon
        source = beacon_source(rule, registrar)
        number = (p.round_id - rule.first_round) * rule.stride + rule.first_beacon
        scheduled = p.round_id >= rule.first_round and (beacon.source, beacon.round) == (source, number)
        require(scheduled, "announcement.schedule")
        if p.cohort_size > len(entries):
            raise RosterRefused("too few clients")
        cohort = [entries[i] for i in sorted(sample("COHORT_XOF", beacon.value, p.round_id, len(entries), p.cohort_size))]
        drawn = [cohort[i] for i in sample("COMMITTEE_XOF", beacon.value, p.round_id, len(cohort), len(p.committee))]
        stated = [(s.client, s.share_key) for s in p.committee]
        require([(e.client, e.share_key.raw) for e in drawn] == stated, "announcement.committee")
        check_beacon(announcement, roster, source)
        self.params, self.members, self.m, self.t = p, drawn, len(drawn), p.threshold
        self.cohort = {e.client for e in cohort}
        self.identities = {e.client: e.identity_key for e in entries}
        self.server_key = server_key
        self.shape = Shape(derived, p)

    def member(self, index):
        return self.members[index - 1] if 1 <= index <= self.m else None

    def slice_rows(self, q):
        rows = self.shape.x_rows
        return range(q * rows // self.m, (q + 1) * rows // self.m)

    def by_member(self, signed, check):
        """The member that signed, or a refusal."""
        member = self.member(signed.content.member)
        require(member is not None and signature_holds(signed, member.identity_key), check)
        return member

    def by_server(self, signed, check):
        require(signature_holds(signed, self.server_key), check)

    # ------------------------------------------------------------ contributions

    def check_header(self, header):
        content = header.content
        require(content.params_digest == self.digest, "header.params")
        require(content.client in self.cohort, "header.cohort")
        require(signature_holds(header, self.identities[content.client]), "header.signature")
        require(len(content.commitments) == self.t, "header.commitments")
        points = (content.commitments[0], content.f_z, content.ephemeral)
        require(not any(group.is_identity(p.point) for p in points), "header.identity")
        require(knowledge_holds(content), "header.knowledge")

    def check_contribution(self, header, body):
        """Header, body and proof; the parts of the body."""
        self.check_header(header)
        content, lengths = header.content, self.shape.parts(self.m)
        require(len(body) == sum(lengths), "body.length")
        parts, at = [], 0
        for length in lengths:
            parts.append(body[at:at + length])
            at += length
        y, c, k, proof, shares = parts
        rows = split(k)
        slices = [b"".join(rows[a] for a in self.slice_rows(q)) for q in range(self.m)]
        require(merkle_root("SHARE_TREE", split(shares, 48)) == content.share_root, "body.share-root")
        require(merkle_root("ROW_TREE", slices) == content.row_root, "body.row-root")
        require(digest("OTHER_ROWS_DIGEST", b"".join(rows[self.shape.x_rows:])) == content.other_rows, "body.other-rows")
        require(digest("MASKED_VECTOR_DIGEST", y) == content.masked_vector, "body.masked-vector")
        require(digest("KEY_CIPHERTEXT_DIGEST", c) == content.key_ciphertext, "body.key-ciphertext")
        require(digest("PROOF_DIGEST", proof) == content.proof, "body.proof")
        unpacked = unpack_masked(self.shape, y)
        require(unpacked is not None, "body.length")
        verify(self.shape, self.digest, content, matrix_digest(content), unpacked, c, k, proof)
        return parts

    def check_receipt(self, receipt, header):
        self.by_server(receipt, "receipt.signature")
        c = receipt.content
        expected = (self.digest, header.content.client, header_digest(header.content))
        require((c.params_digest, c.client, c.header_digest) == expected, "receipt.content")

    # ------------------------------------------------------------ certificates, complaints

    def check_certificate(self, root, count, certificate):
        members = [e.content.member for e in certificate.endorsements]
        require(len(members) >= self.t and all(a < b for a, b in zip(members, members[1:])), "certificate.members")
        for e in certificate.endorsements:
            require(self.member(e.content.member) is not None, "certificate.members")
            stated = (e.content.params_digest, e.content.root, e.content.count)
            require(stated == (self.digest, root, count), "certificate.root")
            self.by_member(e, "certificate.signature")

    def check_finals(self, terms, finals):
        """terms: root, count, convicted, sum of F_0."""
        members = [f.content.member for f in finals]
        require(len(members) >= self.t and all(a < b for a, b in zip(members, members[1:])), "light.finals")
        for f in finals:
            require(self.member(f.content.member) is not None, "light.finals")
            require(f.content.params_digest == self.digest and final_terms(f.content) == terms, "final.content")
            self.by_member(f, "final.signature")

    # ------------------------------------------------------------ the light check

    def light_check(self, own, result, bundle):
        c, count = result.signed.content, bundle.count
        self.by_server(result.signed, "result.signature")
        require(c.params_digest == self.digest and len(result.vector) == self.params.dim
                and c.vector_digest == result_vector_digest(result.vector) and increasing(c.convicted), "result.content")
        require(self.params.n_min <= count <= self.params.n_max, "proposal.count")
        self.check_certificate(c.root, count, bundle.certificate)
        require(len(bundle.finals) > 0, "light.finals")
        sum_f0 = bundle.finals[0].content.sum_f0
        self.check_finals((c.root, count, c.convicted, sum_f0.raw), bundle.finals)
        self.check_header(own)
        client = own.content.client
        entry = entry_leaf(client, header_digest(own.content))
        tree = root_from_path("PROPOSAL_TREE", bundle.position, count, entry, bundle.path)
        require(tree is not None and root_of(count, tree) == c.root, "light.entry")
        require(client not in c.convicted, "light.convicted-self")
        rows = self.certified_rows(c, bundle)
        require(group.equal(group.multiply(c.r_sum, group.BASE), sum_f0.point), "light.secret")
        largest = max(0, count - len(c.convicted)) * self.params.norm_bound
        require(all(abs(x) <= largest for x in result.vector), "light.bounds")
        # Local randomness, drawn now: a server that could foresee it would find a false sum (A4).
        chi, columns = [secrets.randbits(128) for _ in rows], self.shape.columns
        folded = [0] * columns
        for i, x in enumerate(result.vector):
            folded[i % columns] += chi[i // columns] * x
        right = group.msm([*folded, *(c.r_sum * w for w in chi)],
                          [*generators("G", columns), *generators("V", len(rows))])
        require(group.equal(group.msm(chi, rows), right), "light.sum")

    def certified_rows(self, result, bundle):
        signers = {}
        digests = {r.slice: row_values_digest(r["values"]) for r in bundle.rows}
        for short in bundle.row_lists:
            member = self.member(short.member)
            require(member is not None, "rows.signature")
            require(increasing(short.slices) and all(q in digests for q in short.slices), "rows.content")
            # What was signed, put together again: everything but the slices is in the bundle already.
            content = codec.Record(
                params_digest=self.digest, root=result.root, convicted=convicted_digest(result.convicted),
                member=short.member, slices=[(q, digests[q]) for q in short.slices])
            message = signing_input("RowsContent", content)
            require(group.ed25519_verify(member.identity_key, message, short.signature), "rows.signature")
            for q in short.slices:
                signers.setdefault(q, set()).add(short.member)
        values, rows = list(bundle.rows), []
        for q in range(self.m):
            wanted = len(self.slice_rows(q))
            if not wanted:
                continue
            require(values and values[0].slice == q and len(values[0]["values"]) == wanted, "light.rows")
            got = values.pop(0)["values"]
            require(len(signers.get(q, ())) >= max(1, 2 * self.t - self.m), "light.rows")
            for raw in got:
                rows.append(group.decode(raw))
                require(rows[-1] is not None, "light.rows")
        require(not values, "light.rows")
        return rows


def increasing(values):
    return all(a < b for a, b in zip(values, values[1:]))


def final_terms(content):
    return (content.root, content.count, content.convicted, content.sum_f0.raw)


class Closing:
    """What is known of a round while it closes: U, who endorsed, whom complaints convict, which lists are fixed."""

    def __init__(self, round_):
        self.round = round_
        self.headers = None
        self.contributions, self.ciphertexts, self.masked_vectors = {}, {}, {}
        self.uploads, self.bad_shares = {}, {}
        self.endorsed, self.unmasked, self.reveals, self.finals, self.row_lists = {}, {}, {}, {}, {}
        self.counting, self.rows = {}, {}
        self.list = self.convicted = None

    def copy(self):
        other = copy.copy(self)
        for name, value in vars(self).items():
            if type(value) is dict:  # not a record
                setattr(other, name, dict(value))
        return other

    # ------------------------------------------------------------ U

    def check_package(self, index, package, share_key):
        """As member `index` with that secret share key: the dealers whose shares are bad."""
        r, proposal = self.round, package.proposal
        content = proposal.signed.content
        r.by_server(proposal.signed, "proposal.signature")
        require(content.params_digest == r.digest, "proposal.round")
        if self.headers is not None:
            require(content.root == self.root, "proposal.equivocation")
        require(r.params.n_min <= len(proposal.entries) <= r.params.n_max, "proposal.count")
        require(increasing([client for client, _ in proposal.entries]), "proposal.order")
        require(all(client in r.cohort for client, _ in proposal.entries), "proposal.cohort")
        require(proposal_root(proposal.entries) == content.root, "proposal.root")
        require(len(package.headers) == len(proposal.entries), "proposal.headers")
        for header, entry in zip(package.headers, proposal.entries):
            require((header.content.client, header_digest(header.content)) == entry, "proposal.headers")
            r.check_header(header)
        require(len(package.shares) == len(package.headers), "share.count")
        for header, leaf in zip(package.headers, package.shares):
            root = root_from_path("SHARE_TREE", index - 1, r.m, leaf.ciphertext, leaf.path)
            require(root == header.content.share_root, "share.path")
        self.root, self.headers, self.count = content.root, package.headers, len(package.headers)
        self.by_digest = {header_digest(h.content): h for h in self.headers}
        self.clients = {h.content.client: h for h in self.headers}
        bad = []
        for header, leaf in zip(self.headers, package.shares):
            shared = group.encode(group.multiply(share_key, header.content.ephemeral.point))
            if not self.share_is_good(header.content, index, shared, leaf.ciphertext):
                bad.append(header.content.client)
        return bad

    def share_is_good(self, header, index, shared, sealed):
        context = share_context(self.round.digest, header.client, index, header.ephemeral.raw,
                                self.round.member(index).share_key.raw)
        value = open_share(shared, context, sealed)
        return value is not None and on_polynomial([f.point for f in header.commitments], index, value)

    def summed_commitments(self, left_out):
        sums = [group.IDENTITY] * self.round.t
        for client, header in self.clients.items():
            if client not in left_out:
                sums = [group.add(s, f.point) for s, f in zip(sums, header.content.commitments)]
        return sums

    # ------------------------------------------------------------ complaints

    def judge(self, complaint):
        """("counts", dealer), ("false", check) or ("not applicable", check)."""
        r, c = self.round, complaint.content
        header = self.by_digest.get(c.header_digest)
        if header is None or c.params_digest != r.digest or c.root != self.root:
            return "not applicable", "complaint.applicable"
        member, h = r.member(c.member), header.content
        if member is None or not signature_holds(complaint, member.identity_key):
            return "not applicable", "complaint.signature"
        root = root_from_path("SHARE_TREE", c.member - 1, r.m, c.share.ciphertext, c.share.path)
        if root != h.share_root:
            return "false", "complaint.path"
        if not equality_holds(c, h.ephemeral, member.share_key):
            return "false", "complaint.equality"
        if self.share_is_good(h, c.member, c.point.raw, c.share.ciphertext):
            return "false", "complaint.groundless"
        return "counts", h.client

    def take_complaints(self, complaints):
        """Ids of what is wrong with them; those that count are kept."""
        wrong = []
        for complaint in complaints:
            verdict, what = self.judge(complaint)
            if verdict == "counts":
                self.counting.setdefault(what, complaint)
            else:
                wrong.append(what)
        return wrong

    def cover(self, dealers, complaints):
        return (len(dealers) == len(complaints)
                and all(self.judge(c) == ("counts", dealer) for c, dealer in zip(complaints, dealers)))

    # ------------------------------------------------------------ messages of members

    def take_endorse(self, message):
        r, c = self.round, message.signed.content
        r.by_member(message.signed, "endorse.signature")
        require(c.params_digest == r.digest, "endorse.content")
        if c.root != self.root:
            raise Refused("endorse.equivocation" if c.member in self.endorsed else "endorse.content")
        require(c.count == self.count, "endorse.content")
        require(complaints_digest(message.complaints) == c.complaints and len(message.complaints) <= self.count,
                "endorse.complaints")
        self.endorsed.setdefault(c.member, message.signed)
        return self.take_complaints(message.complaints)

    def take_unmask(self, message):
        r, c = self.round, message.signed.content
        r.by_member(message.signed, "unmask.signature")
        require(c.params_digest == r.digest and c.root == self.root and increasing(c.convicted)
                and len(message.complaints) <= self.count, "unmask.content")
        first = self.unmasked.get(c.member)
        if first is not None and codec.encode("UnmaskContent", first) != codec.encode("UnmaskContent", c):
            raise Refused("unmask.equivocation")
        along = {what for verdict, what in map(self.judge, message.complaints) if verdict == "counts"}
        require(all(d in self.counting or d in along for d in c.convicted), "unmask.convicted")
        require(on_polynomial(self.summed_commitments(c.convicted), c.member, c.sum), "unmask.sum")
        self.unmasked[c.member] = c
        return self.take_complaints(message.complaints)

    def take_reveal(self, signed):
        r, c = self.round, signed.content
        r.by_member(signed, "reveal.signature")
        header = self.by_digest.get(c.header_digest)
        require(c.params_digest == r.digest and c.root == self.root and header is not None
                and header.content.client in self.counting, "reveal.content")
        commitments = [f.point for f in header.content.commitments]
        require(on_polynomial(commitments, c.member, c.share), "reveal.share")
        self.reveals[c.member, header.content.client] = c.share
        return []

    def take_final(self, signed):
        r, c = self.round, signed.content
        r.by_member(signed, "final.signature")
        require(c.params_digest == r.digest and self.convicted is not None, "final.content")
        right = (self.root, self.count, self.convicted.convicted,
                 group.encode(self.summed_commitments(self.convicted.convicted)[0]))
        if final_terms(c) != right:
            raise Refused("final.equivocation" if c.member in self.finals else "final.content")
        self.finals[c.member] = signed
        return []

    def take_rows(self, message):
        r, c, sent = self.round, message.signed.content, message["values"]
        r.by_member(message.signed, "rows.signature")
        stated = dict(c.slices)
        require((c.params_digest, c.root) == (r.digest, self.root) and self.convicted is not None
                and c.convicted == convicted_digest(self.convicted.convicted) and increasing([q for q, _ in c.slices])
                and all(q < r.m and len(r.slice_rows(q)) for q in stated)
                and stated.get(sent.slice) == row_values_digest(sent["values"]), "rows.content")
        require(all(row_values_digest(self.right_rows(q)) == d for q, d in c.slices), "rows.value")
        self.row_lists[c.member] = message.signed
        return []

    def right_rows(self, q):
        """The sums of a slice, from the contributions themselves."""
        if q not in self.rows:
            out = []
            for a in self.round.slice_rows(q):
                total = group.IDENTITY
                for client in self.clients:
                    if client not in self.convicted.convicted:
                        total = group.add(total, group.decode(self.contributions[client][32 * a:32 * a + 32]))
                out.append(group.encode(total))
            self.rows[q] = out
        return self.rows[q]

    # ------------------------------------------------------------ messages of the server

    def take_unmask_request(self, message):
        r, c = self.round, message.list.content
        r.by_server(message.list, "list.signature")
        require(c.params_digest == r.digest and increasing(c.convicted), "list.content")
        require(c.root == self.root, "member.one-root")
        r.check_certificate(c.root, self.count, message.certificate)
        require(self.cover(c.convicted, message.complaints), "list.complaints")
        self.list = message.list
        return []

    def take_reveal_request(self, message):
        require(message.root == self.root, "member.one-root")
        require(all(self.judge(c)[0] == "counts" for c in message.complaints), "list.complaints")
        return []

    def take_convicted(self, message):
        r, c = self.round, message.signed.content
        r.by_server(message.signed, "convicted.signature")
        require(c.params_digest == r.digest, "convicted.order")
        if self.convicted is not None:
            same = codec.encode("ConvictedContent", self.convicted) == codec.encode("ConvictedContent", c)
            require(same, "convicted.equivocation")
        require(c.root == self.root, "proposal.equivocation")
        require(increasing(c.convicted), "convicted.order")
        require(all(client in self.clients for client in c.convicted), "convicted.in-set")
        r.check_certificate(c.root, self.count, message.certificate)
        require(self.cover(c.convicted, message.complaints), "convicted.complaints")
        self.convicted = c
        return []

    def take_rows_request(self, message):
        r, q = self.round, message.slice
        require(message.root == self.root, "member.one-root")
        require(q < r.m and len(message.leaves) == len(self.headers), "rows.path")
        for header, leaf in zip(self.headers, message.leaves):
            root = root_from_path("ROW_TREE", q, r.m, b"".join(leaf.rows), leaf.path)
            require(len(leaf.rows) == len(r.slice_rows(q)) and root == header.content.row_root, "rows.path")
            if header.content.client not in self.convicted.convicted:
                require(all(group.decode(raw) is not None for raw in leaf.rows), "rows.encoding")
        return []

    def take_void(self, signed):
        r = self.round
        r.by_server(signed, "void.signature")
        require(signed.content.params_digest == r.digest, "void.round")
        require(self.convicted is None, "void.equivocation")
        return []

    # ------------------------------------------------------------ everything

    def take(self, sender, receiver, kind, message, share_keys):
        """One message of a transcript: ids of the complaints in it that are wrong."""
        r = self.round
        if kind == "Upload":
            parts = r.check_contribution(message.header, message.body)
            client = message.header.content.client
            self.uploads[client], self.contributions[client] = message.header, parts[2]
            self.masked_vectors[client], self.ciphertexts[client] = parts[0], parts[1]
        elif kind == "Signed<ReceiptContent>":
            r.check_receipt(message, self.uploads[int(receiver.split()[1])])
        elif kind == "MemberPackage":
            index = int(receiver.split()[1])
            self.bad_shares[index] = self.check_package(index, message, share_keys[index])
        elif kind == "RoundResult":
            self.check_result(message)
        else:
            return {
                "Endorse": self.take_endorse, "UnmaskRequest": self.take_unmask_request, "Unmask": self.take_unmask,
                "RevealRequest": self.take_reveal_request, "Signed<RevealContent>": self.take_reveal,
                "Convicted": self.take_convicted, "Signed<FinalContent>": self.take_final,
                "RowsRequest": self.take_rows_request, "Rows": self.take_rows, "Signed<VoidContent>": self.take_void,
            }[kind](message)
        return []

    def check_result(self, message):
        """As an auditor who has every contribution: R from the sums, and the vector from what was contributed."""
        r, c = self.round, message.signed.content
        r.by_server(message.signed, "result.signature")
        require(c.params_digest == r.digest and c.root == self.root and c.convicted == self.convicted.convicted
                and c.vector_digest == result_vector_digest(message.vector), "result.content")
        sums = {}
        for index, unmask in self.unmasked.items():
            missing = [d for d in c.convicted if d not in unmask.convicted]
            if all((index, d) in self.reveals for d in missing):
                sums[index] = unmask.sum - sum(self.reveals[index, d] for d in missing)
        require(len(sums) >= r.t, "sum.commitment")
        chosen = sorted(sums)[:r.t]
        secret = 0
        for j in chosen:
            weight = 1
            for k in chosen:
                if k != j:
                    weight = weight * k * pow(k - j, -1, group.L) % group.L
            secret += weight * sums[j]
        secret %= group.L
        sum_f0 = self.summed_commitments(c.convicted)[0]
        require(group.equal(group.multiply(secret, group.BASE), sum_f0), "sum.commitment")
        require(secret == c.r_sum, "result.content")
        summed = [split(data) for client, data in self.ciphertexts.items() if client not in c.convicted]
        if r.shape.masked:
            masked = [y for client, y in self.masked_vectors.items() if client not in c.convicted]
            require(opened(r.shape, r.digest, secret, summed, masked) == list(message.vector), "result.content")
            return
        for position, (x, w) in enumerate(zip(message.vector, generators("W", r.params.dim))):
            points = [group.decode(points[position]) for points in summed]
            total = group.msm([1] * len(points) + [-secret, -x], [*points, w, group.BASE])
            require(group.is_identity(total), "result.content")
