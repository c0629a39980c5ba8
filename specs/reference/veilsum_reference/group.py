"""ristretto255 (RFC 9496) and Ed25519 (RFC 8032), in variable time: for public data and for tests only."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
D2 = 2 * D % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
INVSQRT_A_MINUS_D = 54469307008909316920995813868745141605393597292927456921205312896311721017578
IDENTITY = (0, 1, 1, 0)


def sqrt_ratio(u, v):
    v3 = v * v % P * v % P
    r = u * v3 % P * pow(u * (v3 * v3 % P * v % P) % P, (P - 5) // 8, P) % P
    check = v * r % P * r % P
    minus_u = -u % P
    flipped = check == minus_u
    if flipped or check == minus_u * SQRT_M1 % P:
        r = r * SQRT_M1 % P
    return check == u % P or flipped, absolute(r)


def absolute(x):
    return P - x if x & 1 else x


def decode(data):
    """The point of a canonical encoding, or None."""
    s = int.from_bytes(data, "little")
    if s >= P or s & 1:
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    u2_sq = u2 * u2 % P
    v = (-D * u1 % P * u1 - u2_sq) % P
    square, inv = sqrt_ratio(1, v * u2_sq % P)
    den_x = inv * u2 % P
    den_y = inv * den_x % P * v % P
    x = absolute(2 * s * den_x % P)
    y = u1 * den_y % P
    t = x * y % P
    if not square or t & 1 or y == 0:
        return None
    return (x, y, 1, t)


def encode(point):
    x, y, z, t = point
    u1 = (z + y) * (z - y) % P
    u2 = x * y % P
    _, inv = sqrt_ratio(1, u1 * u2 % P * u2 % P)
    den1, den2 = inv * u1 % P, inv * u2 % P
    z_inv = den1 * den2 % P * t % P
    if t * z_inv % P & 1:
        x, y, den_inv = y * SQRT_M1 % P, x * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        den_inv = den2
    if x * z_inv % P & 1:
        y = -y % P
    return absolute(den_inv * (z - y) % P).to_bytes(32, "little")


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    aa = (y1 - x1) * (y2 - x2) % P
    bb = (y1 + x1) * (y2 + x2) % P
    cc = t1 * D2 % P * t2 % P
    dd = 2 * z1 * z2 % P
    e, f, g, h = bb - aa, dd - cc, dd + cc, bb + aa
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def double(a):
    x, y, z, _ = a
    xx, yy, zz = x * x % P, y * y % P, 2 * z * z % P
    h = xx + yy
    e = h - (x + y) ** 2
    g = xx - yy
    f = zz + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def negate(a):
    return (-a[0] % P, a[1], a[2], -a[3] % P)


def subtract(a, b):
    return add(a, negate(b))


def equal(a, b):
    """Equality of ristretto255 elements."""
    return (a[0] * b[1] - a[1] * b[0]) % P == 0 or (a[1] * b[1] - a[0] * b[0]) % P == 0


def is_identity(a):
    return equal(a, IDENTITY)


def multiply(k, a):
    return msm([k], [a])


def msm(scalars, points):
    """Sum of scalars[i] points[i], by buckets."""
    pairs = [(k % L, q) for k, q in zip(scalars, points, strict=True)]
    pairs = [(k, q) for k, q in pairs if k]
    if not pairs:
        return IDENTITY
    bits = max(k.bit_length() for k, _ in pairs)
    width = 4 if len(pairs) < 8 else max(4, min(10, len(pairs).bit_length() - 2))
    mask = (1 << width) - 1
    total = IDENTITY
    for shift in range((bits - 1) // width * width, -1, -width):
        if total is not IDENTITY:
            for _ in range(width):
                total = double(total)
        buckets = {}
        for k, q in pairs:
            digit = k >> shift & mask
            if digit:
                held = buckets.get(digit)
                buckets[digit] = q if held is None else add(held, q)
        running = window = None
        for digit in range(max(buckets, default=0), 0, -1):
            held = buckets.get(digit)
            if held is not None:
                running = held if running is None else add(running, held)
            if running is not None:
                window = running if window is None else add(window, running)
        if window is not None:
            total = add(total, window)
    return total


def wide_map(data):
    return add(map_half(data[:32]), map_half(data[32:64]))


def map_half(data):
    t = (int.from_bytes(data, "little") & (1 << 255) - 1) % P
    r = SQRT_M1 * t % P * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = P - 1
    if not square:
        s, c = -absolute(s * t % P) % P, r
    n = (c * (r - 1) % P * D_MINUS_ONE_SQ - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P, (1 - s * s) % P, (1 + s * s) % P
    return (w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def edwards_decode(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, (y & (1 << 255) - 1) % P
    square, x = sqrt_ratio((y * y - 1) % P, (D * y % P * y + 1) % P)
    if not square:
        return None
    if x & 1 != sign:
        x = -x % P
    return (x, y, 1, x * y % P)


def edwards_encode(a):
    inverse = pow(a[2], -1, P)
    x, y = a[0] * inverse % P, a[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def small_order(a):
    x, y, z, _ = double(double(double(a)))
    return x == 0 and y == z


_y = 4 * pow(5, -1, P) % P
EDWARDS_BASE = edwards_decode(_y.to_bytes(32, "little"))
BASE = EDWARDS_BASE
BASE_BYTES = encode(BASE)


def key_is_valid(key):
    point = edwards_decode(key)
    return point is not None and not small_order(point)


def ed25519_verify(key, message, signature):
    """Strict verification (specs/primitives.md, section 3)."""
    r_bytes, s = signature[:32], int.from_bytes(signature[32:], "little")
    a, r = edwards_decode(key), edwards_decode(r_bytes)
    if s >= L or a is None or r is None or small_order(a) or small_order(r):
        return False
    h = int.from_bytes(hashlib.sha512(r_bytes + key + message).digest(), "little") % L
    return edwards_encode(msm([s, h], [EDWARDS_BASE, negate(a)])) == r_bytes


def ed25519_public(seed):
    h = hashlib.sha512(seed).digest()
    a = int.from_bytes(h[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return a, h[32:], edwards_encode(multiply(a, EDWARDS_BASE))


def ed25519_sign(seed, message):
    a, prefix, key = ed25519_public(seed)
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % L
    r_bytes = edwards_encode(multiply(r, EDWARDS_BASE))
    h = int.from_bytes(hashlib.sha512(r_bytes + key + message).digest(), "little") % L
    return r_bytes + ((r + h * a) % L).to_bytes(32, "little")
