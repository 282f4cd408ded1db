"""Classical methods that remove background and noise from images of a tilt series, and the report of the task.

Each image is processed alone. Methods that tell the particle from its surroundings find it by `physics.particle_mask`;
where they find none, their background is a constant.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from inference.atoms.section import SECTION
from inference.contract import Arrays, Measures, Method, Report, Setting, Shown
from inference.methods.denoisers import Denoise, block_matching, denoise_counts, non_local_means
from physics.background import fill_harmonically, level_outside, parabolic_opening, smooth_outside
from physics.particle_mask import distance_to, find_particle
from schemas.target_kinds import Score

EDGE = 5  # width [pixel] of the shell that `edge_bias` looks at
MEDIAN = 0.5  # quantile of the level, where it is not a setting


def find_particles(fields: Arrays) -> dict[str, np.ndarray]:
    """Return the fields and `distance` (slice, y, x), that of each pixel to the nearest one of the particle [pixel]."""
    return {**fields, "distance": distance_to(find_particle(fields["noisy"]))}


def _targets(images: np.ndarray, background: np.ndarray, positive: float) -> dict[str, np.ndarray]:
    """Return clean = images - background, without its negative values if `positive` is 1, and the background."""
    background = background.astype(images.dtype)
    clean = images - background
    return {"clean": np.maximum(clean, 0) if positive else clean, "background": background}


def constant(fields: Arrays, *, quantile: float, dilation: float, positive: float) -> dict[str, np.ndarray]:
    """Subtract one level from each image (`physics.background.level_outside`).

    Args:
        fields: noisy and distance of a block of images.
        quantile: of the pixels outside of the mask.
        dilation: by which the particle is dilated to its mask [pixel].
        positive: 1: negative values become 0.
    """
    level = level_outside(fields["noisy"], fields["distance"] <= dilation, quantile)
    return _targets(fields["noisy"], np.broadcast_to(level, fields["noisy"].shape), positive)


def rolling_ball(fields: Arrays, *, radius: float, width: float, positive: float) -> dict[str, np.ndarray]:
    """Subtract the surface that a paraboloid reaches from below (`physics.background.parabolic_opening`).

    Args:
        fields: noisy of a block of images.
        radius: over which the paraboloid falls by the range of the image [pixel].
        width: standard deviation of the Gaussian that smooths the image first [pixel].
        positive: 1: negative values become 0.
    """
    smooth = _blur(fields["noisy"], width) if width else fields["noisy"]
    return _targets(fields["noisy"], parabolic_opening(smooth, int(radius)), positive)


def inpaint(fields: Arrays, *, dilation: float, width: float, positive: float) -> dict[str, np.ndarray]:
    """Subtract the smoothed surroundings and, inside the mask, their harmonic continuation (`physics.background`).

    Args:
        fields: noisy and distance of a block of images.
        dilation: by which the particle is dilated to its mask [pixel].
        width: standard deviation of the Gaussian weights of the smoothing [pixel].
        positive: 1: negative values become 0.
    """
    return _targets(fields["noisy"], _inpainted(fields, dilation, width), positive)


def _inpainted(fields: Arrays, dilation: float, width: float) -> np.ndarray:
    noisy, hidden = fields["noisy"], fields["distance"] <= dilation
    found = hidden.any(axis=(-2, -1), keepdims=True) & ~hidden.all(axis=(-2, -1), keepdims=True)
    background = fill_harmonically(smooth_outside(noisy, hidden, width), hidden)
    return np.where(found, background, level_outside(noisy, hidden, MEDIAN))


def highpass(fields: Arrays, *, width: float, positive: float) -> dict[str, np.ndarray]:
    """Subtract the image behind a Gaussian filter, as if the particle had no low spatial frequencies.

    Args:
        fields: noisy of a block of images.
        width: standard deviation of the Gaussian [pixel].
        positive: 1: negative values become 0.
    """
    return _targets(fields["noisy"], _blur(fields["noisy"], width), positive)


def _blur(images: np.ndarray, width: float) -> np.ndarray:
    blurred: np.ndarray = gaussian_filter(np.asarray(images, float), width, axes=(-2, -1))
    return blurred


def denoise(
    fields: Arrays, *, strength: float, read_noise: float, dilation: float, width: float, method: Denoise
) -> dict[str, np.ndarray]:
    """Denoise counts behind an Anscombe transform (`physics.anscombe`), then subtract the background of `inpaint`.

    Negative values become 0. Images without noise (electrons = 0) are not filtered.

    Args:
        fields: noisy, electrons and distance of a block of images.
        strength: standard deviation of the noise that is removed, relative to that of the transformed counts.
        read_noise: standard deviation of the noise that is independent of the signal [electron].
        dilation: as for `inpaint` [pixel].
        width: as for `inpaint` [pixel].
        method: the denoiser.
    """
    noisy, filtered = fields["noisy"], fields["noisy"].copy()
    for number in np.flatnonzero(fields["electrons"] > 0):
        electrons = float(fields["electrons"][number])
        filtered[number] = denoise_counts(noisy[number], electrons, method, strength, read_noise)
    return _targets(filtered, _inpainted(fields, dilation, width), positive=1)


DILATION_ABOUT = "the mask is the particle, dilated by this"
WIDTH_ABOUT = "standard deviation of the Gaussian weights that smooth the surroundings of the mask"
POSITIVE = Setting("1: negative values become 0", "1", (1,), 0, 1, whole=True)  # never worse, so it is not tuned


def _denoiser(about: str, method: Denoise, strengths: tuple[float, ...]) -> Method:
    """Return a method that denoises and then subtracts the background of `inpaint`."""
    return Method(
        about=f"{about}, behind an Anscombe transform (Makitalo and Foi 2011); then the background of inpaint",
        needs=("noisy", "electrons"),
        prepare=find_particles,
        solve=partial(denoise, method=method),
        settings={
            "strength": Setting("noise that is removed, relative to shot noise", "1", strengths, 0.01),
            "read_noise": Setting("noise that does not depend on the signal", "electron", (0.0,), 0),
            "dilation": Setting(DILATION_ABOUT, "pixel", (10.0,), 0),
            "width": Setting(WIDTH_ABOUT, "pixel", (5.0,), 0),
        },
        scope="slice",
    )


METHODS: Mapping[str, Method] = {
    "constant": Method(
        about="subtraction of one level from each image, a quantile of the pixels outside of the particle",
        needs=("noisy",),
        prepare=find_particles,
        solve=constant,
        settings={
            "quantile": Setting("quantile of these pixels", "1", (0.1, 0.3, 0.5, 0.7, 0.8, 0.9), 0, 1),
            "dilation": Setting(DILATION_ABOUT, "pixel", (10.0,), 0),
            "positive": POSITIVE,
        },
        scope="slice",
    ),
    "rolling_ball": Method(
        about="subtraction of the surface that a rolling paraboloid reaches from below (Sternberg 1983)",
        needs=("noisy",),
        solve=rolling_ball,
        settings={
            "radius": Setting(
                "the paraboloid falls over it by the range of the image",
                "pixel",
                (20, 40, 80, 120, 160, 240),
                1,
                4096,
                whole=True,
            ),
            "width": Setting(
                "standard deviation of a Gaussian that smooths the image first; 0: none", "pixel", (0.0, 1.0), 0
            ),
            "positive": POSITIVE,
        },
        scope="slice",
    ),
    "inpaint": Method(
        about="subtraction of the smoothed surroundings of the particle, continued into it by Laplace's equation",
        needs=("noisy",),
        prepare=find_particles,
        solve=inpaint,
        settings={
            "dilation": Setting(DILATION_ABOUT, "pixel", (0.0, 4.0, 10.0, 20.0), 0),
            "width": Setting(f"{WIDTH_ABOUT}; 0: not smoothed", "pixel", (2.0, 5.0, 10.0), 0),
            "positive": POSITIVE,
        },
        scope="slice",
    ),
    "highpass": Method(
        about="subtraction of the image behind a Gaussian filter",
        needs=("noisy",),
        solve=highpass,
        settings={
            "width": Setting(
                "standard deviation of the Gaussian", "pixel", (8.0, 16.0, 32.0, 64.0, 128.0, 256.0), 0.5, 256
            ),
            "positive": POSITIVE,
        },
        scope="slice",
    ),
    "nlm": _denoiser("non-local means (Buades, Coll and Morel 2005)", non_local_means, (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)),
    "bm3d": _denoiser(
        "BM3D (Dabov et al. 2007; package bm3d, free for non-commercial use only)",
        block_matching,
        (0.7, 1.0, 1.4, 2.0, 2.8),
    ),
}


def measure_edges(fields: Arrays, predicted: Arrays) -> dict[str, np.ndarray]:
    """Return `edge_bias` (slice,), NaN where the truth shows no particle.

    Args:
        fields: the true `clean` (slice, y, x).
        predicted: the predicted `clean`.
    """
    truth = fields["clean"].astype(float)
    particle = find_particle(truth)
    shell = particle & (distance_to(~particle) <= EDGE)
    error = np.sum(shell * (predicted["clean"] - truth), axis=(1, 2))
    signal = np.sum(shell * truth, axis=(1, 2))
    return {"edge_bias": np.where(signal > 0, abs(error) / np.where(signal > 0, signal, 1), np.nan)}


REPORT = Report(
    inputs=(Shown("noisy"),),
    measures=Measures(
        scores={
            "edge_bias": Score(
                "1",
                f"modulus of the mean error of clean in a shell of {EDGE} pixels within the edge of the particle, "
                "relative to the mean of the truth there",
                "lower",
            )
        },
        compute=measure_edges,
        targets=("clean",),
        histograms=("edge_bias",),
    ),
    sections=(SECTION,),
    parameters=("dose", "electrons", "zone_angle", "angle", "background_height", "background_width", "particle_number"),
)
