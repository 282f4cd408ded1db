"""Sections of objects from their sinograms: X-ray, neutron and electron tomography in parallel and fan beams."""

from schemas.exchange.projections import PREPARATION
from schemas.grids import Grid
from schemas.raw_data import RotationSeries
from schemas.task import DType, Field, Import, Task

VIEWS = ("sample", "angle")
IMAGE = ("sample", "y", "x")


def _parameter(name: str, units: str, about: str, *, optional: bool = False, dtype: DType = "float32") -> Field:
    return Field(name, ("sample",), dtype, units, "parameter", about, optional=optional)


TASK = Task(
    name="tomo",
    version="1.0",
    about=__doc__,
    formula="sinogram = integral of image along the rays x cos angle + y sin angle = s; exact when noise=0",
    grids=(Grid(("y", "x"), ("sampling",)),),
    fields=(
        Field("sinogram", (*VIEWS, "detector"), "float32", "1", "input", "-ln(transmission); 0 where not measured"),
        Field("image", IMAGE, "float32", "1/pixel", "target", "attenuation coefficient times the width of a pixel"),
        Field(
            "mask",
            IMAGE,
            "uint8",
            "1",
            "target",
            "material",
            optional=True,
            classes=("background", "material"),
        ),
        Field("angle", VIEWS, "float32", "rad", "parameter", "direction of each view"),
        Field("measured", VIEWS, "uint8", "1", "parameter", "1 where the view was measured"),
        _parameter("axis_offset", "pixel", "axis of rotation, from the middle of the detector"),
        _parameter("pitch", "pixel", "width of a detector pixel at the axis, in pixels of the image"),
        _parameter("source_distance", "pixel", "from the source to the axis; 0: parallel beam"),
        _parameter("photons", "1", "counts per detector pixel without object; 0: no noise", optional=True),
        _parameter("sampling", "nm", "width of a square pixel of the image", optional=True),
    ),
)

IMPORT = Import(
    needs=("angle", "measured", "axis_offset", "pitch", "source_distance"),
    rotation=RotationSeries("sinogram", "angle", "measured", "axis_offset", "sampling", "image"),
    lengths={"y": "detector", "x": "detector"},
    preparation=PREPARATION,
)
