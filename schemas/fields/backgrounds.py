"""Fields that describe the background of scanned images (`generators.instruments.background`).

Heights are relative to the signal of the object: its mean where it is above a tenth of its maximum.
"""

from schemas.task import drawn_parameters

FIELDS = drawn_parameters(
    "background",
    ("height", (), "float32", "1", "range of the smooth random background"),
    ("width", ("tilt",), "float32", "pixel", "standard deviation of the Gaussian filter that makes it smooth"),
    ("pedestal", (), "float32", "1", "constant background"),
    ("slope", (), "float32", "1", "difference between opposite edges of a linear background"),
    ("azimuth", (), "float32", "rad", "direction in which it rises, from x towards y"),
    ("tails", (), "float32", "1", "share of the signal in long-range tails of the probe"),
    ("reach", (), "float32", "nm", "decay length of these tails"),
    ("contamination", (), "float32", "1", "height of the contamination that grows where the beam is"),
    ("seed", (), "uint32", "1", "seed of the random parts"),
)
