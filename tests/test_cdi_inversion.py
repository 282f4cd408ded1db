"""The task `cdi`: what networks are told and give, iterative methods, scores."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from generators.random_streams import Streams
from generators.tasks import cdi
from inference.report.sample_images import _target_picture
from inference.tasks.cdi import FINISH, METHODS, OBJECT_SCORES, REPORT, diffraction, finish, measures
from physics.diffraction import inverse_far_field
from physics.wave_ambiguities import canonical_form
from schemas.runtime.settings import make_settings
from schemas.tasks.cdi import TASK
from tests.training.conftest import columns, features_for, made
from training.activations import activations
from training.augmentation import augment
from training.contract import find_learn
from training.export.store import load_model

from .conftest import Command, refused
from .test_cdi import CLEAN, pattern, samples
from .test_waves import planted

CDI = ("image_size=16", "outline.size=0.6:1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("cdi"), "cdi", "--set", *CDI, *CLEAN)


def test_an_object_under_a_symmetry_keeps_its_pattern(store: Path) -> None:
    """Augmentation flips patterns about q = 0 and objects about pixel N//2: the formula still holds."""
    batch = {k: jnp.asarray(v) for k, v in columns(store).items() if k in ("amplitude", "shape", "phase")}
    batch["weight"] = jnp.ones(len(batch["shape"]))
    found = {k: np.asarray(v) for k, v in augment(features_for(store), batch, jax.random.key(3)).items()}
    changed = [not np.array_equal(a, b) for a, b in zip(found["shape"], batch["shape"], strict=True)]
    assert 0 < sum(changed) < len(changed)
    for shape, phase, amplitude in zip(found["shape"], found["phase"], found["amplitude"], strict=True):
        assert np.allclose(pattern(shape, phase, 16), amplitude, atol=1e-4)


def test_the_default_input_does_not_depend_on_the_exposure(store: Path) -> None:
    features, fields = features_for(store), columns(store)
    once, louder = (features.encode({"amplitude": factor * fields["amplitude"]}) for factor in (1, 1000))
    assert np.allclose(once, louder, atol=1e-4)
    assert once.shape == (len(fields["shape"]), 16, 16, 3)
    assert np.isfinite(np.asarray(features.encode({"amplitude": 0 * fields["amplitude"]}))).all()


def test_heads_give_shapes_from_0_to_1_and_phases_within_a_turn() -> None:
    rng = np.random.default_rng(0)
    for head in find_learn("cdi").heads.values():
        output = jnp.asarray(5 * rng.standard_normal((2, 4, 5, head.channels)), jnp.float32)
        found = head.targets(output)
        assert (np.asarray(found["shape"]) > 0).all()
        assert (np.asarray(found["shape"]) < 1).all()
        assert (abs(np.asarray(found["phase"])) <= np.pi + 1e-6).all()
        slope = jax.grad(lambda x, head=head: sum(v.sum() for v in head.targets(x).values()))(0 * output)
        assert np.isfinite(np.asarray(slope)).all()


def test_the_polar_head_is_the_angle_of_its_point() -> None:
    angle = np.linspace(-3, 3, 7)
    output = np.stack([np.zeros(7), 2 * np.cos(angle), 2 * np.sin(angle)], -1).reshape(1, 1, 7, 3)
    assert np.allclose(find_learn("cdi").heads["polar"].targets(jnp.asarray(output))["phase"][0, 0], angle, atol=1e-6)


@pytest.mark.parametrize("term", ["wave", "circular"])
def test_terms_of_waves_are_their_definitions(term: str, store: Path) -> None:
    fields, rng = columns(store), np.random.default_rng(1)
    guess = {
        "shape": rng.uniform(0, 1, fields["shape"].shape).astype(np.float32),
        "phase": rng.uniform(-3, 3, fields["shape"].shape).astype(np.float32),
    }
    found = find_learn("cdi").losses[term].compute(guess, fields)
    for row, loss in enumerate(np.asarray(found)):
        (m, p), (em, ep) = ((v["shape"][row].astype(float), v["phase"][row].astype(float)) for v in (guess, fields))
        if term == "wave":
            error = np.mean(abs(m * np.exp(1j * p) - em * np.exp(1j * ep)) ** 2)
            expected = np.sqrt((error + 1e-6) / (np.mean(em**2) + 1e-6))
        else:
            expected = (em * (1 - np.cos(p - ep))).sum() / (em.sum() + 1e-3)
        assert loss == pytest.approx(expected, rel=1e-4)


def test_losses_of_a_task_are_its_own(generate: Command, train: Command) -> None:
    generate("--task", "toy", "--n", 4, "--scheduler", "synchronous")
    refused(train("--data", "toy.zarr", "--set", "loss.wave=1"), "loss.wave")


def test_patterns_of_another_size_than_the_object_are_refused(store: Path, train: Command) -> None:
    refused(train("--data", store, "--set", "head=none"), "head", "polar, sigmoid, tanh")


@pytest.mark.parametrize("name", list(METHODS))
def test_iterations_find_most_objects_from_clean_patterns(name: str) -> None:
    """Those with moderate phases and without dislocations; error reduction alone is known to stagnate."""
    values = samples(16, *CLEAN, "displacement.span=0:2", "outline.size=0.7:1")
    settings = {key: setting.values[0] for key, setting in METHODS[name].settings.items()} | {"starts": 2}
    found = METHODS[name].invert(TASK, settings | {"threshold": 0.1}, values)
    errors = measures(values, found)
    assert np.median(errors["wave_error"]) < (0.45 if name == "er" else 0.25)
    assert (errors["iou"] > 0.7).mean() > 0.7


def test_a_sample_does_not_depend_on_its_block() -> None:
    values = samples(5)
    settings = {"cycles": 1, "starts": 2, "beta": 0.9, "threshold": 0.1}
    whole = METHODS["hio"].invert(TASK, settings, values)
    alone = METHODS["hio"].invert(TASK, settings, {name: array[3:4] for name, array in values.items()})
    assert all(np.array_equal(whole[name][3:4], alone[name]) for name in whole)


def test_exact_targets_have_no_error_wherever_they_lie() -> None:
    values = samples(12, "canonical=false", "outline.size=0.4:0.6", *CLEAN)
    shape, phase = values["shape"], values["phase"]
    moved: dict[str, Any] = {
        "shape": np.roll(shape[:, ::-1, ::-1], (3, 2), (1, 2)),
        "phase": np.roll(-np.where(shape > 0, phase + 1, 0)[:, ::-1, ::-1], (3, 2), (1, 2)),
    }
    for found, twin in (({"shape": shape, "phase": phase}, 0), (moved, 1)):
        errors = measures(values, found)
        assert errors["wave_error"].max() < 1e-6
        assert errors["phase_error"].max() < 1e-5
        assert errors["chi2"].max() < 1e-10
        assert (errors["iou"] == 1).all()
        assert (errors["wraps"] == 0).all()
        assert (errors["twin"] == twin).mean() > 0.8  # a shape without phase is as near as its twin


@pytest.mark.parametrize("constant", [3.0, 3.3, -4.0, 9.0])
def test_no_constant_is_a_wrap(constant: float) -> None:
    values = samples(6, *CLEAN)
    found = {"shape": values["shape"], "phase": np.where(values["shape"] > 0, values["phase"] + constant, 0)}
    assert measures(values, found)["wraps"].max() == 0


def test_a_right_pattern_on_the_coarse_grid_alone_is_no_right_object() -> None:
    """Any phase of a pattern sampled once gives an object that fills the frame: the finest one tells."""
    values = samples(4, *CLEAN)
    turns = np.random.default_rng(0).uniform(0, 2 * np.pi, values["amplitude"].shape)
    wave = inverse_far_field(values["amplitude"] * np.exp(1j * turns))
    assert measures(values, {"shape": abs(wave), "phase": np.angle(wave)})["chi2"].min() > 0.1


def test_what_the_detector_does_not_see_has_no_misfit_and_does_no_harm() -> None:
    recipe = (*CLEAN, "displacement.span=0:2", "outline.size=0.7:1", "detector.gaps.module=24")
    values = samples(12, *recipe)
    values |= cdi.constants(make_settings(cdi.Recipe, {}, [*recipe]), Streams(0, "dataset", 0))
    assert measures(values, values)["chi2"].max() < 1e-10
    settings = {"cycles": 6, "starts": 1, "beta": 0.9, "threshold": 0.1}
    with_gaps = measures(values, METHODS["hio"].invert(TASK, settings, values))["wave_error"]
    blind = {name: array for name, array in values.items() if not name.startswith("seen")}
    without = measures(values, METHODS["hio"].invert(TASK, settings, blind))["wave_error"]
    assert np.median(with_gaps) < 0.25
    assert np.median(with_gaps) < 0.8 * np.median(without)
    guess = {name: values[name] for name in ("shape", "phase")}
    kept, lost = (measures(values, finish(v, guess, threshold=0.1, refine=20))["wave_error"] for v in (values, blind))
    assert np.median(kept) < 0.8 * np.median(lost)


@pytest.mark.parametrize("threshold", METHODS["hio"].settings["threshold"].values)
def test_behind_a_beamstop_iterations_find_what_they_find_without(threshold: float) -> None:
    """They begin with the support of the filled pattern: with that of the dark one, or the frame, most are lost."""
    recipe = (*CLEAN, "displacement.span=0:2", "detector.beamstop=3", "detector.gaps.module=16", "detector.beside=0.5")
    values = samples(12, *recipe)
    whole = samples(12, *recipe[:2])
    values |= cdi.constants(make_settings(cdi.Recipe, {}, [*recipe]), Streams(0, "dataset", 0))
    settings = {"cycles": 6, "starts": 1, "beta": 0.9, "threshold": threshold}
    stopped, seen = (
        measures(fields, METHODS["hio"].invert(TASK, settings, fields))["wave_error"] for fields in (values, whole)
    )
    assert np.median(stopped) < 1.4 * np.median(seen)


def test_of_several_starts_the_nearest_pattern_is_kept_and_the_object_is_canonical() -> None:
    values = samples(8, *CLEAN)
    settings = {"cycles": 1, "beta": 0.9, "threshold": 0.1}
    one, three = (METHODS["hio"].invert(TASK, settings | {"starts": n}, values) for n in (1, 3))
    misfits = [measures(values, found)["chi2"] for found in (one, three)]
    assert (misfits[1] <= misfits[0] * 1.05 + 1e-6).all()
    assert misfits[1].mean() < misfits[0].mean()
    again = canonical_form(three["shape"], three["phase"])
    assert np.allclose(again[0], three["shape"])
    assert np.allclose(again[0] * np.exp(1j * again[1]), three["shape"] * np.exp(1j * three["phase"]), atol=1e-4)


def test_every_symmetry_leaves_objects_canonical() -> None:
    values = samples(48)
    for symmetry in find_learn("cdi").symmetries:
        axis = {"flip_y": 1, "flip_x": 2}[str(symmetry)]
        turned = [np.roll(np.flip(values[name], axis), 1, axis) for name in ("shape", "phase")]
        again = canonical_form(*turned)
        kept = [np.allclose(a, b, atol=1e-4) for a, b in zip(again[0], turned[0], strict=True)]
        assert np.mean(kept) > 0.9  # those that had to be kept off the border may lie one pixel aside


def test_heads_at_known_outputs() -> None:
    heads = find_learn("cdi").heads
    output = jnp.asarray([[[[0.0, 2.0]]]])
    assert heads["sigmoid"].targets(output)["shape"][0, 0, 0] == 0.5
    expected = np.pi * (2 / (1 + np.exp(-2)) - 1)
    assert float(heads["sigmoid"].targets(output)["phase"][0, 0, 0]) == pytest.approx(expected, rel=1e-6)
    assert float(heads["tanh"].targets(output)["phase"][0, 0, 0]) == pytest.approx(np.pi * np.tanh(2), rel=1e-6)


def test_a_view_is_the_far_field_three_decades_down() -> None:
    values = samples(2, *CLEAN)
    assert np.allclose(diffraction(values), values["amplitude"], atol=1e-4)
    (view,) = REPORT.views
    shown = [_target_picture(view, {name: values[name][i : i + 1] for name in ("shape", "phase")}) for i in range(2)]
    assert np.ptp(shown[0]) == pytest.approx(3, abs=1e-6)
    assert 10 ** shown[1].max() == pytest.approx(values["amplitude"][1].max(), rel=1e-4)


def test_scores_are_their_definitions() -> None:
    values = samples(3, *CLEAN)
    rng = np.random.default_rng(0)
    found = {
        "shape": (values["shape"] * rng.uniform(0.7, 1.2, values["shape"].shape)).astype(np.float32),
        "phase": (values["phase"] + np.where(values["shape"] > 0.5, 2 * np.pi, 0)).astype(np.float32),
    }
    errors = measures(values, found)
    for i in range(3):
        exact = pattern(values["shape"][i], values["phase"][i], 64)
        guess = pattern(found["shape"][i], found["phase"][i], 64)
        assert errors["chi2"][i] == pytest.approx(((exact - guess) ** 2).sum() / (exact**2).sum(), rel=1e-4)
        inside, predicted = values["shape"][i] >= 0.1, found["shape"][i] >= 0.1
        assert errors["iou"][i] == pytest.approx((inside & predicted).sum() / (inside | predicted).sum())
        raised = (values["shape"][i] > 0.5)[inside & predicted].mean()
        assert errors["wraps"][i] == pytest.approx(min(raised, 1 - raised), abs=0.02)
    assert errors["phase_error"].max() < 0.05


def poor(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A prediction with errors everywhere, and nothing where the exact object has less than 0.5."""
    rng = np.random.default_rng(0)
    there = values["shape"] >= 0.5
    shape, phase = (values[name] + 0.3 * rng.standard_normal(there.shape) for name in ("shape", "phase"))
    return {"shape": np.where(there, abs(shape) + 0.2, 0), "phase": np.where(there, phase, 0)}


@pytest.mark.parametrize("constant", [1.0, 2.0, 3.1, -7.0])
@pytest.mark.parametrize("everywhere", [True, False])
def test_no_constant_of_truth_or_prediction_changes_a_score(constant: float, everywhere: bool) -> None:
    values = samples(4, *CLEAN)
    exact, found = ({name: v[name].astype(float) for name in ("shape", "phase")} for v in (values, poor(values)))
    expected = measures(values | exact, found)

    def moved(wave: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return wave | {"phase": np.where(everywhere | (wave["shape"] > 0), wave["phase"] + constant, 0)}

    for pair in ((moved(exact), found), (exact, moved(found)), (moved(exact), moved(found))):
        for name, scores in measures(values | pair[0], pair[1]).items():
            np.testing.assert_allclose(scores, expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("ambiguities", [("shift",), ("twin",), ("constant", "shift", "twin")], ids="-".join)
def test_no_ambiguity_changes_a_score_of_the_object(ambiguities: tuple[str, ...]) -> None:
    values = samples(4, *CLEAN)
    found = {name: array.astype(float) for name, array in poor(values).items()}
    moved = dict(zip(found, planted((found["shape"], found["phase"]), ambiguities, seed=2), strict=True))
    expected, scores = (measures(values, wave) for wave in (found, moved))
    for name in OBJECT_SCORES:
        np.testing.assert_allclose(scores[name], expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_phase_error_by_hand() -> None:
    """Three pixels, one of them not predicted: errors of +-0.2 rad in the others, IoU 2/3."""
    row, phase = np.array([[[1.0, 1, 1], [0, 0, 0]]]), np.array([[[0.0, 0, 2], [0, 0, 0]]])
    fields = {"shape": row, "phase": phase, "amplitude": np.ones((1, 2, 3))}
    found = measures(fields, {"shape": row * [1, 1, 0], "phase": np.array([[[0.2, -0.2, 0], [0, 0, 0]]])})
    assert found["phase_error"] == pytest.approx(0.2)
    assert found["iou"] == pytest.approx(2 / 3)


def test_who_predicts_nothing_has_the_worst_scores() -> None:
    values = samples(2, *CLEAN)
    errors = measures(values, {name: 0 * values[name] for name in ("shape", "phase")})
    assert errors["phase_error"] == pytest.approx(np.pi)
    assert [errors[name].tolist() for name in ("wave_error", "iou", "wraps", "chi2")] == [
        [1, 1],
        [0, 0],
        [1, 1],
        [1, 1],
    ]


def test_what_is_no_number_has_no_score() -> None:
    values = samples(2)
    found = {name: values[name].copy() for name in ("shape", "phase")}
    found["phase"][1, 5, 5] = np.nan
    errors = measures(values, found)
    assert all(np.isfinite(scores[0]) for scores in errors.values())
    assert all(np.isnan(scores[1]) for scores in errors.values())


def test_a_network_ends_where_its_shape_does_and_iterations_go_on_from_it() -> None:
    values = samples(6, *CLEAN, "displacement.span=0:2")
    rng = np.random.default_rng(0)
    guess = {
        "shape": np.clip(values["shape"] + 0.04 * rng.standard_normal(values["shape"].shape), 0.01, 1),
        "phase": values["phase"] + 0.4 * rng.standard_normal(values["shape"].shape),
    }
    bounded = finish(values, guess, threshold=0.3, refine=0)
    assert (bounded["phase"][guess["shape"] < 0.3] == 0).all()
    assert np.array_equal(bounded["shape"] > 0, guess["shape"] >= 0.3)
    before, after = (measures(values, finish(values, guess, threshold=0.1, refine=n)) for n in (0, 50))
    assert np.median(after["wave_error"]) < 0.5 * np.median(before["wave_error"])
    assert np.median(after["chi2"]) < 0.1 * np.median(before["chi2"])


def test_refining_is_for_networks_and_for_tasks_that_have_it(generate: Command, infer: Command) -> None:
    generate("--task", "cdi", "--n", 2, "--scheduler", "synchronous", "--set", "image_size=16")
    refused(infer("--method", "hio", "--data", "cdi.zarr", "--refine", 5), "--refine", "--model")
    assert set(FINISH.settings) == {"threshold", "refine"}


@pytest.mark.usefixtures("quick")
def test_a_network_is_trained_finished_and_scored(
    store: Path, train: Command, infer: Command, evaluate: Command
) -> None:
    """Seeds' recipe and ours; from the command line, to a report with views of diffraction."""
    small: Any = ("--set", "model.filters=2,2")
    assert train("--data", store, "--recipe", "published", "--epochs", 1, "--out", "seed", *small)[0] == 0
    for name, extra in (("plain", ()), ("refined", ("--refine", 3)), ("bounded", ("--set", "threshold=0.9"))):
        command = ("--model", "seed", "--data", store, "--split", "validation", "--name", name, "--out", f"{name}.zarr")
        assert infer(*command, *extra)[0] == 0
    code, out, _ = evaluate("--data", store, "--predictions", "plain.zarr", "refined.zarr", "bounded.zarr")
    assert code == 0
    assert "wave_error" in out
    assert "nrms" not in out
    page = Path("report/report.html").read_text()
    assert "diffraction" in page
    assert "chi2 of all samples" in page
    refused(infer("--model", "seed", "--data", store, "--split", "train", "--set", "thresh=1"), "threshold")


@pytest.mark.usefixtures("quick")
def test_what_layers_give_is_drawn(store: Path, train: Command, infer: Command) -> None:
    small = ("--epochs", 1, "--out", "run", "--set", "model.encoder=2,2,2")
    assert train("--data", store, "--model", "ptychonn", *small)[0] == 0
    command = ("--model", "run", "--data", store, "--split", "train", "--activations", "maps.png")
    code, out, _ = infer(*command)
    assert code == 0
    assert "encoder" in out
    assert Path("maps.png").read_bytes()[:4] == b"\x89PNG"
    refused(infer(*command, "--layers", "encode"), "--layers encode", "no such layer")
    refused(infer("--method", "hio", "--data", store, "--activations", "a.png"), "--activations", "--model")
    refused(infer(*command[:-1], "maps"), "--activations maps", ".png")
    refused(infer(*command, "--refine", 3), "--refine 3: has no effect with --activations")
    refused(infer(*command[:-2], "--layers", "a"), "--layers a", "--activations")
    assert train("--data", store, "--model", "mlp", "--epochs", 1, "--out", "dense")[0] == 0
    refused(infer("--model", "dense", *command[2:]), "--activations", "no layers that give images")


@pytest.mark.usefixtures("quick")
def test_what_layers_give_is_what_they_compute(store: Path, train: Command) -> None:
    """The last one of each decoder is the network's output; means over channels."""
    train("--data", store, "--model", "ptychonn", "--epochs", 1, "--out", "run", "--set", "model.encoder=2,2,2")
    trained = load_model(Path("run"))
    fields = {"amplitude": columns(store)["amplitude"][:3]}
    found = activations(trained, fields)
    output, _, _ = trained.network(trained.parameters, trained.rest, trained.features.encode(fields))
    heads = [values for name, values in found.items() if name.endswith("head")]
    assert np.allclose(np.stack(heads, axis=-1), output, atol=1e-6)
    first = next(iter(found.values()))
    assert first.shape == (3, 16, 16)


@pytest.mark.parametrize("setting", ["cycles=-1", "starts=0", "starts=1.7", "threshold=-1", "beta=x"])
def test_settings_that_mean_nothing_are_refused_before_anything_is_written(
    setting: str, generate: Command, infer: Command
) -> None:
    generate("--task", "cdi", "--n", 2, "--test", 2, "--scheduler", "synchronous", "--set", "image_size=16")
    refused(infer("--method", "hio", "--data", "cdi.zarr", "--set", setting, "--out", "p.zarr"), setting.split("=")[0])
    tiles = ("--method", "hio", "--data", "cdi.zarr", "--set", "threshold=0.1", "--tile", 8, "--out", "p.zarr")
    refused(infer(*tiles), "--tile 8: hio predicts nothing on the grid of its input")
    assert not Path("p.zarr").exists()
