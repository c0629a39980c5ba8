#!/usr/bin/env python3
"""The derivation of a round's layout, written from specs/parameters.md and not from the Rust code.

`layout.py --table` prints the golden table; `layout.py --check FILE` fails unless FILE holds exactly that table between its
`generated: layouts` markers.
"""

import sys
from math import isqrt

GRID = [
    (650, 32767, 20, 20, 14),
    (1000, 32767, 20, 20, 14),
    (1000, 32767, 1024, 64, 46),
    (4000, 32767, 1024, 64, 46),
    (5000, 32767, 1024, 64, 46),
    (6000, 32767, 1024, 64, 46),
    (20_000, 32767, 1024, 64, 46),
    (52_510, 32767, 20, 20, 14),
    (100_000, 32767, 1024, 64, 46),
    (1_000_000, 32767, 1024, 64, 46),
    (1_000_000, 8191, 1024, 128, 92),
    (1_000_000, 2**32 - 1, 2**20, 512, 342),
    (10_000_000, 32767, 10_000, 128, 92),
    (100_000_000, 32767, 1024, 64, 46),
    (1, 1, 2, 2, 2),
]
T, N, SIGMA_S, SIGMA_E = 309, 8192, 8, 2**55


def columns_for(area):
    c = 64
    while c < 4096 and c * c < area:
        c *= 2
    return c


def log2_ceil(v):
    return (v - 1).bit_length()


def ceil_div(a, b):
    return -(-a // b)


def finish(d, bx, c, masked):
    x_rows, z_rows = ceil_div(d, c), ceil_div(T + 1, c)
    delta = isqrt(d * bx * bx) + 1
    rows = x_rows + z_rows
    forms = []
    if masked:
        me, be, bs = masked["ring_len"], masked["b_e"], masked["b_s"]
        slack = (be * be).bit_length() + (bs * bs).bit_length()
        r_rows = ceil_div(slack, c)
        delta += isqrt(me * be * be) + 1 + isqrt(N * bs * bs) + 1 + slack
        rows += me // c + N // c + r_rows
    gamma = (2 * T * delta - 1).bit_length() + 10
    if gamma > 120:
        return None
    range_bits = 32 if bx * bx < 2**32 else 64
    forms.append((d, range_bits))
    if masked:
        forms += [(me, (be * be).bit_length()), (N, (bs * bs).bit_length()), (2 * r_rows * c, gamma + 1)]
        masked["r_rows"] = r_rows
    if any((n << (2 * (gamma + 1))) + (1 << b) >= 1 << 251 for n, b in forms):
        return None
    return dict(columns=c, x_rows=x_rows, rows=rows, z_rows=z_rows, delta=delta, gamma=gamma, range_bits=range_bits,
                row_vars=log2_ceil(rows), col_vars=log2_ceil(c), masked=masked)


def upload(layout, d, m, t):
    k = layout["masked"]
    row_vars, col_vars, c = layout["row_vars"], layout["col_vars"], layout["columns"]
    header = 32 + 4 + (4 + 32 * t) + 32 + 32 + 64 + 6 * 32 + 64
    y = ceil_div(k["ring_len"] * (252 - k["cut"]), 8) if k else 0
    key_points = N // 2 if k else d
    rounds = 3 * row_vars + 2 * col_vars
    pi = 1 + rounds
    range_proof = 32 * (9 + 2 * log2_ceil(layout["range_bits"]))
    z = T * ceil_div(layout["gamma"], 8)
    proof = z + 32 * (2 + 1 + rounds + 1) + range_proof + 32 * (6 + 3) + 32 * (c + pi + 6)
    return header + y + 32 * key_points + 32 * layout["rows"] + proof + 48 * m


def direct(d, bx, n):
    if d * (n * bx) ** 2 > 2**96:
        return None
    return finish(d, bx, columns_for(2 * d), None)


def masked(d, bx, n, m, t):
    sw = (n * bx).bit_length() + 1
    best = None
    for kappa in range(1, 251 // sw + 1):
        least = ceil_div(d, kappa)
        c = columns_for(2 * (d + least + N + 512))
        me = ceil_div(least, c) * c
        found = None
        for cut in range(251):
            be = isqrt(121 * SIGMA_E**2 * me // 100) + 1
            if cut:
                be += isqrt(4 ** (cut - 1) * me) + 1
            shift = (n * be).bit_length() + 1
            bs = isqrt(121 * SIGMA_S**2 * N // 100) + 1
            k = dict(kappa=kappa, slot_bits=sw, shift=shift, cut=cut, ring_len=me, b_e=be, b_s=bs,
                     beta_log2=(2 * n * bs).bit_length())
            layout = None
            if be.bit_length() <= 100 and shift + kappa * sw <= 251:
                layout = finish(d, bx, c, k)
            if layout is None:
                break
            found = layout
        if found and (best is None or upload(found, d, m, t) < upload(best, d, m, t)):
            best = found
    return best


def derive(d, bx, n, m, t):
    a, b = direct(d, bx, n), masked(d, bx, n, m, t)
    if a and b:
        return b if upload(b, d, m, t) < upload(a, d, m, t) else a
    return a or b


def table():
    out = [
        "| d | B_x | n_max | m | t | mode | C | X-rows | rows | Delta | gamma | range | kappa | sw | shift | cut | M_e | B_e | log2 beta | R-rows | upload | bytes/d |",
        "|" + "---|" * 22,
    ]
    for d, bx, n, m, t in GRID:
        v = derive(d, bx, n, m, t)
        k = v["masked"]
        total = upload(v, d, m, t)
        own = [k[x] for x in ("kappa", "slot_bits", "shift", "cut", "ring_len", "b_e", "beta_log2", "r_rows")] if k else [""] * 8
        row = [d, bx, n, m, t, "masked" if k else "direct", v["columns"], v["x_rows"], v["rows"], v["delta"], v["gamma"],
               v["range_bits"], *own, total, f"{total * 100 // d // 100}.{total * 100 // d % 100:02}"]
        out.append("|" + "|".join(f" {x} " if x != "" else " " for x in row) + "|")
    return "\n".join(out) + "\n"


def main():
    if sys.argv[1:2] == ["--check"] and len(sys.argv) == 3:
        text = open(sys.argv[2], encoding="utf-8").read()
        begin, end = "<!-- generated: layouts -->\n", "<!-- end generated -->"
        held = text.split(begin)[1].split(end)[0].strip("\n") + "\n"
        if held != table():
            sys.exit(f"{sys.argv[2]}: the golden table is not what the derivation rule gives")
    elif sys.argv[1:] == ["--table"]:
        print(table(), end="")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
