"""Fields that describe a procedural texture (`generators.specimens.planar.texture`)."""

from schemas.task import drawn_parameters

_SIDE = "longer side of the field"

FIELDS = drawn_parameters(
    "texture",
    ("slope", (), "float32", "1", "slope of the power spectrum |f|^-slope, before it is flattened"),
    ("flatten", (), "float32", "1", "part of the slope that is removed; 1: white noise"),
    ("smallest", (), "float32", _SIDE, "radius of the smallest leaves"),
    ("largest", (), "float32", _SIDE, "radius of the largest leaves"),
    ("polygons", (), "float32", "1", "share of leaves with straight edges"),
    ("grain", (), "float32", "1", "rms of the field on the leaves, relative to that of their grey levels"),
    ("saturated", (), "float32", "1", "share of the pixels clipped to 0, and to 1"),
    ("seed", (), "uint32", "1", "seed of leaves and grain"),
)
