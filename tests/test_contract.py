"""What every task must keep, whichever it is. A new task is tested by being there."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from pydantic import TypeAdapter

from generators.contract import Generator, find_generator
from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.specimens.from_files.pool import Pool
from inference.task_modules import find_inference
from schemas import digest
from schemas.array_checks import array_problems
from schemas.runtime.errors import UserError
from schemas.runtime.settings import all_settings, make_settings
from schemas.slices import fold
from schemas.store import is_simulated
from schemas.task import Task, find_formula, find_task, task_names
from training import model_building
from training.augmentation import augment, symmetries
from training.batches import WEIGHT
from training.contract import Symmetry, fields_read, find_learn, find_model, model_names
from training.features import Features
from training.recipe import recipe_type

TASKS = task_names()
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=TASKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def found(name: str) -> tuple[Task, Generator]:
    return find_generator(name)


def plan_of(name: str, *settings: str, recipe: str = "default", seed: int = 0) -> Any:
    _, generator = find_generator(name)
    files = [
        f"{key}.path={_stack_of_pictures()}" for key, value in generator.RECIPES[recipe] if isinstance(value, Pool)
    ]
    made = make_settings(generator.Recipe, generator.RECIPES[recipe].model_dump(mode="json"), [*files, *settings])
    made = made.bind(None)
    wanted = {"train": 8, "validation": 2, "test": 2}
    samples = {split: n * can_make_split(made, split) for split, n in wanted.items()}
    return pipeline.plan(name, made, seed, samples, Path("x.zarr"))


def _stack_of_pictures() -> Path:
    """Return files of the user, which a recipe asks for."""
    path = Path("pictures.npy")
    np.save(path, np.random.default_rng(0).integers(0, 255, (40, 24, 30)).astype(np.uint8))
    return path


def can_make_split(made: Any, split: str) -> bool:
    """Some recipes are of one split alone."""
    try:
        made.check_split(split, 2)
    except UserError:
        return False
    return True


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def rows(values: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
    return {key: value[part] for key, value in values.items()}


def test_the_toy_task_is_found_by_its_files_alone() -> None:
    assert "toy" in TASKS
    assert "tie" in TASKS


def test_schema_survives_json(found: tuple[Task, Generator]) -> None:
    task = TypeAdapter(Task)
    assert task.validate_json(task.dump_json(found[0])) == found[0]


def test_schema_has_an_input_a_target_a_formula_and_units(found: tuple[Task, Generator]) -> None:
    task = found[0]
    assert task.of("input")
    assert task.of("target")
    assert task.formula
    assert all(field.units and field.about for field in task.fields)


def test_a_changed_schema_has_another_version(name: str, found: tuple[Task, Generator]) -> None:
    """Readers trust the version: fields may not change without it."""
    known = json.loads((GOLDEN / "schemas.json").read_text())
    key, fields = f"{name} {found[0].version}", hashlib.sha256(digest.canonical_json(found[0].identity())).hexdigest()
    assert key not in known or known[key] == fields, "the fields have changed: raise the version of the task"
    assert key in known, f'a new task or version: add  "{key}": "{fields}"  to {GOLDEN / "schemas.json"}'


def test_every_setting_says_its_unit_and_meaning(found: tuple[Task, Generator]) -> None:
    for key, info in all_settings(found[1].Recipe):
        assert info.description, key
        assert isinstance(info.json_schema_extra, dict), key
        assert info.json_schema_extra["unit"], key


def test_named_recipes_survive_json(found: tuple[Task, Generator]) -> None:
    for recipe in found[1].RECIPES.values():
        assert make_settings(found[1].Recipe, json.loads(recipe.model_dump_json()), []) == recipe


def test_every_named_recipe_makes_samples_that_keep_the_schema(name: str, found: tuple[Task, Generator]) -> None:
    for recipe in found[1].RECIPES:
        plan = plan_of(name, recipe=recipe)
        split = next(split for split, n in plan.manifest.samples.items() if n)
        values = shards.make(plan, split, range(2))
        assert array_problems(plan.task, plan.manifest.sizes, values) == []
        assert array_problems(plan.task, plan.manifest.sizes, values | shards.constants(plan)) == []


def test_a_sample_depends_on_seed_split_and_index_alone(name: str) -> None:
    plan = plan_of(name)
    whole = shards.make(plan, "train", range(6))
    assert equal(shards.make(plan, "train", range(6)), whole)
    assert equal(shards.make(plan, "train", range(2, 5)), rows(whole, slice(2, 5)))
    assert equal(shards.make(plan, "train", range(5, 6)), rows(whole, slice(5, 6)))
    inputs = plan.task.of("input")[0].name
    for other in (shards.make(plan, "test", range(6)), shards.make(plan_of(name, seed=1), "train", range(6))):
        assert not np.array_equal(other[inputs], whole[inputs])
    assert len({row.tobytes() for row in whole[inputs]}) == 6


def test_simulation_has_no_randomness(found: tuple[Task, Generator], name: str) -> None:
    recipe = plan_of(name).recipe
    block = [found[1].draw(recipe, Streams(0, "train", i)) for i in range(3)]
    assert equal(found[1].simulate(recipe, block), found[1].simulate(recipe, block))


def test_measurement_leaves_the_expectations_alone(found: tuple[Task, Generator], name: str) -> None:
    """The noise is a step of its own: done again with another stream, the same expectations give another input."""
    recipe = plan_of(name).recipe
    block = [found[1].draw(recipe, Streams(0, "train", i)) for i in range(3)]
    arrays = found[1].simulate(recipe, block)
    before = {key: value.copy() for key, value in arrays.items()}
    first = found[1].measure(recipe, block, dict(arrays), [Streams(0, "train", i) for i in range(3)])
    other = found[1].measure(recipe, block, dict(arrays), [Streams(1, "train", i) for i in range(3)])
    assert equal(arrays, before)
    inputs = found[0].of("input")[0].name
    assert not np.array_equal(first[inputs], other[inputs])


def test_parameters_are_drawn_as_they_are_stored(found: tuple[Task, Generator], name: str) -> None:
    """Rounded to the dtype of their field: the stored parameters are those that were simulated."""
    plan = plan_of(name)
    fields = plan.task.of("parameter")
    drawn = shards.row(found[1].draw(plan.recipe, Streams(0, "train", 3)), fields)
    for field in fields:
        value = np.asarray(drawn[field.name])
        assert np.array_equal(value.astype(field.dtype), value), field.name


def test_noise_0_is_infinite_dose(name: str, found: tuple[Task, Generator]) -> None:
    plan = plan_of(name, "noise=0")
    other = plan_of(name, "noise=0", seed=0)
    streams = [Streams(99, "train", i) for i in range(2)]
    block = [found[1].draw(plan.recipe, Streams(0, "train", i)) for i in range(2)]
    arrays = found[1].simulate(plan.recipe, block)
    inputs = found[0].of("input")[0].name
    noisy = found[1].measure(plan.recipe, block, arrays, streams)[inputs]
    assert np.array_equal(noisy, shards.make(other, "train", range(2))[inputs])


def test_every_simulated_field_is_chunked_whole(name: str) -> None:
    plan, _ = pipeline.lay_out(plan_of(name), None)
    for field in plan.task.fields:
        if is_simulated(field):
            chunk = plan.manifest.layout.chunks[field.name]
            shape = (plan.manifest.layout.shard, *field.shape(plan.manifest.sizes))
            assert all(length % part == 0 for length, part in zip(shape, chunk, strict=True))


def test_a_task_is_four_files(name: str) -> None:
    assert find_learn(name).inputs
    assert find_inference(name).METHODS


def features_of_plan(plan: Any) -> Features:
    return model_building.features_of(plan.task, recipe_type("mlp", find_model("mlp"))(), {}, plan.manifest.sizes)


def every_field(plan: Any) -> dict[str, np.ndarray]:
    """All samples of one split of a plan, slice by slice, and the constants."""
    split, n = next((split, n) for split, n in plan.manifest.samples.items() if n)
    return fold(plan.task, shards.make(plan, split, range(n)) | shards.constants(plan), n)


def inputs_of(features: Features, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs by the operator of the task, or by its formula."""
    if operator := find_learn(features.task.name).operator:
        arrays: Any = fields
        image = arrays[features.targets[0].name]
        return {operator.measured: np.asarray(operator.forward(image, arrays, features.sizes))}
    formula = find_formula(features.task.name)
    assert formula
    return formula.inputs(fields)


def augmented(features: Features, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The samples after symmetries that are drawn for each of them; some differ from what they were."""
    name = features.targets[0].name
    batch: Any = fields | {WEIGHT: np.ones(len(fields[name]), np.float32)}
    found = {key: np.asarray(values) for key, values in augment(features, batch, jax.random.key(0)).items()}
    assert not np.array_equal(found[name], fields[name])
    return found


def assert_near(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for key, values in found.items():
        np.testing.assert_allclose(values, expected[key], atol=2e-5 * abs(expected[key]).max(), err_msg=key)


@pytest.mark.parametrize("stated", [task for task in TASKS if find_formula(task)])
def test_stored_inputs_are_those_of_the_formula(stated: str) -> None:
    formula = find_formula(stated)
    assert formula
    fields = every_field(plan_of(stated, *formula.exact))
    assert_near(formula.inputs(fields), fields)


@pytest.mark.parametrize("stated", [task for task in TASKS if find_formula(task) or find_learn(task).operator])
def test_the_inputs_of_a_moved_sample_follow_from_its_targets(stated: str) -> None:
    formula = find_formula(stated)
    plan = plan_of(stated, *(formula.exact if formula else ()))
    features, fields = features_of_plan(plan), every_field(plan)
    if symmetries(features):
        moved = augmented(features, fields | inputs_of(features, fields))
        seen = {name for parts in features.learn.inputs.values() for name in fields_read(parts)}
        assert_near({name: v for name, v in inputs_of(features, moved).items() if name in seen}, moved)


@pytest.mark.parametrize("stated", [task for task in TASKS if find_learn(task).symmetries])
def test_all_targets_of_a_sample_move_together(stated: str) -> None:
    """Those that only some recipes store as well: a mask stays on its image."""
    plan = plan_of(stated)
    features, fields = replace(features_of_plan(plan), task=find_task(stated).sliced), every_field(plan)
    samples, grid = len(fields[features.targets[0].name]), features.target_grid
    image = np.random.default_rng(0).integers(0, 256, (samples, *(features.sizes[dim] for dim in grid)))
    one_channel = {
        field.name: image.reshape(samples, *(features.sizes[dim] if dim in grid else 1 for dim in field.dims[1:]))
        for field in features.targets
    }
    first, *others = (augmented(features, fields | one_channel)[name].reshape(image.shape) for name in one_channel)
    assert all(np.array_equal(first, other) for other in others)


def test_what_is_learned_is_in_the_schema(name: str, found: tuple[Task, Generator]) -> None:
    task, learn = found[0], find_learn(name)
    fields = {field.name: field for field in task.fields}
    assert all(set(grid) <= task.dims for grid in learn.grids.values())
    for parts in learn.inputs.values():
        read = [name for part in parts for name in ((part,) if isinstance(part, str) else (*part.fields, part.like))]
        assert set(read) - {""} <= fields.keys()
        assert not any(fields[name].role == "target" for part in parts if isinstance(part, str) for name in [part])
    assert all(fields[name].role == "parameter" for name in learn.scalars)
    flips = {f"flip_{dim}" for dim in task.spatial(task.of("target")[0])} | {"transpose"}
    assert {one for one in learn.symmetries if not isinstance(one, Symmetry)} <= flips


def test_no_derived_input_reads_the_truth(name: str, found: tuple[Task, Generator]) -> None:
    """Neither a target nor what only a simulation knows."""
    roles = {field.name: field.role for field in found[0].fields}
    for parts in find_learn(name).inputs.values():
        for part in parts:
            read = (part,) if isinstance(part, str) else part.fields
            assert {roles[field] for field in read} <= {"input", "parameter"}, read


def test_named_recipes_of_training_are_recipes(name: str) -> None:
    recipes = find_learn(name).recipes
    assert "default" in recipes
    for recipe in recipes.values():
        model = recipe.get("model", {}).get("name", "unet")
        kind = recipe_type(model, find_model(model), find_learn(name))
        assert make_settings(kind, recipe, []).model_dump()["model"]["name"] == model


@pytest.mark.parametrize("model", model_names())
def test_every_setting_of_training_says_its_unit_and_meaning(model: str) -> None:
    for key, info in all_settings(recipe_type(model, find_model(model))):
        assert info.description, key
        assert isinstance(info.json_schema_extra, dict), key
        assert info.json_schema_extra["unit"], key


def test_classical_methods_read_what_is_measured(name: str, found: tuple[Task, Generator]) -> None:
    task, inference = found[0], find_inference(name)
    roles = {field.name: field.role for field in task.fields}
    for method in inference.METHODS.values():
        assert method.about
        assert not any(roles[field] == "target" for field in method.needs)
        assert all(setting.values and setting.unit and setting.about for setting in method.settings.values())
    assert {shown.field for shown in inference.REPORT.inputs} | set(inference.REPORT.parameters) <= roles.keys()
