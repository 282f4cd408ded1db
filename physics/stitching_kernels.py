"""Kernels that combine many small, overlapping patches into one image; each patch has an unknown constant.

    u(x) = sum_i w_i(x) (a_i(x) + o_i) / W(x),   W(x) = sum_i w_i(x)

    values  a_i   (patch, y, x), any unit; the first pixel of patch i lies at corner[i] of the image
    weight  w_i   >= 0, (patch, y, x), or (1, y, x) if all patches have the same
    corner        (patch, 2), the (y, x) of the first pixel of each patch; whole patches lie in the image
    offset  o_i   (patch,), the constants

`spread` and `collect` are adjoint: sum_x spread(o)(x) v(x) = sum_i o_i collect(v)_i. The overlaps couple the offsets by
diag(sum_x w_i) - collect(spread(.) / W), which a constant offset of all patches does not change.
"""

import numpy as np

from physics.compiled import compiled

FIXED_POINT_ONE = 2.0**32  # the integer that represents 1 in `accumulate`
MAX_MODULUS = 2.0**15  # of a value a: 2^16 patches may then overlap before a sum exceeds 63 bits


@compiled
def accumulate(values: np.ndarray, weight: np.ndarray, corner: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Add w_i a_i of each patch to the image `total`, in place.

    Integers have the same sum in any order, so the image has the same bits, however the patches are ordered or read. A
    patch is left out if a pixel with w_i > 0 is not a number, or has a modulus above MAX_MODULUS.

    Args:
        values: a_i (patch, y, x).
        weight: w_i (patch, y, x) or (1, y, x).
        corner: (patch, 2).
        total: int64 (y, x), in units of 1 / FIXED_POINT_ONE; changed in place.

    Returns:
        The sums over x of w_i a_i and of w_i a_i^2, (patch, 2); NaN for patches that were left out.
    """
    patches, ny, nx = values.shape
    sums = np.zeros((patches, 2))
    for i in range(patches):
        w = weight[min(i, len(weight) - 1)]
        for y in range(ny):
            for x in range(nx):
                if w[y, x] > 0:
                    a = np.float64(values[i, y, x]) if abs(values[i, y, x]) <= MAX_MODULUS else np.nan
                    sums[i, 0] += w[y, x] * a
                    sums[i, 1] += w[y, x] * a * a
        if not np.isnan(sums[i, 0]):
            for y in range(ny):
                row = total[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
                for x in range(nx):
                    if w[y, x] > 0:
                        row[x] += np.int64(np.rint(w[y, x] * np.float64(values[i, y, x]) * FIXED_POINT_ONE))
    return sums


@compiled
def spread(offset: np.ndarray, weight: np.ndarray, corner: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Add sum_i w_i(x) o_i to an image in place.

    Args:
        offset: o_i (patch,).
        weight: w_i (patch, y, x) or (1, y, x).
        corner: (patch, 2).
        image: (y, x), changed in place.

    Returns:
        The image.
    """
    _, ny, nx = weight.shape
    for i in range(len(offset)):
        w = weight[min(i, len(weight) - 1)]
        for y in range(ny):
            row = image[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
            for x in range(nx):
                row[x] += w[y, x] * offset[i]
    return image


@compiled
def collect(image: np.ndarray, weight: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Sum an image over each patch, with the weights of the patch: sum_x w_i(x) v(x).

    Args:
        image: v (y, x).
        weight: w_i (patch, y, x) or (1, y, x).
        corner: (patch, 2).

    Returns:
        One sum per patch, (patch,).
    """
    _, ny, nx = weight.shape
    sums = np.empty(len(corner))
    for i in range(len(corner)):
        w = weight[min(i, len(weight) - 1)]
        columns = np.zeros(nx)  # one sum per column, so that the compiler can add several at once
        for y in range(ny):
            row = image[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
            for x in range(nx):
                columns[x] += w[y, x] * row[x]
        sums[i] = columns.sum()
    return sums


@compiled
def link(weight: np.ndarray, corner: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Find the groups of patches that are linked by chains of overlaps; two patches overlap where both have weight.

    Args:
        weight: w_i (patch, y, x) or (1, y, x).
        corner: (patch, 2).
        owner: int64 (y, x), filled with -1; it becomes the first patch at each pixel.

    Returns:
        The first patch of each patch's group, (patch,).
    """
    _, ny, nx = weight.shape
    parent = np.arange(len(corner))
    for i in range(len(corner)):
        w = weight[min(i, len(weight) - 1)]
        joined = i  # neighbouring pixels mostly have the same first patch
        for y in range(ny):
            row = owner[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
            for x in range(nx):
                if w[y, x] > 0:
                    if row[x] < 0:
                        row[x] = i
                    if row[x] != joined:
                        joined = row[x]
                        _join_groups(parent, i, joined)
    for i in range(len(corner)):
        parent[i] = _find_root(parent, i)
    return parent


@compiled
def _join_groups(parent: np.ndarray, i: int, j: int) -> None:
    """Attach the later root of the two patches to the earlier one."""
    a, b = _find_root(parent, i), _find_root(parent, j)
    parent[max(a, b)] = min(a, b)


@compiled
def _find_root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def relax(
    values: np.ndarray, mask: np.ndarray, corner: np.ndarray, order: np.ndarray, alpha: float, image: np.ndarray
) -> None:
    """Sweep once over the patches in the given order and update the image u in place, within the mask M of each:

        u <- u + alpha (b - u + <u>_M) M,   b = a - <a>_M

    A later patch sees the changes by earlier ones, so the result depends on the order.

    Args:
        values: a (patch, y, x), all finite.
        mask: M, bool, (patch, y, x) or (1, y, x).
        corner: (patch, 2).
        order: (patch,), the indices of the patches.
        alpha: step size, 0 to 1.
        image: u (y, x), changed in place.

    Source: the stitching of Deep Learning Electron Diffractive Imaging (Phys. Rev. Lett. 130, 016101), published as
    deep-phase-imaging.
    """
    _, ny, nx = values.shape
    for i in order:
        m = mask[min(i, len(mask) - 1)]
        window = image[corner[i, 0] : corner[i, 0] + ny, corner[i, 1] : corner[i, 1] + nx]
        count, difference = 0, 0.0
        for y in range(ny):
            for x in range(nx):
                if m[y, x]:
                    count += 1
                    difference += window[y, x] - values[i, y, x]
        mean = difference / max(count, 1)
        for y in range(ny):
            for x in range(nx):
                if m[y, x]:
                    window[y, x] += alpha * (values[i, y, x] - window[y, x] + mean)
