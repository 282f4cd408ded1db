"""Fields that describe an object made of ellipses and polygons (`generators.specimens.sections.section`)."""

from dataclasses import replace

from schemas.task import drawn_parameters

# Kinds of the figures of an object. The first one is also that of objects whose figures have no kinds to choose from.
KINDS = (
    "disc",
    "rectangle",
    "circle",
    "triangle",
    "ellipse",
    "polygon",
    "cell",
    "round",
    "oval",
    "quadrilateral",
    "blob",
    "slit",
    "mixed",
)

_VALUE = "value relative to the unit of the image; negative: a hole"
_LAYER = "0: the value is added; 1, 2, ...: order in which figures replace what lies below"

_KIND, *_REST = drawn_parameters(
    "section",
    ("kind", (), "uint8", "1", "kind of its figures"),
    ("scale", (), "float32", "1", "factor that the values contain"),
    ("support", (), "float32", "frame width", "radius of the disc outside of which the image is 0; 0: not cut"),
    ("ellipses", (), "uint16", "1", "number of ellipses"),
    ("ellipse_middle", ("section_ellipse", "coordinate"), "float32", "frame width", "middle (y, x) of each ellipse"),
    ("ellipse_semi_axes", ("section_ellipse", "semi_axis"), "float32", "frame width", "semi-axes of each ellipse"),
    ("ellipse_angle", ("section_ellipse",), "float32", "rad", "direction of the first semi-axis, from x towards y"),
    ("ellipse_value", ("section_ellipse",), "float32", "1", _VALUE),
    ("ellipse_layer", ("section_ellipse",), "uint16", "1", _LAYER),
    ("polygons", (), "uint16", "1", "number of polygons"),
    ("polygon_corners", ("section_polygon",), "uint8", "1", "number of corners of each polygon"),
    (
        "polygon_corner",
        ("section_polygon", "section_corner", "coordinate"),
        "float32",
        "frame width",
        "corners (y, x) of each polygon",
    ),
    ("polygon_value", ("section_polygon",), "float32", "1", _VALUE),
    ("polygon_layer", ("section_polygon",), "uint16", "1", _LAYER),
)
FIELDS = (replace(_KIND, classes=KINDS), *_REST)

# For objects with several channels (`generators.specimens.sections.channels`).
CHANNEL_FIELDS = drawn_parameters(
    "section",
    ("ellipse_phase", ("section_ellipse",), "uint8", "1", "phase that each ellipse consists of"),
    ("polygon_phase", ("section_polygon",), "uint8", "1", "phase that each polygon consists of"),
    ("spectrum", ("section_phase", "channel"), "float32", "1", "intensity of each phase in each channel"),
)

# Classes of images of composites (`generators.specimens.bodies.composite`). Recipes with fewer classes use the first.
CLASSES = ("background", "grain", "pore", "fibre")

# For objects whose figures belong to classes (`generators.specimens.bodies`): all fields but those of objects whose
# values add, and a class for each figure.
_SUMS = {"section_kind", "section_scale", "section_support"}
BODY_FIELDS = tuple(field for field in FIELDS if field.name not in _SUMS) + drawn_parameters(
    "section",
    ("ellipse_class", ("section_ellipse",), "uint8", "1", "class of each ellipse"),
    ("polygon_class", ("section_polygon",), "uint8", "1", "class of each polygon"),
    ("background", (), "float32", "1", "value where no figure lies"),
)

# For objects whose material has a structure of its own (`generators.specimens.sections.textured`).
TEXTURED_FIELDS = drawn_parameters(
    "textured",
    ("contrast", (), "float32", "1", "largest deviation from the value of a figure, relative to it"),
    ("ground", (), "float32", "1", "value that is added everywhere"),
)
