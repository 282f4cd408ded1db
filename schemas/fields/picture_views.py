"""Fields that describe which part of a picture is shown (`generators.specimens.from_files.pictures`)."""

from schemas.task import columns

FIELDS = columns(
    "picture",
    ("item", (), "int64", "1", "position among the recipe's pictures"),
    ("symmetry", (), "uint8", "1", "of a square: quarter turns from x to y, 4 more: mirrored in x before"),
    ("part", (), "float32", "1", "width of the part that is shown, to the widest that fits"),
    ("y", (), "float32", "1", "where it begins, of the room that there is"),
    ("x", (), "float32", "1", "where it begins, of the room that there is"),
)
