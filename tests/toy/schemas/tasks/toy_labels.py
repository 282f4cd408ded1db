"""Mask of a disc from its image. The border of the disc belongs to neither class."""

from math import pi

from schemas.grids import Grid
from schemas.task import Field, Task

IMAGE = ("sample", "y", "x")

TASK = Task(
    name="toy_labels",
    version="1.0",
    about=__doc__,
    formula="image = 1 in the disc, 0.5 at its border, 0 outside, times a slope along `direction`, when noise=0",
    grids=(Grid(("y", "x")),),
    fields=(
        Field("image", IMAGE, "float32", "1", "input", "the measured image"),
        Field("mask", IMAGE, "uint8", "1", "target", "mask of the disc", classes=("void", "disc", "ignore")),
        Field("radius", ("sample",), "float32", "pixel", "parameter", "radius of the disc"),
        Field("direction", ("sample",), "float32", "rad", "parameter", "direction of the slope", period=2 * pi),
        Field("kind", ("sample",), "uint8", "1", "parameter", "kind of the disc", classes=("small", "large")),
    ),
)
