"""Operations on points as loops, one step after another as the CUDA kernels define them."""

import math

import torch

FLOAT_MAX = torch.finfo(torch.float32).max


def squared(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b))


def reduce_furthest(nearest):
    """Emulate the block's threads: strided scan, then pairwise reduction, lower thread on ties."""
    n = len(nearest)
    threads = max(min(1 << int(math.log(n) / math.log(2)), 1024), 1)
    best = []
    for t in range(threads):
        value, index = -1.0, 0
        for k in range(t, n, threads):
            if nearest[k] > value:
                value, index = nearest[k], k
        best.append((value, index))
    half = threads // 2
    while half:
        for t in range(half):
            if best[t + half][0] > best[t][0]:
                best[t] = best[t + half]
        half //= 2
    return best[0][1]


def furthest(distance, n, m):
    """One cloud; `distance(i, k)`."""
    chosen, nearest = [0], [1e10] * n
    for _ in range(1, m):
        nearest = [min(nearest[k], distance(chosen[-1], k)) for k in range(n)]
        chosen.append(reduce_furthest(nearest))
    return chosen[:m]


def ball(low, high, s, points, centre):
    found = []
    for k, point in enumerate(points):
        d = squared(centre, point)
        if d == 0 or low * low <= d < high * high:
            found.append(k)
        if len(found) == s:
            break
    return found + [found[0] if found else 0] * (s - len(found))


def nearest_three(points, centre):
    best, index = [1e40] * 3, [0] * 3
    for k, point in enumerate(points):
        d = squared(centre, point)
        for place in range(3):
            if d < best[place]:
                best.insert(place, d)
                index.insert(place, k)
                best.pop()
                index.pop()
                break
    return [math.sqrt(b) if b <= FLOAT_MAX else math.inf for b in best], index


def nearest_k(k, points, centre):
    order = sorted(range(len(points)), key=lambda i: (squared(centre, points[i]), i))
    order = [i for i in order if squared(centre, points[i]) < 1e10][:k]
    return order + [0] * (k - len(order))


def in_box(point, box):
    x, y, z, dx, dy, dz, yaw = (float(v) for v in box)
    if abs(float(point[2]) - (z + dz / 2)) > dz / 2:
        return False
    a, b = float(point[0]) - x, float(point[1]) - y
    u = a * math.cos(-yaw) - b * math.sin(-yaw)
    v = a * math.sin(-yaw) + b * math.cos(-yaw)
    return -dx / 2 < u < dx / 2 and -dy / 2 < v < dy / 2


def pooled(points, features, box, s):
    """Rows of one box and whether it is empty."""
    found = [k for k, point in enumerate(points) if in_box(point, box)][:s]
    if not found:
        return torch.zeros(s, 3 + features.shape[1]), 1
    index = [found[i % len(found)] for i in range(s)]
    return torch.cat([points[index], features[index]], 1), 0
