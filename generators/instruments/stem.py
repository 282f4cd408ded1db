"""Images of atoms in a scanning transmission electron microscope, in one of three approximations.

    incoherent    intensity of the probe at each depth times the scattering power there
                  (`physics.scattering.incoherent`): a second for an image; crystals along a zone axis differ from
                  multislice by a third and more
    prism         multislice of every f-th plane wave of the probe (`physics.scattering.prism`)
    multislice    multislice of each probe (`physics.scattering.stem`)

Images are shares of the incident electrons that an annular detector collects. The field of view is periodic, and its
middle, pixel N//2, is the middle of the specimen. The beam travels along +z, and the probe is that of the plane z = 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from generators.random_streams import Streams
from generators.specimens.draws import to_float32
from physics import multislice, probe
from physics.electron import wavelength
from physics.fourier import blurred, fast_length
from physics.optics import propagate
from physics.scattering import incoherent, prism, stem
from physics.scattering.atoms import Atoms, displaced, slice_potentials
from physics.scattering.detectors import annulus
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

PROBES = 64  # that travel together
MARGIN = 0.7  # of the field of view around the pixels that are compared [nm]
BAND_MARGIN = 1.02  # of the frequencies that a grid holds beyond those that are needed

type Fidelity = Literal["incoherent", "prism", "multislice"]


class Stem(Settings):
    """Settings of the microscope and of its simulation."""

    voltage: Annotated[float, within(1e4, 1e7)] = Field(300e3, **setting("accelerating voltage", "V"))
    semi_angle: Annotated[float, within(1e-3, 0.1)] = Field(30e-3, **setting("convergence semi-angle", "rad"))
    inner: Annotated[float, within(0, 0.5)] = Field(38e-3, **setting("angle from which the detector collects", "rad"))
    outer: Annotated[float, within(0, 0.5, above=True)] = Field(
        190e-3, **setting("angle up to which the detector collects", "rad")
    )
    defocus: Annotated[Range, within(-1e3, 1e3)] = between(
        0.0, 0.0, "C1 in the middle of the specimen; positive: it lies underneath the focus", "nm"
    )
    spherical: Annotated[float, within(-1e8, 1e8)] = Field(0.0, **setting("spherical aberration C3", "nm"))
    source: Annotated[Range, within(0, 1)] = between(
        0.03, 0.05, "standard deviation of the image of the source, along each axis", "nm"
    )
    vibration: Annotated[float, within(0, 0.05)] = Field(
        0.007, **setting("standard deviation of the thermal motion of atoms, along each axis", "nm")
    )
    fidelity: Fidelity = Field("incoherent", **setting("approximation of the scattering"))
    plane_distance: Annotated[float, within(0.05, 100)] = Field(
        2.0, **setting("incoherent: distance of the planes between which atoms are shared, at most", "nm")
    )
    interpolation: int = Field(4, ge=1, le=64, **setting("prism: every N-th plane wave along each axis is computed"))
    slice: Annotated[float, within(0.02, 5)] = Field(
        0.2, **setting("prism, multislice: thickness of a slice, at most", "nm")
    )
    phonons: int = Field(
        4, ge=0, le=1000, **setting("prism, multislice: frozen phonon configurations; 0: averaged potentials")
    )

    @model_validator(mode="after")
    def _check_angles(self) -> Self:
        if self.outer <= self.inner:
            raise ValueError(f"outer = {self.outer:g} rad: must be above inner, {self.inner:g} rad")
        return self

    @property
    def highest_frequency(self) -> float:
        """Frequency [1/nm] that the grid must hold.

        It is that of the probe's intensity, or that by which a potential scatters a wave from one end of the aperture
        to the opposite end of the detector.
        """
        lam = float(wavelength(self.voltage))
        return (2 * self.semi_angle if self.fidelity == "incoherent" else self.semi_angle + self.outer) / lam


@dataclass(frozen=True, slots=True)
class DrawnStem:
    """The microscope of a sample: numbers that float32 holds exactly."""

    defocus: float
    source: float
    seed: int  # of the thermal motion of atoms


def draw(settings: Stem, rng: Streams) -> DrawnStem:
    """Draw the microscope of a sample, from the stream `stem`.

    Args:
        settings: the settings
        rng: the streams of the sample
    """
    defocus, source = to_float32(settings.defocus.draw(rng.stem), settings.source.draw(rng.stem))
    return DrawnStem(defocus, source, int(2**32 * rng.stem.random()))


@dataclass(frozen=True)
class Scanned:
    """The pixels of a scan: where the specimen is hit."""

    shape: tuple[int, int]  # (ny, nx)
    sampling: float  # [nm]
    y: np.ndarray  # position of each row along y (row,) [nm], from pixel N//2
    shifts: np.ndarray  # displacement of each row along x (row,) [nm]

    @property
    def x(self) -> np.ndarray:
        """Positions along x (column,) [nm], before the displacement of their row."""
        return self.sampling * (np.arange(self.shape[1]) - self.shape[1] // 2)

    @property
    def field_of_view(self) -> tuple[float, float]:
        """Its size (y, x) [nm]."""
        return self.shape[0] * self.sampling, self.shape[1] * self.sampling

    def positions(self) -> np.ndarray:
        """Return the position (y, x) [nm] of each pixel, (pixel, 2)."""
        x = self.x + self.shifts[:, None]
        return np.stack([np.broadcast_to(self.y[:, None], x.shape), x], axis=-1).reshape(-1, 2)


def image(settings: Stem, drawn: DrawnStem, atoms: Atoms, scan: Scanned) -> np.ndarray:
    """Return the share of the incident electrons that the detector collects at each pixel, (ny, nx), float32.

    Args:
        settings: the settings
        drawn: the microscope of the sample
        atoms: the specimen, around the origin
        scan: the pixels
    """
    shape, sampling = grid(settings, scan.field_of_view)
    if settings.fidelity == "incoherent":
        whole = _incoherent(settings, drawn, atoms, shape, sampling)
        found = incoherent.scanned(whole, scan.y, scan.x, sampling, scan.shifts)
    else:
        sharp = signals(settings, drawn, atoms, (shape, sampling), scan.positions()).reshape(scan.shape)
        found = blurred(sharp, drawn.source / scan.sampling) if drawn.source else sharp
    return np.maximum(found, 0).astype(np.float32)  # type: ignore[no-any-return]


def grid(settings: Stem, field_of_view: tuple[float, float]) -> tuple[tuple[int, int], tuple[float, float]]:
    """Return the shape (ny, nx) and the pixels (y, x) [nm] of the grid on which waves are computed.

    The band limit of `physics.multislice` then holds all frequencies that are needed. With PRISM, the interpolation
    divides the lengths.

    Args:
        settings: the settings
        field_of_view: (y, x) [nm]
    """
    step = settings.interpolation if settings.fidelity == "prism" else 1
    nyquist = BAND_MARGIN * settings.highest_frequency / multislice.BAND
    ny, nx = (step * fast_length(ceil(2 * nyquist * length / step)) for length in field_of_view)
    return (ny, nx), (field_of_view[0] / ny, field_of_view[1] / nx)


def _incoherent(
    settings: Stem, drawn: DrawnStem, atoms: Atoms, shape: tuple[int, int], sampling: tuple[float, float]
) -> np.ndarray:
    """Return the incoherent image on the grid of waves."""
    z = atoms.positions[:, 0]
    bottom, top = (float(z.min()), float(z.max())) if len(atoms) else (0.0, 0.0)
    planes = np.linspace(bottom, top, ceil((top - bottom) / settings.plane_distance) + 1)
    power = _powers(settings, atoms.elements, sampling)
    found: np.ndarray = incoherent.image(
        _probe(settings, drawn, shape, sampling),
        incoherent.objects(atoms, power, planes, shape, sampling).astype(np.float32),
        planes,
        float(wavelength(settings.voltage)),
        sampling,
        source=drawn.source,
    )
    return found


@lru_cache(maxsize=4)
def _powers(settings: Stem, elements: tuple[str, ...], sampling: tuple[float, float]) -> incoherent.Power:
    return incoherent.powers(
        elements,
        sampling,
        settings.voltage,
        settings.inner,
        settings.outer,
        vibration=settings.vibration,
        semi_angle=settings.semi_angle,
    )


def _probe(settings: Stem, drawn: DrawnStem, shape: tuple[int, int], sampling: tuple[float, float]) -> np.ndarray:
    """Return the probe in the plane z = 0, complex64."""
    wave = probe.probe(
        shape, sampling, settings.voltage, settings.semi_angle, defocus=drawn.defocus, spherical=settings.spherical
    )
    return wave.astype(np.complex64)  # type: ignore[no-any-return]


def signals(
    settings: Stem,
    drawn: DrawnStem,
    atoms: Atoms,
    waves: tuple[tuple[int, int], tuple[float, float]],
    positions: np.ndarray,
) -> np.ndarray:
    """Return the share of the incident electrons on the detector for each position of the probe, by waves.

    It is the mean over the frozen phonon configurations, with a point source.

    Args:
        settings: the settings; `fidelity` is prism or multislice
        drawn: the microscope of the sample
        atoms: the specimen, around the origin
        waves: the grid of the waves, as of `grid`
        positions: (position, 2), (y, x) [nm]
    """
    found = np.zeros(len(positions))
    count = max(settings.phonons, 1)
    rng = np.random.Generator(np.random.Philox(drawn.seed))
    for _ in range(count):
        instant = atoms
        if settings.phonons:
            instant = displaced(atoms, settings.vibration, rng.standard_normal((len(atoms), 3)))
        found += _signals_of(settings, drawn, instant, waves, positions)
    return found / count


def compared(
    settings: Stem, drawn: DrawnStem, atoms: Atoms, scan: Scanned, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a square of pixels of an image around one of its atoms, as it is approximated and by multislice.

    The source is a point here. Multislice takes the atoms within `MARGIN` of the square, and at least four frozen
    phonon configurations.

    Args:
        settings: the settings
        drawn: the microscope of the sample
        atoms: the specimen, around the origin
        scan: the pixels of the image
        side: pixels along each side of the square
        rng: chooses the atom

    Returns:
        Signals (pixel,) of both approximations.
    """
    ny, nx = scan.shape
    side = min(side, ny, nx)
    middle = atoms.positions[rng.integers(len(atoms)), 1:] / scan.sampling + np.array(scan.shape) // 2
    row, column = (int(np.clip(round(m) - side // 2, 0, n - side)) for m, n in zip(middle, scan.shape, strict=True))
    places = scan.positions().reshape(ny, nx, 2)[row : row + side, column : column + side].reshape(-1, 2)
    point = replace(drawn, source=0.0)
    if settings.fidelity == "incoherent":
        known = image(settings, point, atoms, scan)[row : row + side, column : column + side].ravel()
    else:
        known = signals(settings, point, atoms, grid(settings, scan.field_of_view), places)
    reference = settings.model_copy(update={"fidelity": "multislice", "phonons": max(settings.phonons, 4)})
    centre = places.mean(axis=0)
    width = float(np.ptp(places, axis=0).max()) + 2 * MARGIN
    near = (abs(atoms.positions[:, 1:] - centre) < width / 2).all(axis=1)
    moved = atoms[near].positions - np.array([0.0, *centre])
    part = Atoms(atoms.elements, atoms.kinds[near], moved)
    exact = signals(reference, point, part, grid(reference, (width, width)), places - centre)
    return known, exact


def _signals_of(
    settings: Stem,
    drawn: DrawnStem,
    atoms: Atoms,
    waves: tuple[tuple[int, int], tuple[float, float]],
    positions: np.ndarray,
) -> np.ndarray:
    """Return the signals from one configuration of the atoms."""
    shape, sampling = waves
    lam = float(wavelength(settings.voltage))
    z = atoms.positions[:, 0]
    bottom, top = (float(z.min()), float(z.max())) if len(atoms) else (0.0, 0.0)
    edges = np.linspace(bottom, top, max(ceil((top - bottom) / settings.slice), 1) + 1)
    thickness = float(edges[1] - edges[0])
    limit = multislice.band_limit(shape, sampling)
    vibration = 0.0 if settings.phonons else settings.vibration
    transmissions = np.stack(
        [
            multislice.transmission(potential, settings.voltage, limit)
            for potential in slice_potentials(atoms, edges.tolist(), shape, sampling, vibration)
        ]
    )
    entrance = propagate(_probe(settings, drawn, shape, sampling), lam, bottom, sampling)
    travel = partial(multislice.exit_wave, transmissions, lam, thickness, sampling, exit_plane="surface", limit=limit)
    if settings.fidelity == "multislice":
        detector = annulus(shape, sampling, lam, settings.inner, settings.outer)
        parts = [
            stem.scanned_signals(entrance, part, transmissions, lam, thickness, sampling, detector, limit=limit)
            for part in _parts(positions)
        ]
        return np.concatenate(parts)[:, 0]
    beams = prism.beams_of(entrance, settings.interpolation)
    scattered = np.concatenate(
        [travel(incident=prism.plane_waves(part, shape, np.complex64)) for part in _parts(beams.orders)]
    )
    window = annulus(beams.window, sampling, lam, settings.inner, settings.outer)
    power = float((abs(entrance) ** 2).sum())
    return prism.scanned_signals(beams, scattered, positions, sampling, window, power)[:, 0]  # type: ignore[no-any-return]


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), PROBES):
        yield rows[start : start + PROBES]
