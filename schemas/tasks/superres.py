"""Fine images from coarse ones, which a detector with larger pixels took through a known point spread."""

from collections.abc import Mapping

import numpy as np

from physics.pixel_integration import integrate_pixels
from schemas.fields.picture_views import FIELDS as PICTURE
from schemas.fields.sections import FIELDS as SECTION
from schemas.fields.sections import TEXTURED_FIELDS
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.grids import Grid
from schemas.task import Field, Formula, Import, Task


def _parameter(name: str, units: str, about: str, *, optional: bool = False) -> Field:
    return Field(name, ("sample",), "float32", units, "parameter", about, optional=optional)


TASK = Task(
    name="superres",
    version="1.0",
    about=__doc__,
    formula=(
        "low = mean of high over each coarse pixel, behind a Gaussian of the standard deviation point_spread "
        "(physics.pixel_integration), with noise=0 supersampling=1"
    ),
    grids=(
        Grid(("y", "x"), ("sampling",)),
        Grid(("ylow", "xlow"), ("sampling_low",), of=("y", "x"), how="coarser"),
    ),
    fields=(
        Field("low", ("sample", "ylow", "xlow"), "float32", "1", "input", "measured image, of coarse pixels"),
        Field("high", ("sample", "y", "x"), "float32", "1", "target", "the same field of view in fine pixels"),
        _parameter("factor", "1", "width of a coarse pixel divided by that of a fine one; it need not be whole"),
        _parameter("point_spread", "pixel", "standard deviation of the Gaussian point spread, in fine pixels; 0: none"),
        _parameter(
            "photons", "photon", "counted quanta of a coarse pixel of the value 1; 0: not counted", optional=True
        ),
        _parameter("sampling", "nm", "width of a fine pixel", optional=True),
        _parameter("sampling_low", "nm", "width of a coarse pixel", optional=True),
        *CAMERA_FIELDS,
        *SECTION,
        *TEXTURE,
        *TEXTURED_FIELDS,
        *PICTURE,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the coarse images that `TASK.formula` gives."""
    rows = zip(fields["high"], fields["factor"], fields["point_spread"], strict=True)
    made = []
    for image, factor, spread in rows:
        shape = round(image.shape[0] / float(factor)), round(image.shape[1] / float(factor))
        made.append(integrate_pixels(image, shape, float(spread)))
    return {"low": np.stack(made)}


FORMULA = Formula(_inputs, exact=("noise=0", "supersampling=1"))
IMPORT = Import(needs=("factor", "point_spread"), shared=("factor", "point_spread", "photons"))
