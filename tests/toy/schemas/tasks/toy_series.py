"""Clean views from noisy views of a turned body. Each view is a sample of its own for a network."""

from schemas.grids import Grid
from schemas.task import Field, Task

VIEWS = ("sample", "y", "tilt", "x")

TASK = Task(
    name="toy_series",
    version="1.0",
    about=__doc__,
    formula="noisy = clean + background when noise=0",
    grids=(Grid(("y", "x")),),
    slices=("tilt",),
    fields=(
        Field("noisy", VIEWS, "float32", "1", "input", "the measured views"),
        Field("clean", VIEWS, "float32", "1", "target", "without noise and background"),
        Field("angle", ("sample", "tilt"), "float32", "rad", "parameter", "angle of each view"),
        Field("background", ("sample",), "float32", "1", "parameter", "background of all views"),
    ),
)
