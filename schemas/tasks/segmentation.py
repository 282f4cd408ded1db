"""Labels of an image: the class of each pixel, such as grains, pores and fibres in a section or a radiograph."""

from dataclasses import replace

from schemas.fields.sections import BODY_FIELDS, CLASSES
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.grids import Grid
from schemas.task import Field, Import, Task

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
        Field(
            "photons",
            ("sample",),
            "float32",
            "photon",
            "parameter",
            "counted quanta of a pixel of the value 1; 0: they were not counted",
            optional=True,
        ),
        Field(
            "blur",
            ("sample",),
            "float32",
            "pixel",
            "parameter",
            "standard deviation of the blur in front of the detector",
            optional=True,
        ),
        *(replace(field, optional=True) for field in CAMERA_FIELDS),
    ),
)

IMPORT = Import(targets=("mask",))
