"""Layers that flax lacks, or whose versions there are slower.

Arrays are (sample, *spatial, channel), with any number of spatial axes.
"""

from functools import partial, reduce
from itertools import product
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from training.contract import Array, Shape


def _convolve(x: Array, *args: Any, **options: Any) -> Array:
    """Convolve a finished input.

    On a CPU, XLA would otherwise compute the operations before the convolution twice, and a step would take 4 % longer.
    """
    return jax.lax.conv_general_dilated(jax.lax.optimization_barrier(x), *args, **options)


Conv = partial(nnx.Conv, conv_general_dilated=_convolve)


def convolve_wide(x: Array, kernel: Array, strides: Any, padding: str, **options: Any) -> Array:
    """Convolve with stride 1, with the shifts along the last spatial axis as channels: the same values.

    On a CPU, a kernel of 11x11 pixels is 100 times faster like this where it is larger than the image; XLA's own
    convolution takes 18 s for a batch of 32 images of 7x16 pixels with 96 channels. Used as an argument of `Conv`.

    Args:
        x: (sample, *spatial, channel).
        kernel: (*sides, channel of the input, channel of the output).
        strides: all of them 1.
        padding: "same" or "valid", in capitals.
        options: as for `jax.lax.conv_general_dilated`.
    """
    side, inputs, outputs = kernel.shape[-3:]
    before = (side - 1) // 2 if padding == "SAME" else 0
    after = side - 1 - before if padding == "SAME" else 0
    wide = jnp.pad(x, [*((0, 0) for _ in x.shape[:-2]), (before, after), (0, 0)])
    count = wide.shape[-2] - side + 1
    columns = jnp.concatenate([wide[..., shift : shift + count, :] for shift in range(side)], axis=-1)
    folded = kernel.reshape(*kernel.shape[:-3], 1, side * inputs, outputs)
    return _convolve(columns, folded, strides, padding, **options)


class GroupNorm(nnx.Module):
    """Normalise each sample over space and groups of channels, then scale and shift each channel.

        y = (x - m) / sqrt(v + 1e-6) * scale + bias,   m, v: mean and variance of the sample's group

    The result is that of `flax.nnx.GroupNorm` (a test verifies this). Here the sums over space come first, and those
    over channels act on small arrays, which is faster on a CPU. Statistics are in float32. The variance is the mean of
    (x - m)^2: computed as mean(x^2) - m^2 it would be wrong by one half for m = 1000 and deviation 1, and a U-Net would
    not be faster. Wu and He, arXiv:1803.08494.
    """

    def __init__(self, channels: int, groups: int, *, dtype: Any = jnp.float32) -> None:
        self.groups = gcd(channels, groups)
        self.dtype = dtype
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape."""
        samples, channels = x.shape[0], x.shape[-1]
        flat = x.astype(jnp.float32).reshape(samples, -1, channels)
        centred = flat - self._group_means(flat)[:, None]
        scale = jax.lax.rsqrt(self._group_means(centred**2) + 1e-6) * self.scale[...]
        return (centred * scale[:, None] + self.bias[...]).reshape(x.shape).astype(self.dtype)

    def _group_means(self, flat: Array) -> Array:
        """Return the mean of each channel's group, (sample, channel), for (sample, pixel, channel)."""
        width = flat.shape[-1] // self.groups
        means = flat.mean(1).reshape(len(flat), self.groups, width).mean(-1)
        return jnp.repeat(means, width, axis=-1)


class BatchNorm(nnx.Module):
    """Normalise each channel over the batch, then scale and shift it. Inference uses running averages m', v'.

        y = (x - m) / sqrt(v + 1e-3) * scale + bias,   m, v: mean and variance over the samples of weight 1 and space
        m' -> 0.99 m' + 0.01 m,   v' -> 0.99 v' + 0.01 v,   from m' = 0, v' = 1: with each step of learning

    The constants are those of Keras. m' and v' are not parameters: `Network` returns them as the new rest. After 100
    steps they still hold one third of their initial values. Statistics are in float32, over the samples of all devices,
    with the variance as in `GroupNorm`. Ioffe and Szegedy, arXiv:1502.03167.
    """

    def __init__(self, channels: int, *, dtype: Any = jnp.float32) -> None:
        self.dtype = dtype
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        self.mean, self.variance = nnx.BatchStat(jnp.zeros(channels)), nnx.BatchStat(jnp.ones(channels))

    def __call__(self, x: Array, *, learning: bool, weight: Array | None = None) -> Array:
        """Return an array of the same shape.

        Args:
            x: (sample, *spatial, channel).
            learning: whether to use the statistics of the batch and update the running averages.
            weight: (sample,), 0 for samples that only fill up the batch; None: 1 for all samples.
        """
        values = x.astype(jnp.float32)
        mean, variance = self._batch_statistics(values, weight) if learning else (self.mean[...], self.variance[...])
        scale = jax.lax.rsqrt(variance + 1e-3) * self.scale[...]
        return ((values - mean) * scale + self.bias[...]).astype(self.dtype)

    def _batch_statistics(self, x: Array, weight: Array | None) -> tuple[Array, Array]:
        """Return mean and variance of each channel, and update the running averages with them."""
        share = jnp.ones(len(x)) if weight is None else weight
        share = (share / jnp.sum(share))[:, None]
        mean = jnp.sum(share * _spatial_mean(x), 0)
        variance = jnp.sum(share * _spatial_mean((x - mean) ** 2), 0)
        self.mean[...] = 0.99 * self.mean[...] + 0.01 * mean
        self.variance[...] = 0.99 * self.variance[...] + 0.01 * variance
        return mean, variance


def _spatial_mean(x: Array) -> Array:
    """Return the mean of each image, (sample, channel)."""
    return x.mean(range(1, x.ndim - 1))


def to_depth(x: Array, factor: int) -> Array:
    """Fold blocks of factor^d pixels into channels: (sample, n, m, c) -> (sample, n/f, m/f, f f c). Nothing is lost.

    Args:
        x: array whose spatial sizes are multiples of the factor.
        factor: side of a block f.
    """
    spatial = x.shape[1:-1]
    split = [part for n in spatial for part in (n // factor, factor)]
    order = [1 + 2 * k for k in range(len(spatial))] + [2 + 2 * k for k in range(len(spatial))]
    blocks = x.reshape(len(x), *split, x.shape[-1]).transpose(0, *order, 1 + len(split))
    return blocks.reshape(len(x), *(n // factor for n in spatial), factor ** len(spatial) * x.shape[-1])


def to_space(x: Array, factor: int) -> Array:
    """Unfold channels into blocks of pixels, the inverse of `to_depth` (pixel shuffle; Shi et al., arXiv:1609.05158).

    Args:
        x: (sample, *spatial, channel), with a multiple of factor^d channels.
        factor: side of a block.
    """
    spatial = x.shape[1:-1]
    rank = len(spatial)
    channels = x.shape[-1] // factor**rank
    order = [axis for k in range(rank) for axis in (1 + k, 1 + rank + k)]
    blocks = x.reshape(len(x), *spatial, *(factor,) * rank, channels).transpose(0, *order, 1 + 2 * rank)
    return blocks.reshape(len(x), *(n * factor for n in spatial), channels)


def pad_to(x: Array, multiple: int) -> Array:
    """Repeat the last pixels until each spatial size is a multiple of `multiple`."""
    pads = [(0, -n % multiple) for n in x.shape[1:-1]]
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge") if any(p for _, p in pads) else x


def crop(x: Array, spatial: Shape) -> Array:
    """Return the first pixels along each spatial axis.

    Args:
        x: (sample, *spatial, channel).
        spatial: spatial shape of the result.
    """
    return x[(slice(None), *(slice(n) for n in spatial))]


def scaled_lengths(spatial: Shape, coarse: Shape, fine: Shape) -> Shape:
    """Return the spatial shape that belongs to another size of input, in the proportion of two grids.

    Args:
        spatial: spatial shape of the input.
        coarse: spatial shape of the input in training.
        fine: spatial shape of the output in training.
    """
    return tuple(n * b // a for n, a, b in zip(spatial, coarse, fine, strict=True))


def resize(x: Array, spatial: Shape, method: str) -> Array:
    """Interpolate images on another grid with the same outer edges. The map is linear, and keeps constants.

    Args:
        x: (sample, *spatial, channel).
        spatial: spatial shape of the result.
        method: "linear" or "cubic".
    """
    return jnp.asarray(jax.image.resize(x, (len(x), *spatial, x.shape[-1]), method))


def max_pool(x: Array, window: int = 2, stride: int = 2, *, pad: bool = True) -> Array:
    """Return the maximum of a window of pixels at each step of the stride.

    The values are those of `flax.nnx.max_pool`. Computed by slices, the gradient is 7 times faster on a CPU.

    Args:
        x: (sample, *spatial, channel).
        window: side of the window.
        stride: distance of the windows.
        pad: whether windows may reach beyond the borders, as with padding `same`; otherwise as with `valid`.

    Returns:
        (sample, *(spatial / stride, rounded up), channel); without padding, as many windows as fit.
    """
    counts = [-(-n // stride) if pad else (n - window) // stride + 1 for n in x.shape[1:-1]]
    short = [max((count - 1) * stride + window - n, 0) for count, n in zip(counts, x.shape[1:-1], strict=True)]
    if any(short):
        x = jnp.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in short), (0, 0)], mode="edge")
    for axis, count in enumerate(counts, 1):
        reach = (count - 1) * stride + 1
        x = reduce(jnp.maximum, (jax.lax.slice_in_dim(x, k, k + reach, stride, axis) for k in range(window)))
    return x


def enlarge(x: Array) -> Array:
    """Repeat each pixel as a block of 2^d: (sample, n, m, c) -> (sample, 2n, 2m, c).

    The values are those of `jax.image.resize`. By repeating, the gradient is 20 to 90 times faster on a CPU.
    """
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return x


class Transposed(nnx.Module):
    """Transposed convolution with stride 2 and `side` pixels along each axis, which doubles the size.

        y[2 i + k - o] += x[i] kernel[k],   k = 0 ... side - 1 along each axis, o = (side - 2) // 2

    Values beyond 0 ... 2n - 1 are dropped. This is the layer of Keras with padding `same`. Pixels of one parity see
    every second tap. So 2^d convolutions, with side^d taps in all, compute them. The values are those of
    `jax.lax.conv_transpose`, whose gradient is slow: on a CPU, forwards and backwards, this is 8 to 12 times faster.
    """

    def __init__(
        self, rank: int, inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: Any = jnp.float32, side: int = 3
    ) -> None:
        self.dtype, self.side = dtype, side
        self.kernel = nnx.Param(nnx.initializers.glorot_uniform()(rngs.params(), (side,) * rank + (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Array) -> Array:
        """Return (sample, *(2 spatial), outputs) for (sample, *spatial, inputs)."""
        x, kernel, rank = x.astype(self.dtype), self.kernel[...].astype(self.dtype), x.ndim - 2
        parts = [self._pixels_of_parity(x, kernel, parities) for parities in product((0, 1), repeat=rank)]
        return to_space(jnp.concatenate(parts, axis=-1), 2) + self.bias[...].astype(self.dtype)

    def _pixels_of_parity(self, x: Array, kernel: Array, parities: Shape) -> Array:
        """Return the pixels of these parities. Of two taps, the later one meets the pixel before."""
        places = [parity + (self.side - 2) // 2 for parity in parities]
        firsts = [place % 2 for place in places]
        taps = jnp.flip(kernel[tuple(slice(first, None, 2) for first in firsts)], range(len(parities)))
        after = [(place - first) // 2 for place, first in zip(places, firsts, strict=True)]
        pads = [(n - 1 - more, more) for n, more in zip(taps.shape, after, strict=False)]
        letters = "DHW"[-len(parities) :]
        layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        return _convolve(x, taps, (1,) * len(parities), pads, dimension_numbers=layout)


class Depthwise(nnx.Module):
    """Convolve each channel with its own kernel of 3 pixels along each axis, with zeros beyond the borders.

    It is computed as a sum of shifted images: grouped convolutions are slow on a CPU, and even more so backwards.
    """

    def __init__(self, rank: int, channels: int, *, rngs: nnx.Rngs, dtype: Any = jnp.float32) -> None:
        self.dtype = dtype
        start = nnx.initializers.lecun_normal(in_axis=tuple(range(rank)), out_axis=rank)
        self.kernel = nnx.Param(start(rngs.params(), (3,) * rank + (channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Array) -> Array:
        """Return an array of the same shape."""
        spatial = x.shape[1:-1]
        kernel, wide = self.kernel[...].astype(self.dtype), [(1, 1)] * len(spatial)
        padded = jnp.pad(x.astype(self.dtype), [(0, 0), *wide, (0, 0)])
        y = self.bias[...].astype(self.dtype)
        for offset in product(range(3), repeat=len(spatial)):
            shifted = padded[(slice(None), *(slice(k, k + n) for k, n in zip(offset, spatial, strict=True)))]
            y = y + shifted * kernel[offset]
        return y
