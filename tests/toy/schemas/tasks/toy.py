"""A line from its blurred image: the smallest task that uses every part of the contract."""

import numpy as np

from schemas.grids import Ambiguities, Grid
from schemas.task import Field, Formula, Task

TASK = Task(
    name="toy",
    version="1.0",
    about="a line from its blurred image",
    formula="blurred = (line[x - 1] + line[x] + line[x + 1]) / 3, periodic, when noise=0",
    ambiguities=Ambiguities(),
    grids=(Grid(("x",)),),
    fields=(
        Field("blurred", ("sample", "x"), "float32", "1", "input", "the measured line"),
        Field("line", ("sample", "x"), "float32", "1", "target", "the line without blur"),
        Field("expected", ("sample", "x"), "float32", "1", "auxiliary", "blurred line without noise", optional=True),
        Field("position", ("x",), "float64", "nm", "auxiliary", "position of each pixel"),
        Field("height", ("sample",), "float32", "1", "parameter", "height of the step"),
        Field("edges", ("sample", "edge"), "int32", "1", "parameter", "first and last pixel of the step"),
    ),
)

FORMULA = Formula(
    lambda fields: {"blurred": np.mean([np.roll(fields["line"], step, -1) for step in (-1, 0, 1)], axis=0)},
    exact=("noise=0",),
)
