"""Coarse images from fine ones: what is conserved, limits, the mirror at the edges, and the adjoint."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter

from physics.pixel_integration import distribute_pixels, integrate_pixels, integration_matrix

SIZES = [(12, 4), (12, 12), (185, 92), (149, 75), (369, 185), (7, 5), (5, 1), (1, 1)]  # fine, coarse
SPREADS = [0.0, 0.1, 0.8, 3.0, 40.0]
SHAPES = [((12, 15), (4, 5)), ((21, 16), (10, 7)), ((33, 50), (33, 50))]


def images(shape: tuple[int, int], count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape))


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("fine", "coarse"), SIZES)
def test_constants_and_means_stay(fine: int, coarse: int, spread: float) -> None:
    """Rows sum to 1, columns to 1/k: no fine pixel is lost or counted twice, at the edges either."""
    matrix = integration_matrix(fine, coarse, spread).toarray()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-11)
    np.testing.assert_allclose(matrix.sum(axis=0), coarse / fine, rtol=1e-11)
    assert (matrix >= 0).all()


@pytest.mark.parametrize(("fine", "coarse"), SIZES)
def test_without_spread_values_are_shares_of_length(fine: int, coarse: int) -> None:
    """Cut each pixel of either grid into the pixels of a common grid, and count."""
    matrix = integration_matrix(fine, coarse).toarray()
    points = (np.arange(fine * coarse) + 0.5) / (fine * coarse)
    expected = np.zeros((coarse, fine))
    np.add.at(expected, ((points * coarse).astype(int), (points * fine).astype(int)), 1 / fine)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    assert np.count_nonzero(matrix) <= fine + coarse


@pytest.mark.parametrize("shape", [(9, 12), (11, 8)])
def test_factor_1_without_spread_is_the_identity(shape: tuple[int, int]) -> None:
    image = images(shape).astype(np.float32)
    found = integrate_pixels(image, shape)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, image)


def test_whole_factors_are_means_of_blocks() -> None:
    image = images((12, 15))
    expected = image.reshape(2, 4, 3, 5, 3).mean((2, 4))
    np.testing.assert_allclose(integrate_pixels(image, (4, 5)), expected, atol=1e-12)


@pytest.mark.parametrize(("fine", "coarse", "spread"), [(8, 3, 0.9), (10, 10, 0.4)])
def test_the_closed_form_is_the_integral(fine: int, coarse: int, spread: float) -> None:
    """Integral of the Gaussian over both pixels, by quadrature, with the mirror images of the fine pixel."""
    matrix, ratio = integration_matrix(fine, coarse, spread).toarray(), fine / coarse

    def weighted_overlap(t: float, start: float, place: float) -> float:
        """The overlap of the coarse pixel with the fine one moved by t, times the density of t."""
        density = np.exp(-((t / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
        return float(density * max(0.0, min(start + ratio, place + 1 + t) - max(start, place + t)))

    for i, j in ((0, 0), (1, 3), (coarse - 1, fine - 2)):
        parts = [
            quad(weighted_overlap, -9 * spread, 9 * spread, (i * ratio, place), limit=200)[0]
            for place in (j + 0.0, -1.0 - j, 2.0 * fine - 1 - j)
        ]
        assert matrix[i, j] == pytest.approx(sum(parts) / ratio, abs=1e-7)


def test_a_narrow_spread_is_a_point_and_a_wide_one_a_filter() -> None:
    """The limit s -> 0; and on one grid, a Gaussian filter with the width of a pixel added."""
    image = images((20, 27))
    sharp = integrate_pixels(image, (5, 9))
    errors = [abs(integrate_pixels(image, (5, 9), s) - sharp).max() for s in (0.02, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.01)  # only edges of pixels are blurred: first order in s
    width = 4.0
    found = integrate_pixels(image, (20, 27), width)
    expected = gaussian_filter(image, np.sqrt(width**2 + 1 / 6), axes=(-2, -1), mode="reflect", truncate=9)
    np.testing.assert_allclose(found, expected, atol=2e-3 * abs(expected).max())


def test_axes_are_not_exchanged() -> None:
    """A step along x alone stays a step along x, and lies where it did."""
    image = np.zeros((15, 24))
    image[:, 10:] = 1
    found = integrate_pixels(image, (7, 9))
    np.testing.assert_allclose(found, found[:1] + 0 * found)
    edge = 10 / (24 / 9)  # in coarse pixels
    np.testing.assert_allclose(found[0], np.clip(np.arange(9) + 1 - edge, 0, 1), atol=1e-12)


def test_steps_follow_one_another() -> None:
    """Areas add: a mean of means is the mean, if the grids share their edges."""
    image = images((24, 30))
    np.testing.assert_allclose(
        integrate_pixels(integrate_pixels(image, (12, 15)), (4, 5)), integrate_pixels(image, (4, 5)), atol=1e-12
    )


@pytest.mark.parametrize("spread", [0.0, 1.3])
@pytest.mark.parametrize(("fine", "coarse"), SHAPES)
def test_the_adjoint(fine: tuple[int, int], coarse: tuple[int, int], spread: float) -> None:
    high, low = images(fine), images(coarse)
    left = (integrate_pixels(high, coarse, spread) * low).sum()
    assert left == pytest.approx((high * distribute_pixels(low, fine, spread)).sum(), rel=1e-10)


def test_images_do_not_depend_on_one_another() -> None:
    image = images((21, 16), 3).astype(np.float32)
    found = integrate_pixels(image.reshape(3, 1, 21, 16), (10, 7), 0.7)
    assert found.shape == (3, 1, 10, 7)
    assert integrate_pixels(image[1], (10, 7), 0.7).tobytes() == found[1, 0].tobytes()


@pytest.mark.parametrize(("fine", "coarse", "spread"), [(4, 5, 0.0), (4, 0, 0.0), (4, 2, -1.0), (4, 2, np.nan)])
def test_impossible_grids_are_refused(fine: int, coarse: int, spread: float) -> None:
    with pytest.raises(ValueError, match="need 1 to 4, and 0 or more"):
        integration_matrix(fine, coarse, spread)
