"""Lattice sites of particles: fcc crystals, and the multiply twinned icosahedron and decahedron.

Lengths are in units of the distance of nearest neighbours, and coordinates are (z, y, x) of the particle's own axes.
A site has a depth, from 0 in the middle to 1 at the surface, and one of the four simple cubic sublattices of fcc.

Octahedron, cut at its corners:  |x| + |y| + |z| <= c,  max(|x|, |y|, |z|) <= (1 - t) c. Its edges are shortened by the
share t at each end. t = 0 is an octahedron, 1/3 is regular, 1/2 is a cuboctahedron.

Decahedron: five grains share an axis. A grain is fcc seen along [110]: rows of atoms parallel to the axis, at i u + j v
with i, j >= 0. Its angle of 70.5 degrees between u and v is widened to 72. With s = i + j, it is limited by

    {111} caps: 2 |z| + s <= m     {100} faces: s <= n     notches (Marks): i <= k and j <= k

Icosahedron (Mackay): 20 grains share a point; grain points are i u + j v + k w with i + j + k <= shells. Bonds along a
shell are 5.1 % longer than those between shells. In both, the mean of the bonds of an atom inside is 1.
"""

from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CELL = sqrt(2)  # lattice constant of fcc
ATOM_VOLUME = CELL**3 / 4  # volume per atom of fcc
LAYER = sqrt(2 / 3)  # distance between the layers (111), at which faults and twins lie
GLIDE = np.array([1, 1, -2])  # shift of a layer from A to B sites [lattice constant / 6]
WIDENED = 2 * np.sin(np.pi / 5) * sqrt(3) / 2  # length of the two bonds across a grain of a decahedron
ICOSAHEDRON_EDGE = 4 / sqrt(10 + 2 * sqrt(5))  # edge of an icosahedron over its circumradius

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]
type FaultName = Literal["none", "fault", "twin"]
type Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Sites:
    """Lattice sites of a particle."""

    positions: Floats  # (site, 3) [distance of nearest neighbours]
    depth: Floats  # 0 in the middle, 1 at the surface
    sublattice: Integers  # 0 to 3


def sphere(volume: float, offset: Triple, fault: FaultName = "none", height: float = 0.0) -> Sites:
    """Return the sites of fcc in a sphere.

    Args:
        volume: volume, in atoms of fcc
        offset: place of the middle in the cubic cell, from an atom [lattice constant]
        fault: a stacking fault or a twin boundary at a close-packed layer
        height: distance of that layer from the middle, relative to the radius
    """
    radius = (0.75 / np.pi * volume * ATOM_VOLUME) ** (1 / 3)
    positions, sublattice, _ = _fcc(radius, offset, fault, height * radius)
    depth = np.sqrt(np.einsum("ik,ik->i", positions, positions)) / radius
    return _inside(positions, depth, sublattice)


def octahedron(
    volume: float, truncation: float, offset: Triple, fault: FaultName = "none", height: float = 0.0
) -> Sites:
    """Return the sites of fcc in an octahedron cut at its corners. The halves of a twin are mirror images.

    Args:
        volume: volume, in atoms of fcc
        truncation: share t of an edge that is cut off at each end, 0 to 1/2
        offset: as for `sphere`
        fault: as for `sphere`
        height: as for `sphere`, relative to the distance of the faces {111}
    """
    corner = (volume * ATOM_VOLUME / (4 / 3 - 4 * truncation**3)) ** (1 / 3)
    positions, sublattice, above = _fcc(corner, offset, fault, height * corner / sqrt(3))
    shape = positions
    if fault == "twin":
        shape = positions - 2 / 3 * np.where(above, positions.sum(axis=1), 0.0)[:, None]
    shape = abs(shape)
    depth = np.maximum(shape.sum(axis=1), shape.max(axis=1) / (1 - truncation)) / corner
    return _inside(positions, depth, sublattice)


def _fcc(reach: float, offset: Triple, fault: FaultName, height: float) -> tuple[Floats, Integers, NDArray[np.bool_]]:
    """Return positions and sublattices of all sites up to a distance along each axis; True above the fault."""
    most = int(np.ceil(2 * (reach + 1) / CELL)) + 1
    cells = np.mgrid[(slice(-most, most + 1),) * 3].reshape(3, -1).T
    cells = cells[cells.sum(axis=1) % 2 == 0]
    positions = CELL * (cells / 2 - np.array(offset))
    first = round(height / LAYER + sum(offset))  # the sum of the coordinates of a site numbers its layer
    above = np.maximum(cells.sum(axis=1) // 2 - first, 0)
    glides = np.zeros_like(above)
    if fault == "fault":
        glides = np.minimum(above, 1)
    elif fault == "twin":  # from the order ABC to CBA: two glides back for each layer, or one forth
        glides = above % 3
        cells = cells + (glides[:, None] * GLIDE - 4 * above[:, None]) // 3  # the mirror image of each site
    positions += CELL / 6 * glides[:, None] * GLIDE
    return positions, _sublattice_of_cells(cells), above > 0


def _inside(positions: Floats, depth: Floats, sublattice: Integers) -> Sites:
    chosen = depth <= 1 + 1e-9  # sites on a plane of the surface belong to the particle, whatever the rounding
    return Sites(positions[chosen], depth[chosen], sublattice[chosen])


def icosahedron(volume: float) -> Sites:
    """Return the sites of the icosahedron of whole shells that comes nearest to a number of atoms.

    Args:
        volume: wanted number of atoms
    """
    return icosahedron_of_shells(max(round((0.3 * volume) ** (1 / 3) - 0.5), 1))


def icosahedron_of_shells(shells: int) -> Sites:
    """Return the sites of an icosahedron: 1, 13, 55, 147, 309, ... for 0, 1, 2, 3, 4, ... shells.

    Args:
        shells: number of shells around the atom in the middle, up to 39
    """
    vertices, faces = _icosahedron_vertices(), _icosahedron_faces()
    ijk = np.mgrid[(slice(0, shells + 1),) * 3].reshape(3, -1).T
    ijk = ijk[ijk.sum(axis=1) <= shells]
    # A site on the border of grains has the same coefficients of the same vertices in each of them.
    keys = np.concatenate([ijk.astype(np.uint64) @ (np.uint64(40) ** np.array(face, np.uint64)) for face in faces])
    _, first = np.unique(keys, return_index=True)
    positions = np.concatenate([np.einsum("ik,kc->ic", ijk, vertices[list(face)]) for face in faces])[first]
    grain_sites = np.tile(ijk, (len(faces), 1))[first]
    return Sites(positions, grain_sites.sum(axis=1) / max(shells, 1), _sublattice(grain_sites))


def icosahedron_grains() -> list[Floats]:
    """Return three vectors of neighbours in each of the 20 grains of an icosahedron, (3, 3) each."""
    return [_icosahedron_vertices()[list(face)] for face in _icosahedron_faces()]


def _icosahedron_faces() -> list[tuple[int, ...]]:
    """Return the numbers of the three vertices of each face."""
    vertices = _icosahedron_vertices()
    gaps = np.linalg.norm(vertices[:, None] - vertices[None], axis=2)
    touch = (gaps > 0) & (gaps < 1.1 * np.min(gaps[gaps > 0]))
    return [face for face in combinations(range(12), 3) if all(touch[a, b] for a, b in combinations(face, 2))]


def _icosahedron_vertices() -> Floats:
    """Return the vertices (12, 3), at the distance of shells from the middle."""
    golden = (1 + sqrt(5)) / 2
    triples = [(0.0, a, b * golden) for a in (1, -1) for b in (1, -1)]
    vertices = np.array([np.roll(triple, k) for k in range(3) for triple in triples])
    vertices *= 2 / (1 + ICOSAHEDRON_EDGE) / np.linalg.norm(vertices[0])
    return vertices


def decahedron(volume: float, belt: float, notch: float, offset: float) -> Sites:
    """Return the sites of a decahedron.

    Args:
        volume: volume, in atoms
        belt: height of the faces {100} relative to the axis: (m - n) / m, 0 (a bipyramid) to 1
        notch: depth of the notches relative to the distance of the faces {100}: (n - k) / n, 0 to 1/2
        offset: shift of the atoms along the axis, against the middle [distance of nearest neighbours]
    """
    n = 1 - belt
    share = n**2 / 2 - n**3 / 3  # atoms of a grain over m^3: the integral of the length m - s of the rows
    cut = notch * n  # a corner that a notch removes
    share -= 2 * ((1 - n + cut) * cut**2 / 2 - cut**3 / 3)
    m = (volume / (5 * share)) ** (1 / 3)
    return decahedron_of_limits(m, n * m, (n - cut) * m, offset)


def decahedron_of_limits(m: float, n: float, k: float, offset: float) -> Sites:
    """Return the sites of a decahedron with given limits.

    Args:
        m: limit of the caps
        n: limit of the faces {100}
        k: limit of the notches; at least n: none
        offset: as for `decahedron`
    """
    most, half = max(int(n), 0), int(m / 2) + int(n) + 2
    ijl = np.mgrid[0 : most + 1, 0 : most + 1, -half : half + 1].reshape(3, -1).T
    i, j, layer = ijl.T
    z = layer + (i + j) / 2 - offset
    depth = np.maximum((2 * abs(z) + i + j) / m, (i + j) / max(n, 1e-9))
    inside = (depth <= 1 + 1e-9) & (np.maximum(i, j) <= k + 1e-9)
    axis, grain = inside & (i == 0) & (j == 0), inside & (i > 0)  # a boundary belongs to one of its two grains
    rows = _decahedron_rows()
    planes = [np.zeros((int(axis.sum()), 2))]
    planes += [i[grain, None] * rows[g] + j[grain, None] * rows[g + 1] for g in range(5)]
    order = np.concatenate([np.flatnonzero(axis), *[np.flatnonzero(grain)] * 5])
    positions = np.column_stack([z[order], np.concatenate(planes)])
    return Sites(positions / ((10 + 2 * WIDENED) / 12), depth[order], _sublattice(ijl[order]))


def decahedron_grains() -> list[Floats]:
    """Return three vectors of neighbours in each of the five grains of a decahedron, (3, 3) each."""
    rows = np.column_stack([np.full(6, 0.5), _decahedron_rows()])
    return [np.stack([rows[g], rows[g + 1], (1.0, 0.0, 0.0)]) for g in range(5)]


def _decahedron_rows() -> Floats:
    """Return the vectors (y, x) between neighbouring rows along the boundaries of grains; the first comes twice."""
    angle = 2 * np.pi * np.arange(6) / 5
    rows: Floats = sqrt(3) / 2 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return rows


def _sublattice(primitive: Integers) -> Integers:
    """Return the sublattices of sites whose coordinates belong to the three primitive vectors of fcc."""
    i, j, k = primitive.T
    return _sublattice_of_cells(np.stack([j + k, i + k, i + j], axis=1))


def _sublattice_of_cells(cells: Integers) -> Integers:
    """Return the sublattices of sites with coordinates in half lattice constants, whose sum is even."""
    out: Integers = 2 * (cells[:, 0] % 2) + cells[:, 1] % 2
    return out
