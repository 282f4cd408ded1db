"""Fields that describe a support film (`generators.specimens.film`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "film",
    ("thickness", (), "float32", "nm", "mean thickness"),
    ("potential", (), "float32", "V", "mean inner potential V"),
    ("absorption", (), "float32", "V", "absorptive potential V'"),
    ("roughness", (), "float32", "1", "standard deviation of the thickness, relative to its mean"),
    ("correlation", (), "float32", "nm", "length l of the roughness, with the autocorrelation exp(-r^2 / (2 l^2))"),
    ("seed", (), "uint32", "1", "seed of the roughness"),
)
