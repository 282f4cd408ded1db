"""Fields that describe a procedural particle (`generators.specimens.particles.nanoparticle`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "particle",
    ("kind", (), "uint8", "1", "position of the body's kind in the list of kinds"),
    ("half", ("axis",), "float32", "field of view", "half extents along the body's axes (z, y, x)"),
    ("middle", ("axis",), "float32", "field of view", "position of the body's centre (z, y, x)"),
    ("quaternion", ("component",), "float32", "1", "orientation (w, z, y, x)"),
    ("cuts", (), "uint8", "1", "number of plane cuts"),
    ("cut_normal", ("cut", "axis"), "float32", "1", "direction of each cut in the body's axes"),
    ("cut_depth", ("cut",), "float32", "1", "depth of each cut, relative to the distance of the surface"),
    ("rounding", (), "float32", "1", "rounding of edges; 0: sharp, 1: a sphere"),
    ("growth", (), "float32", "half extent", "thickness of a layer grown along rays from the centre"),
    ("waviness", (), "float32", "1", "maximum displacement of the surface, relative to its distance"),
    ("wave", ("wave", "axis"), "float32", "1/half extent", "wave vectors in the body's axes"),
    ("wave_phase", ("wave",), "float32", "turn", "phases of the waves"),
    ("twist", (), "float32", "rad/half extent", "twist about the body's z axis"),
    ("pieces", (), "uint8", "1", "number of pieces that the body was broken into; 1: not broken"),
    (
        "piece_point",
        ("piece", "axis"),
        "float32",
        "1",
        "centre of each piece's Voronoi cell, in the body's axes, its length relative to the distance of the surface",
    ),
    ("piece_kept", ("piece",), "uint8", "1", "1: the piece is present, 0: it is missing"),
    ("gap", (), "float32", "1", "shift of each piece, relative to the position of its point"),
    ("copies", (), "uint8", "1", "number of copies of the body that touch it or one another"),
    ("copy_quaternion", ("copy", "component"), "float32", "1", "orientation of each copy (w, z, y, x)"),
    ("copy_scale", ("copy",), "float32", "1", "size of each copy relative to the body"),
    ("copy_middle", ("copy", "axis"), "float32", "field of view", "position of each copy's centre (z, y, x)"),
)
