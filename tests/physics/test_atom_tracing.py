"""Volumes from tilt series, and atoms in them: places, axes and signs, shares and shifts."""

import math

import numpy as np
import pytest

from physics.atom_tracing import match_atoms, trace_atoms
from physics.tomography.volume import project_volume, r_factor, reconstruct_volume

ANGLES = np.deg2rad(np.arange(-75.0, 76.0, 7.5))
WIDTH = 1.3  # standard deviation of an atom [pixel]

# (ny, nx): never square, odd and even.
SHAPES = [(9, 25), (8, 24)]


def blob(shape: tuple[int, ...], place: tuple[float, ...]) -> np.ndarray:
    """Gaussian of the integral 1, its place from the pixel N // 2 of each axis."""
    squares = [(np.arange(n) - n // 2 - p) ** 2 for n, p in zip(shape, place, strict=True)]
    total = squares[0].reshape(-1, *[1] * (len(shape) - 1))
    for axis, one in enumerate(squares[1:], 1):
        total = total + one.reshape(*[1] * axis, -1, *[1] * (len(shape) - 1 - axis))
    return np.asarray(np.exp(-total / (2 * WIDTH**2)) / (WIDTH * math.sqrt(2 * math.pi)) ** len(shape))


def images_of(shape: tuple[int, int], z: float, y: float, x: float) -> np.ndarray:
    """Exact projections of an atom: it is seen at x cos t + z sin t, by the convention of the task aet."""
    return np.stack([blob(shape, (y, x * np.cos(t) + z * np.sin(t))) for t in ANGLES])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_atom_is_found_where_it_is(shape: tuple[int, int]) -> None:
    """One atom off all planes of symmetry fixes axes, signs, and the middle of the arrays."""
    z, y, x = 4.3, 1.0, -2.6
    volume = reconstruct_volume(images_of(shape, z, y, x), ANGLES, 200)
    assert volume.shape == (shape[1], *shape)
    ((found_z, found_y, found_x),) = trace_atoms(volume, 0.7, 3.0, 1)
    middle_y = shape[0] // 2 - (shape[0] - 1) / 2
    np.testing.assert_allclose((found_z, found_y, found_x), (z, y + middle_y, x), atol=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_volume_predicts_its_images(shape: tuple[int, int]) -> None:
    images = images_of(shape, 4.3, 1.0, -2.6)
    errors = [r_factor(project_volume(reconstruct_volume(images, ANGLES, n), ANGLES), images) for n in (10, 40, 160)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02
    assert r_factor(0 * images, images) == 1
    assert math.isnan(r_factor(images, 0 * images))


def test_the_sum_over_z_is_the_image_at_the_angle_0() -> None:
    """Also with an axis beside the middle: planes lie around it."""
    volume = np.random.default_rng(1).random((21, 6, 21))
    np.testing.assert_allclose(project_volume(volume, np.zeros(1), axis=10)[0], volume.sum(axis=0), rtol=1e-9)
    shifted = project_volume(volume, np.zeros(1), axis=12)[0]
    np.testing.assert_allclose(shifted[:, 2:], volume.sum(axis=0)[:, :-2], rtol=1e-9)


def test_atoms_are_traced_between_voxels_and_apart() -> None:
    shape, rng = (30, 21, 26), np.random.default_rng(2)
    places = [(-8.3, 3.4, 2.2), (5.1, -4.6, -6.7), (0.4, 0.2, 7.9)]
    volume = sum((blob(shape, place) for place in places), np.zeros(shape))
    middle = np.array([n // 2 - (n - 1) / 2 for n in shape])
    noisy = volume + 0.002 * rng.random(shape)
    agreement = match_atoms(trace_atoms(noisy, 1.0, 4.0, 3), np.array(places) + middle, 1.0)
    assert (agreement.traced, agreement.matched) == (3, 3)
    assert agreement.error < 0.1
    near = volume + 0.8 * blob(shape, (-8.3, 3.4, 6.6))  # 4.4 voxels from a brighter one
    assert len(trace_atoms(near, 0.5, 3.0, 9)) == 4
    assert len(trace_atoms(near, 0.5, 5.0, 9)) == 3
    assert len(trace_atoms(near, 0.5, 3.0, 2)) == 2
    assert trace_atoms(np.zeros(shape), 1.0, 2.0, 5).shape == (0, 3)


def test_agreement_counts_missed_atoms_and_ignores_a_common_shift() -> None:
    known = np.random.default_rng(3).uniform(-50, 50, (40, 3))
    traced = np.concatenate([known[:36] + np.array([0.3, -0.2, 0.1]), known[:2] + np.array([0.3, 20.0, -0.4])])
    found = match_atoms(traced, known, 1.0)
    assert (found.known, found.traced, found.matched) == (40, 38, 36)
    assert found.found == 0.9
    assert found.error < 1e-9
    np.testing.assert_allclose(found.shift, (0.3, -0.2, 0.1), atol=1e-9)
    scattered = known + np.random.default_rng(4).normal(0, 0.1, known.shape)
    assert match_atoms(scattered, known, 1.0).error == pytest.approx(0.1 * math.sqrt(3), rel=0.15)
    nothing = match_atoms(np.empty((0, 3)), known, 1.0)
    assert (nothing.matched, nothing.found) == (0, 0.0)
    assert math.isnan(nothing.error)
