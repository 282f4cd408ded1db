"""Phase retrieval, the published 620 iterations, an object of 32 x 32 pixels in a pattern of 64 x 64; one core, NumPy.

floor         two Fourier transforms per iteration and nothing else, in blocks that stay in the cache.
block         `physics.phase_retrieval.reconstruct` of all patterns at once.
one by one    the same function with one pattern at a time, as the paper's baseline was run.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from physics.diffraction import amplitude, embed
from physics.fourier import fft2, ifft2
from physics.phase_retrieval import PUBLISHED, reconstruct, start_with

SIDE, BLOCK, ROUNDS = 32, 8, 5


def measure(n: int) -> dict[str, Any]:
    """Milliseconds per pattern. n: patterns. Rounds are interleaved: a busy machine slows all three."""
    patterns, starts = _patterns(n)
    work = {
        "floor": lambda: _transforms(starts),
        "block": lambda: reconstruct(patterns, starts),
        "one by one": lambda: [reconstruct(patterns[i : i + 1], starts[i : i + 1]) for i in range(n)],
    }
    times = np.array([[_seconds(call) for call in work.values()] for _ in range(ROUNDS)])
    milliseconds = dict(zip(work, 1e3 / n * np.median(times, axis=0), strict=True))
    ratios = {
        "block_to_floor": float(np.median(times[:, 1] / times[:, 0])),
        "one_by_one_to_block": float(np.median(times[:, 2] / times[:, 1])),
    }
    return {"ms_per_pattern": milliseconds, "ratios": ratios, "iterations": PUBLISHED.iterations, "n": n}


def _patterns(n: int) -> tuple[Any, Any]:
    """Amplitudes of discs of random phase, and random starts."""
    rng = np.random.default_rng(0)
    y, x = np.arange(SIDE)[:, None] - SIDE // 2, np.arange(SIDE) - SIDE // 2
    disc = y**2 + x**2 < rng.uniform(6, 14, (n, 1, 1)) ** 2
    wave = (disc * np.exp(1j * rng.uniform(-1, 1, (n, SIDE, SIDE)))).astype(np.complex64)
    pattern = amplitude(embed(wave, (2 * SIDE, 2 * SIDE)))
    return pattern, start_with(pattern, rng.random(pattern.shape, np.float32))


def _transforms(waves: Any) -> None:
    for first in range(0, len(waves), BLOCK):
        wave = waves[first : first + BLOCK]
        for _ in range(PUBLISHED.iterations):
            wave = ifft2(fft2(wave))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    times, ratios, sides = report["ms_per_pattern"], report["ratios"], f"{2 * SIDE} x {2 * SIDE}"
    return "\n".join(
        [
            f"phase retrieval, {report['iterations']} iterations, {report['n']} patterns of {sides}, one core",
            f"ms per pattern      transforms alone {times['floor']:.1f}   a block {times['block']:.1f}"
            f"   one by one {times['one by one']:.1f}",
            f"a block / its transforms        {ratios['block_to_floor']:.2f}",
            f"one by one / a block            {ratios['one_by_one_to_block']:.2f}",
        ]
    )
