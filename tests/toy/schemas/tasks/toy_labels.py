"""An image of a disc and its mask; its border belongs to neither."""

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
        Field("mask", IMAGE, "uint8", "1", "target", "of the disc", classes=("void", "disc", "ignore")),
        Field("radius", ("sample",), "float32", "pixel", "parameter", "of the disc"),
        Field("direction", ("sample",), "float32", "rad", "parameter", "of the slope", period=2 * pi),
        Field("kind", ("sample",), "uint8", "1", "parameter", "of the disc", classes=("small", "large")),
    ),
)
