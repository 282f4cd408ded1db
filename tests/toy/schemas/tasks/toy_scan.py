"""Image from its projections, which are taken at angles that differ from sample to sample."""

from schemas.grids import Grid
from schemas.task import Field, Task

TASK = Task(
    name="toy_scan",
    version="1.0",
    about=__doc__,
    formula=(
        "sinogram[a, d] = sum over pixels of image max(0, 1 - |x cos angle[a] + y sin angle[a] - t|), x, y and t = d "
        "counted from the middle of their axes, when noise=0"
    ),
    grids=(Grid(("y", "x")), Grid(("angle_index", "detector"))),
    fields=(
        Field("sinogram", ("sample", "angle_index", "detector"), "float32", "1", "input", "the projections"),
        Field("image", ("sample", "y", "x"), "float32", "1", "target", "the projected image"),
        Field("angle", ("sample", "angle_index"), "float32", "rad", "parameter", "angle of each projection"),
    ),
)
