"""The contract between the engine and a task's file in `generators/tasks/`, and the search for these files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from generators import recipe
from generators.random_streams import Streams
from schemas.grids import size_mismatches
from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.runtime.settings import undescribed_settings
from schemas.task import SAMPLE, Task, find_task

type Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sliced:
    """Simulate samples slice by slice: `simulate = Sliced(TASK, simulate_slice)` in a task's file.

    It is meant for tasks with `TASK.slices` whose samples take minutes. The engine then stores the finished slices of a
    sample, so that an interrupted run goes on with the next one, and needs the working memory of one slice alone.
    """

    task: Task
    # (recipe, block, index) -> the arrays of one slice, without randomness. index has one number for each of
    # `TASK.slices`. Arrays are as in `TASK.sliced`: (len(block), ...) without the dimensions of slices. A field without
    # these dimensions must be the same for all slices. In an array that is not a field, the slices become the axes
    # after the first.
    simulate_slice: Callable[[Any, Sequence[Any], tuple[int, ...]], Arrays]

    def __call__(self, recipe: Any, block: Sequence[Any]) -> Arrays:
        """Return the expectations of a block, as `Generator.simulate` does."""
        return self.stacked(recipe, partial(self.one, recipe, block))

    def one(self, recipe: Any, block: Sequence[Any], index: tuple[int, ...]) -> Arrays:
        """Return the arrays of one slice of each sample of a block.

        Args:
            recipe: the recipe of the task
            block: parameters of the samples
            index: one number for each of `TASK.slices`

        Raises:
            UserError: the task's function fails, or does not return a dict of arrays
        """
        return arrays_of(self.task.name, "simulate_slice", self.simulate_slice, recipe, block, index)

    def indices(self, recipe: recipe.Recipe) -> list[tuple[int, ...]]:
        """Return the index of every slice of a sample, in the order in which they are simulated."""
        sizes = recipe.sizes()
        return list(np.ndindex(*(sizes[dim] for dim in self.task.slices)))

    def stacked(self, recipe: recipe.Recipe, make_slice: Callable[[tuple[int, ...]], Arrays]) -> Arrays:
        """Return arrays with the dimensions of slices, filled slice by slice.

        Args:
            recipe: the recipe of the task
            make_slice: returns the arrays of the slice with the given index

        Raises:
            UserError: slices differ in shape
        """
        lengths = [recipe.sizes()[dim] for dim in self.task.slices]
        arrays: Arrays = {}
        for index in self.indices(recipe):
            for name, values in make_slice(index).items():
                axes = self._axes(name)
                if name not in arrays:
                    arrays[name] = _allocate_slices(values, {axis: lengths[k] for k, axis in axes.items()})
                part = np.moveaxis(arrays[name], list(axes.values()), range(len(axes)))[tuple(index[k] for k in axes)]
                if part.shape != values.shape:
                    raise UserError(
                        f"generators/tasks/{self.task.name}.py: simulate_slice returned {name} of shape {values.shape} "
                        f"for slice {index} and {part.shape} for the first slice; all slices must have one shape"
                    )
                part[...] = values
        return arrays

    def _axes(self, name: str) -> dict[int, int]:
        """Return which axis of an array holds each dimension of `TASK.slices`, by the number of that dimension."""
        known = {field.name: field.dims for field in self.task.fields}
        dims = known.get(name, (SAMPLE, *self.task.slices))
        return {k: dims.index(dim) for k, dim in enumerate(self.task.slices) if dim in dims}


def _allocate_slices(values: np.ndarray, lengths: Mapping[int, int]) -> np.ndarray:
    """Return an empty array with the shape of one slice and further axes, by position and length."""
    shape = list(values.shape)
    for axis in sorted(lengths):
        shape.insert(axis, lengths[axis])
    return np.empty(shape, values.dtype)


@dataclass(frozen=True)
class Comparison:
    """Comparison of a recipe's approximation with a better one, by `dataset certify`: `COMPARISON` in a task's file."""

    about: str  # both approximations, and what is compared
    # (recipe, parameters of a sample, index of a slice, number of values, random numbers) -> the values of the recipe's
    # approximation and those of the better one, (value,) each; both without noise.
    compute: Callable[[Any, Any, tuple[int, ...], int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def calling(task: str, function: str) -> AbstractContextManager[None]:
    """Turn an error in a function of a task's file into one line that names the file, its line and the error.

    Args:
        task: name of the task
        function: name of the function, for the message

    Raises:
        UserError: on leaving the context, if the function failed
    """
    return plugins.reporting_errors(f"generators.tasks.{task}", function)


def arrays_of(task: str, name: str, function: Callable[..., Arrays], *arguments: Any) -> Arrays:
    """Call a function of a task's file and return its arrays.

    Args:
        task: name of the task
        name: name of the function, for messages
        function: the function
        arguments: its arguments

    Raises:
        UserError: the function fails, or does not return a dict of arrays
    """
    with calling(task, name):
        values: Any = function(*arguments)
    if not isinstance(values, dict) or not all(isinstance(value, np.ndarray) for value in values.values()):
        raise UserError(f"generators/tasks/{task}.py: {name} must return a dict of arrays by field")
    return values


class Generator(Protocol):
    """The functions of a task's file. A block is a sequence of the parameters of samples.

    Arrays have a leading axis, as long as the block.
    """

    VERSION: int  # raised with every change of what is generated; enters the fingerprint
    Recipe: type[recipe.Recipe]
    RECIPES: Mapping[str, recipe.Recipe]  # `default`, and published experiments
    COMPARISON: Comparison  # optional: for tasks whose recipe chooses an approximation

    def draw(self, recipe: Any, rng: Streams) -> Any:
        """Return the parameters of one sample, rounded to their dtypes.

        Its attributes are named like the parameter fields of the task. A method `columns()`, which returns them by
        field, may take the place of the attributes.

        Args:
            recipe: the recipe of the task
            rng: the streams of the sample
        """

    def simulate(self, recipe: Any, block: Sequence[Any]) -> Arrays:
        """Return the expectations of a block, without randomness. A `Sliced` may take the place of this function.

        The result for a sample must not depend on the block in which it is simulated.

        Args:
            recipe: the recipe of the task
            block: parameters of the samples
        """

    def measure(self, recipe: Any, block: Sequence[Any], arrays: Arrays, rngs: Sequence[Streams]) -> Arrays:
        """Return the measurement of these expectations: noise comes last, from one stream per sample.

        Args:
            recipe: the recipe of the task
            block: parameters of the samples
            arrays: the expectations, from `simulate`
            rngs: the streams of each sample
        """

    def constants(self, recipe: Any, rng: Streams) -> Arrays:
        """Return the task's fields without a sample axis.

        Args:
            recipe: the recipe of the task
            rng: the streams of the dataset as a whole
        """


def find_generator(name: str) -> tuple[Task, Generator]:
    """Return the schema and the generator of a task.

    Raises:
        UserError: the task has no schema or no generator, or its generator breaks the contract
    """
    task = find_task(name)
    unknown = f"--task {name}: it has a schema but no generator (generators/tasks/{name}.py)"
    return task, cast(Generator, plugins.find_module("generators.tasks", name, _contract_mistakes, unknown))


def find_comparison(name: str) -> Comparison:
    """Return how the approximations of a task are compared.

    Raises:
        UserError: the task makes no approximation that could be compared
    """
    found: Comparison | None = getattr(find_generator(name)[1], "COMPARISON", None)
    if found is None:
        raise UserError(f"task {name}: has no approximation to compare with a better one (COMPARISON)")
    return found


def _contract_mistakes(module: ModuleType) -> Iterator[str]:
    """Yield the mistakes of a task's file in `generators/tasks/`, one line each."""
    yield from plugins.missing_objects(module, {"VERSION": int, "Recipe": type, "RECIPES": Mapping})
    if not issubclass(module.Recipe, recipe.Recipe):
        yield "Recipe: must be a subclass of generators.recipe.Recipe"
    yield from undescribed_settings(module.Recipe)
    yield from plugins.mistyped_objects(module, {"COMPARISON": Comparison})
    if "default" not in module.RECIPES:
        yield "RECIPES: one must be named default"
    for name, preset in module.RECIPES.items():
        if not isinstance(preset, module.Recipe):
            yield f"RECIPES[{name!r}]: must be a Recipe(...)"
    arguments = {
        "draw": ("recipe", "rng"),
        "simulate": ("recipe", "block"),
        "measure": ("recipe", "block", "arrays", "rngs"),
        "constants": ("recipe", "rng"),
    }
    for name, names in arguments.items():
        yield from plugins.call_mistakes(name, getattr(module, name, None), *names)
    if isinstance(module.simulate, Sliced):
        yield from plugins.call_mistakes("simulate_slice", module.simulate.simulate_slice, "recipe", "block", "index")
        if module.simulate.task.name != plugins.last_name(module) or not module.simulate.task.slices:
            yield "simulate: Sliced(TASK, simulate_slice) needs the TASK of this file, with TASK.slices"


def stored(task: Task, made: recipe.Recipe) -> tuple[Task, dict[str, int]]:
    """Return the fields that a recipe stores, and the length of each of their dimensions.

    Args:
        task: the schema, with all optional fields
        made: the recipe

    Raises:
        UserError: the recipe names an unknown field, lacks a length, or its lengths contradict `TASK.grids`
    """
    where = f"generators/tasks/{task.name}.py: Recipe"
    with calling(task.name, "Recipe"):
        sizes, wanted = made.sizes(), made.optional()
    optional = {field.name for field in task.fields if field.optional}
    if unknown := wanted - optional:
        raise UserError(f"{where}.optional(): {', '.join(sorted(unknown))}: optional fields are {sorted(optional)}")
    task = task.select(wanted)
    for dim in {dim for field in task.fields for dim in field.dims} - {SAMPLE}:
        if not isinstance(sizes.get(dim), int) or sizes[dim] < 1:
            raise UserError(f"{where}.sizes(): {dim} = {sizes.get(dim)}: must be a length, a whole number from 1")
    if wrong := size_mismatches(task.grids, sizes):
        raise UserError(f"{where}.sizes(): {wrong[0]}; correct it, or TASK.grids in schemas/tasks/{task.name}.py")
    return task, sizes
