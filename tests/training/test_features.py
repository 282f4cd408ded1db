"""Fields to channels and back: layout, order, numbers, units; for every task and every input found."""

import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import training.tasks
from physics.electron import wavelength
from physics.transport_of_intensity import longitudinal_derivative, retrieve
from schemas.grids import Grid
from schemas.task import Field, Task
from tests.training.conftest import QUICK, columns, features_for, rows_of
from training import contract, dataset_moments
from training.contract import Derived, Inputs, Learn, Like, find_learn
from training.features import Features
from training.moments import IDENTITY, Each, Moments, Own
from training.tasks.tie import CUTOFF, FLOOR

SIZES = {"tilt": 3, "energy": 2, "y": 5, "x": 8}  # never square
SERIES, IMAGE = ("sample", "tilt", "y", "x"), ("sample", "y", "x")
TASK = Task(
    name="made_up",
    version="1.0",
    about="two targets of different layout",
    formula="none",
    grids=(Grid(("y", "x")),),
    window="window",
    fields=(
        Field("noisy", SERIES, "float32", "1", "input", "tilt first"),
        Field("last", ("sample", "x", "tilt", "y"), "float32", "1", "input", "transposed, tilt amid"),
        Field("window", ("x", "y"), "float32", "1", "auxiliary", "transposed"),
        Field("height", ("y",), "float64", "nm", "auxiliary", "along one axis"),
        Field("dose", ("sample",), "float32", "1", "parameter", "a number"),
        Field("tilts", ("sample", "tilt"), "float32", "rad", "parameter", "several numbers"),
        Field("cube", ("sample", "energy", "y", "tilt", "x"), "float32", "1", "input", "two axes that are not spatial"),
        Field("clean", ("sample", "y", "tilt", "x"), "float32", "1", "target", "tilt amid"),
        Field("phase", IMAGE, "float32", "rad", "target", "one channel"),
    ),
)
LEARN = Learn(
    inputs={
        "noisy": ("noisy",),
        "cube": ("cube",),
        "last": ("last",),
        "clean": ("clean", "phase"),
        "all": ("last", "height", "noisy"),
    },
    scalars=("dose", "tilts"),
)
MOMENTS = {field.name: Moments(mean=0.5 + i, std=1.5 + i) for i, field in enumerate(TASK.fields)}


def features(given: str, *scalars: str) -> Features:
    return Features(TASK, LEARN, given, scalars, MOMENTS, SIZES)


def random(samples: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shapes = {f.name: ((samples,) if f.per_sample else ()) + f.shape(SIZES) for f in TASK.fields}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_decode_inverts_encode() -> None:
    made, fields = features("clean"), random()
    assert made.inputs.shape == made.output_shape == (5, 8, 4)
    fields["window"] = np.ones((8, 5), np.float32)
    found = made.decode(made.encode(fields), fields)
    assert found.keys() == {"clean", "phase"}
    for name, values in found.items():
        np.testing.assert_allclose(values, fields[name], atol=1e-5)


@pytest.mark.parametrize(("given", "order"), [("noisy", (0, 2, 3, 1)), ("last", (0, 3, 1, 2))])
def test_what_is_not_spatial_becomes_channels_in_order(given: str, order: tuple[int, ...]) -> None:
    fields, moments = random(), MOMENTS[given]
    expected = (np.transpose(fields[given], order) - moments.mean) / moments.std
    np.testing.assert_allclose(features(given).encode(fields), expected, atol=1e-6)


def test_of_several_axes_the_last_runs_fastest() -> None:
    fields, moments = random(), MOMENTS["cube"]
    expected = (np.transpose(fields["cube"], (0, 2, 4, 1, 3)).reshape(2, 5, 8, 6) - moments.mean) / moments.std
    np.testing.assert_allclose(features("cube").encode(fields), expected, atol=1e-6)


def test_numbers_and_constants_fill_their_channels() -> None:
    made, fields = features("all", "tilts", "dose"), random()
    x = np.asarray(made.encode(fields))
    assert x.shape == (2, 5, 8, 3 + 1 + 3 + 3 + 1)  # last, height, noisy; tilts and dose are told
    assert made.inputs == Inputs((5, 8), 11, scalars=4, moments=(7.5, 8.5), on_targets=True, parts=(3, 1, 3))
    told = made.inputs.split_scalars(made.encode(fields))[1]
    expected = [(fields["tilts"] - MOMENTS["tilts"].mean) / MOMENTS["tilts"].std, x[:, 0, 0, -1:]]
    np.testing.assert_allclose(told, np.concatenate(expected, axis=1), atol=1e-6)
    raw = [x[..., i] for i in range(x.shape[-1])]
    for name, start in (("height", 3), ("tilts", 7), ("dose", 10)):
        values, moments = fields[name], MOMENTS[name]
        wide = values[:, None] if name == "height" else values.reshape(2, -1)[:, 0, None, None]
        np.testing.assert_allclose(raw[start] * moments.std + moments.mean, np.broadcast_to(wide, (2, 5, 8)), atol=1e-5)


def test_a_scalar_is_one_number_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter that varies over the image is for `inputs`: of a scalar, dense networks take one pixel."""
    monkeypatch.setattr(contract, "find_task", lambda _: changed("dose", dims=("sample", "x")))
    module = ModuleType("training.tasks.mine")
    module.LEARN = LEARN  # type: ignore[attr-defined]
    said = "LEARN.scalars: dose varies along x; put it into LEARN.inputs instead"
    assert said in list(contract._learn_mistakes(module))


def test_the_window_multiplies_the_targets_along_its_own_axes() -> None:
    made, fields = features("noisy"), random()
    output = jnp.asarray(np.random.default_rng(2).standard_normal((2, 5, 8, 4)), jnp.float32)
    bare = made.decode(output, fields | {"window": np.ones((8, 5), np.float32)})
    found = made.decode(output, fields)
    np.testing.assert_allclose(found["phase"], bare["phase"] * fields["window"].T, rtol=1e-6)
    np.testing.assert_allclose(found["clean"], bare["clean"] * fields["window"].T[:, None], rtol=1e-6)
    expected = output[..., 3] * MOMENTS["phase"].std + MOMENTS["phase"].mean
    np.testing.assert_allclose(bare["phase"], expected, rtol=1e-6)


def test_other_sizes_than_in_training_are_read_and_written() -> None:
    made, rng = features("noisy", "dose"), np.random.default_rng(0)
    fields: dict[str, Any] = {
        "noisy": rng.random((1, 3, 7, 4), np.float32),
        "dose": np.ones(1),
        "window": np.ones((4, 7)),
    }
    x = made.encode(jax.tree.map(jnp.asarray, fields))
    assert x.shape == (1, 7, 4, 4)
    assert made.decode(x, fields)["clean"].shape == (1, 7, 3, 4)


def test_reads_names_each_field_once_with_the_window() -> None:
    assert features("all", "dose").reads == ("last", "height", "noisy", "dose", "window")
    assert features("clean").normalised == ("clean", "phase")


# --- by which moments a task normalises


def reduced(values: Any, *axes: int) -> tuple[Any, Any]:
    """Mean and standard deviation in float64, of axes that stay as ones."""
    values = np.asarray(values, np.float64)
    return values.mean(axes, keepdims=True), values.std(axes, keepdims=True)


def test_moments_of_each_channel_are_those_by_hand(stores: dict[str, Path]) -> None:
    """(sample, channel, ylow, xlow) and (sample, channel, y, x): two channels, each with moments of its own."""
    made, fields = features_for(stores["toy_fusion"], "input=low"), rows_of(stores["toy_fusion"])
    for name in ("low", "high"):
        known, (mean, std) = made.moments[name], reduced(fields[name], 0, 2, 3)
        assert isinstance(known, Each)
        np.testing.assert_allclose([one.mean for one in known.channels], mean.ravel(), rtol=1e-6)
        np.testing.assert_allclose([one.std for one in known.channels], std.ravel(), rtol=1e-6)
    mean, std = reduced(fields["low"], 0, 2, 3)
    x = np.moveaxis((fields["low"] - mean) / std, 1, -1)
    np.testing.assert_allclose(made.encode(fields), x, atol=1e-5)
    mean, std = reduced(fields["high"], 0, 2, 3)
    output = np.moveaxis((fields["high"] - mean) / std, 1, -1).astype(np.float32)
    np.testing.assert_allclose(made.decode(output, fields)["high"], fields["high"], atol=1e-5)


def test_moments_of_each_sample_come_from_its_input_alone(stores: dict[str, Path]) -> None:
    """A measurement on another scale looks the same to the network; its target comes back on that scale."""
    made, fields = features_for(stores["toy_series"]), rows_of(stores["toy_series"])
    assert made.moments == {"noisy": Own(of="noisy"), "clean": Own(of="noisy")}
    mean, std = reduced(fields["noisy"], 1, 2)
    x = made.encode(fields)
    np.testing.assert_allclose(x[..., 0], (fields["noisy"] - mean) / std, atol=1e-5)
    np.testing.assert_allclose(made.decode(x, fields)["clean"], fields["noisy"], atol=1e-5)
    louder: dict[str, Any] = {"noisy": 40 * fields["noisy"] + 3}
    np.testing.assert_allclose(made.encode(louder), x, atol=1e-4)
    np.testing.assert_allclose(made.decode(x, louder)["clean"], louder["noisy"], rtol=1e-4, atol=1e-3)
    constant: dict[str, Any] = {"noisy": np.full((2, *fields["noisy"].shape[1:]), [[[5.0]], [[0.0]]], np.float32)}
    np.testing.assert_array_equal(made.encode(constant), 0)


def test_computed_channels_have_the_moments_of_the_first_samples(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_moments, "MAX_SAMPLES", 5)
    made, fields = features_for(stores["toy_scan"], "input=back"), rows_of(stores["toy_scan"])
    part = made.derived["back[0]"]
    values = np.asarray(made.compute_channels(part, {name: fields[name] for name in part.fields}))
    known = made.moments["back[0]"]
    assert isinstance(known, Moments)
    mean, std = values[:5].mean(dtype=float), values[:5].std(dtype=float)
    assert (known.mean, known.std) == pytest.approx((mean, std), rel=1e-5)
    np.testing.assert_allclose(made.encode(fields), (values - mean) / std, atol=1e-5)


def test_nothing_is_normalised_if_the_recipe_says_so(stores: dict[str, Path]) -> None:
    for task in ("toy_fusion", "toy_series", "toy_scan"):
        made = features_for(stores[task], "normalisation=none")
        assert set(made.moments.values()) == {IDENTITY}


NORMALISED: list[tuple[dict[str, Any], str]] = [
    ({"clean": "sample"}, "field clean has the role target, must be input"),
    ({"noisy": Like("noisy")}, "field noisy has the role input, must be target"),
    ({"clean": Like("dose")}, "field dose has the role parameter, must be input"),
    ({"noisy": "sometimes"}, "'sometimes': must be one of field, channel, sample, none, or Like(input)"),
    ({"noise": "none"}, "the schema has no field 'noise'"),
]


@pytest.mark.parametrize(("normalise", "said"), NORMALISED)
def test_a_wrong_normalisation_is_told(normalise: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "find_task", lambda _: TASK)
    module = ModuleType("training.tasks.mine")
    module.LEARN = replace(LEARN, normalise=normalise)  # type: ignore[attr-defined]
    assert said in " ".join(contract._learn_mistakes(module))


# --- what a dataset lacks


def changed(name: str, **changes: Any) -> Task:
    return replace(TASK, fields=tuple(replace(f, **changes) if f.name == name else f for f in TASK.fields))


def test_problems_name_all_that_does_not_suit() -> None:
    made = features("noisy", "tilts")
    assert made.problems(TASK, SIZES) == []
    assert made.problems(TASK, SIZES | {"y": 50, "x": 7}) == []  # any image will do
    assert made.problems(TASK, SIZES | {"tilt": 4}) == [
        "noisy has 4 along tilt, must be 3",
        "tilts has 4 along tilt, must be 3",
    ]
    assert made.problems(changed("tilts", units="deg"), SIZES) == [
        "field tilts is (sample, tilt) [deg], must be (sample, tilt) [rad]"
    ]
    assert made.problems(changed("noisy", dims=("sample", "y", "tilt", "x")), SIZES) == [
        "field noisy is (sample, y, tilt, x) [1], must be (sample, tilt, y, x) [1]"
    ]
    poor = replace(TASK, window=None, fields=tuple(f for f in TASK.fields if f.name not in ("noisy", "window")))
    assert made.problems(poor, SIZES) == ["field noisy is missing", "field window is missing"]
    assert made.problems(changed("dose", units="J"), SIZES) == []  # it does not read the dose


# --- the tasks that there are

TASKS = sorted({module.name for module in pkgutil.iter_modules(training.tasks.__path__)} | {"toy"})
INPUTS = [(task, name) for task in TASKS for name in find_learn(task).inputs]


@pytest.mark.parametrize(("task", "given"), INPUTS)
def test_every_input_is_finite_and_of_the_shape_it_says(stores: dict[str, Path], task: str, given: str) -> None:
    learn, fields = find_learn(task), rows_of(stores[task])
    made = features_for(stores[task], f"input={given}", f"scalars={','.join(learn.scalars)}")
    read = {name: fields[name] for name in made.reads}
    x = jax.jit(made.encode)(read)
    assert x.shape == (len(fields[made.targets[0].name]), *made.inputs.shape)
    assert x.dtype == jnp.float32
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x, made.encode(read), atol=1e-5 * max(1, float(jnp.max(abs(x)))))
    output = jnp.zeros((len(x), *made.output_shape))
    assert {k: v.shape for k, v in jax.jit(made.decode)(output, read).items()} == {
        field.name: (*fields[field.name].shape, *([len(field.classes)] if field.classes else []))
        for field in made.targets
    }


@pytest.mark.parametrize("task", TASKS)
def test_stored_fields_have_mean_0_and_deviation_1(stores: dict[str, Path], task: str) -> None:
    """Over all samples of the training split and all channels of a field together; a constant gets deviation 0.

    Computed scalars with by="none" are as they are computed.
    """
    learn, fields = find_learn(task), rows_of(stores[task])
    for given, parts in learn.inputs.items():
        made = features_for(stores[task], f"input={given}", f"scalars={','.join(learn.scalar_parts)}")
        x: Any = np.asarray(made.encode(fields), np.float64)
        start = 0
        for place, part in enumerate((*parts, *learn.scalar_parts.values())):
            told = place >= len(parts)
            width = made._count_values(part, "(sample, value)" if told else "(sample, *spatial, channel)")
            values = x[..., start : start + width]
            start += width
            if isinstance(part, str) or (told and part.by != "none"):
                raw = fields[part] if isinstance(part, str) else np.asarray(part.channels(fields))
                varies = np.ptp(raw) > 0
                assert values.mean() == pytest.approx(0, abs=1e-3), part
                assert values.std() == pytest.approx(float(varies), abs=1e-3), part
            if told:
                assert np.ptp(values, axis=(*range(1, x.ndim - 1),)).max() == 0


@pytest.mark.parametrize("store", ["tie", "bare"])
def test_phases_are_those_of_the_tie_in_float64(store: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(store)
    fields = columns(path)
    made = features_for(path, "input=phases", "normalisation=none")
    images, z = fields["intensity"].astype(float), fields["defocus"].astype(float)
    derivative = longitudinal_derivative(images, z)
    electrons = np.array([wavelength(float(v)) for v in fields["voltage"]])
    sampling = fields["sampling"].astype(float)
    exact = retrieve(derivative, images[:, 1], electrons, sampling, cutoff=CUTOFF, floor=FLOOR)
    assert np.ptp(exact) > 0.1
    np.testing.assert_allclose(made.encode(fields)[..., 0], exact, atol=1e-4)


def test_the_tie_of_two_images_takes_their_mean_as_the_image_in_focus() -> None:
    made = find_learn("tie").inputs["phases"][0]
    assert isinstance(made, Derived)
    rng = np.random.default_rng(0)
    under, over = (1 + 0.1 * rng.random((1, 12, 9)) for _ in range(2))
    known = {"defocus": np.array([[-500.0, 500.0]]), "voltage": np.full(1, 3e5), "sampling": np.ones(1)}
    images = np.stack([under, over], 1)
    exact = retrieve((over - under) / 1000, (under + over) / 2, wavelength(3e5), 1.0, cutoff=CUTOFF, floor=FLOOR)
    single = {k: np.asarray(v, np.float32) for k, v in ({"intensity": images} | known).items()}
    found = jax.jit(made.channels, **QUICK)(single)
    np.testing.assert_allclose(found[..., 0], exact, atol=1e-5 * np.ptp(exact))


def test_a_derived_scalar_is_a_constant_channel_with_the_moments_of_its_logarithm(stores: dict[str, Path]) -> None:
    store = stores["toy_scan"]
    made, fields = features_for(store, "input=back", "scalars=span"), columns(store)
    span = np.log(np.ptp(fields["angle"].astype(float), axis=1))
    x = np.asarray(made.encode(fields))
    assert (made.inputs.scalars, x.shape[-1]) == (1, 2)
    expected = ((span - span.mean()) / span.std())[:, None, None]
    np.testing.assert_allclose(x[..., 1], np.broadcast_to(expected, x.shape[:-1]), atol=1e-4)
    assert "angle" in made.reads
