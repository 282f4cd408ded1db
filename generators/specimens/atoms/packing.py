"""Random close packing of atoms in a periodic box: the structure of amorphous particles and films.

Atoms start at random places. In each sweep, two atoms that are closer than a distance d are pushed apart along their
connecting line. So the structure never was a crystal. With 0.95 of the atoms per volume of the fcc crystal whose
nearest neighbours are d apart, the first peak of the pair correlation lies at 0.98 d, and an atom has 13 neighbours up
to 1.35 d. At the end, no two atoms are closer than a minimum distance.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from physics.compiled import compiled

SOFT_SWEEPS = 48  # sweeps that push atoms towards the distance; with more, a dense packing only becomes stiffer
SOFT_GAIN = 0.3  # share of an overlap that one sweep removes; with 1, dense packings never come to rest
REPEATS = 8  # sweeps by one list of neighbours
SKIN = 0.25  # reach of that list beyond the distance, relative to it
SLACK = 1.005  # atoms that are too close are pushed to this multiple of the minimum distance, so that sweeps end
MAX_LISTS = 100  # lists of neighbours after which a box is taken to be too full
MAX_FILLING = 0.55  # share of the volume in spheres of the minimum distance; 0.64 is the limit of random packings

type Floats = NDArray[np.float64]
type Box = tuple[float, float, float]


def packed(count: int, box: Box, distance: float, minimum: float, rng: np.random.Generator) -> Floats:
    """Return positions (atom, (z, y, x)) [nm] of a random packing in a periodic box, from 0 to its edges.

    Args:
        count: number of atoms
        box: edges (z, y, x) [nm]
        distance: usual distance of nearest neighbours [nm]
        minimum: distance that any two atoms keep, also across the faces of the box [nm]
        rng: random numbers; 3 count of them are consumed

    Raises:
        ValueError: there are too many atoms for that minimum distance, or the box is too narrow
    """
    edges = np.array(box)
    reach = (1 + SKIN) * max(distance, minimum)
    if edges.min() < 2 * reach:
        raise ValueError(f"a box of {edges.min():.3g} nm: must be at least {2 * reach:.3g} nm wide, two neighbours")
    if (filling := np.pi / 6 * count * minimum**3 / edges.prod()) > MAX_FILLING:
        raise ValueError(
            f"amorphous atoms: spheres of the minimum distance, {minimum:.3g} nm, would fill {filling:.2f} of the "
            f"volume: must be at most {MAX_FILLING:g}; lower the density or the minimum distance"
        )
    positions = _sorted_by_place(edges * rng.random((count, 3)), reach)
    for _ in range(SOFT_SWEEPS // REPEATS):
        pairs = _neighbours(positions, edges, reach)
        for _ in range(REPEATS):
            push_apart(positions, pairs, edges, distance, distance, SOFT_GAIN)
    return _keep_minimum(positions, edges, minimum)


def _keep_minimum(positions: Floats, edges: Floats, minimum: float) -> Floats:
    for _ in range(MAX_LISTS):
        pairs = _neighbours(positions, edges, (1 + SKIN) * minimum)
        close = [push_apart(positions, pairs, edges, minimum, SLACK * minimum, 1.0) for _ in range(REPEATS)]
        if close[0] == 0:
            return positions
    raise ValueError(f"amorphous atoms: some stay closer than {minimum:.3g} nm; lower the density or the distance")


def _sorted_by_place(positions: Floats, cell: float) -> Floats:
    """Return the positions cell by cell, so that neighbours are close in memory."""
    return positions[np.lexsort((positions // cell).T)]


def _neighbours(positions: Floats, edges: Floats, reach: float) -> NDArray[np.int64]:
    """Return the pairs (pair, 2) of atoms within reach; atoms that have left the box return on its other side."""
    positions %= edges
    positions[positions >= edges] = 0.0  # the remainder of a tiny negative number is rounded up to the edge
    tree = KDTree(positions, boxsize=edges, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query_pairs(reach, output_type="ndarray"), np.int64)


@compiled
def push_apart(
    positions: Floats, pairs: NDArray[np.int64], edges: Floats, closer: float, target: float, gain: float
) -> int:
    """Push atoms apart, pair by pair, along their connecting line.

    Args:
        positions: positions (atom, 3) [nm], changed in place
        pairs: pairs of neighbours (pair, 2)
        edges: edges of the periodic box [nm]
        closer: distance below which a pair is pushed [nm]
        target: distance towards which it is pushed [nm]
        gain: share of the missing distance that is added

    Returns:
        Number of pairs that were closer.
    """
    pushed = 0
    apart = np.empty(3)
    for n in range(pairs.shape[0]):
        i, j = pairs[n, 0], pairs[n, 1]
        square = 0.0
        for k in range(3):
            step = positions[i, k] - positions[j, k]
            apart[k] = step - edges[k] * np.floor(step / edges[k] + 0.5)
            square += apart[k] ** 2
        if square < closer * closer:
            pushed += 1
            distance = np.sqrt(square)
            factor = 0.5 * gain * (target - distance) / max(distance, 1e-9)
            for k in range(3):
                positions[i, k] += factor * apart[k]
                positions[j, k] -= factor * apart[k]
    return pushed
