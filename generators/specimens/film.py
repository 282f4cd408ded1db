"""A support film under the particles: amorphous, and of varying thickness.

    t(r) = T exp(s g(r) - s^2/2),   s^2 = ln(1 + roughness^2)

g is a Gaussian random field of mean 0, variance 1 and autocorrelation

    <g(r) g(r + d)> = exp(-d^2 / (2 l^2)),   l the correlation length (a standard deviation)

So t is positive, and has the mean T and the standard deviation T roughness. Its autocorrelation is nearly that of g:
where the autocorrelation of g is rho, that of t is ((1 + roughness^2)^rho - 1) / roughness^2 of its variance.

g is a sum of plane waves that are periodic in the field of view (`random_field`), up to the frequency 1/l, where their
power has sunk to exp(-2 pi^2). The constant wave is left out, because T is drawn separately.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from generators.specimens.planar import random_field
from generators.specimens.planar.random_field import Floats
from generators.specimens.random_values import stored
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between

ROUNDING = 1e-3  # rings of waves: a rounding error of the grid width up to this does not add a ring
FINEST = 1000  # correlation lengths in a field of view: 2 million waves, half a second

type Pair = tuple[float, float]


class Film(Settings):
    """Settings of random films; the defaults are for carbon."""

    thickness: Annotated[Range, within(0, above=True)] = between(5.0, 20.0, "mean thickness of the film", "nm")
    potential: Annotated[Range, within()] = between(9.09, 9.09, "mean inner potential V", "V")
    absorption: Annotated[Range, within(0)] = between(0.5, 0.5, "absorptive potential V'", "V")
    roughness: Annotated[Range, within(0, 1)] = between(
        0.0, 0.1, "standard deviation of the thickness, relative to its mean"
    )
    correlation: Annotated[Range, within(0.2)] = between(
        1.0, 5.0, "correlation length l of the roughness, whose autocorrelation is exp(-r^2 / (2 l^2))", "nm"
    )


@dataclass(frozen=True, slots=True)
class DrawnFilm:
    """A drawn film: numbers that float32 holds exactly, and the seed of its roughness (see `schemas.fields.films`)."""

    thickness: float
    potential: float
    absorption: float
    roughness: float
    correlation: float
    seed: int


def check(film: Film, field_of_view: float) -> None:
    """Refuse a film that would need more waves than can be summed.

    Args:
        film: the settings
        field_of_view: width of the simulated field [nm]

    Raises:
        ValueError: the correlation length is too short for the field
    """
    if film.roughness.high and field_of_view > FINEST * film.correlation.low:
        raise ValueError(
            f"film.correlation = {film.correlation.low:g} nm: must be at least field_of_view / {FINEST} = "
            f"{field_of_view / FINEST:g} nm; or set film.roughness=0"
        )


def draw(film: Film, rng: np.random.Generator) -> DrawnFilm:
    """Draw a film. Every call consumes the same number of random numbers.

    Args:
        film: the settings
        rng: random numbers
    """
    settings = (film.thickness, film.potential, film.absorption, film.roughness, film.correlation)
    numbers: tuple[float, float, float, float, float] = stored(*(setting.draw(rng) for setting in settings))
    return DrawnFilm(*numbers, int(2**32 * rng.random()))


def thickness(
    film: DrawnFilm, shape: tuple[int, int], sampling: Pair, *, origin: Pair | None = None
) -> NDArray[np.float32]:
    """Return the thickness [nm] at each pixel centre, (y, x) float32: positive, and periodic over the field.

    Args:
        film: the film
        shape: pixels (y, x) of the grid
        sampling: (y, x) [nm]
        origin: fractional index of the pixel on the axis, the point that all grids share; N//2 if None (see
        `projection.fine_origin`)
    """
    centre = origin if origin is not None else (shape[0] // 2, shape[1] // 2)
    strength = np.sqrt(np.log1p(film.roughness**2))
    g = _field(film, shape, sampling, centre) if film.roughness else np.zeros(shape)
    out: NDArray[np.float32] = (film.thickness * np.exp(strength * g - strength**2 / 2)).astype(np.float32)
    return out


def _field(film: DrawnFilm, shape: tuple[int, int], sampling: Pair, origin: Pair) -> Floats:
    """Return g at each pixel centre, from waves of the frequencies f [1/nm], whose power ~ exp(-2 pi^2 l^2 f^2)."""
    lengths = shape[0] * sampling[0], shape[1] * sampling[1]
    ky, kx = random_field.waves(max(int(np.ceil(max(lengths) / film.correlation - ROUNDING)), 1))
    fy, fx = ky / lengths[0], kx / lengths[1]
    square = fy**2 + fx**2
    slowest = np.min(
        square, where=square > 0, initial=np.inf
    )  # relative to it, since no power may be left where l exceeds the field
    power = np.exp(-2 * (np.pi * film.correlation) ** 2 * np.maximum(square - slowest, 0))
    return random_field.field(random_field.amplitudes(film.seed, power, fy, fx), ky, kx, shape, origin)
