"""Textures with the statistics of natural images: edges, and a power spectrum that falls as a power of the frequency.

    grey level of the leaf + grain x contrast of the leaf x g(r),   made to have the mean power |f|^-s at |f|

Leaves that hide one another (`dead_leaves`) make the edges and the heavy tails of the gradients. g is a Gaussian random
field whose amplitude falls as 1/|f|. Then the power in each ring |f|, averaged over directions, is set to the law;
phases, which hold the edges, stay. s = slope (1 - flatten): natural images have about 2 (an amplitude of 1/|f|), white
ones have 0. Finally the image is scaled to 0..1 such that the share `saturated` of the pixels is clipped at each end.
Clipping changes the power of the rings by a few percent; with `saturated` = 0 the law is exact.

The image is periodic in the field of view. Lengths are relative to its longer side, so every grid shows the same
leaves, as means over its pixels. Power and grey levels are scaled on each grid again, so that the grey levels of two
grids differ slightly.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from generators.specimens.draws import to_float32
from generators.specimens.planar import dead_leaves, random_field
from physics.fourier import fft2, frequencies, ifft2
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between

POINTS_PER_PIXEL = 3  # points per pixel along each side, at which the visible leaf is determined
UNIT_VARIANCE = 12**0.5  # factor that gives numbers uniform in 0..1 the variance 1

type Pair = tuple[float, float]
type Floats = NDArray[np.float64]


class Texture(Settings):
    """Settings of random textures; the defaults are for natural images."""

    slope: Annotated[Range, within(0, 4)] = between(
        1.6, 2.4, "exponent of the power spectrum |f|^-slope; 2: amplitude 1/|f|, as in natural images"
    )
    flatten: Annotated[Range, within(0, 1)] = between(
        0.0, 0.0, "share of the slope that is removed; 1: a flat (white) spectrum, in which the edges stay"
    )
    smallest: Annotated[Range, within(0.001, 0.5)] = between(
        0.005,
        0.02,
        "radius of the smallest leaves, the discs and polygons that cover the image",
        "longer side of the field of view",
    )
    largest: Annotated[Range, within(0.001, 0.5)] = between(
        0.2, 0.4, "radius of the largest leaves", "longer side of the field of view"
    )
    polygons: Annotated[Range, within(0, 1)] = between(
        0.0, 1.0, "share of leaves that are polygons; the others are ellipses"
    )
    grain: Annotated[Range, within(0)] = between(
        0.0, 0.3, "rms of the grain divided by the rms of the grey levels of the leaves"
    )
    saturated: Annotated[Range, within(0, 0.2)] = between(
        0.002, 0.002, "share of the pixels clipped to 0, and to 1; 0: only the minimum is 0 and the maximum 1"
    )


@dataclass(frozen=True, slots=True)
class DrawnTexture:
    """A drawn texture: numbers that float32 holds exactly, and a seed for the rest (see `schemas.fields.textures`)."""

    slope: float
    flatten: float
    smallest: float
    largest: float
    polygons: float
    grain: float
    saturated: float
    seed: int


def draw(texture: Texture, rng: np.random.Generator) -> DrawnTexture:
    """Draw a texture. Every call consumes the same number of random numbers.

    Args:
        texture: the settings
        rng: random numbers
    """
    numbers = to_float32(*(getattr(texture, name).draw(rng) for name in Texture.model_fields))
    seed = int(2**32 * rng.random())
    return DrawnTexture(**dict(zip(Texture.model_fields, numbers, strict=True)), seed=seed)


def render(texture: DrawnTexture, shape: tuple[int, int], sampling: Pair = (1.0, 1.0)) -> NDArray[np.float32]:
    """Return the image (y, x), float32 in 0..1.

    Args:
        texture: the texture
        shape: pixels (y, x) of the grid, which must be at least two pixels wide
        sampling: (y, x), in any unit, since only the aspect ratio of the field of view is used
    """
    extent = _relative_extent(shape, sampling)
    image = set_power_spectrum(_render_leaves(texture, shape, extent), texture.slope * (1 - texture.flatten), extent)
    return to_unit_range(image, texture.saturated)


def _relative_extent(shape: tuple[int, int], sampling: Pair) -> Pair:
    """Return height and width of the field of view, relative to the longer one."""
    height, width = shape[0] * sampling[0], shape[1] * sampling[1]
    return height / max(height, width), width / max(height, width)


def _render_leaves(texture: DrawnTexture, shape: tuple[int, int], extent: Pair) -> Floats:
    """Return the leaves with their grey levels and the grain on them, as means over each pixel."""
    rng = np.random.Generator(np.random.Philox(texture.seed))
    radii = texture.smallest, max(texture.smallest, texture.largest)
    leaves = dead_leaves.draw_leaves(extent, radii, texture.polygons, rng)
    grey, contrast = UNIT_VARIANCE * (rng.random((2, len(leaves.radius))) - 0.5)
    visible = dead_leaves.visible_leaves(leaves, (POINTS_PER_PIXEL * shape[0], POINTS_PER_PIXEL * shape[1]), extent)
    image = dead_leaves.mean_values(grey, visible, POINTS_PER_PIXEL)
    if texture.grain:
        strength = texture.grain * dead_leaves.mean_values(contrast, visible, POINTS_PER_PIXEL)
        image += strength * _grain(texture.smallest, shape, extent, rng)
    return image


def _grain(finest: float, shape: tuple[int, int], extent: Pair, rng: np.random.Generator) -> Floats:
    """Return g of each pixel; its amplitude is ~ 1/|f| up to the frequency 1 / finest, its variance about 1.

    Waves beyond the Nyquist frequency of the axis with more pixels are left out. On a grid that is not square, waves
    between the two Nyquist frequencies are aliased along the axis with fewer pixels.
    """
    ky, kx = random_field.waves(min(int(np.ceil(1 / finest)), max(max(shape) // 2, 1)))
    square = (ky / extent[0]) ** 2 + (kx / extent[1]) ** 2
    power = np.where(kx > 0, 2, 1) / np.maximum(square, 1)  # factor 2 for the wave at -f, too
    power[square == 0] = 0
    total = 2 * np.pi * extent[0] * extent[1] * (np.log(1 / finest) + 1)  # variance of all waves up to 1/finest
    numbers = rng.standard_normal((len(ky), 2))
    amplitudes = np.sqrt(power / total) * (numbers[:, 0] + 1j * numbers[:, 1])
    return random_field.sum_waves(amplitudes, ky, kx, shape, (-0.5, -0.5))


def set_power_spectrum(image: Floats, slope: float, extent: Pair) -> Floats:
    """Return the image with the power |f|^-slope in each ring of frequencies, averaged over directions, and the mean 0.

    Phases are kept.

    Args:
        image: (y, x), periodic, not constant
        slope: exponent of the power
        extent: height and width, the longer one 1. Frequencies are then in cycles per longer side, and ring n holds
            those from n - 1/2 to n + 1/2
    """
    fy, fx = frequencies(image.shape, (extent[0] / image.shape[0], extent[1] / image.shape[1]), np)
    f = np.hypot(fy, fx)
    law = np.where(f > 0, f, 1.0) ** -slope
    law[0, 0] = 0
    ring = np.rint(f).astype(np.int64)
    spectrum = fft2(image)
    target, power = (np.bincount(ring.ravel(), values.ravel()) for values in (law, abs(spectrum) ** 2))
    gain = np.sqrt(target / np.maximum(power, np.finfo(np.float64).tiny))
    out: Floats = ifft2(spectrum * gain[ring]).real
    return out


def to_unit_range(image: Floats, saturated: float) -> NDArray[np.float32]:
    """Return the image scaled to 0..1 and clipped at both ends; 0 where all pixels are equal.

    Args:
        image: (y, x)
        saturated: share of the pixels that is clipped at each end
    """
    low, high = np.quantile(image, [saturated, 1 - saturated])
    out: NDArray[np.float32] = np.clip((image - low) / max(high - low, np.finfo(float).tiny), 0, 1).astype(np.float32)
    return out
