"""The fields that describe a procedural particle, for the tasks that draw one (`generators.specimens.nanoparticle`)."""

from schemas.core import Field

_COLUMNS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    ("kind", (), "uint8", "1", "position of the body in the list of kinds"),
    ("half", ("axis",), "float32", "field of view", "half extents along the body's axes (z, y, x)"),
    ("middle", ("axis",), "float32", "field of view", "position of the body's middle (z, y, x)"),
    ("quaternion", ("component",), "float32", "1", "orientation (w, z, y, x)"),
    ("cuts", (), "uint8", "1", "number of plane cuts"),
    ("cut_normal", ("cut", "axis"), "float32", "1", "direction of each cut in the body's axes"),
    ("cut_depth", ("cut",), "float32", "1", "depth of each cut, relative to the distance of the surface"),
    ("rounding", (), "float32", "1", "0 sharp, 1 a sphere"),
    ("growth", (), "float32", "half extent", "layer grown along rays from the middle"),
    ("waviness", (), "float32", "1", "largest displacement of the surface, relative to its distance"),
    ("wave", ("wave", "axis"), "float32", "1/half extent", "wave vectors in the body's axes"),
    ("wave_phase", ("wave",), "float32", "turn", "phases of the waves"),
    ("twist", (), "float32", "rad/half extent", "twist about the body's z axis"),
)

FIELDS = tuple(
    Field(f"particle_{name}", ("sample", *dims), dtype, units, "parameter", about, optional=True)  # type: ignore[arg-type]
    for name, dims, dtype, units, about in _COLUMNS
)
