"""Atomic lattices seen along their axis: graphene and hexagonal boron nitride, of several layers, twisted.

    V_z(r) = sum over atoms j, Gaussians k:  S_k / (2 pi w_k^2) exp(-|r - r_j|^2 / (2 w_k^2)),   phase = sigma V_z

Sites lie at n1 a1 + n2 a2 (+ (a1 + a2) / 3), with |a1| = |a2| = a, 60 degrees apart; a1 is turned from x towards y. So
the spots of first order lie at |g| = 2 / (sqrt(3) a), 30 degrees off a1. A sheet is a crystal of one or more layers in
its natural stacking (graphene AB; hBN AA', boron on nitrogen). Each sheet has a rotation and a shift of its own.

Strengths S_k [V nm^3] and widths w_k [nm, standard deviations] are fitted to the scattering factors of neutral atoms by
Peng, Ren, Dudarev and Whelan, Acta Cryst. A 52 (1996) 257, at frequencies g up to 20 1/nm. The authors give two sets of
Gaussians. In this range, the fit deviates from them by at most

    set                     boron    carbon   nitrogen
    for g up to 40 1/nm     1.5 %    1.1 %    0.6 %
    for g up to 120 1/nm    2.7 %    1.4 %    1.2 %

Beyond 20 1/nm the fitted atoms scatter too little: by 12 to 19 % at 25 1/nm, 36 to 45 % at 30 1/nm, and 80 % at
40 1/nm. Vibration adds to the widths in quadrature.

Lattices are infinite. A finer or shifted grid samples the same atoms; values are at points, not pixel means.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, pi, sqrt
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from generators.specimens.draws import check_whole_numbers, draw_count, to_float32
from physics.compiled import compiled
from physics.electron import interaction
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

CUTOFF_WIDTHS = 5.0  # widths beyond which a Gaussian is left out, at 4e-6 of its height
MAX_ATOMS = 20_000_000  # maximum number of atoms in a field of view; these take some seconds
GAUSSIANS = {  # strength [V nm^3] and width [nm], for each atom
    "B": ((0.01302, 0.01145), (0.04656, 0.03232), (0.07262, 0.06371)),
    "C": ((0.01451, 0.01107), (0.04792, 0.02968), (0.05670, 0.05754)),
    "N": ((0.01656, 0.01092), (0.04735, 0.02805), (0.04154, 0.05291)),
}

type Pair = tuple[float, float]
type Box = tuple[Pair, Pair]  # limits (from, to) along y and x [nm]
type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]
type CrystalName = Literal["graphene", "hbn"]


@dataclass(frozen=True)
class Crystal:
    """Lattice constant, atoms and stacking of a crystal."""

    constant: float  # a [nm]
    atoms: tuple[str, str]  # names of the atoms on the two kinds of sites
    stacking: Literal["shifted", "exchanged"]  # every second layer is shifted by a bond, or has its two atoms exchanged


CRYSTALS: dict[CrystalName, Crystal] = {
    "graphene": Crystal(0.246, ("C", "C"), "shifted"),
    "hbn": Crystal(0.2504, ("B", "N"), "exchanged"),
}


class Lattice(Settings):
    """Settings of random lattices."""

    crystal: CrystalName = Field("hbn", **setting("crystal of the sheets"))
    sheets: Annotated[Range, within(1, 8), AfterValidator(check_whole_numbers)] = between(
        1, 2, "number of sheets on top of one another"
    )
    layers: Annotated[Range, within(1, 255), AfterValidator(check_whole_numbers)] = between(
        1, 1, "number of layers of each sheet"
    )
    orientation: Annotated[Range, within()] = between(
        0.0, 2 * pi, "angle of lattice vector a1 of the first sheet, from x towards y", "rad"
    )
    twist: Annotated[Range, within()] = between(0.0, pi / 3, "rotation of each sheet against the one before", "rad")
    stretch: Annotated[Range, within(0.5, 2)] = between(1.0, 1.0, "lattice constant, relative to that of the crystal")
    vibration: Annotated[Range, within(0, 0.1)] = between(
        0.005, 0.01, "standard deviation of an atom's position along one axis, including any other blur", "nm"
    )
    vacancies: Annotated[Range, within(0, 1)] = between(0.0, 0.0, "share of the atoms that are missing")


@dataclass(frozen=True, slots=True)
class DrawnLattice:
    """A drawn lattice: numbers that float32 holds exactly, and a seed for its vacancies (`schemas.fields.lattices`).

    Tuples have one entry per sheet, up to the maximum of the recipe; a sheet with 0 layers is missing.
    """

    crystal: CrystalName
    constant: float  # [nm]
    vibration: float  # [nm]
    vacancies: float
    layers: tuple[int, ...]
    rotation: tuple[float, ...]  # direction of a1 [rad]
    shift_y: tuple[float, ...]  # from the pixel N//2 [nm]
    shift_x: tuple[float, ...]
    seed: int


def sizes(lattice: Lattice) -> dict[str, int]:
    """Return the lengths of the dimensions of the lattice's fields.

    Args:
        lattice: the settings
    """
    return {"sheet": int(lattice.sheets.high)}


def check_atom_count(lattice: Lattice, field_of_view: Pair) -> None:
    """Refuse a field of view that would hold more atoms than can be summed.

    Args:
        lattice: the settings
        field_of_view: (y, x) [nm]

    Raises:
        ValueError: there would be more than MAX_ATOMS atoms
    """
    a = CRYSTALS[lattice.crystal].constant * lattice.stretch.low
    atoms = field_of_view[0] * field_of_view[1] * density(a) * lattice.sheets.high * lattice.layers.high
    if atoms > MAX_ATOMS:
        height, width = field_of_view
        raise ValueError(
            f"lattice: {atoms:.2g} atoms in a field of view of {height:g} x {width:g} nm: must be at most "
            f"{MAX_ATOMS:g}; make the field of view smaller, or set lattice.layers=1"
        )


def density(constant: float) -> float:
    """Number of atoms per area of one layer [1/nm^2]: two in a cell of sqrt(3)/2 a^2.

    Args:
        constant: a [nm]
    """
    return 4 / (sqrt(3) * constant**2)


def draw(lattice: Lattice, rng: np.random.Generator) -> DrawnLattice:
    """Draw a lattice. Calls with the same largest number of sheets consume the same number of random numbers.

    Args:
        lattice: the settings
        rng: random numbers
    """
    crystal = CRYSTALS[lattice.crystal]
    settings = (lattice.stretch, lattice.vibration, lattice.vacancies)
    stretch, vibration, vacancies = (setting.draw(rng) for setting in settings)
    sheets, max_sheets = draw_count(lattice.sheets, rng), int(lattice.sheets.high)
    layers = [draw_count(lattice.layers, rng) for _ in range(max_sheets)]
    rotation = np.cumsum([lattice.orientation.draw(rng), *(lattice.twist.draw(rng) for _ in range(max_sheets - 1))])
    shifts = [rng.random(2) @ _basis(crystal.constant * stretch, turn) for turn in rotation]  # uniform over a cell
    numbers: tuple[float, float, float] = to_float32(crystal.constant * stretch, vibration, vacancies)
    return DrawnLattice(
        lattice.crystal,
        *numbers,
        layers=tuple(n if sheet < sheets else 0 for sheet, n in enumerate(layers)),
        rotation=to_float32(*rotation),
        shift_y=to_float32(*(y for y, _ in shifts)),
        shift_x=to_float32(*(x for _, x in shifts)),
        seed=int(2**32 * rng.random()),
    )


def phase(lattice: DrawnLattice, shape: tuple[int, int], sampling: Pair, voltage: float) -> NDArray[np.float32]:
    """Return the phase sigma V_z [rad] at each pixel centre, (y, x) float32.

    Args:
        lattice: the lattice
        shape: pixels (y, x)
        sampling: (y, x) [nm]
        voltage: accelerating voltage [V]
    """
    out: NDArray[np.float32] = (interaction(voltage) * projected_potential(lattice, shape, sampling)).astype(np.float32)
    return out


def projected_potential(
    lattice: DrawnLattice, shape: tuple[int, int], sampling: Pair, *, origin: Pair | None = None
) -> Floats:
    """Return the projected potential V_z [V nm] at each pixel centre, (y, x).

    Values are those at points, not means over pixels, so structure finer than two pixels is aliased to slower waves. In
    a simulated diffraction pattern, electrons that should miss the detector then appear on it. With pixels of
    0.0285 nm, the dark field of two layers of hBN is wrong by 23 %; `docs/stem4d.md` has a table.

    Args:
        lattice: the lattice
        shape: pixels (y, x)
        sampling: (y, x) [nm]
        origin: fractional pixel index from which shifts are measured; N//2 if None
    """
    centre = origin if origin is not None else (shape[0] // 2, shape[1] // 2)
    out = np.zeros(shape)
    for atom, positions in atoms(lattice, _box(shape, sampling, centre, _margin(lattice))):
        for strength, width in GAUSSIANS[atom]:
            add_gaussians(out, positions, strength, hypot(width, lattice.vibration), *sampling, *centre)
    return out


def _margin(lattice: DrawnLattice) -> float:
    """Return the distance outside the field of view up to which an atom is still visible in it [nm]."""
    widest = max(width for atom in CRYSTALS[lattice.crystal].atoms for _, width in GAUSSIANS[atom])
    return CUTOFF_WIDTHS * hypot(widest, lattice.vibration)


def _box(shape: tuple[int, int], sampling: Pair, origin: Pair, margin: float) -> Box:
    (ny, nx), (dy, dx), (y, x) = shape, sampling, origin
    return (-y * dy - margin, (ny - 1 - y) * dy + margin), (-x * dx - margin, (nx - 1 - x) * dx + margin)


def atoms(lattice: DrawnLattice, box: Box) -> Iterator[tuple[str, Floats]]:
    """Yield the atoms in a box, layer by layer and site by site.

    Args:
        lattice: the lattice
        box: limits along y and x [nm]

    Yields:
        pairs of the element and the positions (atom, (y, x)) [nm]
    """
    crystal = CRYSTALS[lattice.crystal]
    for sheet, layers in enumerate(lattice.layers):
        basis = _basis(lattice.constant, lattice.rotation[sheet])
        bond = (basis[0] + basis[1]) / 3
        start = np.array([lattice.shift_y[sheet], lattice.shift_x[sheet]])
        for layer in range(layers):
            odd = layer % 2 == 1
            names = crystal.atoms[::-1] if odd and crystal.stacking == "exchanged" else crystal.atoms
            offset = start + bond if odd and crystal.stacking == "shifted" else start
            for site, name in enumerate(names):
                cells, positions = _sites_in_box(basis, offset + site * bond, box)
                number = _hash_numbers(lattice.seed, sheet, layer, site, *cells)
                yield name, positions[number >= lattice.vacancies]


def _basis(constant: float, rotation: float) -> Floats:
    """Return a1 and a2, in rows (y, x) [nm]."""
    angles = rotation + np.array([0.0, pi / 3])
    return constant * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def _sites_in_box(basis: Floats, start: Floats, box: Box) -> tuple[tuple[Integers, Integers], Floats]:
    """Return the cells (n1, n2) whose site lies in a box, and the positions of the sites (site, (y, x)) [nm]."""
    corners = np.array([(y, x) for y in box[0] for x in box[1]])
    cells = (corners - start) @ np.linalg.inv(basis)
    low, high = np.floor(cells.min(axis=0)).astype(int), np.ceil(cells.max(axis=0)).astype(int)
    n1, n2 = (n.ravel() for n in np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1])
    y, x = (n1 * basis[0, k] + n2 * basis[1, k] + start[k] for k in (0, 1))
    inside = (y >= box[0][0]) & (y <= box[0][1]) & (x >= box[1][0]) & (x <= box[1][1])
    return (n1[inside], n2[inside]), np.stack([y[inside], x[inside]], axis=1)


def _hash_numbers(seed: int, sheet: int, layer: int, site: int, n1: Integers, n2: Integers) -> Floats:
    """Return a number in [0, 1) for each atom, by splitmix64 over its identity, whatever the field of view."""
    mixed = np.full(n1.shape, seed, np.uint64)
    for part in (sheet, layer, site, n1, n2):
        mixed = (mixed ^ np.asarray(part, np.int64).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    numbers: Floats = (mixed >> np.uint64(11)) / 2.0**53
    return numbers


@compiled
def add_gaussians(
    out: Floats, positions: Floats, strength: float, width: float, dy: float, dx: float, oy: float, ox: float
) -> None:
    """Add the Gaussians of atoms to each pixel, up to CUTOFF_WIDTHS widths.

    Args:
        out: image (y, x), changed in place
        positions: positions (atom, (y, x)) [nm]
        strength: integral of a Gaussian [V nm^3]
        width: standard deviation [nm]
        dy: height of a pixel [nm]
        dx: width of a pixel [nm]
        oy: fractional row of the origin
        ox: fractional column of the origin
    """
    peak, rate, reach = strength / (2 * np.pi * width**2), -1 / (2 * width**2), CUTOFF_WIDTHS * width
    ny, nx = out.shape
    row = np.empty(nx)
    for n in range(positions.shape[0]):
        y, x = positions[n, 0], positions[n, 1]
        left, right = max(int(np.ceil((x - reach) / dx + ox)), 0), min(int(np.floor((x + reach) / dx + ox)) + 1, nx)
        for j in range(left, right):
            row[j] = peak * np.exp(rate * ((j - ox) * dx - x) ** 2)
        top, bottom = max(int(np.ceil((y - reach) / dy + oy)), 0), min(int(np.floor((y + reach) / dy + oy)) + 1, ny)
        for i in range(top, bottom):
            factor = np.exp(rate * ((i - oy) * dy - y) ** 2)
            for j in range(left, right):
                out[i, j] += factor * row[j]
