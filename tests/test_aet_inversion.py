"""Classical methods for tilt series: laws of backgrounds, noise, slices, and how near they come to made-up images."""

import sys
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from inference.contract import Method, Value
from inference.tasks.aet import EDGE, METHODS, measure_edges
from physics.particle_mask import distance_to, find_particle
from schemas.runtime.errors import UserError
from schemas.task import find_task

from .made_up_images import count, disc_of_atoms, psnr, smooth_background

GRIDS = [(64, 48), (61, 50), (55, 55)]
DENOISERS = ("nlm", "bm3d")
BACKGROUNDS = [name for name in METHODS if name not in DENOISERS]
SMALL: Mapping[str, Mapping[str, Value]] = {  # settings for images of 50 pixels
    "constant": {"dilation": 4.0},
    "rolling_ball": {"radius": 30, "width": 0.0},
    "inpaint": {"dilation": 4.0, "width": 2.0},
    "highpass": {"width": 16.0},
    "nlm": {"dilation": 4.0},
    "bm3d": {"dilation": 4.0},
}


def settings_of(method: Method) -> dict[str, Value]:
    return {name: setting.values[len(setting.values) // 2] for name, setting in method.settings.items()}


def solve(
    name: str, noisy: np.ndarray, electrons: float | list[float] | list[list[float]] = 0.0, **settings: Value
) -> dict[str, np.ndarray]:
    """Invert series (sample, tilt, y, x), or images (tilt, y, x), which are one series."""
    series = np.asarray(noisy, np.float32).reshape(-1, *noisy.shape[-3:])
    fields = {"noisy": series, "electrons": np.broadcast_to(np.asarray(electrons, np.float32), series.shape[:2])}
    given = {**settings_of(METHODS[name]), **SMALL[name], **settings}
    found = METHODS[name].inverter(find_task("aet"), fields)(given)
    return {key: values.reshape(noisy.shape) for key, values in found.items()}


def particles(shape: tuple[int, int]) -> np.ndarray:
    return np.stack([disc_of_atoms(shape, diameter, 6.5)[0] for diameter in (26, 30, 22)])


@pytest.fixture(autouse=True)
def blurring_bm3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a mean of images and their neighbours in the place of the package, which is not installed."""

    def bm3d(image: np.ndarray, deviation: float) -> np.ndarray:
        assert 0.149 <= image.min() <= image.max() <= 0.851
        assert 0 < deviation < 1
        mean: np.ndarray = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
        return mean

    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d=bm3d))


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_described_and_their_grids_are_small(name: str) -> None:
    method, task = METHODS[name], find_task("aet")
    assert method.scope == "slice"
    assert np.prod([len(setting.values) for setting in method.settings.values()]) <= 12
    assert all(task[field].role in ("input", "parameter") for field in method.needs)
    assert "non-commercial" in METHODS["bm3d"].about


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("name", METHODS)
def test_images_do_not_depend_on_one_another(shape: tuple[int, int], name: str) -> None:
    """Nor on the length of the series."""
    noisy = np.stack([count(particles(shape) + 0.2, 50, seed) for seed in (1, 2)])
    electrons = [[50.0, 0.0, 40.0], [60.0, 50.0, 0.0]]
    found = solve(name, noisy, electrons)
    for sample, tilt in ((0, 2), (1, 0), (1, 2)):
        alone = solve(name, noisy[sample, [tilt]], electrons[sample][tilt])
        for key, values in alone.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values[0], found[key][sample, tilt])


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("name", METHODS)
def test_results_scale_with_the_image_and_backgrounds_move_with_it(shape: tuple[int, int], name: str) -> None:
    """The number of counted electrons is the same; a constant is background, unless noise is removed."""
    noisy = count(particles(shape) + 0.2, 50)
    found, scaled = solve(name, noisy, 50), solve(name, 8 * noisy, 50 / 8)
    for key, values in found.items():
        np.testing.assert_allclose(scaled[key], 8 * values, atol=2e-3)
    if name in BACKGROUNDS:
        moved = solve(name, noisy + 3, 50)
        np.testing.assert_allclose(moved["clean"], found["clean"], atol=1e-4)
        np.testing.assert_allclose(moved["background"], found["background"] + 3, atol=1e-4)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_what_is_subtracted_is_the_background(name: str) -> None:
    noisy = count(particles((61, 50)) + 0.2, 50)
    found = solve(name, noisy, 50, positive=0)
    np.testing.assert_allclose(found["clean"] + found["background"], noisy, atol=1e-6)
    assert found["clean"].min() < 0
    np.testing.assert_allclose(solve(name, noisy, 50)["clean"], np.maximum(found["clean"], 0), atol=1e-6)


@pytest.mark.parametrize("shape", GRIDS)
def test_constants_and_planes_are_found(shape: tuple[int, int]) -> None:
    """Up to the tails of atoms, which reach out of the mask."""
    clean = particles(shape)
    level = np.full(shape, 0.3)
    plane = 0.2 + 0.3 * np.linspace(0, 1, shape[0])[:, None] + 0.1 * np.linspace(0, 1, shape[1])
    for name, background, error in (
        ("constant", level, 1e-5),
        ("inpaint", level, 2e-3),
        ("inpaint", plane, 5e-3),
    ):
        found = solve(name, clean + background)
        np.testing.assert_allclose(found["background"], background + 0 * clean, atol=error)
    for name in ("constant", "inpaint", "rolling_ball", "highpass"):
        found = solve(name, level + 0 * clean)
        np.testing.assert_allclose(found["background"], level + 0 * clean, atol=1e-6)
    np.testing.assert_allclose(solve("rolling_ball", plane + 0 * clean)["clean"], 0, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("electrons", [0.0, 30.0])
def test_without_a_particle_the_background_is_a_constant(name: str, electrons: float) -> None:
    empty = solve(name, np.zeros((2, 40, 33)), electrons)
    assert all(np.abs(values).max() < 1e-4 for values in empty.values())
    if name not in ("rolling_ball", "highpass"):
        found = solve(
            name,
            count(np.full((2, 64, 50), 0.4), electrons),
            electrons,
            **({"quantile": 0.5} if name == "constant" else {}),
        )
        assert np.ptp(found["background"], axis=(1, 2)).max() == 0
        np.testing.assert_allclose(found["background"], 0.4, atol=0.05)


@cache
def standard_case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return their sum, clean and background (tilt, y, x): a disc of 200 pixels in 256, backgrounds up to 0.18."""
    clean = np.stack([disc_of_atoms((256, 256), 200, spacing, turn)[0] for spacing, turn in ((8, 0.3), (7, 0.9))])
    background = np.stack([smooth_background((256, 256), width, seed) for seed, width in enumerate((12, 24))])
    return clean + background, clean, background


BEST: Mapping[str, tuple[Mapping[str, Value], float]] = {  # settings, and PSNR that is reached
    "constant": ({"quantile": 0.7, "dilation": 10.0}, 28.0),
    "rolling_ball": ({"radius": 120, "width": 0.0}, 40.0),
    "inpaint": ({"dilation": 10.0, "width": 5.0}, 28.0),
    "highpass": ({"width": 128.0}, 22.0),
}


@pytest.mark.parametrize("name", BEST)
def test_backgrounds_are_removed(name: str) -> None:
    noisy, clean, background = standard_case()
    settings, least = BEST[name]
    found = solve(name, noisy, 0.0, **settings)
    assert psnr(found["clean"], clean) > max(least, psnr(noisy, clean) + 2)
    if name != "highpass":
        assert psnr(found["background"], background) > psnr(0 * background, background) + 2


def test_noise_is_removed_from_counts() -> None:
    """Non-local means come nearer than the subtraction of the background alone, and keep the mean of the particle."""
    shape = (128, 120)
    clean, background = disc_of_atoms(shape, 90)[0][None], smooth_background(shape, 12)
    noisy = count(clean + background, 50)
    subtracted = solve("inpaint", noisy, 50, dilation=10.0, width=5.0)
    found = solve("nlm", noisy, 50, strength=1.0, dilation=10.0, width=5.0)
    np.testing.assert_array_equal(found["background"], subtracted["background"])
    assert psnr(found["clean"], clean) > psnr(subtracted["clean"], clean) + 3
    inside = clean > 0.3
    assert (found["clean"] + background)[inside].mean() == pytest.approx((clean + background)[inside].mean(), rel=0.05)


@pytest.mark.parametrize("name", DENOISERS)
def test_images_without_noise_are_not_filtered(name: str) -> None:
    noisy = particles((61, 50)) + 0.2
    found = solve(name, noisy, 0)
    for key, values in solve("inpaint", noisy, 0, width=5.0).items():
        np.testing.assert_array_equal(found[key], values)


def test_bm3d_is_refused_in_one_line_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(UserError, match=r"non-commercial use only: pip install 'drybeam\[bm3d\]'$") as error:
        solve("bm3d", particles((61, 50)), 50)
    assert "\n" not in str(error.value)


def test_bm3d_itself_removes_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bm3d")
    pytest.importorskip("bm3d")
    noisy, clean = count(particles((61, 50)) + 0.2, 50), particles((61, 50))
    found = solve("bm3d", noisy, 50, strength=1.0)
    assert psnr(found["clean"], clean) > psnr(solve("inpaint", noisy, 50)["clean"], clean) + 2


def test_the_bias_of_an_edge_is_the_share_of_its_signal_that_is_lost() -> None:
    """Errors elsewhere do not count, and an empty image has no bias."""
    truth = np.stack([disc_of_atoms((120, 128), 70)[0]] * 3 + [np.zeros((120, 128))])
    particle = find_particle(truth)
    shell = particle & (distance_to(~particle) <= EDGE)
    wrong = truth.copy()
    wrong[1] -= 0.03 * truth[1] * shell[1]
    wrong[2] += 5.0 * (particle & ~shell)[2]
    found = measure_edges({"clean": truth}, {"clean": wrong})["edge_bias"]
    np.testing.assert_allclose(found, [0, 0.03, 0, np.nan], atol=1e-12)
    assert 0.2 < shell[0].sum() / particle[0].sum() < 0.4
