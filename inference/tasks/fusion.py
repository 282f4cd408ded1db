"""Classical methods that refine images of many channels, with the help of a guide or without, and the task's report."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import uniform_filter

from inference.contract import Arrays, Method, Report, Setting, Shown
from inference.methods.enlarging import enlarge_by_splines, project_back
from physics.pixel_integration import integrate_pixels

ROUNDING = 1e-6  # deviation of a guide, relative to its largest value, that is taken for an error of rounding

type Solve = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def bicubic(fields: Arrays) -> dict[str, np.ndarray]:
    """Interpolate low of a block of samples by `enlarge_by_splines`, to the size of guide."""
    return {"high": enlarge_by_splines(fields["low"], fields["guide"].shape[1:])}


def back_projection(fields: Arrays, *, iterations: float) -> dict[str, np.ndarray]:
    """Refine each channel by `project_back`, without what the guide shows.

    Args:
        fields: low, guide and point_spread of a block of samples.
        iterations: number of iterations.
    """

    def solve(low: np.ndarray, guide: np.ndarray, spread: float) -> np.ndarray:
        return project_back(enlarge_by_splines(low, _pixels(guide)), low, spread, int(iterations))

    return _by_sample(fields, solve)


def guided_filter(fields: Arrays, *, radius: float, floor: float, iterations: float) -> dict[str, np.ndarray]:
    """Let each channel be a linear function of the guide within windows (He, Sun and Tang 2010).

        high = a guide + b,   a = cov(G, low) / (var G + floor v + e),   b = mean low - a mean G

    G is the guide as the coarse instrument would show it, v its variance over the image, and e the variance of errors
    of rounding, so that a constant guide is not followed. a and b are computed in
    windows of coarse pixels, averaged over all windows that hold a pixel, and enlarged linearly, as in the fast guided
    filter (He and Sun 2015). Then `project_back` lets the result agree with the coarse images.

    Args:
        fields: low, guide and point_spread of a block of samples.
        radius: of a window [coarse pixel]; its width is 2 radius + 1.
        floor: variance of the guide, relative to v, below which a channel does not follow it.
        iterations: iterations of `project_back`.
    """
    width = 2 * int(radius) + 1

    def mean(images: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = uniform_filter(images, width, mode="reflect", axes=(-2, -1))
        return filtered

    def solve(low: np.ndarray, guide: np.ndarray, spread: float) -> np.ndarray:
        seen = integrate_pixels(guide, _pixels(low), spread)
        lowest = floor * seen.var() + (ROUNDING * abs(seen).max()) ** 2 + np.finfo(float).tiny
        offset, level = mean(seen), mean(low)
        variance = mean(seen**2) - offset**2
        slope = (mean(seen * low) - offset * level) / (np.maximum(variance, 0) + lowest)
        a, b = (enlarge_by_splines(mean(one), _pixels(guide), order=1) for one in (slope, level - slope * offset))
        return project_back(a * guide + b, low, spread, int(iterations))

    return _by_sample(fields, solve)


def _pixels(images: np.ndarray) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _by_sample(fields: Arrays, solve: Solve) -> dict[str, np.ndarray]:
    """Solve each sample by itself, since samples may differ in their point spread."""
    low, guide = (np.asarray(fields[name], float) for name in ("low", "guide"))
    rows = zip(low, guide, fields["point_spread"], strict=True)
    return {"high": np.stack([solve(images, one, float(spread)) for images, one, spread in rows])}


NEEDS = ("low", "guide", "point_spread")
METHODS: Mapping[str, Method] = {
    "bicubic": Method(about="interpolation of each channel by cubic splines", needs=("low", "guide"), solve=bicubic),
    "back_projection": Method(
        about="iterative back projection of each channel, without the guide (Irani and Peleg 1991)",
        needs=NEEDS,
        solve=back_projection,
        settings={"iterations": Setting("iterations", "1", (0, 1, 2, 3, 5, 10, 20), 0, whole=True)},
    ),
    "guided": Method(
        about="guided filter (He, Sun and Tang 2010), then iterative back projection",
        needs=NEEDS,
        solve=guided_filter,
        settings={
            "radius": Setting("radius of the windows", "coarse pixel", (1, 2, 3), 1, 100, whole=True),
            "floor": Setting("variance below which the guide is not followed", "1", (0.01, 0.03, 0.1, 0.3, 1.0), 0),
            "iterations": Setting("iterations of the back projection", "1", (0, 1, 3), 0, whole=True),
        },
    ),
}

REPORT = Report(
    inputs=(Shown("low"), Shown("guide")),
    parameters=("point_spread", "camera_deviation", "guide_contrast", "guide_deviation", "guide_shift", "guide_turn"),
)
