"""Misaligned images of a series: turned, magnified and displaced against one another, as in a microscope.

    measured(x) = image(c + R(-angle) (x - c - d) / m)

c is the centre of pixel N//2, R(angle) turns +x towards +y, m is the magnification, d the displacement.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from generators.instruments.spline import affine
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

type Mode = Literal["uniform", "gaussian"]
MODE_ABOUT = "distribution: uniform within +- the magnitude, or gaussian with it as standard deviation"


class Misalignment(Settings):
    """Magnitudes of three kinds of misalignment; a magnitude of 0 switches that kind off.

    Each image of a series gets its own random misalignment.
    """

    rotation: Annotated[float, within(0, np.pi)] = Field(
        np.deg2rad(3.0), **setting("magnitude of the rotation about the centre", "rad")
    )
    rotation_mode: Mode = Field("uniform", **setting(MODE_ABOUT))
    scale: Annotated[float, within(0, 0.5)] = Field(
        0.02, **setting("magnitude of the deviation of the magnification from 1")
    )
    scale_mode: Mode = Field("uniform", **setting(MODE_ABOUT))
    shift: Annotated[float, within(0, 0.5)] = Field(
        0.01, **setting("magnitude of the displacement, which has a random direction", "fraction of the field of view")
    )
    shift_mode: Mode = Field(
        "uniform",
        **setting("distribution of the length: uniform from 0 to the magnitude, or the modulus of a gaussian"),
    )


@dataclass(frozen=True)
class Pose:
    """Rotation, magnification and shift of one image relative to the reference image."""

    rotation: float = 0.0  # [rad]
    scale: float = 1.0
    shift_y: float = 0.0  # [nm]
    shift_x: float = 0.0  # [nm]


def draw(recipe: Misalignment, field_of_view: float, rng: np.random.Generator) -> Pose:
    """Draw a random pose, rounded to float32 as it is stored.

    Kinds that are switched off are drawn all the same, so that the others do not change.

    Args:
        recipe: the magnitudes
        field_of_view: [nm]
        rng: random numbers
    """
    rotation = _draw_deviation(recipe.rotation, recipe.rotation_mode, rng)
    scale = 1 + _draw_deviation(recipe.scale, recipe.scale_mode, rng)
    length = abs(_draw_deviation(recipe.shift, recipe.shift_mode, rng)) * field_of_view
    direction = rng.uniform(0, 2 * np.pi)
    # The tails of a gaussian must not shrink an image to nothing.
    numbers = (rotation, max(scale, 0.1), length * np.sin(direction), length * np.cos(direction))
    return Pose(*(float(np.float32(number)) for number in numbers))


def _draw_deviation(magnitude: float, mode: Mode, rng: np.random.Generator) -> float:
    """Draw a number of the given distribution: uniform within +- magnitude, or gaussian of this deviation."""
    unit = rng.uniform(-1, 1) if mode == "uniform" else rng.standard_normal()
    return magnitude * float(unit)


def misalign(image: np.ndarray, pose: Pose, sampling: float, centre: tuple[float, float]) -> np.ndarray:
    """Return the image as it is measured in a pose, by cubic splines; the neutral pose leaves it unchanged.

    Args:
        image: (y, x). It is periodic, like all fields simulated with Fourier transforms, so the turned frame needs no
            extrapolation.
        pose: the pose
        sampling: [nm]
        centre: (y, x) [pixel], the fixed point of rotation and magnification
    """
    if pose == Pose():
        return image
    cosine, sine = np.cos(pose.rotation), np.sin(pose.rotation)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) / pose.scale
    middle = np.array(centre)
    shifted = middle + np.array([pose.shift_y, pose.shift_x]) / sampling
    return affine(image, matrix, middle - matrix @ shifted)
