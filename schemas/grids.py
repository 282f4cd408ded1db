"""Geometry of a task: how fields lie in space, and what of the targets no measurement reveals."""

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
    """Spatial dimensions: neighbours along them belong together. All others of a field are slices or channels.

    Grids relate dimension by dimension. same: points at the same places; coarser: k times fewer, whose outer edges are
    the same; reciprocal: as many frequencies, 0 at pixel N//2.
    """

    dims: tuple[str, ...]
    sampling: tuple[str, ...] = ()  # parameters with the width of its pixels: of square ones, or along each dimension
    of: tuple[str, ...] = ()  # the dimensions of the grid that it relates to; empty: to none
    how: Relation = "same"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.dims or (self.of and len(self.of) != len(self.dims)):
            raise ValueError(f"grid {self.dims}: of {self.of}: must have as many dimensions, at least one")
        if len(self.sampling) not in (0, 1, len(self.dims)):
            raise ValueError(f"grid {self.dims}: sampling {self.sampling}: must be one parameter, or one a dimension")
        return self


@dataclass(frozen=True, config=_STRICT)
class Ambiguities:
    """Joint transformations of all targets that leave the inputs as they are (see `schemas.ambiguities`)."""

    free: tuple[Freedom, ...] = ()
    phases: tuple[str, ...] = ()  # targets to which constant and ramp are added, and which the twin negates
    modulus: str = ""  # target: with the one phase, of a wave modulus exp(i phase), which is what is transformed

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.phases and set(self.free) & {"constant", "ramp"}:
            raise ValueError("ambiguities: phases must name the targets to which constant and ramp are added")
        if self.modulus and (len(self.phases) != 1 or "ramp" in self.free):
            raise ValueError(f"ambiguities: a wave of modulus {self.modulus} has one phase, and no ramp is free")
        return self

    def within(self, names: Container[str]) -> "Ambiguities":
        """Return what is left of it where targets are missing."""
        phases = tuple(name for name in self.phases if name in names)
        free = tuple(one for one in self.free if phases or one not in ("constant", "ramp"))
        return Ambiguities(free, phases, self.modulus if self.modulus in names and phases else "")


def as_images(grids: Iterable[Grid], dims: Sequence[str], values: Array) -> Array:
    """Return values (*dims) with their spatial dimensions last, so that the last two are those of an image."""
    spatial = {dim for grid in grids for dim in grid.dims}
    return values.transpose(sorted(range(len(dims)), key=lambda axis: dims[axis] in spatial))


def related(grids: Iterable[Grid], relations: Container[Relation]) -> dict[str, str]:
    """Return, by dimension, the one that stands for all that relate to it in these ways."""
    roots = {dim: dim for grid in grids for dim in grid.dims}
    for grid in grids:
        for dim, other in zip(grid.dims, grid.of, strict=False):
            if grid.how in relations:
                old, new = roots[dim], roots.get(other, other)
                roots = {key: new if root == old else root for key, root in roots.items()}
    return roots


def unlike(grids: Iterable[Grid], sizes: Mapping[str, int]) -> list[str]:
    """Return which lengths do not suit the relations of the grids, a line each."""
    found = []
    for grid in grids:
        for dim, other in zip(grid.dims, grid.of, strict=False):
            if not {dim, other} <= sizes.keys():
                continue
            rest = sizes[other] % sizes[dim] if grid.how == "coarser" else sizes[other] - sizes[dim]
            if rest:
                rule = "must divide" if grid.how == "coarser" else "must be"
                found.append(f"{dim} = {sizes[dim]}: {rule} {other} = {sizes[other]}")
    return found
