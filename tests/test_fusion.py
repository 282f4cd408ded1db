"""The task `fusion`: channels and guide follow from the phases of one section, and the guide helps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.contract import find_generator
from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.specimens.sections import granular, objects, section
from generators.specimens.sections.channels import select_phase
from generators.specimens.sections.granular import Granular
from generators.tasks import fusion
from inference.tasks.fusion import METHODS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings
from schemas.task import find_formula

from .conftest import Command
from .made_up_images import psnr
from .test_families import learned

SMALL = ("image_size=36", "low_size=15", "channels.channels=5", "channels.phases=3")
EXACT = ("noise=0", "supersampling=1", "guide.shift=0", "guide.turn=0", "guide.contrast=0")


def made(*settings: str, recipe: str = "default") -> fusion.Recipe:
    return make_settings(fusion.Recipe, fusion.RECIPES[recipe].model_dump(mode="json"), settings)


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    """Return all fields of the first samples, with drawn parameters."""
    known = made(*settings, recipe=recipe)
    plan = pipeline.plan("fusion", known, 0, {"train": n, "validation": 0, "test": 0}, Path("x.zarr"))
    columns = [fusion.draw(known, Streams(0, "train", i)).columns() for i in range(n)]
    drawn = {name: np.stack([np.asarray(row[name]) for row in columns]) for name in columns[0]}
    return drawn | shards.make(plan, "train", range(n))


@pytest.mark.parametrize(("fine", "coarse"), [(36, 18), (37, 19), (20, 20)])
def test_the_formula_holds_for_any_factor(fine: int, coarse: int) -> None:
    fields = samples(2, *SMALL, *EXACT, f"image_size={fine}", f"low_size={coarse}")
    formula = find_formula("fusion")
    assert formula
    np.testing.assert_allclose(formula.inputs(fields)["low"], fields["low"], atol=1e-5)


def test_channels_are_sums_of_phases_and_the_guide_another_one() -> None:
    """An image of each channel by the figures with their values in it; the guide has greys instead."""
    known = made(*SMALL, *EXACT)
    one = fusion.draw(known, Streams(0, "train", 1))
    fields = fusion.simulate(known, [one])
    for channel in range(5):
        figures = objects.DrawnObject(one.object.structure, one.object.channels, channel).figures()
        np.testing.assert_allclose(fields["high"][0, channel], section.render(figures, (36, 36)), atol=1e-5)
    phases = [
        section.render(select_phase(one.object.structure, one.object.channels, phase), (36, 36))  # type: ignore[arg-type]
        for phase in range(3)
    ]
    expected = sum(grey * image for grey, image in zip(one.guide.grey, phases, strict=True))
    np.testing.assert_allclose(fields["guide"][0], expected, atol=1e-5)
    density = section.render(one.object.structure, (36, 36))  # type: ignore[arg-type]
    np.testing.assert_allclose(sum(phases), density, atol=1e-5)


def test_an_error_of_registration_moves_the_guide_alone() -> None:
    """A shift by whole pixels moves its pixels; signs are those of the stored fields."""
    settings = (*SMALL, *EXACT, "granular.radius=0.3")
    known, still = made(*settings), samples(2, *settings)
    block = [fusion.draw(known, Streams(0, "train", i)) for i in range(2)]
    for one in block:
        one.guide.shift[:] = 3, -2
    moved = fusion.simulate(known, block)
    np.testing.assert_array_equal(moved["high"], still["high"])
    np.testing.assert_array_equal(moved["low"], still["low"])
    np.testing.assert_allclose(moved["guide"], np.roll(still["guide"], (3, -2), (1, 2)), atol=1e-4)
    drawn = samples(40, *SMALL, "guide.shift=1.5", "guide.turn=2")
    assert drawn["guide_shift"].std() == pytest.approx(1.5, rel=0.3)
    assert np.degrees(drawn["guide_turn"]).std() == pytest.approx(2, rel=0.4)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_objects_are_turned_images(quarters: int) -> None:
    """From x towards y: on an image whose rows go down, a quarter turn is one of `numpy.rot90` backwards."""
    drawn = granular.draw(Granular(), np.random.default_rng(0))
    turned = section.displace(drawn, (0.0, 0.0), quarters * np.pi / 2)
    image, expected = (section.render(one, (41, 41)) for one in (turned, drawn))
    np.testing.assert_allclose(image, np.rot90(expected, -quarters), atol=1e-4)


def test_noise_and_texture_of_the_guide() -> None:
    settings = (*SMALL, "supersampling=1", "guide.shift=0", "guide.turn=0", "guide.deviation=0.05")
    plain = samples(3, *settings, "guide.contrast=0", "noise=0")
    noise = samples(3, *settings, "guide.contrast=0")["guide"] - plain["guide"]
    assert noise.std() == pytest.approx(0.05, rel=0.1)
    textured = samples(3, *settings, "guide.contrast=0.3", "noise=0")
    np.testing.assert_array_equal(textured["high"], plain["high"])
    share = textured["guide"][plain["guide"] > 0.1] / plain["guide"][plain["guide"] > 0.1]
    assert 0.699 < share.min() < 0.9 < 1.1 < share.max() < 1.301


def solved(name: str, fields: dict[str, np.ndarray], **settings: Any) -> np.ndarray:
    method = METHODS[name]
    chosen = {key: known.values[len(known.values) // 2] for key, known in method.settings.items()} | settings
    found: np.ndarray = method.solve({key: fields[key] for key in method.needs}, **chosen)["high"]
    return found


def test_the_guide_helps_unless_it_is_shifted_or_shows_nothing() -> None:
    settings = ("image_size=60", "low_size=24", "camera.deviation=0.01", "guide.deviation=0.01", "guide.contrast=0")
    score = {}
    for shift in (0, 6):
        fields = samples(3, *settings, f"guide.shift={shift}", "guide.turn=0")
        score[shift] = {name: psnr(solved(name, fields), fields["high"]) for name in METHODS}
    assert score[0]["guided"] > score[0]["bicubic"] + 1
    assert score[6]["guided"] < score[0]["guided"] - 1
    flat = fields | {"guide": np.ones_like(fields["guide"])}
    smooth = solved("guided", flat, iterations=0)
    np.testing.assert_allclose(smooth.mean((2, 3)), fields["low"].mean((2, 3)), atol=1e-3)


def test_a_channel_that_is_a_line_of_the_guide_is_found() -> None:
    """The filter is exact where a channel is a guide + b everywhere, whatever the factor."""
    guide = np.random.default_rng(0).random((2, 30, 30))
    low = np.stack([2 * coarse + 0.5 for coarse in seen(guide)])[:, None]
    fields = {"guide": guide, "low": low, "point_spread": np.full(2, 0.6, np.float32)}
    found = solved("guided", fields, floor=0.0, iterations=0)
    np.testing.assert_allclose(found[:, 0], 2 * guide + 0.5, atol=1e-8)


def seen(guide: np.ndarray) -> np.ndarray:
    from physics.pixel_integration import integrate_pixels

    image: np.ndarray = integrate_pixels(guide, (13, 13), float(np.float32(0.6)))
    return image


@pytest.mark.parametrize("name", METHODS)
def test_channels_and_samples_are_refined_one_by_one(name: str) -> None:
    fields = samples(2, *SMALL)
    found = solved(name, fields)
    alone = solved(name, {key: values[1:] for key, values in fields.items()} | {"low": fields["low"][1:, 2:4]})
    np.testing.assert_allclose(alone[0], found[1, 2:4], atol=1e-12)
    np.testing.assert_allclose(solved(name, fields | {"low": 10 * fields["low"]}), 10 * found, atol=1e-5)


@pytest.mark.usefixtures("quick", "without_report")
def test_a_network_fuses_grids_of_any_factor(
    generate: Command, train: Command, infer: Command, evaluate: Command
) -> None:
    command = ("--task", "fusion", "--n", 6, "--validation", 2, "--test", 2, "--scheduler", "synchronous")
    assert generate(*command, "--set", *SMALL, "--out", "data.zarr")[0] == 0
    learned(train, Path("data.zarr"), "unet", "scalars=point_spread")
    assert infer("--model", "run", "--data", "data.zarr", "--out", "p.zarr")[0] == 0
    assert evaluate("--data", "data.zarr", "--predictions", "p.zarr", "--out", "report")[0] == 0


def test_sizes_are_checked() -> None:
    assert (fusion.RECIPES["reactor"].image_size, fusion.RECIPES["reactor"].low_size) == (149, 75)
    with pytest.raises(UserError, match="low_size = 200: must be at most image_size = 64"):
        make_settings(find_generator("fusion")[1].Recipe, {}, ["low_size=200"])
