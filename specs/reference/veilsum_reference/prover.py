"""A client in direct mode that follows specs/protocol.md and specs/proof.md step by step. For test vectors only: not constant time,
nothing is erased."""

import hashlib

from . import codec, group, hashing
from .codec import LABELS, Record
from .group import BASE, L
from .primitives import (
    blinding_base, digest, generators, knowledge_challenge, matrix_digest, merkle_root, seal_share, share_context, signing_input,
)
from .proof import (
    T, Challenges, begin_transcript, close, eq_table, inner, mask_basis, mask_sums, range_generators, scalar_bytes,
)


class Random:
    """Fixed bytes of a seed."""

    def __init__(self, *seed):
        self.seed, self.next = "/".join(map(str, seed)).encode(), 0

    def bytes(self, count):
        self.next += 1
        return hashlib.shake_256(self.seed + self.next.to_bytes(8, "little")).digest(count)

    def scalar(self):
        return int.from_bytes(self.bytes(64), "little") % L

    def scalars(self, count):
        return [self.scalar() for _ in range(count)]


def point(p):
    return codec.Point(group.encode(p), p)


def sign(kind, content, seed):
    signature = group.ed25519_sign(seed, signing_input(kind, content))
    signed = Record(content=content, signature=signature)
    signed.kind = kind
    return signed


def polynomial(coefficients, x):
    value = 0
    for c in reversed(coefficients):
        value = (value * x + c) % L
    return value


def contribution(where, client, identity, x, rng):
    """(header, body) of an update; `where` is the round."""
    shape, digest_p = where.shape, where.digest
    f = rng.scalars(where.t)
    r, e = f[0], rng.scalar()
    ephemeral = point(group.multiply(e, BASE))
    content = Record(params_digest=digest_p, client=client, commitments=[point(group.multiply(c, BASE)) for c in f],
                     ephemeral=ephemeral)
    shares = []
    for index, member in enumerate(where.members, 1):
        shared = group.encode(group.multiply(e, member.share_key.point))
        context = share_context(digest_p, client, index, ephemeral.raw, member.share_key.raw)
        shares.append(seal_share(shared, context, polynomial(f, index)))
    content["share_root"] = merkle_root("SHARE_TREE", shares)
    nonce = rng.scalar()
    announcement = point(group.multiply(nonce, BASE))
    response = (nonce + knowledge_challenge(content, announcement.raw) * e) % L
    content["knowledge"] = Record(announcement=announcement, response=response)
    key = generators("W", shape.key_points)
    ciphertext = b"".join(group.encode(group.msm([v, r], [BASE, w])) for v, w in zip(x, key))
    content["masked_vector"] = digest("MASKED_VECTOR_DIGEST", b"")
    content["key_ciphertext"] = digest("KEY_CIPHERTEXT_DIGEST", ciphertext)
    matrix = proof = None
    while proof is None:
        matrix, proof = attempt(where, content, x, r, rng)
    content["proof"] = digest("PROOF_DIGEST", proof)
    header = sign("HeaderContent", content, identity)
    return header, ciphertext + b"".join(matrix) + proof + b"".join(shares)


def attempt(where, content, x, r, rng):
    """K and a proof, or no proof where an answer falls outside the interval."""
    shape, c = where.shape, where.shape.columns
    gamma, delta = shape.layout["gamma"], shape.layout["delta"]
    r_z = rng.scalar()
    masks = [int.from_bytes(rng.bytes(gamma // 8 + 1), "little") % (1 << gamma) for _ in range(T)]
    entries = list(x) + [0] * (shape.x_rows * c - len(x)) + masks + [rng.scalar()]
    entries += [0] * (shape.rows * c - len(entries))
    w = [entries[i:i + c] for i in range(0, len(entries), c)]
    columns, blinders = generators("G", c), generators("V", shape.rows)
    blinds = [r if a < shape.x_rows else r_z for a in range(shape.rows)]
    matrix = [group.encode(group.msm([*row, b], [*columns, v])) for row, b, v in zip(w, blinds, blinders)]
    slices = [b"".join(matrix[a] for a in where.slice_rows(q)) for q in range(where.m)]
    content["f_z"] = point(group.multiply(r_z, BASE))
    content["row_root"] = merkle_root("ROW_TREE", slices)
    content["other_rows"] = digest("OTHER_ROWS_DIGEST", b"".join(matrix[shape.x_rows:]))

    t = begin_transcript(shape, where.digest, content, matrix_digest(content))
    seed = t.seed("projection seed")
    z = []
    for i in range(T):
        stream = hashing.Xof(LABELS["PROJECTION_XOF"], seed, i)
        rows = int.from_bytes(stream.read((shape.projected + 7) // 8), "little")
        bits = int.from_bytes(stream.read(c // 8), "little")
        picked = sum(w[a][b] for a in range(shape.projected) for b in range(c) if rows >> a & 1 and bits >> b & 1)
        z.append(picked + masks[i])
    if not all(delta <= v < (1 << gamma) - delta for v in z):
        return matrix, None
    p = Record(z_bytes=b"".join(v.to_bytes(shape.z_width, "little") for v in z))
    t.message("z", p.z_bytes)
    n_x, nu = sum(v * v for v in x), rng.scalar()
    slack = where.params.norm_bound ** 2 - n_x
    v_x = group.msm([slack, nu], [BASE, blinding_base()])
    p["v_x"] = group.encode(v_x)
    t.message("V_x", p.v_x)
    p["range"] = range_proof(t.copy(), slack, nu, p.v_x, shape.range_bits, rng)
    pi, rho = rng.scalars(1 + shape.round_scalars), rng.scalar()
    mask_bases = [*generators("Pi", len(pi)), generators("Hpi", 1)[0]]
    p["com_pi"] = group.encode(group.msm([*pi, rho], mask_bases))
    t.message("Com_pi", p.com_pi)
    ch = Challenges(shape, where.digest, seed, t)

    table, weights, mu = tables(shape, ch, w)
    p["sum"] = (sum(a * b + m * b * b for a, b, m in zip(weights, table, mu)) + inner(pi, mask_sums(shape))) % L
    t.message("S", scalar_bytes(p.sum))
    p["rounds"], at = sumcheck(shape, t, table, weights, mu, pi)
    eq_rows, eq_columns = eq_table(at[:shape.row_vars]), eq_table(at[shape.row_vars:])
    u = [sum(eq_rows[a] * w[a][b] for a in range(shape.rows)) % L for b in range(c)]
    p["v"] = inner(u, eq_columns)

    v_k = inner(ch.theta, x)
    secrets = [*u, *pi, r, r_z, rho, v_k, n_x, nu]
    nonces = rng.scalars(len(secrets))
    n_u, n_pi, (n_r, n_rz, n_rho, n_vk, n_nx, n_nu) = nonces[:c], nonces[c:-6], nonces[-6:]
    row_nonces = [eq_rows[a] * (n_r if a < shape.x_rows else n_rz) for a in range(shape.rows)]
    w_theta = group.msm(ch.theta, generators("W", shape.key_points))
    p["announced"] = [group.encode(q) for q in (
        group.msm([*n_u, *row_nonces], [*columns, *blinders]),
        group.msm([*n_pi, n_rho], mask_bases),
        group.msm([n_vk, n_r], [BASE, w_theta]),
        group.multiply(n_r, BASE),
        group.multiply(n_rz, BASE),
        group.msm([n_nx, -n_nu], [BASE, blinding_base()]),
    )]
    linear = ch.key * n_vk + ch.x * n_nx + inner(n_pi, mask_sums(shape))
    p["announced_scalars"] = [inner(n_u, eq_columns), inner(n_pi, mask_basis(shape, at)), linear % L]
    challenge = close(t, p)
    responses = [(n + challenge * s) % L for n, s in zip(nonces, secrets)]
    scalars = lambda values: b"".join(map(scalar_bytes, values))  # noqa: E731
    rounds = b"".join(map(scalars, p.rounds))
    return matrix, b"".join([p.z_bytes, p.v_x, p.com_pi, scalar_bytes(p.sum), rounds, scalar_bytes(p.v), p.range,
                             *p.announced, scalars(p.announced_scalars), scalars(responses)])


def tables(shape, ch, w):
    """w, Lambda and mu over the whole hypercube, row by row."""
    c, size = shape.columns, 1 << shape.row_vars + shape.col_vars
    table = [v for row in w for v in row] + [0] * (size - shape.rows * c)
    weights, mu = [0] * size, [0] * size
    for entry, weight in ch.dense_entries():
        weights[entry] += weight
    for weight, rows, bits in zip(ch.projection, ch.row_bits, ch.column_bits):
        for a in range(shape.projected):
            if rows >> a & 1:
                for b in range(c):
                    if bits >> b & 1:
                        weights[a * c + b] += weight
    for entry in range(shape.x_rows * c):
        mu[entry] = ch.x
    return table, [v % L for v in weights], mu


def sumcheck(shape, t, w, weights, mu, pi):
    """Every round polynomial from its values at 0, 1, 2, 3."""
    c, rounds, at = shape.columns, [], []
    variables = shape.row_vars + shape.col_vars
    blocks, start = [], 1
    for i in range(variables):
        degree = 3 if i < shape.row_vars else 2
        blocks.append([0, *pi[start:start + degree]])
        start += degree
    bound = pi[0]
    for i in range(variables):
        stride = c if i < shape.row_vars else 1
        pairs = [(k, k + stride) for k in range(len(w)) if k // stride % 2 == 0]
        later = sum(polynomial(b, 1) for b in blocks[i + 1:])
        left = variables - 1 - i
        values = []
        for x in range(4):
            value = 0
            for k, j in pairs:
                v, a, m = (w[k] + x * (w[j] - w[k]), weights[k] + x * (weights[j] - weights[k]), mu[k] + x * (mu[j] - mu[k]))
                value += a * v + m * v % L * v
            value += pow(2, left, L) * (bound + polynomial(blocks[i], x))
            if left:
                value += pow(2, left - 1, L) * later
            values.append(value % L)
        coefficients = interpolate(values)
        sent = [coefficients[0], coefficients[2]] + ([coefficients[3]] if i < shape.row_vars else [])
        rounds.append(sent)
        t.message("round polynomial", b"".join(map(scalar_bytes, sent)))
        x = t.scalar("round")
        at.append(x)
        bound += polynomial(blocks[i], x)
        fold = lambda v: [(v[k] + x * (v[j] - v[k])) % L for k, j in pairs]  # noqa: E731
        w, weights, mu = fold(w), fold(weights), fold(mu)
    return rounds, at


def interpolate(values):
    """Coefficients of the cubic through the values at 0, 1, 2, 3."""
    out = [0] * 4
    for i, value in enumerate(values):
        basis, denominator = [1], 1
        for j in range(4):
            if j != i:
                basis = [(a - j * b) % L for a, b in zip([0, *basis], [*basis, 0])]
                denominator = denominator * (i - j) % L
        scale = value * pow(denominator, -1, L)
        out = [(o + scale * b) % L for o, b in zip(out, basis)]
    return out


def range_proof(t, value, blind, commitment, n, rng):
    """Bulletproofs for one value (specs/proof.md, section 7)."""
    base, bt = BASE, blinding_base()
    g, h = range_generators("G", n), range_generators("H", n)
    a_l = [value >> i & 1 for i in range(n)]
    a_r = [(b - 1) % L for b in a_l]
    s_l, s_r, alpha, rho = rng.scalars(n), rng.scalars(n), rng.scalar(), rng.scalar()
    raw_a = group.encode(group.msm([alpha, *a_l, *a_r], [bt, *g, *h]))
    raw_s = group.encode(group.msm([rho, *s_l, *s_r], [bt, *g, *h]))
    t.message("dom-sep", b"rangeproof v1")
    t.u64("n", n)
    t.u64("m", 1)
    t.message("V", commitment)
    t.message("A", raw_a)
    t.message("S", raw_s)
    y, z = t.scalar("y"), t.scalar("z")
    powers = [pow(y, i, L) for i in range(n)]
    l_0 = [(a - z) % L for a in a_l]
    r_0 = [(p * (a + z) + z * z * 2**i) % L for i, (p, a) in enumerate(zip(powers, a_r))]
    r_1 = [p * s % L for p, s in zip(powers, s_r)]
    t_1, t_2 = inner(l_0, r_1) + inner(s_l, r_0), inner(s_l, r_1)
    tau_1, tau_2 = rng.scalar(), rng.scalar()
    raw_t = [group.encode(group.msm(pair, [base, bt])) for pair in ((t_1, tau_1), (t_2, tau_2))]
    t.message("T_1", raw_t[0])
    t.message("T_2", raw_t[1])
    x = t.scalar("x")
    left = [(a + x * s) % L for a, s in zip(l_0, s_l)]
    right = [(a + x * s) % L for a, s in zip(r_0, r_1)]
    numbers = [inner(left, right), (z * z * blind + tau_1 * x + tau_2 * x * x) % L, (alpha + rho * x) % L]
    for label, number in zip(("t_x", "t_x_blinding", "e_blinding"), numbers):
        t.message(label, scalar_bytes(number))
    q = group.multiply(t.scalar("w"), base)
    h = [group.multiply(pow(p, -1, L), v) for p, v in zip(powers, h)]
    t.message("dom-sep", b"ipp v1")
    t.u64("n", n)
    pairs = []
    while len(left) > 1:
        k = len(left) // 2
        first = group.msm([*left[:k], *right[k:], inner(left[:k], right[k:])], [*g[k:], *h[:k], q])
        second = group.msm([*left[k:], *right[:k], inner(left[k:], right[:k])], [*g[:k], *h[k:], q])
        pairs += [group.encode(first), group.encode(second)]
        t.message("L", pairs[-2])
        t.message("R", pairs[-1])
        u = t.scalar("u")
        v = pow(u, -1, L)
        left = [(a * u + v * b) % L for a, b in zip(left[:k], left[k:])]
        right = [(a * v + u * b) % L for a, b in zip(right[:k], right[k:])]
        g = [group.msm([v, u], [a, b]) for a, b in zip(g[:k], g[k:])]
        h = [group.msm([u, v], [a, b]) for a, b in zip(h[:k], h[k:])]
    return b"".join([raw_a, raw_s, *raw_t, *map(scalar_bytes, numbers), *pairs, scalar_bytes(left[0]), scalar_bytes(right[0])])
