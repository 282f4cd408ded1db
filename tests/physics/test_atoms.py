"""Potentials of atoms on a grid: mass, positions, symmetry, limits, thermal displacements."""

import numpy as np
import pytest

from physics.electron import wavelength
from physics.multislice import band_limit, highest_frequency, transmission
from physics.optics import image, transfer_function
from physics.scattering import placement
from physics.scattering.atoms import Atoms, check_inside, cut, displaced, place, projected_potential, slice_potentials
from physics.scattering.factors import STRENGTH, scattering_factor
from physics.scattering.factors import projected_potential as closed_form

GRIDS = [((64, 48), (0.02, 0.03)), ((33, 50), (0.03, 0.02)), ((41, 37), (0.025, 0.025))]


def some(count: int = 12, span: float = 0.8, seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms(("Ni", "Pt"), rng.integers(0, 2, count), rng.uniform(-span / 2, span / 2, (count, 3)))


@pytest.mark.parametrize("shape", [(24, 25), (37, 48)])
def test_spread_points_have_the_spectrum_of_points(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    r, w = rng.uniform(-9, 60, (40, 2)), rng.standard_normal(40)
    along_y, along_x = placement.correction(shape)
    found = np.fft.rfft2(placement.spread(r, w, shape)) * along_y * along_x
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    expected = np.einsum("j,jyx->yx", w, np.exp(-2j * np.pi * (r[:, 0, None, None] * fy + r[:, 1, None, None] * fx)))
    inside = (abs(fy) <= placement.BAND / 2) & (abs(fx) <= placement.BAND / 2)
    assert abs(found - expected)[inside].max() < 3e-7 * abs(w).sum()
    assert not found[~inside].any()


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_the_potential_is_that_of_its_spectrum(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """Atoms in, scattering mass out, each at its place: signs, axes and the origin at N//2 are fixed by this law."""
    atoms = some()
    found = np.fft.fft2(np.fft.ifftshift(projected_potential(atoms, shape, sampling, 0.008))) * np.prod(sampling)
    fy, fx = np.fft.fftfreq(shape[0], sampling[0])[:, None], np.fft.fftfreq(shape[1], sampling[1])
    f2 = fy**2 + fx**2
    expected = np.zeros(shape, complex)
    for kind, (_, y, x) in zip(atoms.kinds, atoms.positions, strict=True):
        v = STRENGTH * scattering_factor(atoms.elements[kind], f2**0.5) * np.exp(-2 * (np.pi * 0.008) ** 2 * f2)
        expected += v * np.exp(-2j * np.pi * (fy * y + fx * x))
    expected *= band_limit(shape, sampling)
    assert abs(found - expected).max() < 1e-6 * expected[0, 0].real
    mass = STRENGTH * sum(scattering_factor(atoms.elements[kind], 0.0) for kind in atoms.kinds)
    assert found[0, 0].real == pytest.approx(mass, rel=1e-6)


def test_one_atom_is_the_formula_of_its_potential() -> None:
    """Far from the nucleus, V_z is that of the closed form but for some ripples of the sharp band limit."""
    v = projected_potential(Atoms(("Au",), np.array([0]), np.zeros((1, 3))), (256, 256), 0.005, vibration=0.006)
    for pixels in (20, 24, 28):
        ring = [v[128 + pixels, 128], v[128 - pixels, 128], v[128, 128 + pixels], v[128, 128 - pixels]]
        assert ring == pytest.approx([closed_form("Au", np.float64(0.005 * pixels))] * 4, rel=0.05)


def test_slices_add_up_and_hold_their_atoms() -> None:
    atoms = some(40)
    slices = list(slice_potentials(atoms, (-0.5, -0.2, 0.0, 0.1, 0.5), (40, 36), 0.03))
    assert len(slices) == 4
    assert np.allclose(sum(slices), projected_potential(atoms, (40, 36), 0.03), atol=1e-4)
    parts = cut(atoms, (-0.5, -0.2, 0.0, 0.1, 0.5))
    assert [len(part) for part in parts] == np.histogram(atoms.positions[:, 0], (-0.5, -0.2, 0.0, 0.1, 0.5))[0].tolist()
    assert cut(atoms[:0], (0.0, 1.0))[0].positions.shape == (0, 3)


def test_displacements_average_to_the_factor_of_debye_and_waller() -> None:
    """The mean of n displaced potentials approaches the blurred one like 1 / sqrt(n)."""
    atoms, u, rng = some(6), 0.01, np.random.default_rng(3)
    blurred = projected_potential(atoms, (48, 40), 0.03, u)

    def error(n: int) -> float:
        mean = sum(
            projected_potential(displaced(atoms, u, rng.standard_normal((6, 3))), (48, 40), 0.03) for _ in range(n)
        )
        return float(np.linalg.norm(mean / n - blurred) / np.linalg.norm(blurred))

    assert error(400) < 0.02 < error(4)


def test_the_band_limit_is_a_circle_for_unequal_pixels() -> None:
    v = place(some(), lambda _, f: np.ones_like(f), (64, 48), (0.02, 0.03))
    spectrum = abs(np.fft.fft2(v))
    fy, fx = np.fft.fftfreq(64, 0.02)[:, None], np.fft.fftfreq(48, 0.03)
    radius = np.hypot(fy, fx) / highest_frequency((0.02, 0.03))
    assert highest_frequency((0.02, 0.03)) == pytest.approx(1 / 0.09)
    assert spectrum[radius > 1.001].max() < 1e-10 * spectrum.max()
    assert spectrum[radius < 0.999].min() > 1e-4


def test_five_atoms_look_like_those_of_the_book() -> None:
    """Kirkland, Advanced Computing in Electron Microscopy, figure 5.12: from 0.72 to 1.03; C is weak, U dark.

    200 kV, 1.3 mm, 70 nm underfocus, 10.37 mrad, 512 x 512 pixels of 50 angstrom. The potentials there are Kirkland's.
    """
    n, d, voltage = 512, 5.0 / 512, 200e3
    row = Atoms(("C", "Si", "Cu", "Au", "U"), np.arange(5), np.array([[0.0, 0, x] for x in (-2, -1, 0, 1, 2)]))
    wave = transmission(projected_potential(row, (n, n), d).astype(np.float32), voltage)
    lens = transfer_function((n, n), d, wavelength(voltage), -70.0, spherical=1.3e6, aperture=0.01037)
    seen = image(wave, lens)
    assert (round(float(seen.min()), 2), round(float(seen.max()), 2)) == (0.72, 1.03)
    assert (np.diff(seen[n // 2, (n // 2 + np.arange(-2, 3) / d).round().astype(int)]) < 0).all()


def test_atoms_outside_are_refused() -> None:
    atoms = some()
    with pytest.raises(ValueError, match=r"of 12 atoms lie outside of the slices, from 0 to 0.1 nm"):
        cut(atoms, (0.0, 0.1))
    with pytest.raises(ValueError, match=r"of 12 atoms lie outside of the field of view, 0.3 nm along y"):
        check_inside(atoms, (10, 100), 0.03)
    check_inside(atoms, (40, 40), 0.03)
    with pytest.raises(ValueError, match="positions of shape"):
        Atoms(("Ni",), np.zeros(3, int), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        Atoms(("Ni",), np.zeros(1, int), np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="element 'Q'"):
        Atoms(("Q",), np.zeros(1, int), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="must be at least 10 x 10"):
        projected_potential(atoms, (8, 40), 0.03)
