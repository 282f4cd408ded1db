"""Images by gridding: the sum over frequencies that it stands for, filtered back projection, and laws."""

from math import pi

import numpy as np
import pytest

from physics.arrays import Real
from physics.tomography.filtered_back_projection import (
    WINDOWS,
    filtered_back_projection,
    weights_by_sample,
    windowed_ramp,
)
from physics.tomography.geometry import Geometry
from physics.tomography.gridding import gridding_reconstruction

from .test_tomography import error, gaussian, gaussian_sinogram

SHAPES = [(21, 26), (16, 13), (1, 7)]


def sum_of_frequencies(
    sinogram: Real, geometry: Geometry, shape: tuple[int, int], window: str, cutoff: float, size: int = 150
) -> Real:
    """Return the sum that gridding approximates, term by term."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    spectra = np.fft.fft(sinogram * weights_by_sample(geometry, None), size) / size
    ramp = windowed_ramp(size, geometry.pitch, window, cutoff)
    k = np.fft.fftfreq(size, 1 / size)
    made = np.zeros(shape)
    for t, spectrum in zip(geometry.angles, spectra, strict=True):
        place = (x * np.cos(t) + y[:, None] * np.sin(t)) / geometry.pitch
        place += (geometry.detectors - 1) / 2 + geometry.axis_offset
        terms = np.exp(2j * pi / size * place[..., None] * k)
        made += (terms @ (spectrum * ramp[abs(k).astype(int)])).real
    return made


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pitch", [0.5, 1.0, 1.6])
@pytest.mark.parametrize(("dtype", "window", "cutoff"), [("float32", "hann", 0.8), ("float64", "ramlak", 1.0)])
def test_gridding_is_a_sum_over_frequencies(
    shape: tuple[int, int], pitch: float, dtype: str, window: str, cutoff: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, views in any order: the interpolation by the kernel is the only error."""
    rng = np.random.default_rng(1)
    geometry = Geometry(rng.uniform(-4, 7, 17), 31, pitch, -2.3)
    sinogram = rng.normal(size=geometry.shape)
    monkeypatch.setattr("physics.tomography.gridding._padded_size", lambda *_: 150)
    made = gridding_reconstruction(sinogram.astype(dtype), geometry, shape, window=window, cutoff=cutoff)
    assert made.dtype == dtype
    assert error(made, sum_of_frequencies(sinogram, geometry, shape, window, cutoff)) < 5e-5


@pytest.mark.parametrize("window", WINDOWS)
def test_gridding_agrees_with_filtered_back_projection(window: str) -> None:
    """The latter interpolates linearly, so the difference falls with the square of the pixel."""
    differences = []
    for n in (24, 48, 96):
        geometry = Geometry(np.arange(4 * n) * pi / (4 * n) + 0.1, 2 * n - 1, 1.0, 0.5)
        sinogram, shape = gaussian_sinogram(geometry, -0.14 * n, 0.11 * n, n / 12), (n, n + 3)
        other = filtered_back_projection(sinogram, geometry, shape, window=window, cutoff=0.7)
        differences.append(error(gridding_reconstruction(sinogram, geometry, shape, window=window, cutoff=0.7), other))
    assert abs(np.log2(differences[1] / differences[2]) - 2) < 0.1
    assert differences[2] < 2e-3


@pytest.mark.parametrize("shape", [(65, 68), (64, 60), (41, 64)])
@pytest.mark.parametrize(("turn", "offset", "pitch"), [(pi, 0.5, 1.0), (2 * pi, -3.7, 0.8), (-pi, 0.0, 1.3)])
def test_gridding_finds_a_smooth_object(shape: tuple[int, int], turn: float, offset: float, pitch: float) -> None:
    geometry = Geometry(np.arange(180) * turn / 180 + 0.1, 95, pitch, offset)
    exact = gaussian(shape, -9.2, 7.3, 4.0)
    made = gridding_reconstruction(gaussian_sinogram(geometry, -9.2, 7.3, 4.0), geometry, shape)
    assert error(made, exact) < 5e-5
    assert abs(made.sum() / exact.sum() - 1) < 5e-5


def test_zeros_beside_the_detector_change_nothing() -> None:
    """Projections are padded so far that the corners of the image do not see their next period."""
    rng = np.random.default_rng(6)
    narrow, wide = (Geometry(np.arange(30) * pi / 30, n, axis_offset=d) for n, d in ((25, 4.0), (85, 4.0)))
    sinogram = rng.normal(size=narrow.shape)
    images = [
        gridding_reconstruction(values, rays, (40, 37), window="hann")
        for values, rays in ((sinogram, narrow), (np.pad(sinogram, ((0, 0), (30, 30))), wide))
    ]
    assert error(images[0], images[1]) < 5e-5


def test_a_moved_object_has_a_moved_image() -> None:
    geometry = Geometry(np.arange(120) * pi / 120, 91, axis_offset=1.5)
    plain, moved = (
        gridding_reconstruction(gaussian_sinogram(geometry, y, x, 4.0), geometry, (51, 56))
        for y, x in ((2, 3), (-4, 8))
    )
    assert error(moved[:-6, 5:], plain[6:, :-5]) < 1e-4


def test_gridding_is_linear_and_takes_stacks() -> None:
    rng = np.random.default_rng(2)
    geometry = Geometry(rng.uniform(0, pi, 30), 33, axis_offset=0.5)
    stack = rng.normal(size=(2, 3, *geometry.shape))
    made = gridding_reconstruction(stack, geometry, (20, 25))
    assert (made[1, 2] == gridding_reconstruction(stack[1, 2], geometry, (20, 25))).all()
    both = gridding_reconstruction(stack[0] - 3 * stack[1], geometry, (20, 25))
    np.testing.assert_allclose(both, made[0] - 3 * made[1], atol=1e-12)


@pytest.mark.parametrize("source_distance", [0.0, 60.0])
def test_each_sinogram_has_views_of_its_own(source_distance: float) -> None:
    rng = np.random.default_rng(3)
    geometry = Geometry(np.linspace(0, 2 * pi, 40, endpoint=False), 31, source_distance=source_distance)
    measured = rng.random((4, 40)) < np.array([[1.0], [0.5], [0.3], [0.0]])
    sinograms = rng.random((4, *geometry.shape), np.float32)
    together = gridding_reconstruction(sinograms, geometry, (21, 24), measured=measured)
    other = np.where(measured[..., None], sinograms, 9)
    assert (together == gridding_reconstruction(other, geometry, (21, 24), measured=measured)).all()
    assert not together[3].any()
    for n in range(3):
        alone = gridding_reconstruction(sinograms[n], geometry, (21, 24), measured=measured[n])
        assert (together[n] == alone).all()
        if not source_distance:
            seen = gridding_reconstruction(sinograms[n][measured[n]], geometry.views(measured[n]), (21, 24))
            np.testing.assert_allclose(seen, alone, atol=1e-6)


@pytest.mark.parametrize("order", ["even", "shuffled"])
def test_a_fan_beam_is_sorted_first(order: str) -> None:
    """Sorting interpolates linearly between views and detector pixels, which the ramp amplifies: above first order."""
    errors, others = [], []
    for fine in (1, 2, 4):
        angles = np.arange(180 * fine) * 2 * pi / (180 * fine)
        angles = np.random.default_rng(4).permutation(angles) if order == "shuffled" else angles
        geometry = Geometry(angles, 95 * fine, 1 / fine, 0.5, 150.0)
        exact = gaussian((65, 60), -9.2, 7.3, 5.0)
        sinogram = gaussian_sinogram(geometry, -9.2, 7.3, 5.0)
        made, other = (f(sinogram, geometry, (65, 60)) for f in (gridding_reconstruction, filtered_back_projection))
        errors.append(error(made, exact))
        others.append(error(other, exact))
        assert abs(made.sum() / exact.sum() - 1) < 1e-3
        half = np.argsort(np.argsort(angles)) % 2  # every second view
        some = gridding_reconstruction(sinogram, geometry, (65, 60), measured=half)
        assert error(some, exact) < 5e-3
    assert np.log2(errors[0] / errors[2]) / 2 > 1.3
    assert (np.array(errors) < others).all()
    assert errors[0] < 2e-3


def test_both_sides_of_a_line_count() -> None:
    """Over a whole turn of a fan beam each line is measured twice, which lowers the noise as it does for others."""
    geometry = Geometry(np.arange(180) * 2 * pi / 180, 95, 1.0, 0.25, 150.0)
    noise = np.random.default_rng(5).normal(size=(4, *geometry.shape))
    both = (gridding_reconstruction, filtered_back_projection)
    made, other = (f(noise, geometry, (64, 64), window="hann") for f in both)
    assert abs(made.std() / other.std() - 1) < 0.1


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(np.array([0.3]), 1),
        Geometry(np.array([0.3]), 9),
        Geometry(np.arange(9.0), 1),
        Geometry(np.array([0.3]), 9, source_distance=20.0),
    ],
)
def test_one_view_and_a_detector_of_one_pixel(geometry: Geometry) -> None:
    assert np.isfinite(gridding_reconstruction(np.ones(geometry.shape), geometry, (5, 6))).all()


def test_windows_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="window median"):
        gridding_reconstruction(np.ones((3, 9)), Geometry(np.arange(3.0), 9), (5, 6), window="median")
