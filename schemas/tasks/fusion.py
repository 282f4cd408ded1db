"""Fine images of many channels, from coarse ones (such as XRD-CT) and a fine guide image of one channel (micro-CT)."""

from collections.abc import Mapping

import numpy as np

from physics.pixel_integration import integrate_pixels
from schemas.fields.sections import CHANNEL_FIELDS
from schemas.fields.sections import FIELDS as SECTION
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.grids import Grid
from schemas.task import Field, Formula, Import, Task


def _parameter(name: str, units: str, about: str, *dims: str, optional: bool = True) -> Field:
    return Field(name, ("sample", *dims), "float32", units, "parameter", about, optional=optional)


TASK = Task(
    name="fusion",
    version="1.0",
    about=__doc__,
    formula=(
        "low = mean of high over each coarse pixel, behind a Gaussian of the standard deviation point_spread "
        "(physics.pixel_integration), with noise=0 supersampling=1; guide: the sum over phases of their densities, "
        "displaced by the error of registration, times guide_grey and 1 + guide_contrast (2 texture - 1)"
    ),
    grids=(
        Grid(("y", "x"), ("sampling",)),
        Grid(("ylow", "xlow"), ("sampling_low",), of=("y", "x"), how="coarser"),
    ),
    fields=(
        Field("low", ("sample", "channel", "ylow", "xlow"), "float32", "1", "input", "measured images, coarse pixels"),
        Field("guide", ("sample", "y", "x"), "float32", "1", "input", "measured image of one channel, fine pixels"),
        Field("high", ("sample", "channel", "y", "x"), "float32", "1", "target", "images of all channels, fine pixels"),
        _parameter(
            "point_spread",
            "pixel",
            "standard deviation of the Gaussian point spread of low, in fine pixels; 0: none",
            optional=False,
        ),
        _parameter("photons", "photon", "counted quanta of a coarse pixel of the value 1; 0: not counted"),
        _parameter("sampling", "nm", "width of a fine pixel"),
        _parameter("sampling_low", "nm", "width of a coarse pixel"),
        _parameter("guide_grey", "1", "grey value of each phase in the guide, at density 1", "section_phase"),
        _parameter("guide_contrast", "1", "largest deviation from the grey value of a figure, relative to it"),
        _parameter("guide_deviation", "1", "standard deviation of the noise of the guide"),
        _parameter("guide_shift", "pixel", "shift of the guide, an error of registration [fine pixel]", "coordinate"),
        _parameter("guide_turn", "rad", "rotation of the guide about the middle, from x towards y, before the shift"),
        *CAMERA_FIELDS,
        *SECTION,
        *CHANNEL_FIELDS,
        *TEXTURE,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the coarse images that `TASK.formula` gives, with as many pixels as the stored ones."""
    shape = fields["low"].shape[-2:]
    rows = zip(fields["high"], fields["point_spread"], strict=True)
    return {"low": np.stack([integrate_pixels(images, shape, float(spread)) for images, spread in rows])}


FORMULA = Formula(_inputs, exact=("noise=0", "supersampling=1"))
IMPORT = Import(needs=("point_spread",), shared=("point_spread", "photons"))
