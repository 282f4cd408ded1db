"""Clean images from noisy ones: radiographs and sections taken with X-rays, or other images of few quanta."""

from collections.abc import Mapping

import numpy as np

from schemas.counting.counts import Counts
from schemas.fields.picture_views import FIELDS as PICTURE
from schemas.fields.sections import BODY_FIELDS, TEXTURED_FIELDS
from schemas.fields.sections import FIELDS as SECTION
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.grids import Grid
from schemas.task import Field, Formula, Import, Task

IMAGE = ("sample", "y", "x")

TASK = Task(
    name="denoise",
    version="1.0",
    about=__doc__,
    formula="noisy = clean with noise=0; counted quanta = photons * noisy, where the detector does nothing but count",
    grids=(Grid(("y", "x"), ("sampling",)),),
    fields=(
        Field("noisy", IMAGE, "float32", "1", "input", "measured image"),
        Field("clean", IMAGE, "float32", "1", "target", "the same without noise, behind the detector's point spread"),
        Field(
            "photons",
            ("sample",),
            "float32",
            "photon",
            "parameter",
            "counted quanta of a pixel of the value 1; 0: they were not counted",
        ),
        Field("sampling", ("sample",), "float32", "nm", "parameter", "width of a pixel", optional=True),
        *CAMERA_FIELDS,
        *SECTION,
        *(field for field in BODY_FIELDS if field not in SECTION),
        *TEXTURE,
        *TEXTURED_FIELDS,
        *PICTURE,
    ),
)


def _inputs(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the image that `TASK.formula` gives."""
    return {"noisy": fields["clean"]}


FORMULA = Formula(_inputs, exact=("noise=0",))
IMPORT = Import(usual={"sampling": (1e-2, 1e7)}, shared=("photons",), targets=("clean",))
COUNTS = Counts("noisy", scale="photons", expectation=("clean",))
