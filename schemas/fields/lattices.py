"""Fields that describe an atomic lattice (`generators.specimens.planar.lattice`)."""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "lattice",
    ("constant", (), "float32", "nm", "lattice constant a"),
    ("vibration", (), "float32", "nm", "standard deviation of an atom's position along one axis"),
    ("vacancies", (), "float32", "1", "share of the atoms that are missing"),
    ("layers", ("sheet",), "uint8", "1", "number of layers of each sheet; 0: the sheet is missing"),
    ("rotation", ("sheet",), "float32", "rad", "direction of each sheet's a1, from x towards y"),
    ("shift_y", ("sheet",), "float32", "nm", "shift of each sheet along y, from pixel N//2"),
    ("shift_x", ("sheet",), "float32", "nm", "shift of each sheet along x, from pixel N//2"),
    ("seed", (), "uint32", "1", "seed that chooses the missing atoms"),
)
