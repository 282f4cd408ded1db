"""Lattices against what crystallography says of their Fourier transform, and against published scattering factors."""

from collections.abc import Mapping
from dataclasses import fields, replace
from math import pi, sqrt

import numpy as np
import pytest
from pydantic import ValidationError

from generators.specimens.planar.lattice import (
    CRYSTALS,
    CUTOFF_WIDTHS,
    GAUSSIANS,
    CrystalName,
    DrawnLattice,
    Lattice,
    add_gaussians,
    atoms,
    check_atom_count,
    density,
    draw,
    phase,
    projected_potential,
    sizes,
)
from physics.diffraction import crop_middle, far_field
from physics.electron import CHARGE, MASS, PLANCK, interaction, wavelength
from physics.probe import probe
from schemas.fields import lattices
from schemas.runtime.ranges import Range

from .closed_mesh import GRIDS

type Grid = tuple[tuple[int, int], tuple[float, float]]
type Table = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]

# Peng, Ren, Dudarev and Whelan, Acta Cryst. A 52 (1996) 257: f(s) = sum a exp(-b s^2) [angstrom], for s up to 2
# 1/angstrom, and for s up to 6 1/angstrom.
PENG = {
    "B": ((0.0909, 0.2551, 0.7738, 1.2136, 0.4606), (0.2995, 2.1155, 8.3816, 24.1292, 63.1314)),
    "C": ((0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)),
    "N": ((0.1022, 0.3219, 0.7982, 0.8197, 0.1715), (0.2451, 1.7481, 6.1925, 17.3894, 48.1431)),
}
PENG_FAR = {
    "B": ((0.0436, 0.1898, 0.6788, 1.3273, 0.5544), (0.1207, 1.1595, 6.2474, 21.0460, 59.3619)),
    "C": ((0.0489, 0.2091, 0.7537, 1.1420, 0.3555), (0.1140, 1.0825, 5.4281, 17.8811, 51.1341)),
    "N": ((0.0267, 0.1328, 0.5301, 1.1020, 0.4215), (0.0541, 0.5165, 2.8207, 10.6297, 34.3764)),
}


def one(crystal: CrystalName, turn: float = 0.0, **changes: object) -> DrawnLattice:
    """A single layer, an atom of the first kind at pixel N//2."""
    plain = DrawnLattice(crystal, CRYSTALS[crystal].constant, 0.01, 0.0, (1,), (turn,), (0.0,), (0.0,), 0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def scattering(atom: str, g: float, vibration: float, table: Table = PENG) -> float:
    """The Fourier transform of an atom's projected potential [V nm^3] at g [1/nm]."""
    terms = zip(*table[atom], strict=True)
    factor = sum(a * np.exp(-b * (g / 20) ** 2) for a, b in terms) / 10  # nm; s = g/2
    volt = PLANCK**2 / (2 * pi * MASS * CHARGE) * 1e18  # V nm^2
    return float(volt * factor * np.exp(-2 * (pi * vibration * g) ** 2))


def transform(image: np.ndarray, sampling: tuple[float, float], fy: float, fx: float) -> complex:
    """The mean of V exp(-2 pi i f.r) under a window that knows only what is near f; r from pixel N//2."""
    windows = [np.blackman(n + 1)[:n] / np.blackman(n + 1)[:n].mean() for n in image.shape]
    waves = [
        w * np.exp(-2j * pi * f * (np.arange(n) - n // 2) * d)
        for w, n, d, f in zip(windows, image.shape, sampling, (fy, fx), strict=True)
    ]
    return complex(waves[0] @ image @ waves[1]) / image.size


def spots(lattice: DrawnLattice, sheet: int, order: float = 1.0) -> list[tuple[float, float]]:
    """The six spots of first order (fy, fx) of a sheet."""
    g = order * 2 / (sqrt(3) * lattice.constant)
    angles = lattice.rotation[sheet] + pi / 6 + np.arange(6) * pi / 3
    return [(g * np.sin(angle), g * np.cos(angle)) for angle in angles]


def away(atom: str, g: float, table: Table) -> float:
    """How much an atom scatters at g [1/nm] beyond what is published, relative to that."""
    found = sum(s * np.exp(-2 * (pi * w * g) ** 2) for s, w in GAUSSIANS[atom])
    return float(found / scattering(atom, g, 0.0, table) - 1)


@pytest.mark.parametrize(
    ("atom", "near", "far", "beyond"),
    [
        ("B", 0.015, 0.027, (-0.19, -0.45, -0.84)),
        ("C", 0.011, 0.014, (-0.15, -0.39, -0.81)),
        ("N", 0.006, 0.012, (-0.12, -0.36, -0.79)),
    ],
)
def test_atoms_scatter_as_stated(atom: str, near: float, far: float, beyond: tuple[float, ...]) -> None:
    """The greatest differences up to 20 1/nm from either set of Gaussians; those at 25, 30 and 40 1/nm."""
    for table, most in ((PENG, near), (PENG_FAR, far)):
        assert round(max(abs(away(atom, g, table)) for g in np.linspace(0, 20, 41)), 3) == most
    assert tuple(round(away(atom, g, PENG), 2) for g in (25, 30, 40)) == beyond


@pytest.mark.parametrize("crystal", CRYSTALS)
@pytest.mark.parametrize("rotation", [0.0, 0.4])
def test_spots_lie_where_the_lattice_says_with_its_structure_factor(crystal: CrystalName, rotation: float) -> None:
    """F(g) = density / 2 (f_1 + f_2 exp(-2 pi i g.bond)): fixes radius, angle, sense, origin and strength."""
    lattice, sampling = one(crystal, rotation), (0.021, 0.019)
    image = projected_potential(lattice, (501, 540), sampling)
    a = lattice.constant
    bond = a / sqrt(3) * np.array([np.sin(rotation + pi / 6), np.cos(rotation + pi / 6)])
    for order in (1, 2):
        for fy, fx in spots(lattice, 0, order):
            first, second = (scattering(atom, np.hypot(fy, fx), 0.01) for atom in CRYSTALS[crystal].atoms)
            expected = density(a) / 2 * (first + second * np.exp(-2j * pi * (fy * bond[0] + fx * bond[1])))
            assert transform(image, sampling, fy, fx) == pytest.approx(expected, rel=0.03)
            for turn in (0.2, -0.3):
                other = (fy * np.cos(turn) - fx * np.sin(turn), fy * np.sin(turn) + fx * np.cos(turn))
                assert abs(transform(image, sampling, *other)) < 0.01 * abs(expected)


def test_the_first_spots_of_graphene() -> None:
    assert [round(np.hypot(*spot), 2) for spot in spots(one("graphene"), 0)] == [4.69] * 6


def test_a_twisted_bilayer_shows_two_sets_of_six_spots() -> None:
    """Found as the brightest of the spectrum, at the twist angle between the sets."""
    twist = 0.314
    both = one("hbn", layers=(1, 1), rotation=(0.1, 0.1 + twist), shift_y=(0.0, 0.05), shift_x=(0.0, 0.11))
    n, step = 720, 0.03
    window = np.blackman(n)[:, None] * np.blackman(n)
    spectrum = abs(np.fft.fft2(projected_potential(both, (n, n), (step, step)) * window))
    f = np.fft.fftfreq(n, step)
    ring = abs(np.hypot(f[:, None], f) - 2 / (sqrt(3) * both.constant)) < 0.3
    found = []
    for _ in range(12):
        i, j = np.unravel_index(np.argmax(spectrum * ring), spectrum.shape)
        found.append(np.arctan2(f[i], f[j]) % (pi / 3))
        near = np.hypot(f[:, None] - f[i], f - f[j]) < 0.3
        spectrum[near] = 0
    expected = sorted((rotation + pi / 6) % (pi / 3) for rotation in both.rotation)
    assert np.sort(found) == pytest.approx(np.repeat(expected, 6), abs=0.01)
    assert expected[1] - expected[0] == pytest.approx(twist)


def test_sheets_add_up() -> None:
    rotation, shifts = (0.1, 0.6, 0.8), ((0.02, 0.05, -0.03), (0.0, 0.11, 0.07))
    every = one("hbn", layers=(1, 1, 1), rotation=rotation, shift_y=shifts[0], shift_x=shifts[1])
    single = [one("hbn", rotation[k], shift_y=(shifts[0][k],), shift_x=(shifts[1][k],)) for k in range(3)]
    grid = (50, 61), (0.03, 0.02)
    assert projected_potential(every, *grid) == pytest.approx(
        sum(projected_potential(sheet, *grid) for sheet in single), abs=1e-12
    )
    none = replace(every, layers=(1, 0, 0))
    assert np.array_equal(projected_potential(none, *grid), projected_potential(single[0], *grid))


@pytest.mark.parametrize("crystal", CRYSTALS)
@pytest.mark.parametrize("layers", [1, 3])
def test_density_of_atoms_and_mean_phase(crystal: CrystalName, layers: int) -> None:
    """The mean is the density times the strengths of the atoms; 38.2 atoms/nm^2 in graphene."""
    lattice = one(crystal, 0.3, layers=(layers,))
    places = [place for _, part in atoms(lattice, ((-20.0, 20.0), (-15.0, 15.0))) for place in part]
    assert len(places) == pytest.approx(layers * density(lattice.constant) * 40 * 30, rel=0.005)
    strength = np.mean([sum(s for s, _ in GAUSSIANS[atom]) for atom in CRYSTALS[crystal].atoms])
    image = phase(lattice, (500, 400), (0.05, 0.06), 80e3)
    assert image.dtype == np.float32
    assert image.mean() == pytest.approx(interaction(80e3) * layers * density(lattice.constant) * strength, rel=0.002)
    assert density(0.246) == pytest.approx(38.2, abs=0.05)


@pytest.mark.parametrize("grid", [(shape, (d[0] / 20, d[1] / 20)) for shape, d in GRIDS], ids=str)
@pytest.mark.parametrize("factor", [2, 3])
def test_a_finer_grid_shows_the_same_atoms(grid: Grid, factor: int) -> None:
    lattice = one("hbn", 0.2, vacancies=0.2, layers=(2,), shift_y=(0.07,), shift_x=(0.05,))
    shape, sampling = grid
    fine = projected_potential(
        lattice, (shape[0] * factor, shape[1] * factor), (sampling[0] / factor, sampling[1] / factor)
    )
    first = [n * factor // 2 - n // 2 * factor for n in shape]
    assert fine[first[0] :: factor, first[1] :: factor] == pytest.approx(projected_potential(lattice, *grid), abs=1e-9)


@pytest.mark.parametrize(
    ("sampling", "n", "vibration", "dark", "whole"),
    [(0.0285, 32, 0.0075, 0.23, 0.0028), (0.02, 46, 0.0075, 0.07, 0.0013), (0.0285, 32, 0.03, 0.056, 0.0009)],
)
def test_patterns_miss_what_is_stated(sampling: float, n: int, vibration: float, dark: float, whole: float) -> None:
    """Sums of differences to a field 8 times finer whose pattern is cut to the detector, relative to that pattern."""
    twisted = one("hbn", layers=(1, 1), rotation=(0.1, 0.1 + pi / 10), shift_y=(0.02, 0.05), shift_x=(0.0, 0.1))
    lattice = replace(twisted, vibration=vibration)

    def pattern(factor: int) -> np.ndarray:
        shape, step = (n * factor,) * 2, sampling / factor
        wave = probe(shape, step, 80e3, 34.6e-3) * np.exp(1j * phase(lattice, shape, (step, step), 80e3))
        out: np.ndarray = crop_middle(abs(far_field(wave)) ** 2, (n, n)) / (n * factor) ** 2
        return out

    coarse, fine = pattern(1), pattern(8)
    y, x = np.indices((n, n)) - n // 2
    beside = np.hypot(y, x) * wavelength(80e3) > 34.6e-3 * n * sampling + wavelength(80e3)
    assert abs(coarse - fine)[beside].sum() / fine[beside].sum() == pytest.approx(dark, rel=0.1)
    assert abs(coarse - fine).sum() / fine.sum() == pytest.approx(whole, rel=0.1)
    assert coarse.sum() - fine.sum() == pytest.approx(1.3e-4 if dark == 0.23 else 0, abs=2e-5)


def test_a_part_of_the_field_shows_the_same_atoms() -> None:
    lattice = one("graphene", 0.2, vacancies=0.2)
    whole, part = (projected_potential(lattice, shape, (0.03, 0.03)) for shape in ((120, 90), (60, 50)))
    assert whole[30:90, 20:70] == pytest.approx(part, abs=1e-9)


def test_a_lattice_repeats_itself() -> None:
    """After a1 and after a2, and not before."""
    lattice = one("hbn", 0.0)
    a = lattice.constant
    sampling = (a * sqrt(3) / 2 / 20, a / 2 / 10)
    image = projected_potential(lattice, (90, 80), sampling)
    for dy, dx in ((0, 20), (20, 10), (20, -10)):
        moved = image[10 + dy : 60 + dy, 15 + dx : 55 + dx]
        assert moved == pytest.approx(image[10:60, 15:55], abs=1e-4)
    assert np.max(abs(image[10:60, 25:65] - image[10:60, 15:55])) > 1


@pytest.mark.parametrize(("crystal", "symmetric"), [("graphene", True), ("hbn", False)])
def test_only_equal_atoms_leave_the_centre_of_a_bond_a_centre_of_symmetry(
    crystal: CrystalName, symmetric: bool
) -> None:
    middle = CRYSTALS[crystal].constant / (2 * sqrt(3))
    lattice = one(crystal, -pi / 6, shift_x=(-middle,))
    image = projected_potential(lattice, (61, 81), (0.02, 0.02))
    difference = image - image[::-1, ::-1]
    if symmetric:
        assert difference == pytest.approx(np.zeros(image.shape), abs=1e-4)
    else:
        assert np.max(difference) > 0.15 * image.max()
        assert image[::-1, :] == pytest.approx(image, abs=1e-4)  # the mirror along the bond is left


def test_stacking() -> None:
    """hBN AA': every second layer swaps boron and nitrogen; graphene AB: it is shifted by a bond."""
    grid = (70, 80), (0.02, 0.02)
    hbn = projected_potential(one("hbn", layers=(2,)), *grid)
    middle = CRYSTALS["hbn"].constant / (2 * sqrt(3))
    swapped = projected_potential(one("hbn", pi, shift_y=(middle,), shift_x=(CRYSTALS["hbn"].constant / 2,)), *grid)
    assert hbn == pytest.approx(projected_potential(one("hbn"), *grid) + swapped, abs=1e-3)
    graphene, bond = projected_potential(one("graphene", layers=(3,)), *grid), 0.246 / sqrt(3)
    shifted = projected_potential(one("graphene", shift_y=(bond / 2,), shift_x=(0.123,)), *grid)
    assert graphene == pytest.approx(2 * projected_potential(one("graphene"), *grid) + shifted, abs=1e-4)
    for crystal in CRYSTALS:
        first, two, four, five = (projected_potential(one(crystal, layers=(n,)), *grid) for n in (1, 2, 4, 5))
        assert four == pytest.approx(2 * two, abs=1e-9), crystal
        assert five == pytest.approx(2 * two + first, abs=1e-9), crystal


def test_vacancies_are_as_many_as_stated() -> None:
    box = ((-20.0, 20.0), (-20.0, 20.0))
    every, some = ([part for _, part in atoms(one("hbn", vacancies=v, layers=(2,)), box)] for v in (0.0, 0.1))
    assert len(every) == len(some) == 4
    for full, left in zip(every, some, strict=True):
        assert 1 - len(left) / len(full) == pytest.approx(0.1, abs=4 * sqrt(0.09 / len(full)))
        assert {tuple(place) for place in left} < {tuple(place) for place in full}
    other = next(iter(atoms(one("hbn", vacancies=0.1, seed=1), box)))[1]
    assert {tuple(place) for place in other} != {tuple(place) for place in some[0]}
    assert np.array_equal(every[0], every[2])  # sites over one another lose their atoms apart
    both = {tuple(place) for place in some[0]} & {tuple(place) for place in some[2]}
    assert len(both) / len(every[0]) == pytest.approx(0.81, abs=0.02)


def test_the_kernel_adds_gaussians() -> None:
    """Against the whole sum; the rest is what lies beyond the reach."""
    rng, shape, (dy, dx), width = np.random.default_rng(0), (40, 53), (0.03, 0.02), 0.05
    places = rng.uniform(-0.9, 0.9, (200, 2))
    y, x = ((np.arange(n) - n // 2) * d for n, d in zip(shape, (dy, dx), strict=True))
    square = (y[:, None, None] - places[:, 0]) ** 2 + (x[:, None] - places[:, 1]) ** 2
    expected = 0.3 / (2 * pi * width**2) * np.exp(-square / (2 * width**2)).sum(axis=-1)
    out = np.zeros(shape)
    add_gaussians(out, places, 0.3, width, dy, dx, shape[0] // 2, shape[1] // 2)
    assert out == pytest.approx(expected, abs=10 * 0.3 / (2 * pi * width**2) * np.exp(-(CUTOFF_WIDTHS**2) / 2))


def test_lattices_follow_the_recipe_and_are_stored_exactly() -> None:
    rng, settings = np.random.default_rng(0), Lattice(layers=Range(low=1, high=3))
    drawn = [draw(settings, rng) for _ in range(300)]
    assert sizes(settings) == {"sheet": 2}
    for lattice in drawn:
        for field in lattices.FIELDS:
            value = np.asarray(getattr(lattice, field.name.removeprefix("lattice_")))
            assert np.array_equal(value.astype(field.dtype), value)
            assert value.shape == tuple(sizes(settings)[dim] for dim in field.dims[1:])
    assert {lattice.layers[0] for lattice in drawn} == {1, 2, 3}
    assert {lattice.layers[1] for lattice in drawn} == {0, 1, 2, 3}
    twists = [lattice.rotation[1] - lattice.rotation[0] for lattice in drawn]
    assert (min(twists), max(twists)) == pytest.approx((0, pi / 3), abs=0.02)
    assert len({lattice.seed for lattice in drawn}) == 300


def test_each_sheet_is_turned_against_the_one_before() -> None:
    """By the same twist: evenly. By one of a range: each by its own, so that turns add up."""
    rng, four = np.random.default_rng(0), Range(low=4, high=4)
    turn, twist = Range(low=0.2, high=0.2), Range(low=0.3, high=0.3)
    even = draw(Lattice(sheets=four, orientation=turn, twist=twist), rng)
    assert even.rotation == pytest.approx((0.2, 0.5, 0.8, 1.1), abs=1e-6)
    turns = np.array([draw(Lattice(sheets=four, twist=Range(low=0.1, high=0.3)), rng).rotation for _ in range(200)])
    twists = np.diff(turns, axis=1)
    assert (twists.min(), twists.max()) == pytest.approx((0.1, 0.3), abs=0.005)
    assert abs(np.corrcoef(twists.T)[~np.eye(3, dtype=bool)]).max() < 0.25


def test_every_lattice_takes_as_many_random_numbers() -> None:
    rngs = [np.random.default_rng(0) for _ in range(3)]
    draw(Lattice(), rngs[0])
    draw(Lattice(crystal="graphene", sheets=Range(low=2, high=2), twist=Range(low=0, high=0)), rngs[1])
    rngs[2].random(13)
    assert len({rng.random() for rng in rngs}) == 1


def test_every_column_says_what_it_is() -> None:
    columns = [f"lattice_{column.name}" for column in fields(DrawnLattice) if column.name != "crystal"]
    assert columns == [field.name for field in lattices.FIELDS]
    for info in Lattice.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"crystal": "gold"}, "'graphene' or 'hbn'"),
        ({"sheets": 0}, "at least 1"),
        ({"layers": 1.5}, "whole numbers"),
        ({"vacancies": 2}, "at most 1"),
        ({"vibration": -0.1}, "at least 0"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Lattice.model_validate(settings)


def test_a_field_of_too_many_atoms_is_refused() -> None:
    check_atom_count(Lattice(), (70.0, 70.0))
    with pytest.raises(
        ValueError, match=r"7\.4e\+07 atoms in a field of view of 1000 x 1000 nm: must be at most 2e\+07"
    ):
        check_atom_count(Lattice(), (1000.0, 1000.0))
