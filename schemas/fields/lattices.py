"""Fields that describe an atomic lattice (`generators.specimens.planar.lattice`)."""

from schemas.task import columns

FIELDS = columns(
    "lattice",
    ("constant", (), "float32", "nm", "lattice constant a"),
    ("vibration", (), "float32", "nm", "standard deviation of an atom's place along one axis"),
    ("vacancies", (), "float32", "1", "part of the atoms that are missing"),
    ("layers", ("sheet",), "uint8", "1", "number of layers of each sheet; 0: it is not there"),
    ("rotation", ("sheet",), "float32", "rad", "of each sheet's a1, from x towards y"),
    ("shift_y", ("sheet",), "float32", "nm", "of each sheet, from pixel N//2"),
    ("shift_x", ("sheet",), "float32", "nm", "of each sheet, from pixel N//2"),
    ("seed", (), "uint32", "1", "that says which atoms are missing"),
)
