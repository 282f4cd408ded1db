"""Fields that describe the part of a picture that is shown (`generators.specimens.from_files.pictures`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "picture",
    ("item", (), "int64", "1", "position among the recipe's pictures"),
    ("symmetry", (), "uint8", "1", "symmetry of a square: quarter turns from x to y; plus 4: first mirrored in x"),
    ("part", (), "float32", "1", "width of the part that is shown, relative to the widest that fits"),
    ("y", (), "float32", "1", "start of the part along y, from 0 to 1 of the possible range"),
    ("x", (), "float32", "1", "start of the part along x, from 0 to 1 of the possible range"),
)
