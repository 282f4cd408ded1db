"""Fields that describe a procedural particle (`generators.specimens.particles.nanoparticle`)."""

from schemas.task import columns

FIELDS = columns(
    "particle",
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
    ("pieces", (), "uint8", "1", "number of pieces that the body was broken into; 1: it is whole"),
    (
        "piece_point",
        ("piece", "axis"),
        "float32",
        "1",
        "point about which each piece is a Voronoi cell, in the body's "
        "axes, its length relative to the distance of the surface",
    ),
    ("piece_kept", ("piece",), "uint8", "1", "1: the piece is there, 0: it is lost"),
    ("gap", (), "float32", "1", "how far each piece is moved, relative to the place of its point"),
    ("copies", (), "uint8", "1", "number of copies of the body that touch it or one another"),
    ("copy_quaternion", ("copy", "component"), "float32", "1", "orientation of each copy (w, z, y, x)"),
    ("copy_scale", ("copy",), "float32", "1", "size of each copy to that of the body"),
    ("copy_middle", ("copy", "axis"), "float32", "field of view", "position of each copy's middle (z, y, x)"),
)
