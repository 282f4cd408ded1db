"""What the engine asks of a task's file in `generators/tasks/`, and how it finds it."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from generators import recipe
from generators.streams import Streams
from schemas.core import Task, find_task
from schemas.errors import UserError

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

    def constants(self, recipe: Any) -> Arrays:
        """The task's fields without a sample axis."""


def find_generator(name: str) -> tuple[Task, Generator]:
    """The schema and the generator of a task; UserError if there is none."""
    task = find_task(name)
    try:
        module: ModuleType = importlib.import_module(f"generators.tasks.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"generators.tasks.{name}":
            raise
        raise UserError(f"--task {name}: it has a schema but no generator (generators/tasks/{name}.py)") from None
    return task, cast(Generator, module)
