"""Random nanoparticles: faceted, truncated, rounded, wavy or twisted bodies.

Sizes are fractions of the field of view, so a recipe survives another field; shapes are given in units of the half
extents, so a body survives another size.
"""

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from generators.specimens.mesh import Mesh, clip, displace, inflate, reach, rotation, subdivide, transform, twist
from generators.specimens.solids import KINDS, Kind, radius, solid
from schemas.knobs import knob
from schemas.quantities import Range, within

WAVES = 4
SPHERE: float = (6 / math.pi) ** (1 / 3)  # radius of the sphere of the volume of the cube [-1, 1]^3
FINE = 700  # a body of fewer triangles is subdivided before it is deformed

type Three = tuple[float, float, float]
type Quaternion = tuple[float, float, float, float]


def _whole(value: Range) -> Range:
    if value.low % 1 or value.high % 1:
        raise ValueError("must be whole numbers")
    return value


def _knob(default: Any, about: str, unit: str = "1", **rules: Any) -> Any:
    return Field(default, **knob(about, unit), **rules)


class Nanoparticle(BaseModel):
    """How particles are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[Kind, ...] = _knob(KINDS, "bodies to start from, one drawn; a name may occur twice", min_length=1)
    size: Annotated[Range, within(0, 0.5, above=True)] = _knob(
        Range(low=0.1, high=0.17), "half the edge of the cube of the same volume, before cuts", "field of view"
    )
    aspect: Annotated[Range, within(0.1, 10)] = _knob(
        Range(low=0.75, high=1.3), "stretch along each of the body's three axes"
    )
    offset: Annotated[Range, within(-0.5, 0.5)] = _knob(
        Range(low=-0.05, high=0.05), "each coordinate of the body's middle", "field of view"
    )
    margin: Annotated[float, within(-10, 0.5)] = _knob(
        0.02, "room kept free along the border: a body that might reach into it is made smaller", "field of view"
    )
    cuts: Annotated[Range, within(0, 32), AfterValidator(_whole)] = _knob(
        Range(low=0, high=5), "number of plane cuts, in random directions"
    )
    cut_depth: Annotated[Range, within(0, 0.9)] = _knob(
        Range(low=0.05, high=0.45), "depth of a cut, relative to the distance of the surface from the middle"
    )
    rounded: Annotated[float, within(0, 1)] = _knob(0.4, "share of the bodies with rounded edges")
    rounding: Annotated[Range, within(0, 1)] = _knob(Range(low=0.1, high=0.6), "0 sharp, 1 a sphere")
    growth: Annotated[Range, within(-0.5, 2)] = _knob(
        Range(low=0, high=0), "layer grown along rays from the middle", "half extent"
    )
    wavy: Annotated[float, within(0, 1)] = _knob(0.4, "share of the bodies with a wavy surface")
    waviness: Annotated[Range, within(0, 0.9)] = _knob(
        Range(low=0.05, high=0.3), "largest displacement of the surface, relative to its distance from the middle"
    )
    wavelength: Annotated[Range, within(0.5)] = _knob(
        Range(low=1, high=3), f"of each of the {WAVES} plane waves that displace the surface", "half extent"
    )
    twisted: Annotated[float, within(0, 1)] = _knob(0.2, "share of the bodies that are twisted")
    twist: Annotated[Range, within(-20, 20)] = _knob(
        Range(low=-0.8, high=0.8), "turn about the body's z axis", "rad/half extent"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.offset.magnitude + self.margin >= 0.5:
            raise ValueError(
                f"offset ({self.offset.magnitude:g}) and margin ({self.margin:g}) must leave room below 0.5"
            )
        return self


# In the spirit of phase-ret-dl's Blender script: a cube, its edges rounded by subdivision, its surface moved by -0.02
# to 0.07 of the field, cut (for its fracture, off there) and twisted by up to 45 and 100 degrees over a part of its
# height.
SEED = Nanoparticle(
    kinds=("cuboid",),
    size=Range(low=0.12, high=0.14),
    aspect=Range(low=1, high=1),
    cuts=Range(low=0, high=2),
    cut_depth=Range(low=0.1, high=0.5),
    rounded=1,
    rounding=Range(low=0, high=0.6),
    growth=Range(low=-0.15, high=0.5),
    wavy=1,
    waviness=Range(low=0, high=0.15),
    wavelength=Range(low=2, high=4),
    twisted=1,
    twist=Range(low=0, high=1.2),
)


@dataclass(frozen=True, slots=True)
class Particle:
    """A body, drawn: numbers that float32 holds exactly, so a stored particle builds the same mesh.

    What each means, and its unit: `schemas.particles`, which stores them as `particle_<name>`.
    """

    kind: int
    half: Three
    middle: Three
    quaternion: Quaternion
    cuts: int
    cut_normal: tuple[Three, ...]
    cut_depth: tuple[float, ...]
    rounding: float
    growth: float
    waviness: float
    wave: tuple[Three, ...]
    wave_phase: tuple[float, ...]
    twist: float


def draw(recipe: Nanoparticle, rng: np.random.Generator) -> Particle:
    """A particle. Always consumes as many numbers of `rng`, whatever comes out."""
    kind = KINDS.index(recipe.kinds[int(len(recipe.kinds) * rng.random())])
    size = recipe.size.draw(rng)
    half = [size * recipe.aspect.draw(rng) for _ in range(3)]
    middle = [recipe.offset.draw(rng) for _ in range(3)]
    quaternion = draw_quaternion(rng)
    cuts, normals, depths = _draw_cuts(recipe, rng)
    rounding = recipe.rounding.draw(rng) * (rng.random() < recipe.rounded)
    growth = recipe.growth.draw(rng)
    waviness = recipe.waviness.draw(rng) * (rng.random() < recipe.wavy)
    waves = [_direction(u, v, 1 / recipe.wavelength.draw(rng)) for u, v in rng.random((WAVES, 2)).tolist()]
    phases = rng.random(WAVES).tolist()
    turn = recipe.twist.draw(rng) * (rng.random() < recipe.twisted)
    room = 0.5 - recipe.margin - max(abs(middle[1]), abs(middle[2]))
    scale = min(1.0, room / (_farthest(KINDS[kind], rounding, growth, waviness) * max(half)))
    rounding, growth, waviness, turn = _stored(rounding, growth, waviness, turn)
    return Particle(
        kind=kind,
        half=_stored(*(scale * length for length in half)),
        middle=_stored(*middle),
        quaternion=quaternion,
        cuts=cuts,
        cut_normal=tuple(_stored(*normal) for normal in normals),
        cut_depth=_stored(*depths),
        rounding=rounding,
        growth=growth,
        waviness=waviness,
        wave=tuple(_stored(*wave) for wave in waves),
        wave_phase=_stored(*phases),
        twist=turn,
    )


def draw_quaternion(rng: np.random.Generator) -> Quaternion:
    """An orientation (w, z, y, x), uniform on SO(3), as float32 stores it (Shoemake, Graphics Gems III, 1992)."""
    u, v, w = rng.random(3).tolist()
    r, s = math.sqrt(1 - u), math.sqrt(u)
    a, b = 2 * math.pi * v, 2 * math.pi * w
    quaternion: Quaternion = _stored(r * math.sin(a), r * math.cos(a), s * math.sin(b), s * math.cos(b))
    return quaternion


def build(particle: Particle, field_of_view: float) -> Mesh:
    """The mesh [nm] of a particle in a field of view [nm], the origin on the axis in the middle of the field."""
    body = solid(KINDS[particle.kind], 1.0)
    for normal, depth in zip(particle.cut_normal[: particle.cuts], particle.cut_depth, strict=False):
        body = clip(body, normal, (1 - depth) * reach(body, normal))
    if particle.rounding or particle.growth or particle.waviness or particle.twist:
        body = _deformed(body, particle)
    matrix = rotation(particle.quaternion) * (field_of_view * np.array(particle.half))
    return transform(body, matrix, field_of_view * np.array(particle.middle))


def _deformed(body: Mesh, particle: Particle) -> Mesh:
    while len(body) < FINE:
        body = subdivide(body)
    if particle.rounding or particle.growth:
        body = inflate(body, 1 - particle.rounding, particle.rounding * SPHERE + particle.growth)
    if particle.waviness:
        body = displace(body, particle.waviness, np.array(particle.wave), np.array(particle.wave_phase))
    return twist(body, particle.twist) if particle.twist else body


def _farthest(kind: Kind, rounding: float, growth: float, waviness: float) -> float:
    """A bound of the distance of the surface from the middle [half extents]."""
    return ((1 - rounding) * radius(kind) + rounding * SPHERE + growth) * (1 + waviness)


def _draw_cuts(recipe: Nanoparticle, rng: np.random.Generator) -> tuple[int, list[Three], list[float]]:
    """Number, directions and depths of the cuts; rows that are not used are 0."""
    cuts = int(recipe.cuts.low + (recipe.cuts.high + 1 - recipe.cuts.low) * rng.random())
    most = max(int(recipe.cuts.high), 1)  # a column of no rows could not be stored
    normals = [_direction(u, v) for u, v in rng.random((most, 2)).tolist()]
    depths = [recipe.cut_depth.draw(rng) for _ in range(most)]
    unused = most - cuts
    return cuts, normals[:cuts] + [(0.0, 0.0, 0.0)] * unused, depths[:cuts] + [0.0] * unused


def _direction(u: float, v: float, length: float = 1) -> Three:
    """A vector uniform on the sphere, from two numbers uniform in [0, 1)."""
    z = 2 * u - 1
    r = length * math.sqrt(1 - z * z)
    return length * z, r * math.sin(2 * math.pi * v), r * math.cos(2 * math.pi * v)


def _stored(*numbers: float) -> Any:
    """The numbers as float32 holds them."""
    form = f"{len(numbers)}f"
    return struct.unpack(form, struct.pack(form, *numbers))
