"""Settings: what is accepted, what is said otherwise."""

import json
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from generators.contract import find_generator
from generators.instruments.misalignment import Misalignment
from generators.instruments.window import Window
from generators.specimens.from_files.voxels import SpecimenFiles
from generators.specimens.particles.nanoparticle import Nanoparticle
from generators.tasks import tie
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import describe, load_recipe, make_settings


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("8000:12000", 8000, 12000), ("5", 5, 5), ("-1e3:2.5", -1000, 2.5), ([1, 2], 1, 2), (3, 3, 3), ("0", 0, 0)],
)
def test_range_reads(text: object, low: float, high: float) -> None:
    value = Range.model_validate(text)
    assert (value.low, value.high) == (low, high)
    assert Range.model_validate(value.model_dump()) == value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("9:8", "low must not exceed high; did you mean 8:9"),
        ("nan", "finite"),
        ("1:inf", "finite"),
        ("a:b", "not a number"),
        ("1:2:3", "low:high"),
        ("", "not a number"),
        (":", "not a number"),
    ],
)
def test_range_refuses(text: str, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Range.model_validate(text)


def test_bounds_hold_for_both_ends() -> None:
    positive = TypeAdapter(Annotated[Range, within(0, 5, above=True)])
    assert positive.validate_python("1:5")
    for text in ("0:1", "1:6", "-1:2"):
        with pytest.raises(ValidationError, match="more than 0 and at most 5"):
            positive.validate_python(text)


@pytest.mark.parametrize(
    ("setting", "end"),
    [
        ("voltage=3", "[V]"),
        ("voltage=9e9", "[V]"),
        ("image_size=1", "[pixel]"),
        ("voltage=x", "low:high"),
        ("noise=-1", "0"),
    ],
)
def test_bounds_carry_the_unit_of_their_setting(setting: str, end: str) -> None:
    with pytest.raises(UserError) as caught:
        made(setting)
    assert str(caught.value).endswith(end)


def made(*settings: str) -> tie.Recipe:
    recipe = make_settings(tie.Recipe, tie.RECIPES["default"].model_dump(mode="json"), settings)
    assert isinstance(recipe, tie.Recipe)
    return recipe


def test_the_words_of_the_contract_work() -> None:
    recipe = made("noise=0", "misalignment=none", "window=none", "supersampling=1", "defocus=8000:12000")
    assert recipe.misalignment is None
    assert recipe.window is None
    assert recipe.noise.high == 0
    assert recipe.defocus == Range(low=8000, high=12000)


def test_inner_settings() -> None:
    assert made("window=0.4").window == Window(radius=0.4)
    assert made("window.radius=0.4", "window.edge=0.1").window == Window(radius=0.4, edge=0.1)
    aligned = made("misalignment.scale=0", "misalignment.rotation_mode=gaussian").misalignment
    assert aligned is not None
    assert (aligned.scale, aligned.rotation_mode) == (0, "gaussian")
    assert made("specimen.kinds=cuboid,ellipsoid").specimen.kinds == ("cuboid", "ellipsoid")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("defocsu=8000", "no such setting; did you mean defocus\\?; see --describe"),
        ("rotation=1", "did you mean misalignment.rotation"),
        ("window.radios=1", "did you mean window.radius"),
        ("defocus", "write key=value without spaces"),
        ("defocus=9000:8000", "defocus = .*low must not exceed high"),
        ("defocus=nan", "defocus = .*finite"),
        ("defocus=0", "defocus.*more than 0"),
        ("defocus=none", "defocus.*not a number"),
        ("defocus=1e9", "spreads detail beyond the field of view"),
        ("images=4", "images = 4: must be 2 or odd"),
        ("images=1", "images = 1"),
        ("supersampling=3", "power of two"),
        ("image_size=-4", "image_size = -4"),
        ("noise=-1:0", "at least 0"),
        ("window.radius=2", "at most 1"),
        ("misalignment.rotation_mode=odd", "uniform"),
        ("specimen.kinds=sphinx", "cuboid"),
        ("voltage=300", "voltage.*at least 1000"),
    ],
)
def test_refusals_are_one_line_with_value_rule_and_remedy(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        made(setting)
    assert "\n" not in str(error.value)


def test_recipe_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"images": 5}))
    assert make_settings(tie.Recipe, load_recipe(path), ["image_size=32"]) == tie.Recipe(images=5, image_size=32)
    for content, rule in (("{", "not JSON"), ("[1]", "JSON object")):
        path.write_text(content)
        with pytest.raises(UserError, match=rule):
            load_recipe(path)
    path.write_text(json.dumps({"imagse": 5}))
    with pytest.raises(UserError, match="no such setting: imagse; did you mean images"):
        make_settings(tie.Recipe, load_recipe(path), [])


def test_describe_names_every_setting_with_unit_and_value() -> None:
    _, generator = find_generator("tie")
    rows = describe(generator.Recipe, generator.RECIPES["published"])
    assert (rows["defocus"]["unit"], rows["defocus"]["value"]) == ("nm", 10000.0)
    assert rows["defocus"]["default"] == [8000.0, 12000.0]
    assert rows["window.radius"]["value"] == 0.5
    assert all(row["about"] and row["unit"] for row in rows.values())


def test_the_seed_recipe_is_the_published_example() -> None:
    """phase-ret-dl, example of its README."""
    seed = tie.RECIPES["published"]
    assert (seed.image_size, seed.field_of_view, seed.images) == (64, 150, 2)
    assert (seed.voltage.low, seed.voltage.high) == (300e3, 300e3)
    assert (seed.defocus.low, seed.defocus.high) == (10e3, 10e3)
    assert (seed.potential.low, seed.absorption.low) == (17, 1)
    assert (seed.noise.low, seed.noise.high) == (0, 0.01)
    assert seed.misalignment is not None
    assert (round(seed.misalignment.rotation, 4), seed.misalignment.scale, seed.misalignment.shift) == (
        0.0524,
        0.02,
        0.01,
    )
    assert seed.window == Window(radius=0.5, edge=0)


def test_models_refuse_unknown_keys() -> None:
    for model in (tie.Recipe, Misalignment, Window, Nanoparticle, SpecimenFiles):
        assert issubclass(model, BaseModel)
        assert model.model_config["extra"] == "forbid"
        assert model.model_config["frozen"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_shorthand_and_a_member_go_together(order: int) -> None:
    made = make_settings(tie.Recipe, {}, ["window=0.4", "window.edge=0.1"][::order])
    assert made.window is not None
    assert (made.window.radius, made.window.edge) == (0.4, 0.1)
    found = make_settings(tie.Recipe, {}, ["retrieval=misell", "retrieval.iterations=30"][::order])
    assert found.retrieval is not None
    assert (found.retrieval.method, found.retrieval.iterations) == ("misell", 30)


def test_a_wrong_shorthand_is_not_forgotten_for_a_member() -> None:
    with pytest.raises(UserError, match="abc"):
        make_settings(tie.Recipe, {}, ["window=abc", "window.edge=0.1"])
