"""Fourier neural operator: each layer multiplies the lowest Fourier modes of the whole image, so all pixels interact.

    lift:    v = P x                                            a linear map of each pixel's channels
    layers:  v -> gelu(W v + F^-1 R F v)                        (the last one without gelu)
    project: y = Q2 gelu(Q1 v)

F gives the Fourier coefficients V(k) = mean_n v(n) exp(-2 pi i k n / N) of the modes |k| < modes along each axis; along
the last axis only k >= 0, because images are real. R is a complex matrix over channels for each mode. It is stored as
pairs of real numbers, which every optimizer and file format takes. F is a mean and F^-1 a sum: a function that is
sampled more finely has the same modes, and one layer computes the same function (a test verifies this). The image is
taken as periodic. The mode N/2 is left out. The coordinates that the paper adds as channels are left out, so the output
shifts with the input. The last layer starts at zero, so training starts from the mean of the target.

F is computed as a product with matrices, axis by axis. For so few modes this is faster than an FFT (images of 64 to 256
pixels on a CPU: 2 to 3 times, forwards and backwards), has no complex numbers and works in half precision.

Parameters (64x64 pixels, 2 images in, 1 out): 2.27 M with the defaults. Li et al. 2021, arXiv:2010.08895.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field

from schemas.runtime.settings import Settings, setting
from training.contract import Array, Inputs, Shape

FIT = "kept"
VERSION = "1.0"


class Config(Settings):
    """Settings of the Fourier neural operator."""

    width: int = Field(32, ge=1, le=4096, **setting("channels of each layer", "channel"))
    modes: int = Field(12, ge=1, le=512, **setting("number of lowest frequencies kept along each axis", "1/image"))
    layers: int = Field(4, ge=1, le=64, **setting("layers that multiply Fourier modes"))
    projection: int = Field(128, ge=1, le=4096, **setting("channels before the last layer", "channel"))


def build(config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module:
    """Return the network, with at most as many modes as the training images resolve.

    It takes any sizes and any number of spatial axes.
    """
    return FNO(config, inputs, outputs, rngs, dtype)


def resolvable_modes(length: int) -> int:
    """Return the number of modes k >= 0 that an axis of `length` samples resolves. The mode N/2 is left out."""
    return (length + 1) // 2


def frequencies(modes: int, *, real: bool) -> np.ndarray:
    """Return the frequencies of the modes along an axis, in the order of an FFT.

    Args:
        modes: number of modes from 0 on.
        real: whether the array is real along this axis; then negative frequencies are left out.
    """
    return np.arange(modes) if real else np.r_[0:modes, 1 - modes : 0]


def analysis(length: int, modes: int, *, real: bool) -> np.ndarray:
    """Return F along an axis as a matrix: exp(-i t) / N with t = 2 pi k n / N.

    Args:
        length: number of pixels N along the axis.
        modes: number of modes from 0 on.
        real: whether the array is real along this axis.

    Returns:
        Array (length, part, mode, part). A part is the real or the imaginary one; a real array has one part.
    """
    angle = 2 * np.pi / length * np.outer(np.arange(length), frequencies(modes, real=real))
    of_real, of_imaginary = (np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))
    parts = (of_real,) if real else (of_real, of_imaginary)
    return np.stack([np.stack(made, axis=-1) for made in parts], axis=1) / length


def synthesis(length: int, modes: int, *, real: bool) -> np.ndarray:
    """Return F^-1 along an axis as a matrix: N times the adjoint of F. For real arrays each mode k > 0 is added twice.

    Args:
        length: number of pixels N along the axis.
        modes: number of modes from 0 on.
        real: whether the array is real along this axis.

    Returns:
        Array (mode, part, length, part).
    """
    counted = np.where(np.arange(modes) > 0, 2, 1)[:, None, None, None] if real else 1
    return counted * length * analysis(length, modes, real=real).transpose(2, 3, 0, 1)


class Spectral(nnx.Module):
    """The map F^-1 R F, a convolution with kernels as long as the image."""

    def __init__(self, modes: Shape, width: int, rngs: nnx.Rngs, dtype: Any) -> None:
        self.modes, self.dtype = modes, dtype
        *full, last = modes
        shape = (*(2 * m - 1 for m in full), last, width, width, 2)
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), shape) / (2 * width) ** 0.5)

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape, (sample, *spatial, channel)."""
        spatial = x.shape[1:-1]
        modes = [min(m, resolvable_modes(n)) for m, n in zip(self.modes, spatial, strict=True)]
        real = [axis == len(spatial) - 1 for axis in range(len(spatial))]
        steps = list(enumerate(zip(spatial, modes, real, strict=True), 1))
        y = x.astype(self.dtype)[..., None]
        for axis, (n, m, is_real) in reversed(steps):
            y = _multiply_along(y, analysis(n, m, real=is_real), axis)
        y = jnp.einsum("s...ap,...apbq->s...bq", y, self._matrices(modes))
        for axis, (n, m, is_real) in steps:
            y = _multiply_along(y, synthesis(n, m, real=is_real), axis)
        return y[..., 0]

    def _matrices(self, modes: list[int]) -> Array:
        """R of the modes that the image has, (*mode, channel, part, channel, part): [[r, i], [-i, r]]."""
        kernel = self.kernel[...].astype(self.dtype)
        for axis, (kept, m) in enumerate(zip(modes, self.modes, strict=True)):
            if kept < m:
                rows = frequencies(kept, real=axis == len(modes) - 1)
                kernel = jnp.take(kernel, rows % kernel.shape[axis], axis=axis)
        r, i = kernel[..., 0], kernel[..., 1]
        return jnp.stack([jnp.stack([r, i], axis=-1), jnp.stack([-i, r], axis=-1)], axis=-3)


def _multiply_along(x: Array, basis: np.ndarray, axis: int) -> Array:
    """Return the matrix product along an axis and the last axis, which holds the parts."""
    y = jnp.tensordot(x, jnp.asarray(basis, x.dtype), axes=((axis, x.ndim - 1), (0, 1)))
    return jnp.moveaxis(y, -2, axis)


class FNO(nnx.Module):
    """The Fourier neural operator, as the module describes it."""

    def __init__(self, config: Config, inputs: Inputs, outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> None:
        width, options = config.width, {"rngs": rngs, "dtype": dtype}
        modes = tuple(min(config.modes, resolvable_modes(n)) for n in inputs.spatial)
        self.lift = nnx.Linear(inputs.channels, width, **options)
        self.spectral = nnx.List([Spectral(modes, width, rngs, dtype) for _ in range(config.layers)])
        self.local = nnx.List([nnx.Linear(width, width, **options) for _ in range(config.layers)])
        self.project = nnx.Linear(width, config.projection, **options)
        zeros = nnx.initializers.zeros
        self.head = nnx.Linear(config.projection, outputs[-1], kernel_init=zeros, rngs=rngs)  # float32

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """Return (sample, *spatial, outputs) for (sample, *spatial, inputs)."""
        y = self.lift(x)
        for layer, (spectral, local) in enumerate(zip(self.spectral, self.local, strict=True), 1):
            y = spectral(y) + local(y)
            y = jax.nn.gelu(y) if layer < len(self.spectral) else y
        return self.head(jax.nn.gelu(self.project(y)))
