"""A blurred line and what it was: the smallest task that uses every part of the contract."""

from schemas.grids import Ambiguities, Grid
from schemas.task import Field, Task

TASK = Task(
    name="toy",
    version="1.0",
    about="a blurred line and what it was",
    formula="blurred = (line[x - 1] + line[x] + line[x + 1]) / 3, periodic, when noise=0",
    ambiguities=Ambiguities(),
    grids=(Grid(("x",)),),
    fields=(
        Field("blurred", ("sample", "x"), "float32", "1", "input", "the measured line"),
        Field("line", ("sample", "x"), "float32", "1", "target", "what was to be seen"),
        Field("expected", ("sample", "x"), "float32", "1", "auxiliary", "without noise", optional=True),
        Field("position", ("x",), "float64", "nm", "auxiliary", "of each pixel"),
        Field("height", ("sample",), "float32", "1", "parameter", "of the step"),
        Field("edges", ("sample", "edge"), "int32", "1", "parameter", "first and last pixel of the step"),
    ),
)
