"""Fields that describe which views of a scan are measured (`generators.instruments.views`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "views",
    ("start", (), "float32", "degree", "angle at which the measured range starts"),
    ("length", (), "float32", "degree", "length of the measured range"),
    ("number", (), "uint32", "1", "number of measured views"),
)
