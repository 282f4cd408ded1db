"""Warnings about a tilt series that its own values raise: order of the angles, tilt axis, counts, pedestal, targets."""

from collections.abc import Iterator

import numpy as np

from schemas.runtime.errors import UserError

MIN_IMAGES = 8  # with fewer, neither the order of the angles nor the axis is judged
MAX_STEP = np.deg2rad(6)  # images at larger steps need not be alike
MIN_STRUCTURE = 2  # standard deviation of correlations between images, relative to that of white noise
MIN_ALIKE = 3  # neighbours must be more alike than others by this many standard errors
AXIS_RATIO = 3  # by which a profile must vary less along x than along y to doubt the axis
MAX_VARIATION = 0.2  # relative variance of a profile that hardly depends on the tilt
MAX_RATIO = 3  # of the means of images and targets
WHOLE = 1e-3  # distance from a whole number below which a count is one


def doubt_order(images: np.ndarray, angles: np.ndarray) -> Iterator[str]:
    """Yield a warning if images at neighbouring angles are no more alike than any others.

    Nothing is said of few images, of large steps, and of images that noise makes all alike.

    Args:
        images: (tilt, y, x).
        angles: (tilt,) [rad].
    """
    order = np.argsort(angles)
    if len(angles) < MIN_IMAGES or np.median(np.diff(angles[order])) > MAX_STEP:
        return
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    sizes = np.sqrt((flat**2).sum(axis=1))
    if not sizes.all():
        return
    alike = flat @ flat.T / np.outer(sizes, sizes)
    pairs = alike[np.triu_indices(len(alike), 1)]
    neighbours = float(alike[order[:-1], order[1:]].mean())
    spread = float(pairs.std())
    structure = spread > MIN_STRUCTURE / np.sqrt(flat.shape[1])
    if structure and neighbours - pairs.mean() < MIN_ALIKE * spread / np.sqrt(len(order) - 1):
        yield (
            f"warning: images at neighbouring angles are no more alike than others (correlation {neighbours:.3f} and "
            f"{pairs.mean():.3f}): are the angles in the order of the images?"
        )


def doubt_axis(images: np.ndarray, axes: str) -> Iterator[str]:
    """Yield a warning if the specimen seems to be turned about x, not about y.

    A turn about y moves matter across y, so that the sum over x of each image hardly depends on the tilt if the
    specimen lies within the images.

    Args:
        images: (tilt, y, x).
        axes: names of the axes in the file that would exchange x and y.
    """
    if len(images) < MIN_IMAGES:
        return
    along_y, along_x = (_variation(images.sum(axis=axis, dtype=np.float64)) for axis in (2, 1))
    if along_x < MAX_VARIATION and along_y > AXIS_RATIO * along_x:
        yield (
            f"warning: sums over y depend {along_y / along_x:.2g} times less on the tilt than sums over x: the tilt "
            f"axis seems to be x, and must be y; exchange them: --axes {axes}"
        )


def _variation(profiles: np.ndarray) -> float:
    """Return the variance of profiles (tilt, pixel) over the tilts, relative to that of their mean over the pixels."""
    mean = profiles.mean(axis=0)
    variance = float(mean.var())
    return float(((profiles - mean) ** 2).mean()) / variance if variance else np.inf


def check_counts(name: str, values: np.ndarray, electrons: np.ndarray) -> Iterator[str]:
    """Refuse negative counts, and yield a warning if counts are not whole numbers.

    Args:
        name: the file, for messages.
        values: (tilt, y, x), with the pedestal.
        electrons: (tilt,), electrons per pixel of the value 1; 0: not counted.

    Raises:
        UserError: some counts are negative.
    """
    counted = electrons > 0
    counts = values[counted] * electrons[counted][:, None, None]
    if (below := int((counts < 0).sum())) > 0:
        raise UserError(
            f"{name}: {below:,} counts are below 0, the lowest is {counts.min():.4g}; give raw counts and --set "
            "pedestal=..., or leave electrons out"
        )
    if counts.size and (share := float((abs(counts - np.rint(counts)) > WHOLE).mean())) > 0:
        yield (
            f"warning: {name}: {share:.2%} of the counts are not whole numbers: averaged, or resampled? Then noise is "
            "not that of counted electrons: leave electrons out"
        )


def doubt_pedestal(name: str, images: np.ndarray, pedestal: float) -> Iterator[str]:
    """Yield a warning if images are negative on average after the pedestal has been taken off.

    Args:
        name: the file, for messages.
        images: (tilt, y, x), without the pedestal.
        pedestal: the value that has been taken off.
    """
    means = images.mean(axis=(1, 2), dtype=np.float64)
    if pedestal and (low := int((means < 0).sum())):
        yield f"warning: {name}: pedestal = {pedestal:g}: {low} of {len(means)} images are negative on average"


def doubt_target(name: str, images: np.ndarray, target: np.ndarray) -> Iterator[str]:
    """Yield a warning if a target is the image itself, or on another scale.

    Args:
        name: the file of the target, for messages.
        images: (tilt, y, x).
        target: (tilt, y, x).
    """
    ratio = float(target.mean(dtype=np.float64)) / (float(images.mean(dtype=np.float64)) or 1.0)
    if np.array_equal(images, target):
        yield f"warning: {name}: the target equals the image: is it the same file?"
    elif not 1 / MAX_RATIO < ratio < MAX_RATIO:
        yield f"warning: {name}: the target has {ratio:.3g} times the mean of the image: give both in one unit"
