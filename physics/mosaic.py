"""Many small patches of one image, laid over one another on its grid; each is known up to a constant of its own.

    u(x) = sum_i w_i(x) (a_i(x) + o_i) / W(x),   W(x) = sum_i w_i(x)

values  a_i: (patch, y, x), any unit; the first pixel of patch i lies at corner[i].
weight  w_i >= 0: (patch, y, x), or (1, y, x) if it is that of all patches.
corner  (patch, 2): y, x of a patch's first pixel in the image; the whole patch lies in the image.

`spread` and `collect` are adjoint: sum_x spread(o)(x) v(x) = sum_i o_i collect(v)_i. The overlaps couple offsets by
diag(sum_x w_i) - collect(spread(.) / W), which no constant offset of all patches changes.
"""

import numpy as np

from physics.compiled import compiled

ONE = 2.0**32  # what stands for 1 in `add`
LARGEST = 2.0**15  # of |a|: then 2^16 patches may lie over one another before a sum exceeds 63 bits


@compiled
def add(values: np.ndarray, weight: np.ndarray, corner: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Add w_i a_i to the image `total`; returns sum_x of w_i a_i and w_i a_i^2, (patch, 2), NaN for patches left out.

    total: int64, in units of 1 / ONE: integers have the same sum in any order, so the image has the same bits, however
    patches are ordered or read. Left out are patches that hold no number, or a modulus above LARGEST, where w_i > 0.
    """
    patches, ny, nx = values.shape
    sums = np.zeros((patches, 2))
    for i in range(patches):
        w = weight[min(i, len(weight) - 1)]
        for y in range(ny):
            for x in range(nx):
                if w[y, x] > 0:
                    a = np.float64(values[i, y, x]) if abs(values[i, y, x]) <= LARGEST else np.nan
                    sums[i, 0] += w[y, x] * a
                    sums[i, 1] += w[y, x] * a * a
        if not np.isnan(sums[i, 0]):
            for y in range(ny):
                row = total[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
                for x in range(nx):
                    if w[y, x] > 0:
                        row[x] += np.int64(np.rint(w[y, x] * np.float64(values[i, y, x]) * ONE))
    return sums


@compiled
def spread(offset: np.ndarray, weight: np.ndarray, corner: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Add sum_i w_i(x) o_i to the image (y, x), which is returned. offset: (patch,)."""
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
    """sum_x w_i(x) v(x) for each patch, (patch,), of an image v (y, x)."""
    _, ny, nx = weight.shape
    found = np.empty(len(corner))
    for i in range(len(corner)):
        w = weight[min(i, len(weight) - 1)]
        columns = np.zeros(nx)  # a sum for each: the compiler may then add several at once
        for y in range(ny):
            row = image[corner[i, 0] + y, corner[i, 1] : corner[i, 1] + nx]
            for x in range(nx):
                columns[x] += w[y, x] * row[x]
        found[i] = columns.sum()
    return found


@compiled
def link(weight: np.ndarray, corner: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """For each patch, (patch,), the first patch that it is linked to by a chain of overlaps.

    Two patches overlap where both have weight. owner: int64 (y, x), of -1; becomes the first patch at each pixel.
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
                        _join(parent, i, joined)
    for i in range(len(corner)):
        parent[i] = _root(parent, i)
    return parent


@compiled
def _join(parent: np.ndarray, i: int, j: int) -> None:
    """The later root of the two hangs below the earlier one."""
    a, b = _root(parent, i), _root(parent, j)
    parent[max(a, b)] = min(a, b)


@compiled
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def relax(
    values: np.ndarray, mask: np.ndarray, corner: np.ndarray, order: np.ndarray, alpha: float, image: np.ndarray
) -> None:
    """One sweep over the patches in this order, on the image u (y, x) in place, within the mask M of each:

    u <- u + alpha (b - u + <u>_M) M,   b = a - <a>_M

    values: (patch, y, x), numbers all. mask: bool, (patch, y, x) or (1, y, x). alpha: 0..1. order: (patch,).
    A later patch sees what an earlier one has left: the result depends on the order. Source: the stitching of
    Deep Learning Electron Diffractive Imaging (Phys. Rev. Lett. 130, 016101), published as deep-phase-imaging.
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
