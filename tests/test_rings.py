"""Rings that count: where an image and its object are compared, and where there is nothing to compare."""

from collections.abc import Callable

import numpy as np
import pytest

from inference.stitching.resolution import resolution

SHAPES = [(128, 128), (129, 160), (150, 127)]

shapes = pytest.mark.parametrize("shape", SHAPES)


def filtered(image: np.ndarray, transfer: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """An image whose spectrum is multiplied by a function of the ring, n at n / the smaller side."""
    ring = min(image.shape) * np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
    out: np.ndarray = np.fft.ifft2(np.fft.fft2(image) * transfer(ring)).real
    return out


def falling(shape: tuple[int, int]) -> np.ndarray:
    """A random object whose power falls tenfold every 8 rings."""
    return filtered(np.random.default_rng(0).standard_normal(shape), lambda ring: 10 ** (-ring / 16))


@shapes
def test_the_first_ring_does_not_count(shape: tuple[int, int]) -> None:
    """All others of white noise do, even if the image shows the first in reverse."""
    truth, noise = np.random.default_rng(0).standard_normal((2, *shape))
    reverse = filtered(truth, lambda ring: np.where(ring < 1.5, -1, 1))
    found = resolution(reverse + 0.5 * noise, truth, 0.1)
    assert found.counts == [False] + [True] * (len(found.counts) - 1)
    assert found.mean == pytest.approx(np.mean(found.correlation[1:]), rel=1e-12)
    assert found.correlation[0] < 0.5


@shapes
def test_rings_below_a_thousandth_of_the_strongest_do_not_count(shape: tuple[int, int]) -> None:
    """Power that falls tenfold every 8 rings is a thousandth 24 rings beyond the strongest, ring 2, 3 or 4."""
    found = resolution(falling(shape), falling(shape), 0.1)
    counting = np.flatnonzero(found.counts)
    assert list(counting) == list(range(1, counting[-1] + 1))
    assert counting[-1] + 1 == pytest.approx(24 + 3, abs=1)
    assert found.mean == pytest.approx(1)
    assert found.half_bit == found.seventh == pytest.approx((counting[-1] + 1) / min(shape) / 0.1)


@shapes
def test_what_lies_in_empty_rings_changes_nothing(shape: tuple[int, int]) -> None:
    truth = falling(shape)
    y, x = np.indices(shape)
    noise = 1e-2 * truth.std() * np.cos(2.7 * y + 0.4 * x)
    once, beside = resolution(truth, truth, 0.1), resolution(truth + noise, truth, 0.1)
    assert beside.counts == once.counts
    assert beside.mean == pytest.approx(1, abs=1e-6)
    assert (beside.half_bit, beside.seventh) == (once.half_bit, once.seventh)
    assert min(beside.correlation) < 0.2
