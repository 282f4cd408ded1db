"""Textures: the spectrum and the edges that are stated, and one image on every grid."""

from dataclasses import fields, replace

import numpy as np
import pytest
from pydantic import ValidationError

from generators.specimens.planar import dead_leaves
from generators.specimens.planar.texture import DrawnTexture, Texture, _grain, draw, render, to_unit_range
from schemas.fields import textures
from schemas.runtime.ranges import Range

type Image = np.ndarray

NATURAL = DrawnTexture(
    slope=2.0, flatten=0.0, smallest=0.02, largest=0.3, polygons=0.5, grain=0.2, saturated=0.0, seed=3
)
GRIDS = [((256, 256), (1.0, 1.0)), ((243, 180), (1.0, 1.0)), ((150, 225), (0.8, 0.5))]


def slope(image: Image, sampling: tuple[float, float] = (1.0, 1.0)) -> float:
    """Of the power against the frequency, both logarithmic: a line through the means of rings."""
    longer = max(n * d for n, d in zip(image.shape, sampling, strict=True))
    fy, fx = (np.fft.fftfreq(n, d) * longer for n, d in zip(image.shape, sampling, strict=True))
    ring = np.rint(np.hypot(fy[:, None], fx)).astype(int)
    power = abs(np.fft.fft2(image.astype(float))) ** 2
    rings = np.arange(3, min(abs(fy).max(), abs(fx).max()))
    means = [power[ring == k].mean() for k in rings]
    return -float(np.polyfit(np.log(rings), np.log(means), 1)[0])


def kurtosis(values: Image) -> float:
    """3 of Gaussian numbers."""
    centred = values.astype(float) - values.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
@pytest.mark.parametrize("stated", [1.6, 2.0, 2.4])
def test_the_power_falls_as_stated(shape: tuple[int, int], sampling: tuple[float, float], stated: float) -> None:
    for seed in (0, 1):
        image = render(replace(NATURAL, slope=stated, seed=seed), shape, sampling)
        assert slope(image, sampling) == pytest.approx(stated, abs=0.05)


@pytest.mark.parametrize("flatten", [0.3, 0.5, 1.0])
def test_flattening_takes_off_its_part_of_the_slope(flatten: float) -> None:
    image = render(replace(NATURAL, slope=2.2, flatten=flatten), (256, 200))
    assert slope(image) == pytest.approx(2.2 * (1 - flatten), abs=0.05)


def test_what_is_saturated_hardly_changes_the_slope() -> None:
    assert slope(render(replace(NATURAL, saturated=0.002), (256, 256))) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("flatten", [0.0, 0.5, 1.0])
def test_there_are_edges(flatten: float) -> None:
    """Gradients have heavy tails; those of a Gaussian field of the same spectrum have none."""
    image = render(replace(NATURAL, flatten=flatten), (256, 256))
    rng = np.random.default_rng(0)
    phases = np.exp(1j * np.angle(np.fft.fft2(rng.normal(size=image.shape))))
    field = np.fft.ifft2(abs(np.fft.fft2(image)) * phases).real
    for axis in (0, 1):
        assert kurtosis(np.diff(field, axis=axis)) == pytest.approx(3, abs=0.3)
        assert kurtosis(np.diff(image, axis=axis)) > 6


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("shape", [(96, 70), (64, 81)])
def test_a_finer_grid_shows_the_same_image(shape: tuple[int, int], factor: int) -> None:
    fine = render(NATURAL, (shape[0] * factor, shape[1] * factor))
    blocks = fine.reshape(shape[0], factor, shape[1], factor).mean(axis=(1, 3))
    image = render(NATURAL, shape)
    assert np.corrcoef(blocks.ravel(), image.ravel())[0, 1] > 0.99
    moved = np.roll(blocks, 1, axis=0)
    assert np.corrcoef(moved.ravel(), image.ravel())[0, 1] < 0.97


def test_only_the_shape_of_the_field_counts() -> None:
    image = render(NATURAL, (40, 60), (0.3, 0.2))
    assert np.array_equal(image, render(NATURAL, (40, 60), (3.0, 2.0)))
    square = render(NATURAL, (60, 60))
    blocks = render(NATURAL, (120, 60), (0.5, 1.0)).reshape(60, 2, 60).mean(axis=1)
    assert np.corrcoef(blocks.ravel(), square.ravel())[0, 1] > 0.98


def test_a_texture_is_periodic() -> None:
    """The step from the last row to the first is one like others."""
    image = render(replace(NATURAL, slope=2.4), (200, 150)).astype(float)
    for axis in (0, 1):
        steps = abs(image - np.roll(image, 1, axis)).mean(axis=1 - axis)
        assert steps[0] < 2 * np.median(steps)


@pytest.mark.parametrize("saturated", [0.0, 0.01, 0.1])
def test_a_stated_part_of_the_pixels_saturates(saturated: float) -> None:
    image = render(replace(NATURAL, saturated=saturated), (150, 131))
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() == 1
    for end in (0, 1):
        assert np.sum(image == end) == pytest.approx(max(saturated * image.size, 1), abs=1)
    assert not to_unit_range(np.full((4, 5), 7.0), saturated).any()


def test_the_grain_is_alike_along_y_and_x() -> None:
    """Its power falls as 1/f^2 in all directions, with kx = 0, whose waves are all there, among them."""
    grains = [_grain(0.02, (90, 90), (1.0, 1.0), np.random.default_rng(seed)) for seed in range(60)]
    power = np.mean([abs(np.fft.fft2(g) / g.size) ** 2 for g in grains], axis=0)
    k = np.arange(1, 40)
    along = [(k**2 * spectrum).mean() for spectrum in (power[0, k], power[k, 0], power[k, k] * 2, power[-k, k] * 2)]
    assert along == pytest.approx([np.mean(along)] * 4, rel=0.1)
    assert np.mean([g.var() for g in grains]) == pytest.approx(1, abs=0.2)


def test_leaves_are_seen_as_the_rule_says() -> None:
    """Against every leaf at every place, the top one first."""
    field, shape = (0.8, 1.0), (50, 45)
    leaves = dead_leaves.draw_leaves(field, (0.1, 0.3), 0.5, np.random.default_rng(1))
    y, x = ((np.arange(n) + 0.5) * side / n for n, side in zip(shape, field, strict=True))
    expected = np.full(shape, len(leaves.radius) - 1)
    for n in range(len(leaves.radius))[::-1]:
        dy = (y[:, None] - leaves.middle[n, 0] + field[0] / 2) % field[0] - field[0] / 2
        dx = (x - leaves.middle[n, 1] + field[1] / 2) % field[1] - field[1] / 2
        cos, sin = leaves.axes[n]
        along, across = (dx * cos + dy * sin) / leaves.radius[n, 0], (dy * cos - dx * sin) / leaves.radius[n, 1]
        angle = (2 * np.arange(leaves.corners[n]) + 1)[:, None, None] * np.pi / max(leaves.corners[n], 1)
        edges = along * np.cos(angle) + across * np.sin(angle)
        inside = (along**2 + across**2 < 1) & (edges < leaves.apothem[n]).all(axis=0)
        expected[inside] = n
    assert np.array_equal(dead_leaves.visible_leaves(leaves, shape, field), expected)
    assert set(np.unique(leaves.corners)) == {0, 4, 5, 6}


@pytest.mark.parametrize("polygons", [0.0, 1.0])
def test_leaves_have_the_law_of_their_radii_whatever_their_form(polygons: float) -> None:
    """The number beyond r falls as r^-2; a polygon has the area of the disc that it stands for."""
    low, high = 0.01, 0.25
    leaves = dead_leaves.draw_leaves((1.0, 1.0), (low, high), polygons, np.random.default_rng(0))
    corners = np.maximum(leaves.corners, 3)
    share = corners / (2 * np.pi) * np.sin(2 * np.pi / corners) if polygons else 1.0
    area = np.pi * leaves.radius.prod(axis=1) * share
    radius = np.sqrt(area / np.pi)
    assert (radius.min(), radius.max()) == (pytest.approx(low, rel=0.01), pytest.approx(high, rel=0.5))
    for r in (0.015, 0.02, 0.04):
        expected = (r**-2 - high**-2) / (low**-2 - high**-2)
        assert np.mean(radius > r) == pytest.approx(expected, abs=4 * np.sqrt(expected / len(radius)))
    assert area.sum() == pytest.approx(dead_leaves.COVERAGE, rel=0.2)


def test_one_leaf_covers_its_area() -> None:
    for corners in (0, 4, 5, 6):
        leaves = dead_leaves.draw_leaves((1.0, 1.0), (0.2, 0.2), float(corners > 0), np.random.default_rng(corners))
        first = int(np.flatnonzero(leaves.corners == corners)[0])
        one = dead_leaves.Leaves(*(getattr(leaves, f.name)[[first, -1]] for f in fields(leaves)))
        top = dead_leaves.visible_leaves(one, (600, 500), (1.0, 1.0))
        assert np.mean(top == 0) == pytest.approx(np.pi * 0.2**2, rel=0.01)


def test_another_seed_is_another_texture() -> None:
    image = render(NATURAL, (64, 64))
    assert np.array_equal(image, render(replace(NATURAL), (64, 64)))
    other = render(replace(NATURAL, seed=4), (64, 64))
    assert abs(np.corrcoef(image.ravel(), other.ravel())[0, 1]) < 0.4


def test_every_number_of_a_texture_counts() -> None:
    image = render(NATURAL, (64, 64))
    for name in ("slope", "flatten", "smallest", "largest", "polygons", "grain", "saturated"):
        other = render(replace(NATURAL, **{name: getattr(NATURAL, name) + 0.1}), (64, 64))
        assert not np.allclose(image, other, atol=1e-3), name


def test_textures_follow_the_recipe_and_are_stored_exactly() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(Texture(), rng) for _ in range(300)]
    for texture in drawn:
        for field in textures.FIELDS:
            value = getattr(texture, field.name.removeprefix("texture_"))
            assert np.dtype(field.dtype).type(value) == value
    slopes = [texture.slope for texture in drawn]
    assert (min(slopes), max(slopes), np.mean(slopes)) == pytest.approx((1.6, 2.4, 2.0), abs=0.05)
    assert len({texture.seed for texture in drawn}) == 300


def test_every_texture_takes_as_many_random_numbers() -> None:
    for texture in (Texture(), Texture(grain=Range(low=0, high=0), slope=Range(low=1, high=1))):
        rng, other = np.random.default_rng(0), np.random.default_rng(0)
        draw(texture, rng)
        other.random(len(fields(DrawnTexture)))
        assert rng.random() == other.random()


def test_every_column_says_what_it_is() -> None:
    assert [f"texture_{column.name}" for column in fields(DrawnTexture)] == [field.name for field in textures.FIELDS]
    for info in Texture.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"slope": -1}, "at least 0"),
        ({"flatten": "0:1.5"}, "at most 1"),
        ({"smallest": 0}, "at least 0.001"),
        ({"saturated": 0.3}, "at most 0.2"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Texture.model_validate(settings)
