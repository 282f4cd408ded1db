"""Phases of whole scans without a network: ptychography, and integrated differential phase contrast."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from inference.contract import Arrays, Method, Report, Scale, Setting, Shown, Stitch
from inference.stitching.compare import section
from inference.stitching.patches import tapered
from inference.stitching.raster import Raster, find_raster
from inference.stitching.store import Scans
from physics import pie
from physics.diffraction import far_field
from physics.optics import intensity
from physics.pie import Reconstruction
from physics.probe import NODES, of_source, widest
from physics.ptychography import centre_of_mass, illumination, integrate
from schemas.fields.illuminated_patches import ENLARGED, first, offsets, repeated
from schemas.runtime.errors import UserError

OVERLAP = "1 - step / diameter of a disc as large as the mask, 0.16 of the probe's brightest pixel"
SEED = 1  # of the order of positions in each sweep
SEEN = 0.01  # of the most light that fell on a pixel of the object


@dataclass(frozen=True)
class Scanned:
    """The patterns of one scan."""

    counts: np.ndarray  # (n, qy, qx)
    places: np.ndarray  # (n, 2), y and x of the probe's pixel N//2 [pixel of the object]
    probe: np.ndarray  # (y, x), complex, in units of the square root of counts / N
    sampling: float  # width of a pixel of the object [nm]

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x) of an object that holds the probe at all positions."""
        y, x = np.ceil(self.places.max(axis=0)).astype(int) + np.array(self.probe.shape)
        return int(y), int(x)


def _targets(fields: Arrays, quarters: np.ndarray) -> dict[str, np.ndarray]:
    """The middle quarter of the phase about each position [rad], enlarged, where the probe is bright."""
    return {"phase": (repeated(quarters) * fields["mask"]).astype(np.float32)}


def _scanned(fields: Arrays) -> Scanned:
    """Positions from the first pixel of an object that is just large enough."""
    counts, probe = fields["amplitude"] ** 2, fields["probe"]
    places = fields["position"].astype(float) / fields["sampling"][:, None].astype(float)
    first = np.floor(places.min(axis=0)) - np.array(probe.shape) // 2
    return Scanned(counts, places - first, pie.dosed(probe, counts), float(fields["sampling"][0]))


def _grid(scanned: Scanned) -> np.ndarray:
    """Places (2, n, y, x) [pixel] of the middle quarter of the probe's pixels at each position."""
    y, x = scanned.places.T[:, :, None, None]
    away = offsets(scanned.probe.shape[-1])
    return np.stack(np.broadcast_arrays(y + away[:, None], x + away))


def ptychography(
    fields: Arrays, *, engine: str, sweeps: float, alpha: float, beta: float, modes: float, source: float
) -> dict[str, np.ndarray]:
    """Phases of the object that ePIE or rPIE finds, beginning with vacuum and the known probe (`physics.pie`).

    beta: 0 leaves the probe as it is. modes, source: as for `_mixed`.
    """
    engines: Mapping[str, Callable[..., Reconstruction]] = {"epie": pie.epie, "rpie": pie.rpie}
    scanned, rng = _scanned(fields), np.random.Generator(np.random.Philox(SEED))
    orders = np.stack([rng.permutation(len(scanned.places)) for _ in range(int(sweeps))])
    start = np.ones(scanned.shape, np.complex64)
    probe = _mixed(scanned, int(modes), source)
    found = engines[engine](scanned.counts, scanned.places, start, probe, orders, alpha=alpha, beta=beta or None)
    light = illumination(start.shape, probe, scanned.places)
    return _targets(fields, phase_at(_grid(scanned), found.transmission, light > SEEN * light.max()))


def phase_at(grid: np.ndarray, wave: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The phase [rad] of a wave (y, x) at places (2, ...) [pixel], without jumps by 2 pi.

    The wave is interpolated, then given the whole cycles of its unwrapped phase (scikit-image: Herraez et al., Appl.
    Opt. 41 (2002) 7437). Those are sought where it is seen (y, x): elsewhere it is noise. A phase that does not wrap
    stays as it is.
    """
    from skimage.restoration import unwrap_phase  # slow to import

    parts = (ndimage.map_coordinates(part, grid, order=3, mode="mirror") for part in (wave.imag, wave.real))
    wrapped: np.ndarray = np.arctan2(*parts)
    angle = np.angle(wave)
    smooth = unwrap_phase(np.ma.array(angle, mask=~seen), rng=0).filled(0)  # type: ignore[no-untyped-call]
    near = ndimage.map_coordinates(np.where(seen, smooth, angle), grid, order=1, mode="mirror")
    turns: np.ndarray = np.round((near - wrapped) / (2 * np.pi)).astype(wrapped.dtype)
    return wrapped + 2 * np.pi * turns


def _mixed(scanned: Scanned, modes: int, source: float) -> np.ndarray:
    """The known probe (mode, y, x), in the strongest orthogonal modes of a source of this rms [nm] if in more than one.

    They hold the dose together. Of so small a source these are the probe, its slopes along y and x, its curvatures ...
    (Taylor's series of P(r - s) in s), so that 3 modes or 6 are whole sets.
    """
    if modes == 1:
        return scanned.probe[None]
    width = source / scanned.sampling
    if width > (most := widest(scanned.probe)):
        raise UserError(
            f"--set source={source:g}: must be at most {most * scanned.sampling:.3g} [nm] for this probe; lower it"
        )
    parts = pie.orthogonal(of_source(scanned.probe, width))[:modes]
    mixed: np.ndarray = pie.dosed(parts, scanned.counts).astype(np.complex64)
    return mixed


def contrast(fields: Arrays) -> dict[str, np.ndarray]:
    """Phases integrated from the centres of mass of a raster's patterns (`physics.ptychography.integrate`)."""
    scanned = _scanned(fields)
    raster = find_raster(scanned.places)
    vacuum = centre_of_mass(intensity(far_field(scanned.probe))[None])
    slopes = raster.image(raster.along(centre_of_mass(scanned.counts) - vacuum))
    image = integrate(slopes, raster.steps)
    return _targets(fields, _read_off(image, raster, _grid(scanned)))


def _read_off(image: np.ndarray, raster: Raster, grid: np.ndarray) -> np.ndarray:
    """An image on a raster (row, column) at places (2, ...) [pixel]; beyond its edge, that of the edge."""
    return ndimage.map_coordinates(image, raster.indices(grid), order=1, mode="nearest")


def where(fields: Arrays) -> Scans:
    """Where the patches of scans lie; what is near the edge of the mask counts less.

    A patch's 4 x 4 pixels about the probe's origin lie on those of the stitched image that show the position's pixel of
    the object, as near as a quarter of that goes: the middle of the four is at the position, so the first of them, and
    pixel 0 of the image, 1.5 of them before the middle of the object's pixel.
    """
    window, wide = fields["mask"], float(fields["sampling"][0])
    if (fields["sampling"] != fields["sampling"][0]).any():
        raise UserError("sampling: must be the same for all patterns to be stitched; stitch scans apart")
    fine, n = wide / ENLARGED, window.shape[0]
    zero = -(ENLARGED - 1) / 2 * fine
    position = fields["position"].astype(float) + (n // 2 - first(n)) * fine + zero
    return Scans(position, tapered(window)[None], fields["scan"], fine, zero)


def fluence(fields: Arrays) -> float:
    """Mean dose / step^2 [electron / nm^2]: electrons for each area, however many patterns they are shared by."""
    return float(fields["dose"].mean(dtype=float) / fields["step"][0].astype(float) ** 2)


def overlap(fields: Arrays) -> float:
    """1 - step / d: of neighbouring patches along their line, d the diameter of a disc as large as the mask.

    0 where discs touch, negative where there are gaps.
    """
    area = fields["mask"].sum(dtype=float) * (float(fields["sampling"][0]) / ENLARGED) ** 2
    return 1 - float(fields["step"][0]) / (2 * math.sqrt(area / math.pi))


MODES = "of the probe, incoherent (mixed state, Thibault and Menzel 2013); 3, 6: a source that is no point"
SOURCE = "rms of the source that more modes than one begin with; beta > 0 improves them"
NEEDS = ("amplitude", "position", "scan", "sampling", "probe", "mask")


def _ptychography(engine: str, about: str, alpha: float, most: float) -> Method:
    return Method(
        about=f"{about}, from whole scans, beginning with the known probe",
        needs=NEEDS,
        solve=partial(ptychography, engine=engine),
        settings={
            "sweeps": Setting("through all positions, in an order drawn anew for each", "1", (30,), 1, whole=True),
            "alpha": Setting("ePIE: step of the object; rPIE: floor of its weight", "1", (alpha,), 1e-6, most),
            "beta": Setting("the same for the probe; 0: it stays as it is", "1", (0.0,), 0, most),
            "modes": Setting(MODES, "1", (1,), 1, NODES**2, whole=True),
            "source": Setting(SOURCE, "nm", (0.02,), 1e-6),
        },
        version=3,  # 1 wrapped strong phases; 2 gave dark fields of vacuum the phase of rounding errors
        scope="group",
        group="scan",
    )


METHODS: Mapping[str, Method] = {
    "epie": _ptychography("epie", "extended ptychographic iterative engine (Maiden and Rodenburg 2009)", 0.3, 2.0),
    "rpie": _ptychography("rpie", "regularised ptychographic iterative engine (Maiden, Johnson and Li 2017)", 0.3, 1.0),
    "idpc": Method(
        about="integrated differential phase contrast of a raster: grad phi = 2 pi centre of mass (Lazic et al. 2016)",
        needs=NEEDS,
        solve=contrast,
        scope="group",
        group="scan",
    ),
}

STITCH = Stitch(
    target="phase",
    needs=("position", "scan", "sampling", "mask"),
    scans=where,
    truth="object",
    pixels=ENLARGED,
    free="constant",
    scales=(
        Scale("fluence", "electron/nm^2", "mean dose / step^2", ("dose", "step"), fluence, logarithm=True),
        Scale("overlap", "1", OVERLAP, ("step", "mask", "sampling"), overlap),
    ),
)

REPORT = Report(
    inputs=(Shown("amplitude", logarithm=True),),
    parameters=("dose", "object_range"),
    sections=(section("Images of whole scans", STITCH),),
    finer=ENLARGED,
)
