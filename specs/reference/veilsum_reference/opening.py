"""The sum of a round in masked mode, decoded from what was contributed (specs/protocol.md, section 8.3)."""

from . import group
from .primitives import generators
from .proof import N, Refused, require, ring_element, ring_product, unpack_masked

LOW_REACH = 512  # the table of small multiples of B: the sum of a few keys is far below


def key_pairs(points, beta_log2, largest):
    """The two small integers in each point: the low one from a table, the high one outward from zero."""
    reach = min(largest, LOW_REACH)
    low, up = {group.encode(group.IDENTITY): 0}, group.IDENTITY
    for i in range(1, reach + 1):
        up = group.add(up, group.BASE)
        low[group.encode(up)], low[group.encode(group.negate(up))] = i, -i
    beta = group.multiply(1 << beta_log2, group.BASE)
    multiples, out = [group.IDENTITY], []
    for point in points:
        for i in range(largest + 1):
            if i == len(multiples):
                multiples.append(group.add(multiples[-1], beta))
            found = [(low[data], sign * i) for sign in (1, -1)[:1 + (i > 0)]
                     if (data := group.encode(group.add(point, negate_if(sign > 0, multiples[i])))) in low]
            if found:
                out += found[0]
                break
        else:
            raise Refused("sum.commitment")
    return out


def negate_if(yes, point):
    return group.negate(point) if yes else point


def opened(shape, digest, secret, ciphertexts, masked_vectors):
    """The sum of updates: the key from the ciphertexts and R, then the slots of sum y - A sum s."""
    k, count = shape.masked, len(ciphertexts)
    points = []
    for position, w in enumerate(generators("W", shape.key_points)):
        total = group.multiply(-secret % group.L, w)
        for points_of_one in ciphertexts:
            total = group.add(total, group.decode(points_of_one[position]))
        points.append(total)
    key = [s % group.L for s in key_pairs(points, k["beta_log2"], count * k["b_s"])]
    length = k["ring_len"]
    sums = [sum(column) for column in zip(*(unpack_masked(shape, y) for y in masked_vectors))]
    slots = [[0] * length for _ in range(k["kappa"])]
    for block in range((length + N - 1) // N):
        mask = ring_product(ring_element(digest, block), key)
        for j in range(N * block, min(N * block + N, length)):
            value = (sums[j] - mask[j - N * block]) % group.L
            value -= group.L if value > group.L // 2 else 0
            # What is below the slots is the sum of e.
            value = value + (1 << k["shift"] - 1) >> k["shift"]
            half = 1 << k["slot_bits"] - 1
            for slot in slots:
                x = (value + half) % (2 * half) - half
                slot[j], value = x, value - x >> k["slot_bits"]
            require(value == 0, "result.content")
    coordinates = [x for slot in slots for x in slot]
    require(not any(coordinates[shape.dim:]), "result.content")
    return coordinates[:shape.dim]
