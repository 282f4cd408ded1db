"""Scores against their formulas, against skimage, and in the cases where the answer is known beforehand."""

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from physics.ring_correlation import ring_correlation
from schemas.grids import Freedom, Grid
from schemas.scores import IMAGE_SCORES, score, score_and_correlation, summarise
from schemas.task import Field, Task
from schemas.tasks.tie import TASK as TIE
from tests.test_ambiguities import WINDOWS, noise, planted, ramp, soft, task_of, times
from tests.test_waves import task as wave_task
from tests.test_waves import waves

SHAPES = [(33,), (64,), (32, 48), (21, 27), (64, 33), (12, 15, 13)]

type Shape = tuple[int, ...]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
windows = pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))
RAD: Task = task_of(("constant",), 2, "rad")


def images(shape: Shape, samples: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((samples, *shape))


def scored(
    prediction: Any, truth: Any, window: Any = None, ambiguities: tuple[Freedom, ...] = ("constant",)
) -> dict[str, Any]:
    return dict(score(task_of(ambiguities, truth.ndim - 1, "rad"), {"t0": prediction}, {"t0": truth}, window))


def radius(shape: Shape) -> Any:
    return np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))


# --- differences


@windows
@shapes
def test_nrms_of_nothing_and_of_twice_the_truth_is_one(shape: Shape, window: Any) -> None:
    truth = times(window(shape), {"t0": images(shape)})["t0"]
    for prediction in (0 * truth, 2 * truth):
        np.testing.assert_allclose(scored(prediction, truth, window(shape))["nrms"], 1, rtol=1e-12)
    np.testing.assert_array_equal(scored(truth, truth, window(shape))["nrms"], 0)


def test_the_range_of_values_may_be_given() -> None:
    """psnr grows with its square, ssim is that of this range, and nothing else changes."""
    truth, prediction = images((24, 20), seed=0), images((24, 20), seed=1)
    task = task_of((), 2, "rad")
    own, _, _ = score_and_correlation(task, {"t0": prediction}, {"t0": truth})
    wide, _, _ = score_and_correlation(task, {"t0": prediction}, {"t0": truth}, data_range=100.0)
    spans = np.ptp(truth, axis=(1, 2))
    np.testing.assert_allclose(wide["psnr"] - own["psnr"], 20 * np.log10(100 / spans), rtol=1e-9)
    assert (wide["ssim"] > own["ssim"]).all()
    for name in IMAGE_SCORES.keys() - {"psnr", "ssim"}:
        np.testing.assert_array_equal(wide[name], own[name])


@windows
@shapes
def test_the_formulas(shape: Shape, window: Any) -> None:
    """rms and psnr over pixels inside; an added constant changes nrms alone."""
    w = window(shape)
    inside = np.ones(shape, bool) if w is None else w > 0
    truth, prediction = (times(w, {"t0": 5 + images(shape, seed=seed)})["t0"] for seed in (0, 1))
    found = scored(prediction, truth, w, ())
    for i in range(3):
        p, t = prediction[i][inside], truth[i][inside]
        assert found["nrms"][i] == pytest.approx(np.sqrt(sum((t - p) ** 2) / sum(t**2)), rel=1e-12)
        assert found["rms"][i] == pytest.approx(np.sqrt(np.mean((t - p) ** 2)), rel=1e-12)
        direct = peak_signal_noise_ratio(t, p, data_range=t.max() - t.min())  # type: ignore[no-untyped-call]
        assert found["psnr"][i] == pytest.approx(direct, rel=1e-12)
    np.testing.assert_array_equal(found["nrms"], found["nrms_aligned"])
    once = scored(prediction, truth, w)
    assert np.all(once["nrms_aligned"] <= once["nrms"])
    more = scored(prediction + 5 * (1 if w is None else w), truth, w)
    assert np.all(more["nrms"] > 1.1 * once["nrms"])  # offset kept
    for metric in IMAGE_SCORES.keys() - {"nrms"}:
        np.testing.assert_allclose(more[metric], once[metric], rtol=1e-9, err_msg=metric)


@pytest.mark.parametrize("ambiguities", [("constant",), ("ramp",), ("shift",), ("twin", "ramp", "shift")], ids="-".join)
@shapes
def test_the_ambiguities_costs_nothing_after_alignment(shape: Shape, ambiguities: tuple[Freedom, ...]) -> None:
    task = task_of(ambiguities, len(shape))
    truth = noise(task, shape)
    found = score(task, planted(task, truth, ramp(task, shape)), truth)
    for prefix in ("", "t1."):
        assert np.all(found[prefix + "nrms_aligned"] < 1e-12)
        assert np.all(found[prefix + "psnr"] > 250)
        np.testing.assert_allclose(found[prefix + "ssim"], 1, rtol=1e-12)
        np.testing.assert_array_equal(found[prefix + "frc"], 0.5)
    assert np.any(found["nrms"] > 0.1)


@pytest.mark.parametrize("constant", [1.0, 2.0, 3.1, -7.0])
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_wave_has_no_phase_where_its_modulus_is_0(constant: float, everywhere: bool) -> None:
    """After alignment no score depends on a constant of truth or prediction, even where nothing is predicted."""
    task, names, rng = wave_task("constant", "shift", "twin"), ("shape", "phase"), np.random.default_rng(0)
    exact = waves((24, 33))
    there = rng.random(exact[0].shape) < 0.7
    guess = exact[0] * there, np.where(there, exact[1] + 0.3 * rng.standard_normal(there.shape), 0)

    def scores(*moves: float) -> dict[str, Any]:
        rows = [
            dict(zip(names, (m, np.where(everywhere | (m > 0), p + c, 0)), strict=True))
            for (m, p), c in zip((guess, exact), moves, strict=True)
        ]
        return dict(score(task, rows[0], rows[1]))

    expected = scores(0, 0)
    for moves in ((constant, 0), (0, constant), (constant, constant)):
        for key, values in scores(*moves).items():
            if not key.endswith("nrms"):  # as published, the constant counts
                np.testing.assert_allclose(values, expected[key], rtol=1e-7, err_msg=key)
    assert (expected["nrms_aligned"] > 0.1).all()


# --- structural similarity


@shapes
def test_structural_similarity_is_that_of_skimage(shape: Shape) -> None:
    truth = images(shape)
    prediction = truth + images(shape, seed=1)
    found = scored(prediction, truth, None, ())["ssim"]
    for i in range(3):
        options = {"data_range": np.ptp(truth[i]), "gaussian_weights": True, "use_sample_covariance": False}
        direct = structural_similarity(prediction[i], truth[i], **options)  # type: ignore[no-untyped-call]
        assert found[i] == pytest.approx(direct, rel=1e-12)


def test_structural_similarity_inside_a_window() -> None:
    """What alignment moves out of the window is cut off, and with it its influence on pixels inside."""
    truth, w = images((40, 30)) * soft((40, 30)), soft((40, 30))
    moved = (np.roll(truth, (4, 3), (1, 2)) + 0.3 * images((40, 30), seed=1)) * (w > 0)
    prediction = np.roll(moved, (-4, -3), (1, 2)) * (w > 0)
    options = {"gaussian_weights": True, "use_sample_covariance": False, "full": True}
    inside = w[5:-5, 5:-5] > 0
    for i, found in enumerate(scored(moved, truth, w, ("shift",))["ssim"]):
        span = np.ptp(truth[i][w > 0])
        _, full = structural_similarity(prediction[i], truth[i], data_range=span, **options)  # type: ignore[no-untyped-call]
        assert found == pytest.approx(full[5:-5, 5:-5][inside].mean(), rel=1e-12)


@pytest.mark.parametrize("shape", [(10,), (10, 40), (30, 1)], ids=str)
def test_structural_similarity_of_a_small_image_is_undefined(shape: Shape) -> None:
    found = scored(images(shape), images(shape, seed=1))
    assert np.isnan(found["ssim"]).all()
    assert np.isfinite(found["frc"]).all()


# --- ring correlation


@windows
@shapes
def test_identical_images_correlate_fully(shape: Shape, window: Any) -> None:
    truth = times(window(shape), {"t0": images(shape)})["t0"]
    frequency, correlation = ring_correlation(truth, truth, window(shape))
    np.testing.assert_allclose(correlation, 1, rtol=1e-12)
    np.testing.assert_allclose(ring_correlation(-3 * truth, truth, window(shape))[1], -1, rtol=1e-12)
    np.testing.assert_allclose(frequency, np.arange(1, min(shape) // 2 + 1) / min(shape), rtol=1e-12)
    np.testing.assert_array_equal(scored(truth, truth, window(shape))["frc"], 0.5)


@pytest.mark.parametrize("shape", [(64, 48), (31, 64), (21, 17, 19)], ids=str)
def test_noise_correlates_as_the_root_of_the_number_of_pixels(shape: Shape) -> None:
    """Variance 1 / n of n pixels in a ring: independent halves (-f repeats f) make it 1 / (n/2) / 2."""
    frequency, correlation = ring_correlation(images(shape, 400), images(shape, 400, seed=1))
    n = [
        np.sum((radius(shape) >= f - 0.5 * frequency[0]) & (radius(shape) < f + 0.5 * frequency[0])) for f in frequency
    ]
    np.testing.assert_allclose(np.mean(correlation**2, axis=0) * n, 1, atol=0.35)
    assert np.mean(np.mean(correlation**2, axis=0) * n) == pytest.approx(1, abs=0.06)
    assert np.all(abs(correlation.mean(axis=0)) < 5 / np.sqrt(400 * np.array(n)))


@shapes
def test_the_correlation_of_known_spectra(shape: Shape) -> None:
    """p = t + a u, u orthogonal to t and as strong in one ring: 1 / sqrt(1 + a^2) there; 0 in an empty ring."""
    n = min(shape)
    axis = shape.index(n)
    x = 2 * np.pi * np.indices(shape)[axis] / n
    t, u = np.cos(3 * x) + np.cos(4 * x), np.sin(3 * x)
    _, correlation = ring_correlation((t + 2 * u)[None], t[None])
    expected = np.zeros(n // 2)
    expected[2:4] = 1 / math.sqrt(5), 1
    np.testing.assert_allclose(correlation, expected[None], atol=1e-12)


@pytest.mark.parametrize("shape", [(64, 48), (33, 64), (80,), (21, 27, 24)], ids=str)
@pytest.mark.parametrize("cut", [0.13, 0.31])
def test_a_low_passed_truth_is_resolved_up_to_the_cutoff(shape: Shape, cut: float) -> None:
    truth = images(shape)
    axes = tuple(range(1, truth.ndim))
    prediction = np.fft.ifftn(np.fft.fftn(truth, axes=axes) * (radius(shape) <= cut), axes=axes).real
    found = scored(prediction, truth)["frc"]
    np.testing.assert_allclose(found, cut, atol=1.5 / min(shape))


def test_the_crossing_is_interpolated_between_rings() -> None:
    """1 in ring 2, then 0: 1/2 is met half of the way; nothing at all: half of the way to ring 1."""
    x = 2 * np.pi * np.arange(40) / 40
    truth = np.cos(x) + np.cos(2 * x) + np.cos(3 * x)
    prediction = np.cos(x) + np.cos(2 * x) + np.sin(3 * x)
    found = scored(np.array([prediction, 0 * x]), np.array([truth, truth]))["frc"]
    np.testing.assert_allclose(found, [(2 + 1 / 2) / 40, 1 / 2 / 40], rtol=1e-9)


# --- windows, batches, bad values


@pytest.mark.parametrize("ambiguities", [(), ("constant", "ramp", "shift", "twin")], ids="-".join)
def test_pixels_outside_the_window_never_matter(ambiguities: tuple[Freedom, ...]) -> None:
    truth, w = images((32, 27)), soft((32, 27))
    prediction = images((32, 27), seed=1)
    wild = scored(np.where(w == 0, np.inf, prediction), np.where(w == 0, 9, truth), w, ambiguities)
    for metric, values in scored(prediction * (w > 0), truth * (w > 0), w, ambiguities).items():
        np.testing.assert_array_equal(wild[metric], values)
        assert np.isfinite(values).all()


@shapes
def test_bits_do_not_depend_on_the_batch_or_its_layout(shape: Shape) -> None:
    task, w = task_of(("constant", "shift"), len(shape)), soft(shape)
    truth, prediction = noise(task, shape, 5), noise(task, shape, 5, seed=1)
    whole = score(task, {n: np.asfortranarray(v) for n, v in prediction.items()}, truth, w)
    for i in range(5):
        alone = score(task, {n: v[[i]] for n, v in prediction.items()}, {n: v[[i]] for n, v in truth.items()}, w)
        for key, values in alone.items():
            assert values.shape == (1,)
            assert values.dtype == np.float64
            np.testing.assert_array_equal(values[0], whole[key][i])


def test_what_is_undefined_is_nan() -> None:
    truth = images((16, 18), 6)
    truth[0], truth[1] = 0, 0.1
    prediction = images((16, 18), 6, seed=1)
    prediction[2, 3, 4], prediction[3, 0, 0], prediction[4] = np.nan, -np.inf, 1e200
    found = scored(prediction, truth)
    undefined = {metric: list(np.flatnonzero(np.isnan(values))) for metric, values in found.items()}
    expected = {m: [0, 1, 2, 3] for m in ("psnr", "ssim", "frc")}
    expected |= {"nrms": [0, 2, 3], "nrms_aligned": [0, 2, 3], "rms": [2, 3]}
    assert {m: [i for i in u if i != 4] for m, u in undefined.items()} == expected
    assert found["nrms"][4] == np.inf
    assert scored(truth, truth)["psnr"][5] == np.inf
    nothing = scored(prediction[5:], truth[5:], np.zeros((16, 18)))
    assert all(np.isnan(values).all() for values in nothing.values())
    assert {values.shape for values in scored(prediction[:0], truth[:0]).values()} == {(0,)}
    flat = np.full((1, 16, 18), 0.1) * soft((16, 18))
    assert np.isnan(scored(prediction[5:], flat, soft((16, 18)))["frc"]).all()


def test_an_image_has_the_same_scores_and_curve_beside_a_mask() -> None:
    """The window counts for it as it does for an image alone."""
    w = soft((40, 30))
    truth, prediction = images((40, 30)) * w, images((40, 30), seed=1) * w
    shape = ("sample", "y", "x")
    image = Field("image", shape, "float32", "1", "target", "")
    mask = Field("mask", shape, "uint8", "1", "target", "", classes=("void", "full"))
    alone, both = (
        Task(name="two", version="1.0", about="", formula="", fields=fields, grids=(Grid(("y", "x")),))
        for fields in ((image,), (image, mask))
    )
    inside = {"mask": (truth > 0).astype(np.uint8)}
    expected, *curve = score_and_correlation(alone, {"image": prediction}, {"image": truth}, w)
    found, *other = score_and_correlation(both, {"image": prediction} | inside, {"image": truth} | inside, w)
    assert {key: values.tolist() for key, values in found.items() if "." not in key} == {
        key: values.tolist() for key, values in expected.items()
    }
    np.testing.assert_array_equal(found["mask.mcc"], 1)
    for ours, theirs in zip(other, curve, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- names and summaries


def test_keys_units_and_dtypes() -> None:
    shape = ("sample", "y", "x")
    fields = (Field("mask", shape, "uint8", "1", "target", ""), Field("height", shape, "float32", "nm", "target", ""))
    task = Task(name="two", version="1.0", about="", formula="", fields=fields, grids=(Grid(("y", "x")),))
    mask = (images((12, 14)) > 0).astype(np.uint8)
    found = score(task, {"mask": 20 * (1 - mask), "height": mask}, {"mask": 20 * mask, "height": images((12, 14))})
    assert list(found) == [*IMAGE_SCORES, *(f"height.{metric}" for metric in IMAGE_SCORES)]
    np.testing.assert_array_equal(found["rms"], 20)  # integers do not wrap
    units = {key: row["unit"] for key, row in summarise(task, found).items()}
    assert (units["rms"], units["height.rms"], units["height.psnr"]) == ("1", "nm", "dB")
    assert score(task, {"height": mask}, {"height": mask}).keys() == {f"height.{metric}" for metric in IMAGE_SCORES}


@pytest.mark.parametrize(("units", "square"), [("1", "1"), ("nm", "nm^2"), ("1/pixel", "(1/pixel)^2")])
def test_the_unit_of_a_squared_error_is_the_square_of_that_of_the_field(units: str, square: str) -> None:
    field = Field("height", ("sample",), "float32", units, "target", "")
    task = Task(name="one", version="1.0", about="", formula="", fields=(field,))
    found = summarise(task, score(task, {"height": np.ones(3)}, {"height": np.zeros(3)}))
    assert {key: one["unit"] for key, one in found.items()} == {"absolute_error": units, "squared_error": square}


def test_a_summary_is_exact_and_fit_for_json() -> None:
    values = {"rms": np.array([1e50, 1e25, 5.0, np.nan, -1e50, -1e25, np.inf]), "psnr": np.array([np.nan])}
    found = summarise(TIE, values)
    assert found["rms"]["mean"] == 1
    assert (found["rms"]["n"], found["rms"]["unit"]) == (5, "rad")
    assert found["psnr"] == {"mean": None, "std": None, "n": 0, "unit": "dB"}
    many = images((1000,), 1)[0]
    one = summarise(TIE, {"nrms": many})["nrms"]
    assert one == summarise(TIE, {"nrms": many[::-1]})["nrms"]
    assert one["std"] == pytest.approx(np.std(many), rel=1e-12)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_skimage_waits_until_it_is_needed() -> None:
    code = "import sys, schemas.scores; assert not {'skimage', 'jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
