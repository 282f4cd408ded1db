"""The task `superres`: coarse images follow from fine ones by any factor, and methods refine them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.tasks import superres
from inference.methods.enlarging import enlarge_by_lanczos, enlarge_by_splines
from inference.tasks.superres import METHODS
from physics.pixel_integration import integrate_pixels
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings
from schemas.task import find_formula
from training.crop import plan_crop
from training.tasks.superres import ENLARGED

from .conftest import Command, refused
from .made_up_images import psnr
from .test_families import learned

SIZES = [(40, 20), (49, 25), (41, 41), (45, 14)]  # fine and coarse
SMALL = ("image_size=32", "low_size=20")


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    made = make_settings(superres.Recipe, superres.RECIPES[recipe].model_dump(mode="json"), settings)
    plan = pipeline.plan("superres", made, 0, {"train": n, "validation": 0, "test": 0}, Path("x.zarr"))
    streams = [Streams(0, "train", i) for i in range(n)]
    columns = [superres.draw(made, rng).columns() for rng in streams]
    drawn = {name: np.stack([np.asarray(row[name]) for row in columns]) for name in ("factor", "point_spread")}
    return drawn | shards.make(plan, "train", range(n))


@pytest.mark.parametrize(("fine", "coarse"), SIZES)
def test_the_formula_holds_for_any_factor(fine: int, coarse: int) -> None:
    sizes = (f"image_size={fine}", f"low_size={coarse}", "noise=0")
    fields, formula = samples(3, *sizes, "supersampling=1"), find_formula("superres")
    assert formula
    np.testing.assert_allclose(formula.inputs(fields)["low"], fields["low"], atol=1e-5)
    assert fields["low"].mean() == pytest.approx(fields["high"].mean(), rel=1e-5)
    assert fields["factor"] == pytest.approx(fine / coarse)
    finer = samples(3, *sizes)
    error = abs(formula.inputs(finer)["low"] - finer["low"])
    assert error.max() < 0.3
    assert fine == coarse or error.max() > 1e-4, "supersampling=2 is no inverse crime"


def test_sizes_of_the_reactor_bed() -> None:
    for name, sizes in {"reactor_micro": (369, 185), "reactor_xrd": (149, 75)}.items():
        assert (superres.RECIPES[name].image_size, superres.RECIPES[name].low_size) == sizes
    with pytest.raises(UserError, match="low_size = 200: must be at most image_size = 128"):
        make_settings(superres.Recipe, {}, ["low_size=200"])


def ramp(shape: tuple[int, int]) -> np.ndarray:
    y, x = ((np.arange(n) + 0.5) / n for n in shape)
    return 2 + y[:, None] - 3 * x


@pytest.mark.parametrize("name", ["splines", "lanczos", "cubic"])
@pytest.mark.parametrize(("fine", "coarse"), [((24, 30), (12, 10)), ((33, 24), (17, 9)), ((21, 18), (21, 18))])
def test_enlarged_images_have_the_same_edges(name: str, fine: tuple[int, int], coarse: tuple[int, int]) -> None:
    """A constant stays, a plane stays away from the edges, and axes are not exchanged."""

    def enlarge(image: np.ndarray) -> np.ndarray:
        images = np.stack([image, 2 * image]).astype(np.float32)
        if name == "cubic":
            sizes = {"y": fine[0], "x": fine[1]}
            return np.asarray(ENLARGED.channels({"low": images}, sizes))[0, ..., 0]
        made: np.ndarray = (enlarge_by_splines if name == "splines" else enlarge_by_lanczos)(images, fine)[0]
        return made

    np.testing.assert_allclose(enlarge(np.full(coarse, 3.0)), 3, rtol=1e-5)
    found, margin = enlarge(ramp(coarse)), 3 * max(f // c for f, c in zip(fine, coarse, strict=True))
    inside = (slice(margin, -margin),) * 2
    np.testing.assert_allclose(found[inside], ramp(fine)[inside], atol=0.03)
    if fine == coarse:
        np.testing.assert_allclose(found, ramp(fine), atol=1e-5)


def solved(name: str, fields: dict[str, np.ndarray], **settings: Any) -> np.ndarray:
    method = METHODS[name]
    chosen = {key: known.values[len(known.values) // 3] for key, known in method.settings.items()} | settings
    found: np.ndarray = method.solve({key: fields[key] for key in method.needs}, **chosen)["high"]
    return found


@pytest.mark.parametrize(("fine", "coarse"), SIZES[:2])
def test_deconvolution_is_better_than_interpolation(fine: int, coarse: int) -> None:
    fields = samples(3, f"image_size={fine}", f"low_size={coarse}")
    score = {name: psnr(solved(name, fields), fields["high"]) for name in METHODS}
    assert all(score[name] > score["bicubic"] + 0.5 for name in ("back_projection", "tikhonov", "tv"))
    assert abs(score["lanczos"] - score["bicubic"]) < 1


@pytest.mark.parametrize("name", METHODS)
def test_methods_scale_with_the_image_and_take_samples_one_by_one(name: str) -> None:
    fields = samples(2, *SMALL)
    found = solved(name, fields)
    settings = {"weight": 10 * METHODS[name].settings["weight"].values[3]} if name == "tv" else {}
    scaled = solved(name, fields | {"low": 10 * fields["low"]}, **settings)
    np.testing.assert_allclose(scaled, 10 * found, rtol=1e-4, atol=1e-4)
    alone = solved(name, {key: values[1:] for key, values in fields.items()})
    np.testing.assert_array_equal(alone[0], found[1])


@pytest.mark.parametrize("name", ["back_projection", "tikhonov"])
def test_iterations_reduce_the_residual(name: str) -> None:
    """And none of them is the enlarged image."""
    fields = samples(1, *SMALL)
    spread = float(fields["point_spread"][0])

    def residual(iterations: int) -> float:
        image = solved(name, fields, iterations=iterations)[0]
        return float(np.linalg.norm(integrate_pixels(image, (20, 20), spread) - fields["low"][0]))

    errors = [residual(n) for n in (0, 2, 10)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    np.testing.assert_array_equal(solved(name, fields, iterations=0), solved("bicubic", fields))


@pytest.mark.usefixtures("quick", "without_report")
def test_a_network_learns_factors_that_are_not_whole(
    generate: Command, train: Command, infer: Command, evaluate: Command
) -> None:
    """Its samples stay whole; on the coarse grid it is refused, because it enlarges by whole factors only."""
    command = ("--task", "superres", "--n", 6, "--validation", 2, "--test", 2, "--scheduler", "synchronous")
    assert generate(*command, "--set", "image_size=69", "low_size=35", "--out", "data.zarr")[0] == 0
    refused(train("--data", "data.zarr", "--input", "low", "--set", "epochs=1"), "by a whole factor")
    learned(train, Path("data.zarr"), "unet", "scalars=point_spread")
    assert infer("--model", "run", "--data", "data.zarr", "--out", "p.zarr")[0] == 0
    assert evaluate("--data", "data.zarr", "--predictions", "p.zarr", "--out", "report")[0] == 0


@pytest.mark.parametrize(("fine", "coarse", "expected"), [(96, 48, 64), (99, 33, 63), (150, 60, 60), (69, 35, None)])
def test_the_proposed_crop_suits_the_factor(fine: int, coarse: int, expected: int | None) -> None:
    from schemas.task import find_task
    from training.contract import find_learn
    from training.features import Features

    sizes = {"y": fine, "x": fine, "ylow": coarse, "xlow": coarse}
    features = Features(find_task("superres"), find_learn("superres"), "enlarged", (), {}, sizes)
    crop = plan_crop(features, 64, whole=False, asked=False)
    assert (crop and dict(crop.lengths)) == (expected and {"y": expected, "x": expected})
    if expected != 64:
        with pytest.raises(UserError, match="crop = 64: must be a multiple of"):
            plan_crop(features, 64, whole=False)
