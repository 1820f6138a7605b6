"""Random numbers of the kernel: words of splitmix64 streams, each found by its number.

Nothing is remembered but an environment's seed, so that a number that nobody needs costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flexnfv.model.arrays import Constants, State

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
LATENCY_STREAM = np.uint64(0xD1B54A32D192ED03)
DEATH_STREAM = np.uint64(0x8CB92BA72F3D8DD7)
SHIFT_11 = np.uint64(11)
SHIFT_16 = np.uint64(16)
SHIFT_27 = np.uint64(27)
SHIFT_30 = np.uint64(30)
SHIFT_31 = np.uint64(31)
MASK_16 = np.uint64(0xFFFF)

SLOTS_PER_WORD = 4
"""Instance slots whose jitter comes from one random word, 16 bits for each."""


def random_word(stream: Any, counter: int) -> Any:
    """Word `counter` of the splitmix64 stream that starts at `stream` (uint64)."""
    z = stream + np.uint64(counter + 1) * GOLDEN
    z = (z ^ (z >> SHIFT_30)) * MIX_1
    z = (z ^ (z >> SHIFT_27)) * MIX_2
    return z ^ (z >> SHIFT_31)


def unit(word: Any) -> float:
    """A random word as a number in [0, 1)."""
    return float(word >> SHIFT_11) * (1.0 / 9007199254740992.0)


def wobble(e: int, t: int, i: int, k: int, c: Constants, s: State) -> float:
    """An instance's jitter in sub-step k of an environment's interval, in (-1, 1)."""
    types, slots = s.share.shape[1], s.share.shape[2]
    words = (slots + SLOTS_PER_WORD - 1) // SLOTS_PER_WORD
    counter = ((s.interval[e] * c.substeps + k) * types + t) * words + i // SLOTS_PER_WORD
    word = random_word(s.stream[e], counter)
    bits = (word >> (SHIFT_16 * np.uint64(i % SLOTS_PER_WORD))) & MASK_16
    return (float(bits) + 0.5) * (1.0 / 32768.0) - 1.0


def latency(mean_s: float, spread: float, stream: Any, counter: int) -> float:
    """A launch or rerun latency, uniform within the spread around its mean."""
    if spread == 0.0:
        return mean_s
    u = 2.0 * unit(random_word(stream ^ LATENCY_STREAM, counter)) - 1.0
    return mean_s * (1.0 + spread * u)


def dies(probability: float, stream: Any, counter: int) -> bool:
    """Whether an instance dies in a sub-step."""
    return unit(random_word(stream ^ DEATH_STREAM, counter)) < probability
