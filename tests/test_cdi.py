"""The task `cdi`: patterns follow from objects, what cannot be seen is agreed upon, counts are counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from generators.engine import pipeline, shards
from generators.instruments.detectors.blind_pixels import Detector, Gaps
from generators.random_streams import Streams
from generators.tasks import cdi
from physics.wave_ambiguities import canonical_form
from schemas.runtime.settings import make_settings

from .conftest import Command, refused

SAMPLES = {"train": 64, "validation": 0, "test": 0}
CLEAN = ("noise=0",)


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    made = make_settings(cdi.Recipe, cdi.RECIPES[recipe].model_dump(mode="json"), settings)
    return shards.make(pipeline.plan("cdi", made.bind(None), 0, SAMPLES, Path("x.zarr")), "train", range(n))


def pattern(shape: np.ndarray, phase: np.ndarray, size: int) -> Any:
    """The sums of the definition, written out: amplitude at size frequencies along each axis, q = 0 at size // 2."""
    n = shape.shape[-1]
    place, frequency = np.arange(n) - n // 2, (np.arange(size) - size // 2) / size
    kernel = np.exp(-2j * np.pi * frequency[:, None] * place)
    return abs(kernel @ (shape.astype(float) * np.exp(1j * phase.astype(float))) @ kernel.T)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("oversampling", [1, 2])
@pytest.mark.parametrize("displacement", ["gratings", "defects", "random"])
def test_amplitudes_follow_from_the_stored_object(
    generate: Command, size: int, oversampling: int, displacement: str
) -> None:
    settings = (*CLEAN, f"image_size={size}", f"oversampling={oversampling}", f"displacement.kind={displacement}")
    assert generate("--task", "cdi", "--n", 3, "--set", *settings, "outline.kind=mixed", "edge=0.5")[0] == 0
    data = xr.open_zarr("cdi.zarr/train").load()
    for i in range(3):
        s = data.isel(sample=i)
        exact = pattern(s["shape"].values, s.phase.values, size)
        assert np.max(abs(s.amplitude.values - exact)) < 2e-6 * exact.max()
        if oversampling == 1:
            exact = pattern(s["shape"].values, s.phase.values, 2 * size)
            assert np.max(abs(s.amplitude_oversampled.values - exact)) < 2e-6 * exact.max()
        assert float(s["shape"].max()) > 0.9
    assert float(data.phase.std()) > 0.1
    assert ("amplitude_oversampled" in data) == (oversampling == 1)


def test_an_oversampled_object_lies_in_the_middle_half() -> None:
    values = samples(32, "oversampling=2", "image_size=64", "canonical=false", "outline.size=1")
    assert not values["shape"][:, :16].any()
    assert not values["shape"][:, :, 48:].any()
    assert (values["shape"][:, 17:48, 17:48].max(axis=(1, 2)) > 0.9).all()


def test_without_a_phase_patterns_are_symmetric_and_without_symmetry_they_are_not() -> None:
    """Friedel's law."""
    flat, bent = (samples(4, *CLEAN, f"displacement.span={span}")["amplitude"] for span in (0, 6))
    for values, symmetric in ((flat, True), (bent, False)):
        turned = values[:, -np.arange(32) % 32][:, :, -np.arange(32) % 32]
        assert np.allclose(turned, values, atol=1e-4) == symmetric


def moved(values: np.ndarray, y: int, x: int) -> np.ndarray:
    return np.roll(values, (y, x), (-2, -1))


KINDS = ("outline.kind=hull", "outline.kind=bitten", "outline.kind=faceted")


def wave(values: Any) -> Any:
    return values[0] * np.exp(1j * values[1].astype(float))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("displacement", ["gratings", "defects"])
@pytest.mark.parametrize("size", [48, 47])
def test_the_canonical_object_is_that_of_its_pattern(kind: str, displacement: str, size: int) -> None:
    """Moved, turned into the twin, with another constant, wrapped: the shape bit for bit, the wave to rounding."""
    settings = ("canonical=false", f"image_size={size}", "outline.size=0.2:0.5", "outline.regular=1")
    found = samples(24, kind, f"displacement.kind={displacement}", *settings)
    shape, phase = found["shape"], found["phase"]
    exact = canonical_form(shape, phase)
    assert np.array_equal(exact[0], found["shape_canonical"])
    assert np.array_equal(exact[1], found["phase_canonical"])
    for y, x, constant in ((3, -5, 0.7), (-4, 2, 2.5)):
        turned = np.angle(np.exp(1j * (phase.astype(float) + constant)))
        there = moved(shape, y, x), moved(np.where(shape > 0, turned, 0), y, x)
        twin = there[0][:, ::-1, ::-1], -there[1][:, ::-1, ::-1]
        for other in (there, twin):
            again = canonical_form(*other)
            assert np.array_equal(again[0], exact[0])
            assert np.allclose(wave(again), wave(exact), atol=1e-5)
    assert not np.array_equal(shape, exact[0])
    assert np.allclose(wave(canonical_form(*exact)), wave(exact), atol=1e-6)


def test_the_canonical_form_is_the_one_that_is_stated() -> None:
    """The long tail of a shape points to larger y; a phase rises outwards, whatever it was."""
    y, x = np.indices((33, 33)) - 16
    wedge = ((abs(x) <= (y + 10) / 2) & (abs(y) <= 9)).astype(np.float32)[None]
    flat = np.zeros_like(wedge)
    for shape in (wedge, wedge[:, ::-1]):
        found = canonical_form(shape, flat)[0][0]
        dy = np.arange(33) - (found.sum(axis=1) * np.arange(33)).sum() / found.sum()
        assert (found.sum(axis=1) * dy**3).sum() > 0
    disc = (np.hypot(y, x) < 8).astype(np.float32)[None]
    bowl = np.where(disc > 0, 0.01 * (y**2 + x**2), 0)
    for phase in (bowl, -bowl):
        found = canonical_form(disc, phase)[1][0]
        assert found[16, 16] < found[16, 22]  # rises outwards
        assert abs((disc * np.exp(1j * found)).sum().imag) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_which_twin_is_canonical_is_seldom_a_close_call(kind: str) -> None:
    """Two percent of noise on the modulus turn few: else networks would learn both answers."""
    values = samples(64, kind, "canonical=false")
    noise = 1 + 0.02 * np.random.default_rng(0).standard_normal(values["shape"].shape)
    first, other = (canonical_form((values["shape"] * f).astype(np.float32), values["phase"]) for f in (1, noise))
    same = [np.vdot(a, b).real / np.vdot(a, a).real for a, b in zip(wave(first), wave(other), strict=True)]
    assert (np.array(same) < 0.9).mean() < 0.1


def test_targets_are_canonical_and_stay_in_the_frame() -> None:
    values = samples(48)
    shape, phase = canonical_form(values["shape"], values["phase"])
    assert np.array_equal(shape, values["shape"])
    assert np.allclose(phase, values["phase"], atol=1e-5)
    y = (values["shape"].sum(axis=2) * np.arange(32)).sum(axis=1) / values["shape"].sum(axis=(1, 2))
    assert (abs(y - 16) <= 0.5 + 1e-5).mean() > 0.8  # others would cross the border
    assert abs(values["phase"]).max() <= np.float32(np.pi)
    rim = np.concatenate([values["shape"][:, [0, -1]].ravel(), values["shape"][:, :, [0, -1]].ravel()])
    assert rim.max() < 0.05


def test_an_empty_object_stays_empty() -> None:
    empty = np.zeros((1, 8, 9), np.float32)
    assert all(np.array_equal(values, empty) for values in canonical_form(empty, empty))


def test_counts_are_those_of_the_brightest_pixel() -> None:
    """Poisson: the variance of each count is its mean, 1 / s^2 at the peak; the coarse pattern is the fine one's."""
    clean, noisy = (samples(48, f"noise={s}")["amplitude_oversampled"] for s in (0, 0.05))
    peak = (clean**2).max(axis=(1, 2), keepdims=True)
    expected, counts = clean**2 / peak * 400, noisy**2 / peak * 400
    assert np.allclose(counts, np.rint(counts), atol=1e-3)
    bright = expected > 5
    pull = (counts - expected)[bright] / np.sqrt(expected[bright])
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert pull.var() == pytest.approx(1, abs=6 / np.sqrt(pull.size))
    assert np.array_equal(samples(4, "noise=0.05")["amplitude"], noisy[:4, ::2, ::2])


def test_a_wide_source_blurs_the_finest_pattern_and_keeps_its_counts() -> None:
    sharp, blurred = (samples(4, *CLEAN, f"coherence={width}")["amplitude_oversampled"] ** 2 for width in (0, 1.5))
    assert np.allclose(blurred.sum(axis=(1, 2)), sharp.sum(axis=(1, 2)), rtol=1e-4)
    assert (blurred.max(axis=(1, 2)) < 0.95 * sharp.max(axis=(1, 2))).all()
    y, x = (np.indices((64, 64)) + 32) % 64 - 32
    kernel = np.exp(-(y**2 + x**2) / (2 * 1.5**2))
    by_hand = np.fft.ifft2(np.fft.fft2(sharp) * np.fft.fft2(kernel / kernel.sum())).real
    assert np.allclose(blurred, by_hand, atol=1e-4 * sharp.max())


def test_what_the_detector_does_not_see_is_0_and_said() -> None:
    settings = ("detector.beamstop=2.5", "detector.gaps.module=20", "detector.gaps.width=3")
    made = make_settings(cdi.Recipe, {}, [*settings, *CLEAN])
    seen = made.detector.mask((64, 64)) if made.detector else np.ones((64, 64))
    whole, found = (samples(2, *CLEAN, *extra)["amplitude_oversampled"] for extra in ((), settings))
    assert np.array_equal(found, whole * seen)
    y, x = np.indices((64, 64)) - 32
    assert not seen[np.hypot(y, x) < 2.5].any()
    assert seen[32 - 10 : 32 + 10, 40:42].all()  # the module about the middle, beside the beamstop
    assert not seen[32 + 10 : 32 + 13].any()
    assert not seen[:, 32 - 13 : 32 - 10].any()
    constants = cdi.constants(made, Streams(0, "dataset", 0))
    assert np.array_equal(constants["seen"], constants["seen_oversampled"][::2, ::2])


def test_gaps_move_by_shares_of_a_module() -> None:
    seen = Detector(gaps=Gaps(module=20, width=4), beside=0.25).mask((64, 64))
    first = 32 - 10 + 5  # the module about q = 0 begins a quarter of its side later
    assert seen[32, first : first + 20].all()
    assert not seen[32, first - 4 : first].any()
    assert not seen[:, first + 20 : first + 24].any()


def test_a_detector_that_sees_nothing_is_refused(generate: Command) -> None:
    refused(generate("--task", "cdi", "--n", 1, "--set", "detector.beamstop=100"), "hide every pixel")


def test_an_edge_wider_than_the_frame_is_refused(generate: Command) -> None:
    refused(generate("--task", "cdi", "--n", 1, "--set", "edge=9"), "edge = 9 pixel", "at most 2", "lower the edge")


def test_the_seeds_objects_keep_their_place_and_their_phase_from_minus_pi_to_pi() -> None:
    values = samples(48, recipe="published")
    assert abs(values["phase"]).max() <= np.pi + 1e-6
    assert np.ptp(values["phase"], axis=(1, 2)).max() > 5
    away = np.argwhere(values["shape"] > 0.5)[:, 1:].mean(axis=0) - 16
    assert abs(away).max() < 2
    assert {"shape_canonical", "phase_canonical"} <= values.keys()


def test_every_sharp_object_is_there() -> None:
    """Hulls of three points are often slivers, which no pixel may see."""
    values = samples(64, *CLEAN, "outline.points=3", "edge=0")
    assert (values["shape"].max(axis=(1, 2)) == 1).all()
    assert values["amplitude"].any(axis=(1, 2)).all()
    assert not samples(64, *CLEAN, "outline.points=3", "edge=0", "narrowest=0")["shape"].any(axis=(1, 2)).all()
