"""The proof of a contribution: specs/proof.md. Every equation by itself, nothing folded."""

import functools
import hashlib

from . import group, hashing
from .codec import LABELS
from .group import L
from .primitives import blinding_base, generators

T = 309
N = 8192


class Refused(Exception):
    """A check that failed; its id is the argument."""

    @property
    def check(self):
        return self.args[0]


def require(holds, check):
    if not holds:
        raise Refused(check)


def ceil_log2(v):
    return (v - 1).bit_length()


class Shape:
    """Counts that follow from a layout (specs/layout.py)."""

    def __init__(self, layout, params):
        self.layout, self.params = layout, params
        self.masked = layout["masked"]
        self.dim, self.columns, self.rows = params.dim, layout["columns"], layout["rows"]
        self.x_rows = layout["x_rows"]
        self.e_rows = self.s_rows = self.r_rows = 0
        if self.masked:
            self.e_rows = self.masked["ring_len"] // self.columns
            self.s_rows = N // self.columns
            self.r_rows = self.masked["r_rows"]
            self.e_bits = (self.masked["b_e"] ** 2).bit_length()
            self.s_bits = (self.masked["b_s"] ** 2).bit_length()
        self.row_vars, self.col_vars = ceil_log2(self.rows), ceil_log2(self.columns)
        self.projected = self.rows - layout["z_rows"]
        self.key_points = N // 2 if self.masked else self.dim
        self.z_width = (layout["gamma"] + 7) // 8
        self.round_scalars = 3 * self.row_vars + 2 * self.col_vars
        self.range_bits = layout["range_bits"]
        self.range_len = 32 * (9 + 2 * ceil_log2(self.range_bits))

    def parts(self, members):
        """Lengths of y, C, K, proof and shares."""
        y = (self.masked["ring_len"] * (252 - self.masked["cut"]) + 7) // 8 if self.masked else 0
        scalars = 1 + self.round_scalars + 1 + 3 + self.columns + 1 + self.round_scalars + 6
        proof = T * self.z_width + 32 * (2 + 6 + scalars) + self.range_len
        return [y, 32 * self.key_points, 32 * self.rows, proof, 48 * members]


class Proof:
    def __init__(self, shape, data):
        require(len(data) == shape.parts(0)[3], "proof.length")
        at = 0

        def take(count):
            nonlocal at
            at += count
            return data[at - count:at]

        def scalars(count):
            values = [int.from_bytes(take(32), "little") for _ in range(count)]
            require(all(v < L for v in values), "proof.scalar-encoding")
            return values

        self.z_bytes = take(T * shape.z_width)
        self.z = [int.from_bytes(self.z_bytes[i:i + shape.z_width], "little")
                  for i in range(0, len(self.z_bytes), shape.z_width)]
        self.v_x, self.com_pi = take(32), take(32)
        (self.sum,) = scalars(1)
        rounds = scalars(shape.round_scalars)
        self.rounds = [rounds[3 * i:3 * i + 3] for i in range(shape.row_vars)]
        rounds = rounds[3 * shape.row_vars:]
        self.rounds += [rounds[2 * i:2 * i + 2] for i in range(shape.col_vars)]
        (self.v,) = scalars(1)
        self.range = take(shape.range_len)
        self.announced = [take(32) for _ in range(6)]
        self.announced_scalars = scalars(3)
        self.u = scalars(shape.columns)
        self.pi = scalars(1 + shape.round_scalars)
        self.r, self.r_z, self.rho, self.v_k, self.n_x, self.nu = self.tail = scalars(6)


def scalar_bytes(v):
    return v.to_bytes(32, "little")


def eq_table(point):
    table = [1]
    for x in point:
        upper = [t * x % L for t in table]
        table = [(t - u) % L for t, u in zip(table, upper)] + upper
    return table


def inner(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) % L


def begin_transcript(shape, digest, content, matrix_digest, trace=None):
    t = hashing.Transcript(LABELS["CONTRIBUTION_PROOF"], trace)
    t.message("mode", b"masked" if shape.masked else b"direct")
    t.u64("dim", shape.dim)
    t.u64("norm bound", shape.params.norm_bound)
    t.u64("n_max", shape.params.n_max)
    t.u64("columns", shape.columns)
    if shape.masked:
        t.u64("kappa", shape.masked["kappa"])
        t.u64("cut", shape.masked["cut"])
        t.u64("ring_len", shape.masked["ring_len"])
    t.message("params", digest)
    t.u64("client", content.client)
    t.u64("threshold", len(content.commitments))
    for f in content.commitments:
        t.message("F", f.raw)
    t.message("E", content.ephemeral.raw)
    t.message("share root", content.share_root)
    t.message("row root", content.row_root)
    t.message("F_z", content.f_z.raw)
    t.message("H(y)", content.masked_vector)
    t.message("H(C)", content.key_ciphertext)
    t.message("H(K)", matrix_digest)
    return t


class Challenges:
    """Everything that is drawn between z and S, and the public weights that follow from it."""

    def __init__(self, shape, digest, projection_seed, transcript):
        t = transcript
        masked = shape.masked
        self.tau = []
        if masked:
            count = max(13, shape.col_vars + ceil_log2(shape.e_rows))
            self.tau = [t.scalar("tau") for _ in range(count)]
        stream = hashing.Xof(LABELS["THETA_XOF"], t.seed("theta seed"), 0)
        self.theta = [int.from_bytes(stream.read(16), "little") >> 1 for _ in range(shape.key_points)]
        lam = t.scalar("lambda")
        self.xi = t.scalar("xi")
        powers = [lam]
        for _ in range(7 + T - 1):
            powers.append(powers[-1] * lam % L)
        self.x, self.e, self.s, self.bits, self.key, self.y, self.padding = powers[:7]
        self.projection = powers[7:]
        self.row_bits, self.column_bits = [], []
        for i in range(T):
            stream = hashing.Xof(LABELS["PROJECTION_XOF"], projection_seed, i)
            self.row_bits.append(int.from_bytes(stream.read((shape.projected + 7) // 8), "little"))
            self.column_bits.append(int.from_bytes(stream.read((shape.columns + 7) // 8), "little"))
        self.shape = shape
        self.key_weights = ring_weights(shape, digest, self.tau) if masked else []

    def dense_entries(self):
        """(index of the entry in the matrix, weight) of every claim that is given entry by entry."""
        shape, masked, c = self.shape, self.shape.masked, self.shape.columns
        weight = self.padding
        for entry in range(shape.dim, shape.x_rows * c):
            weight = weight * self.xi % L
            yield entry, weight
        for i in range(T):
            yield shape.projected * c + i, self.projection[i]
        if not masked:
            for entry, theta in enumerate(self.theta):
                yield entry, self.key * theta % L
            return
        first_s = (shape.x_rows + shape.e_rows) * c
        beta = 1 << masked["beta_log2"]
        for i, weight in enumerate(self.key_weights):
            link = self.key * self.theta[i // 2] * (beta if i % 2 else 1)
            yield first_s + i, (self.y * weight + link) % L
        first_r = first_s + N
        for entry in range(first_r, first_r + shape.r_rows * c):
            yield entry, -self.bits
        for i in range(shape.e_bits):
            yield first_r + i, self.e * (1 << i) % L
        for i in range(shape.s_bits):
            yield first_r + shape.e_bits + i, self.s * (1 << i) % L

    def lambda_and_mu(self, eq_rows, eq_columns):
        """The multilinear extensions of Lambda and mu."""
        shape, masked, c = self.shape, self.shape.masked, self.shape.columns
        value = sum(w * eq_rows[e // c] % L * eq_columns[e % c] for e, w in self.dense_entries())
        rows, columns = SubsetSums(eq_rows[:shape.projected]), SubsetSums(eq_columns)
        for weight, c_t, d_t in zip(self.projection, self.row_bits, self.column_bits):
            value += weight * rows.sum(c_t) % L * columns.sum(d_t)
        blocks = [(shape.x_rows, self.x), (shape.e_rows, self.e), (shape.s_rows, self.s), (shape.r_rows, self.bits)]
        mu = at = 0
        for count, weight in blocks:
            mu += weight * sum(eq_rows[at:at + count])
            at += count
        if masked:
            low, high = eq_table(self.tau[:shape.col_vars]), eq_table(self.tau[shape.col_vars:])
            row = sum((1 << masked["shift"] + a // shape.e_rows * masked["slot_bits"]) * high[a % shape.e_rows] % L * eq_rows[a]
                      for a in range(shape.x_rows))
            row += sum(high[a] * eq_rows[shape.x_rows + a] for a in range(shape.e_rows))
            value += self.y * row % L * inner(low, eq_columns)
        return value % L, mu % L

    def public_sum(self, z, y):
        masked = self.shape.masked
        total = inner(self.projection, z)
        if masked:
            table = eq_table(self.tau)
            total += self.y * sum(a * b for a, b in zip(table, y)) + self.e * masked["b_e"] ** 2 + self.s * masked["b_s"] ** 2
        return total % L


class SubsetSums:
    """Sums over subsets, eight values at a time."""

    def __init__(self, values):
        self.tables = []
        for i in range(0, len(values), 8):
            table = [0]
            for v in values[i:i + 8]:
                table += [t + v for t in table]
            self.tables.append(table)

    def sum(self, subset):
        total = 0
        for table in self.tables:
            total += table[subset & len(table) - 1]
            subset >>= 8
        return total % L


@functools.lru_cache(maxsize=4)
def ring_element(digest, block):
    stream = hashing.Xof(LABELS["RING_XOF"], digest, block)
    data = stream.read(48 * N)
    return [int.from_bytes(data[i:i + 48], "little") % L for i in range(0, len(data), 48)]


def ring_product(a, b):
    """a b modulo X^N + 1 over F, by one product of integers."""
    width = 66  # bytes a coefficient: two scalars and 2^13 of them
    pack = lambda v: int.from_bytes(b"".join(x.to_bytes(width, "little") for x in v), "little")  # noqa: E731
    data = (pack(a) * pack(b)).to_bytes(2 * N * width, "little")
    at = lambda i: int.from_bytes(data[i * width:(i + 1) * width], "little")  # noqa: E731
    return [(at(i) - at(i + N)) % L for i in range(N)]


def ring_weights(shape, digest, tau):
    """The weight of every s_i in y~(tau): (a s)_j holds a_(j-i) s_i, with the sign turned where j < i. So the weights are the
    product of eq(tau) with a reversed."""
    table, total = eq_table(tau), [0] * N
    length = shape.masked["ring_len"]
    for block in range((length + N - 1) // N):
        weights = table[N * block:min(N * block + N, length)]
        a = ring_element(digest, block)
        # a(1 / X) = a_0 - sum a_i X^(N - i)
        reverse = [a[0]] + [-a[N - i] % L for i in range(1, N)]
        for i, v in enumerate(ring_product(weights, reverse)):
            total[i] += v
    return [v % L for v in total]


def unpack_masked(shape, data):
    """y; M_e is a multiple of eight, so no bit is left over."""
    if not shape.masked:
        return []
    width, cut = 252 - shape.masked["cut"], shape.masked["cut"]
    whole = int.from_bytes(data, "little")
    return [(whole >> width * j & (1 << width) - 1) << cut for j in range(shape.masked["ring_len"])]


def split(data, size=32):
    return [data[i:i + size] for i in range(0, len(data), size)]


class Replay:
    """The transcript of a decoded proof: every challenge, whatever is wrong with the equations."""

    def __init__(self, shape, digest, content, matrix_digest, proof, trace=None):
        t = begin_transcript(shape, digest, content, matrix_digest, trace)
        projection_seed = t.seed("projection seed")
        t.message("z", proof.z_bytes)
        t.message("V_x", proof.v_x)
        copy = t.copy()
        t.message("Com_pi", proof.com_pi)
        self.challenges = Challenges(shape, digest, projection_seed, t)
        t.message("S", scalar_bytes(proof.sum))
        self.claim, self.point = proof.sum, []
        for polynomial in proof.rounds:
            t.message("round polynomial", b"".join(map(scalar_bytes, polynomial)))
            x = t.scalar("round")
            c0, c2, c3 = (*polynomial, 0)[:3]
            c1 = self.claim - 2 * c0 - c2 - c3
            self.claim = (c0 + x * (c1 + x * (c2 + x * c3))) % L
            self.point.append(x)
        self.closing = close(t, proof)
        self.range = RangeChallenges(copy, proof.range, proof.v_x, shape.range_bits)


def verify(shape, digest, content, matrix_digest, y, c_bytes, k_bytes, proof_bytes):
    """Raises Refused with the first check that fails."""
    require(len(y) == (shape.masked["ring_len"] if shape.masked else 0) and len(c_bytes) == 32 * shape.key_points
            and len(k_bytes) == 32 * shape.rows and len(content.commitments) > 0 and all(v < L for v in y), "proof.shape")
    proof = Proof(shape, proof_bytes)
    replay = Replay(shape, digest, content, matrix_digest, proof)
    delta, gamma = shape.layout["delta"], shape.layout["gamma"]
    require(all(delta <= z < (1 << gamma) - delta for z in proof.z), "proof.projection-interval")
    points = []
    for raw in [*split(k_bytes), *split(c_bytes), *proof.announced, proof.com_pi, proof.v_x]:
        points.append(group.decode(raw))
        require(points[-1] is not None, "proof.point-encoding")
    k, points = points[:shape.rows], points[shape.rows:]
    c, points = points[:shape.key_points], points[shape.key_points:]
    (a1, a3, a5, a7, a8, a9), com_pi, v_x = points[:6], points[6], points[7]

    ch, challenge, point = replay.challenges, replay.closing, replay.point
    eq_rows, eq_columns = eq_table(point[:shape.row_vars]), eq_table(point[shape.row_vars:])
    lam, mu = ch.lambda_and_mu(eq_rows, eq_columns)
    a2, a4, a6 = proof.announced_scalars
    require(inner(proof.u, eq_columns) == (a2 + challenge * proof.v) % L, "proof.E2")
    masked_claim = replay.claim - lam * proof.v - mu * proof.v * proof.v
    require(inner(proof.pi, mask_basis(shape, point)) == (a4 + challenge * masked_claim) % L, "proof.E4")
    left = ch.key * proof.v_k + ch.x * proof.n_x + inner(proof.pi, mask_sums(shape))
    require(left % L == (a6 + challenge * (proof.sum - ch.public_sum(proof.z, y))) % L, "proof.E6")

    def equation(check, left, right):
        """left and right are lists of (scalar, point)."""
        scalars = [s for s, _ in left] + [-s for s, _ in right]
        require(group.is_identity(group.msm(scalars, [p for _, p in (*left, *right)])), check)

    blinds = [proof.r if a < shape.x_rows else proof.r_z for a in range(shape.rows)]
    rows = [eq_rows[a] * blinds[a] for a in range(shape.rows)]
    equation("proof.E1", [(1, a1), *((challenge * e, p) for e, p in zip(eq_rows, k))],
             [*zip(proof.u, generators("G", shape.columns)), *zip(rows, generators("V", shape.rows))])
    equation("proof.E3", [(1, a3), (challenge, com_pi)],
             [*zip(proof.pi, generators("Pi", len(proof.pi))), (proof.rho, generators("Hpi", 1)[0])])
    v_key = group.msm(ch.theta, c)
    w_theta = group.msm(ch.theta, generators("W", shape.key_points))
    equation("proof.E5", [(1, a5), (challenge, v_key)], [(proof.v_k, group.BASE), (proof.r, w_theta)])
    equation("proof.E7", [(1, a7), (challenge, content.commitments[0].point)], [(proof.r, group.BASE)])
    equation("proof.E8", [(1, a8), (challenge, content.f_z.point)], [(proof.r_z, group.BASE)])
    bound = shape.params.norm_bound ** 2
    equation("proof.E9", [(1, a9), (challenge * bound, group.BASE), (-challenge, v_x)],
             [(proof.n_x, group.BASE), (-proof.nu, blinding_base())])
    require(range_holds(replay.range, v_x), "proof.norm-range")


def close(t, proof):
    """Absorbs what is left and draws the last challenges."""
    t.message("v", scalar_bytes(proof.v))
    t.message("range proof", proof.range)
    for p in proof.announced:
        t.message("announcement point", p)
    for s in proof.announced_scalars:
        t.message("announcement scalar", scalar_bytes(s))
    challenge = t.scalar("closing")
    if t.trace is not None:
        # Nothing else hangs on the folding seed here: every equation is tested by itself.
        for response in (*proof.u, *proof.pi, *proof.tail):
            t.message("response", scalar_bytes(response))
        t.seed("folding seed")
    return challenge


def mask_basis(shape, point):
    out = [1]
    for i, x in enumerate(point):
        out += [x, x * x % L]
        if i < shape.row_vars:
            out.append(x * x % L * x % L)
    return out


def mask_sums(shape):
    half = pow(2, shape.row_vars + shape.col_vars - 1, L)
    return [2 * half % L] + [half] * shape.round_scalars


# ---------------------------------------------------------------- range proof


@functools.cache
def range_generators(letter, count):
    data = hashlib.shake_256(b"GeneratorsChain" + letter.encode() + bytes(4)).digest(64 * count)
    return [group.wide_map(data[64 * i:64 * i + 64]) for i in range(count)]


class RangeChallenges:
    """The transcript of a range proof (specs/proof.md, section 7)."""

    def __init__(self, t, data, v_x, n):
        words = split(data)
        self.n, self.raw = n, words[:4]
        self.numbers = [int.from_bytes(w, "little") for w in (*words[4:7], *words[-2:])]
        self.pairs = words[7:-2]
        t.message("dom-sep", b"rangeproof v1")
        t.u64("n", n)
        t.u64("m", 1)
        t.message("V", v_x)
        t.message("A", self.raw[0])
        t.message("S", self.raw[1])
        self.y, self.z = t.scalar("y"), t.scalar("z")
        t.message("T_1", self.raw[2])
        t.message("T_2", self.raw[3])
        self.x = t.scalar("x")
        for label, value in zip(("t_x", "t_x_blinding", "e_blinding"), words[4:7]):
            t.message(label, value)
        self.w = t.scalar("w")
        t.message("dom-sep", b"ipp v1")
        t.u64("n", n)
        self.u = []
        for i in range(0, len(self.pairs), 2):
            t.message("L", self.pairs[i])
            t.message("R", self.pairs[i + 1])
            self.u.append(t.scalar("u"))


def range_holds(ch, v_x):
    """The two equations of specs/proof.md, section 7."""
    n, raw, pairs, u = ch.n, ch.raw, ch.pairs, ch.u
    points = {w: group.decode(w) for w in (*raw, *pairs)}
    if len(pairs) != 2 * ceil_log2(n) or any(x >= L for x in ch.numbers):
        return False
    if any(p is None or group.is_identity(p) for p in points.values()):
        return False
    t_x, t_blind, e_blind, a, b = ch.numbers
    y, z, x, w = ch.y, ch.z, ch.x, ch.w
    base, blind = group.BASE, blinding_base()
    powers = [pow(y, i, L) for i in range(n)]
    delta = (z - z * z) * sum(powers) - z**3 * (2**n - 1)
    left = group.msm([t_x - delta, t_blind, -z * z, -x, -x * x],
                     [base, blind, v_x, points[raw[2]], points[raw[3]]])
    if not group.is_identity(left):
        return False
    inverse_y, inverse_u = pow(y, -1, L), [pow(v, -1, L) for v in u]
    s = []
    for i in range(n):
        product = 1
        for k in range(len(u)):
            product = product * (u[k] if i >> len(u) - 1 - k & 1 else inverse_u[k]) % L
        s.append(product)
    inverse_powers = [pow(inverse_y, i, L) for i in range(n)]
    on_g = [-z - a * s_i for s_i in s]
    on_h = [z + inverse_powers[i] * (z * z * 2**i - b * s[n - 1 - i]) for i in range(n)]
    total = group.msm(
        [1, x, -e_blind, w * (t_x - a * b), *on_g, *on_h, *(v * v for v in u), *(v * v for v in inverse_u)],
        [points[raw[0]], points[raw[1]], blind, base, *range_generators("G", n), *range_generators("H", n),
         *(points[p] for p in pairs[::2]), *(points[p] for p in pairs[1::2])])
    return group.is_identity(total)
