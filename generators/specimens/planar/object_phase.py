"""The phase within a flat object: gratings and Gaussians, the displacement about defects, or a random field.

It is called displacement because near a Bragg reflection Q the phase of a crystal is Q.u, where u is the displacement
of its lattice. It is a sum of terms:

    grating, gaussian   w sin(2 pi (f.r + t)),  w exp(-|r - r0|^2 / (2 s^2))      (Cherukara et al., Sci. Rep. 8 (2018))
    edge, screw         Q.u of a dislocation along the beam, with Q.b / 2 pi a whole number
    cylinder, sphere    Q.u of an inclusion (`physics.elasticity`)
    field               Gaussian random, of the power (1 + (2 pi l f)^2)^(-slope / 2) up to the frequency 1/l along each
                        axis: ~ f^-slope where l f is large; with a slope of 3, nearly exp(-r / l) as autocorrelation

Scale: a sum without dislocations is scaled and shifted so that its minimum within the object is -span/2 and its maximum
is span/2. Within the object means: where the modulus is at least MIN_MODULUS, on the given grid. In the tail of the
edge, where the modulus is less, the phase is cut to these values. Where the modulus is 0, there is no phase, and it is
set to 0.

Around a dislocation the phase rises by 2 pi times Q.b / 2 pi, and must jump back somewhere; only exp(i phase) is
continuous there. Scaling would destroy this, so a sum with dislocations is only wrapped into -pi..pi.

Stored lengths are in frame widths (`generators.specimens.planar.pixel_centres`). Lengths of settings are relative to
twice the `reach`, the width that objects may take; positions are relative to the disc about the object.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator

from generators.specimens.draws import check_weights, check_whole_numbers, choose_kind, draw_count, to_float32
from generators.specimens.planar import random_field
from generators.specimens.planar.pixel_centres import pixel_centres
from generators.specimens.planar.random_field import Floats
from physics.elasticity import edge_dislocation, inclusion, screw_dislocation
from schemas.fields.object_phases import KINDS, MIN_MODULUS, NUMBERS_PER_TERM, TERMS
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, described

CORE_RADIUS = 1e-3  # radius about the line of an edge dislocation [frame width] within which elasticity does not hold

type Kind = Literal["gratings", "defects", "random", "mixed"]
type Defect = Literal["edge", "screw", "cylinder", "sphere"]
type Disc = tuple[float, float, float]
type Numbers = tuple[float, ...]
type Term = tuple[str, Numbers]


class Displacement(Settings):
    """Settings of the random phase of an object; for a crystal, Q.u of the displacement u of its lattice."""

    kind: Kind = described(
        "gratings",
        "kind of phase; gratings includes Gaussians, defects are dislocations and inclusions; mixed: any kind",
    )
    weights: Annotated[tuple[float, float, float], AfterValidator(check_weights)] = described(
        (1.0, 1.0, 1.0), "relative weights of gratings, defects and random if kind=mixed"
    )
    span: Annotated[Range, within(0, 2 * math.pi)] = between(
        0.0, 2 * math.pi, "peak-to-peak range of the phase; no effect with dislocations", "rad"
    )
    gratings: Annotated[Range, within(0, 16), AfterValidator(check_whole_numbers)] = between(
        1, 4, "number of sine gratings, in random directions"
    )
    gaussians: Annotated[Range, within(0, 16), AfterValidator(check_whole_numbers)] = between(
        0, 4, "number of Gaussians"
    )
    weight: Annotated[Range, within(-1, 1)] = between(-1, 1, "weight of each grating and Gaussian")
    period: Annotated[Range, within(0.02, 100)] = between(
        0.2, 1.5, "period of a grating, relative to the largest width of objects", "2 reach"
    )
    width: Annotated[Range, within(0.01, 100)] = between(
        0.05, 0.3, "standard deviation of a Gaussian, relative to the largest width of objects", "2 reach"
    )
    place: Annotated[Range, within(0, 2)] = between(
        0.0, 0.8, "distance of Gaussians and defects from the middle of the object, relative to its radius"
    )
    defects: Annotated[Range, within(1, 16), AfterValidator(check_whole_numbers)] = between(
        1, 2, "number of dislocations and inclusions"
    )
    defect_kinds: tuple[Defect, ...] = described(
        ("edge", "screw", "cylinder", "sphere"),
        "kinds of defects, drawn at random; repeat a name to draw it more often",
        min_length=1,
    )
    poisson: Annotated[Range, within(-0.9, 0.5)] = between(0.2, 0.45, "Poisson's ratio of the crystal")
    order: Annotated[Range, within(0, 4), AfterValidator(check_whole_numbers)] = between(
        1, 1, "order of a dislocation, Q.b / 2 pi apart from its sign"
    )
    across: Annotated[Range, within(-4, 4)] = between(
        -1.0, 1.0, "Q.n / 2 pi of an edge dislocation; n is as long as b and perpendicular to it"
    )
    misfit: Annotated[Range, within(-100, 100)] = between(
        1.0, 6.0, "phase Q.u at the rim of an inclusion, in the direction of Q", "rad"
    )
    radius: Annotated[Range, within(0.01, 1)] = between(
        0.04, 0.15, "radius of an inclusion, relative to the largest width of objects", "2 reach"
    )
    correlation: Annotated[Range, within(0.02, 10)] = between(
        0.1, 0.3, "correlation length l of a random field, relative to the largest width of objects", "2 reach"
    )
    slope: Annotated[Range, within(0, 20)] = between(
        3.0, 6.0, "exponent of a random field, whose power falls as f^-slope beyond 1 / (2 pi l)"
    )

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        if self.gratings.low + self.gaussians.low < 1:
            raise ValueError("gratings and gaussians must not both be 0; for a flat phase, set span=0")
        return self


@dataclass(frozen=True, slots=True)
class DrawnDisplacement:
    """A drawn phase: numbers that float32 holds exactly, and the seed of a random field.

    Meaning of each number: `schemas.fields.object_phases`, which stores them as `displacement_<name>`. Unused rows are
    0.
    """

    kind: int
    span: float
    terms: int
    term_kind: tuple[int, ...]
    term: tuple[Numbers, ...]
    seed: int

    @property
    def dislocated(self) -> bool:
        """True if a term is a dislocation, so that the phase is not single-valued."""
        return any(TERMS[kind] in ("edge", "screw") for kind in self.term_kind[: self.terms])


def sizes(displacement: Displacement) -> dict[str, int]:
    """Return the lengths of the dimensions of a displacement's columns: as many rows as the recipe may need.

    Args:
        displacement: the settings
    """
    rows = {
        "gratings": int(displacement.gratings.high + displacement.gaussians.high),
        "defects": int(displacement.defects.high),
        "random": 1,
    }
    return {"term": rows.get(displacement.kind, max(rows.values())), "number": NUMBERS_PER_TERM}


def draw(displacement: Displacement, rng: np.random.Generator, reach: float, disc: Disc) -> DrawnDisplacement:
    """Draw the phase of an object.

    Every call consumes 9 + 4 (gratings.high + gaussians.high) + 9 defects.high random numbers, whatever the result.

    Args:
        displacement: the settings
        rng: random numbers
        reach: largest distance of the object from the origin [frame width]
        disc: middle (y, x) and radius of the disc about the object [frame width]
    """
    kind = choose_kind(KINDS, displacement.kind, displacement.weights, rng)
    span = displacement.span.draw(rng)
    drawn = {
        "gratings": _draw_gratings(displacement, rng, 2 * reach, disc),
        "defects": _draw_defects(displacement, rng, 2 * reach, disc),
        "random": _draw_random_field(displacement, rng, 2 * reach),
    }
    seed, terms = int(2**32 * rng.random()), drawn[kind]
    unused = sizes(displacement)["term"] - len(terms)
    result = DrawnDisplacement(
        KINDS.index(kind),
        to_float32(span)[0],
        len(terms),
        (*(TERMS.index(name) for name, _ in terms), *(0,) * unused),
        (*(_padded_row(numbers) for _, numbers in terms), *(_padded_row(()),) * unused),
        seed if kind == "random" else 0,
    )
    return replace(result, span=0.0) if result.dislocated else result


def render(drawn: DrawnDisplacement, modulus: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the phase (y, x) [rad] within an object; 0 where its modulus is 0.

    Args:
        drawn: the phase
        modulus: modulus of the object (y, x), which fills the frame
    """
    n_y, n_x = modulus.shape
    values = sum_of_terms(drawn, n_y, n_x)
    if drawn.dislocated:
        phase = _wrap(values)
    elif (modulus >= MIN_MODULUS).any():
        phase = _scale_to_span(values, values[modulus >= MIN_MODULUS], drawn.span)
    else:
        phase = np.zeros(modulus.shape)
    return np.where(modulus > 0, phase, 0).astype(np.float32)


def sum_of_terms(drawn: DrawnDisplacement, n_y: int, n_x: int) -> Floats:
    """Return the sum of the terms (y, x) [rad], neither scaled nor wrapped, at the pixel centres of the frame, float64.

    Args:
        drawn: the phase
        n_y: number of rows
        n_x: number of columns
    """
    y, x = pixel_centres(n_y)[:, None], pixel_centres(n_x)
    out = np.zeros((n_y, n_x))
    for kind, numbers in zip(drawn.term_kind[: drawn.terms], drawn.term, strict=False):
        if TERMS[kind] == "field":
            out += _random_field(drawn.seed, numbers, (n_y, n_x))
        else:
            out += _TERM_PHASES[TERMS[kind]](y, x, *numbers)
    return out


def _scale_to_span(values: Floats, inside: Floats, span: float) -> Floats:
    """Scale values to -span/2..span/2 over the values inside; the others are cut to that."""
    low, high = inside.min(), inside.max()
    if high == low:
        return np.zeros_like(values)
    out: Floats = span * (np.clip((values - low) / (high - low), 0, 1) - 0.5)
    return out


def _wrap(values: Floats) -> Floats:
    out: Floats = values - 2 * np.pi * np.rint(values / (2 * np.pi))
    return out


def _padded_row(numbers: Numbers) -> Numbers:
    """Return the numbers of a term, rounded to float32; unused ones are 0."""
    row: Numbers = to_float32(*numbers, *(0.0,) * (NUMBERS_PER_TERM - len(numbers)))
    return row


def _draw_gratings(settings: Displacement, rng: np.random.Generator, unit: float, disc: Disc) -> list[Term]:
    """Draw gratings and Gaussians; consumes 2 + 4 (gratings.high + gaussians.high) random numbers."""
    gratings, gaussians = draw_count(settings.gratings, rng), draw_count(settings.gaussians, rng)
    waves = [_draw_grating(settings, rng, unit) for _ in range(int(settings.gratings.high))]
    hills = [_draw_gaussian(settings, rng, unit, disc) for _ in range(int(settings.gaussians.high))]
    return waves[:gratings] + hills[:gaussians]


def _draw_grating(settings: Displacement, rng: np.random.Generator, unit: float) -> Term:
    weight, frequency, angle = settings.weight.draw(rng), 1 / (unit * settings.period.draw(rng)), _draw_angle(rng)
    return "grating", (weight, frequency * math.sin(angle), frequency * math.cos(angle), float(rng.random()))


def _draw_gaussian(settings: Displacement, rng: np.random.Generator, unit: float, disc: Disc) -> Term:
    weight, position = settings.weight.draw(rng), _draw_position(settings, rng, disc)
    return "gaussian", (weight, *position, unit * settings.width.draw(rng))


def _draw_defects(settings: Displacement, rng: np.random.Generator, unit: float, disc: Disc) -> list[Term]:
    """Draw defects of one crystal, so of one Poisson's ratio; consumes 2 + 9 defects.high random numbers."""
    number, poisson = draw_count(settings.defects, rng), settings.poisson.draw(rng)
    return [_draw_defect(settings, rng, unit, disc, poisson) for _ in range(int(settings.defects.high))][:number]


def _draw_defect(settings: Displacement, rng: np.random.Generator, unit: float, disc: Disc, poisson: float) -> Term:
    """Draw one dislocation or inclusion. Every kind consumes the same random numbers."""
    kind = settings.defect_kinds[int(len(settings.defect_kinds) * rng.random())]
    y, x = _draw_position(settings, rng, disc)
    angle, sign = _draw_angle(rng), 1 if rng.random() < 0.5 else -1
    order, across = sign * draw_count(settings.order, rng), settings.across.draw(rng)
    misfit, radius = sign * settings.misfit.draw(rng), unit * settings.radius.draw(rng)
    numbers: Mapping[str, Numbers] = {
        "edge": (order, y, x, angle, across, poisson),
        "screw": (order, y, x, angle),
    }
    return kind, numbers.get(kind, (misfit, y, x, angle, radius))


def _draw_random_field(settings: Displacement, rng: np.random.Generator, unit: float) -> list[Term]:
    return [("field", (1.0, unit * settings.correlation.draw(rng), settings.slope.draw(rng)))]


def _draw_position(settings: Displacement, rng: np.random.Generator, disc: Disc) -> tuple[float, float]:
    """Draw a position in a random direction from the middle of the object."""
    distance, angle = disc[2] * settings.place.draw(rng), _draw_angle(rng)
    return disc[0] + distance * math.sin(angle), disc[1] + distance * math.cos(angle)


def _draw_angle(rng: np.random.Generator) -> float:
    """Draw an angle from +x towards +y [rad]."""
    return 2 * math.pi * float(rng.random())


def _rotate(y: Floats, x: Floats, angle: float) -> tuple[Floats, Floats]:
    """Return the coordinates across and along a direction, of points given by their y and x."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return cosine * y - sine * x, sine * y + cosine * x


def _grating_phase(y: Floats, x: Floats, weight: float, fy: float, fx: float, cycles: float, *_: float) -> Floats:
    out: Floats = weight * np.sin(2 * np.pi * (fy * y + fx * x + cycles))
    return out


def _gaussian_phase(y: Floats, x: Floats, weight: float, y0: float, x0: float, width: float, *_: float) -> Floats:
    out: Floats = weight * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * width**2))
    return out


def _edge_phase(
    y: Floats, x: Floats, order: float, y0: float, x0: float, angle: float, across: float, poisson: float
) -> Floats:
    u_across, u_along = edge_dislocation(*_rotate(y - y0, x - x0, angle), poisson, CORE_RADIUS)
    out: Floats = 2 * np.pi * (order * u_along + across * u_across)
    return out


def _screw_phase(y: Floats, x: Floats, order: float, y0: float, x0: float, angle: float, *_: float) -> Floats:
    out: Floats = 2 * np.pi * order * screw_dislocation(*_rotate(y - y0, x - x0, angle))
    return out


def _inclusion_phase(dimensions: int) -> Callable[..., Floats]:
    """Return the function for the phase of a cylinder (2 dimensions) or sphere (3 dimensions)."""

    def phase(y: Floats, x: Floats, rim: float, y0: float, x0: float, angle: float, radius: float, *_: float) -> Floats:
        _, along = inclusion(*_rotate(y - y0, x - x0, angle), radius, dimensions)
        out: Floats = rim * along
        return out

    return phase


_TERM_PHASES: Mapping[str, Callable[..., Floats]] = {
    "grating": _grating_phase,
    "gaussian": _gaussian_phase,
    "edge": _edge_phase,
    "screw": _screw_phase,
    "cylinder": _inclusion_phase(2),
    "sphere": _inclusion_phase(3),
}


def _random_field(seed: int, numbers: Numbers, shape: tuple[int, int]) -> Floats:
    """Return a field periodic over the frame. A slope above 2 leaves out about 40^(1 - slope / 2) of the variance."""
    weight, correlation, slope, *_ = numbers
    ky, kx = random_field.waves(math.ceil(1 / correlation))
    fy, fx = ky.astype(float), kx.astype(float)
    power = (1 + (2 * np.pi * correlation) ** 2 * (fy**2 + fx**2)) ** (-slope / 2)
    amplitudes = random_field.draw_amplitudes(seed, power, fy, fx)
    out: Floats = weight * random_field.sum_waves(amplitudes, ky, kx, shape, (shape[0] // 2, shape[1] // 2))
    return out
