"""The only place where fields become network input, and network output becomes targets.

    input  = (fields - mean) / std, as channels     (sample, *spatial, channel)
    target = (output * std + mean) * window         (sample, *dims of the field), or the result of the task's head

Both directions are pure functions on arrays. mean and std are those of the training split
(`training/dataset_moments.py`), of a whole field or of each of its channels, and are stored with the model. They may
also be those of an input in each sample, so that targets follow its scale. A target has two forms: `decode` returns
the one that losses compare, `to_stored` the one that is stored. They differ for classes: losses see logits (sample,
*dims, class), and probabilities are stored. A target with a period is an angle; the network gives its cosine and its
sine. Slices are samples here: `task` is `Task.sliced`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from schemas.runtime import plugins
from schemas.runtime.errors import UserError
from schemas.task import SAMPLE, Field, Task
from training.contract import (
    Array,
    Arrays,
    Channels,
    Derived,
    Fit,
    Inputs,
    Learn,
    Operator,
    Shape,
    SizedOperator,
    fields_read,
)
from training.moments import IDENTITY, Each, Moments, Normalised, Own, Scale, mean_and_std
from training.output_values import angle, numbers_per_value, outside_first_class, probabilities


@dataclass(frozen=True)
class Features:
    """Conversion between the fields of a task and the arrays of a network, for one choice of inputs."""

    task: Task
    learn: Learn
    input: str
    scalars: tuple[str, ...]
    moments: Mapping[str, Normalised]
    sizes: Mapping[str, int]
    head: str = ""  # empty: the output holds the normalised targets
    operator: Operator | None = None  # the task's operator, if the model applies it
    cut: bool = False  # True: samples are parts of larger ones, which may be nearly empty

    @property
    def channels(self) -> tuple[Channels, ...]:
        """Inputs of the network, in the order of its channels."""
        known = self.learn.scalar_parts
        return (*self.learn.inputs[self.input], *(known.get(name, name) for name in self.scalars))

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields of the dataset from which the input is made, or that decoding needs."""
        window = [self.task.window] if self.task.window else []
        inside = self.operator.fields if self.operator else ()
        owners = [known.of for known in self.moments.values() if isinstance(known, Own)]
        return tuple(dict.fromkeys([*fields_read(self.channels), *window, *inside, *owners]))

    @property
    def input_grid(self) -> tuple[str, ...]:
        """Dimensions of the grid on which the network sees its input."""
        if self.input in self.learn.grids:
            return self.learn.grids[self.input]
        if self.target_grid:
            return self.target_grid
        fields = (self.task[name] for name in self.reads)
        return next((grid for field in fields if (grid := self.task.spatial(field))), ())

    @property
    def target_grid(self) -> tuple[str, ...]:
        """Dimensions of the grid of the targets; empty if they are single values."""
        return self.task.spatial(self.targets[0])

    @property
    def normalised(self) -> tuple[str, ...]:
        """Fields whose moments are needed."""
        parts = [name for part in self.channels if (name := part if isinstance(part, str) else part.like)]
        measured = (field.name for field in self.targets if not field.classes and not field.period)
        return tuple(dict.fromkeys([*parts, *measured]))

    @property
    def derived(self) -> dict[str, Derived]:
        """Computed channels that have their own moments, by the name of these moments."""
        inputs = ((f"{self.input}[{i}]", part) for i, part in enumerate(self.learn.inputs[self.input]))
        parts = (*inputs, *((name, self.learn.derived_scalars.get(name, name)) for name in self.scalars))
        return {name: p for name, p in parts if isinstance(p, Derived) and not p.like and p.by != "none"}

    @property
    def targets(self) -> tuple[Field, ...]:
        """Fields that the network predicts."""
        return self.task.of("target")

    def encode(self, fields: Arrays) -> Array:
        """Return the input of the network.

        Args:
            fields: the fields of `reads`, (sample, ...), in their own units.

        Returns:
            Input (sample, *spatial, channel), float32.
        """
        own = {part: name for name, part in self.derived.items()}
        parts = [self._encode(part, fields, own) for part in self.channels]
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return jnp.concatenate([jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in parts], axis=-1)

    def _encode(self, part: Channels, fields: Arrays, own: Mapping[Derived, str]) -> Array:
        """Return the normalised channels of one part of the input."""
        if isinstance(part, str):
            known, values = self.moments[part], self._to_channels(self.task[part], fields[part])
        else:
            known = self.moments.get(part.like or own.get(part, ""), IDENTITY)
            values = self.compute_channels(part, fields)
            if values.ndim == 2:  # scalars
                values = values.reshape(len(values), *(1 for _ in self.input_grid), -1)
        mean, std = mean_and_std(known, fields, values.ndim)
        encoded: Array = (values.astype(jnp.float32) - mean) / std
        return encoded

    def scale(self, field: Field, fields: Arrays) -> Scale:
        """Return mean and standard deviation of a target: numbers, or arrays that broadcast with (sample, *dims)."""
        known = self.moments.get(field.name, IDENTITY)
        mean, std = mean_and_std(known, fields, len(field.dims))
        if not isinstance(known, Each):
            return mean, std
        one = (1, *(1 for _ in self.target_grid), -1)
        return self._from_channels(field, mean.reshape(one)), self._from_channels(field, std.reshape(one))

    def compute_channels(self, part: Derived, fields: Arrays) -> Array:
        """Return computed channels (sample, *spatial, channel), or scalars (sample, value), in their own units."""
        sized: Any = part.channels
        with plugins.reporting_errors(*plugins.function_origin(part.channels), part.fields):
            made: Array = sized({name: fields[name] for name in part.fields}, *([self.sizes] if part.sized else []))
        return made

    def _to_channels(self, field: Field, values: Array) -> Array:
        """Put spatial axes after the sample axis, of length 1 if a field lacks them. All other axes become channels."""
        dims = self.dims_on_grid(field)
        values, dims = (values, dims[1:]) if field.per_sample else (values[None], dims)
        spatial = [1 + dims.index(name) for name in self.input_grid if name in dims]
        rest = [1 + axis for axis, name in enumerate(dims) if name not in self.input_grid]
        lengths = [values.shape[1 + dims.index(name)] if name in dims else 1 for name in self.input_grid]
        return jnp.transpose(values, (0, *spatial, *rest)).reshape(len(values), *lengths, -1)

    def dims_on_grid(self, field: Field) -> tuple[str, ...]:
        """Return the dimensions of a field. Those related to the input's grid (same, reciprocal) get its names."""
        roots = self.task.related("same", "reciprocal")
        known = {roots.get(dim, dim): dim for dim in self.input_grid}
        return tuple(known.get(roots.get(name, name), name) for name in field.dims)

    def decode(self, output: Array, fields: Arrays) -> dict[str, Array]:
        """Return the targets in the form that losses compare.

        Args:
            output: output of the network, (sample, *spatial, channel).
            fields: the fields of `reads`, which include the window if the task has one.

        Returns:
            Each target, (sample, *dims); for classes logits (sample, *dims, class).

        Raises:
            UserError: the output has another number of channels than the targets.
        """
        if output.shape[-1] != self.output_shape[-1]:
            raise UserError(
                f"the model outputs {output.shape[-1]} channels, but the targets need {self.output_shape[-1]}"
            )
        if self.head:
            made = self.learn.heads[self.head].targets(output.astype(jnp.float32))
            return {field.name: self._apply_window(field, made[field.name], fields) for field in self.targets}
        found, start = {}, 0
        for field in self.targets:
            width = self._count_channels(field) * numbers_per_value(field)
            values = self._from_channels(field, output[..., start : start + width].astype(jnp.float32))
            found[field.name] = self._apply_window(field, self._in_units(field, values, fields), fields)
            start += width
        return found

    def to_stored(self, decoded: Arrays) -> dict[str, Array]:
        """Return decoded targets in the form that is stored; classes as probabilities (sample, *dims, class)."""
        return {
            name: probabilities(self.task[name], values) if self.task[name].classes else values
            for name, values in decoded.items()
        }

    def _in_units(self, field: Field, values: Array, fields: Arrays) -> Array:
        """Return values in units of the field, from the output of the network."""
        if field.classes:
            return values
        if field.period:
            return angle(values[..., 0], values[..., 1]) * (field.period / (2 * math.pi))
        mean, std = self.scale(field, fields)
        valued: Array = values * std + mean
        return valued

    def _from_channels(self, field: Field, values: Array) -> Array:
        """Return (sample, *dims of the field). If each value needs several numbers, they form the last axis."""
        dims, spatial = field.dims[1:], values.shape[1:-1]
        rest = [name for name in dims if name not in self.target_grid]
        several = (numbers_per_value(field),) if numbers_per_value(field) > 1 else ()
        split = values.reshape(len(values), *spatial, *(self.sizes[name] for name in rest), *several)
        order = [(*self.target_grid, *rest).index(name) for name in dims]
        return jnp.transpose(split, (0, *(1 + axis for axis in order), *range(1 + len(dims), split.ndim)))

    def _apply_window(self, field: Field, values: Array, fields: Arrays) -> Array:
        """Return values that are 0 outside of the window; of logits, those of the first class alone are left."""
        if self.task.window is None:
            return values
        inside = broadcast_to_field(fields[self.task.window], self.task[self.task.window], field)
        return outside_first_class(values, inside) if field.classes else values * inside

    def _lengths(self, dims: tuple[str, ...]) -> Shape:
        return tuple(self.sizes[name] for name in dims)

    def _count_channels(self, field: Field) -> int:
        grid = (SAMPLE, *self.input_grid, *self.target_grid)
        return prod(
            self.sizes[name]
            for name, placed in zip(field.dims, self.dims_on_grid(field), strict=True)
            if placed not in grid and name not in grid
        )

    def refuse_misfit(self) -> None:
        """Raise UserError unless `encode` and `decode` give the expected shapes, which are traced without computing."""
        fields = {name: self._shape_struct(self.task[name]) for name in self.reads}
        dims = ", ".join((*self.input_grid, "channel"))
        try:
            made = jax.eval_shape(self.encode, fields).shape
        except (TypeError, ValueError) as error:
            raise UserError(f"--input {self.input}: its parts do not fit together ({error}); {self._remedy}") from None
        if made[1:] != self.inputs.shape:
            raise UserError(
                f"--input {self.input}: gives {made[1:]} per sample, must be {self.inputs.shape} ({dims}): every part "
                f"must lie on the grid of the input; {self._remedy}"
            )
        output = jax.ShapeDtypeStruct((1, *self.output_shape), jnp.float32)
        decoded = jax.eval_shape(lambda x, fields: self.to_stored(self.decode(x, fields)), output, fields)
        for field in self.targets:
            shape = (1, *field.shape(self.sizes), *([len(field.classes)] if field.classes else []))
            if decoded[field.name].shape != shape:
                raise UserError(f"head {self.head}: gives {field.name} {decoded[field.name].shape}, must be {shape}")

    @property
    def _remedy(self) -> str:
        name = self.task.name
        return f"correct LEARN in training/tasks/{name}.py, or TASK.grids in schemas/tasks/{name}.py"

    def misfit(self, fit: Fit) -> str:
        """Return why a model of this kind cannot map the input's grid to that of the targets; empty if it can."""
        lengths, target_lengths = self.inputs.spatial, self.output_shape[:-1]
        factors = {b / a for a, b in zip(lengths, target_lengths, strict=False)}
        if fit == "operator" and not self.learn.operator:
            return f"has physics inside, but training/tasks/{self.task.name}.py has no LEARN.operator"
        if fit == "operator" and self._target_moments is None:
            return f"has physics inside, so LEARN.normalise must give {self.targets[0].name} one mean and deviation"
        same_rank = len(lengths) == len(target_lengths)
        if fit in ("any", "operator") or (same_rank and (factors == {1} or _is_factor(factors, fit))):
            return ""
        targets = _grid_text(self.target_grid, target_lengths)
        grids = f"{_grid_text(self.input_grid, lengths)} of the input {self.input}, {targets} of the targets"
        more = {"enlarged": ", or enlarges it by a whole factor", "resized": ", or enlarges it by any factor"}
        rule = "keeps the grid of its input" + more.get(fit, "")
        return f"{rule}; here the grids are {grids}"

    @property
    def inputs(self) -> Inputs:
        """Input of the network for one sample, as `encode` returns it."""
        seen = self.learn.inputs[self.input]
        parts = tuple(self._count_values(part, "(sample, *spatial, channel)") for part in seen)
        scalars = sum(self._count_values(part, "(sample, value)") for part in self.channels[len(seen) :])
        moments = self._target_moments or (0.0, 1.0)
        spatial, on_targets = self._lengths(self.input_grid), self.input_grid == self.target_grid
        return Inputs(spatial, sum(parts) + scalars, scalars, self._sized_operator, moments, on_targets, parts)

    @property
    def _target_moments(self) -> tuple[float, float] | None:
        """Mean and deviation of the first target, if they are the same for all values."""
        known = self.moments.get(self.targets[0].name, IDENTITY)
        return (known.mean, known.std) if isinstance(known, Moments) else None

    @property
    def _sized_operator(self) -> SizedOperator | None:
        if (op := self.operator) is None:
            return None
        inverse: Any = op.inverse
        return SizedOperator(
            op.measured,
            len(self.task[op.measured].dims) - 1,
            lambda image, fields: op.forward(image, fields, self.sizes),
            lambda measured, fields: op.adjoint(measured, fields, self.sizes),
            (lambda measured, fields: inverse(measured, fields, self.sizes)) if inverse else None,
        )

    @property
    def output_shape(self) -> Shape:
        """Shape of the network's output for one sample, as `decode` takes it."""
        widths = sum(self._count_channels(field) * numbers_per_value(field) for field in self.targets)
        return (*self._lengths(self.target_grid), self.learn.heads[self.head].channels if self.head else widths)

    @property
    def needs_whole_samples(self) -> bool:
        """Return whether the input or the operator depends on whole samples, which therefore must not be cut."""
        near = self.task.related("same", "coarser")
        grids = {near.get(dim, dim) for dim in self.input_grid} | {
            near.get(dim, dim) for name in fields_read(self.channels) for dim in self.task.spatial(self.task[name])
        }
        derived = [part for part in self.channels if isinstance(part, Derived) and not part.local]
        own = any(isinstance(known, Own) for known in self.moments.values())  # normalised as whole samples
        return bool(derived or own or self.operator or grids - {near.get(dim, dim) for dim in self.target_grid})

    def _count_values(self, part: Channels, form: str) -> int:
        """Return the number of channels of a part. Those of computed ones are found by tracing without computing.

        form: axes of computed channels, for the message if their function gives others.
        """
        if isinstance(part, str):
            return self._count_channels(self.task[part])
        shapes = {name: self._shape_struct(self.task[name]) for name in part.fields}
        made = jax.eval_shape(lambda fields: self.compute_channels(part, fields), shapes).shape
        if len(made) != 2 + len(self.input_grid) * ("spatial" in form):
            raise UserError(
                f"training/tasks/{self.task.name}.py: {part.about}: channels returns {made}, must be {form}"
            )
        return int(made[-1])

    def _shape_struct(self, field: Field) -> Any:
        lead = (1,) if field.per_sample else ()
        return jax.ShapeDtypeStruct((*lead, *field.shape(self.sizes)), field.dtype)

    def problems(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        """Return the reasons why a dataset cannot be read.

        Args:
            task: task of the dataset, sliced.
            sizes: lengths of its dimensions.

        Returns:
            Messages about fields that are missing, have other units, or another number of channels; empty if there are
            none.
        """
        found = []
        fields = {field.name: field for field in task.fields}
        for name in self.reads:
            mine = self.task[name]
            if name not in fields:
                found.append(f"field {name} is missing")
            elif _signature(fields[name]) != _signature(mine):
                found.append(f"field {name} is {_field_text(fields[name])}, must be {_field_text(mine)}")
            else:
                found += [
                    f"{name} has {sizes[dim]} along {dim}, must be {self.sizes[dim]}"
                    for dim in self.task.channels(mine)
                    if sizes[dim] != self.sizes[dim]
                ]
        return found + self.factor_problems(sizes)

    def factor_problems(self, sizes: Mapping[str, int]) -> list[str]:
        """Return messages about grids that are finer or coarser than others by another factor than in training."""
        found = []
        for grid in self.task.grids:
            for dim, other in zip(grid.dims, grid.of, strict=False):
                known = {dim, other} <= sizes.keys() & self.sizes.keys()
                if known and sizes[other] * self.sizes[dim] != sizes[dim] * self.sizes[other]:
                    ratio = self.sizes[other] / self.sizes[dim]
                    found.append(
                        f"{other} has {sizes[other]} for {sizes[dim]} along {dim}, must be {ratio:g} times as many"
                    )
        return found


def broadcast_to_field(values: Array, field: Field, other: Field) -> Array:
    """Return a field without a sample axis, shaped to be multiplied with a batch of `other`."""
    order = sorted(range(values.ndim), key=lambda axis: other.dims.index(field.dims[axis]))
    lengths = dict(zip(field.dims, values.shape, strict=True))
    return values.transpose(order).reshape([lengths.get(name, 1) for name in other.dims[1:]])


def _field_text(field: Field) -> str:
    return f"({', '.join(field.dims)}) [{field.units}]"


def _signature(field: Field) -> tuple[Any, ...]:
    return field.units, field.dims, field.classes


def _is_factor(factors: set[float], fit: Fit) -> bool:
    whole = len(factors) == 1 and all(factor == int(factor) > 1 for factor in factors)
    return fit == "resized" or (fit == "enlarged" and whole)


def _grid_text(dims: tuple[str, ...], lengths: Shape) -> str:
    return " x ".join(f"{dim} {n}" for dim, n in zip(dims, lengths, strict=True)) or "a number"
