"""Scanned images: the three approximations agree where they must, and the grid holds what they need."""

from typing import Any

import numpy as np
import pytest

from generators.instruments import stem
from generators.instruments.stem import DrawnStem, Scanned, Stem, grid, image
from physics import multislice
from physics.electron import wavelength
from physics.fourier import fast_length
from physics.scattering.atoms import Atoms
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

N, SAMPLING = 12, 0.1
COARSE = ("semi_angle=0.015", "inner=0.02", "outer=0.04", "phonons=0", "slice=0.4", "plane_distance=0.3")
SHARP = DrawnStem(0.0, 0.0, 1)


def settings(*values: str) -> Stem:
    made: Stem = make_settings(Stem, {}, [*COARSE, *values])
    return made


def specimen(*positions: tuple[float, float, float], element: str = "Cu") -> Atoms:
    return Atoms((element,), np.zeros(len(positions), int), np.array(positions, float).reshape(-1, 3))


def scan(n: int = N, sampling: float = SAMPLING, dy: Any = 0.0, dx: Any = 0.0) -> Scanned:
    return Scanned((n, n), sampling, sampling * (np.arange(n) - n // 2) + dy, np.zeros(n) + dx)


CLUSTER = specimen((-0.3, 0.1, 0.2), (0.0, -0.2, 0.0), (0.35, 0.2, -0.3), (0.1, 0.0, 0.1))


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("fidelity", ["incoherent", "prism", "multislice"])
def test_an_atom_appears_where_it_is(fidelity: str) -> None:
    """Its z, and the displacement of a row, change nothing but what they should."""
    known = settings(f"fidelity={fidelity}", "interpolation=1")
    for y, x in ((2, -3), (-4, 1)):
        made = image(known, SHARP, specimen((0.2, y * SAMPLING, x * SAMPLING)), scan())
        assert int(made.argmax()) == (N // 2 + y) * N + N // 2 + x
        moved = image(known, SHARP, specimen((0.2, y * SAMPLING, x * SAMPLING)), scan(dx=SAMPLING, dy=-SAMPLING))
        assert np.allclose(moved, np.roll(made, (1, -1), (0, 1)), atol=1e-3 * made.max())


def test_prism_of_all_plane_waves_is_multislice() -> None:
    made = [
        image(settings(f"fidelity={one}", "interpolation=1"), DrawnStem(3.0, 0.05, 1), CLUSTER, scan())
        for one in ("prism", "multislice")
    ]
    assert distance(made[0], made[1]) < 1e-4


def test_incoherent_images_of_one_atom_are_those_of_multislice() -> None:
    """A light atom scatters once, and without neighbours."""
    atom = specimen((0.0, 0.0, 0.0), element="C")
    values = ("semi_angle=0.02", "inner=0.05", "outer=0.09", "vibration=0")
    made = [image(settings(f"fidelity={one}", *values), SHARP, atom, scan()) for one in ("incoherent", "multislice")]
    assert distance(made[0], made[1]) < 0.02


def test_thermal_motion_is_an_average_over_configurations() -> None:
    """They depend on the seed alone; with more of them, images differ less."""
    values = ("fidelity=multislice", "vibration=0.03")
    few = [image(settings(*values, "phonons=2"), DrawnStem(0.0, 0.0, seed), CLUSTER, scan()) for seed in (1, 1, 2)]
    many = [image(settings(*values, "phonons=20"), DrawnStem(0.0, 0.0, seed), CLUSTER, scan()) for seed in (1, 2)]
    assert (few[0] == few[1]).all()
    assert distance(many[0], many[1]) < 0.6 * distance(few[0], few[2])


@pytest.mark.parametrize("fidelity", ["incoherent", "multislice"])
def test_the_source_blurs(fidelity: str) -> None:
    """The sum is kept, and the image is that of a point source behind a Gaussian."""
    known = settings(f"fidelity={fidelity}")
    sharp, soft = (image(known, DrawnStem(0.0, source, 1), CLUSTER, scan(36, 1.2 / 36)) for source in (0.0, 0.08))
    assert np.isclose(sharp.sum(), soft.sum(), rtol=1e-4)
    f = np.fft.fftfreq(36, 1.2 / 36)
    factor = np.exp(-2 * (np.pi * 0.08) ** 2 * (f[:, None] ** 2 + f**2))
    assert distance(soft, np.fft.ifft2(factor * np.fft.fft2(sharp)).real) < 1e-4


@pytest.mark.parametrize("fidelity", ["incoherent", "prism", "multislice"])
def test_the_grid_holds_all_frequencies_and_fits_the_field_of_view(fidelity: str) -> None:
    known: Stem = make_settings(Stem, {}, [f"fidelity={fidelity}", "outer=0.1"])
    shape, sampling = grid(known, (3.0, 4.1))
    wanted = (0.06 if fidelity == "incoherent" else 0.13) / float(wavelength(300e3))
    assert wanted < multislice.highest_frequency(sampling) < 1.2 * wanted
    assert np.allclose(np.array(shape) * sampling, (3.0, 4.1))
    for n in shape:
        assert n == fast_length(n) if fidelity != "prism" else n % 4 == 0


def test_a_detector_that_collects_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="must be above inner"):
        make_settings(Stem, {}, ["inner=0.1", "outer=0.05"])


def test_an_empty_field_of_view_is_dark() -> None:
    for fidelity in ("incoherent", "multislice"):
        assert abs(image(settings(f"fidelity={fidelity}"), SHARP, specimen(), scan())).max() < 1e-6


def test_the_draws_are_numbers_that_are_stored() -> None:
    from generators.random_streams import Streams

    known: Stem = make_settings(Stem, {}, ["defocus=-5:5", "source=0.01:0.09"])
    drawn = [stem.draw(known, Streams(0, "train", i)) for i in range(20)]
    for one in drawn:
        assert np.float32(one.defocus) == one.defocus
        assert 0.01 <= one.source <= 0.09
    assert len({one.seed for one in drawn}) == 20
