"""Filters of projections: windows as they are published, and a convolution with the ramp that does not wrap around."""

from math import pi

import numpy as np
import pytest

from physics.tomography.filtered_back_projection import (
    WINDOWS,
    filter_projections,
    filtered_back_projection,
    ramp,
    ring_image,
    windowed_ramp,
)
from physics.tomography.geometry import Geometry

# At half of the Nyquist frequency, and at it
PUBLISHED = {
    "ramlak": (1, 1),
    "shepplogan": (np.sin(pi / 4) / (pi / 4), 2 / pi),
    "cosine": (np.cos(pi / 4), 0),
    "hamming": (0.54, 0.08),
    "hann": (0.5, 0),
}


@pytest.mark.parametrize("cutoff", [1.0, 0.5])
def test_windows_have_their_published_values(cutoff: float) -> None:
    assert PUBLISHED.keys() == WINDOWS.keys()
    for name, (half, end) in PUBLISHED.items():
        window = windowed_ramp(400, 1.0, name, cutoff) / ramp(400)
        assert window[[0, int(100 * cutoff), int(200 * cutoff)]] == pytest.approx([1, half, end], abs=1e-12)


@pytest.mark.parametrize("detectors", [1, 9, 31, 45, 64])
def test_projections_are_convolved_with_the_ramp_as_if_zeros_went_on_beyond_them(detectors: int) -> None:
    """The band-limited kernel is 1/4 at 0, -1/(pi n)^2 at odd n and 0 at even n (Kak and Slaney, eq. 61)."""
    n = np.arange(1 - detectors, detectors)
    kernel = np.where(n % 2 == 1, -1 / (pi * np.where(n == 0, 1, n)) ** 2, 0.25 * (n == 0))
    rows = np.random.default_rng(0).normal(size=(3, detectors))
    expected = [np.convolve(row, kernel)[detectors - 1 : 2 * detectors - 1] / 0.7 for row in rows]
    np.testing.assert_allclose(filter_projections(rows, 0.7), expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(33, 40), (28, 21)])
def test_rings_are_the_filtered_back_projection_of_a_whole_turn_of_equal_views(shape: tuple[int, int]) -> None:
    columns = np.random.default_rng(0).normal(size=53)
    smooth = np.convolve(columns, [1, 2, 3, 2, 1], mode="same")
    geometry = Geometry(np.pi * np.arange(400) / 200, 53)
    found = filtered_back_projection(np.tile(smooth, (400, 1)), geometry, shape)
    np.testing.assert_allclose(ring_image(smooth, shape), found, atol=0.02 * abs(found).max())


def test_rings_of_the_chords_of_a_disc_are_the_disc() -> None:
    """This fixes the unit: chords in pixels give a disc of the value 1."""
    chords = 2 * np.sqrt(np.maximum(20**2 - (np.arange(81) - 40) ** 2, 0))
    image = ring_image(chords, (57, 50))
    y, x = np.indices((57, 50)) - np.array([28, 24.5])[:, None, None]
    radius = np.hypot(y, x)
    np.testing.assert_allclose(image[radius < 17], 1, atol=0.03)
    np.testing.assert_allclose(image[radius > 23], 0, atol=0.03)
