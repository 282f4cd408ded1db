"""Images of a series that are turned, magnified and displaced against one another, as a microscope's are.

    measured(x) = image(c + R(-angle) (x - c - d) / m)

c: the centre of pixel N//2. R(angle) turns +x towards +y. m: magnification. d: displacement.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from generators.instruments.spline import affine
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

type Mode = Literal["uniform", "gaussian"]
MODE = "uniform in +-magnitude, or gaussian with that standard deviation"


class Misalignment(Settings):
    """Magnitudes of three kinds of misalignment, each switched off by 0; independent for each image."""

    rotation: Annotated[float, within(0, np.pi)] = Field(np.deg2rad(3.0), **setting("turn about the centre", "rad"))
    rotation_mode: Mode = Field("uniform", **setting(MODE))
    scale: Annotated[float, within(0, 0.5)] = Field(0.02, **setting("magnification, relative to 1"))
    scale_mode: Mode = Field("uniform", **setting(MODE))
    shift: Annotated[float, within(0, 0.5)] = Field(
        0.01, **setting("displacement in a random direction", "fraction of the field of view")
    )
    shift_mode: Mode = Field("uniform", **setting("length uniform in 0..magnitude, or the modulus of a gaussian"))


@dataclass(frozen=True)
class Pose:
    """How an image lies: rotation [rad], scale [1], shift_y and shift_x [nm]."""

    rotation: float = 0.0
    scale: float = 1.0
    shift_y: float = 0.0
    shift_x: float = 0.0


def draw(recipe: Misalignment, field_of_view: float, rng: np.random.Generator) -> Pose:
    """A random pose, as float32 stores it. field_of_view: [nm].

    What is switched off is drawn all the same, so the others do not change.
    """
    rotation = _spread(recipe.rotation, recipe.rotation_mode, rng)
    scale = 1 + _spread(recipe.scale, recipe.scale_mode, rng)
    length = abs(_spread(recipe.shift, recipe.shift_mode, rng)) * field_of_view
    direction = rng.uniform(0, 2 * np.pi)
    # A gaussian has tails: an image is never shrunk to nothing.
    numbers = (rotation, max(scale, 0.1), length * np.sin(direction), length * np.cos(direction))
    return Pose(*(float(np.float32(number)) for number in numbers))


def _spread(magnitude: float, mode: Mode, rng: np.random.Generator) -> float:
    unit = rng.uniform(-1, 1) if mode == "uniform" else rng.standard_normal()
    return magnitude * float(unit)


def misalign(image: np.ndarray, pose: Pose, sampling: float, centre: tuple[float, float]) -> np.ndarray:
    """The image as it is measured in a pose, by cubic splines; unchanged in the neutral pose.

    image: (y, x), periodic as all fields that are simulated with Fourier transforms, so that nothing has to be made
    up where the frame turns out of it. sampling: [nm]. centre: (y, x) [pixel], the fixed point of turn and scale.
    """
    if pose == Pose():
        return image
    cosine, sine = np.cos(pose.rotation), np.sin(pose.rotation)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) / pose.scale
    middle = np.array(centre)
    moved = middle + np.array([pose.shift_y, pose.shift_x]) / sampling
    return affine(image, matrix, middle - matrix @ moved)
