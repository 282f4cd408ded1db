"""Each term against its definition in NumPy's float64, a sample at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schemas.scores import score
from tests.training.conftest import QUICK, columns, features_for, rows_of
from training import losses
from training.class_losses import CLASS_TERMS
from training.features import Features
from training.moments import Moments
from training.recipe import Loss

TERMS = tuple(losses.VALUE_TERMS)


def only(term: str, *, aligned: bool = False) -> Loss:
    return Loss(**{name: float(name == term) for name in TERMS}, aligned=aligned)


def relative(p: np.ndarray, t: np.ndarray, scale: float) -> float:
    """With (scale / 1000)^2 for every pixel inside."""
    floor = p.size * (1e-3 * scale) ** 2
    return float(np.sqrt((np.sum((p - t) ** 2) + floor) / (np.sum(t**2) + floor)))


def huber(p: np.ndarray, t: np.ndarray, scale: float) -> float:
    d = abs(p - t) / scale
    return float(np.mean(np.where(d < 1, d**2 / 2, d - 0.5)))


def cross_entropy(p: np.ndarray, t: np.ndarray, scale: float) -> float:
    a, b = np.clip(p, 2.0**-20, 1 - 2.0**-20), np.clip(t, 0, 1)
    return float(-np.mean(b * np.log(a) + (1 - b) * np.log(1 - a)))


BY_HAND: Mapping[str, Callable[[np.ndarray, np.ndarray, float], float]] = {
    "relative": relative,
    "mse": lambda p, t, scale: float(np.mean(((p - t) / scale) ** 2)),
    "rmse": lambda p, t, scale: float(np.sqrt(np.mean(((p - t) / scale) ** 2) + 1e-6)),
    "l1": lambda p, t, scale: float(np.mean(abs(p - t) / scale)),
    "huber": huber,
    "cross_entropy": cross_entropy,
}


@pytest.fixture
def features(tie: Path) -> Features:
    return features_for(tie)


@pytest.fixture
def fields(tie: Path) -> dict[str, np.ndarray]:
    return columns(tie)


@pytest.fixture
def guess(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A poor prediction, with the window on it."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(fields["phase"].shape) * np.geomspace(0.01, 10, len(fields["phase"]))[:, None, None]
    return {"phase": ((0.8 * fields["phase"] + noise + 0.3) * fields["window"]).astype(np.float32)}


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_its_definition(term: str, features: Features, fields: Any, guess: Any) -> None:
    inside, (_, scale) = fields["window"] != 0, features.scale(features.task["phase"], fields)
    assert 0.2 < inside.mean() < 0.8
    expected = [
        BY_HAND[term](p[inside].astype(float), t[inside].astype(float), scale)
        for p, t in zip(guess["phase"], fields["phase"], strict=True)
    ]
    found = jax.jit(lambda g, f: losses.loss(features, only(term), g, f))(guess, fields)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(expected) > 0.1


def test_the_relative_error_of_a_faint_sample_is_bounded(features: Features, fields: Any) -> None:
    """By that of a truth of a thousandth of the usual deviation."""
    inside, (_, scale) = fields["window"] != 0, features.scale(features.task["phase"], fields)
    for size in (0, 1e-3, 1e-2):
        truth = size * fields["phase"]
        guess = truth + 2e-3 * np.float32(scale) * inside
        expected = [
            relative(p[inside].astype(float), t[inside].astype(float), scale) for p, t in zip(guess, truth, strict=True)
        ]
        found = losses.loss(features, Loss(), {"phase": guess}, fields | {"phase": truth})
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_every_term_has_a_definition_here() -> None:
    assert set(TERMS) == set(BY_HAND) == set(Loss().weights) - (set(CLASS_TERMS) - {"cross_entropy"})


def test_weights_add_terms(features: Features, fields: Any, guess: Any) -> None:
    both = losses.loss(features, Loss(relative=2, mse=0, l1=0.5, huber=0), guess, fields)
    apart = [losses.loss(features, only(term), guess, fields) for term in ("relative", "l1")]
    np.testing.assert_allclose(both, 2 * apart[0] + 0.5 * apart[1], rtol=1e-6)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("aligned", [False, True])
def test_an_exact_or_an_empty_sample_has_finite_loss_and_gradient(
    term: str, aligned: bool, features: Features, fields: Any
) -> None:
    def total(prediction: Any, truth: Any) -> Any:
        known = fields | {"phase": truth}
        return jnp.sum(losses.loss(features, only(term, aligned=aligned), {"phase": prediction}, known))

    slope_of = jax.jit(jax.value_and_grad(total), **QUICK)
    for truth in (fields["phase"], 0 * fields["phase"]):
        for prediction in (truth, truth + 1):
            value, slope = slope_of(prediction, truth)
            assert np.isfinite(value)
            assert np.isfinite(slope).all()


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("aligned", [False, True])
def test_what_lies_outside_the_window_never_matters(
    term: str, aligned: bool, features: Features, fields: Any, guess: Any
) -> None:
    @jax.jit
    def each(p: Any) -> Any:
        return losses.loss(features, only(term, aligned=aligned), {"phase": p}, fields)

    outside = fields["window"] == 0
    noise = np.where(outside, 100 * np.random.default_rng(3).standard_normal(outside.shape), 0).astype(np.float32)
    np.testing.assert_allclose(each(guess["phase"] + noise), each(guess["phase"]), rtol=1e-5)
    slope = np.asarray(jax.jit(jax.grad(lambda p: jnp.sum(each(p))), **QUICK)(guess["phase"] + noise))
    assert not slope[:, outside].any()
    assert np.abs(slope[:, ~outside]).max() > 0


@pytest.mark.parametrize("term", TERMS)
def test_aligned_does_not_see_a_constant_and_bare_does(term: str, features: Features, fields: Any, guess: Any) -> None:
    """The constant of a phase: no image reveals it (`ambiguities` of the task)."""
    moved = {"phase": guess["phase"] + np.float32(0.7) * fields["window"]}
    for aligned, equal in ((True, True), (False, False)):
        weights = only(term, aligned=aligned)
        pair = [np.asarray(losses.loss(features, weights, p, fields)) for p in (guess, moved)]
        assert np.allclose(pair[0], pair[1], rtol=1e-4) == equal


def test_aligned_of_a_task_without_ambiguities_is_bare(toy: Path) -> None:
    features, fields = features_for(toy), columns(toy)
    guess = {"line": fields["blurred"]}
    pair = [losses.loss(features, Loss(aligned=aligned), guess, fields) for aligned in (True, False)]
    np.testing.assert_array_equal(pair[0], pair[1])


@pytest.mark.parametrize("term", [term for term in TERMS if term != "cross_entropy"])
def test_terms_are_in_deviations_of_each_channel_or_sample(term: str, stores: dict[str, Path]) -> None:
    """Channels or samples of a field may differ in scale; the relative error has the root of their mean square."""
    rng = np.random.default_rng(0)
    for task, axes in (("toy_fusion", (0, 2, 3)), ("toy_series", (1, 2))):
        features, fields = features_for(stores[task]), rows_of(stores[task])
        target, measured = ("high", "high") if task == "toy_fusion" else ("clean", "noisy")
        scale = fields[measured].astype(float).std(axes, keepdims=True)
        truth = fields[target]
        guess = (truth + 0.1 * rng.standard_normal(truth.shape)).astype(np.float32)
        scales = np.broadcast_to(scale, truth.shape)
        if term == "relative":
            roots = np.sqrt((scales**2).reshape(len(truth), -1).mean(1))
            expected = [relative(p, t, s) for p, t, s in zip(guess, truth, roots, strict=True)]
        else:
            expected = [BY_HAND[term](p / s, t / s, 1) for p, t, s in zip(guess, truth, scales, strict=True)]
        found = losses.loss(features, only(term), {target: jnp.asarray(guess)}, fields)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("term", [term for term in TERMS if term != "cross_entropy"])  # that is of shares
def test_terms_do_not_depend_on_the_unit_of_the_target(term: str, toy: Path) -> None:
    features, fields = features_for(toy), columns(toy)
    moments = features.moments["line"]
    assert isinstance(moments, Moments)
    large = features_for(toy)
    object.__setattr__(
        large, "moments", {**features.moments, "line": moments.model_copy(update={"std": 8 * moments.std})}
    )
    first = losses.loss(features, only(term), {"line": fields["blurred"]}, fields)
    other = losses.loss(large, only(term), {"line": 8 * fields["blurred"]}, fields | {"line": 8 * fields["line"]})
    np.testing.assert_allclose(other, first, rtol=1e-5)


def test_nrms_is_the_score_of_that_name(features: Features, fields: Any, guess: Any, toy: Path) -> None:
    known = score(features.task, guess, {"phase": fields["phase"]}, fields["window"])["nrms"]
    np.testing.assert_allclose(losses.score(features, guess, fields)["nrms"], known, rtol=1e-5)
    lines, other = columns(toy), features_for(toy)
    known = score(other.task, {"line": lines["blurred"]}, {"line": lines["line"]})["nrms"]
    np.testing.assert_allclose(losses.score(other, {"line": lines["blurred"]}, lines)["nrms"], known, rtol=1e-5)


def test_nrms_is_nearly_the_relative_loss(features: Features, fields: Any, guess: Any) -> None:
    pair = losses.score(features, guess, fields)["nrms"], losses.loss(features, Loss(), guess, fields)
    np.testing.assert_allclose(*pair, rtol=1e-2)


def test_the_errors_that_other_trainers_log_are_scores_too(features: Features, fields: Any, guess: Any) -> None:
    """In the unit of the target, over all pixels of a sample."""
    assert losses.score_names(features) == ("nrms", "absolute_error", "squared_error")
    found, error = losses.score(features, guess, fields), guess["phase"].astype(float) - fields["phase"]
    np.testing.assert_allclose(found["absolute_error"], abs(error).mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["squared_error"], (error**2).mean((1, 2)), rtol=1e-5)
