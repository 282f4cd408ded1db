"""Fields that describe the errors of a scan and of its detector (`generators.instruments.scan_errors`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "scan",
    (
        "shift",
        ("tilt", "coordinate"),
        "float32",
        "nm",
        "shift (y, x) of the specimen in each image: errors of alignment",
    ),
    ("drift", ("tilt", "coordinate"), "float32", "nm", "way (y, x) of the specimen during each image"),
    ("jitter", (), "float32", "nm", "standard deviation of the displacement of each row, along y and along x"),
    ("afterglow", (), "float32", "pixel", "decay length along a row of the response of the detector"),
    ("flicker", (), "float32", "1", "standard deviation of the gain of each row"),
    ("seed", (), "uint32", "1", "seed of the displacements of rows"),
)
