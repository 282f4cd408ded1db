"""Geometry of a task: the grids on which its fields lie, and the ambiguities of its targets."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from physics.arrays import Array

type Freedom = Literal["constant", "ramp", "shift", "twin"]
type Relation = Literal["same", "coarser", "reciprocal"]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Grid:
    """The spatial dimensions that form one grid. The other dimensions of a field are slices or channels.

    A grid may be related to another grid, dimension by dimension. "same": the points lie at the same places. "coarser":
    the grid has k times fewer points, and both have the same outer edges; k need not be whole. "reciprocal": the grid
    has as many frequencies as the other has points, with frequency 0 at pixel N//2.
    """

    dims: tuple[str, ...]
    sampling: tuple[str, ...] = ()  # parameters with the pixel width: one for square pixels, or one per dimension
    of: tuple[str, ...] = ()  # the dimensions of the grid to which this one is related; empty: none
    how: Relation = "same"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.dims or (self.of and len(self.of) != len(self.dims)):
            raise ValueError(f"grid {self.dims}: of={self.of}: must have the same number of dimensions, at least 1")
        if len(self.sampling) not in (0, 1, len(self.dims)):
            raise ValueError(f"grid {self.dims}: sampling={self.sampling}: must be one parameter, or one per dimension")
        return self


@dataclass(frozen=True, config=_STRICT)
class Ambiguities:
    """Joint transformations of all targets that leave the inputs as they are (see `schemas.ambiguities`)."""

    free: tuple[Freedom, ...] = ()
    phases: tuple[str, ...] = ()  # targets to which constant and ramp are added, and which the twin negates
    # Name of the target that is the modulus of a wave modulus exp(i phase). The wave is then transformed as a whole.
    modulus: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.phases and set(self.free) & {"constant", "ramp"}:
            raise ValueError("ambiguities: phases must name the targets to which constant and ramp are added")
        if self.modulus and (len(self.phases) != 1 or "ramp" in self.free):
            raise ValueError(f"ambiguities: with modulus {self.modulus!r}, give one phase, and `ramp` must not be free")
        return self

    def within(self, names: Container[str]) -> "Ambiguities":
        """Return the ambiguities that remain if only these targets are present.

        Args:
            names: names of the targets that are present.
        """
        phases = tuple(name for name in self.phases if name in names)
        free = tuple(freedom for freedom in self.free if phases or freedom not in ("constant", "ramp"))
        return Ambiguities(free, phases, self.modulus if self.modulus in names and phases else "")


def as_images(grids: Iterable[Grid], dims: Sequence[str], values: Array) -> Array:
    """Move the spatial dimensions of an array to its end, so that the last two axes are those of an image.

    Args:
        grids: the grids of the task.
        dims: names of the axes of `values`.
        values: array (*dims), NumPy or JAX.
    """
    spatial = {dim for grid in grids for dim in grid.dims}
    return values.transpose(sorted(range(len(dims)), key=lambda axis: dims[axis] in spatial))


def group_dimensions(grids: Iterable[Grid], relations: Container[Relation]) -> dict[str, str]:
    """Group the dimensions of grids that are linked by certain relations.

    Args:
        grids: the grids of a task.
        relations: the relations that link two grids.

    Returns:
        By dimension, the name of the dimension that represents its group.
    """
    roots = {dim: dim for grid in grids for dim in grid.dims}
    for grid in grids:
        for dim, other in zip(grid.dims, grid.of, strict=False):
            if grid.how in relations:
                old, new = roots[dim], roots.get(other, other)
                roots = {key: new if root == old else root for key, root in roots.items()}
    return roots


def size_mismatches(grids: Iterable[Grid], sizes: Mapping[str, int]) -> list[str]:
    """Return one line for each length that contradicts the relations of the grids.

    Args:
        grids: the grids of a task.
        sizes: length of each dimension. Dimensions without a length are not checked.
    """
    mismatches = []
    for grid in grids:
        for dim, other in zip(grid.dims, grid.of, strict=False):
            if not {dim, other} <= sizes.keys():
                continue
            coarser = grid.how == "coarser"
            if sizes[dim] > sizes[other] if coarser else sizes[dim] != sizes[other]:
                rule = "must be at most" if coarser else "must be"
                mismatches.append(f"{dim} = {sizes[dim]}: {rule} {other} = {sizes[other]}")
    return mismatches
