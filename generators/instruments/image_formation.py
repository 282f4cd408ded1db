"""From waves on a fine and wide grid to images: focus, pose, integration over pixels, and cropping to the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generators.instruments.misalignment import Pose, misalign
from generators.specimens.particles.projection import fine_origin
from physics import optics
from physics.electron import wavelength

DETAIL = 5.0  # nm: finer fringes are faint, so they may wrap around to the other side of the field


@dataclass(frozen=True)
class Frame:
    """Square images, and the finer and wider grid on which they are simulated."""

    pixels: int  # pixels of an image along each side
    sampling: float  # width of a pixel [nm]
    supersampling: int  # points per pixel along each side; a power of two
    padding: int  # width of the simulated field relative to the image

    @property
    def size(self) -> int:
        """Number of points of the simulation grid along each side."""
        return self.pixels * self.padding * self.supersampling

    @property
    def pitch(self) -> float:
        """Distance between points of the simulation grid [nm]."""
        return self.sampling / self.supersampling

    @property
    def grid(self) -> tuple[tuple[int, int], tuple[float, float]]:
        """Shape (y, x) and sampling (y, x) [nm] of the simulation grid."""
        return (self.size, self.size), (self.pitch, self.pitch)

    def farthest(self, wavelength: float) -> float:
        """Return the largest defocus [nm] at which waves stay in the periodic field.

        Sampling of the kernel: it turns by less than pi from one frequency to the next while lambda z / (2 d) is below
        half the field. Wrap-around: detail of the width DETAIL travels by lambda z / DETAIL, which may be a quarter of
        the field.

        Args:
            wavelength: lambda [nm]
        """
        field = self.size * self.pitch
        return min(field * self.pitch, field * DETAIL / 4) / wavelength

    def origin(self, factor: int) -> tuple[float, float]:
        """Return the fractional index (y, x) of the middle of the field.

        Args:
            factor: points per pixel of the grid to which the index belongs
        """
        return fine_origin((self.pixels * self.padding,) * 2, factor)

    @property
    def middle(self) -> tuple[float, float]:
        """Points (y, x) of the simulation grid before the middle of the image."""
        return ((self._first + self.pixels / 2) * self.supersampling,) * 2

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return means over the pixels of an image.

        Args:
            values: (..., y, x) on the simulation grid

        Returns:
            (..., y, x) on the pixels of the image
        """
        return self._seen(_means(values, self.supersampling))

    def series(self, wave: np.ndarray, defocus: np.ndarray, voltage: float, poses: Sequence[Pose]) -> np.ndarray:
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
        fine = _through_focus(wave, defocus, voltage, self.pitch)
        images = _means(fine, self.supersampling // factor)
        for plane, image in enumerate(images):
            # A spline can undershoot zero where the image is dark.
            images[plane] = np.maximum(misalign(image, poses[plane], self.sampling / factor, self.origin(factor)), 0)
        return self._seen(_means(images, factor))

    def _seen(self, images: np.ndarray) -> np.ndarray:
        """Cut the image out of the middle of the field, (..., y, x): pixel N//2 becomes pixel n//2."""
        rows = slice(self._first, self._first + self.pixels)
        return images[..., rows, rows]

    @property
    def _first(self) -> int:
        """Index of the first pixel of the field that is in the image."""
        return self.pixels * self.padding // 2 - self.pixels // 2


def _means(image: np.ndarray, step: int) -> np.ndarray:
    """Return means over blocks of step x step points, (..., y, x), in the dtype of the image."""
    if step == 1:
        return image
    # A sum of strided views is ten times faster than a mean over short axes.
    total = np.zeros_like(image[..., ::step, ::step])
    for i in range(step):
        for j in range(step):
            total += image[..., i::step, j::step]
    return total / np.float32(step**2)


def _through_focus(wave: np.ndarray, defocus: np.ndarray, voltage: float, sampling: float) -> np.ndarray:
    """Return |wave|^2 in each image plane, (plane, y, x) float32. defocus: (plane,) [nm]; 0 needs no transform."""
    images = np.empty((len(defocus), *wave.shape), np.float32)
    away = defocus != 0
    images[away] = optics.intensity(optics.propagate(wave, wavelength(voltage), defocus[away], sampling))
    images[~away] = optics.intensity(wave)
    return images
