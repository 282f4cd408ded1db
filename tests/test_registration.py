"""Laws of registration: a known pose is undone through defocus; nothing moves what lies right."""

import numpy as np
import pytest
from scipy import ndimage

from inference.methods.registration import register
from physics import optics
from physics.electron import wavelength

SHAPES = [(64, 64), (65, 48), (56, 71)]
DEFOCUS = np.array([-8e3, 0.0, 8e3])
SAMPLING = 2.0
BLUR = np.array([3 * np.sqrt(wavelength(3e5) * 8e3) / SAMPLING])


def series(shape: tuple[int, int]) -> np.ndarray:
    """(1, 3, y, x): an asymmetric particle of one material through focus."""
    y, x = (np.arange(n)[:, None] - n / 2 for n in shape)
    x = x.T
    thickness = 40 * np.exp(-((y - 3) ** 2) / 60 - (x + 2) ** 2 / 90) + 25 * np.exp(-((y + 7) ** 2 + (x - 6) ** 2) / 20)
    wave = optics.exit_wave(optics.phase_shift(thickness, 15.0, 3e5), optics.attenuation(thickness, 1.0, 3e5))
    return np.asarray(optics.intensity(optics.propagate(wave, wavelength(3e5), DEFOCUS, SAMPLING)))[None]


def moved(image: np.ndarray, turn: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    middle = np.array(image.shape) // 2
    matrix = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return ndimage.affine_transform(image, matrix, middle + shift - matrix @ middle, mode="grid-wrap")


def misaligned(images: np.ndarray) -> np.ndarray:
    out = images.copy()
    out[0, 0] = moved(images[0, 0], 0.05, 1.02, (0.6, -0.9))
    out[0, 2] = moved(images[0, 2], -0.04, 0.98, (-1.2, 0.3))
    return out


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_known_pose_is_undone_through_defocus(shape: tuple[int, int]) -> None:
    images = series(shape)
    worse = misaligned(images)
    found = register(worse, 1, np.ones(shape), BLUR)
    assert rms(found - images) < 0.1 * rms(worse - images)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_lies_right_stays_and_so_does_the_reference(shape: tuple[int, int]) -> None:
    images = series(shape)
    found = register(images, 1, np.ones(shape), BLUR)
    assert rms(found - images) < 0.03 * rms(images - images[:, 1:2])
    np.testing.assert_allclose(register(misaligned(images), 1, np.ones(shape), BLUR)[:, 1], images[:, 1], atol=1e-12)


@pytest.mark.parametrize("edge", [0, 6, 16, 31])
def test_a_window_neither_holds_images_back_nor_changes_the_reference(edge: int) -> None:
    """Hard, or with a cosine edge of so many pixels."""
    shape = (64, 64)
    y, x = np.indices(shape) - 32
    depth = np.clip((31 - np.hypot(y, x)) / max(edge, 1e-6), 0, 1)
    window = (1 - np.cos(np.pi * depth)) / 2
    images, worse = series(shape) * window, misaligned(series(shape)) * window
    found = register(worse, 1, window, BLUR)
    assert rms(found - images) < 0.1 * rms(worse - images)
    np.testing.assert_array_equal(found[:, 1], worse[:, 1])
    assert not found[..., window == 0].any()


def test_images_of_vacuum_come_out_as_they_are() -> None:
    images = np.ones((2, 3, 16, 16), np.float32)
    found = register(images, 1, np.ones((16, 16)), np.full(2, 2.0))
    np.testing.assert_allclose(found, images, rtol=1e-6)
    assert found.dtype == np.float32
