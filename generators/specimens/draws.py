"""Random draws that specimens share: counts, kinds, directions and orientations.

Here are also the checks of their settings, and the rounding to float32.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import numpy as np

from schemas.runtime.ranges import Range

type Vector = tuple[float, float, float]
type Quaternion = tuple[float, float, float, float]


def check_whole_numbers(value: Range) -> Range:
    """Check that a setting for a number of things is a range of whole numbers.

    Args:
        value: the range

    Raises:
        ValueError: an end is not a whole number
    """
    if value.low % 1 or value.high % 1:
        raise ValueError("must be whole numbers")
    return value


def check_weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Check that a setting holds the weights of a mixture.

    Args:
        weights: one number per kind

    Raises:
        ValueError: a weight is negative or not finite, or all are 0
    """
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
        raise ValueError("must be numbers of at least 0, and not all 0")
    return weights


def choose_kind(kinds: Sequence[str], kind: str, weights: Sequence[float], rng: np.random.Generator) -> str:
    """Return `kind` if it is one of `kinds`. Otherwise (such as "mixed") draw one of `kinds` by weight.

    Both consume one random number.

    Args:
        kinds: the kinds
        kind: a kind, or another word for a mixture
        weights: weight of each kind
        rng: random numbers
    """
    ends = list(accumulate(weights))
    position = bisect_right(ends[:-1], ends[-1] * float(rng.random()))
    return kind if kind in kinds else kinds[position]


def draw_count(span: Range, rng: np.random.Generator) -> int:
    """Draw a whole number, uniform from low to high; consumes one random number.

    Args:
        span: the range, both ends included
        rng: random numbers
    """
    return int(span.low + (span.high + 1 - span.low) * rng.random())


def direction(u: float, v: float, length: float = 1) -> Vector:
    """Return a vector uniform on the sphere, as (z, y, x).

    Args:
        u: uniform in [0, 1)
        v: uniform in [0, 1)
        length: length of the vector
    """
    z = 2 * u - 1
    r = length * math.sqrt(1 - z * z)
    return length * z, r * math.sin(2 * math.pi * v), r * math.cos(2 * math.pi * v)


def draw_quaternion(rng: np.random.Generator) -> Quaternion:
    """Draw an orientation (w, z, y, x), uniform on SO(3), rounded to float32; consumes three random numbers."""
    return quaternion(*rng.random(3).tolist())


def quaternion(u: float, v: float, w: float) -> Quaternion:
    """Return an orientation (w, z, y, x) from three numbers uniform in [0, 1).

    After Shoemake, Graphics Gems III (1992).

    Args:
        u: uniform in [0, 1)
        v: uniform in [0, 1)
        w: uniform in [0, 1)
    """
    r, s = math.sqrt(1 - u), math.sqrt(u)
    a, b = 2 * math.pi * v, 2 * math.pi * w
    rotation: Quaternion = to_float32(r * math.sin(a), r * math.cos(a), s * math.sin(b), s * math.cos(b))
    return rotation


def to_float32(*numbers: float) -> Any:
    """Return the numbers rounded to float32, as they are stored."""
    form = f"{len(numbers)}f"
    return struct.unpack(form, struct.pack(form, *numbers))


def stored_parameters(prefix: str, drawn: Any) -> dict[str, Any]:
    """Return the attributes of a dataclass as {prefix + name: value}; the keys are the names of parameter fields.

    Args:
        prefix: start of the names of its fields, such as `texture_`
        drawn: the dataclass
    """
    return {f"{prefix}{field.name}": getattr(drawn, field.name) for field in fields(drawn)}
