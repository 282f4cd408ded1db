"""A circular window, which sets images and targets to zero outside of it."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting


class Window(Settings):
    """A disc about the central pixel; `--set window=0.4` is short for window.radius=0.4."""

    radius: Annotated[float, within(0, 1, above=True)] = Field(
        0.5, **setting("radius of the disc", "fraction of the image width")
    )
    edge: Annotated[float, within(0, 1)] = Field(
        0.0, **setting("width of the cosine edge inside the radius; 0: a hard edge", "fraction of the image width")
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: Any) -> Any:
        return {"radius": value} if isinstance(value, str | float | int) else value


def window(recipe: Window | None, size: int) -> np.ndarray:
    """Return the weight of each pixel, (size, size) float32 in 0..1.

    Args:
        recipe: the window; None: all weights are 1
        size: pixels along each side
    """
    if recipe is None:
        return np.ones((size, size), np.float32)
    axis = np.arange(size) - size // 2
    radius = np.sqrt(axis[:, None] ** 2 + axis**2) / size
    if not recipe.edge:
        return (radius <= recipe.radius).astype(np.float32)
    depth = np.clip((recipe.radius - radius) / recipe.edge, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * depth)).astype(np.float32)
