"""A measurement of transmission with X-rays or neutrons, from ideal line integrals to measured ones.

    hardening -> flux of each view -> counts of the detector -> zingers -> flat field, dark field and logarithm
    -> rings -> air offset

The formulas are those of `physics.tomography.transmission`. Each kind of noise has a stream of its own, so that the
others stay when one is switched off: `shot_noise`, `read_noise`, `flat_frames`, `dark_frames`, `zingers`, `flux`,
`rings`, and those of the fixed pattern. A setting at its default changes no bit. Where nothing acts on the counts, line
integrals are never turned into counts and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from generators.instruments.detectors.chain import IN_COUNTS, DetectorChain
from generators.instruments.detectors.fixed_pattern import Pixels
from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from physics.tomography import transmission
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

type Floats = NDArray[np.floating]


class Transmission(Settings):
    """Settings of the measurement. With the defaults, the measured line integrals are the ideal ones."""

    photons: Annotated[Range, within(0, 1e12)] = between(
        0.0,
        0.0,
        "counted quanta per detector pixel without object, drawn on a logarithmic scale; 0: no noise",
        "photon",
    )
    hardening: Annotated[Range, within(0, 10)] = between(
        0.0, 0.0, "h of the hardened attenuation p - h p^2 of the line integral p; it must rise up to the largest p"
    )
    rings: Annotated[Range, within(0, 1)] = between(
        0.0, 0.0, "standard deviation of constants added to the columns: errors of gain that the flat field leaves"
    )
    drift: Annotated[Range, within(0, 1)] = between(
        0.0, 0.0, "standard deviation of the flux in the last view, after a random walk from the flat field"
    )
    air_offset: Annotated[Range, within(-1, 1)] = between(0.0, 0.0, "constant added to all line integrals")
    zingers: Annotated[Range, within(0, 1)] = between(
        0.0, 0.0, "share of the values that are hit by stray quanta, which are far too high"
    )
    zinger_strength: Annotated[float, within(0, 1e6)] = Field(
        1.0, **setting("mean counts of a hit, relative to the counts without object")
    )
    profile: Annotated[float, within(0, 0.99)] = Field(
        0.0, **setting("loss of the incident beam from the middle of the detector to its ends")
    )
    flats: int = Field(0, ge=0, le=10_000, **setting("number of flat-field frames; 0: the flat field has no noise"))
    darks: int = Field(0, ge=0, le=10_000, **setting("number of dark-field frames; 0: the dark field has no noise"))
    lowest: Annotated[float, within(0, above=True)] = Field(
        transmission.LOWEST_COUNT,
        **setting("signal that replaces lower, zero and negative ones before the logarithm", "photon"),
    )
    detector: DetectorChain = Field(DetectorChain(), **setting("the detector; its pixels are a line"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.photons.high and not self.photons.low:
            raise ValueError("photons: 0 means no noise and cannot be the end of a range; raise it to 1 or more")
        neutral = DetectorChain()
        set_values = [name for name in IN_COUNTS if getattr(self.detector, name) != getattr(neutral, name)]
        if set_values and not self.photons.high:
            raise ValueError(f"detector.{set_values[0]}: is in counts; give photons, too")
        return self


@dataclass(frozen=True, slots=True)
class DrawnTransmission:
    """The drawn settings of a sample: numbers that float32 holds exactly (see `schemas.fields.transmission`)."""

    photons: float
    hardening: float
    rings: float
    drift: float
    air_offset: float
    zingers: float

    def columns(self) -> Mapping[str, Any]:
        """Return the parameters by field: `photons`, and the others with the prefix `transmission_`."""
        found = stored_parameters("transmission_", self)
        return {"photons": found.pop("transmission_photons"), **found}

    def without_noise(self) -> "DrawnTransmission":
        """Return the same measurement without anything random."""
        return replace(self, photons=0.0, rings=0.0, drift=0.0, zingers=0.0)


def draw(settings: Transmission, rng: Streams) -> DrawnTransmission:
    """Draw the settings of a sample, from the stream `transmission`. Every call consumes the same number of numbers.

    Args:
        settings: the settings
        rng: the streams of the sample
    """
    photons = settings.photons.draw_logarithmic(rng.transmission)
    names = ("hardening", "rings", "drift", "air_offset", "zingers")
    return DrawnTransmission(*to_float32(photons, *(getattr(settings, n).draw(rng.transmission) for n in names)))


def measure(settings: Transmission, drawn: DrawnTransmission, sinogram: Floats, rng: Streams) -> NDArray[np.float32]:
    """Return measured line integrals.

    Args:
        settings: the settings
        drawn: the drawn settings of this sample
        sinogram: ideal line integrals (angle, detector)
        rng: the streams of the sample

    Returns:
        measured line integrals (angle, detector). Dead and hot pixels read the same with and without object: their
        columns are 0.

    Raises:
        UserError: the hardening is too strong for the largest line integral
    """
    pattern = settings.detector.pattern
    pixels = pattern.draw(sinogram.shape[-1:], rng)
    paths = _harden(sinogram.astype(np.float64), drawn.hardening)
    if drawn.drift:
        paths = paths - transmission.flux_drift(len(paths), drawn.drift, rng.flux)[:, None]
    if drawn.photons or drawn.zingers or not settings.detector.is_neutral:
        paths = _count_and_correct(settings, drawn, paths, pixels, rng)
    if drawn.rings:
        paths = paths + drawn.rings * pattern.streams(rng).rings.standard_normal(pixels.shape)
    if drawn.air_offset:
        paths = paths + drawn.air_offset
    paths[:, pixels.blind] = 0
    return paths.astype(np.float32)


def _harden(paths: Floats, hardening: float) -> Floats:
    try:
        hardened: Floats = transmission.harden(paths, hardening)
    except ValueError as error:
        raise UserError(f"transmission.{error}; lower it, or the attenuation of the objects") from None
    return hardened


def _count_and_correct(
    settings: Transmission, drawn: DrawnTransmission, paths: Floats, pixels: Pixels, rng: Streams
) -> Floats:
    """Return the line integrals of noisy counts, corrected by flat field and dark field.

    Without noise, the unit of counts is that of the incident beam in the middle of the detector.
    """
    chain, counted, unit = settings.detector, bool(drawn.photons), drawn.photons or 1.0
    incident = unit * transmission.beam_profile(paths.shape[1], settings.profile)
    quanta = incident * np.exp(-paths)
    counts = chain.record(quanta, pixels, rng.shot_noise, rng.read_noise) if counted else chain.expect(quanta, pixels)
    if drawn.zingers:
        hits = transmission.zingers(
            counts.shape, drawn.zingers, settings.zinger_strength * unit * chain.gain, rng.zingers
        )
        counts = chain.digitise(counts + hits)
    flat = _mean_frame(chain, incident, pixels, counted * settings.flats, rng.flat_frames)
    dark = _mean_frame(chain, 0 * incident, pixels, counted * settings.darks, rng.dark_frames)
    lowest = settings.lowest * chain.gain if counted else float(np.finfo(np.float32).tiny)
    return transmission.attenuation(counts, flat, dark, lowest)  # type: ignore[no-any-return]


def _mean_frame(chain: DetectorChain, quanta: Floats, pixels: Pixels, number: int, rng: np.random.Generator) -> Floats:
    """Return the mean (detector,) of a number of frames; 0: its expectation."""
    exposures = np.repeat(quanta[None], max(number, 1), axis=0)
    frames = chain.record(exposures, pixels, rng, rng) if number else chain.expect(exposures, pixels)
    mean: Floats = frames.mean(axis=0)
    return mean
