"""Classical methods for the phases of whole scans, the stitching of patches, and the report of the task.

The methods are ptychography (ePIE and rPIE) and integrated differential phase contrast.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from inference.contract import Arrays, Method, Report, Scale, Setting, Shown, Stitch
from inference.stitching.comparison import section
from inference.stitching.patches import tapered_weights
from inference.stitching.raster import Raster, find_raster
from inference.stitching.store import Scans
from physics import pie
from physics.diffraction import far_field
from physics.optics import intensity
from physics.pie import Reconstruction
from physics.probe import MIN_NODES, source_modes, widest_source
from physics.ptychography import centre_of_mass, illumination, integrate
from schemas.fields.illuminated_patches import ENLARGEMENT, first_origin_pixel, pixel_offsets, repeat_pixels
from schemas.runtime.errors import UserError

OVERLAP_FORMULA = "1 - step / d, d the diameter of a disc with the area in which |probe|^2 exceeds 0.16 of its maximum"
SEED = 1  # seed of the order of positions in each sweep
MIN_DOSE_SHARE = 0.01  # minimum dose at a seen pixel of the object, relative to the pixel with the maximum dose


@dataclass(frozen=True)
class ScanData:
    """Patterns of one scan with their positions and the probe."""

    counts: np.ndarray  # (n, qy, qx)
    places: np.ndarray  # (n, 2), y and x of pixel N//2 of the probe [pixel of the object]
    probe: np.ndarray  # (y, x), complex, in units of the square root of counts / N
    sampling: float  # width of a pixel of the object [nm]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (y, x) of an object that is just large enough for the probe at all positions."""
        y, x = np.ceil(self.places.max(axis=0)).astype(int) + np.array(self.probe.shape)
        return int(y), int(x)


def _phase_target(fields: Arrays, quarters: np.ndarray) -> dict[str, np.ndarray]:
    """Return the targets: the phase [rad] in the central region about each position, enlarged, where it is bright."""
    return {"phase": (repeat_pixels(quarters) * fields["mask"]).astype(np.float32)}


def _read_scan(fields: Arrays) -> ScanData:
    """Return the scan with positions relative to the first pixel of an object that is just large enough."""
    counts, probe = fields["amplitude"] ** 2, fields["probe"]
    places = fields["position"].astype(float) / fields["sampling"][:, None].astype(float)
    first = np.floor(places.min(axis=0)) - np.array(probe.shape) // 2
    return ScanData(counts, places - first, pie.scale_to_dose(probe, counts), float(fields["sampling"][0]))


def _patches(scanned: ScanData) -> np.ndarray:
    """Return the places (2, n, y, x) [pixel] of the central n/4 x n/4 pixels of the probe at each position."""
    y, x = scanned.places.T[:, :, None, None]
    away = pixel_offsets(scanned.probe.shape[-1])
    return np.stack(np.broadcast_arrays(y + away[:, None], x + away))


def ptychography(
    fields: Arrays, *, engine: str, sweeps: float, alpha: float, beta: float, modes: float, source: float
) -> dict[str, np.ndarray]:
    """Reconstruct the object by ePIE or rPIE (`physics.pie`), and return its phases under the probe as targets.

    The reconstruction starts from vacuum and the known probe.

    Args:
        fields: fields of all patterns of one scan.
        engine: "epie" or "rpie".
        sweeps: number of sweeps through all positions.
        alpha: step of the object (ePIE) or floor of its weight (rPIE).
        beta: the same for the probe; 0: the probe is not changed.
        modes: number of incoherent modes of the probe.
        source: rms size of the source that several modes start from [nm].

    Raises:
        UserError: the source is too wide for this probe.
    """
    engines: Mapping[str, Callable[..., Reconstruction]] = {"epie": pie.epie, "rpie": pie.rpie}
    scanned, rng = _read_scan(fields), np.random.Generator(np.random.Philox(SEED))
    orders = np.stack([rng.permutation(len(scanned.places)) for _ in range(int(sweeps))])
    start = np.ones(scanned.shape, np.complex64)
    probe = _probe_modes(scanned, int(modes), source)
    reconstruction = engines[engine](
        scanned.counts, scanned.places, start, probe, orders, alpha=alpha, beta=beta or None
    )
    light = illumination(start.shape, probe, scanned.places)
    seen = light > MIN_DOSE_SHARE * light.max()
    return _phase_target(fields, phase_at(_patches(scanned), reconstruction.transmission, seen))


def phase_at(grid: np.ndarray, wave: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the phase [rad] of a wave at some places, without jumps by 2 pi.

    The wave is interpolated. Its phase is then completed by the whole turns of the unwrapped phase (scikit-image:
    Herraez et al., Appl. Opt. 41 (2002) 7437). Only seen pixels are unwrapped, because the others hold noise. A phase
    that does not wrap is not changed.

    Args:
        grid: places (2, ...), y and x [pixel].
        wave: (y, x), complex.
        seen: (y, x), True where enough light fell on the object.
    """
    from skimage.restoration import unwrap_phase  # slow to import

    parts = (ndimage.map_coordinates(part, grid, order=3, mode="mirror") for part in (wave.imag, wave.real))
    wrapped: np.ndarray = np.arctan2(*parts)
    angle = np.angle(wave)
    smooth = unwrap_phase(np.ma.array(angle, mask=~seen), rng=0).filled(0)  # type: ignore[no-untyped-call]
    near = ndimage.map_coordinates(np.where(seen, smooth, angle), grid, order=1, mode="mirror")
    turns: np.ndarray = np.round((near - wrapped) / (2 * np.pi)).astype(wrapped.dtype)
    return wrapped + 2 * np.pi * turns


def _probe_modes(scanned: ScanData, modes: int, source: float) -> np.ndarray:
    """Return the known probe (mode, y, x); of several modes, the strongest orthogonal ones of an extended source.

    The source has this rms size [nm]. The modes hold the dose together. For a small source they are the probe, its
    slopes along y and x, its curvatures and so on (the Taylor series of P(r - s) in s): 3 or 6 modes are complete sets.
    """
    if modes == 1:
        return scanned.probe[None]
    width = source / scanned.sampling
    if width > (most := widest_source(scanned.probe)):
        raise UserError(
            f"--set source={source:g}: must be at most {most * scanned.sampling:.3g} nm for this probe; give less"
        )
    parts = pie.orthogonal_modes(source_modes(scanned.probe, width))[:modes]
    mixed: np.ndarray = pie.scale_to_dose(parts, scanned.counts).astype(np.complex64)
    return mixed


def contrast(fields: Arrays) -> dict[str, np.ndarray]:
    """Return the phases that follow by integration from the centres of mass of the patterns.

    The positions must lie on a raster (`physics.ptychography.integrate`).

    Args:
        fields: fields of all patterns of one scan.

    Raises:
        UserError: the positions do not lie on a raster.
    """
    scanned = _read_scan(fields)
    raster = find_raster(scanned.places)
    vacuum = centre_of_mass(intensity(far_field(scanned.probe))[None])
    slopes = raster.image(raster.along_axes(centre_of_mass(scanned.counts) - vacuum))
    image = integrate(slopes, raster.steps)
    return _phase_target(fields, _interpolate(image, raster, _patches(scanned)))


def _interpolate(image: np.ndarray, raster: Raster, grid: np.ndarray) -> np.ndarray:
    """Interpolate an image on a raster (row, column) at places (2, ...) [pixel]; beyond its edge, take the edge."""
    return ndimage.map_coordinates(image, raster.indices(grid), order=1, mode="nearest")


def patch_places(fields: Arrays) -> Scans:
    """Return the places of the patches of scans, with weights that fall towards the edge of the mask.

    The 4 x 4 fine pixels about the origin of the probe show one pixel of the object. A patch is laid so that they
    coincide, as well as a quarter of an object pixel allows, with those pixels of the stitched image that show the
    object at the position. The middle of the four lies at the position. The first of them therefore lies 1.5 fine
    pixels before the middle of the object pixel, and so does pixel 0 of the image before the middle of pixel 0 of the
    object.

    Args:
        fields: position, scan, sampling and mask of all samples.

    Raises:
        UserError: the patterns differ in sampling.
    """
    window, wide = fields["mask"], float(fields["sampling"][0])
    if (fields["sampling"] != fields["sampling"][0]).any():
        raise UserError("sampling: must be the same for all patterns that are stitched; stitch the scans separately")
    fine, n = wide / ENLARGEMENT, window.shape[0]
    zero = -(ENLARGEMENT - 1) / 2 * fine
    position = fields["position"].astype(float) + (n // 2 - first_origin_pixel(n)) * fine + zero
    return Scans(position, tapered_weights(window)[None], fields["scan"], fine, zero)


def fluence(fields: Arrays) -> float:
    """Fluence [electron / nm^2] of a scan, mean dose / step^2: electrons per area, whatever the overlap of patterns."""
    return float(fields["dose"].mean(dtype=float) / fields["step"][0].astype(float) ** 2)


def overlap(fields: Arrays) -> float:
    """Overlap 1 - step / d of neighbouring patches of a line, d the diameter of a disc with the area of the mask.

    It is 0 where the discs touch, and negative where there are gaps.
    """
    area = fields["mask"].sum(dtype=float) * (float(fields["sampling"][0]) / ENLARGEMENT) ** 2
    return 1 - float(fields["step"][0]) / (2 * math.sqrt(area / math.pi))


MODES_ABOUT = "incoherent modes of the probe (mixed state, Thibault and Menzel 2013); 3 or 6 for an extended source"
SOURCE_ABOUT = "rms size of the source that several modes start from; beta > 0 improves them"
NEEDED_FIELDS = ("amplitude", "position", "scan", "sampling", "probe", "mask")


def _ptychography(engine: str, about: str, alpha: float, most: float) -> Method:
    """Return a ptychographic method with its settings. most: maximum of `alpha` and `beta`."""
    return Method(
        about=f"{about}, from whole scans, starting with the known probe",
        needs=NEEDED_FIELDS,
        solve=partial(ptychography, engine=engine),
        settings={
            "sweeps": Setting("sweeps through all positions, each in a new random order", "1", (30,), 1, whole=True),
            "alpha": Setting("ePIE: step of the object; rPIE: floor of its weight", "1", (alpha,), 1e-6, most),
            "beta": Setting("as alpha, for the probe; 0 keeps the known probe", "1", (0.0,), 0, most),
            "modes": Setting(MODES_ABOUT, "1", (1,), 1, MIN_NODES**2, whole=True),
            "source": Setting(SOURCE_ABOUT, "nm", (0.02,), 1e-6),
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
        needs=NEEDED_FIELDS,
        solve=contrast,
        scope="group",
        group="scan",
    ),
}

STITCH = Stitch(
    target="phase",
    needs=("position", "scan", "sampling", "mask"),
    scans=patch_places,
    truth="object",
    pixels=ENLARGEMENT,
    free="constant",
    scales=(
        Scale("fluence", "electron/nm^2", "mean dose / step^2", ("dose", "step"), fluence, logarithm=True),
        Scale("overlap", "1", OVERLAP_FORMULA, ("step", "mask", "sampling"), overlap),
    ),
)

REPORT = Report(
    inputs=(Shown("amplitude", logarithm=True),),
    parameters=("dose", "object_range"),
    sections=(section("Images of whole scans", STITCH),),
    finer=ENLARGEMENT,
)
