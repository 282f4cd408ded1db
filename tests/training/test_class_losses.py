"""Losses of classes: the published binary formulas, numbers by hand, several classes, and weights from the dataset."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from scipy import ndimage

from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.target_kinds import score_classes
from schemas.task import Field
from tests.training.conftest import QUICK, made, recipe_for, rows_of
from training import losses
from training.border_weights import border_weights, nearest_two, number_objects
from training.class_losses import CLASS_TERMS, class_scores
from training.class_weights import balanced_weights
from training.compared import Compared
from training.recipe import Loss
from training.run import prepare

CUT = 1e-7
TWO = Field("mask", ("sample", "y", "x"), "uint8", "1", "target", "a mask", classes=("void", "disc"))
NAMES = ("void", "disc", "ring", "ignore")
THREE = Field("mask", ("sample", "y", "x"), "uint8", "1", "target", "a mask", classes=NAMES)


def compared(field: Field, logits: Any, truth: Any, **settings: Any) -> Compared:
    loss = Loss(**{"cross_entropy": 1.0, **settings})
    return Compared(field, jnp.asarray(logits, jnp.float32), jnp.asarray(truth), jnp.ones(()), 1.0, loss)


def binary(term: str, p: np.ndarray, t: np.ndarray, **settings: Any) -> np.ndarray:
    """The term of two classes, for probabilities p of the second."""
    logits = np.stack([np.zeros_like(p), np.log(p) - np.log1p(-p)], -1)
    return np.asarray(CLASS_TERMS[term](compared(TWO, logits, t.astype(np.uint8), **settings)))


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of two samples of 5x7 pixels; some lie beyond the cut."""
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-6 * rng.standard_normal((2, 5, 7))))
    p[0, 0, :2] = 1e-9, 1e-12
    return p, (rng.uniform(size=p.shape) < 0.4).astype(float)


def keras(p: np.ndarray, t: np.ndarray, positive: float) -> np.ndarray:
    """Weighted cross entropy of super_tomo_py: p is cut, turned into a logit, and weighted as TensorFlow does it."""
    cut = np.clip(p, CUT, 1 - CUT)
    logit = np.log(cut / (1 - cut))
    each = (1 - t) * logit + (1 + (positive - 1) * t) * (np.log1p(np.exp(-abs(logit))) + np.maximum(-logit, 0))
    return np.asarray(each.mean((1, 2)))


@pytest.mark.parametrize("beta", [0.5, 1, 2, 7])
def test_weighted_cross_entropy_is_the_published_one(beta: float) -> None:
    p, t = drawn()
    np.testing.assert_allclose(
        binary("weighted_cross_entropy", p, t, classes=(1, beta)), keras(p, t, beta), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("beta", [0.2, 0.5, 0.9])
def test_balanced_cross_entropy_is_the_published_one(beta: float) -> None:
    """The positive class weighs beta / (1 - beta), and all of it is multiplied by 1 - beta."""
    p, t = drawn()
    expected = (1 - beta) * keras(p, t, beta / (1 - beta))
    np.testing.assert_allclose(
        binary("weighted_cross_entropy", p, t, classes=(1 - beta, beta)), expected, rtol=1e-6, atol=1e-6
    )


def test_weighted_cross_entropy_by_hand() -> None:
    """- (2 ln 0.9 + ln 0.8 + 2 ln 0.25 + ln 0.4) / 4 = 1.030686, and the cut: - 2 ln 1e-7 = 32.236191."""
    p, t = np.array([[[0.9, 0.2], [0.25, 0.6]]]), np.array([[[1.0, 0], [1, 0]]])
    assert binary("weighted_cross_entropy", p, t, classes=(1, 2))[0] == pytest.approx(1.0306860, abs=1e-6)
    beyond = np.full((1, 1, 1), 1e-12)
    found = binary("weighted_cross_entropy", beyond, beyond > 0, classes=(1, 2))
    assert found[0] == pytest.approx(32.2361913, abs=1e-5)


def test_dice_is_the_published_one_of_each_sample() -> None:
    """(2 (0.9 + 0.25) + 1) / (2 + 1.95 + 1) = 2/3, and 1 for an empty sample that is found empty."""
    p, t = np.array([[[0.9, 0.2], [0.25, 0.6]]]), np.array([[[1.0, 0], [1, 0]]])
    assert binary("dice", p, t, classes=(0, 1))[0] == pytest.approx(1 - 3.3 / 4.95, abs=1e-6)
    p, t = drawn()
    expected = 1 - (2 * (p * t).sum((1, 2)) + 1) / (p.sum((1, 2)) + t.sum((1, 2)) + 1)
    np.testing.assert_allclose(binary("dice", p, t, classes=(0, 1)), expected, atol=1e-6)
    empty = np.full((1, 5, 7), 1e-12)
    assert binary("dice", empty, 0 * empty, classes=(0, 1))[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("focusing", [0, 0.5, 2, 5])
def test_focal_loss_is_its_definition(focusing: float) -> None:
    p, t = drawn()
    right = np.where(t > 0, p, 1 - p)
    expected = -(np.where(t > 0, 0.25, 0.75) * (1 - right) ** focusing * np.log(right)).mean((1, 2))
    found = binary("focal", p, t, classes=(0.75, 0.25), focusing=focusing)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("term", CLASS_TERMS)
def test_several_classes_by_definition(term: str) -> None:
    """Ignored pixels count nowhere, whatever is predicted there; the ignored class has no probability."""
    rng = np.random.default_rng(1)
    logits, truth = rng.standard_normal((2, 6, 5, 4)), rng.integers(0, 4, (2, 6, 5)).astype(np.uint8)
    weights, inside = np.array([1.0, 2, 0.5, 0]), truth < 3
    p = np.exp(logits[..., :3]) / np.exp(logits[..., :3]).sum(-1, keepdims=True)
    t, w = np.eye(4)[truth][..., :3], weights[truth]
    right = np.where(inside, (p * t).sum(-1), 1.0)
    count, axes = inside.sum((1, 2)), (1, 2)
    border = np.asarray(border_weights(jnp.asarray(truth), (0, 1, 2), 10, 1.5)) * inside
    masked = p * inside[..., None]
    each = (2 * (masked * t).sum(axes) + 1) / (masked.sum(axes) + t.sum(axes) + 1)
    expected = {
        "cross_entropy": -(w * np.log(right)).sum(axes) / w.sum(axes),
        "weighted_cross_entropy": -(w * np.log(right)).sum(axes) / count,
        "focal": -(w * (1 - right) ** 2 * np.log(right)).sum(axes) / count,
        "border": -((w + border) * np.log(right)).sum(axes) / count,
        "dice": 1 - (each * weights[:3]).sum(-1) / weights.sum(),
    }
    found = CLASS_TERMS[term](compared(THREE, logits, truth, classes=(1, 2, 0.5, 3), border_width=1.5))
    np.testing.assert_allclose(found, expected[term], atol=1e-6)
    logits[truth == 3] += 5
    again = CLASS_TERMS[term](compared(THREE, logits, truth, classes=(1, 2, 0.5, 3), border_width=1.5))
    np.testing.assert_allclose(again, found, atol=1e-6)


@pytest.mark.parametrize("term", CLASS_TERMS)
@pytest.mark.parametrize("logit", [0.0, 30.0, -200.0])
@pytest.mark.parametrize("label", [0, 1, 3])
def test_sure_and_empty_samples_have_finite_losses_and_slopes(term: str, logit: float, label: int) -> None:
    logits = jnp.full((1, 3, 4, 4), 0.0).at[..., 1].set(logit)
    truth = np.full((1, 3, 4), label, np.uint8)

    def total(logits: Any) -> Any:
        return jnp.sum(CLASS_TERMS[term](compared(THREE, logits, truth, focusing=0.5)))

    value, slope = jax.jit(jax.value_and_grad(total), **QUICK)(logits)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_focal_loss_without_focusing_is_the_weighted_cross_entropy() -> None:
    p, t = drawn()
    p = np.clip(p, 1e-5, 1 - 1e-5)
    one, other = (binary(term, p, t, classes=(1, 3), focusing=0) for term in ("focal", "weighted_cross_entropy"))
    np.testing.assert_allclose(one, other, rtol=1e-6)


# --- border weights


def discs() -> np.ndarray:
    """Samples (sample, y, x): squares with gaps of 1 to 4 pixels, a ring around a dot, random spots, one object."""
    labels = np.zeros((4, 21, 26), np.uint8)
    labels[0, 3:8, 2:7], labels[0, 3:8, 8:11], labels[0, 10:15, 4:9], labels[0, 3:9, 15:20] = 1, 1, 2, 1
    y, x = np.ogrid[:21, :26]
    away = np.hypot(y - 10, x - 12)
    labels[1] = ((away > 6) & (away < 8)) | (away < 2)
    labels[2] = np.random.default_rng(0).uniform(size=(21, 26)) < 0.15
    labels[3, 4:9, 20:] = 1
    return labels


def objects_of(labels: np.ndarray) -> list[np.ndarray]:
    numbered = [ndimage.label(labels == k) for k in range(1, labels.max() + 1)]
    return [found == i for found, count in numbered for i in range(1, count + 1)]


def test_objects_are_connected_pixels_of_one_class() -> None:
    labels = discs()
    found = np.asarray(number_objects(jnp.asarray(labels, jnp.int32)))
    for numbers, sample in zip(found, labels, strict=True):
        masks = objects_of(sample)
        assert len(np.unique(numbers)) == 1 + len(masks)
        assert all(len(np.unique(numbers[mask])) == 1 for mask in masks)
        assert not numbers[sample == 0].any()


@pytest.mark.parametrize("reach", [5, 30])
def test_distances_to_the_two_nearest_objects_are_those_of_scipy(reach: int) -> None:
    """Up to the reach along an axis; farther objects may be found or not."""
    labels = discs()
    first, second = nearest_two(number_objects(jnp.asarray(labels, jnp.int32)), reach)
    for k, sample in enumerate(labels):
        away = [ndimage.distance_transform_edt(~mask) for mask in objects_of(sample)]
        exact = np.sort([*away, np.full(sample.shape, np.inf)], axis=0)[:2]
        for found, expected in zip((first[k], second[k]), exact, strict=True):
            near = expected <= reach
            np.testing.assert_allclose(np.asarray(found)[near], expected[near], rtol=1e-6)
            assert (np.asarray(found)[~near] > reach).all()


def test_border_weights_are_those_of_the_paper() -> None:
    labels = discs()
    found = np.asarray(border_weights(jnp.asarray(labels), (0, 1, 2), 10, 2.5))
    for weights, sample in zip(found, labels, strict=True):
        away = [ndimage.distance_transform_edt(~mask) for mask in objects_of(sample)]
        d1, d2 = np.sort([*away, np.full(sample.shape, np.inf)], axis=0)[:2]
        np.testing.assert_allclose(weights, (sample == 0) * 10 * np.exp(-((d1 + d2) ** 2) / (2 * 2.5**2)), atol=4e-3)
    assert found[0, 5, 7] == pytest.approx(10 * math.exp(-4 / 12.5), rel=1e-5)  # a gap of one pixel: d1 = d2 = 1
    assert not found[3].any()


@pytest.mark.parametrize("shape", [(17,), (5, 6, 7)])
def test_border_weights_exist_along_any_number_of_axes(shape: tuple[int, ...]) -> None:
    labels = np.zeros((1, *shape), np.uint8)
    labels[0, 0], labels[0, -1] = 1, 1
    found = np.asarray(border_weights(jnp.asarray(labels), (0, 1), 10, 5))
    gap = shape[0] - 1
    assert np.allclose(found[0, 1:-1], 10 * math.exp(-(gap**2) / 50))


# --- scores


def test_scores_are_those_of_the_evaluation() -> None:
    rng = np.random.default_rng(2)
    logits, truth = rng.standard_normal((5, 6, 7, 4)), rng.integers(0, 4, (5, 6, 7)).astype(np.uint8)
    logits[0, ..., 1] += 9  # one class predicted
    expected = score_classes(THREE, logits[..., :3].argmax(-1), truth)
    found = class_scores(THREE, jnp.asarray(logits), jnp.asarray(truth))
    assert set(found) == {"iou", "dice", "accuracy"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6)
    ignored = class_scores(THREE, jnp.asarray(logits), jnp.full((5, 6, 7), 3))
    assert all(np.isnan(values).all() for values in ignored.values())


# --- weights from the training samples


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("small")
    return {task: made(folder, task, n=7) for task in ("toy_labels", "toy_series", "toy_fusion")}


@pytest.fixture
def labels(small: dict[str, Path]) -> Path:
    return small["toy_labels"]


def test_balanced_weights_are_inverse_shares_of_the_samples_that_are_used(labels: Path) -> None:
    """With two classes (1 - b, b), b the share of the first: the balanced cross entropy."""
    manifest = read_manifest(labels)
    stored = np.asarray(zarr.open_array(labels / "train" / "mask")[...])
    for used in (range(7), range(2, 5)):
        shares = [(stored[used.start : used.stop] == k).sum() for k in range(2)]
        found = balanced_weights(labels, manifest, manifest.task["mask"], used)
        assert found == pytest.approx((shares[1] / sum(shares), shares[0] / sum(shares), 0))


def test_balanced_weights_travel_with_the_run(labels: Path) -> None:
    settings = ("loss.relative=0", "loss.weighted_cross_entropy=1", "loss.classes=balanced")
    run = prepare(labels, Path("run"), recipe_for("convnet", *settings))
    expected = balanced_weights(labels, run.manifest, run.features.targets[0], range(7))
    assert run.recipe.loss.class_weights == expected
    assert json.loads(json.dumps(run.identity))["recipe"]["loss"]["classes"] == list(expected)


def test_a_class_that_does_not_occur_has_no_finite_weight(tmp_path: Path) -> None:
    store = made(tmp_path, "toy_labels", n=3)
    array = zarr.open_array(store / "train" / "mask", mode="r+")
    array[...] = np.where(np.asarray(array[...]) == 1, 2, array[...])  # the discs are ignored
    manifest = read_manifest(store)
    rule = r"no pixel of mask in the 3 training samples of .* is of the class disc, whose weight would be infinite"
    with pytest.raises(UserError, match=rule):
        balanced_weights(store, manifest, manifest.task["mask"], range(3))


MISTAKES = [
    ("toy_labels", ("loss.classes=balance",), "loss.classes"),
    ("toy_labels", ("loss.classes=1,x",), "loss.classes"),
    ("toy_series", ("loss.classes=balanced",), "balanced: needs one target with classes, here none"),
    ("toy_labels", ("loss.against=image",), "loss.against = image: must be an input that the network sees"),
    ("toy_series", ("loss.against=angle",), "of the only target (here clean); there are: noisy"),
    ("toy_fusion", ("loss.against=low",), "there are: none"),
]


@pytest.mark.parametrize(("task", "settings", "rule"), MISTAKES)
def test_settings_of_losses_that_do_not_fit_are_refused(
    task: str, settings: tuple[str, ...], rule: str, small: dict[str, Path]
) -> None:
    classes = ("loss.relative=0", "loss.cross_entropy=1") if task == "toy_labels" else ()
    with pytest.raises(UserError) as caught:
        prepare(small[task], Path("run"), recipe_for("unet", *classes, *settings))
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_learning_against_an_input_never_reads_the_truth(small: dict[str, Path]) -> None:
    """Neither the loss nor the normalisation changes with the truth."""
    fields = {name: jnp.asarray(values) for name, values in rows_of(small["toy_series"]).items()}
    for settings, same in ((("loss.against=noisy",), True), ((), False)):
        run = prepare(small["toy_series"], Path("run"), recipe_for("unet", *settings))
        guess = {"clean": 0.9 * fields["noisy"]}
        found = [
            np.asarray(losses.loss(run.features, run.recipe.loss, guess, {**fields, "clean": truth}))
            for truth in (fields["clean"], 5 + fields["clean"])
        ]
        assert np.array_equal(found[0], found[1]) == same
        assert np.isfinite(found[0]).all()
