"""Fields that describe the outline of a planar object (`generators.specimens.planar.outline`)."""

from schemas.task import columns

KINDS = ("hull", "bitten", "faceted")  # the field `outline_kind` holds a position in this list

FIELDS = columns(
    "outline",
    ("kind", (), "uint8", "1", f"of {KINDS}"),
    ("corners", (), "uint8", "1", "number of corners of the body, which is convex"),
    ("corner", ("corner", "coordinate"), "float32", "frame width", "corners (y, x) of the body"),
    ("bite_corners", (), "uint8", "1", "number of corners of the bite, which is convex; 0: there is none"),
    ("bite_corner", ("bite_corner", "coordinate"), "float32", "frame width", "corners (y, x) of what the body lacks"),
)
