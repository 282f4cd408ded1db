"""Classical methods: what every one must do, how they are tuned, and the physics of each."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inference.contract import Arrays, Method, Setting, Settings, Value
from inference.invert import inverters
from inference.invert.split_reader import Source, open_source
from inference.methods import tuning
from inference.task_modules import find_inference, find_method, find_methods, inference_names
from inference.tasks.tie import absorption, register_fields, transport
from physics import optics
from physics.electron import wavelength
from schemas.predictions import read_predictions
from schemas.runtime.errors import UserError
from schemas.scores import score
from schemas.slices import slices_per_sample
from schemas.task import Task, find_task, task_names

from .conftest import TOY_TASK, Command, refused, values
from .test_processes import COMPILING

SMALL_TIE = ("--set", "image_size=32", "supersampling=1", "--scheduler", "synchronous")
METHODS = [(task, method) for task in inference_names() for method in find_methods(task)]
FIXED = ("--method", "tie", "--set", "cutoff=0.004", "floor=0.1", "offset=annulus")


def test_every_task_has_methods_with_a_source_and_settings_with_units() -> None:
    assert inference_names() == task_names()
    for name, method in METHODS:
        found, task = find_method(name, method), find_task(name)
        assert found.about
        assert set(found.needs) <= {field.name for field in task.fields}
        for setting in found.settings.values():
            assert setting.about
            assert setting.unit
            numbers = [value for value in setting.values if not isinstance(value, str)]
            assert numbers == sorted(numbers)


SAMPLES = ("--n", 6, "--validation", 3, "--test", 5)
SMALLER = {  # settings that make quick work of methods that take long
    "tomo": ("--set", "image_size=32"),
    "aet": ("--set", "image_size=64", "cluster.diameter=1.5:2"),
}
TOGETHER = {  # samples that belong together, where methods need these
    "stem4d": (
        *("--recipe", "hbn_scan", "--n", 0, "--validation", 0, "--test", 6),
        *("--set", "scan.rows=2", "scan.columns=3"),
    )
}


PACKAGES = {("aet", "bm3d"): "bm3d", ("denoise", "bm3d"): "bm3d"}  # packages that are not installed with the others


@pytest.mark.parametrize(("task", "method"), METHODS)
def test_every_method_predicts_all_targets(generate: Command, infer: Command, task: str, method: str) -> None:
    pytest.importorskip(PACKAGES.get((task, method), "numpy"))
    together = find_method(task, method).scope == "group"
    generate(
        "--task",
        task,
        *(TOGETHER[task] if together else (*SAMPLES, *SMALLER.get(task, ()))),
        "--scheduler",
        "synchronous",
    )
    command = ("--method", method, "--data", f"{task}.zarr", "--out")
    two, five = ((), ()) if together else (("--batch-size", 2), ("--batch-size", 5))
    code, out, err = infer(*command, "p.zarr", *two)
    assert (code, err.replace(COMPILING, "")) == (0, "")
    assert f"{5 + together} made now" in out
    found = read_predictions(Path("p.zarr"))
    assert found.settings.keys() == find_method(task, method).settings.keys()
    slices = slices_per_sample(found.task, found.sizes)
    assert found.tuning is None or (found.tuning.split, found.tuning.samples) == ("validation", 3 * slices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened, truth = xr.open_zarr("p.zarr"), xr.open_zarr(f"{task}.zarr/test")
    targets = [field for field in find_task(task).of("target") if field.name in truth]  # some are optional
    assert {field.name for field in find_task(task).of("target") if not field.optional} <= {f.name for f in targets}
    for field in targets:
        assert opened[field.name].dims == truth[field.name].dims
        assert opened[field.name].shape == truth[field.name].shape
        assert opened[field.name].dtype == truth[field.name].dtype
        assert opened[field.name].attrs == truth[field.name].attrs
        assert np.isfinite(opened[field.name].values).all()
    infer(*command, "q.zarr", *five)
    assert values("p.zarr") == values("q.zarr"), "a sample depends on its batch"


@pytest.mark.parametrize(("task", "method"), [("toy", "wiener"), ("toy_series", "smooth")])
def test_all_cores_invert_parts_of_a_block(
    generate: Command, infer: Command, task: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part has 8 samples or more, and does not depend on the others."""
    generate("--task", task, "--n", 0, "--validation", 2, "--test", 27, "--scheduler", "synchronous")
    lengths: list[int] = []
    alone = Method.inverter

    def inverter(self: Method, known: Task, fields: Arrays) -> Callable[[Settings], dict[str, np.ndarray]]:
        lengths.append(len(next(values for name, values in fields.items() if known[name].per_sample)))
        return alone(self, known, fields)

    monkeypatch.setattr(Method, "inverter", inverter)
    for cores, expected in ((1, [27]), (2, [13, 14]), (8, [9, 9, 9])):
        monkeypatch.setattr(inverters, "cores", lambda cores=cores: cores)
        lengths.clear()
        assert infer("--method", method, "--data", f"{task}.zarr", "--out", f"{cores}.zarr")[0] == 0
        assert sorted(lengths[-len(expected) :]) == expected
        assert values(f"{cores}.zarr") == values("1.zarr")


@pytest.mark.parametrize("task", ["toy", "toy_labels"])
def test_the_mean_is_that_of_the_training_targets(generate: Command, infer: Command, task: str) -> None:
    data = f"{task}.zarr"
    generate("--task", task, "--n", 70, "--validation", 0, "--test", 3, "--scheduler", "synchronous")
    assert infer("--method", "mean", "--data", data, "--out", "p.zarr")[0] == 0
    for field in find_task(task).of("target"):
        known, found = (xr.open_zarr(place)[field.name].values for place in (f"{data}/train", "p.zarr"))
        if field.classes:
            expected = np.stack([(known == number).sum(axis=0) for number in range(len(field.classes))]).argmax(axis=0)
        else:
            expected = known.mean(axis=0, dtype=np.float64)
        assert np.allclose(found, expected, rtol=1e-6)
        assert not np.allclose(found, 0)
    generate("--task", task, "--n", 0, "--validation", 0, "--test", 3, "--out", "none.zarr")
    refused(infer("--method", "mean", "--data", "none.zarr"), "--method mean: none.zarr has no training samples")


def test_tuning_finds_the_least_mean_error_after_alignment(generate: Command, infer: Command) -> None:
    generate("--task", "tie", "--n", 4, "--validation", 6, "--test", 2, *SMALL_TIE)
    source = Source(Path("tie.zarr"), open_source(Path("tie.zarr"), "test").manifest, "test")
    method = find_inference("tie").METHODS["absorption"]
    settings, found = tuning.tune(method, source, {})
    block = Source(source.path, source.manifest, "validation").read(("intensity", "window", "phase"), 0, 6)
    errors = {
        ratio: score(source.task, method.solve(block, ratio=ratio), block, block["window"])["nrms_aligned"].mean()
        for ratio in method.settings["ratio"].values
    }
    assert settings == {"ratio": min(errors, key=lambda ratio: errors[ratio])}
    assert found is not None
    assert found.metric == "nrms_aligned"
    assert found.nrms == pytest.approx(min(errors.values()), rel=1e-12)
    assert found.combinations == len(errors)
    assert found.split == "validation"


@pytest.mark.parametrize(("by", "best"), [("nrms", min), ("psnr", max), ("mask.mcc", max)])
def test_tuning_by_another_score(by: str, best: Callable[..., float], generate: Command, infer: Command) -> None:
    generate("--task", "tomo", "--n", 0, "--validation", 5, "--test", 2, "--set", "image_size=16", "mask=true")
    command = ("--method", "fbp", "--data", "tomo.zarr", "--tune-by", by, "--set", "positive=no", "window=hann")
    assert by in infer(*command, "--out", "p.zarr")[1]
    source = open_source(Path("tomo.zarr"), "validation")
    method = find_inference("tomo").METHODS["fbp"]
    block = source.read((*method.needs, "image", "mask"), 0, 5)
    means = {
        cutoff: score(
            source.task, method.solve(block, window="hann", cutoff=cutoff, positive="no"), block, block["field_of_view"]
        )[by].mean()
        for cutoff in method.settings["cutoff"].values
    }
    tuned = read_predictions(Path("p.zarr"))
    assert tuned.settings["cutoff"] == best(means, key=lambda cutoff: means[cutoff])
    assert tuned.tuning is not None
    assert tuned.tuning.nrms == pytest.approx(best(means.values()))
    refused(infer(*command[:4], "--tune-by", "mask.mc", "--out", "q.zarr"), "mask.mcc")


@pytest.mark.parametrize("constant", [-2.5, 2.5])
def test_tuning_leaves_out_what_no_measurement_reveals(constant: float, generate: Command) -> None:
    """A constant neither spoils the nearer phase, nor is it chosen where another has the same phase without it."""
    generate("--task", "tie", "--n", 2, "--validation", 6, "--test", 1, *SMALL_TIE)
    source = open_source(Path("tie.zarr"), "test")
    exact = Source(source.path, source.manifest, "validation").read(("phase",), 0, 6)["phase"].astype(float)

    def solve(fields: dict[str, np.ndarray], scale: float, constant: float) -> dict[str, np.ndarray]:
        return {"phase": scale * exact + (constant + 3 * (scale == 0.9)) * fields["window"]}

    scales, constants = Setting("", "1", (0.8, 0.9)), Setting("", "1", (0.0, constant, 2 * constant))
    method = Method("a test", ("intensity", "window"), solve, settings={"scale": scales, "constant": constants})
    settings, found = tuning.tune(method, source, {})
    assert settings == {"scale": 0.9, "constant": 0.0 if constant > 0 else constant}
    assert found is not None
    assert found.nrms < 0.1


def test_tuning_uses_training_samples_where_there_is_no_validation_and_never_test(
    generate: Command, infer: Command
) -> None:
    generate(*TOY_TASK, "--n", 300, "--validation", 0, "--test", 4)
    _, out, _ = infer("--method", "wiener", "--data", "toy.zarr")
    assert "tuned on 256 samples of train" in out
    source = open_source(Path("toy.zarr"), "test")
    bare = Source(source.path, source.manifest.model_copy(update={"samples": {"test": 4}}), "test")
    method = find_inference("toy").METHODS["wiener"]
    with pytest.raises(UserError, match=r"to tune on; name .* by --tune-on, or give --set noise=\.\.\.$"):
        tuning.tune(method, bare, {})
    assert tuning.tune(method, bare, {"noise": 0.1}) == ({"noise": 0.1}, None)


def test_measurements_without_targets_are_inverted_with_settings_tuned_on_another_dataset(
    generate: Command, infer: Command
) -> None:
    generate(*TOY_TASK, "--n", 4, "--validation", 20, "--test", 0, "--out", "like.zarr")
    generate(*TOY_TASK, "--n", 0, "--validation", 0, "--test", 4, "--seed", 1)
    command = ("--method", "wiener", "--data", "toy.zarr", "--tune-on", "like.zarr", "--out", "p.zarr")
    assert "tuned on 20 samples of validation of the other dataset" in infer(*command)[1]
    tuned = read_predictions(Path("p.zarr"))
    assert tuned.tuning is not None
    assert tuned.tuning.dataset == open_source(Path("like.zarr"), "validation").manifest.root_digest
    assert infer(*command)[0] == 0, "the same command finds its result"
    refused(infer(*command[:-1], "q.zarr", "--tune-on", "toy.zarr"), "--tune-on toy.zarr: has no")
    generate("--task", "tie", "--n", 0, "--validation", 2, "--test", 0, *SMALL_TIE)
    refused(infer(*command[:-1], "q.zarr", "--tune-on", "tie.zarr"), "must be one of toy")
    again = (*command[:5], "p.zarr", "--out", "again.zarr")
    assert infer(*again)[0] == 0
    taken = read_predictions(Path("again.zarr"))
    assert (taken.settings, taken.tuning) == (tuned.settings, tuned.tuning), "the settings of other predictions"
    assert infer(*again)[0] == 0, "the same command finds its result"
    back = infer(*command[:2], "--data", "like.zarr", "--split", "validation", *again[4:-1], "q.zarr")[1]
    assert "tuned on 20 samples of validation:" in back, "of the dataset that is inverted"
    refused(infer(*again[:-1], "q.zarr", "--set", "noise=123"), "--set noise=123.0: p.zarr has noise=")
    refused(infer(*again[:-1], "q.zarr", "--tune-by", "nrms"), "--tune-by nrms: the settings of p.zarr")
    refused(
        infer("--method", "identity", *again[2:-1], "q.zarr"),
        "--tune-on p.zarr: holds predictions of wiener 1 of task toy",
    )


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_the_end_of_the_values_tried_is_reported_if_the_error_falls_towards_it(share: float) -> None:
    grid: tuning.Grid = {"size": (1, 10, 100), "word": ("a", "b")}
    errors: tuning.Errors = {(size, word): share**i for i, size in enumerate(grid["size"]) for word in grid["word"]}
    best: dict[str, Value] = {"size": 100, "word": "b"}
    free = Setting("a number", "1", (1, 2))
    assert tuning._is_at_edge("size", free, best, grid, errors)
    assert not tuning._is_at_edge("size", Setting("a number", "1", (1, 2), maximum=100), best, grid, errors)
    assert not tuning._is_at_edge("word", free, best, grid, errors)
    assert not tuning._is_at_edge("size", free, {**best, "size": 10}, grid, errors)
    assert not tuning._is_at_edge("size", free, best, grid, dict.fromkeys(errors, 1.0))


def test_settings_can_be_given(generate: Command, infer: Command) -> None:
    generate("--task", "tie", "--n", 4, "--test", 2, *SMALL_TIE)
    _, out, _ = infer("--data", "tie.zarr", "--method", "tie", "--out", "a.zarr", "--set", "cutoff=0.0123")
    found = read_predictions(Path("a.zarr"))
    assert found.settings["cutoff"] == 0.0123
    assert found.tuning is not None
    assert found.tuning.fixed == ["cutoff"]
    assert "tuned on 4 samples of train" in out
    infer("--data", "tie.zarr", *FIXED, "--out", "b.zarr")
    assert read_predictions(Path("b.zarr")).tuning is None


def test_absorption_is_exact_for_one_material_in_focus() -> None:
    thickness = np.random.default_rng(0).uniform(0, 80, (2, 9, 12))
    phase = optics.phase_shift(thickness, 17.0, 3e5)
    images = optics.attenuation(thickness, 1.0, 3e5)[:, None] ** 2 * np.ones((1, 3, 1, 1))
    window = np.linspace(0, 1, 12) * np.ones((9, 1))
    found = absorption({"intensity": images * window, "window": window}, ratio=17.0)["phase"]
    np.testing.assert_allclose(found, phase * window, rtol=1e-6)


@pytest.mark.parametrize("planes", [2, 3, 4, 5])
def test_transport_has_the_sign_and_scale_of_the_phase(planes: int) -> None:
    """A weak phase that vanishes at the border, in any number of images."""
    y, x = np.mgrid[-24:24, -32:32]
    phase = 0.2 * np.exp(-(y**2 + (x - 3) ** 2) / 60)[None]
    defocus = np.linspace(-200, 200, planes)
    images = optics.intensity(
        optics.propagate(optics.exit_wave(phase[:, None], 1.0), wavelength(3e5), defocus[None], 1.0)
    )
    window = np.ones(phase.shape[1:])
    fields = {
        "intensity": images,
        "defocus": defocus[None],
        "voltage": np.array([3e5]),
        "sampling": np.ones(1),
        "window": window,
    }
    found = transport(fields, cutoff=0.0, floor=0.0, offset="annulus")["phase"]
    assert np.sqrt(((found - phase) ** 2).sum() / (phase**2).sum()) < 0.02
    bare = transport(fields, cutoff=0.0, floor=0.0, offset="none")["phase"]
    assert abs(bare.mean()) < 1e-9
    np.testing.assert_allclose(bare - bare.mean(), found - found.mean(), atol=1e-12)


def test_transport_takes_the_offset_inside_the_window_and_ends_there() -> None:
    rng = np.random.default_rng(0)
    y, x = np.indices((32, 32)) - 16
    window = (np.hypot(y, x) < 15).astype(float)
    fields = {
        "intensity": 1 + 0.01 * rng.normal(size=(2, 3, 32, 32)),
        "defocus": np.array([[-500.0, 0, 500]] * 2),
        "voltage": np.full(2, 3e5),
        "sampling": np.ones(2),
        "window": window,
    }
    settings = {"cutoff": 0.01, "floor": 0.1}
    bare = transport({**fields, "window": np.ones((32, 32))}, offset="none", **settings)["phase"]
    ring = (np.hypot(y, x) >= 0.45 * 32) & (np.hypot(y, x) <= 0.5 * 32) & (window > 0)
    found = transport(fields, offset="annulus", **settings)["phase"]
    expected = (bare - bare[:, ring].mean(axis=1)[:, None, None]) * window
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert not found[:, window == 0].any()


@pytest.mark.parametrize(("planes", "reference"), [(2, 0), (3, 1), (5, 2)])
def test_images_are_registered_to_the_one_in_focus_through_three_fresnel_lengths(
    planes: int, reference: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []

    def record(images: np.ndarray, reference: int, window: np.ndarray, blur: np.ndarray) -> np.ndarray:
        asked.append((reference, float(blur[0])))
        return images

    monkeypatch.setattr("inference.tasks.tie.register", record)
    fields = {
        "intensity": np.ones((1, planes, 8, 8)),
        "defocus": np.linspace(-9e3, 9e3, planes)[None],
        "voltage": np.array([3e5]),
        "sampling": np.array([2.0]),
        "window": np.ones((8, 8)),
    }
    register_fields(fields)
    assert len(asked) == 1
    assert asked[0][0] == reference
    assert asked[0][1] == pytest.approx(3 * np.sqrt(1.96875e-3 * 9e3) / 2, rel=1e-4)


def test_tuning_counts_every_sample_once(generate: Command) -> None:
    """More samples than are inverted at once."""
    generate(*TOY_TASK, "--n", 4, "--validation", 150, "--test", 1)
    source, method = open_source(Path("toy.zarr"), "test"), find_inference("toy").METHODS["wiener"]
    settings, found = tuning.tune(method, source, {})
    block = Source(source.path, source.manifest, "validation").read(("blurred", "position", "line"), 0, 150)
    solved = method.inverter(source.task, block)(settings)
    truth = {"line": block["line"]}
    assert found is not None
    assert found.nrms == pytest.approx(score(source.task, solved, truth, None)["nrms"].mean(), rel=1e-9)


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_tuning_does_not_reward_what_is_no_number(place: str, generate: Command) -> None:
    """Were NaN left out, a setting that inverts only what is easy would win."""
    generate("--task", "tie", "--n", 4, "--validation", 6, "--test", 2, "--set", "window=0.4", *SMALL_TIE)
    source = open_source(Path("tie.zarr"), "test")

    def solve(fields: dict[str, np.ndarray], broken: float) -> dict[str, np.ndarray]:
        window = fields["window"]
        phase = np.broadcast_to(0.1 * window, (len(fields["intensity"]), *window.shape)).copy()
        if broken:
            phase[1:, (window != 0) == (place == "inside")] = np.nan
            phase *= 2  # nearer to the truth
        return {"phase": phase}

    method = Method("a test", ("intensity", "window"), solve, settings={"broken": Setting("", "1", (0.0, 1.0))})
    settings, found = tuning.tune(method, source, {})
    assert found is not None
    assert settings == {"broken": 0.0 if place == "inside" else 1.0}
    assert np.isfinite(found.nrms)
