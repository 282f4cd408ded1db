"""The electron probe of a diffraction experiment, from a file or from the optics of the condenser."""

from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from generators.specimens.from_files.arrays import ArrayFile
from physics import probe
from schemas.fields.illuminated_patches import central_shape, illuminated_mask
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import within
from schemas.runtime.settings import setting

OPTICS_SETTINGS = (
    "defocus",
    "spherical",
    "astigmatism",
    "azimuth",
    "coma",
    "coma_azimuth",
    "threefold",
    "threefold_azimuth",
)


class Probe(ArrayFile):
    """Settings of the probe of a whole dataset. For a probe from a file, only voltage and source are used."""

    setting_name: ClassVar[str] = "probe"
    valid_file: ClassVar[str] = "a complex array (y, x), its origin at pixel N//2, as .npy"

    voltage: Annotated[float, within(1e3, 1e7)] = Field(80e3, **setting("accelerating voltage", "V"))
    semi_angle: Annotated[float, within(0, 1, above=True)] = Field(34.6e-3, **setting("convergence semi-angle", "rad"))
    defocus: Annotated[float, within()] = Field(0.0, **setting("defocus C1; positive: the focus lies upstream", "nm"))
    spherical: Annotated[float, within()] = Field(0.0, **setting("spherical aberration C3", "nm"))
    astigmatism: Annotated[float, within()] = Field(0.0, **setting("twofold astigmatism A1", "nm"))
    azimuth: Annotated[float, within()] = Field(0.0, **setting("azimuth of A1, from x towards y", "rad"))
    coma: Annotated[float, within()] = Field(0.0, **setting("axial coma B2", "nm"))
    coma_azimuth: Annotated[float, within()] = Field(0.0, **setting("azimuth of B2, from x towards y", "rad"))
    threefold: Annotated[float, within()] = Field(0.0, **setting("threefold astigmatism A2", "nm"))
    threefold_azimuth: Annotated[float, within()] = Field(0.0, **setting("azimuth of A2, from x towards y", "rad"))

    source: Annotated[float, within(0)] = Field(
        0.0,
        **setting(
            "rms width along each axis of a Gaussian incoherent source, at the specimen; 0: a point source", "nm"
        ),
    )

    def wave(self, n: int, sampling: float) -> np.ndarray:
        """Return the probe P (n, n), complex64, with sum |F P|^2 = 1.

        Args:
            n: pixels along each side
            sampling: width of a pixel [nm]; a probe from a file does not depend on it

        Raises:
            UserError: the file does not hold such a probe, the probe is dark in its central region, or its source is
                too wide
            ValueError: the optics do not give a probe on this grid
        """
        return _probe_wave(self, n, sampling)

    def modes(self, n: int, sampling: float) -> np.ndarray:
        """Return the mutually incoherent modes (mode, n, n) of the probe, as `probe.source_modes` returns them.

        Args:
            n: pixels along each side
            sampling: width of a pixel [nm]

        Returns:
            modes (mode, n, n), complex64
        """
        return _source_modes(self, n, sampling)


@lru_cache(maxsize=4)
def _probe_wave(settings: Probe, n: int, sampling: float) -> np.ndarray:
    """Return the normalised probe; refuse one that is dark in its central region or has too wide a source."""
    wave = _wave_from_file(settings, n) if settings.from_file else _wave_from_optics(settings, n, sampling)
    if not illuminated_mask(wave).any():
        raise UserError(
            f"probe: is dark in the middle {central_shape(n)} of its {n}x{n} pixels; centre it on pixel N//2"
        )
    _check_source(settings, wave, sampling)
    wave.flags.writeable = False
    return wave


def _check_source(settings: Probe, wave: np.ndarray, sampling: float) -> None:
    if settings.source / sampling > (maximum := probe.widest_source(wave)):
        raise UserError(
            f"probe.source = {settings.source:g} nm: must be at most {maximum * sampling:.3g} nm for this aperture "
            f"({probe.MAX_NODES}x{probe.MAX_NODES} moved probes); lower it, or narrow the aperture"
        )


@lru_cache(maxsize=4)
def _source_modes(settings: Probe, n: int, sampling: float) -> np.ndarray:
    modes: np.ndarray = probe.source_modes(_probe_wave(settings, n, sampling), settings.source / sampling).astype(
        np.complex64
    )
    modes.flags.writeable = False
    return modes


def _wave_from_optics(settings: Probe, n: int, sampling: float) -> np.ndarray:
    optics = {name: getattr(settings, name) for name in OPTICS_SETTINGS}
    wave = probe.probe((n, n), sampling, settings.voltage, settings.semi_angle, power=1 / n**2, **optics)
    return wave.astype(np.complex64)  # type: ignore[no-any-return]


def _wave_from_file(settings: Probe, n: int) -> np.ndarray:
    """Return the probe of a file, normalised to sum |F P|^2 = 1."""
    wave = settings.array()
    if wave.dtype.kind != "c" or wave.ndim != 2:
        raise settings.refusal(f"holds {wave.dtype} of shape {wave.shape}")
    if wave.shape != (n, n):
        raise settings.refusal(
            f"has {wave.shape[0]}x{wave.shape[1]} pixels, patterns have {n}x{n}; set pattern to the size of the probe"
        )
    power = (abs(wave) ** 2).sum()
    if not power:
        raise settings.refusal("holds a probe without intensity")
    return (wave / np.sqrt(power * n**2)).astype(np.complex64)  # type: ignore[no-any-return]
