"""Background of scanned images: bounds, scaling, ranges and directions of its parts, independence of images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generators.instruments.background import PARTS, Background, DrawnBackground, draw, render
from generators.specimens.draws import stored_parameters
from schemas.fields.backgrounds import FIELDS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

SHAPES = [(64, 48), (45, 54), (33, 33)]
SAMPLING = 0.04
OFF = DrawnBackground(0.0, np.full(3, 4, np.float32), 0.0, 0.0, 0.6, 0.0, 0.2, 0.0, 7)
NONE = [f"{part}=0" for part in PARTS]


def disc(shape: tuple[int, int], value: float = 3.0) -> Any:
    """An object of one value, off centre."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    inside = (y - 0.4 * shape[0]) ** 2 + (x - 0.6 * shape[1]) ** 2 < (0.2 * min(shape)) ** 2
    return (value * inside).astype(np.float32)


def rendered(clean: Any, at: int = 0, sampling: float = SAMPLING, /, **values: Any) -> Any:
    return render(replace(OFF, **values), clean, at, sampling).astype(float)


def some(rng: np.random.Generator, *values: str) -> DrawnBackground:
    return draw(make_settings(Background, {}, values), 5, rng)


def test_the_drawn_numbers_are_the_fields_of_the_schema() -> None:
    drawn = stored_parameters("background_", some(np.random.default_rng(0)))
    assert list(drawn) == [field.name for field in FIELDS]
    for field in FIELDS:
        value = np.asarray(drawn[field.name])
        assert value.shape == (5,) * (len(field.dims) - 1)
        assert (value.astype(field.dtype) == value).all()


def test_settings_change_no_other_draw() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    a, b = some(first), some(second, *NONE, "width=7", "azimuth=1")
    assert first.random() == second.random()
    assert (a.seed, a.reach) == (b.seed, b.reach)
    assert (b.width == 7).all()
    longer = draw(Background(), 9, np.random.default_rng(3))
    assert (longer.width[:5] == a.width).all()
    np.testing.assert_equal(longer.columns() | {"background_width": 0}, a.columns() | {"background_width": 0})


def test_widths_are_the_whole_numbers_of_the_range() -> None:
    drawn = draw(Background(), 2000, np.random.default_rng(1))
    assert set(drawn.width) == set(range(10, 30))
    with pytest.raises(UserError, match=r"width = 9\.5:12: must be whole numbers"):
        make_settings(Background, {}, ["width=9.5:12"])


@pytest.mark.parametrize("shape", SHAPES)
def test_without_parts_it_is_exactly_zero(shape: tuple[int, int]) -> None:
    settings = make_settings(Background, {}, NONE)
    drawn = draw(settings, 3, np.random.default_rng(0))
    assert not settings.is_on
    assert not drawn.is_on
    found = render(drawn, disc(shape), 2, SAMPLING)
    assert found.dtype == np.float32
    assert not found.any()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_part_is_proportional_to_its_height_and_to_the_signal(part: str, shape: tuple[int, int]) -> None:
    clean = disc(shape)
    found = rendered(clean, **{part: 0.1})
    on: dict[str, Any] = {part: 0.1}
    assert replace(OFF, **on).is_on
    assert Background.model_validate(dict.fromkeys(PARTS, 0.0) | {part: 0.1}).is_on
    assert found.max() > 0
    assert rendered(clean, **{part: 0.3}) == pytest.approx(3 * found, rel=1e-5)
    assert rendered(7 * clean, **{part: 0.1}) == pytest.approx(7 * found, rel=1e-5)
    assert not rendered(0 * clean, **{part: 0.1}).any()


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (1, 8)])
def test_parts_add_up_and_are_never_negative(shape: tuple[int, int]) -> None:
    """Also where interpolation has left values of the image below 0."""
    clean = disc(shape) + np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    parts = [rendered(clean, **{part: 0.1}) for part in PARTS]
    assert all(part.min() >= 0 for part in parts)
    assert rendered(clean, **dict.fromkeys(PARTS, 0.1)) == pytest.approx(sum(parts), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_heights_are_relative_to_the_mean_above_a_tenth_of_the_maximum(shape: tuple[int, int]) -> None:
    clean = disc(shape)
    clean[0] = 0.29  # below a tenth
    assert rendered(clean, pedestal=0.2) == pytest.approx(0.6)
    clean[0] = 1.0
    assert rendered(clean, pedestal=0.2) == pytest.approx(0.2 * clean[clean > 0.3].mean())
    for part in ("height", "slope"):
        found = rendered(disc(shape), **{part: 0.2})
        assert (found.min(), found.max()) == (0.0, pytest.approx(0.6))
    assert rendered(disc(shape), contamination=0.2).max() == pytest.approx(0.6)


def test_the_smooth_part_is_correlated_as_white_noise_behind_a_gaussian_filter() -> None:
    """exp(-k^2 / 4 w^2) between pixels at a distance of k, along both axes."""
    found = rendered(disc((700, 600)), height=0.2)
    found -= found.mean()
    for k in (2, 5, 8):
        for other in (found[k:] * found[:-k], found[:, k:] * found[:, :-k]):
            assert other.mean() / found.var() == pytest.approx(np.exp(-(k**2) / (4 * 4**2)), abs=0.03)


def test_images_do_not_depend_on_one_another() -> None:
    clean, values = disc((64, 48)), {"height": 0.2, "tails": 0.1}
    first = rendered(clean, 1, **values)
    assert (rendered(clean, 1, width=np.array([9, 4], np.float32), **values) == first).all()
    assert abs(np.corrcoef(first.ravel(), rendered(clean, 2, **values).ravel())[0, 1]) < 0.9
    assert (rendered(clean, 1, seed=8, **values) != first).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_slope_rises_along_its_azimuth_from_edge_to_edge(shape: tuple[int, int]) -> None:
    clean = disc(shape)
    along_x = rendered(clean, slope=0.2, azimuth=0.0)
    assert along_x == pytest.approx(np.broadcast_to(np.linspace(0, 0.6, shape[1]), shape), abs=1e-6)
    along_y = rendered(clean, slope=0.2, azimuth=np.pi / 2)
    assert along_y == pytest.approx(np.broadcast_to(np.linspace(0, 0.6, shape[0])[:, None], shape), abs=1e-6)
    gy, gx = np.gradient(rendered(clean, slope=0.2, azimuth=-2.0))
    assert np.arctan2(gy, gx) == pytest.approx(-2.0, abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reach", [0.02, 0.2, 3.0])
def test_tails_fall_exponentially_without_wrap_around(shape: tuple[int, int], reach: float) -> None:
    """A bright pixel in a corner: t d^2 / (2 pi a^2) exp(-r / a) for a reach a of many pixels d."""
    clean = np.zeros(shape, np.float32)
    clean[-1, 0] = 5
    y, x = np.ogrid[: shape[0], : shape[1]]
    expected = np.exp(-SAMPLING * np.hypot(shape[0] - 1 - y, x) / reach)
    n = np.arange(-400, 401) * SAMPLING / reach
    lattice = np.exp(-np.hypot(n[:, None], n)).sum() if reach < 1 else 2 * np.pi * (reach / SAMPLING) ** 2
    found = rendered(clean, tails=0.1, reach=reach)
    assert found == pytest.approx(0.5 * expected / lattice, rel=2e-3, abs=1e-6 * found.max())


def test_short_tails_keep_their_share_of_the_signal() -> None:
    clean = disc((90, 101))
    assert rendered(clean, tails=0.1, reach=0.1).sum() == pytest.approx(0.1 * clean.sum(), rel=1e-3)


def test_contamination_lies_around_the_object() -> None:
    clean = disc((60, 90))
    found = rendered(clean, contamination=0.2)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert (int(y), int(x)) == (24, 54)
    assert found[0, 0] < 1e-3 * found.max()
