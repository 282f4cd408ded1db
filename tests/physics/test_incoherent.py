"""Incoherent images: sums over positions, conserved mass, depth, the image of one atom by multislice."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from physics import multislice, probe
from physics.arrays import Real
from physics.electron import wavelength
from physics.fourier import blurred
from physics.optics import propagate
from physics.scattering import incoherent, stem
from physics.scattering.atoms import Atoms, displaced, projected_potential
from physics.scattering.detectors import annulus
from physics.scattering.thermal import scattering_power

VOLTAGE = 200e3
LAMBDA = wavelength(VOLTAGE)
GRIDS = [((64, 48), (0.02, 0.024)), ((45, 54), (0.025, 0.02)), ((63, 63), (0.02, 0.02))]
RING = (0.022, 0.033)
ALPHA = 0.009


def lens(
    shape: tuple[int, int], sampling: tuple[float, float], semi_angle: float = ALPHA, **aberrations: float
) -> Real:
    made: Real = probe.probe(shape, sampling, VOLTAGE, semi_angle, **aberrations)
    return made


def some(count: int = 9, span: float = 0.8) -> Atoms:
    rng = np.random.default_rng(1)
    return Atoms(("C", "Pt"), rng.integers(0, 2, count), rng.uniform(-span / 2, span / 2, (count, 3)))


def table(sampling: tuple[float, float], vibration: float = 0.006) -> incoherent.Power:
    return incoherent.powers(("C", "Pt"), sampling, VOLTAGE, *RING, vibration=vibration, semi_angle=ALPHA)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_the_image_is_a_sum_over_positions(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """An asymmetric probe tells correlation from convolution; a defocused one, at its depth, tells the sense of z."""
    p = lens(shape, sampling, coma=4000.0, coma_azimuth=0.7, defocus=-6.0)
    planes, distances = (-0.4, 0.3, 0.5), (2.0, 2.7, 2.9)
    objects = incoherent.objects(some(), table(sampling), planes, shape, sampling)
    found = incoherent.image(p, objects, distances, LAMBDA, sampling)
    where = [(0, 0), (5, -9), (-shape[0] // 2 + 1, shape[1] // 2 - 1), (-11, 2)]
    moved = stem.probes_at(p, np.array(where) * np.array(sampling), sampling)
    expected = sum(
        (abs(propagate(moved, LAMBDA, z, sampling)) ** 2 * one).sum(axis=(1, 2))
        for z, one in zip(distances, objects, strict=True)
    )
    pixels = [found[y + shape[0] // 2, x + shape[1] // 2] for y, x in where]
    assert pixels == pytest.approx(expected, rel=1e-9, abs=1e-12)
    mirrored = incoherent.image(np.roll(p[::-1, ::-1], (1, 1), (0, 1)), objects, distances, LAMBDA, sampling)
    assert abs(mirrored - found).max() > 0.05 * found.max()


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_all_atoms_count_wherever_the_probe_is_in_focus(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """Sum over pixels x area of a pixel = sum of cross-sections, for any aberration, depth and source."""
    atoms = some(40)
    cross = [scattering_power(e, np.zeros(1), VOLTAGE, *RING, semi_angle=ALPHA)[0] for e in atoms.elements]
    expected = sum(cross[kind] for kind in atoms.kinds)
    objects = incoherent.objects(atoms, table(sampling), (-0.5, 0.0, 0.5), shape, sampling)
    for defocus, source in ((0.0, 0.0), (-20.0, 0.05)):
        p = lens(shape, sampling, defocus=defocus)
        found = incoherent.image(p, objects, (0.0, 0.5, 1.0), LAMBDA, sampling, source=source)
        assert found.sum() * np.prod(sampling) == pytest.approx(expected, rel=1e-5)


def test_a_probe_focused_on_an_atom_has_its_highest_signal_there() -> None:
    """Two atoms at different depths; the focus lies on one, then on the other."""
    shape, d = (72, 60), (0.02, 0.02)
    atoms = Atoms(("C", "Pt"), np.array([1, 1]), np.array([[0.0, 0.2, -0.3], [60.0, -0.2, 0.3]]))
    objects = incoherent.objects(atoms, table(d), (0.0, 60.0), shape, d)
    pixels = [
        tuple((np.array(atoms.positions[k, 1:]) / d[0]).round().astype(int) + np.array(shape) // 2) for k in (0, 1)
    ]

    def peaks(defocus: float) -> tuple[float, float]:
        made = incoherent.image(lens(shape, d, defocus=defocus), objects, (0.0, 60.0), LAMBDA, d)
        return float(made[pixels[0]]), float(made[pixels[1]])

    (upper, dim), (blurry, lower) = peaks(0.0), peaks(-60.0)
    assert upper > 1.5 * dim
    assert lower > 1.5 * blurry
    assert upper == pytest.approx(lower, rel=0.02)


def test_planes_converge_with_the_square_of_their_distance() -> None:
    """Each atom is shared between the planes around it, so the order is two for any arrangement of atoms."""
    shape, d = (48, 40), (0.02, 0.024)
    rng = np.random.default_rng(5)
    atoms = Atoms(("Pt",), np.zeros(30, int), rng.uniform(-0.4, 0.4, (30, 3)) * np.array([60.0, 1, 1]))
    p = lens(shape, d, defocus=-10.0)

    def seen(intervals: int) -> Real:
        planes = np.linspace(-24, 24, intervals + 1)
        objects = incoherent.objects(atoms, table(d), planes, shape, d)
        made: Real = incoherent.image(p, objects, planes + 24, LAMBDA, d)
        return made

    fine = seen(64)
    errors = [np.linalg.norm(seen(n) - fine) / np.linalg.norm(fine) for n in (4, 8, 16)]
    assert errors[1] / errors[2] == pytest.approx((1 / 8**2 - 1 / 64**2) / (1 / 16**2 - 1 / 64**2), rel=0.2)
    assert 0.2 > errors[0] > errors[2] > 1e-6


def test_one_light_atom_is_that_of_multislice_with_frozen_phonons() -> None:
    """The mean over displacements of the atom, at the nodes of Gauss and Hermite.

    What remains is due to phases beyond the first Born approximation, of the order of (sigma V_z)^2, and to the edges
    of the detector, which rays on both sides of the axis see differently.
    """
    shape, d, u, alpha = (60, 64), (0.02, 0.02), 0.008, 0.01
    ring = (0.022, 0.03)  # within the limit of 41.8 mrad for all rays of the cone
    one = Atoms(("C",), np.array([0]), np.array([[0.0, 0.07, -0.11]]))
    limit = multislice.band_limit(shape, d)
    p, detector = lens(shape, d, alpha, defocus=-2.0), annulus(shape, d, LAMBDA, *ring)
    y, x = np.meshgrid(*((np.arange(-3, 4) * 2 * 0.02,) * 2), indexing="ij")
    where = np.stack([y + 0.08, x - 0.1], axis=-1).reshape(-1, 2)
    node, weight = np.polynomial.hermite_e.hermegauss(5)
    mean = np.zeros(len(where))
    for i, j in np.ndindex(5, 5):
        moved = displaced(one, u, np.array([[0.0, node[i], node[j]]]))
        t = multislice.transmission(projected_potential(moved, shape, d), VOLTAGE, limit)[None]
        share = weight[i] * weight[j] / weight.sum() ** 2
        mean += share * stem.scanned_signals(p, where, t, LAMBDA, 0.2, d, detector, limit=limit)[:, 0]
    power = incoherent.powers(("C",), d, VOLTAGE, *ring, vibration=u, semi_angle=alpha)
    objects = incoherent.objects(one, power, (0.0,), shape, d)
    found = incoherent.image(p, objects, (0.1,), LAMBDA, d)
    pixels = (where / 0.02).round().astype(int) + np.array(shape) // 2
    seen = found[pixels[:, 0], pixels[:, 1]]
    assert np.linalg.norm(seen - mean) < 0.03 * np.linalg.norm(mean)
    assert mean.max() > 3 * mean.min()


def test_a_source_of_finite_size_blurs_the_image() -> None:
    shape, d = GRIDS[2]
    objects = incoherent.objects(some(), table(d), (0.0,), shape, d)
    run = partial(incoherent.image, lens(shape, d), objects, (0.0,), LAMBDA, d)
    assert run(source=0.04) == pytest.approx(blurred(run(), 0.04 / d[0]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_a_coarse_scan_picks_from_the_image(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    objects = incoherent.objects(some(), table(sampling), (0.0,), shape, sampling)
    made = incoherent.image(lens(shape, sampling), objects, (0.0,), LAMBDA, sampling)
    dy, dx = sampling
    y, x = (np.arange(0, n, 3) - n // 2 for n in shape)
    picked = incoherent.scanned(made, y * dy, x * dx, sampling)
    assert picked == pytest.approx(made[::3, ::3], rel=1e-9, abs=1e-12)
    p = stem.probes_at(lens(shape, sampling), np.array([[0.0371, -0.1113]]), sampling)[0]
    between = incoherent.scanned(made, np.array([0.0371]), np.array([-0.1113]), sampling)
    assert between[0, 0] == pytest.approx((abs(p) ** 2 * objects[0]).sum(), rel=1e-9)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_each_row_of_a_scan_has_its_own_shift(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """A row shifted by s is the row scanned at x + s; whole pixels roll it, towards smaller x for s > 0."""
    rng, dx = np.random.default_rng(3), sampling[1]
    made = rng.random(shape)
    y, x = rng.uniform(-0.4, 0.4, 7), np.sort(rng.uniform(-0.5, 0.5, 11))
    shifts = rng.uniform(-0.3, 0.3, 7)
    smooth = blurred(made, 1.5)  # without detail at the Nyquist frequency, as a shift asks for
    found = incoherent.scanned(smooth, y, x, sampling, shifts=shifts)
    rows = [incoherent.scanned(smooth, y[i : i + 1], x + shifts[i], sampling)[0] for i in range(7)]
    assert found == pytest.approx(np.stack(rows), rel=1e-5)
    grid_y, grid_x = ((np.arange(n) - n // 2) * d for n, d in zip(shape, sampling, strict=True))
    whole = np.arange(shape[0]) % 5
    rolled = incoherent.scanned(made, grid_y, grid_x, sampling, shifts=whole * dx)
    assert rolled == pytest.approx(np.stack([np.roll(row, -k) for row, k in zip(made, whole, strict=True)]), abs=1e-9)
    assert incoherent.scanned(made, grid_y, grid_x, sampling, shifts=0 * grid_y) == pytest.approx(made, abs=1e-9)


def test_a_scan_has_the_bits_of_its_parts() -> None:
    """Sums of a BLAS would depend on the number of rows and of threads."""
    rng = np.random.default_rng(3)
    made = rng.random((150, 140)).astype(np.float32)
    y, x, shifts = rng.uniform(-2, 2, 90), rng.uniform(-2, 2, 80), rng.uniform(-0.1, 0.1, 90)
    found = incoherent.scanned(made, y, x, 0.02, shifts=shifts)
    assert found.dtype == np.float32
    part = incoherent.scanned(made, y[30:47], x, 0.02, shifts=shifts[30:47])
    np.testing.assert_array_equal(part, found[30:47])


def test_jax_computes_the_same() -> None:
    shape, d = GRIDS[0]
    p = lens(shape, d, coma=3000.0)
    objects = incoherent.objects(some(), table(d), (-0.5, 0.5), shape, d)
    expected = incoherent.image(p, objects, (0.0, 1.0), LAMBDA, d, source=0.03)
    traced = incoherent.image(
        jnp.asarray(p, jnp.complex64), jnp.asarray(objects, jnp.float32), (0.0, 1.0), LAMBDA, d, source=0.03
    )
    assert np.allclose(traced, expected, atol=2e-6 * expected.max(), rtol=0)
    y, x = np.array([0.1, 0.2]), np.array([0.0])
    assert np.allclose(incoherent.scanned(traced, y, x, d), incoherent.scanned(expected, y, x, d), atol=1e-7)
    shifts = np.array([0.03, -0.05])
    found, known = (incoherent.scanned(image, y, x, d, shifts=shifts) for image in (traced, expected))
    assert np.allclose(found, known, atol=1e-7)


def test_atoms_beyond_the_planes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 9 atoms lie outside of the planes, from 0 to 0.1 nm"):
        incoherent.objects(some(), table((0.02, 0.02)), (0.0, 0.1), (40, 40), (0.02, 0.02))
    with pytest.raises(ValueError, match="1 distances for 2 planes"):
        incoherent.image(lens((40, 40), (0.02, 0.02)), np.zeros((2, 40, 40)), (0.0,), LAMBDA, (0.02, 0.02))
