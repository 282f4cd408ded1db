"""Fields that describe the phase within a planar object: for a crystal, Q.u of the displacement u.

`generators.specimens.planar.object_phase` draws them.
"""

from schemas.task import drawn_parameters

KINDS = ("gratings", "defects", "random")  # values 0, 1, 2 of the field `displacement_kind`
TERMS = ("grating", "gaussian", "edge", "screw", "cylinder", "sphere", "field")  # values of `displacement_term_kind`
NUMBERS_PER_TERM = 6
MIN_MODULUS = 0.1  # minimum modulus within an object

_MEANINGS_OF_NUMBERS = (  # lengths in frame widths, angles in rad
    "grating: weight, frequencies fy and fx, cycles at the origin; gaussian: weight, y, x, standard deviation; "
    "edge: Q.b / 2 pi, y, x, direction of b, Q.n / 2 pi with n as long as b and across it, Poisson's ratio; "
    "screw: Q.b / 2 pi, y, x, direction opposite to its cut; "
    "cylinder and sphere: Q.u at the rim, y, x, direction of Q, radius; field: weight, correlation length, slope"
)

FIELDS = drawn_parameters(
    "displacement",
    ("kind", (), "uint8", "1", f"position in {KINDS}"),
    ("span", (), "float32", "rad", "peak-to-peak phase; 0 with dislocations, whose phase is not scaled"),
    ("terms", (), "uint8", "1", "number of terms that add up to the phase"),
    ("term_kind", ("term",), "uint8", "1", f"position in {TERMS}"),
    (
        "term",
        ("term", "number"),
        "float32",
        "frame width, rad or 1",
        f"numbers of a term, by its kind: {_MEANINGS_OF_NUMBERS}",
    ),
    ("seed", (), "uint32", "1", "seed of the random field"),
)
