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

from generators.specimens.draws import to_float32
from generators.specimens.planar import random_field
from generators.specimens.planar.random_field import Floats
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between

RING_TOLERANCE = 1e-3  # a rounding error of the grid width up to this part of a ring of waves does not add a ring
MAX_LENGTHS = 1000  # correlation lengths in a field of view; these make 2 million waves, which take half a second

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


def check_correlation(film: Film, field_of_view: float) -> None:
    """Refuse a film that would need more waves than can be summed.

    Args:
        film: the settings
        field_of_view: width of the field of view [nm]

    Raises:
        ValueError: the correlation length is too short for the field of view
    """
    if film.roughness.high and field_of_view > MAX_LENGTHS * film.correlation.low:
        raise ValueError(
            f"film.correlation = {film.correlation.low:g} nm: must be at least field_of_view / {MAX_LENGTHS} = "
            f"{field_of_view / MAX_LENGTHS:g} nm; or set film.roughness=0"
        )


def draw(film: Film, rng: np.random.Generator) -> DrawnFilm:
    """Draw a film. Every call consumes the same number of random numbers.

    Args:
        film: the settings
        rng: random numbers
    """
    settings = (film.thickness, film.potential, film.absorption, film.roughness, film.correlation)
    numbers: tuple[float, float, float, float, float] = to_float32(*(setting.draw(rng) for setting in settings))
    return DrawnFilm(*numbers, int(2**32 * rng.random()))


def thickness(
    film: DrawnFilm, shape: tuple[int, int], sampling: Pair, *, origin: Pair | None = None
) -> NDArray[np.float32]:
    """Return the thickness [nm] at each pixel centre, (y, x) float32: positive, and periodic over the field of view.

    Args:
        film: the film
        shape: pixels (y, x) of the grid
        sampling: (y, x) [nm]
        origin: fractional index of the pixel on the axis, the point that all grids share; N//2 if None (see
        `projection.fine_origin`)
    """
    axis_pixel = origin if origin is not None else (shape[0] // 2, shape[1] // 2)
    strength = np.sqrt(np.log1p(film.roughness**2))
    g = _roughness_field(film, shape, sampling, axis_pixel) if film.roughness else np.zeros(shape)
    out: NDArray[np.float32] = (film.thickness * np.exp(strength * g - strength**2 / 2)).astype(np.float32)
    return out


def _roughness_field(film: DrawnFilm, shape: tuple[int, int], sampling: Pair, origin: Pair) -> Floats:
    """Return g at each pixel centre, from waves of the frequencies f [1/nm], whose power ~ exp(-2 pi^2 l^2 f^2)."""
    lengths = shape[0] * sampling[0], shape[1] * sampling[1]
    ky, kx = random_field.waves(max(int(np.ceil(max(lengths) / film.correlation - RING_TOLERANCE)), 1))
    fy, fx = ky / lengths[0], kx / lengths[1]
    square = fy**2 + fx**2
    # Relative to the lowest frequency, since no power would be left where l exceeds the field of view.
    lowest = np.min(square, where=square > 0, initial=np.inf)
    power = np.exp(-2 * (np.pi * film.correlation) ** 2 * np.maximum(square - lowest, 0))
    return random_field.sum_waves(random_field.draw_amplitudes(film.seed, power, fy, fx), ky, kx, shape, origin)
