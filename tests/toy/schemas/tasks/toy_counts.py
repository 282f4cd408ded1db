"""Clean views from views in which few electrons were counted. The views may have a background."""

from schemas.counting.counts import Counts
from schemas.grids import Grid
from schemas.task import Field, Task

VIEWS = ("sample", "y", "view", "x")

TASK = Task(
    name="toy_counts",
    version="1.0",
    about=__doc__,
    formula="noisy = clean + background at infinite dose; counts = electrons * noisy",
    grids=(Grid(("y", "x")),),
    slices=("view",),
    fields=(
        Field("noisy", VIEWS, "float32", "1", "input", "the measured views"),
        Field("clean", VIEWS, "float32", "1", "target", "without noise and background"),
        Field("background", VIEWS, "float32", "1", "target", "the background", optional=True),
        Field(
            "electrons", ("sample", "view"), "float32", "electron", "parameter", "counts of the value 1; 0: no noise"
        ),
        Field("dose", ("sample",), "float32", "electron", "parameter", "counts of the value 1, mean over the views"),
    ),
)

COUNTS = Counts("noisy", scale="electrons", expectation=("clean", "background"), doses=("dose",))
