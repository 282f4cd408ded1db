"""Zone axes of nanoparticles: the directions along which their atoms stand in columns.

A grain is given by three primitive vectors of fcc, which in a cubic cell point along (0, 1, 1), (1, 0, 1) and (1, 1,
0). Its zone axes are <100>, <110> and <111>. A particle has those of all its grains; a glass has none.
"""

from functools import lru_cache
from itertools import product
from math import pi

import numpy as np

from generators.specimens.atoms import crystals
from generators.specimens.atoms.cluster import DrawnCluster, Kind
from generators.specimens.atoms.packing import Floats
from generators.specimens.particles.mesh import rotation_matrix

CUBIC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2  # cell edges in terms of the primitive vectors
NORMAL = np.ones(3) / np.sqrt(3)  # of the layers at which faults lie


def zone_angles(drawn: DrawnCluster, beams: Floats) -> Floats:
    """Return the angle from each beam to the nearest zone axis [rad]; pi/2 for a glass.

    Args:
        drawn: the nanoparticle
        beams: directions of the beam (beam, 3), (z, y, x), unit vectors in the frame of the turned particle
    """
    if drawn.kind == "amorphous":
        return np.full(len(beams), pi / 2)
    axes = zone_axes(drawn.kind, drawn.fault) @ rotation_matrix(drawn.quaternion).T
    nearest: Floats = np.arccos(np.minimum(abs(beams @ axes.T).max(axis=1), 1.0))
    return nearest


@lru_cache
def zone_axes(kind: Kind, fault: crystals.FaultName) -> Floats:
    """Return the zone axes of a crystal before it is turned, unit vectors (axis, 3), (z, y, x), each one way round.

    Args:
        kind: any but `amorphous`
        fault: planar fault of a single crystal
    """
    orders = np.array([row for row in product((0, 1, -1), repeat=3) if row > (0, 0, 0)])
    found = np.concatenate([orders @ CUBIC @ grain for grain in _grains(kind, fault)])
    axes: Floats = found / np.linalg.norm(found, axis=1, keepdims=True)
    return axes


def _grains(kind: Kind, fault: crystals.FaultName) -> list[Floats]:
    """Return the primitive vectors (3, 3) of each grain."""
    if kind == "icosahedron":
        return crystals.icosahedron_grains()
    if kind == "decahedron":
        return crystals.decahedron_grains()
    parent = np.ones((3, 3)) - np.eye(3)
    twin = parent - 2 * np.outer(parent @ NORMAL, NORMAL)
    return [parent, twin] if fault == "twin" else [parent]
