"""Random numbers of specimens: directions, orientations, counts, and all of them as float32 stores them."""

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import numpy as np

from schemas.runtime.ranges import Range

type Three = tuple[float, float, float]
type Quaternion = tuple[float, float, float, float]


def whole(value: Range) -> Range:
    """The rule of a setting that counts."""
    if value.low % 1 or value.high % 1:
        raise ValueError("must be whole numbers")
    return value


def shares(weights: tuple[float, ...]) -> tuple[float, ...]:
    """The rule of a setting that holds the weights of a mixture."""
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
        raise ValueError("must be numbers of at least 0, and not all 0")
    return weights


def choose(words: Sequence[str], word: str, weights: Sequence[float], rng: np.random.Generator) -> str:
    """The word, if it is among `words`; else ("mixed") one of them by their weights; consumes one number of `rng`."""
    ends = list(accumulate(weights))
    place = bisect_right(ends[:-1], ends[-1] * float(rng.random()))
    return word if word in words else words[place]


def count(span: Range, rng: np.random.Generator) -> int:
    """A whole number, each from low to high as likely; always consumes one number of `rng`."""
    return int(span.low + (span.high + 1 - span.low) * rng.random())


def direction(u: float, v: float, length: float = 1) -> Three:
    """A vector uniform on the sphere, from two numbers uniform in [0, 1)."""
    z = 2 * u - 1
    r = length * math.sqrt(1 - z * z)
    return length * z, r * math.sin(2 * math.pi * v), r * math.cos(2 * math.pi * v)


def draw_quaternion(rng: np.random.Generator) -> Quaternion:
    """An orientation (w, z, y, x), uniform on SO(3), as float32 stores it; always consumes three numbers of `rng`."""
    return quaternion(*rng.random(3).tolist())


def quaternion(u: float, v: float, w: float) -> Quaternion:
    """An orientation from three numbers uniform in [0, 1) (Shoemake, Graphics Gems III, 1992)."""
    r, s = math.sqrt(1 - u), math.sqrt(u)
    a, b = 2 * math.pi * v, 2 * math.pi * w
    turn: Quaternion = stored(r * math.sin(a), r * math.cos(a), s * math.sin(b), s * math.cos(b))
    return turn


def stored(*numbers: float) -> Any:
    """The numbers as float32 holds them."""
    form = f"{len(numbers)}f"
    return struct.unpack(form, struct.pack(form, *numbers))


def columns(prefix: str, drawn: Any) -> dict[str, Any]:
    """Return the attributes of a dataclass by the names of the parameters that store them: `<prefix><name>`."""
    return {f"{prefix}{one.name}": getattr(drawn, one.name) for one in fields(drawn)}
