"""Image of a section through an object from its sinogram (computed tomography with X-rays, neutrons or electrons)."""

from schemas.exchange.projections import PREPARATION
from schemas.exchange.raw_data import RotationSeries
from schemas.fields.picture_views import FIELDS as PICTURE
from schemas.fields.sections import CHANNEL_FIELDS
from schemas.fields.sections import FIELDS as SECTION
from schemas.fields.transmission import FIELDS as TRANSMISSION
from schemas.fields.views import FIELDS as VIEWS
from schemas.grids import Grid
from schemas.task import DType, Field, Import, Task

MATERIAL = ("background", "material")


def _parameter(name: str, units: str, about: str, *, dtype: DType = "float32", optional: bool = False) -> Field:
    return Field(name, ("sample",), dtype, units, "parameter", about, optional=optional)


TASK = Task(
    name="tomo",
    version="1.1",
    about=__doc__,
    formula=(
        "sinogram[v, j] = measured[v] * integral of image along the ray of view v and detector pixel j "
        "(physics.tomography.geometry), linearly interpolated (physics.tomography.projection.project), with "
        "operator=grid noise=0 and the settings of transmission at 0"
    ),
    grids=(Grid(("y", "x"), ("sampling",)), Grid(("view", "detector"))),
    window="field_of_view",
    fields=(
        Field(
            "sinogram",
            ("sample", "view", "detector"),
            "float32",
            "1",
            "input",
            "measured line integrals -ln(transmission), or of emission; 0 in views that were not measured",
        ),
        Field(
            "image",
            ("sample", "y", "x"),
            "float32",
            "1/pixel",
            "target",
            "linear attenuation coefficient, or emission, times the width of a pixel",
        ),
        Field(
            "mask",
            ("sample", "y", "x"),
            "uint8",
            "1",
            "target",
            "pixels of which at least half is filled with material",
            optional=True,
            classes=MATERIAL,
        ),
        Field(
            "field_of_view", ("y", "x"), "float32", "1", "auxiliary", "1 where the image may differ from 0, otherwise 0"
        ),
        Field("angle", ("sample", "view"), "float32", "rad", "parameter", "angle of each view"),
        Field("measured", ("sample", "view"), "uint8", "1", "parameter", "1 where the view was measured"),
        _parameter("axis_offset", "detector pixel", "where the axis falls on the detector, from its middle"),
        _parameter("pitch", "pixel", "width of a detector pixel at the axis, in pixels of the image"),
        _parameter("source_distance", "pixel", "distance from the source to the axis; 0: a parallel beam"),
        _parameter(
            "photons",
            "photon",
            "counted quanta per detector pixel without object, or where the integral of emission is 1; 0: no noise",
            optional=True,
        ),
        _parameter("sampling", "nm", "width of a pixel of the image", optional=True),
        _parameter("attenuation", "1", "line integral through the width of the image of the value 1", optional=True),
        _parameter(
            "object_number", "1", "number of the object; its channels are samples", dtype="int32", optional=True
        ),
        _parameter("channel_number", "1", "channel of the object", dtype="int32", optional=True),
        *VIEWS,
        *TRANSMISSION,
        *SECTION,
        *CHANNEL_FIELDS,
        *PICTURE,
    ),
)

IMPORT = Import(
    needs=("angle", "measured", "axis_offset", "pitch", "source_distance"),
    rotation=RotationSeries(
        "sinogram", "angle", "measured", "axis_offset", "sampling", "image", "pitch", "source_distance"
    ),
    preparation=PREPARATION,
)
