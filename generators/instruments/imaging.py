"""From waves on a fine and wide grid to images: focus, pose, integration over pixels, and the part that is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generators.instruments.misalignment import Pose, misalign
from generators.specimens.particles.projection import fine_origin
from physics import optics
from physics.electron import wavelength

DETAIL = 5.0  # nm: finer fringes are faint, and may come in again on the other side


@dataclass(frozen=True)
class Frame:
    """Square images, and the grid on which they are simulated: finer, and wider."""

    pixels: int  # of an image, along each side
    sampling: float  # width of a pixel [nm]
    supersampling: int  # points to a pixel, along each side; a power of two
    padding: int  # width of the simulated field to that of the image

    @property
    def size(self) -> int:
        """Points of the simulation grid, along each side."""
        return self.pixels * self.padding * self.supersampling

    @property
    def pitch(self) -> float:
        """Distance of its points [nm]."""
        return self.sampling / self.supersampling

    @property
    def grid(self) -> tuple[tuple[int, int], tuple[float, float]]:
        """Its shape and its sampling [nm], (y, x)."""
        return (self.size, self.size), (self.pitch, self.pitch)

    def farthest(self, wavelength: float) -> float:
        """The largest defocus [nm] at which waves stay in the periodic field.

        Sampling of the kernel: it turns by less than pi from one frequency to the next while lambda z / (2 d) is below
        half the field. Wrap-around: detail of DETAIL travels by lambda z / DETAIL, at most a quarter of the field.
        """
        field = self.size * self.pitch
        return min(field * self.pitch, field * DETAIL / 4) / wavelength

    def origin(self, factor: int) -> tuple[float, float]:
        """The point in the middle of the field, on a grid of `factor` points to a pixel."""
        return fine_origin((self.pixels * self.padding,) * 2, factor)

    @property
    def middle(self) -> tuple[float, float]:
        """Points of the simulation grid before the middle of the image."""
        return ((self._first + self.pixels / 2) * self.supersampling,) * 2

    def image(self, values: np.ndarray) -> np.ndarray:
        """Means over the pixels of an image: (..., y, x) of the grid to (..., y, x) of the image."""
        return self._seen(_means(values, self.supersampling))

    def series(self, wave: np.ndarray, defocus: np.ndarray, voltage: float, poses: Sequence[Pose]) -> np.ndarray:
        """The images of a wave, each in its own pose, (plane, y, x) float32. defocus: (plane,) [nm].

        Posed on a grid at most twice as fine as the image: finer, the splines that turn an image would take most of the
        time, and the pixels average their gain away.
        """
        factor = min(self.supersampling, 2)
        fine = _through_focus(wave, defocus, voltage, self.pitch)
        images = _means(fine, self.supersampling // factor)
        for plane, image in enumerate(images):
            # a spline can undershoot where the image is dark
            images[plane] = np.maximum(misalign(image, poses[plane], self.sampling / factor, self.origin(factor)), 0)
        return self._seen(_means(images, factor))

    def _seen(self, images: np.ndarray) -> np.ndarray:
        """The image amid the field, (..., y, x): pixel N//2 becomes pixel n//2."""
        rows = slice(self._first, self._first + self.pixels)
        return images[..., rows, rows]

    @property
    def _first(self) -> int:
        """The first pixel of the field that is in the image."""
        return self.pixels * self.padding // 2 - self.pixels // 2


def _means(image: np.ndarray, step: int) -> np.ndarray:
    """Means over blocks of step x step points: (..., y, x), in the dtype of the image."""
    if step == 1:
        return image
    # as a sum of strided views: ten times faster than a mean over short axes
    total = np.zeros_like(image[..., ::step, ::step])
    for i in range(step):
        for j in range(step):
            total += image[..., i::step, j::step]
    return total / np.float32(step**2)


def _through_focus(wave: np.ndarray, defocus: np.ndarray, voltage: float, sampling: float) -> np.ndarray:
    """|wave|^2 in each image plane, (plane, y, x) float32; in focus without a transform. defocus: (plane,) [nm]."""
    images = np.empty((len(defocus), *wave.shape), np.float32)
    away = defocus != 0
    images[away] = optics.intensity(optics.propagate(wave, wavelength(voltage), defocus[away], sampling))
    images[~away] = optics.intensity(wave)
    return images
