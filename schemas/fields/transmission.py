"""Fields that describe a transmission measurement (`generators.instruments.transmission`), besides its photons."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "transmission",
    ("hardening", (), "float32", "1", "h of the hardened attenuation p - h p^2 of the line integral p"),
    ("rings", (), "float32", "1", "standard deviation of the constants that are added to the columns"),
    ("drift", (), "float32", "1", "standard deviation of the logarithm of the flux in the last view"),
    ("air_offset", (), "float32", "1", "constant that is added to all line integrals"),
    ("zingers", (), "float32", "1", "share of the values that are hit by stray quanta"),
)
