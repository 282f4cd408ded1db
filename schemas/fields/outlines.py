"""Fields that describe the outline of a planar object (`generators.specimens.planar.outline`)."""

from schemas.task import drawn_parameters

KINDS = ("hull", "bitten", "faceted")  # values 0, 1, 2 of the field `outline_kind`

FIELDS = drawn_parameters(
    "outline",
    ("kind", (), "uint8", "1", f"position in {KINDS}"),
    ("corners", (), "uint8", "1", "number of corners of the convex body"),
    ("corner", ("corner", "coordinate"), "float32", "frame width", "corners (y, x) of the body"),
    ("bite_corners", (), "uint8", "1", "number of corners of the convex bite; 0: there is no bite"),
    ("bite_corner", ("bite_corner", "coordinate"), "float32", "frame width", "corners (y, x) of the bite, cut out"),
)
