"""Corrections of measured projections: flat and dark fields, outliers, dead columns, logarithm, background, totals.

A sinogram is (..., angle, detector). The order of the corrections is that of this file. Each function is pure and
returns a new array. An input that makes a correction meaningless raises ValueError with the reason.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import median_filter, rank_filter

LOWEST_TRANSMISSION = 1e-4  # weaker transmissions, zero and negative counts are set to this value: 9.2 after the log
MAX_CLIPPED = 0.5  # maximum share of pixels set to the lowest transmission; more mean wrong flat or dark frames
MAX_DARK_PIXELS = 0.5  # maximum share of pixels whose flat is not brighter than the dark frame
ZINGER_RANK = -3  # a zinger is brighter than the third brightest of its 3 x 3 pixels, so up to two pixels are found
ZINGER_SIGMAS = 10.0  # excess of a zinger over this neighbour, in standard deviations of the noise
NORMAL_SHARE = 0.68  # share of a normal distribution within a standard deviation
DIM_SHARE = 0.1  # share of the pixels, the dimmest, that show the noise of the detector without beam
MIN_NOISY = 0.01  # share of pixels that must deviate from their neighbours to show the size of one count
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution divided by its median absolute deviation
FEWEST_COLUMNS, FEWEST_VIEWS = 5, 8  # smallest sinogram in which dead columns and bad views are looked for
COLUMN_WINDOW = 17  # neighbouring columns to which a column is compared
DEAD_RATIO = 4.0  # a column is dead if it is this many times less changing, or more astray, than its neighbours
DEAD_SIGMAS = 2.0  # standard errors of a mean over the views by which it must be certain that a column is dead
DEAD_SHARE = 0.9  # share of the views in which a dead column is not finite, or far off its neighbours
RING_WIDTH = 21  # columns of the median filter of ring removal
MAX_SPREAD = 0.06  # relative standard deviation of totals that are taken as equal, to find exchanged axes
MIN_EXCESS = 4.0  # totals that are so many times less equal than others are not those of views
BAD_VIEW_RATIO = 0.25  # relative deviation of the total of a bad view from the median of all views
BAD_VIEW_SIGMAS = 8.0  # the same in standard deviations of the other views and of the counting noise
MAX_BAD_VIEWS = 0.2  # largest share of views that are dropped


def find_exchanged_axes(projections: np.ndarray) -> tuple[str, str] | None:
    """Return the names of two axes that seem to be exchanged, or None.

    Each row of a detector has the same total in all views of an object within the field of view. If sums along another
    axis than that of the detector are far more equal, that axis is the detector.

    Args:
        projections: (angle, row, detector), counts or line integrals.
    """
    own = _spread_of_totals(projections)
    for name, axis in (("angle", 0), ("row", 1)):
        if min(projections.shape[axis], projections.shape[-1]) > 2:
            other = _spread_of_totals(projections.swapaxes(axis, 2))
            if other < MAX_SPREAD and own > MIN_EXCESS * other:
                return name, "detector"
    return None


def _spread_of_totals(projections: np.ndarray) -> float:
    """Return the standard deviation over the views of the totals of rows, relative to their mean."""
    totals = projections.sum(axis=2, dtype=np.float64)
    mean = abs(totals.mean())
    return float(np.sqrt(totals.var(axis=0).mean()) / mean) if mean else 0.0


def transmission(counts: np.ndarray, flats: np.ndarray, darks: np.ndarray | None = None) -> np.ndarray:
    """Transmission (counts - dark) / (flat - dark), with the mean of several flat and dark frames.

    A zinger in one of them is left out of the mean, since it would make a ring.
    Pixels whose flat is not brighter than the dark frame are dead: they are NaN in all views (see `fill_columns`).

    Args:
        counts: (angle, ..., detector), one frame per angle.
        flats: (frame, ..., detector), or one frame (..., detector), without the object.
        darks: the same without beam; None: zero.

    Returns:
        (angle, ..., detector), float32. Zero and negative values are kept; `line_integrals` treats them.

    Raises:
        ValueError: frames of another size, not finite, or flats that are not brighter than the dark frames.
    """
    shape = counts.shape[1:]
    dark = np.zeros(shape) if darks is None else _mean_frame("dark", darks, shape)
    beam = _mean_frame("flat", flats, shape) - dark
    lit = beam > 0
    if (missing := float(1 - lit.mean())) > MAX_DARK_PIXELS:
        raise ValueError(
            f"flat frames are not brighter than the dark frames in {missing:.0%} of the pixels; "
            f"at most {MAX_DARK_PIXELS:.0%} may be dead; give flat frames with beam"
        )
    values = (counts - dark) / np.where(lit, beam, np.nan)
    return np.asarray(values, np.float32)


def _mean_frame(name: str, frames: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the mean of frames in float64, without the zingers of single frames, after checks of their size."""
    if frames.shape not in (shape, (*frames.shape[:1], *shape)) or not frames.size:
        wanted, found = (" x ".join(map(str, size)) for size in (shape, frames.shape))
        raise ValueError(f"{name} frames have {found} values; they must have {wanted}, as the projections")
    if not np.isfinite(frames).all():
        raise ValueError(f"{name} frames hold values that are not finite; leave these frames out")
    frames = np.asarray(frames.reshape(-1, *shape), np.float64)
    usual = np.sort(frames, axis=0)[(len(frames) - 1) // 2]
    excess = frames - usual
    kept = excess <= ZINGER_SIGMAS * _counting_noise(excess, usual) if len(frames) > 1 else None
    return np.asarray(frames.mean(axis=0, where=True if kept is None else kept))


def remove_zingers(counts: np.ndarray, darks: np.ndarray | float = 0.0, sigmas: float = ZINGER_SIGMAS) -> np.ndarray:
    """Replace bright outliers of one or two pixels (direct hits of the detector) by the median of 3 x 3 pixels.

    A pixel is replaced if it exceeds the third brightest of its 3 x 3 pixels by `sigmas` standard deviations of the
    noise where it lies. A thin line, such as the path of a small grain, fills three of these pixels and is kept.

    Args:
        counts: (..., angle, detector), in any unit.
        darks: counts without beam, (..., 1, detector).
        sigmas: the threshold.
    """
    size = (*[1] * (counts.ndim - 2), 3, 3)
    median = median_filter(counts, size=size, mode="nearest")
    third = rank_filter(counts, rank=ZINGER_RANK, size=size, mode="nearest")
    noise = _counting_noise(counts - median, median - darks)
    return np.where(counts - third > np.maximum(sigmas * noise, 1e-6 * np.nanmax(abs(median))), median, counts)


def _counting_noise(deviations: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise of each pixel: in proportion to the root of its level.

    The factor, which depends on the unit, follows from typical deviations. It is nowhere less than the noise of the
    detector, which the dimmest pixels show, and than the smallest deviation, which is 1 if counts are stored.

    Args:
        deviations: from this level, (..., *shape of level).
        level: counts above the dark frame.
    """
    away, root = abs(deviations), np.sqrt(np.maximum(level, 0))
    lit, dim = root > 0, level <= np.nanquantile(level, DIM_SHARE)
    steps = away[away > 0]
    if len(steps) < MIN_NOISY * away.size:  # no noise, or single counts
        steps = np.zeros(1) if np.any(steps % 1) else np.ones(1)
    least = max(np.nanquantile(away[..., dim], NORMAL_SHARE), steps.min())
    factor = np.nanquantile(away[..., lit] / root[lit], NORMAL_SHARE) if lit.any() else 0.0
    return np.asarray(np.maximum(factor * root, least))


def find_dead_columns(sinogram: np.ndarray) -> np.ndarray:
    """Return True for the columns of the detector that do not follow the object.

    Two numbers of a column are compared to the 20 and 80 % quantiles of its neighbours, which the edge of an object
    does not exceed. The mean change between successive views is far lower in a column that is stuck; the
    deviation from the median of five columns varies far more in a column that responds to something else. Both must
    hold in most views, and beyond the chance of few views, so single outliers and few quanta do not make a column dead.
    A deviation that is the same in all views makes a ring, and is left to the removal of rings, unless it exceeds
    the range of the other columns in nearly all views.

    Args:
        sinogram: (..., angle, detector).

    Returns:
        (..., detector), bool.

    Raises:
        ValueError: single values are not finite.
    """
    dead = find_missing_columns(sinogram)
    small = sinogram.shape[-1] < FEWEST_COLUMNS or sinogram.shape[-2] < FEWEST_VIEWS
    if small or dead.all(axis=-1).any():
        return dead
    values = fill_columns(np.asarray(sinogram, np.float64), dead)
    smooth = median_filter(values, size=(*[1] * (values.ndim - 1), 5), mode="nearest")
    steps, excess = _clip_outliers(abs(np.diff(values, axis=-2))), values - smooth
    away = abs(excess - np.median(excess, axis=-2, keepdims=True))
    change, misfit = steps.mean(axis=-2), away.mean(axis=-2)
    typical = 0.05 * change.mean(axis=-1, keepdims=True)
    stuck = change < _column_quantile(_lower_mean(steps), 0.2) / DEAD_RATIO - typical
    usual = np.minimum(np.median(away, axis=-2), _lower_mean(away))
    astray = usual > DEAD_RATIO * _column_quantile(misfit, 0.8) + typical
    far = np.quantile(abs(excess), 1 - DEAD_SHARE, axis=-2) > np.ptp(smooth, axis=(-2, -1))[..., None]
    return np.asarray(dead | stuck | astray | far)


def find_missing_columns(sinogram: np.ndarray) -> np.ndarray:
    """Return True for the columns of the detector without finite values.

    Args:
        sinogram: (..., angle, detector).

    Returns:
        (..., detector), bool.

    Raises:
        ValueError: single values are not finite.
    """
    missing = ~np.isfinite(sinogram)
    columns = np.asarray(missing.mean(axis=-2) > DEAD_SHARE)
    if single := int((missing & ~columns[..., None, :]).sum()):
        raise ValueError(f"{single:,} values are not finite numbers (NaN, inf); replace them, or leave their views out")
    return columns


def _clip_outliers(values: np.ndarray) -> np.ndarray:
    """Return values that are no larger than in nearly all views."""
    return np.asarray(np.minimum(values, np.quantile(values, DEAD_SHARE, axis=-2, keepdims=True)))


def _lower_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the views, less the uncertainty that so many views leave."""
    error = values.std(axis=-2) / np.sqrt(values.shape[-2])
    return np.asarray(values.mean(axis=-2) - DEAD_SIGMAS * error)


def _column_quantile(values: np.ndarray, share: float) -> np.ndarray:
    """Return the quantile of neighbouring columns."""
    window = min(COLUMN_WINDOW, values.shape[-1])
    size = (*[1] * (values.ndim - 1), window)
    return np.asarray(rank_filter(values, rank=round(share * (window - 1)), size=size, mode="mirror"))


def fill_columns(sinogram: np.ndarray, dead: np.ndarray) -> np.ndarray:
    """Fill dead columns by linear interpolation between the nearest columns that work.

    Args:
        sinogram: (..., angle, detector).
        dead: (..., detector), True where a column is to be filled.

    Raises:
        ValueError: no column works.
    """
    filled = np.array(sinogram)
    places = np.arange(sinogram.shape[-1])
    for index in np.ndindex(dead.shape[:-1]):
        good = places[~dead[index]]
        if not len(good):
            raise ValueError("all columns of the detector are dead; give projections with beam")
        for column in places[dead[index]]:
            after = min(int(np.searchsorted(good, column)), len(good) - 1)
            left, right = int(good[max(after - 1, 0)]), int(good[after])
            part = float(np.clip((column - left) / max(right - left, 1), 0, 1))
            one = filled[index]
            one[:, column] = (1 - part) * one[:, left] + part * one[:, right]
    return filled


def line_integrals(values: np.ndarray, lowest: float = LOWEST_TRANSMISSION) -> np.ndarray:
    """Line integral of the attenuation coefficient, p = -ln(transmission).

    No counts, and negative counts after the subtraction of the dark frame, have no logarithm: transmissions below
    `lowest` are set to it.

    Args:
        values: transmission, 1 in air.
        lowest: the lowest transmission.

    Returns:
        float32, of the same shape.

    Raises:
        ValueError: most values lie below `lowest`, or are not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("the transmission holds values that are not finite; fill dead columns first")
    if (clipped := float((values < lowest).mean())) > MAX_CLIPPED:
        raise ValueError(
            f"{clipped:.0%} of the transmissions lie below {lowest:g}; at most {MAX_CLIPPED:.0%} may; "
            "check the flat and dark frames, or whether the logarithm has been taken"
        )
    return np.asarray(-np.log(np.maximum(values, lowest)), np.float32)


def subtract_background(sinogram: np.ndarray, width: int) -> np.ndarray:
    """Subtract the straight line through the mean line integrals in air at both ends of the detector, in each view.

    Args:
        sinogram: (..., angle, detector), after the logarithm.
        width: number of pixels at each end in which all rays pass through air.

    Raises:
        ValueError: the ends overlap, or there are none.
    """
    length = sinogram.shape[-1]
    if not 1 <= width <= length // 2:
        raise ValueError(f"background of {width} pixels at each end; must be 1 to {length // 2}, half the detector")
    left, right = (sinogram[..., part].mean(axis=-1) for part in (slice(width), slice(length - width, None)))
    first, last = (width - 1) / 2, length - 1 - (width - 1) / 2
    part = (np.arange(length) - first) / (last - first) if last > first else np.full(length, 0.5)
    line = left[..., None] + (right - left)[..., None] * part
    return np.asarray(sinogram - line, sinogram.dtype)


def find_bad_views(sinogram: np.ndarray, ratio: float = BAD_VIEW_RATIO) -> np.ndarray:
    """Return True for views whose total differs from the median of all views by more than chance and drift allow.

    Every parallel view of an object that lies in the field of view has the same total. A bad view is off by a share of
    it. The total of a weak absorber is small, so that a drift of the beam also exceeds this share. A bad view must
    therefore be off by several standard deviations of the other views and of the counting noise, too. All slices of a
    view count together, because a shutter or a lost beam spoils all of them.

    Args:
        sinogram: (..., angle, detector).
        ratio: the share.

    Returns:
        (angle,), bool; all False for fewer than FEWEST_VIEWS views, which do not show their spread.

    Raises:
        ValueError: more than MAX_BAD_VIEWS of the views stand apart.
    """
    views = np.moveaxis(sinogram, -2, 0).reshape(sinogram.shape[-2], -1)
    if len(views) < FEWEST_VIEWS:
        return np.zeros(len(views), bool)
    means = views.mean(axis=1, dtype=np.float64)
    away = abs(means - np.median(means))
    spread = np.hypot(NORMAL_MAD * np.median(away), _noise_of(views) / np.sqrt(views.shape[1]))
    bad = np.asarray(away > max(ratio * abs(np.median(means)), BAD_VIEW_SIGMAS * float(spread)))
    if bad.mean() > MAX_BAD_VIEWS:
        raise ValueError(
            f"the totals of {int(bad.sum())} of {len(bad)} views stand apart; at most {MAX_BAD_VIEWS:.0%} are dropped; "
            "level the air by --set background=WIDTH, or keep all views by views=keep"
        )
    return bad


def _noise_of(views: np.ndarray) -> float:
    """Return the standard deviation of the noise of a pixel, from differences along both axes, where most cancels."""
    mixed = np.diff(np.diff(views, axis=0), axis=1)
    return float(NORMAL_MAD * np.median(abs(mixed)) / 2) if mixed.size else 0.0


def equal_totals(sinogram: np.ndarray) -> np.ndarray:
    """Scale all views of a sinogram to the same total, their median.

    The mass of an object does not depend on the angle. Valid if it lies within the field of view in all
    views. Views of zeros are kept.

    Args:
        sinogram: (..., angle, detector), after the logarithm and the subtraction of the background.

    Raises:
        ValueError: a total is negative, so that no factor makes it equal to the others.
    """
    totals = sinogram.sum(axis=-1, keepdims=True, dtype=np.float64)
    if (totals < 0).any() or not totals.any():
        raise ValueError(f"totals of views reach {totals.min():.4g}; all must be positive; subtract less background")
    measured = np.where(totals > 0, totals, np.nan)
    factor = np.nanmedian(measured, axis=-2, keepdims=True) / np.where(totals > 0, totals, 1)
    return np.asarray(sinogram * np.where(totals > 0, factor, 1), sinogram.dtype)


def ring_columns(sinogram: np.ndarray, size: int) -> np.ndarray:
    """Subtract from each column the deviation of its mean over the views from the median of neighbouring columns.

    Removes rings of full circles with the same strength in all views. The mean of a column is the projection of the
    object's rotational average, so sharp circular features about the axis are weakened, too.

    Args:
        sinogram: (..., angle, detector).
        size: number of columns of the median filter, wider than the widest ring.
    """
    means = sinogram.mean(axis=-2, keepdims=True, dtype=np.float64)
    smooth = median_filter(means, size=(*[1] * (means.ndim - 1), size), mode="nearest")
    return np.asarray(sinogram - (means - smooth), sinogram.dtype)


def ring_sorting(sinogram: np.ndarray, size: int) -> np.ndarray:
    """Remove rings by sorting: columns sorted by value are smoothed across the detector, and the order is restored.

    Sorting aligns equal levels of neighbouring columns, so a median filter over the detector changes stripes and
    hardly anything else; also partial rings, and those whose strength depends on the counts.
    Source: Vo et al., Opt. Express 26 (2018) 28396, algorithm 3.

    Args:
        sinogram: (..., angle, detector).
        size: number of columns of the median filter, wider than the widest ring.
    """
    order = np.argsort(sinogram, axis=-2, kind="stable")
    levels = np.take_along_axis(sinogram, order, axis=-2)
    smooth = median_filter(levels, size=(*[1] * (levels.ndim - 1), size), mode="nearest")
    result = np.empty_like(sinogram)
    np.put_along_axis(result, order, smooth, axis=-2)
    return result


RINGS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"sorting": ring_sorting, "columns": ring_columns}


def remove_rings(sinogram: np.ndarray, method: str, size: int = RING_WIDTH) -> np.ndarray:
    """Remove rings, which are stripes along the views of a sinogram.

    No method suits all rings: `columns` removes stripes that are equal in all views, and touches nothing else but
    features about the axis; `sorting` removes partial stripes, too, and blurs fine detail a little.

    Args:
        sinogram: (..., angle, detector), after the logarithm.
        method: a name of RINGS.
        size: number of columns of the median filter, wider than the widest ring.

    Raises:
        ValueError: there is no such method.
    """
    if method not in RINGS:
        raise ValueError(f"rings = {method!r}: no such method; choose one of {', '.join(RINGS)}")
    return RINGS[method](sinogram, size)
