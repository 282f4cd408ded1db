"""The measured views: limited ranges, sparse views, and at least one view."""

from typing import Any

import numpy as np
import pytest

from generators.instruments.views import DrawnViews, Views, draw, hide_unmeasured
from generators.random_streams import Streams
from schemas.fields.views import FIELDS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

HALF_TURN = np.deg2rad(np.arange(180)).astype(np.float32)
FULL_TURN = np.deg2rad(np.arange(0, 360.5, 0.5)).astype(np.float32)  # both ends, as the Helsinki data


def views(angles: Any, period: float, *settings: str, sample: int = 0) -> DrawnViews:
    return draw(make_settings(Views, {}, settings), angles, period, Streams(0, "train", sample))


@pytest.mark.parametrize("angles", [HALF_TURN, HALF_TURN[:1], HALF_TURN[::-7]])
def test_all_views_are_measured_by_default(angles: Any) -> None:
    drawn = views(angles, np.pi)
    assert drawn.measured.dtype == np.uint8
    assert drawn.measured.all()
    assert drawn.number == len(angles)


def test_a_limited_range_has_both_ends_and_goes_on_at_the_first_view() -> None:
    drawn = views(FULL_TURN, 2 * np.pi, "start=20", "length=30")
    np.testing.assert_array_equal(np.flatnonzero(drawn.measured), np.arange(40, 101))  # 61 views, as level 7
    around = views(HALF_TURN, np.pi, "start=170", "length=30")
    np.testing.assert_array_equal(np.flatnonzero(around.measured), [*range(21), *range(170, 180)])
    both_ends = views(FULL_TURN, 2 * np.pi, "start=355", "length=5")
    np.testing.assert_array_equal(np.flatnonzero(both_ends.measured), [0, *range(710, 721)])


def test_the_range_does_not_depend_on_the_order_of_the_views() -> None:
    order = np.random.default_rng(0).permutation(180)
    sorted_views = views(HALF_TURN, np.pi, "start=100:140", "length=40:90")
    shuffled = views(HALF_TURN[order], np.pi, "start=100:140", "length=40:90")
    np.testing.assert_array_equal(shuffled.measured, sorted_views.measured[order])


def test_sparse_views_are_every_kth_or_a_random_subset() -> None:
    every = views(HALF_TURN, np.pi, "every=7")
    np.testing.assert_array_equal(np.flatnonzero(every.measured), np.arange(0, 180, 7))
    drawn = [views(HALF_TURN, np.pi, "number=5:20", sample=k) for k in range(40)]
    assert {int(one.measured.sum()) for one in drawn} == {one.number for one in drawn}
    assert min(one.number for one in drawn) >= 5
    assert max(one.number for one in drawn) <= 20
    assert len({tuple(one.measured) for one in drawn}) == 40
    share = np.mean([one.measured for one in drawn], axis=0)  # no view is preferred
    assert abs(share[:90].mean() - share[90:].mean()) < 5 * (2 * 0.07 / (40 * 90)) ** 0.5
    assert views(HALF_TURN, np.pi, "number=500").measured.all()


def test_range_and_sparse_views_combine() -> None:
    drawn = views(HALF_TURN, np.pi, "start=10", "length=60", "every=2", "number=9")
    found = np.flatnonzero(drawn.measured)
    assert len(found) == drawn.number == 9
    assert set(found) <= set(range(10, 71, 2))


def test_at_least_one_view_is_measured() -> None:
    for settings in (("length=0",), ("length=0.2", "start=0.4"), ("every=1000",), ("number=1",)):
        assert views(HALF_TURN, np.pi, *settings).number == 1
    assert np.flatnonzero(views(HALF_TURN, np.pi, "length=0.2", "start=30.4").measured) == [31]


def test_start_and_length_are_drawn_for_each_sample_as_they_are_stored() -> None:
    drawn = [views(HALF_TURN, np.pi, "start=0:180", "length=30:90", sample=k) for k in range(5)]
    assert len({one.start for one in drawn}) == len({one.length for one in drawn}) == 5
    assert all(np.float32(one.start) == one.start and np.float32(one.length) == one.length for one in drawn)
    assert {field.name for field in FIELDS} == {"views_start", "views_length", "views_number"}


def test_rows_of_other_views_are_zero() -> None:
    sinogram = np.full((3, 4), -1, np.float32)
    hidden = hide_unmeasured(sinogram, np.array([1, 0, 1], np.uint8))
    assert hidden.dtype == np.float32
    np.testing.assert_array_equal(hidden, [[-1] * 4, [0] * 4, [-1] * 4])
    assert not np.signbit(hidden[1]).any()
    np.testing.assert_array_equal(hide_unmeasured(sinogram, np.ones(3, np.uint8)), sinogram)


def test_mistakes_are_refused() -> None:
    for setting, message in (
        ("every=0", "at least 1"),
        ("every=1.5", "must be whole numbers"),
        ("number=0", "at least 1"),
        ("length=400", "at most 360"),
        ("length=90:30", "low must not exceed high"),
    ):
        with pytest.raises(UserError, match=message):
            views(HALF_TURN, np.pi, setting)
