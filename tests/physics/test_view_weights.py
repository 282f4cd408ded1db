"""Weights of views and rays: images from repeated views, random ones, and one side alone."""

from math import pi

import numpy as np
import pytest

from physics.arrays import Real
from physics.tomography.analytic import sinogram
from physics.tomography.filtered_back_projection import filtered_back_projection, weights_by_sample
from physics.tomography.geometry import Geometry
from physics.tomography.gridding import gridding_reconstruction
from physics.tomography.phantom import add, disk
from physics.tomography.pixel_means import pixel_means
from physics.tomography.view_weights import line_shares, view_weights

from .test_tomography import error, gaussian, gaussian_sinogram

SIZE = 64
PHANTOM = add(disk(25.0, 0, 0, 1.0), disk(6.0, 7, -9, 0.6), disk(4.0, -11, 5, -0.5))
TRUTH = pixel_means(PHANTOM, (SIZE, SIZE))
INSIDE = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)) < 22
DEGREE = pi / 180
METHODS = [filtered_back_projection, gridding_reconstruction]


def errors(geometry: Geometry, invert: object = filtered_back_projection) -> tuple[float, float]:
    """Return the relative error of the mean, and the rms error, within the object."""
    rays = {name: getattr(geometry, name) for name in ("pitch", "axis_offset", "source_distance")}
    made: Real = invert(  # type: ignore[operator]
        sinogram(PHANTOM, geometry.angles, geometry.detectors, **rays), geometry, TRUTH.shape, window="hann"
    )
    difference = (made - TRUTH)[INSIDE]
    return abs(float(difference.mean() / TRUTH[INSIDE].mean())), float((difference**2).mean() ** 0.5)


def turns(number: float, jitter: float) -> Real:
    """Return angles of `number` turns in steps of 2 degrees, with errors of the stage [rad]."""
    steps = np.arange(int(180 * number))
    return steps * 2 * DEGREE + jitter * np.random.default_rng(1).standard_normal(len(steps))


@pytest.mark.parametrize("invert", METHODS)
@pytest.mark.parametrize("distance", [0.0, 150.0])
@pytest.mark.parametrize("jitter", [0.0, 1e-5, 1e-4])
@pytest.mark.parametrize("number", [1, 1.5, 2, 3])
def test_views_may_be_repeated(number: float, jitter: float, distance: float, invert: object) -> None:
    mean, rms = errors(Geometry(turns(number, jitter), SIZE, source_distance=distance), invert)
    assert mean < 0.01
    assert rms < 0.065  # 0.05 to 0.06 with evenly spread views: the edges, blurred by the window


def test_repeated_views_share_their_weight_evenly() -> None:
    weights = view_weights(Geometry(turns(3, 1e-5), SIZE))
    np.testing.assert_allclose(weights, pi / len(weights), rtol=1e-3)


@pytest.mark.parametrize(("total", "chosen"), [(64, 32), (180, 60), (1440, 360)])
def test_views_may_be_chosen_at_random(total: int, chosen: int) -> None:
    for seed in range(5):
        angles = np.random.default_rng(seed).permutation(total)[:chosen] * pi / total
        assert abs(view_weights(Geometry(angles, SIZE)).sum() / pi - 1) < 0.05


def test_few_views_of_a_limited_range_stand_for_their_steps() -> None:
    np.testing.assert_allclose(
        view_weights(Geometry(DEGREE * np.arange(0.0, 72, 12), SIZE, source_distance=90.0)), 12 * DEGREE
    )
    assert (line_shares(Geometry(np.zeros(1), 9, source_distance=90.0)) == 1).all()


@pytest.mark.parametrize("invert", METHODS)
@pytest.mark.parametrize("distance", [0.0, 150.0])
@pytest.mark.parametrize("offset", [-20, -12.5, 3, 12, 20])
def test_half_a_detector_is_enough_over_a_whole_turn(offset: float, distance: float, invert: object) -> None:
    mean, rms = errors(Geometry(turns(1, 0), 56, axis_offset=offset, source_distance=distance), invert)
    assert mean < 0.01
    assert rms < 0.065


@pytest.mark.parametrize("total", [208, 220, 240, 270, 300, 358])
def test_a_fan_over_more_than_half_a_turn_is_complete(total: int) -> None:
    geometry = Geometry(np.arange(0.0, total) * DEGREE, SIZE, source_distance=150.0)
    mean, rms = errors(geometry)
    assert mean < 0.01
    assert rms < 0.065


@pytest.mark.parametrize(("offset", "total"), [(0.0, 360), (9.0, 360), (0.0, 240), (-9.0, 240)])
def test_both_rays_of_a_line_share_its_weight(offset: float, total: int) -> None:
    """A ray (t, u) and the opposite one, (t + pi - 2 g, -u), have the weight 1 together."""
    distance = 150.0
    beam = Geometry(np.arange(0.0, total, 0.25) * DEGREE, 41, axis_offset=offset, source_distance=distance)
    shares = line_shares(beam)
    fan = np.arctan(beam.positions / distance)
    view = (beam.angles[:, None] + pi - 2 * fan) % (2 * pi) / (0.25 * DEGREE)
    pixel = 40 - np.arange(41) + 2 * offset
    measured = (view <= len(beam.angles) - 1 if total < 360 else view >= 0) & (pixel >= 0) & (pixel <= 40)
    row, column = np.floor(view).astype(int) % len(beam.angles), np.clip(pixel, 0, 40).astype(int)
    after, fraction = (row + 1) % len(beam.angles), view % 1
    other = np.where(measured, (1 - fraction) * shares[row, column] + fraction * shares[after, column], 0)
    assert measured.any()
    np.testing.assert_allclose((shares + other)[measured], 1, atol=0.01)
    assert (shares[(view > len(beam.angles)) & (total < 360)] == 1).all()


def test_unevenly_spread_views_are_weighted_by_their_range() -> None:
    golden = np.arange(233) * pi * (np.sqrt(5) - 1) / 2
    for angles in (golden, np.random.default_rng(6).permutation(np.arange(200) * pi / 200)):
        geometry = Geometry(angles, 95)
        assert abs(view_weights(geometry).sum() - pi) < 1e-12
        made = filtered_back_projection(gaussian_sinogram(geometry, 3, 4, 5.0), geometry, (64, 64))
        assert error(made, gaussian((64, 64), 3, 4, 5.0)) < 0.01


TIES: dict[str, Real] = {
    "the first view is measured again, from the other side": np.arange(61.0) * pi / 60,
    "steps of a quarter of the usual gap": np.array([*range(0, 180, 4), *range(1, 180, 40)]) * pi / 180,
}


@pytest.mark.parametrize("distance", [0.0, 150.0])
@pytest.mark.parametrize("angles", TIES.values(), ids=TIES)
def test_rounding_of_angles_changes_no_weight_by_much(angles: Real, distance: float) -> None:
    """Angles are stored as float32. Where lines or gaps lie exactly on a bound, rounding must not decide about them."""
    weights = []
    for seed in range(9):
        moved = angles + np.random.default_rng(seed).uniform(-2e-7, 2e-7, len(angles))
        weights.append(weights_by_sample(Geometry(moved, 25, axis_offset=9.0, source_distance=distance), None))
    np.testing.assert_allclose(weights, np.broadcast_to(weights[0], np.shape(weights)), atol=1e-4 * weights[0].max())


def test_a_range_that_was_not_measured_has_no_weight() -> None:
    for distance in (0.0, 40.0):
        geometry = Geometry(np.deg2rad(np.arange(10, 70, 0.5)), 95, source_distance=distance)
        np.testing.assert_allclose(view_weights(geometry), np.deg2rad(0.5))
    assert (line_shares(geometry) == 1).all()
    whole = Geometry(np.deg2rad(np.arange(0, 360, 2)), 95, source_distance=150.0)
    assert (line_shares(whole) == 0.5).all()
    assert view_weights(Geometry(np.zeros(1), 9)) == pi
