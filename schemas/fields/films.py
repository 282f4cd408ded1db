"""Fields that describe a support film (`generators.specimens.film`)."""

from schemas.task import DType, Field

_COLUMNS: tuple[tuple[str, DType, str, str], ...] = (
    ("thickness", "float32", "nm", "mean thickness"),
    ("potential", "float32", "V", "mean inner potential V"),
    ("absorption", "float32", "V", "absorptive potential V'"),
    ("roughness", "float32", "1", "standard deviation of the thickness, relative to its mean"),
    ("correlation", "float32", "nm", "l of the roughness, whose autocorrelation is exp(-r^2 / (2 l^2))"),
    ("seed", "uint32", "1", "from which the roughness is made"),
)

FIELDS = tuple(
    Field(f"film_{name}", ("sample",), dtype, units, "parameter", about, optional=True)
    for name, dtype, units, about in _COLUMNS
)
