"""The projections of `physics.tomography` in networks, differentiable with respect to image and sinogram.

The functions take the fields that describe rays (`RAYS`), which may differ from sample to sample, and the lengths of
the dimensions of sinogram and image. Rows of sinograms that were not measured are 0, and do not count.

On a CPU they call the compiled code of `physics`, which takes a tenth of the time of the same sums in XLA. On other
devices, and on several, `project` and its transpose are sums in XLA; filtered back projection goes through the host.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import linear_call

from training.contract import Array, Arrays, Sizes

RAYS = ("angle", "measured", "axis_offset", "pitch", "source_distance")
TIE = 1e-5  # as in physics.tomography.projection

type Run = Callable[..., np.ndarray]


def project(image: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Integrate images along rays (`physics.tomography.projection.project`).

    Args:
        image: (sample, y, x).
        fields: `RAYS`.
        sizes: lengths of the dimensions.

    Returns:
        (sample, view, detector), 0 in views that were not measured.
    """
    return _linear(_sums(sizes), _sums(sizes, backwards=True), fields, image)


def back_project(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Spread sinograms (sample, view, detector) along their rays, to images (sample, y, x): the transpose of `project`.

    Args:
        sinogram: (sample, view, detector).
        fields: `RAYS`.
        sizes: lengths of the dimensions.
    """
    return _linear(_sums(sizes, backwards=True), _sums(sizes), fields, sinogram)


def filtered_back_projection(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Reconstruct images (sample, y, x) from sinograms (sample, view, detector), with the window of Hann.

    The window ends at the highest frequency that the pixels of both the detector and the image can hold.

    Args:
        sinogram: (sample, view, detector).
        fields: `RAYS`.
        sizes: lengths of the dimensions.
    """
    there, back = (partial(_on_host, name, sizes) for name in ("inverse", "inverse_adjoint"))
    return _linear(there, back, fields, sinogram)


def _linear(there: Callable[..., Array], back: Callable[..., Array], fields: Arrays, values: Array) -> Array:
    """Apply a linear function of `values` whose transpose is known."""
    rays = tuple(fields[name] for name in RAYS)
    made: Array = linear_call(lambda r, x: there(x, *r), lambda r, x: back(x, *r), rays, values.astype(jnp.float32))
    return made


def _sums(sizes: Sizes, *, backwards: bool = False) -> Callable[..., Array]:
    """Return `project` or its transpose, as a function of values and rays."""
    host = partial(_on_host, "back_project" if backwards else "project", sizes)
    device = partial(_back_project_on_device if backwards else _project_on_device, sizes)
    if jax.device_count() > 1:
        return device
    return lambda x, *rays: jax.lax.platform_dependent(x, *rays, cpu=host, default=device)


def _on_host(name: str, sizes: Sizes, values: Array, *rays: Array) -> Array:
    """Call a function of `physics` outside of XLA, by its name in `_run_on_host`."""
    dims = ("view", "detector") if name in ("project", "inverse_adjoint") else ("y", "x")
    shape = (len(values), *(sizes[dim] for dim in dims))
    run = partial(_run_on_host, name, dict(sizes))
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    made: Array = jax.pure_callback(run, result, values, *rays, vmap_method="sequential")
    return made


def _run_on_host(name: str, sizes: Sizes, *arrays: Array) -> np.ndarray:
    """Call a function of `physics` for the samples with the same rays; arrays are values and `RAYS`."""
    from physics.tomography import filtered_back_projection as fbp  # compiled code, needed on CPUs alone
    from physics.tomography import projection
    from physics.tomography.geometry import samples_by_rays

    shape = sizes["y"], sizes["x"]
    functions: dict[str, Callable[..., np.ndarray]] = {
        "project": lambda f, rays, known: projection.project(f, rays) * known[..., None],
        "back_project": lambda p, rays, known: projection.back_project(p * known[..., None], rays, shape),
        "inverse": lambda p, rays, known: fbp.filtered_back_projection(
            p, rays, shape, window="hann", cutoff=min(1, rays.pitch), measured=known
        ),
        "inverse_adjoint": lambda f, rays, known: fbp.filtered_back_projection_adjoint(
            f, rays, window="hann", cutoff=min(1, rays.pitch), measured=known
        ),
    }
    values, *rays = (np.asarray(array) for array in arrays)
    to_sinogram = name in ("project", "inverse_adjoint")
    made = np.zeros((len(values), *((sizes["view"], sizes["detector"]) if to_sinogram else shape)), np.float32)
    for rows, seen, geometry, known in samples_by_rays(sizes["detector"], *rays):
        if to_sinogram:
            made[np.ix_(rows, np.flatnonzero(seen))] = functions[name](values[rows], geometry, known)
        else:
            made[rows] = functions[name](np.ascontiguousarray(values[rows][:, seen]), geometry, known)
    return made


def _project_on_device(sizes: Sizes, image: Array, *rays: Array) -> Array:
    """Integrate images along rays, sample by sample, as `physics.tomography.projection` does."""
    return jax.vmap(partial(_project_one, sizes["detector"]))(image, *rays)


def _back_project_on_device(sizes: Sizes, sinogram: Array, *rays: Array) -> Array:
    images = jax.ShapeDtypeStruct((len(sinogram), sizes["y"], sizes["x"]), jnp.float32)
    transpose = jax.linear_transpose(lambda image: _project_on_device(sizes, image, *rays), images)
    made: Array = transpose(sinogram)[0]
    return made


def _project_one(
    detectors: int,
    image: Array,
    angle: Array,
    measured: Array,
    axis_offset: Array,
    pitch: Array,
    source_distance: Array,
) -> Array:
    """Integrate one image along its rays. A ray is followed from row to row of the image, or of its transpose."""
    ny, nx = image.shape
    size = max(ny, nx)
    u = (jnp.arange(detectors) - (detectors - 1) / 2 - axis_offset) * pitch
    fan = jnp.where(source_distance > 0, jnp.arctan2(u, jnp.where(source_distance > 0, source_distance, 1)), 0)
    turn = angle[:, None] - fan
    s = jnp.broadcast_to(u * jnp.cos(fan), turn.shape)
    cosine, sine = jnp.cos(turn), jnp.sin(turn)
    steep = abs(cosine) >= abs(sine) * (1 - TIE)
    along, across = jnp.where(steep, cosine, sine), jnp.where(steep, sine, cosine)
    rows, columns = jnp.where(steep, ny, nx), jnp.where(steep, nx, ny)
    start = (s + (rows - 1) / 2 * across) / along + (columns - 1) / 2
    border = ((0, size - ny), (1, size - nx + 1)), ((0, size - nx), (1, size - ny + 1))
    both = jnp.stack([jnp.pad(image, border[0]), jnp.pad(image.T, border[1])]).reshape(-1)
    first = jnp.where(steep, 0, size * (size + 2))

    def add_row(row: Array, sums: Array) -> Array:
        position = start - row * across / along + 1
        inside = (position > 0) & (position < columns + 1) & (row < rows)
        left = jnp.clip(position.astype(jnp.int32), 0, size)
        weight, place = position - left, first + row * (size + 2) + left
        return sums + jnp.where(inside, (1 - weight) * both[place] + weight * both[place + 1], 0)

    # A loop of fixed length becomes a scan, which can be transposed.
    sums = jax.lax.fori_loop(0, size, add_row, jnp.zeros(turn.shape, jnp.float32))
    made: Array = sums / abs(along) * (measured != 0)[:, None]
    return made
