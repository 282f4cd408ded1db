"""Random nanoparticles: faceted, truncated, rounded, wavy, twisted or fractured bodies, and agglomerates of them.

Sizes are fractions of the field of view, so a recipe works for any field. Shapes are given in units of the half
extents, so they do not depend on the size of the body.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, model_validator

from generators.specimens.draws import (
    Quaternion,
    Vector,
    check_whole_numbers,
    direction,
    draw_count,
    draw_quaternion,
    to_float32,
)
from generators.specimens.particles import agglomerate, fracture
from generators.specimens.particles.mesh import (
    Mesh,
    clip,
    displace,
    inflate,
    rotation_matrix,
    subdivide,
    support,
    transform,
    twist,
)
from generators.specimens.particles.solids import KINDS, Kind, radius, solid
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, described

WAVE_COUNT = 4  # number of plane waves that displace a wavy surface
SPHERE_RADIUS: float = (6 / math.pi) ** (1 / 3)  # radius of the sphere of the volume of the cube [-1, 1]^3
MIN_TRIANGLES = 700  # a body with fewer is subdivided before it is deformed


class Nanoparticle(Settings):
    """Settings of random nanoparticles."""

    kinds: tuple[Kind, ...] = described(
        KINDS, "basic shapes, one of which is drawn; repeat a name to draw it more often", min_length=1
    )
    size: Annotated[Range, within(0, 0.5, above=True)] = between(
        0.1, 0.17, "half the edge of a cube of equal volume, before stretch, cuts and deformations", "field of view"
    )
    aspect: Annotated[Range, within(0.1, 10)] = between(
        0.75, 1.3, "stretch factor along each of the three axes of the body"
    )
    offset: Annotated[Range, within(-0.5, 0.5)] = between(
        -0.05, 0.05, "each coordinate of the middle of the body", "field of view"
    )
    margin: Annotated[float, within(-10, 0.5)] = described(
        0.02, "free margin along the border; bodies that might reach into it are made smaller", "field of view"
    )
    cuts: Annotated[Range, within(0, 32), AfterValidator(check_whole_numbers)] = between(
        0, 5, "number of plane cuts, in random directions"
    )
    cut_depth: Annotated[Range, within(0, 0.9)] = between(
        0.05, 0.45, "depth of a cut, relative to the distance between surface and middle"
    )
    rounded: Annotated[float, within(0, 1)] = described(0.4, "fraction of bodies with rounded edges")
    rounding: Annotated[Range, within(0, 1)] = between(0.1, 0.6, "rounding of the edges; 0: sharp, 1: a sphere")
    growth: Annotated[Range, within(-0.5, 2)] = between(
        0, 0, "thickness of a layer added along rays from the middle", "half extent"
    )
    wavy: Annotated[float, within(0, 1)] = described(0.4, "fraction of bodies with a wavy surface")
    waviness: Annotated[Range, within(0, 0.9)] = between(
        0.05, 0.3, "largest displacement of the surface, relative to its distance from the middle"
    )
    wavelength: Annotated[Range, within(0.5)] = between(
        1, 3, f"wavelength of each of the {WAVE_COUNT} plane waves that displace the surface", "half extent"
    )
    twisted: Annotated[float, within(0, 1)] = described(0.2, "fraction of bodies that are twisted")
    twist: Annotated[Range, within(-20, 20)] = between(
        -0.8, 0.8, "rate of twist about the z axis of the body", "rad/half extent"
    )
    fractured: Annotated[float, within(0, 1)] = described(0.0, "fraction of bodies that are broken")
    pieces: Annotated[Range, within(2, 32), AfterValidator(check_whole_numbers)] = between(
        2, 5, "number of pieces of a broken body, Voronoi cells of random points in it"
    )
    gap: Annotated[Range, within(0, 2)] = between(
        0.02, 0.2, "width of a crack, relative to the distance between the points of its two pieces"
    )
    lost: Annotated[float, within(0, 1)] = described(0.1, "probability that a piece is lost; at least one stays")
    agglomerated: Annotated[float, within(0, 1)] = described(0.0, "fraction of bodies with copies that touch them")
    copies: Annotated[Range, within(1, 32), AfterValidator(check_whole_numbers)] = between(
        1, 4, "number of copies in an agglomerate, besides the body itself"
    )
    copy_scale: Annotated[Range, within(0.05, 1)] = between(0.5, 1, "size of a copy relative to the body")

    @model_validator(mode="after")
    def _check_offset(self) -> Self:
        if self.offset.magnitude + self.margin >= 0.5:
            raise ValueError(
                f"offset ({self.offset.magnitude:g}) and margin ({self.margin:g}): the sum must be below 0.5; lower one"
            )
        return self


# In the spirit of the Blender script of phase-ret-dl: a cube with edges rounded by subdivision and a surface moved by
# -0.02 to 0.07 of the field, twisted by up to 45 degrees, and again by up to 100, each over a part of its height. The
# script can also break bodies, which its authors switched off; here, cuts are used.
PUBLISHED_PARTICLE = Nanoparticle(
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
    """A drawn body: numbers that float32 holds exactly, so a stored particle builds the same mesh.

    Meaning and unit of each number: `schemas.fields.particles`, which stores them as `particle_<name>`.
    """

    kind: int
    half: Vector
    middle: Vector
    quaternion: Quaternion
    cuts: int
    cut_normal: tuple[Vector, ...]
    cut_depth: tuple[float, ...]
    rounding: float
    growth: float
    waviness: float
    wave: tuple[Vector, ...]
    wave_phase: tuple[float, ...]
    twist: float
    pieces: int
    piece_point: tuple[Vector, ...]
    piece_kept: tuple[int, ...]
    gap: float
    copies: int
    copy_quaternion: tuple[Quaternion, ...]
    copy_scale: tuple[float, ...]
    copy_middle: tuple[Vector, ...]


def sizes(recipe: Nanoparticle) -> dict[str, int]:
    """Return the length of each dimension of the fields of a particle: the most that the recipe can need, at least 1.

    Args:
        recipe: the settings
    """
    return {
        "axis": 3,
        "component": 4,
        "wave": WAVE_COUNT,
        "cut": max(int(recipe.cuts.high), 1),
        "piece": int(recipe.pieces.high),
        "copy": int(recipe.copies.high),
    }


def draw(recipe: Nanoparticle, rng: np.random.Generator) -> Particle:
    """Draw a particle. Every call consumes the same number of random numbers, whatever the result.

    Numbers for fractures and copies are drawn last. A recipe that uses neither, such as the default, therefore gives
    the same bodies as versions of this program without them.

    Args:
        recipe: the settings
        rng: random numbers
    """
    return _add_copies(recipe, _draw_body(recipe, rng), rng)


def _draw_body(recipe: Nanoparticle, rng: np.random.Generator) -> Particle:
    """Draw a body without copies: the rows for them are 0."""
    kind = KINDS.index(recipe.kinds[int(len(recipe.kinds) * rng.random())])
    size = recipe.size.draw(rng)
    half = [size * recipe.aspect.draw(rng) for _ in range(3)]
    middle = [recipe.offset.draw(rng) for _ in range(3)]
    quaternion = draw_quaternion(rng)
    cuts, normals, depths = _draw_cuts(recipe, rng)
    rounding = recipe.rounding.draw(rng) * (rng.random() < recipe.rounded)
    growth = recipe.growth.draw(rng)
    waviness = recipe.waviness.draw(rng) * (rng.random() < recipe.wavy)
    waves = [direction(u, v, 1 / recipe.wavelength.draw(rng)) for u, v in rng.random((WAVE_COUNT, 2)).tolist()]
    phases = rng.random(WAVE_COUNT).tolist()
    twist = recipe.twist.draw(rng) * (rng.random() < recipe.twisted)
    drawn_fracture, max_copies = _draw_fracture(recipe, rng), int(recipe.copies.high)
    room = 0.5 - recipe.margin - max(abs(middle[1]), abs(middle[2]))
    scale = min(
        1.0, room / (_max_radius(KINDS[kind], rounding, growth, waviness) * (1 + drawn_fracture.gap) * max(half))
    )
    rounding, growth, waviness, twist = to_float32(rounding, growth, waviness, twist)
    return Particle(
        kind=kind,
        half=to_float32(*(scale * length for length in half)),
        middle=to_float32(*middle),
        quaternion=quaternion,
        cuts=cuts,
        cut_normal=tuple(to_float32(*normal) for normal in normals),
        cut_depth=to_float32(*depths),
        rounding=rounding,
        growth=growth,
        waviness=waviness,
        wave=tuple(to_float32(*wave) for wave in waves),
        wave_phase=to_float32(*phases),
        twist=twist,
        pieces=drawn_fracture.pieces,
        piece_point=drawn_fracture.point,
        piece_kept=drawn_fracture.kept,
        gap=drawn_fracture.gap,
        copies=0,
        copy_quaternion=((0.0, 0.0, 0.0, 0.0),) * max_copies,
        copy_scale=(0.0,) * max_copies,
        copy_middle=((0.0, 0.0, 0.0),) * max_copies,
    )


def build(particle: Particle, field_of_view: float) -> Mesh:
    """Return the mesh [nm] of a particle, with the origin in the middle of the field.

    Args:
        particle: the particle
        field_of_view: width of the field [nm]
    """
    return np.concatenate(bodies(particle, field_of_view))


def bodies(particle: Particle, field_of_view: float) -> list[Mesh]:
    """Return the meshes [nm] of a body and its copies, which do not overlap.

    Args:
        particle: the particle
        field_of_view: width of the field [nm]
    """
    shape = _build_shape(particle)
    size = field_of_view * np.array(particle.half)
    copies = zip(particle.copy_quaternion, particle.copy_scale, particle.copy_middle, strict=True)
    poses = [(particle.quaternion, 1.0, particle.middle), *copies][: 1 + particle.copies]
    return [
        transform(shape, rotation_matrix(quaternion) * (scale * size), field_of_view * np.array(middle))
        for quaternion, scale, middle in poses
    ]


def _build_shape(particle: Particle) -> Mesh:
    """Return the body about the origin, in units of its half extents."""
    body = solid(KINDS[particle.kind], 1.0)
    for normal, depth in zip(particle.cut_normal[: particle.cuts], particle.cut_depth, strict=False):
        body = clip(body, normal, (1 - depth) * support(body, normal))
    if particle.rounding or particle.growth or particle.waviness or particle.twist:
        body = _deform(body, particle)
    if particle.pieces > 1:
        points = particle.piece_point[: particle.pieces]
        body = np.concatenate(fracture.break_body(body, points, particle.piece_kept, particle.gap))
    return body


def _deform(body: Mesh, particle: Particle) -> Mesh:
    """Return the body with enough triangles, rounded, grown, wavy and twisted as drawn."""
    while len(body) < MIN_TRIANGLES:
        body = subdivide(body)
    if particle.rounding or particle.growth:
        body = inflate(body, 1 - particle.rounding, particle.rounding * SPHERE_RADIUS + particle.growth)
    if particle.waviness:
        body = displace(body, particle.waviness, np.array(particle.wave), np.array(particle.wave_phase))
    return twist(body, particle.twist) if particle.twist else body


def _max_radius(kind: Kind, rounding: float, growth: float, waviness: float) -> float:
    """Return an upper bound of the distance of the surface from the middle [half extents]."""
    return ((1 - rounding) * radius(kind) + rounding * SPHERE_RADIUS + growth) * (1 + waviness)


def _draw_cuts(recipe: Nanoparticle, rng: np.random.Generator) -> tuple[int, list[Vector], list[float]]:
    """Draw number, directions and depths of the cuts; unused rows are 0."""
    cuts = draw_count(recipe.cuts, rng)
    rows = max(int(recipe.cuts.high), 1)  # a column without rows could not be stored
    normals = [direction(u, v) for u, v in rng.random((rows, 2)).tolist()]
    depths = [recipe.cut_depth.draw(rng) for _ in range(rows)]
    unused = rows - cuts
    return cuts, normals[:cuts] + [(0.0, 0.0, 0.0)] * unused, depths[:cuts] + [0.0] * unused


def _draw_fracture(recipe: Nanoparticle, rng: np.random.Generator) -> fracture.Fracture:
    is_broken = rng.random() < recipe.fractured
    pieces, gap = draw_count(recipe.pieces, rng), recipe.gap.draw(rng)
    return fracture.draw(pieces if is_broken else 1, int(recipe.pieces.high), gap, recipe.lost, rng)


def _add_copies(recipe: Nanoparticle, body: Particle, rng: np.random.Generator) -> Particle:
    """Add copies to the body, if it gets any; all are scaled down if need be, and moved into the field of view."""
    has_copies = rng.random() < recipe.agglomerated
    number, max_copies = draw_count(recipe.copies, rng), int(recipe.copies.high)
    copies = agglomerate.draw(number if has_copies else 0, max_copies, recipe.copy_scale, rng)
    if not copies:
        return body
    unused = max_copies - number
    unplaced = replace(
        body,
        middle=(0.0, 0.0, 0.0),
        copies=number,
        copy_quaternion=(*(copy.quaternion for copy in copies), *body.copy_quaternion[:unused]),
        copy_scale=(*(copy.scale for copy in copies), *body.copy_scale[:unused]),
    )
    meshes = bodies(unplaced, 1.0)
    shifts = agglomerate.place_copies(meshes, copies)
    scale, middles = agglomerate.fit_into_field_of_view(meshes, shifts, body.middle, recipe.margin)
    middle, *others = (to_float32(*row) for row in middles.tolist())
    return replace(
        unplaced,
        half=to_float32(*(scale * length for length in body.half)),
        middle=middle,
        copy_middle=(*others, *body.copy_middle[:unused]),
    )
