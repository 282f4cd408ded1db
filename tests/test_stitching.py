"""Laws of stitching: a known image comes back from its patches, whatever constants, order and blocks they come in."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.stitching.command import choose_method
from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import Canvas, Patches, first_pixels, frame_of, relative_weights, tapered_weights
from inference.stitching.stitched_image import Average, Image, Iterative, Read, default_method, stitch
from physics import stitching_kernels
from schemas.runtime.errors import UserError

SIZE = (12, 9)
RASTER = (17, 22)


def smooth(shape: tuple[int, int]) -> np.ndarray:
    """An image with waves of many lengths, asymmetric."""
    y, x = np.indices(shape)
    return np.asarray(np.sin(y / 3) * np.cos(x / 4.3) + 0.02 * y - 0.013 * x + np.sin((x + 2 * y) / 17))


def raster(step: float = 3.3, jitter: float = 0.7, counts: tuple[int, int] = RASTER) -> np.ndarray:
    """Corners (patch, 2), jittered, not from 0 on."""
    y, x = np.indices(counts).reshape(2, -1) * step
    moved = np.random.default_rng(1).uniform(-jitter, jitter, (2, y.size))
    return np.asarray(np.rint(np.stack([y + 100, x - 50], axis=1) + moved.T).astype(np.int64))


def ellipse() -> np.ndarray:
    y, x = (np.linspace(-1, 1, n) for n in SIZE)
    return (y[:, None] ** 2 + 0.8 * x**2 < 1).astype(np.float32)


def cut_from(truth: np.ndarray, corner: np.ndarray, noise: float = 0.0, constants: float = 1.0) -> np.ndarray:
    """The patches of an image, with an unknown constant each."""
    rng = np.random.default_rng(2)
    first = corner - corner.min(axis=0)
    patches = np.stack([truth[y : y + SIZE[0], x : x + SIZE[1]] for y, x in first])
    found = patches + constants * rng.normal(size=(len(corner), 1, 1)) + rng.normal(0, noise, patches.shape)
    return found.astype(np.float32)


def reader(values: np.ndarray, length: int = 10**9, which: Any = None) -> Read:
    """Patches (of these numbers) in blocks."""
    numbers = np.arange(len(values)) if which is None else np.asarray(which)
    starts = range(0, len(values), length)
    return lambda window: ((numbers[s : s + length], values[s : s + length, *window]) for s in starts)


def stitched(values: np.ndarray, patches: Patches, method: Any = None, length: int = 10**9) -> Image:
    return stitch(reader(values, length), patches, frame_of(patches.corner, SIZE), method or LeastSquares())


def scene(noise: float = 0.0, **options: Any) -> tuple[np.ndarray, np.ndarray, Patches]:
    """truth, values, patches."""
    corner = raster(**options)
    truth = smooth(frame_of(corner, SIZE).shape)
    weight = relative_weights(tapered_weights(ellipse())[None])
    return truth, cut_from(truth, corner, noise=noise), Patches(corner, weight)


def error(image: Image, truth: np.ndarray, inside: Any = True) -> np.ndarray:
    """What differs from the truth, but for a constant, where `inside` and measured."""
    difference = (image.values - truth)[np.isfinite(image.values) & inside]
    return np.asarray(difference - difference.mean())


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def same(one: Image, other: Image) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.component, other.component)
    assert (one.misfit, one.residual, one.left_out) == (other.misfit, other.residual, other.left_out)


@pytest.mark.parametrize("counts", [(17, 22), (1, 30), (25, 1), (2, 3)])
@pytest.mark.parametrize("step", [1.0, 3.3, 5.2])
def test_an_image_comes_back_from_patches_with_any_constants(counts: tuple[int, int], step: float) -> None:
    truth, values, patches = scene(counts=counts, step=step)
    found = stitched(values, patches)
    assert abs(error(found, truth)).max() < 1e-6
    assert found.misfit is not None
    assert found.misfit < 1e-5, "a difference of large sums"
    assert found.component.max() == 1
    np.testing.assert_array_equal(found.weight > 0, np.isfinite(found.values))


def test_masks_may_differ_from_patch_to_patch() -> None:
    truth, values, patches = scene()
    masks = np.random.default_rng(3).uniform(size=values.shape) < 0.7
    found = stitched(np.where(masks, values, 1e3), replace(patches, weight=relative_weights(masks)))
    assert abs(error(found, truth)).max() < 1e-6
    expected = np.zeros(truth.shape)
    for (y, x), mask in zip(patches.corner - patches.corner.min(axis=0), masks, strict=True):
        expected[y : y + SIZE[0], x : x + SIZE[1]] += mask
    np.testing.assert_array_equal(found.weight, expected)


@pytest.mark.parametrize("method", [LeastSquares(), Iterative(seed=5)])
@pytest.mark.parametrize("shared", [True, False])
def test_no_bit_depends_on_the_order_of_patches_or_on_blocks(method: Any, shared: bool) -> None:
    _, values, patches = scene(noise=0.2)
    corner = patches.corner.copy()
    corner[50:60] = corner[50]  # the same place, ten times
    weight = patches.weight if shared else relative_weights(np.random.default_rng(4).uniform(size=values.shape))
    first = stitched(values, Patches(corner, weight), method)
    mixed = np.random.default_rng(5).permutation(len(values))
    same(first, stitched(values[mixed], Patches(corner, weight).select(mixed), method))
    same(first, stitched(values, Patches(corner, weight), method, length=7))


def direct(values: np.ndarray, patches: Patches, shape: tuple[int, int]) -> np.ndarray:
    """Image and offsets by one dense least-squares problem."""
    first = patches.corner - patches.corner.min(axis=0)
    count = len(values)
    rows, right = [], []
    for i, (y, x) in enumerate(first):
        for dy, dx in np.argwhere(patches.weight[0] > 0):
            row = np.zeros(count + shape[0] * shape[1])
            root = np.sqrt(patches.weight[0, dy, dx])
            row[i], row[count + (y + dy) * shape[1] + x + dx] = -root, root
            rows.append(row)
            right.append(root * values[i, dy, dx])
    found = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return np.asarray(found[count:].reshape(shape))


def test_with_noise_it_is_the_least_squares_image() -> None:
    truth, values, patches = scene(noise=0.3, counts=(3, 4))
    found = stitched(values, patches)
    expected = direct(values, patches, truth.shape)
    assert abs(error(found, expected)).max() < 1e-6
    assert rms(error(found, truth)) > 0.05, "noise there is"


def test_misfit_is_what_patches_and_image_differ_by() -> None:
    _, values, patches = scene(noise=0.3)
    found = stitched(values, patches)
    squares, weight = 0.0, patches.weight[0]
    for (y, x), patch in zip(patches.corner - patches.corner.min(axis=0), values, strict=True):
        difference = np.where(weight > 0, patch - found.values[y : y + SIZE[0], x : x + SIZE[1]], 0)
        difference -= (weight * difference).sum() / weight.sum()
        squares += float((weight * difference**2).sum())
    expected = np.sqrt(squares / (weight.sum() * len(values)))
    assert found.misfit is not None
    assert found.misfit == pytest.approx(expected, rel=1e-6)
    assert 0.25 < found.misfit < 0.3, "the image follows the noise a little"


def test_with_nothing_free_patches_are_averaged_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks, and a border of weight 0 that holds something else: no constant is fitted, where there is one or not."""
    monkeypatch.setattr("inference.stitching.stitched_image.solve_offsets", None)
    corner = raster(counts=(3, 4))
    weight = np.pad(np.array([[[1, 2, 4], [4, 2, 1]]], np.float32), ((0, 0), (5, 5), (3, 3)))
    labels = np.random.default_rng(6).integers(0, 3, (len(corner), *SIZE)).astype(np.uint8)
    found = stitched(labels, Patches(corner, relative_weights(weight)), default_method(""))
    total, cover = np.zeros((2, *found.values.shape))
    for (y, x), patch in zip(corner - corner.min(axis=0), labels, strict=True):
        total[y : y + SIZE[0], x : x + SIZE[1]] += weight[0] * patch
        cover[y : y + SIZE[0], x : x + SIZE[1]] += weight[0]
    np.testing.assert_allclose(found.values[cover > 0], (total[cover > 0] / cover[cover > 0]), rtol=1e-15)
    assert np.isnan(found.values[cover == 0]).all()
    assert (found.residual, default_method(""), default_method("constant")) == (None, Average(), LeastSquares())


def test_patches_without_constants_of_their_own_are_their_average() -> None:
    """Patches that agree: the constants that least squares finds are those of a whole image, so only that differs."""
    truth, values, patches = scene()
    exact = cut_from(truth, patches.corner, constants=0.0)
    average, fitted = stitched(exact, patches, Average()), stitched(values, patches)
    assert np.nanmax(abs(average.values - truth)) < 1e-6
    assert abs(error(fitted, average.values)).max() < 1e-6
    assert rms(error(stitched(values, patches, Average()), truth)) > 0.1, "with constants an average is no image"


def test_with_noise_it_is_better_than_the_seeds_sweeps() -> None:
    truth, values, patches = scene(noise=0.2)
    inside = np.pad(np.ones(np.subtract(truth.shape, 12), bool), 6)
    ours, seeds = (rms(error(stitched(values, patches, m), truth, inside)) for m in (LeastSquares(), Iterative()))
    assert ours < 0.25 * seeds


def test_noise_falls_with_the_root_of_the_overlap() -> None:
    """White noise, half the step: four times as many patches, half the error."""

    def of(step: float) -> float:
        counts = (round(60 / step), round(60 / step))
        truth, values, patches = scene(noise=0.2, step=step, jitter=0.0, counts=counts)
        inside = np.pad(np.ones(np.subtract(truth.shape, 20), bool), 10)
        return rms(error(stitched(values, patches), truth, inside))

    assert of(2) / of(1) == pytest.approx(2, rel=0.1)
    assert of(4) / of(2) == pytest.approx(2, rel=0.2)


def test_components_have_constants_of_their_own_and_are_counted() -> None:
    corner = np.concatenate([raster(counts=(6, 7)), raster(counts=(5, 4)) + np.array([0, 60]), [[100, 40], [140, -50]]])
    truth = smooth(frame_of(corner, SIZE).shape)
    found = stitched(cut_from(truth, corner), Patches(corner, relative_weights(tapered_weights(ellipse())[None])))
    assert np.unique(found.component).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.component > 0, np.isfinite(found.values))
    for number in range(1, 5):
        assert abs(error(found, truth, found.component == number)).max() < 1e-6


def test_the_mean_offset_of_each_component_is_0() -> None:
    corner = np.concatenate([raster(counts=(6, 7)), raster(counts=(5, 4)) + np.array([0, 60]), [[140, -50]]])
    values = cut_from(smooth(frame_of(corner, SIZE).shape), corner)
    found = stitched(values, Patches(corner, relative_weights(np.ones((1, *SIZE)))))
    first = corner - corner.min(axis=0)
    offset = [
        found.values[y : y + SIZE[0], x : x + SIZE[1]].mean() - a.mean()
        for (y, x), a in zip(first, values, strict=True)
    ]
    member = found.component[*first.T]
    for number in (1, 2, 3):
        assert abs(np.mean(np.array(offset)[member == number])) < 1e-6
    assert np.ptp(offset) > 1


def test_missing_and_broken_patches_are_left_out() -> None:
    truth, values, patches = scene()
    broken = values.copy()
    broken[[3, 70, 71]] = np.nan
    given = [i for i in range(len(values)) if i != 200]
    frame = frame_of(patches.corner, SIZE)
    found = stitch(reader(broken[given], which=given), patches, frame, LeastSquares())
    assert found.left_out == 4
    whole = np.delete(np.arange(len(values)), [3, 70, 71, 200])
    other = stitch(reader(values[whole]), patches.select(whole), frame, LeastSquares())
    same(replace(found, left_out=0), other)
    assert abs(error(found, truth)).max() < 1e-6


def test_a_patch_whose_mask_is_empty_is_left_out() -> None:
    truth, values, patches = scene()
    masks = np.broadcast_to(ellipse(), values.shape).copy()
    masks[5] = 0
    found = stitched(values, replace(patches, weight=relative_weights(masks)))
    assert found.left_out == 1
    assert abs(error(found, truth)).max() < 1e-6


@pytest.mark.parametrize("method", [LeastSquares(), Iterative(alpha=1.0, sweeps=1)])
def test_a_single_patch_is_the_image(method: Any) -> None:
    _, values, patches = scene(counts=(1, 1))
    found = stitched(values, patches, method)
    assert found.values.shape == SIZE
    inside = ellipse() > 0
    difference = (found.values - values[0])[inside]
    assert np.ptp(difference) < 1e-6
    np.testing.assert_array_equal(np.isfinite(found.values), inside)


def test_patches_of_unit_overlap_far_apart_converge_soon() -> None:
    """A chain of hundreds of patches, barely overlapping: the longest wave of offsets is the last to be found."""
    corner = np.stack([np.zeros(600, int), np.arange(600) * 7], axis=1)
    truth = smooth(frame_of(corner, SIZE).shape)
    found = stitched(
        cut_from(truth, corner), Patches(corner, relative_weights(np.ones((1, *SIZE)))), LeastSquares(steps=25)
    )
    assert abs(error(found, truth)).max() < 1e-5, "float32 holds 50 rad no better"


def test_the_seeds_order_is_a_seed() -> None:
    _, values, patches = scene(noise=0.1)
    first, again, other = (stitched(values, patches, Iterative(seed=seed)).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.nanmax(abs(first - other)) > 1e-3


def test_weights_fall_towards_the_edge_of_a_mask() -> None:
    mask = np.zeros((7, 9))
    mask[1:6, 1:8] = 1
    expected = [[0] * 9, [0, *[1] * 7, 0], [0, 1, *[2] * 5, 1, 0], [0, 1, 2, 3, 3, 3, 2, 1, 0]]
    np.testing.assert_allclose(3 * tapered_weights(mask)[:4], expected)
    np.testing.assert_allclose(tapered_weights(np.ones((2, 1, 1))), 1)
    assert not tapered_weights(np.zeros((1, 4, 4))).any()


def test_positions_become_corners_on_the_grid() -> None:
    """Pixel N//2 of a patch lies at its position."""
    found = first_pixels(np.array([[0.0, 1.26], [-0.3, 0.11]]), 0.25, (4, 5))
    assert found.tolist() == [[-2, 3], [-3, -2]]
    assert frame_of(found, (4, 5)) == Canvas((-3, -2), (5, 10))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: first_pixels(np.array([[0.0, 1.0], [np.nan, 0.0]]), 1.0, SIZE), "position of sample 1"),
        (lambda: frame_of(np.array([[0, 0], [10**6, 10**6]]), SIZE), "the limit is 268,435,456; check positions"),
        (lambda: relative_weights(np.zeros((1, 2, 2))), "not all 0"),
        (lambda: choose_method(["alpha=0.2"], ""), "--stitch-set alpha=0.2: these patches are averaged"),
        (lambda: relative_weights(-np.ones((1, 2, 2))), "at least 0"),
        (lambda: relative_weights(np.full((1, 2, 2), np.nan)), "finite"),
        (lambda: stitched(np.full((1, *SIZE), np.nan), scene(counts=(1, 1))[2]), "none of 1 patch is finite"),
    ],
)
def test_mistakes_are_told_in_one_line(call: Any, said: str) -> None:
    with pytest.raises(UserError) as told:
        call()
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_frame_that_does_not_hold_all_patches_is_refused() -> None:
    _, values, patches = scene()
    frame = frame_of(patches.corner, SIZE)
    for wrong in (Canvas(frame.origin, (frame.shape[0] - 1, frame.shape[1])), Canvas((0, 0), frame.shape)):
        with pytest.raises(ValueError, match="does not hold all patches"):
            stitch(reader(values), patches, wrong, LeastSquares())


def test_sums_are_kept_where_many_large_phases_lie_over_one_another() -> None:
    """2,000 patches of the largest phase accepted at one place: no integer overflows."""
    values = np.full((2000, *SIZE), stitching_kernels.MAX_MODULUS, np.float32)
    found = stitched(values, Patches(np.zeros((2000, 2), np.int64), relative_weights(np.ones((1, *SIZE)))))
    np.testing.assert_array_equal(found.values, stitching_kernels.MAX_MODULUS)
