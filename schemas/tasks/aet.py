"""Clean images from tilt series of noisy ones, scanned with electrons around an annular detector (ADF-STEM)."""

from schemas.counting.counts import Counts
from schemas.exchange.image_series.series import PREPARATION
from schemas.fields.backgrounds import FIELDS as BACKGROUND
from schemas.fields.clusters import FIELDS as CLUSTER
from schemas.fields.scans import FIELDS as SCAN
from schemas.grids import Grid
from schemas.task import DType, Field, Import, Role, Task

IMAGES = ("sample", "tilt", "y", "x")


def _field(name: str, units: str, about: str, *dims: str, role: Role = "parameter", dtype: DType = "float32") -> Field:
    return Field(name, ("sample", *dims), dtype, units, role, about)


def _optional(name: str, units: str, about: str, *dims: str, role: Role, dtype: DType = "float32") -> Field:
    return Field(name, ("sample", *dims), dtype, units, role, about, optional=True)


TASK = Task(
    name="aet",
    version="1.0",
    about=__doc__,
    formula="noisy = clean + background with noise=0; counted electrons = electrons * noisy",
    grids=(Grid(("y", "x"), ("sampling",)),),
    slices=("tilt",),
    fields=(
        _field("noisy", "1", "measured images, in units of `signal_unit`", "tilt", "y", "x", role="input"),
        _field(
            "clean",
            "1",
            "images of the specimen, with the same drift, distortion and blur, without noise and background",
            "tilt",
            "y",
            "x",
            role="target",
        ),
        _optional("background", "1", "expected background of the images", "tilt", "y", "x", role="target"),
        _field("angle", "rad", "angle by which the specimen is turned about the axis y, from x towards z", "tilt"),
        _field("electrons", "electron", "electrons that a pixel of the value 1 counts; 0: without noise", "tilt"),
        _field("sampling", "nm", "width of a pixel"),
        _optional("zone_angle", "rad", "angle from the beam to the nearest zone axis", "tilt", role="parameter"),
        _optional("dose", "electron/nm^2", "incident electrons per image", role="parameter"),
        _optional("signal_unit", "1", "share of the incident electrons that the value 1 stands for", role="parameter"),
        _optional(
            "background_level",
            "1",
            "background of all pixels, if it is known and was counted",
            "tilt",
            role="parameter",
        ),
        _optional("voltage", "V", "accelerating voltage", role="parameter"),
        _optional("semi_angle", "rad", "convergence semi-angle", role="parameter"),
        _optional("detector_inner", "rad", "angle from which the detector collects", role="parameter"),
        _optional("detector_outer", "rad", "angle up to which it collects", role="parameter"),
        _optional(
            "defocus", "nm", "C1 in the middle of the specimen; positive: underneath the focus", role="parameter"
        ),
        _optional(
            "source_width", "nm", "standard deviation of the image of the source, along each axis", role="parameter"
        ),
        _optional("particle_number", "1", "number of the particle", role="parameter", dtype="uint32"),
        *CLUSTER,
        *BACKGROUND,
        *SCAN,
        _optional("atom_count", "1", "number of atoms", role="auxiliary", dtype="int32"),
        _optional(
            "atom_element", "1", "atomic number of each atom; 0: no atom", "atom", role="auxiliary", dtype="uint8"
        ),
        _optional(
            "atom_position", "nm", "place (z, y, x) of each atom at the angle 0", "atom", "axis", role="auxiliary"
        ),
    ),
)

IMPORT = Import(
    needs=("angle", "electrons", "sampling"),
    usual={"sampling": (0.004, 0.1), "angle": (0, 6.3), "voltage": (1e4, 1.3e6)},  # atoms lie 0.2 nm apart
    shared=("electrons", "background_level"),
    preparation=PREPARATION,
)
COUNTS = Counts(
    "noisy",
    scale="electrons",
    expectation=("clean", "background"),
    doses=("dose",),
    levels={"background": "background_level"},
)
