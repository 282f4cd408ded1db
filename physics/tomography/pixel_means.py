"""Images of phantoms whose pixels hold exact means: the integral of the phantom over each pixel, a square of side 1.

    area within pixel (i, j) = integral over the outline within row i of clip(x - j, 0, 1) dy        (Green's theorem)

The outline is cut at the lines of the grid, so that each piece lies in one pixel. Straight pieces and arcs of ellipses
have closed integrals. Each piece adds its height dy to all pixels to the right of its own, which a running sum along
the row does at the end. Gaussians are products of differences of error functions, cut off at
`physics.tomography.analytic.CUTOFF` widths.
"""

from math import erf

import numpy as np
from numpy.typing import NDArray

from physics.compiled import compiled
from physics.tomography.analytic import CUTOFF
from physics.tomography.phantom import Floats, Integers, Phantom, signed_areas

ROUNDING = 1e-12  # means below it, relative to the largest value, are rounding errors of the sums; they are set to 0


def pixel_means(phantom: Phantom, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the mean of a phantom over each pixel, (y, x) float32.

    Args:
        phantom: the phantom; lengths in pixels, from the middle of the image
        shape: pixels (y, x)
    """
    ny, nx = shape
    middle = ny / 2, nx / 2
    steps, smooth = np.zeros((ny, nx + 1)), np.zeros(shape)
    outlines = (phantom.corners, phantom.first, phantom.values * np.sign(signed_areas(phantom)))
    _add_ellipses(steps, phantom.ellipses, *middle)
    _add_polygons(steps, *outlines, *middle)
    _add_gaussians(smooth, phantom.gaussians, *middle)
    largest = max(abs(phantom.ellipses[:, 5]).max(initial=0), abs(phantom.values).max(initial=0))
    sharp = np.cumsum(steps[:, :nx], axis=1)
    sharp[abs(sharp) < ROUNDING * largest] = 0
    return (sharp + smooth).astype(np.float32)


@compiled
def _add_piece(steps: Floats, y: float, x: float, height: float, moment: float) -> None:
    """Add a piece of an outline to the running sum.

    Args:
        steps: (y, x + 1), changed in place
        y: row of a point of the piece, counted from the first edge of the image
        x: column of that point
        height: integral of dy
        moment: integral of x dy
    """
    ny, nx = steps.shape[0], steps.shape[1] - 1
    if y < 0.0 or y >= ny or x >= nx:
        return
    i, j = int(y), int(np.floor(x))
    if j < 0:
        steps[i, 0] += height
        return
    right = moment - j * height  # share of the pixel that lies left of the piece
    steps[i, j] += height - right
    steps[i, j + 1] += right


@compiled
def _add_polygons(
    steps: Floats, corners: Floats, first: Integers, values: Floats, middle_y: float, middle_x: float
) -> None:
    for n in range(values.shape[0]):
        end = first[n + 1] - 1
        y0, x0 = corners[end, 0] + middle_y, corners[end, 1] + middle_x
        for k in range(first[n], first[n + 1]):
            y1, x1 = corners[k, 0] + middle_y, corners[k, 1] + middle_x
            if y1 > y0:
                _add_line(steps, y0, x0, y1, x1, -values[n])
            elif y1 < y0:
                _add_line(steps, y1, x1, y0, x0, values[n])
            y0, x0 = y1, x1


@compiled
def _add_line(steps: Floats, y0: float, x0: float, y1: float, x1: float, value: float) -> None:
    """Add a line with y0 < y1, row by row and within a row column by column."""
    slope = (x1 - x0) / (y1 - y0)
    for i in range(int(max(np.floor(y0), 0.0)), int(min(np.floor(y1) + 1, steps.shape[0]))):
        low, high = max(y0, float(i)), min(y1, i + 1.0)
        start, end = x0 + (low - y0) * slope, x0 + (high - y0) * slope
        left, right = min(start, end), max(start, end)
        if high <= low:
            continue
        if np.floor(left) == np.floor(right) or right < 0.0:
            _add_piece(
                steps, i + 0.5, (left + right) / 2, value * (high - low), value * (high - low) * (left + right) / 2
            )
            continue
        rate = value * (high - low) / (right - left)
        if left < 0.0:
            _add_piece(steps, i + 0.5, -1.0, -left * rate, 0.0)
        for j in range(int(max(np.floor(left), 0.0)), int(min(np.floor(right) + 1, steps.shape[1] - 1))):
            a, b = max(left, float(j)), min(right, j + 1.0)
            _add_piece(steps, i + 0.5, j + 0.5, rate * (b - a), rate * (b - a) * (a + b) / 2)


@compiled
def _add_ellipses(steps: Floats, ellipses: Floats, middle_y: float, middle_x: float) -> None:
    """Add ellipses y + y_cos cos s + y_sin sin s, and x likewise, with s from 0 to a full turn."""
    ny, nx = steps.shape[0], steps.shape[1] - 1
    for n in range(ellipses.shape[0]):
        y, x, a, b, turn, value = ellipses[n]
        y_cos, y_sin, x_cos, x_sin = a * np.sin(turn), b * np.cos(turn), a * np.cos(turn), -b * np.sin(turn)
        cuts = np.empty(2 * (ny + nx) + 6)
        cuts[0], count = -np.pi, 1
        count = _add_cuts(cuts, count, y + middle_y, y_cos, y_sin, ny)
        count = _add_cuts(cuts, count, x + middle_x, x_cos, x_sin, nx)
        cuts[count] = np.pi
        ordered = np.sort(cuts[: count + 1])
        _add_arcs(steps, ordered, y + middle_y, y_cos, y_sin, x + middle_x, x_cos, x_sin, value)


@compiled
def _add_cuts(cuts: Floats, count: int, middle: float, cosine: float, sine: float, lines: int) -> int:
    """Write the s at which middle + cosine cos s + sine sin s is one of 0 .. lines; return the number of cuts."""
    reach, start = np.hypot(cosine, sine), np.arctan2(sine, cosine)
    for k in range(int(max(np.ceil(middle - reach), 0.0)), int(min(np.floor(middle + reach), float(lines))) + 1):
        angle = np.arccos(min(max((k - middle) / max(reach, 1e-300), -1.0), 1.0))
        for s in (start - angle, start + angle):
            cuts[count] = s - 2 * np.pi * np.floor((s + np.pi) / (2 * np.pi))
            count += 1
    return count


@compiled
def _add_arcs(
    steps: Floats,
    cuts: Floats,
    y: float,
    y_cos: float,
    y_sin: float,
    x: float,
    x_cos: float,
    x_sin: float,
    value: float,
) -> None:
    """Add the arcs between consecutive cuts; the integral of x dy along an arc has a closed form."""
    cos0, sin0 = np.cos(cuts[0]), np.sin(cuts[0])
    for k in range(cuts.shape[0] - 1):
        half = (cuts[k + 1] - cuts[k]) / 2
        cos1, sin1 = np.cos(cuts[k + 1]), np.sin(cuts[k + 1])
        cosine, sine = np.cos(cuts[k] + half), np.sin(cuts[k] + half)
        height = y_cos * (cos1 - cos0) + y_sin * (sin1 - sin0)
        moment = x * height + (x_cos * y_sin - x_sin * y_cos) * half
        moment += (x_cos * y_sin + x_sin * y_cos) * (sin1 * cos1 - sin0 * cos0) / 2
        moment += (x_sin * y_sin - x_cos * y_cos) * (sin1 * sin1 - sin0 * sin0) / 2
        row, column = y + y_cos * cosine + y_sin * sine, x + x_cos * cosine + x_sin * sine
        _add_piece(steps, row, column, -value * height, -value * moment)
        cos0, sin0 = cos1, sin1


@compiled
def _add_gaussians(out: Floats, gaussians: Floats, middle_y: float, middle_x: float) -> None:
    for n in range(gaussians.shape[0]):
        y, x, width, value = gaussians[n]
        rows = _interval_means(y + middle_y, width, out.shape[0])
        columns = _interval_means(x + middle_x, width, out.shape[1])
        for i in range(out.shape[0]):
            if rows[i] != 0.0:
                for j in range(out.shape[1]):
                    out[i, j] += value * rows[i] * columns[j]


@compiled
def _interval_means(middle: float, width: float, count: int) -> Floats:
    """Return the mean of exp(-(x - middle)^2 / (2 width^2)) over each of the intervals [k, k + 1]."""
    out, scale = np.zeros(count), 1 / (np.sqrt(2.0) * width)
    first, end = max(np.floor(middle - CUTOFF * width), 0.0), min(np.ceil(middle + CUTOFF * width), float(count))
    for k in range(int(first), int(end)):
        out[k] = np.sqrt(np.pi / 2) * width * (erf((k + 1 - middle) * scale) - erf((k - middle) * scale))
    return out
