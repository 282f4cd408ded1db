"""Convex hulls without their faces: whether two of them meet, and how far apart they are along a line, by programming.

Points of a hull are means of vertices with weights >= 0 that add to 1, so both are linear programs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from generators.specimens.particles.mesh import Mesh

type Floats = NDArray[np.float64]


def vertices(mesh: Mesh) -> Floats:
    """The vertices of a mesh, each once, (vertex, coordinate)."""
    return np.unique(mesh.reshape(-1, 3), axis=0)


def last_contact(fixed: Mesh, moving: Mesh, along: Floats) -> float | None:
    """The largest t at which the hulls of `fixed` and of `moving` + t `along` meet; None if they never do."""
    p, s = vertices(fixed), vertices(moving)
    same = np.column_stack([p.T, -s.T, -along])
    sums = np.repeat([[1.0, 0, 0], [0, 1, 0]], [len(p), len(s), 1], axis=1)
    bounds = [(0, None)] * (len(p) + len(s)) + [(None, None)]
    cost = np.zeros(len(bounds))
    cost[-1] = -1
    found = linprog(cost, A_eq=np.vstack([same, sums]), b_eq=[0, 0, 0, 1, 1], bounds=bounds)
    return None if found.fun is None else -float(found.fun)


def meet(one: Mesh, other: Mesh) -> bool:
    """Whether two hulls have a point in common."""
    p, s = vertices(one), vertices(other)
    sums = np.repeat(np.eye(2), [len(p), len(s)], axis=1)
    found = linprog(
        np.zeros(len(p) + len(s)), A_eq=np.vstack([np.column_stack([p.T, -s.T]), sums]), b_eq=[0, 0, 0, 1, 1]
    )
    return bool(found.status == 0)


def grown(mesh: Mesh, share: float) -> Mesh:
    """A mesh made larger by a share, about the mean of its vertices."""
    middle = vertices(mesh).mean(axis=0)
    out: Mesh = middle + (1 + share) * (mesh - middle)
    return out
