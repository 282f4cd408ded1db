"""Compiled sweeps of `physics.pie` for small probes. With one mode a position takes a third of the time of NumPy.

At 32 pixels the overhead of a library call exceeds the transform itself, and numba cannot call the library. The
transforms are therefore products with the matrices exp(-+2 pi i j k / N). They are as fast as FFTs up to 32 pixels, and
slower for larger probes.
"""

import numpy as np

from physics.arrays import MIN_DIVISOR, Array
from physics.compiled import compiled


def matrices(shape: tuple[int, int], dtype: Array) -> tuple[Array, Array]:
    """Return the matrices of the Fourier transform and its inverse, along y and along x.

    Args:
        shape: (ny, nx) of the probe.
        dtype: complex dtype of the matrices.

    Returns:
        Two arrays, (2, ny, ny) for y and (2, nx, nx) for x; index 0 is the forward and 1 the inverse transform.
    """
    y, x = (np.stack([f(np.eye(n)) for f in (np.fft.fft, np.fft.ifft)]).astype(dtype) for n in shape)
    return y, x


@compiled
def sweep(
    intensity: Array,
    starts: Array,
    ramp_y: Array,
    ramp_x: Array,
    order: Array,
    transmission: Array,
    spectrum: Array,
    along_y: Array,
    along_x: Array,
    rule: Array,
) -> float:
    """Update transmission and spectrum in place by one sweep, and return the squared error, as `pie._sweep` does.

    Args:
        intensity: (n, qy, qx).
        starts: (n, 2), the first row and column of each window.
        ramp_y: (n, qy).
        ramp_x: (n, qx).
        order: (n,), the order of the positions.
        transmission: O (y, x), changed in place.
        spectrum: (mode, qy, qx), changed in place.
        along_y: from `matrices`.
        along_x: from `matrices`.
        rule: five numbers in the precision of intensity: step and floor of the object update, step and floor of the
            probe update (`pie._Rule`), and `moduli.DARK_LEVEL`.
    """
    modes, ny, nx = spectrum.shape
    shifted, changes, buffer = np.empty_like(spectrum), np.empty_like(spectrum), np.empty_like(spectrum[0])
    ratio, light, patch_copy = np.empty_like(intensity[0]), np.empty_like(intensity[0]), np.empty_like(spectrum[0])
    ramp, error = np.empty_like(spectrum[0]), 0.0
    for j in order:
        row, column = starts[j]
        patch = transmission[row : row + ny, column : column + nx]
        for y in range(ny):
            for x in range(nx):
                patch_copy[y, x], ramp[y, x] = patch[y, x], ramp_y[j, y] * ramp_x[j, x]
        _propagate(spectrum, ramp, patch_copy, along_y, along_x, buffer, shifted, changes)
        error += _compare_amplitudes(intensity[j], changes, ratio, rule[4])
        _multiply(changes, ratio, changes)
        _transform(changes, along_y[1], along_x[1], buffer)
        _power(shifted, light)
        _set_weights(light, rule[0], rule[1])
        for m in range(modes):
            for y in range(ny):
                for x in range(nx):
                    patch[y, x] += shifted[m, y, x].conjugate() * changes[m, y, x] * light[y, x]
        if rule[2] > 0:
            _update_probe(spectrum, changes, patch_copy, ramp, along_y[0], along_x[0], buffer, light, rule)
    return error


@compiled
def _transform(waves: Array, left: Array, right: Array, buffer: Array) -> None:
    """Transform the waves in place, mode by mode."""
    for m in range(len(waves)):
        np.dot(left, waves[m], buffer)
        np.dot(buffer, right, waves[m])


@compiled
def _multiply(waves: Array, factor: Array, product: Array) -> None:
    """Multiply waves (mode, y, x) by a factor (y, x)."""
    for m in range(waves.shape[0]):
        for y in range(waves.shape[1]):
            for x in range(waves.shape[2]):
                product[m, y, x] = waves[m, y, x] * factor[y, x]


@compiled
def _propagate(
    spectrum: Array, ramp: Array, o: Array, along_y: Array, along_x: Array, buffer: Array, shifted: Array, fields: Array
) -> None:
    """Compute the shifted probe p_m, and the far fields of p_m o."""
    _multiply(spectrum, ramp, shifted)
    _transform(shifted, along_y[1], along_x[1], buffer)
    _multiply(shifted, o, fields)
    _transform(fields, along_y[0], along_x[0], buffer)


@compiled
def _power(waves: Array, power: Array) -> None:
    """Sum |psi_m|^2 over the modes."""
    power[:] = 0
    for m in range(len(waves)):
        for y in range(waves.shape[1]):
            for x in range(waves.shape[2]):
                power[y, x] += waves[m, y, x].real ** 2 + waves[m, y, x].imag ** 2


@compiled
def _compare_amplitudes(intensity: Array, fields: Array, ratio: Array, dark: float) -> float:
    """Set `ratio` to `moduli.replacement_factor` less 1, and return the sum of the squared differences."""
    _power(fields, ratio)
    threshold, error = dark * np.sqrt(ratio.max()), 0.0
    for y in range(ratio.shape[0]):
        for x in range(ratio.shape[1]):
            measured, model = np.sqrt(intensity[y, x]), np.sqrt(ratio[y, x])
            error += (measured - model) ** 2
            factor = measured / (model + MIN_DIVISOR)
            ratio[y, x] = (factor if model > threshold else min(factor, 1.0)) - 1
    return error


@compiled
def _set_weights(power: Array, size: float, floor: float) -> None:
    """Replace `power` by size / ((1 - floor) power + floor max power), in place."""
    top = floor * power.max()
    for y in range(power.shape[0]):
        for x in range(power.shape[1]):
            power[y, x] = size / max((1 - floor) * power[y, x] + top, MIN_DIVISOR)


@compiled
def _update_probe(
    spectrum: Array,
    changes: Array,
    o: Array,
    ramp: Array,
    left: Array,
    right: Array,
    buffer: Array,
    weight: Array,
    rule: Array,
) -> None:
    """Update the spectrum of the probe, in place."""
    for y in range(weight.shape[0]):
        for x in range(weight.shape[1]):
            weight[y, x] = o[y, x].real ** 2 + o[y, x].imag ** 2
    _set_weights(weight, rule[2], rule[3])
    for m in range(len(spectrum)):
        for y in range(weight.shape[0]):
            for x in range(weight.shape[1]):
                changes[m, y, x] *= o[y, x].conjugate() * weight[y, x]
    _transform(changes, left, right, buffer)
    for m in range(len(spectrum)):
        for y in range(weight.shape[0]):
            for x in range(weight.shape[1]):
                spectrum[m, y, x] += changes[m, y, x] * ramp[y, x].conjugate()
