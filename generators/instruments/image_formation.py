"""From waves on a fine and wide grid to images: focus, pose, integration over pixels, and cropping to the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from generators.instruments.misalignment import Pose, misalign
from generators.specimens.particles.projection import fine_origin
from physics import optics
from physics.electron import wavelength
from schemas.runtime.ranges import power_of_two, within
from schemas.runtime.settings import Settings, setting

FINEST_DETAIL = 5.0  # nm: finer fringes are faint, so they may wrap around to the other side of the field of view


def _check_image_number(images: int) -> int:
    if images != 2 and images % 2 == 0:
        raise ValueError("must be 2 or odd (3, 5, ...), with the in-focus image in the middle")
    return images


class SeriesSettings(Settings):
    """Settings of the images of a through-focus series, and of the grid on which they are simulated."""

    images: Annotated[int, AfterValidator(_check_image_number)] = Field(
        3,
        ge=2,
        le=1001,
        **setting("number of images: 2 (under- and overfocus), or an odd number with the in-focus image in the middle"),
    )
    image_size: int = Field(64, ge=8, le=4096, **setting("width and height of the image", "pixel"))
    field_of_view: Annotated[float, within(0, above=True)] = Field(150.0, **setting("width of the image", "nm"))
    supersampling: Annotated[int, power_of_two()] = Field(
        4, ge=1, le=64, **setting("simulation points per pixel along each side; a power of two")
    )
    padding: int = Field(
        1, ge=1, le=8, **setting("width of the simulated field of view relative to the image; 1: the image is periodic")
    )

    @property
    def simulation_grid(self) -> "SimulationGrid":
        """Size of the images, and the grid on which they are simulated."""
        return SimulationGrid(self.image_size, self.field_of_view, self.supersampling, self.padding)


@dataclass(frozen=True)
class SimulationGrid:
    """Square images, and the finer and wider grid on which they are simulated."""

    pixels: int  # pixels of an image along each side
    field_of_view: float  # width of an image [nm]
    supersampling: int  # points per pixel along each side; a power of two
    padding: int  # width of the simulated field of view relative to the image

    @property
    def sampling(self) -> float:
        """Width of a pixel [nm]."""
        return self.field_of_view / self.pixels

    @property
    def size(self) -> int:
        """Number of points of the simulation grid along each side."""
        return self.pixels * self.padding * self.supersampling

    @property
    def pitch(self) -> float:
        """Distance between points of the simulation grid [nm]."""
        return self.sampling / self.supersampling

    @property
    def shape_and_pitch(self) -> tuple[tuple[int, int], tuple[float, float]]:
        """Shape (y, x) and pitch (y, x) [nm] of the simulation grid."""
        return (self.size, self.size), (self.pitch, self.pitch)

    def max_defocus(self, wavelength: float) -> float:
        """Return the largest defocus [nm] at which waves stay in the periodic field of view.

        Two limits hold. The kernel of propagation turns by less than pi from one frequency to the next while
        lambda z / (2 d) is below half the field of view. Detail of the width FINEST_DETAIL travels by
        lambda z / FINEST_DETAIL, which may be a quarter of the field of view.

        Args:
            wavelength: lambda [nm]
        """
        width = self.size * self.pitch
        return min(width * self.pitch, width * FINEST_DETAIL / 4) / wavelength

    def check_defocus(self, defocus: float, wavelength: float) -> None:
        """Refuse a defocus at which waves leave the periodic field of view.

        Args:
            defocus: the largest defocus [nm]
            wavelength: lambda [nm]

        Raises:
            ValueError: the defocus is too large
        """
        if defocus > (limit := self.max_defocus(wavelength)):
            raise ValueError(
                f"defocus = {defocus:g} nm spreads detail beyond the field of view; must be at most "
                f"{limit:.4g} nm for this field_of_view, image_size and supersampling: lower the defocus, or widen "
                "the field_of_view (or set padding=2)"
            )

    def origin(self, factor: int) -> tuple[float, float]:
        """Return the fractional index (y, x) of the middle of the field of view.

        Args:
            factor: points per pixel of the grid to which the index belongs
        """
        return fine_origin((self.pixels * self.padding,) * 2, factor)

    @property
    def middle(self) -> tuple[float, float]:
        """Points (y, x) of the simulation grid before the middle of the image."""
        return ((self._first_pixel + self.pixels / 2) * self.supersampling,) * 2

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return means over the pixels of an image.

        Args:
            values: (..., y, x) on the simulation grid

        Returns:
            (..., y, x) on the pixels of the image
        """
        return self._crop(_block_means(values, self.supersampling))

    def focal_series(self, wave: np.ndarray, defocus: np.ndarray, voltage: float, poses: Sequence[Pose]) -> np.ndarray:
        """Return the images of a wave, each in its own pose.

        Images are posed on a grid at most twice as fine as the image. On a finer grid, the splines that turn an image
        would take most of the time, and the integration over pixels would average out what they gain.

        Args:
            wave: exit wave (y, x) on the simulation grid
            defocus: (plane,) [nm]
            voltage: accelerating voltage [V]
            poses: one per plane

        Returns:
            intensities (plane, y, x), float32
        """
        factor = min(self.supersampling, 2)
        fine = _focal_intensities(wave, defocus, voltage, self.pitch)
        images = _block_means(fine, self.supersampling // factor)
        for plane, image in enumerate(images):
            # A spline can undershoot zero where the image is dark.
            images[plane] = np.maximum(misalign(image, poses[plane], self.sampling / factor, self.origin(factor)), 0)
        return self._crop(_block_means(images, factor))

    def _crop(self, images: np.ndarray) -> np.ndarray:
        """Cut the image out of the middle of the field of view, (..., y, x): pixel N//2 becomes pixel n//2."""
        rows = slice(self._first_pixel, self._first_pixel + self.pixels)
        return images[..., rows, rows]

    @property
    def _first_pixel(self) -> int:
        """Index of the first pixel of the field of view that is in the image."""
        return self.pixels * self.padding // 2 - self.pixels // 2


def _block_means(image: np.ndarray, step: int) -> np.ndarray:
    """Return means over blocks of step x step points, (..., y, x), in the dtype of the image."""
    if step == 1:
        return image
    # A sum of strided views is ten times faster than a mean over short axes.
    total = np.zeros_like(image[..., ::step, ::step])
    for i in range(step):
        for j in range(step):
            total += image[..., i::step, j::step]
    return total / np.float32(step**2)


def _focal_intensities(wave: np.ndarray, defocus: np.ndarray, voltage: float, sampling: float) -> np.ndarray:
    """Return |wave|^2 in each image plane, (plane, y, x) float32. defocus: (plane,) [nm]; 0 needs no transform."""
    images = np.empty((len(defocus), *wave.shape), np.float32)
    defocused = defocus != 0
    images[defocused] = optics.intensity(optics.propagate(wave, wavelength(voltage), defocus[defocused], sampling))
    images[~defocused] = optics.intensity(wave)
    return images
