"""Alignment undoes what was planted, exactly, and does nothing else."""

from functools import reduce
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schemas.ambiguities import align
from schemas.grids import Ambiguities, Freedom, Grid
from schemas.task import Field, Task
from schemas.tasks.tie import TASK as TIE
from tests.training.conftest import QUICK

SHAPES = [(24,), (33,), (24, 32), (21, 27), (9, 12, 7), (5, 1, 8)]
KINDS: tuple[Freedom, ...] = ("constant", "ramp", "shift", "twin")
COMBINATIONS = [tuple(some) for n in range(5) for some in combinations(KINDS, n)]

type Shape = tuple[int, ...]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_combination = pytest.mark.parametrize("ambiguities", COMBINATIONS, ids="-".join)


def task_of(ambiguities: tuple[Freedom, ...], rank: int, *units: str) -> Task:
    dims = ("sample", "z", "y", "x")[: 1 + rank]
    fields = [Field(f"t{i}", dims, "float32", unit, "target", "") for i, unit in enumerate(units or ("rad", "1"))]
    phases = tuple(field.name for field in fields if field.units == "rad")
    free = (
        Ambiguities(ambiguities, phases=phases)
        if phases or not {"constant", "ramp"} & set(ambiguities)
        else Ambiguities()
    )
    grids = (Grid(dims[1:]),)
    return Task(name="any", version="1.0", about="", formula="", ambiguities=free, fields=tuple(fields), grids=grids)


def soft(shape: Shape) -> Any:
    """Not symmetric, whatever the origin; 0 outside."""
    edges = [np.clip(6 * x - 1, 0, 1) * np.clip(5 - 5 * x, 0, 1) for x in ((np.arange(n) + 0.5) / n for n in shape)]
    return reduce(np.multiply.outer, edges)


def hard(shape: Shape) -> Any:
    return (soft(shape) > 0.3).astype(float)


WINDOWS = {"none": lambda shape: None, "soft": soft, "hard": hard}
windows = pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))


def noise(task: Task, shape: Shape, samples: int = 3, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {field.name: rng.standard_normal((samples, *shape)) for field in task.fields}


def times(window: Any, values: dict[str, Any]) -> dict[str, Any]:
    return values if window is None else {name: value * window for name, value in values.items()}


def ramp(task: Task, shape: Shape, samples: int = 3) -> Any:
    """Arrays (sample, *spatial) that the ambiguities allow, before the window; only index arithmetic is shared."""
    rng = np.random.default_rng(9)
    found = np.zeros((samples, *shape))
    if {"constant", "ramp"} & set(task.ambiguities.free):
        found += rng.uniform(-3, 3, (samples, *[1] * len(shape)))
    if "ramp" in task.ambiguities.free:
        for axis in np.indices(shape):
            found += rng.uniform(-0.3, 0.3, (samples, *[1] * len(shape))) * axis
    return found


def planted(task: Task, truth: dict[str, Any], added: Any) -> dict[str, Any]:
    """Subtract, then turn, then move: pixel by pixel, one sample after the other."""
    moved = {}
    for field in task.fields:
        rows = []
        for i, row in enumerate(truth[field.name] - (added if field.units == "rad" else 0)):
            if "twin" in task.ambiguities.free and i != 1:
                row = row[tuple(np.ix_(*[[-k % n for k in range(n)] for n in row.shape]))]
                row = -row if field.units == "rad" else row
            shift = [(3 * i + 2 + axis) % n for axis, n in enumerate(row.shape)]
            rows.append(np.roll(row, shift, range(row.ndim)) if "shift" in task.ambiguities.free else row)
        moved[field.name] = np.array(rows)
    return moved


def error(found: dict[str, Any], truth: dict[str, Any]) -> Any:
    return sum(((found[n] - truth[n]) ** 2).sum(axis=tuple(range(1, truth[n].ndim))) for n in truth)


@windows
@every_combination
@shapes
def test_what_was_planted_is_undone(shape: Shape, ambiguities: tuple[Freedom, ...], window: Any) -> None:
    """Shift and twin act on windowed arrays, so that the window must not cut off what they move: here it has no 0."""
    task, w = task_of(ambiguities, len(shape)), window(shape)
    truth = times(w, noise(task, shape))
    added = ramp(task, shape) * (1 if w is None else w)
    if w is not None and {"shift", "twin"} & set(ambiguities):
        w = np.where(w == 0, 1e-9, w)
        added = ramp(task, shape) * w
    prediction = planted(task, truth, added)
    if ambiguities:
        assert np.max(error(prediction, truth)) > 1e-3
    found = align(task, prediction, truth, w)
    for name in truth:
        np.testing.assert_allclose(found[name], truth[name], atol=1e-12)
    again = align(task, found, truth, w)
    for name in truth:
        np.testing.assert_allclose(again[name], found[name], atol=1e-12)

    single = {n: v.astype(np.float32) for n, v in prediction.items()}
    for name, value in align(task, single, truth, w).items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, truth[name], atol=3e-6)


@windows
@every_combination
@shapes
def test_the_error_never_grows_and_is_the_least(shape: Shape, ambiguities: tuple[Freedom, ...], window: Any) -> None:
    """Of unrelated images: no other constant or ramp is nearer; what has been aligned is aligned."""
    task, w = task_of(ambiguities, len(shape)), window(shape)
    truth, prediction = times(w, noise(task, shape)), times(w, noise(task, shape, seed=1))
    found = align(task, prediction, truth, w)
    least = error(found, truth)
    assert np.all(least <= error(prediction, truth) * (1 + 1e-12))
    if not {"shift", "twin"} & set(ambiguities) or (w is None and "ramp" not in ambiguities):
        for name, value in align(task, found, truth, w).items():
            np.testing.assert_allclose(value, found[name], atol=1e-12)
    step = 1e-3 * ramp(task, shape) * (1 if w is None else w)
    for sign in (-1, 1):
        near = {f.name: found[f.name] + (sign * step if f.units == "rad" else 0) for f in task.fields}
        assert np.all(error(near, truth) >= least)


@pytest.mark.parametrize("shape", [(11,), (6, 7), (3, 4, 5)], ids=str)
def test_the_shift_is_the_best_of_all(shape: Shape) -> None:
    """Against every shift and twin tried one by one, each with its ramp from numpy.linalg.lstsq."""
    task, w = task_of(("ramp", "shift", "twin"), len(shape), "rad"), soft(shape)
    truth, prediction = (times(w, {"t0": noise(task, shape, seed=seed)["t0"] + 2}) for seed in (0, 1))
    design = np.stack([w, *(w * axis for axis in np.indices(shape))], axis=-1).reshape(w.size, -1)
    for i, row in enumerate(prediction["t0"]):
        twin = -row[tuple(np.ix_(*[[-k % n for k in range(n)] for n in shape]))]
        rests = []
        for one in (row, twin):
            for shift in np.ndindex(*shape):
                rest = (truth["t0"][i] - np.roll(one, shift, range(one.ndim))).ravel()
                rests.append(np.sum((rest - design @ np.linalg.lstsq(design, rest)[0]) ** 2))
        assert error(align(task, prediction, truth, w), truth)[i] == pytest.approx(min(rests), rel=1e-10)


@windows
def test_a_constant_is_the_weighted_mean(window: Any) -> None:
    """c = sum w (t - p) / sum w^2, of several targets in rad one and the same; others are left alone."""
    shape = (21, 27)
    task, w = task_of(("constant",), 2, "rad", "1", "rad"), window(shape)
    truth, prediction = times(w, noise(task, shape)), times(w, noise(task, shape, seed=1))
    found = align(task, prediction, truth, w)
    one = np.ones(shape) if w is None else w
    c = sum((one * (truth[n] - prediction[n])).sum(axis=(1, 2)) for n in ("t0", "t2")) / (2 * (one**2).sum())
    for name in ("t0", "t2"):
        np.testing.assert_allclose(found[name], prediction[name] + c[:, None, None] * one, atol=1e-13)
    np.testing.assert_array_equal(found["t1"], prediction["t1"])


@every_combination
def test_pixels_outside_the_window_never_matter(ambiguities: tuple[Freedom, ...]) -> None:
    shape = (24, 33)
    task, w = task_of(ambiguities, 2), soft(shape)
    truth, prediction = times(w, noise(task, shape)), times(w, noise(task, shape, seed=1))
    wild = {name: np.where(w == 0, np.nan, value) for name, value in prediction.items()}
    found = align(task, wild, {n: np.where(w == 0, 7, v) for n, v in truth.items()}, w)
    for name, value in align(task, prediction, truth, w).items():
        np.testing.assert_array_equal(found[name], value if ambiguities else wild[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ambiguities", [("constant",), KINDS], ids="-".join)
@shapes
def test_bits_do_not_depend_on_the_batch(shape: Shape, ambiguities: tuple[Freedom, ...], dtype: type) -> None:
    task, w = task_of(ambiguities, len(shape)), soft(shape)
    truth, prediction = (
        {n: v.astype(dtype) for n, v in times(w, noise(task, shape, 5, seed)).items()} for seed in (0, 1)
    )
    whole = align(task, prediction, truth, w)
    for i in range(5):
        alone = align(task, {n: v[i : i + 1] for n, v in prediction.items()}, {n: v[[i]] for n, v in truth.items()}, w)
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], whole[name][i])


@pytest.mark.parametrize(
    ("shape", "ambiguities"), [((33,), KINDS), ((9, 12, 7), KINDS), *[((21, 24), g) for g in COMBINATIONS]]
)
def test_jax_agrees_eager_and_compiled(shape: Shape, ambiguities: tuple[Freedom, ...]) -> None:
    task, w = task_of(ambiguities, len(shape)), soft(shape).astype(np.float32)
    truth, prediction = (
        {n: v.astype(np.float32) for n, v in times(w, noise(task, shape, seed=seed)).items()} for seed in (0, 1)
    )
    expected = align(task, prediction, truth, w)
    ours: Any = {n: jnp.asarray(v) for n, v in prediction.items()}
    ways = {
        "eager": align(task, ours, truth, w),
        "traced prediction": jax.jit(lambda p: align(task, p, truth, w), **QUICK)(ours),
        "all traced": jax.jit(lambda p, t, w: align(task, p, t, w), **QUICK)(ours, truth, w),
    }
    for way, found in ways.items():
        for name, value in expected.items():
            assert isinstance(found[name], jax.Array), way
            assert found[name].dtype == np.float32, way
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=way)


@pytest.mark.parametrize("ambiguities", [(), ("constant",), ("ramp",), ("constant", "twin"), KINDS], ids="-".join)
def test_the_gradient_of_an_aligned_loss(ambiguities: tuple[Freedom, ...]) -> None:
    """By the envelope theorem it is 2 (aligned - truth) where nothing moves; it is orthogonal to the ambiguities."""
    shape, task = (6, 5), task_of(ambiguities, 2, "rad")
    w = soft(shape).astype(np.float32)
    truth = {n: v.astype(np.float32) for n, v in times(w, noise(task, shape)).items()}
    prediction = {n: 1.3 * v + 0.2 * w for n, v in truth.items()}

    def loss(p: Any) -> Any:
        return ((align(task, p, truth, w)["t0"] - truth["t0"]) ** 2).sum()

    gradient = jax.grad(loss)({n: jnp.asarray(v) for n, v in prediction.items()})["t0"]
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, 2 * (align(task, prediction, truth, w)["t0"] - truth["t0"]), atol=2e-5)
    exact = jax.grad(loss)({n: jnp.asarray(v) for n, v in truth.items()})["t0"]
    np.testing.assert_allclose(exact, 0, atol=1e-5)


def test_an_empty_ambiguities_changes_nothing() -> None:
    task = task_of((), 2)
    truth, prediction = noise(task, (5, 6)), noise(task, (5, 6), seed=1)
    found = align(task, prediction, truth)
    assert all(found[name] is prediction[name] for name in prediction)


def test_tie_knows_a_constant() -> None:
    truth = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(np.float32)
    found = align(TIE, {"phase": truth + np.float32(1)}, {"phase": truth})
    np.testing.assert_allclose(found["phase"], truth, atol=1e-6)


@every_combination
def test_degenerate_input_is_no_accident(ambiguities: tuple[Freedom, ...]) -> None:
    """No samples, no window left, nothing finite: no warning, no crash, no other sample touched."""
    task = task_of(ambiguities, 2)
    truth, prediction = noise(task, (6, 5)), noise(task, (6, 5), seed=1)
    assert align(task, noise(task, (6, 5), 0), noise(task, (6, 5), 0))["t0"].shape == (0, 6, 5)
    for value in align(task, prediction, truth, np.zeros((6, 5))).values():
        assert not ambiguities or not value.any()
    expected = align(task, prediction, truth)
    prediction["t0"][1, 2, 3] = np.nan
    for name, value in align(task, prediction, truth).items():
        np.testing.assert_array_equal(value[[0, 2]], expected[name][[0, 2]])


def test_what_does_not_belong_together_is_refused() -> None:
    task, values = task_of(("constant",), 2), noise(task_of((), 2), (5, 6))
    with pytest.raises(ValueError, match=r"predicted \['mask'\].*give targets of any, \['t0', 't1'\]"):
        align(task, {"mask": values["t0"]}, values)
    with pytest.raises(ValueError, match=r"differ: both must be \(sample, \*spatial\)"):
        align(task, values, {name: value[:1] for name, value in values.items()})
    with pytest.raises(ValueError, match="all must lie on one grid"):
        align(task, values, values, np.ones((6, 5)))
