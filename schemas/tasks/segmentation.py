"""Labels of an image: the class of each pixel, such as grains, pores and fibres in a section or a radiograph."""

from schemas.fields.sections import BODY_FIELDS, CLASSES
from schemas.grids import Grid
from schemas.task import Field, Import, Task, drawn_parameters

TASK = Task(
    name="segmentation",
    version="1.0",
    about=__doc__,
    formula=(
        "image = blur of (sum over bodies of value * share of the pixel), mask = class with the largest share of the "
        "pixel (generators.specimens.bodies.bodies.render), with noise=0"
    ),
    grids=(Grid(("y", "x"), ("sampling",)),),
    fields=(
        Field("image", ("sample", "y", "x"), "float32", "1", "input", "grey values"),
        Field(
            "mask",
            ("sample", "y", "x"),
            "uint8",
            "1",
            "target",
            "class of each pixel; an image need not show all classes",
            classes=CLASSES,
        ),
        Field("sampling", ("sample",), "float32", "nm", "parameter", "square pixels", optional=True),
        *BODY_FIELDS,
        *drawn_parameters(
            "exposure",
            ("blur", (), "float32", "pixel", "standard deviation of the blur before counting"),
            ("counts", (), "float32", "photon", "counted quanta per pixel where the image is 1; 0: not counted"),
            ("white_noise", (), "float32", "1", "standard deviation of white noise"),
            ("rings", (), "float32", "1", "standard deviation of constants added to rings"),
            ("stripes", (), "float32", "1", "standard deviation of constants added to columns"),
        ),
    ),
)

IMPORT = Import(targets=("mask",))
