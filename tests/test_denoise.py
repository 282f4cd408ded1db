"""The task `denoise`: what is clean, how counts are halved, and the laws of classical denoisers."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.specimens.sections import objects, textured
from generators.tasks import denoise
from inference.methods.denoisers import noise_deviation
from inference.tasks.denoise import METHODS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

from .conftest import Command, refused
from .made_up_images import count, disc_of_atoms, psnr

SHAPES = [(48, 41), (33, 50)]
SMALL = ("image_size=32",)


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    made = make_settings(denoise.Recipe, denoise.RECIPES[recipe].model_dump(mode="json"), settings)
    plan = pipeline.plan("denoise", made, 0, {"train": n, "validation": 0, "test": 0}, Path("x.zarr"))
    return shards.make(plan, "train", range(n))


@pytest.fixture(autouse=True)
def blurring_bm3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a mean of neighbours in the place of the package, which is not installed."""

    def bm3d(image: np.ndarray, deviation: float) -> np.ndarray:
        mean: np.ndarray = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
        return mean

    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d=bm3d))


def test_texture_and_ground_change_values_within_limits() -> None:
    plain = denoise.RECIPES["default"]
    made = plain.model_copy(update={"texture": None})
    for one in (textured.draw(plain, Streams(0, "train", i)) for i in range(4)):
        image = textured.render(plain, one, (40, 40))
        figures = objects.render(made, one.object, (40, 40))
        assert (image >= figures * (1 - one.contrast) + one.ground - 1e-6).all()
        assert (image <= figures * (1 + one.contrast) + one.ground + 1e-6).all()
        assert np.ptp((image - one.ground)[figures > 0.2] / figures[figures > 0.2]) > 0.1
        np.testing.assert_allclose(image[figures == 0], one.ground, rtol=1e-6)


def test_clean_images_lie_behind_the_point_spread() -> None:
    """The mean of noisy images is the clean one, also where neighbours share quanta."""
    settings = ("image_size=40", "camera.stripes=0", "camera.photons=1e5", "camera.detector.read_noise=0")
    fields = samples(3, *settings, recipe="camera")
    error = (fields["noisy"] - fields["clean"]) / np.sqrt(fields["clean"] / 1e5)
    assert abs(error).max() < 6
    sharp = samples(3, *settings, "camera.detector.correlation=0", recipe="camera")["clean"]
    assert abs(sharp - fields["clean"]).max() > 0.05


def test_published_pairs_are_those_of_superres_tomo() -> None:
    """24 boxes of an eighth of the width; values from 0.2 to 1; noise of the deviation 0.5.

    In a box of 8 x 8 pixels, coordinates run from -1 to 1: a frame loses 4 x 4 pixels, a disc has 32, and its hole 12.
    """
    fields = samples(30, recipe="published")
    assert fields["clean"].shape == (30, 64, 64)
    values = fields["clean"][fields["clean"] != 0]
    assert (np.count_nonzero(fields["clean"], axis=(1, 2)) == 6 * (64 + 48 + 32 + 20)).all()
    assert values.min() >= 0.2
    assert values.max() <= 1
    assert (fields["noisy"] - fields["clean"]).std() == pytest.approx(0.5, rel=0.02)
    assert all(len(np.unique(image)) <= 25 for image in fields["clean"])


@pytest.mark.parametrize("recipe", ["default", "camera", "rings", "published"])
def test_each_recipe_has_noise_and_is_clean_without(recipe: str) -> None:
    noisy, exact = (samples(3, "image_size=40", *noise, recipe=recipe) for noise in ((), ("noise=0",)))
    np.testing.assert_array_equal(noisy["clean"], exact["clean"])
    np.testing.assert_allclose(exact["noisy"], exact["clean"], atol=1e-5)
    assert (abs(noisy["noisy"] - noisy["clean"]).mean((1, 2)) > 0.01).all()


def test_counts_are_halved_and_scored_without_truth(
    generate: Command, infer: Command, evaluate: Command, without_report: None
) -> None:
    command = ("--task", "denoise", "--n", 0, "--validation", 2, "--test", 3, "--scheduler", "synchronous")
    generate(*command, "--set", *SMALL)
    smooth = ("--method", "gaussian", "--set", "width=1", "--halves")
    assert infer("--data", "denoise.zarr", *smooth, "--out", "p.zarr")[0] == 0
    halves = ("--predictions", "p-half-0.zarr", "p-half-1.zarr")
    assert evaluate("--data", "denoise.zarr", "--no-truth", *halves, "--out", "report")[0] == 0
    generate(*command, "--recipe", "camera", "--set", *SMALL, "--out", "camera.zarr")
    refused(infer("--data", "camera.zarr", *smooth, "--out", "q.zarr"), "noisy", "must be")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_deviation_of_white_noise_is_found(shape: tuple[int, int]) -> None:
    """A plane does not change it; nor does a step by more than a few percent."""
    noise = 0.3 * np.random.default_rng(0).normal(size=shape)
    y, x = np.indices(shape)
    found = noise_deviation(noise)
    assert found == pytest.approx(0.3, rel=0.1)
    assert noise_deviation(noise + 0.2 * y - 0.1 * x) == pytest.approx(found, rel=1e-9)
    assert noise_deviation(noise + (x > 20)) == pytest.approx(found, rel=0.1)
    assert noise_deviation(np.ones(shape)) == 0


def solved(name: str, noisy: np.ndarray, photons: float | None, **settings: float) -> np.ndarray:
    method = METHODS[name]
    fields = {"noisy": noisy} | ({} if photons is None else {"photons": np.full(len(noisy), photons, np.float32)})
    chosen = {key: known.values[len(known.values) // 2] for key, known in method.settings.items()} | settings
    found: np.ndarray = method.solve(fields, **chosen)["clean"]
    return found


@pytest.mark.parametrize("photons", [None, 0.0, 30.0])
@pytest.mark.parametrize("name", METHODS)
def test_denoisers_scale_with_the_image_and_keep_a_constant(name: str, photons: float | None) -> None:
    noisy = np.stack([count(disc_of_atoms((33, 40), 30)[0] + 0.2, 30.0, seed) for seed in (0, 1)]).astype(np.float32)
    found = solved(name, noisy, photons)
    scaled = solved(name, 8 * noisy, photons / 8 if photons else photons)
    np.testing.assert_allclose(scaled, 8 * found, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(solved(name, noisy[1:], photons)[0], found[1])
    np.testing.assert_allclose(solved(name, np.full((1, 24, 31), 2.0), photons), 2.0, rtol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_denoisers_come_nearer_to_the_truth(name: str, shape: tuple[int, int]) -> None:
    y, x = np.indices(shape)
    exact = 0.3 + (np.hypot(y - 20, x - 20) < 12)
    noisy = count(exact, 20.0)[None]
    blind = (exact + 0.2 * np.random.default_rng(0).normal(size=shape))[None]
    for values, photons in ((noisy, 20.0), (blind, None)):
        assert psnr(solved(name, values, photons)[0], exact) > psnr(values[0], exact) + 0.5


@pytest.mark.parametrize("name", METHODS)
def test_counts_keep_their_mean(name: str) -> None:
    """Few counts keep their mean, too: the inverse of the transform is unbiased."""
    noisy = count(np.full((1, 64, 64), 1.0), 4.0)
    settings = {"width": 2.0} if name == "gaussian" else {"strength": 2.0}
    found = solved(name, noisy, 4.0, **settings)
    if name != "bm3d":  # what stands in for it here averages too few pixels
        assert found.mean() == pytest.approx(noisy.mean(), rel=0.02)


def test_wrong_objects_are_refused() -> None:
    make = partial(make_settings, denoise.Recipe, denoise.RECIPES["default"].model_dump(mode="json"))
    with pytest.raises(UserError, match="channels: these images have one channel each"):
        make(["channels.channels=3"])
    with pytest.raises(UserError, match="foam and granular: give only one"):
        make(["foam.wall=0.01"])
    with pytest.raises(UserError, match=r"boxes\.per_width = 8: boxes must be at least 4 pixels wide; lower it to 5"):
        make(["boxes.boxes=3", "image_size=20"])
