"""Numbers and permutations that look like chance and are functions of what goes in: nothing is drawn, nothing kept.

A permutation is a Feistel network (Luby and Rackoff 1988) that walks until it is back in its range (Black and Rogaway
2002), so each place of it costs the same and none has to be asked for before another.
"""

import numpy as np

ROUNDS = 6
GOLDEN = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1


def mixed(x: np.ndarray) -> np.ndarray:  # uint64 -> uint64
    """Numbers that look like chance, one for each: the finaliser of SplitMix64 (Steele et al. 2014, figure 16)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key_of(*numbers: int | np.ndarray) -> np.ndarray:  # (...) each -> (...) uint64
    """One key of several numbers."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        part = np.uint64(number & WORD) if isinstance(number, int) else number.astype(np.uint64)
        key = mixed((key ^ part) + np.uint64(GOLDEN))
    return key


def permuted(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:  # (N,), (N,), (N,) -> (N,)
    """Where each index below its size comes to stand in the permutation of its key."""
    place, size, key = np.broadcast_arrays(index.astype(np.uint64), size.astype(np.uint64), key)
    place = place.copy()
    bits = np.ceil(np.log2(np.maximum(size, 2).astype(np.float64)) / 2).astype(np.uint64)
    half = (np.uint64(1) << bits) - np.uint64(1)
    walking = np.flatnonzero(size > 1)
    while len(walking):
        place[walking] = shuffled(place[walking], bits[walking], half[walking], key[walking])
        walking = walking[place[walking] >= size[walking]]
    return place.astype(np.int64)


def shuffled(x: np.ndarray, bits: np.ndarray, half: np.ndarray, key: np.ndarray) -> np.ndarray:  # (N,) each -> (N,)
    """One pass of the network over numbers of twice so many bits."""
    left, right = x >> bits, x & half
    for number in range(ROUNDS):
        noise = mixed(right ^ (key + np.uint64(GOLDEN * (number + 1) & WORD)))
        left, right = right, left ^ (noise & half)
    return (left << bits) | right
