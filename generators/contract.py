"""What the engine asks of a task's file in `generators/tasks/`, and how it finds it."""

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from generators import recipe
from generators.streams import Streams
from schemas.grids import unlike
from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.runtime.settings import untold
from schemas.task import SAMPLE, Task, find_task

type Arrays = dict[str, np.ndarray]


class Generator(Protocol):
    """A task's file. A block is a sequence of samples' parameters; arrays have a leading axis of its length."""

    VERSION: int  # raised with every change of what is generated; enters the fingerprint
    Recipe: type[recipe.Recipe]
    RECIPES: Mapping[str, recipe.Recipe]  # `default` and the published experiments

    def draw(self, recipe: Any, rng: Streams) -> Any:
        """One sample's parameters: attributes named as the task's parameter fields, rounded to their dtypes."""

    def simulate(self, recipe: Any, block: Sequence[Any]) -> Arrays:
        """The expectations of a block, without randomness; a sample does not depend on its block."""

    def measure(self, recipe: Any, block: Sequence[Any], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
        """The measurement of these expectations: noise, last, from one stream per sample."""

    def constants(self, recipe: Any, rng: Streams) -> Arrays:
        """The task's fields without a sample axis. rng: the streams of the dataset as a whole."""


def find_generator(name: str) -> tuple[Task, Generator]:
    """The schema and the generator of a task; UserError if there is none."""
    task = find_task(name)
    try:
        module = plugins.find("generators.tasks", name, _mistakes)
    except ModuleNotFoundError as error:
        if error.name != f"generators.tasks.{name}":
            raise
        raise UserError(f"--task {name}: it has a schema but no generator (generators/tasks/{name}.py)") from None
    return task, cast(Generator, module)


def _mistakes(module: ModuleType) -> Iterator[str]:
    yield from plugins.lacking(module, {"VERSION": int, "Recipe": type, "RECIPES": Mapping})
    if not issubclass(module.Recipe, recipe.Recipe):
        yield "Recipe: must be a generators.recipe.Recipe"
    yield from untold(module.Recipe)
    if "default" not in module.RECIPES:
        yield "RECIPES: one must be named default"
    for name, made in module.RECIPES.items():
        if not isinstance(made, module.Recipe):
            yield f"RECIPES[{name!r}]: must be a Recipe(...)"
    arguments = {
        "draw": ("recipe", "rng"),
        "simulate": ("recipe", "block"),
        "measure": ("recipe", "block", "arrays", "rngs"),
        "constants": ("recipe", "rng"),
    }
    for name, names in arguments.items():
        yield from plugins.unlike(name, getattr(module, name, None), *names)


def stored(task: Task, made: recipe.Recipe) -> tuple[Task, dict[str, int]]:
    """The fields that a recipe stores, and the length of each of their dimensions; UserError if it does not say."""
    where, sizes = f"generators/tasks/{task.name}.py: Recipe", made.sizes()
    optional = {field.name for field in task.fields if field.optional}
    if unknown := made.optional() - optional:
        raise UserError(f"{where}.optional(): {', '.join(sorted(unknown))} must be some of {sorted(optional)}")
    task = task.select(made.optional())
    for dim in {dim for field in task.fields for dim in field.dims} - {SAMPLE}:
        if not isinstance(sizes.get(dim), int) or sizes[dim] < 1:
            raise UserError(f"{where}.sizes(): {dim} = {sizes.get(dim)}: must be its length, a whole number from 1")
    if wrong := unlike(task.grids, sizes):
        raise UserError(f"{where}.sizes(): {wrong[0]}")
    return task, sizes
