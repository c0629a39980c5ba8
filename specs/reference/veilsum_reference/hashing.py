"""BLAKE3 (derive-key mode), keccak-f[1600], STROBE-128 as Merlin uses it, ChaCha20-Poly1305 (RFC 8439)."""

import struct

# ---------------------------------------------------------------- BLAKE3

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_START, _END, _PARENT, _ROOT, _CONTEXT, _MATERIAL = 1, 2, 4, 8, 32, 64


def _make_compress():
    """Writes out the seven rounds: a loop over them costs five times as much."""
    lines = ["def compress(h, m, t, length, flags):"]
    lines.append("    " + ", ".join(f"v{i}" for i in range(8)) + " = h")
    lines.append("    " + ", ".join(f"m{i}" for i in range(16)) + " = m")
    lines.append(f"    v8, v9, v10, v11 = {_IV[:4]}")
    lines.append("    v12, v13, v14, v15 = t & 0xffffffff, t >> 32, length, flags")
    order = list(range(16))
    quarters = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(quarters):
            for word, r1, r2 in ((order[2 * i], 16, 12), (order[2 * i + 1], 8, 7)):
                lines.append(f"    v{a} = v{a} + v{b} + m{word} & 0xffffffff")
                lines.append(f"    v{d} ^= v{a}")
                lines.append(f"    v{d} = v{d} >> {r1} | v{d} << {32 - r1} & 0xffffffff")
                lines.append(f"    v{c} = v{c} + v{d} & 0xffffffff")
                lines.append(f"    v{b} ^= v{c}")
                lines.append(f"    v{b} = v{b} >> {r2} | v{b} << {32 - r2} & 0xffffffff")
        order = [order[i] for i in _PERMUTATION]
    low = ", ".join(f"v{i} ^ v{i + 8}" for i in range(8))
    high = ", ".join(f"v{i + 8} ^ h[{i}]" for i in range(8))
    lines.append(f"    return ({low}, {high})")
    scope = {}
    exec("\n".join(lines), scope)  # noqa: S102 the text is made above
    return scope["compress"]


_compress = _make_compress()


class _Output:
    """What is left to do for a root: its last compression, with any counter."""

    def __init__(self, h, block, counter, length, flags):
        self.arguments = (h, block, counter, length, flags)

    def chaining(self):
        h, block, counter, length, flags = self.arguments
        return _compress(h, block, counter, length, flags)[:8]

    def block(self, index):
        h, block, _, length, flags = self.arguments
        return struct.pack("<16I", *_compress(h, block, index, length, flags | _ROOT))


def _words(block):
    return struct.unpack("<16I", block.ljust(64, b"\0"))


def _chunk(key, data, counter, flags):
    h = key
    last = max(0, (len(data) - 1) // 64)
    for i in range(last):
        start = _START if i == 0 else 0
        h = _compress(h, _words(data[64 * i:64 * i + 64]), counter, 64, flags | start)[:8]
    tail = data[64 * last:]
    return _Output(h, _words(tail), counter, len(tail), flags | _END | (_START if last == 0 else 0))


def _tree(key, data, flags):
    outputs = [_chunk(key, data[i:i + 1024], i // 1024, flags) for i in range(0, max(1, len(data)), 1024)]
    while len(outputs) > 1:
        # The left subtree is the largest power of two that leaves something: pairing neighbours level by level gives it.
        joined = []
        for i in range(0, len(outputs) - 1, 2):
            block = outputs[i].chaining() + outputs[i + 1].chaining()
            joined.append(_Output(key, block, 0, 64, flags | _PARENT))
        outputs = joined + outputs[len(outputs) - len(outputs) % 2:]
    return outputs[0]


_keys = {}


def _derived(context, data):
    if context not in _keys:
        _keys[context] = struct.unpack("<8I", _tree(_IV, context.encode(), _CONTEXT).block(0)[:32])
    return _tree(_keys[context], data, _MATERIAL)


def digest(context, data):
    """BLAKE3 in derive-key mode, 32 bytes."""
    return _derived(context, data).block(0)[:32]


class Xof:
    """Output stream of derive-key mode over seed || index."""

    def __init__(self, context, seed, index):
        self.root = _derived(context, seed + struct.pack("<Q", index))
        self.buffer, self.next = b"", 0

    def read(self, count):
        parts = [self.buffer]
        held = len(self.buffer)
        while held < count:
            parts.append(self.root.block(self.next))
            self.next += 1
            held += 64
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def u64(self):
        return struct.unpack("<Q", self.read(8))[0]


# ---------------------------------------------------------------- keccak and Merlin

def _make_keccak():
    rotations, constants = {}, []
    x, y = 1, 0
    for t in range(24):
        rotations[x, y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    register = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << (1 << j) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    mask = "0xffffffffffffffff"
    name = lambda x, y: f"a{x + 5 * y}"  # noqa: E731
    lines = ["def permute(a):", "    " + ", ".join(f"a{i}" for i in range(25)) + " = a"]
    lines.append(f"    for constant in {tuple(constants)}:")
    for x in range(5):
        lines.append(f"        c{x} = " + " ^ ".join(name(x, y) for y in range(5)))
    for x in range(5):
        u = f"c{(x + 1) % 5}"
        lines.append(f"        d{x} = c{(x + 4) % 5} ^ ({u} << 1 & {mask} | {u} >> 63)")
    for x in range(5):
        for y in range(5):
            r, to = rotations.get((x, y), 0), f"b{y + 5 * ((2 * x + 3 * y) % 5)}"
            lines.append(f"        {to} = {name(x, y)} ^ d{x}")
            if r:
                lines.append(f"        {to} = {to} << {r} & {mask} | {to} >> {64 - r}")
    for y in range(5):
        for x in range(5):
            lines.append(f"        {name(x, y)} = b{x + 5 * y} ^ (b{(x + 1) % 5 + 5 * y} ^ {mask}) & b{(x + 2) % 5 + 5 * y}")
    lines.append("        a0 ^= constant")
    lines.append("    return (" + ", ".join(f"a{i}" for i in range(25)) + ")")
    scope = {}
    exec("\n".join(lines), scope)  # noqa: S102 the text is made above
    return scope["permute"]


_permute = _make_keccak()
_RATE = 166


class Strobe:
    """The part of STROBE-128 v1.0.2 that Merlin uses: meta-AD, AD, PRF."""

    def __init__(self, protocol):
        first = bytes([1, _RATE + 2, 1, 0, 1, 96]) + b"STROBEv1.0.2"
        self.state = bytearray(struct.pack("<25Q", *_permute(struct.unpack("<25Q", first.ljust(200, b"\0")))))
        self.position = self.begin = 0
        self.meta_ad(protocol)

    def copy(self):
        other = object.__new__(Strobe)
        other.state, other.position, other.begin = bytearray(self.state), self.position, self.begin
        return other

    def _run(self):
        self.state[self.position] ^= self.begin
        self.state[self.position + 1] ^= 0x04
        self.state[_RATE + 1] ^= 0x80
        self.state = bytearray(struct.pack("<25Q", *_permute(struct.unpack("<25Q", self.state))))
        self.position = self.begin = 0

    def _absorb(self, data):
        for byte in data:
            self.state[self.position] ^= byte
            self.position += 1
            if self.position == _RATE:
                self._run()

    def _operation(self, flags):
        before, self.begin = self.begin, self.position + 1
        self._absorb(bytes([before, flags]))
        if flags & 4 and self.position:
            self._run()

    def meta_ad(self, *parts):
        self._operation(0x12)
        for part in parts:
            self._absorb(part)

    def ad(self, data):
        self._operation(0x02)
        self._absorb(data)

    def prf(self, count):
        self._operation(0x07)
        out = bytearray()
        for _ in range(count):
            out.append(self.state[self.position])
            self.state[self.position] = 0
            self.position += 1
            if self.position == _RATE:
                self._run()
        return bytes(out)


class Transcript:
    """Merlin v1.0. `trace` collects (label, bytes) of every challenge."""

    def __init__(self, protocol, trace=None):
        self.strobe = Strobe(b"Merlin v1.0")
        self.trace = trace
        self.message("dom-sep", protocol.encode())

    def copy(self):
        other = object.__new__(Transcript)
        other.strobe, other.trace = self.strobe.copy(), self.trace
        return other

    def message(self, label, data):
        self.strobe.meta_ad(label.encode(), struct.pack("<I", len(data)))
        self.strobe.ad(data)

    def u64(self, label, value):
        self.message(label, struct.pack("<Q", value))

    def challenge(self, label, count):
        self.strobe.meta_ad(label.encode(), struct.pack("<I", count))
        return self.strobe.prf(count)

    def seed(self, label):
        value = self.challenge(label, 32)
        if self.trace is not None:
            self.trace.append((label, value))
        return value

    def scalar(self, label):
        from .group import L

        value = int.from_bytes(self.challenge(label, 64), "little") % L
        if self.trace is not None:
            self.trace.append((label, value.to_bytes(32, "little")))
        return value


# ---------------------------------------------------------------- ChaCha20-Poly1305

def _chacha_block(key, counter):
    state = struct.unpack("<4I", b"expand 32-byte k") + key + (counter, 0, 0, 0)
    v = list(state)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                v[x] = v[x] + v[y] & 0xFFFFFFFF
                v[z] ^= v[x]
                v[z] = (v[z] << r | v[z] >> 32 - r) & 0xFFFFFFFF
    return struct.pack("<16I", *(x + y & 0xFFFFFFFF for x, y in zip(v, state)))


def _tag(key, ad, sealed):
    one_time = _chacha_block(key, 0)[:32]
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    pad = lambda data: data + bytes(-len(data) % 16)  # noqa: E731
    accumulator = 0
    data = pad(ad) + pad(sealed) + struct.pack("<QQ", len(ad), len(sealed))
    for i in range(0, len(data), 16):
        accumulator = (accumulator + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return (accumulator + int.from_bytes(one_time[16:], "little") & 2**128 - 1).to_bytes(16, "little")


def _stream(key, data):
    out = bytearray()
    for i in range(0, len(data), 64):
        block = _chacha_block(key, 1 + i // 64)
        out += bytes(x ^ y for x, y in zip(data[i:i + 64], block))
    return bytes(out)


def seal(key, ad, plain):
    """ChaCha20-Poly1305 with a nonce of zeros: each key seals one message."""
    key = struct.unpack("<8I", key)
    sealed = _stream(key, plain)
    return sealed + _tag(key, ad, sealed)


def open_sealed(key, ad, data):
    """The plaintext, or None."""
    key = struct.unpack("<8I", key)
    if _tag(key, ad, data[:-16]) != data[-16:]:
        return None
    return _stream(key, data[:-16])
