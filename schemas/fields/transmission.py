"""Fields that describe a measurement with quanta, besides their number.

It is one of transmission (`generators.instruments.transmission`), or an image taken by a camera
(`generators.instruments.detectors.camera`).
"""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "transmission",
    ("hardening", (), "float32", "1", "h of the hardened attenuation p - h p^2 of the line integral p"),
    ("rings", (), "float32", "1", "standard deviation of the constants that are added to the columns"),
    ("drift", (), "float32", "1", "standard deviation of the logarithm of the flux in the last view"),
    ("air_offset", (), "float32", "1", "constant that is added to all line integrals"),
    ("zingers", (), "float32", "1", "share of the values that are hit by stray quanta"),
)

CAMERA_FIELDS = drawn_parameters(
    "camera",
    ("deviation", (), "float32", "1", "standard deviation of white noise that does not depend on the image"),
    ("stripes", (), "float32", "1", "standard deviation of the logarithm of the gain, from column to column"),
    ("rings", (), "float32", "pixel", "standard deviation of the errors of a column of the sinogram, over the value 1"),
)
