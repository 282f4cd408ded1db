"""Fields to network input, network output to targets: the only place. Both directions are pure functions on arrays.

    input  = (fields - mean) / std, as channels     (sample, *spatial, channel)
    target = (output * std + mean) * window         (sample, *dims of the field), or what the task's head makes of it

mean and std are those of the training split, from the dataset's manifest, and travel with the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits

from schemas.core import SAMPLE, Field, Task
from schemas.errors import UserError
from training.contract import Array, Arrays, Channels, Inputs, Learn, Shape


class Moments(BaseModel):
    """Mean and standard deviation of a field over the training samples; deviation 1 for a constant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Annotated[float, Limits(allow_inf_nan=False)]
    std: Annotated[float, Limits(gt=0, allow_inf_nan=False)]


AS_IT_IS = Moments(mean=0, std=1)


@dataclass(frozen=True)
class Features:
    """The two directions, for a task and a choice of its inputs."""

    task: Task
    learn: Learn
    input: str
    scalars: tuple[str, ...]
    moments: Mapping[str, Moments]
    sizes: Mapping[str, int]
    head: str = ""  # empty: normalised targets

    @property
    def channels(self) -> tuple[Channels, ...]:
        """What the network sees, in the order of its channels."""
        return (*self.learn.inputs[self.input], *self.scalars)

    @property
    def reads(self) -> tuple[str, ...]:
        """The dataset's fields that make the input and the frame of the output."""
        names = [name for part in self.channels for name in ((part,) if isinstance(part, str) else part.fields)]
        window = [self.task.window] if self.task.window else []
        return tuple(dict.fromkeys([*names, *window]))

    @property
    def normalised(self) -> tuple[str, ...]:
        """The fields whose moments are needed."""
        parts = [name for part in self.channels if (name := part if isinstance(part, str) else part.like)]
        return tuple(dict.fromkeys([*parts, *(field.name for field in self.targets)]))

    @property
    def targets(self) -> tuple[Field, ...]:
        """What the network predicts."""
        return self.task.of("target")

    def encode(self, fields: Arrays) -> Array:
        """The network's input, (sample, *spatial, channel) float32. fields: those of `reads`."""
        parts = [self._encode(part, fields) for part in self.channels]
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return jnp.concatenate([jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in parts], axis=-1)

    def _encode(self, part: Channels, fields: Arrays) -> Array:
        if isinstance(part, str):
            moments, values = self.moments[part], self._to_channels(self.task[part], fields[part])
        else:
            moments, values = self.moments.get(part.like, AS_IT_IS), part.channels(fields)
        return (values.astype(jnp.float32) - moments.mean) / moments.std

    def _to_channels(self, field: Field, values: Array) -> Array:
        """Spatial axes after the sample axis, all of length 1 if a field lacks them; all others become channels."""
        dims = self.placed(field)
        values, dims = (values, dims[1:]) if field.per_sample else (values[None], dims)
        spatial = [1 + dims.index(name) for name in self.learn.spatial if name in dims]
        rest = [1 + axis for axis, name in enumerate(dims) if name not in self.learn.spatial]
        lengths = [values.shape[1 + dims.index(name)] if name in dims else 1 for name in self.learn.spatial]
        return jnp.transpose(values, (0, *spatial, *rest)).reshape(len(values), *lengths, -1)

    def placed(self, field: Field) -> tuple[str, ...]:
        """Its dimensions, those that stand for spatial ones under their names."""
        return tuple(self.task.along.get(name, name) for name in field.dims)

    def decode(self, output: Array, fields: Arrays) -> dict[str, Array]:
        """The targets, as the dataset has them. output: (sample, *spatial, channel). fields: the window, if any."""
        if output.shape[-1] != self.output_shape[-1]:
            raise UserError(f"the model gives {output.shape[-1]} channels, the targets have {self.output_shape[-1]}")
        if self.head:
            made = self.learn.heads[self.head].targets(output.astype(jnp.float32))
            return {field.name: self._windowed(field, made[field.name], fields) for field in self.targets}
        found, start = {}, 0
        for field in self.targets:
            width = self._width(field)
            moments = self.moments[field.name]
            values = self._from_channels(field, output[..., start : start + width].astype(jnp.float32))
            found[field.name] = self._windowed(field, values * moments.std + moments.mean, fields)
            start += width
        return found

    def _from_channels(self, field: Field, values: Array) -> Array:
        dims = field.dims[1:]
        rest = [name for name in dims if name not in self.learn.spatial]
        spatial = values.shape[1:-1]
        split = values.reshape(len(values), *spatial, *(self.sizes[name] for name in rest))
        order = [(*self.learn.spatial, *rest).index(name) for name in dims]
        return jnp.transpose(split, (0, *(1 + axis for axis in order)))

    def _windowed(self, field: Field, values: Array, fields: Arrays) -> Array:
        if self.task.window is None:
            return values
        return values * spread(fields[self.task.window], self.task[self.task.window], field)

    def _spatial(self) -> Shape:
        return tuple(self.sizes[name] for name in self.learn.spatial)

    def _width(self, field: Field) -> int:
        free = (SAMPLE, *self.learn.spatial)
        rest = [name for name, placed in zip(field.dims, self.placed(field), strict=True) if placed not in free]
        return int(np.prod([self.sizes[name] for name in rest], dtype=int))

    def refuse_misfit(self) -> None:
        """Raise UserError unless `encode` gives what `inputs` says; traced, without computing."""
        fields = {name: self._struct(self.task[name]) for name in self.reads}
        try:
            made = jax.eval_shape(self.encode, fields).shape
        except (TypeError, ValueError) as error:
            raise UserError(f"--input {self.input}: its parts do not fit together: {error}") from None
        if made[1:] != self.inputs.shape:
            dims = ", ".join((*self.learn.spatial, "channel"))
            raise UserError(
                f"--input {self.input}: gives {made[1:]} per sample, must be {self.inputs.shape} ({dims}): every part "
                "must lie on the grid of the targets"
            )

    @property
    def inputs(self) -> Inputs:
        """Of one sample of `encode`."""
        images = sum(
            self._width(self.task[part]) if isinstance(part, str) else self._derived(part)
            for part in self.learn.inputs[self.input]
        )
        scalars = sum(self._width(self.task[name]) for name in self.scalars)
        return Inputs(self._spatial(), images + scalars, scalars)

    @property
    def output_shape(self) -> Shape:
        """Of one sample that `decode` takes."""
        width = self.learn.heads[self.head].channels if self.head else sum(self._width(field) for field in self.targets)
        return (*self._spatial(), width)

    def _derived(self, part: Any) -> int:
        """Channels of what is computed: by tracing it, without computing."""
        shapes = {name: self._struct(self.task[name]) for name in part.fields}
        made = jax.eval_shape(part.channels, shapes).shape
        if len(made) != 2 + len(self.learn.spatial):
            file = f"training/tasks/{self.task.name}.py"
            raise UserError(f"{file}: {part.about}: channels gives {made}, must be (sample, *spatial, channel)")
        return int(made[-1])

    def _struct(self, field: Field) -> Any:
        lead = (1,) if field.per_sample else ()
        return jax.ShapeDtypeStruct((*lead, *field.shape(self.sizes)), field.dtype)

    def problems(self, task: Task, sizes: Mapping[str, int]) -> list[str]:
        """Why a dataset cannot be read: fields it lacks, of other units, or of another number of channels."""
        found = []
        fields = {field.name: field for field in task.fields}
        for name in self.reads:
            mine = self.task[name]
            if name not in fields:
                found.append(f"field {name} is missing")
            elif (fields[name].units, fields[name].dims) != (mine.units, mine.dims):
                found.append(f"field {name} is {_shown(fields[name])}, must be {_shown(mine)}")
            else:
                free = {SAMPLE, *self.learn.spatial}
                found += [
                    f"{name} has {sizes[dim]} along {dim}, must be {self.sizes[dim]}"
                    for dim in mine.dims
                    if dim not in free and sizes[dim] != self.sizes[dim]
                ]
        return found


def spread(values: Array, field: Field, other: Field) -> Array:
    """A field without samples, shaped to be multiplied with a batch of another that has its dimensions in any order."""
    order = sorted(range(values.ndim), key=lambda axis: other.dims.index(field.dims[axis]))
    lengths = dict(zip(field.dims, values.shape, strict=True))
    return values.transpose(order).reshape([lengths.get(name, 1) for name in other.dims[1:]])


def _shown(field: Field) -> str:
    return f"({', '.join(field.dims)}) [{field.units}]"
