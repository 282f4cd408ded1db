"""Fine images of several channels, from coarse images of these channels and one fine guide image."""

from schemas.grids import Grid
from schemas.task import Field, Task

TASK = Task(
    name="toy_fusion",
    version="1.0",
    about=__doc__,
    formula="low = mean of high over 3 x 3 pixels, guide = mean of high over channels, when noise=0",
    grids=(Grid(("y", "x"), ("sampling",)), Grid(("ylow", "xlow"), of=("y", "x"), how="coarser")),
    fields=(
        Field("low", ("sample", "channel", "ylow", "xlow"), "float32", "1", "input", "the coarse images"),
        Field("guide", ("sample", "y", "x"), "float32", "1", "input", "the fine image"),
        Field("high", ("sample", "channel", "y", "x"), "float32", "1", "target", "the fine images"),
        Field("sampling", ("sample",), "float32", "nm", "parameter", "width of a fine pixel"),
    ),
)
