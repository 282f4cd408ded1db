"""Model of a detector, from an expected intensity to a measured image. Intensities are relative to the incident beam.

    shot noise -> modulation transfer -> gain -> offset -> read noise -> saturation -> quantisation

Vacuum has the intensity 1, and the dose is given in electrons per pixel of vacuum; photons and neutrons are counted in
the same way. Each sample is one call with its own random generators, and there is no other randomness. A stack (..., y,
x) is processed image by image in C order, so the result for an image depends on the images before it, never on later
ones or on other samples. A parameter at its neutral value (electrons = inf, MTF = 1, gain = 1, offset = 0, read_noise =
0, saturation = inf, step = 0) leaves the values bitwise as they are, and draws no random numbers.

NumPy only, because the random draws are its own.
"""

from math import inf, pi

import numpy as np
from numpy.random import Generator

from physics.arrays import Array
from physics.fourier import fft2, frequencies, ifft2

MAX_COUNTS = 1e15  # electrons per pixel: NumPy cannot count more, and their noise, 3e-8, is lost in float32
MAX_CORRELATION = 2 / 3  # of neighbouring pixels; beyond it, the MTF is negative at high frequencies


def electrons_at(level: float) -> float:
    """Electrons per pixel of vacuum at which shot noise has the relative standard deviation `level`.

        N = 1 / s^2;   s = 0 is infinite dose

    Args:
        level: s >= 0 [1], the "fractional noise level" of phase-ret-dl: 0.05 is 400 electrons.

    Raises:
        ValueError: if the level is negative or NaN.
    """
    if not level >= 0:
        raise ValueError(f"noise level {level} must be 0 (infinite dose) or more, as a fraction: 0.05 for 5 %")
    return 1 / level**2 if level else inf


def add_shot_noise(image: Array, electrons: float, rng: Generator) -> Array:
    """Add the shot noise of independent electrons.

        I' = Poisson(N I) / N

    The mean is I and the variance I / N, without correlation between pixels.

    Args:
        image: I >= 0 of any shape.
        electrons: N > 0, electrons per pixel at I = 1. inf, or more than 1e15, returns the image itself.
        rng: the generator of this sample.

    Returns:
        I', of the shape and dtype of `image`.

    Raises:
        ValueError: if the dose is not positive, or an intensity is negative or NaN.
    """
    if not electrons > 0:
        raise ValueError(f"a dose of {electrons} electrons per pixel must be positive: inf for no noise")
    if electrons > MAX_COUNTS:
        return image
    if not image.min() >= 0:
        raise ValueError(f"intensity {image.min()} must be 0 or more before shot noise: clip it where it was made")
    counts: Array = rng.poisson(np.multiply(image, electrons, dtype=float))
    return (counts / electrons).astype(image.dtype)


def modulation_transfer(
    shape: tuple[int, ...],
    *,
    blur: float = 0.0,
    tail: float = 0.0,
    tail_length: float = 1.0,
    correlation: float = 0.0,
) -> Array:
    """Modulation transfer function (MTF) of a pixelated detector: a Gaussian core, an exponential tail, and neighbours.

        MTF(q) = [(1 - t) exp(-2 pi^2 s^2 q^2) + t (1 + 4 pi^2 l^2 q^2)^(-3/2)] K(qy) K(qx)
        K(q)   = 1 - 2 a (1 - cos 2 pi q)

    The bracket is the transform of the point spread (1 - t) exp(-r^2 / 2 s^2) / (2 pi s^2) + t exp(-r / l) / (2 pi
    l^2). K gives the share a of the counts to each of the two neighbours of a pixel along an axis (`neighbour_share`).
    MTF(0) = 1, so counts are conserved. With s = t = a = 0 the MTF is 1 everywhere. The spread is positive, but the
    pixels cut the spectrum of the bracket at Nyquist: a core below 0.7 pixels rings, and a pixel beside a lone electron
    may then read less than zero. Neighbours do not ring. The form is a choice: fit it to the MTF of a camera.

    Shot noise of variance v has the variance v mean(MTF^2) after the spread. The rows of a line detector are separate
    exposures: the shape (1, nx) gives their MTF, which spreads nothing from row to row.

    Args:
        shape: (..., ny, nx).
        blur: s [pixel], the standard deviation of the core.
        tail: t [1], the fraction of the counts in the tail.
        tail_length: l [pixel], the 1/e radius of the tail.
        correlation: correlation of shot noise in neighbouring pixels, as for `neighbour_share`, if s = t = 0.

    Returns:
        MTF (ny, nx), float64, zero frequency first.

    Raises:
        ValueError: as for `neighbour_share`.
    """
    qy, qx = frequencies(shape, 1.0, np)  # 1/pixel
    square = (2 * pi) ** 2 * (qy**2 + qx**2)
    spread = (1 - tail) * np.exp(-(blur**2) * square / 2) + tail * (1 + tail_length**2 * square) ** -1.5
    share = neighbour_share(correlation)
    for q in (qy, qx):
        spread = spread * (1 - 2 * share * (1 - np.cos(2 * pi * q)))
    return spread


def neighbour_share(correlation: float) -> float:
    """Share of a pixel's counts that each of its two neighbours along an axis receives.

        r = 2 a (1 - 2a) / (1 - 4a + 6a^2);   a = (1 + 2r - (1 - 2r^2)^(1/2)) / (4 + 6r)

    White noise of variance v that is spread by (a, 1 - 2a, a) has the variance v (1 - 4a + 6a^2), the correlation r
    with the next pixel and a^2 / (1 - 4a + 6a^2) with the one after it.

    Args:
        correlation: r, from 0 to 2/3, where a = 1/4 and the highest frequency is lost.

    Returns:
        a [1].

    Raises:
        ValueError: if the correlation is outside of this range or NaN.
    """
    if not 0 <= correlation <= MAX_CORRELATION:
        raise ValueError(f"correlation {correlation} of neighbouring pixels must be from 0 to 2/3")
    return float((1 + 2 * correlation - (1 - 2 * correlation**2) ** 0.5) / (4 + 6 * correlation))


def modulate(image: Array, mtf: Array) -> Array:
    """Blur an image with a modulation transfer function: I' = F^-1 [ MTF F I ].

    Boundaries are periodic along an axis on which the MTF is as long as the image. If it is twice as long, the image
    goes on as its mirror image beyond both ends, as behind a detector: what would leave it there comes back.

    The mean is conserved. White noise of variance v becomes correlated: its covariance at the distance r is v
    F^-1[MTF^2](r), because electrons are counted before they spread (DQE 1 at every frequency).

    Args:
        image: I (..., y, x).
        mtf: (y, x), zero frequency first, of the size of the image or twice that, or 1 along an axis that is not
            blurred; if it is 1 everywhere, the image itself is returned.

    Returns:
        I', of the shape and dtype of `image`.
    """
    if (mtf == 1).all():
        return image
    sizes = image.shape[-2:]
    beyond = [(0, n if m == 2 * n else 0) for n, m in zip(sizes, mtf.shape, strict=True)]
    whole = np.pad(image, [(0, 0)] * (image.ndim - 2) + beyond, mode="symmetric")
    return ifft2(fft2(whole) * mtf.astype(image.dtype)).real[..., : sizes[0], : sizes[1]]


def add_read_noise(image: Array, sigma: float, rng: Generator) -> Array:
    """Add read noise: I' = I + sigma g, with g standard normal. It is unbiased: values below zero stay below zero.

    Args:
        image: I of any shape.
        sigma: standard deviation >= 0, in the unit of `image`; 0 returns the image itself.
        rng: the generator of this sample.

    Raises:
        ValueError: if `sigma` is negative or NaN.
    """
    if not sigma >= 0:
        raise ValueError(f"read noise {sigma} must be 0 or more: it is a standard deviation")
    return image + (sigma * rng.standard_normal(image.shape)).astype(image.dtype) if sigma else image


def quantise(image: Array, step: float) -> Array:
    """Round values to the steps of an analogue-to-digital converter: I' = d round(I / d).

    Args:
        image: I of any shape.
        step: d >= 0, in the unit of `image`; 0 returns the image itself.

    Raises:
        ValueError: if the step is negative or NaN.
    """
    if not step >= 0:
        raise ValueError(f"a step of {step} must be 0 or more: 1 for whole counts")
    return np.rint(image / step) * step if step else image


def detect(
    image: Array,
    rng: Generator,
    *,
    electrons: float = inf,
    mtf: Array | None = None,
    gain: float | Array = 1.0,
    offset: float = 0.0,
    read_noise: float = 0.0,
    saturation: float = inf,
    step: float = 0.0,
    readout: Generator | None = None,
) -> Array:
    """Return the measured image of an expected intensity.

        I' = Q[ min( g MTF * Poisson(N I) / N + b + sigma_r n, I_max ) ]

    Each image of a stack draws its shot noise, then its read noise.

    Args:
        image: I >= 0 (..., y, x), relative to the incident beam.
        rng: the generator of this sample.
        electrons: N, electrons per pixel at I = 1.
        mtf: (y, x) of `modulation_transfer`, as for `modulate`.
        gain: g, output units per incident beam: 1 keeps relative units, N times the counts per electron gives counts. A
            map (y, x) or (x,) has a gain for each pixel.
        offset: b, in output units.
        read_noise: sigma_r, in output units.
        saturation: I_max, in output units.
        step: d of `quantise`, in output units.
        readout: generator of the read noise, so that it does not depend on the shot noise; None: `rng`.

    Returns:
        I', of the shape and dtype of `image`.

    Raises:
        ValueError: as for `add_shot_noise`, `add_read_noise` and `quantise`.
    """
    measured = np.empty_like(image)
    for index in np.ndindex(image.shape[:-2]):
        counted = add_shot_noise(image[index], electrons, rng)
        blurred = counted if mtf is None else modulate(counted, mtf)
        amplified = blurred * gain + offset if offset else blurred * gain
        measured[index] = quantise(np.minimum(add_read_noise(amplified, read_noise, readout or rng), saturation), step)
    return measured
