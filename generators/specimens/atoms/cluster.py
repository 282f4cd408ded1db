"""Random nanoparticles, atom by atom: crystals, twinned particles and glasses of one or two metals, with defects.

A diameter is that of the sphere of an fcc crystal with as many atoms. The distance of nearest neighbours is a / sqrt(2)
with the lattice constant a of `alloys`; for twinned particles, the mean over the bonds of an atom inside.

Steps: sites (`crystals`), or a random packing (`packing`); vacancies; elements (`alloys`); surface relaxation; static
displacements; rotation; and a shift of the mean position to the origin.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import AfterValidator, Field, model_validator
from scipy.spatial import KDTree

from generators.specimens.atoms import crystals
from generators.specimens.atoms.alloys import Arrangement, check_element, choose_second, lattice_constant, lowest
from generators.specimens.atoms.crystals import FaultName, Floats, Sites, Triple
from generators.specimens.atoms.packing import packed
from generators.specimens.draws import Quaternion, draw_quaternion, stored_parameters, to_float32
from generators.specimens.particles.mesh import rotation_matrix
from physics.scattering.atoms import Atoms
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

MINIMUM = 0.85  # minimum distance of atoms in a glass, relative to that of nearest neighbours
NEAR = 1.2  # reach of neighbours, relative to their distance; second neighbours of fcc are at 1.41
SURFACE_NEIGHBOURS = 9  # neighbours of an atom on a face {111}, 8 on {100}; inside there are 12
FAULTED = ("octahedron", "sphere")  # the others have no close-packed layers through the whole particle

type Kind = Literal["octahedron", "sphere", "icosahedron", "decahedron", "amorphous"]


class Cluster(Settings):
    """Settings of random nanoparticles."""

    kinds: tuple[Kind, ...] = Field(
        ("octahedron", "sphere", "icosahedron", "decahedron", "amorphous"),
        min_length=1,
        **setting("structures, one of which is drawn; repeat a name to draw it more often"),
    )
    elements: tuple[Annotated[str, AfterValidator(check_element)], ...] = Field(
        ("Ni", "Pt"), min_length=1, max_length=2, **setting("one element or two; with a shell, first that of the core")
    )
    share: Annotated[Range, within(0, 1)] = between(0.3, 0.7, "share of the atoms that are of the second element")
    arrangements: tuple[Arrangement, ...] = Field(
        ("random", "core-shell", "L1_0", "L1_2"),
        min_length=1,
        **setting("arrangements of two elements, one of which is drawn; glasses have neither L1_0 nor L1_2: random"),
    )
    order: Annotated[Range, within(0, 1)] = between(
        0.5, 1.0, "order parameter of the arrangement, relative to the largest that the composition allows"
    )
    constant: Annotated[Range, within(0.3, 0.7)] | None = Field(
        None, **setting("lattice constant as an fcc crystal; none: from the elements, by Vegard's law", "nm")
    )
    diameter: Annotated[Range, within(1, 15)] = between(
        3.0, 9.0, "diameter of the sphere of an fcc crystal with as many atoms", "nm"
    )
    truncation: Annotated[Range, within(0, 0.5)] = between(
        0.2, 0.4, "octahedron: share of an edge cut off at each end; 1/3: regular, 0.5: a cuboctahedron"
    )
    belt: Annotated[Range, within(0, 0.9)] = between(
        0.2, 0.5, "decahedron: height of the faces {100} relative to the axis; 0: a bipyramid"
    )
    notch: Annotated[Range, within(0, 0.5)] = between(
        0.0, 0.3, "decahedron: depth of the notches at twin planes, relative to the distance of the faces {100}"
    )
    offset: Annotated[Range, within(0, 0.5)] = between(
        0.0, 0.5, "each coordinate of the middle in the cell; 0: on an atom", "lattice constant"
    )
    density: Annotated[Range, within(0.5, 1)] = between(0.92, 0.97, "amorphous: density relative to the fcc crystal")
    faults: tuple[FaultName, ...] = Field(
        ("none", "none", "fault", "twin"),
        min_length=1,
        **setting("planar faults of octahedra and spheres, one of which is drawn"),
    )
    fault_height: Annotated[Range, within(-0.9, 0.9)] = between(
        -0.5, 0.5, "distance of the fault from the middle, relative to that of the surface"
    )
    vacancies: Annotated[Range, within(0, 0.5)] = between(0.0, 0.02, "share of the sites that are empty")
    relaxation: Annotated[Range, within(-0.1, 0.1)] = between(
        0.0, 0.03, "shift of the surface atoms towards the middle", "distance of nearest neighbours"
    )
    displacement: Annotated[Range, within(0, 0.03)] = between(
        0.0, 0.005, "standard deviation of static displacements along one axis", "nm"
    )

    @model_validator(mode="after")
    def _check_constant(self) -> Self:
        if self.constant is None:
            lattice_constant(self.elements, 0.5)
        return self


@dataclass(frozen=True, slots=True)
class DrawnCluster:
    """A drawn nanoparticle: numbers that float32 holds exactly, and a seed for its atoms."""

    kind: Kind
    elements: tuple[str, ...]
    arrangement: Arrangement
    fault: FaultName
    share: float
    order: float
    constant: float  # lattice constant [nm]
    diameter: float  # [nm]
    truncation: float
    belt: float
    notch: float
    offset: Triple  # [lattice constant]
    density: float
    fault_height: float
    vacancies: float
    relaxation: float  # [distance of nearest neighbours]
    displacement: float  # [nm]
    quaternion: Quaternion
    seed: int


def draw(cluster: Cluster, rng: np.random.Generator) -> DrawnCluster:
    """Draw a nanoparticle.

    Args:
        cluster: the settings
        rng: random numbers; 22 of them are consumed
    """
    kind, arrangement = _choose(cluster.kinds, rng), _choose(cluster.arrangements, rng)
    fault = _choose(cluster.faults, rng)
    share = cluster.share.draw(rng) * (len(cluster.elements) - 1)
    given = (cluster.constant or Range(low=0, high=0)).draw(rng)
    constant = given if cluster.constant else lattice_constant(cluster.elements, share)
    spans = (cluster.order, cluster.diameter, cluster.truncation, cluster.belt, cluster.notch, cluster.density)
    order, diameter, truncation, belt, notch, density = to_float32(*(span.draw(rng) for span in spans))
    defects = (cluster.fault_height, cluster.vacancies, cluster.relaxation, cluster.displacement)
    fault_height, vacancies, relaxation, displacement = to_float32(*(span.draw(rng) for span in defects))
    ordered = arrangement in ("L1_0", "L1_2")
    return DrawnCluster(
        kind=kind,
        elements=cluster.elements,
        arrangement="random" if len(cluster.elements) == 1 or (ordered and kind == "amorphous") else arrangement,
        fault=fault if kind in FAULTED else "none",
        share=to_float32(share)[0],
        order=order,
        constant=to_float32(constant)[0],
        diameter=diameter,
        truncation=truncation,
        belt=belt,
        notch=notch,
        offset=to_float32(*(cluster.offset.draw(rng) for _ in range(3))),
        density=density,
        fault_height=fault_height,
        vacancies=vacancies,
        relaxation=relaxation,
        displacement=displacement,
        quaternion=draw_quaternion(rng),
        seed=int(2**32 * rng.random()),
    )


def _choose[T](options: tuple[T, ...], rng: np.random.Generator) -> T:
    return options[int(len(options) * rng.random())]


def columns(drawn: DrawnCluster) -> dict[str, Any]:
    """Return the fields of `schemas.fields.clusters`; words become their positions among the possible ones.

    Args:
        drawn: the nanoparticle
    """
    words = {"kind": Kind, "arrangement": Arrangement, "fault": FaultName}
    codes = {name: get_args(type_.__value__).index(getattr(drawn, name)) for name, type_ in words.items()}
    stored = stored_parameters("", drawn) | codes
    return {f"cluster_{name}": value for name, value in stored.items() if name != "elements"}


def atoms_of(drawn: DrawnCluster) -> Atoms:
    """Return the atoms of a nanoparticle, turned, with their mean position at the origin.

    Args:
        drawn: the nanoparticle
    """
    rng = np.random.Generator(np.random.Philox(drawn.seed))
    sites = _sites(drawn, rng)
    numbers, normals = rng.random((len(sites.depth), 3)), rng.standard_normal((len(sites.depth), 3))
    empty = lowest(numbers[:, 0], round(drawn.vacancies * len(numbers)), np.ones(len(numbers), bool))
    full = np.delete(np.arange(len(numbers)), empty)
    kept = Sites(sites.positions[full], sites.depth[full], sites.sublattice[full])
    second = choose_second(drawn.arrangement, kept, drawn.share, drawn.order, numbers[full, 1:])
    relaxed = _relaxed(sites.positions, drawn.relaxation) if drawn.relaxation else sites.positions
    positions = drawn.constant / sqrt(2) * relaxed + drawn.displacement * normals
    # einsum in place of @, since the bits of a BLAS product may depend on the number of threads.
    turned = np.einsum("kc,ic->ik", rotation_matrix(drawn.quaternion), positions[full])
    return Atoms(drawn.elements, second.astype(np.int64), turned - turned.mean(axis=0))


def _sites(drawn: DrawnCluster, rng: np.random.Generator) -> Sites:
    """Return the sites [distance of nearest neighbours] of the drawn kind."""
    volume = np.pi / 6 * drawn.diameter**3 / (drawn.constant**3 / 4)
    if drawn.kind == "octahedron":
        return crystals.octahedron(volume, drawn.truncation, drawn.offset, drawn.fault, drawn.fault_height)
    if drawn.kind == "sphere":
        return crystals.sphere(volume, drawn.offset, drawn.fault, drawn.fault_height)
    if drawn.kind == "icosahedron":
        return crystals.icosahedron(volume)
    if drawn.kind == "decahedron":
        return crystals.decahedron(volume, drawn.belt, drawn.notch, sqrt(2) * drawn.offset[0])
    return _glass(volume, drawn.density, rng)


def _glass(volume: float, density: float, rng: np.random.Generator) -> Sites:
    """Return a sphere of `volume` atoms, cut from a random packing."""
    radius = (0.75 / np.pi * volume * crystals.ATOM_VOLUME / density) ** (1 / 3)
    edge = max(2 * radius, 4.0)
    count = round(density * edge**3 / crystals.ATOM_VOLUME)
    positions: Floats = packed(count, (edge, edge, edge), 1.0, MINIMUM, rng) - edge / 2
    distance = np.sqrt(np.einsum("ik,ik->i", positions, positions))
    inside = distance <= radius
    return Sites(positions[inside], distance[inside] / radius, np.zeros(int(inside.sum()), np.int64))


def _relaxed(positions: Floats, shift: float) -> Floats:
    """Return the positions with those at the surface moved towards the middle."""
    neighbours = KDTree(positions).query_ball_point(positions, NEAR, return_length=True) - 1
    surface = neighbours <= SURFACE_NEIGHBOURS
    distance = np.sqrt(np.einsum("ik,ik->i", positions, positions))
    return positions * np.where(surface, 1 - shift / np.maximum(distance, abs(shift)), 1.0)[:, None]
