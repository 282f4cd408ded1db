"""Values of settings: a number, or a range from which each sample draws its own value.

A range is written `8000:12000` on a command line and `[8000, 12000]` in JSON. `8000` stands for the range 8000:8000.
"""

import math
from typing import Any, Protocol, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_serializer, model_validator


class Uniform(Protocol):
    """A random generator that a range can draw from, such as NumPy's Generator."""

    def random(self) -> float:
        """Return a number drawn uniformly from [0, 1)."""


class Range(BaseModel):
    """A closed interval of numbers, from which values are drawn uniformly.

    >>> Range.model_validate("8000:12000")
    Range(low=8000.0, high=12000.0)
    >>> Range.model_validate(5).model_dump()
    5.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.split(":")
        if isinstance(value, int | float):
            value = [value]
        if isinstance(value, list | tuple):
            if len(value) not in (1, 2):
                raise ValueError("write a number or low:high")
            return {"low": _as_number(value[0]), "high": _as_number(value[-1])}
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("both ends must be finite numbers; write a number or low:high")
        if self.low > self.high:
            raise ValueError(f"low must not exceed high; did you mean {self.high:g}:{self.low:g}?")
        return self

    @model_serializer
    def _dump(self) -> float | list[float]:
        return self.low if self.low == self.high else [self.low, self.high]

    def draw(self, rng: Uniform) -> float:
        """Return one value, uniform in [low, high]. Exactly one number of `rng` is consumed, also if low = high."""
        return self.low + (self.high - self.low) * float(rng.random())

    def draw_logarithmic(self, rng: Uniform) -> float:
        """Return one value whose logarithm is uniform, for 0 < low; a range of one value returns it.

        Exactly one number of `rng` is consumed, as for `draw`.
        """
        share = float(rng.random())
        return self.low if self.low == self.high else float(self.low * (self.high / self.low) ** share)

    @property
    def magnitude(self) -> float:
        """The largest absolute value in the range."""
        return max(abs(self.low), abs(self.high))


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number; write a number or low:high") from None


def within(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> AfterValidator:
    """Return a bound for a setting: low <= value <= high, for a number or both ends of a Range.

    Args:
        low: minimum value.
        high: maximum value.
        above: exclude `low` itself.
    """

    def check(value: Any) -> Any:
        ends = (value.low, value.high) if isinstance(value, Range) else (value,)
        for end in ends:
            if not math.isfinite(end):
                raise ValueError("must be a finite number")
            if end < low or end > high or (above and end == low):
                raise ValueError(_describe_bounds(low, high, above))
        return value

    return AfterValidator(check)


def in_unit(unit: str, **others: float) -> BeforeValidator:
    """Return a reader of texts with a unit behind a number or low:high, such as 1e4e/A^2 for electrons.

    Args:
        unit: unit of the setting.
        others: other units, and how many of the first unit each is.
    """
    factors = {unit: 1.0, **others}

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for name, factor in factors.items():
            if value.endswith(name):
                ends = value.removesuffix(name).strip().split(":")
                return [factor * _as_number(end) for end in ends]
        return value

    return BeforeValidator(parse)


def power_of_two() -> AfterValidator:
    """Return a bound for a setting: 1, 2, 4, ..."""

    def check(value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two (1, 2, 4, ...)")
        return value

    return AfterValidator(check)


def _describe_bounds(low: float, high: float, above: bool) -> str:
    parts = []
    if math.isfinite(low):
        parts.append(f"{'more than' if above else 'at least'} {low:g}")
    if math.isfinite(high):
        parts.append(f"at most {high:g}")
    return "must be " + " and ".join(parts)
