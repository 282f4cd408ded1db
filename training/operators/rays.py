"""The projections of `physics.tomography` in networks, differentiable with respect to image and sinogram.

The functions take the fields that describe rays (`RAYS`), which may differ from sample to sample, and the lengths of
the dimensions of sinogram and image. Rows of sinograms that were not measured are 0, and do not count.

On a CPU they call the compiled code of `physics`, which takes a tenth of the time of the same sums in XLA. On other
devices, and on several, everything is computed in XLA.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import linear_call

from training.contract import Array, Arrays, Sizes
from training.operators.ray_weights import weigh

RAYS = ("angle", "measured", "axis_offset", "pitch", "source_distance")
TIE = 1e-5  # as in physics.tomography.projection
UNROLL = 8  # rows or views that one pass over the sums takes on a device

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
    return _linear("project", "back_project", fields, sizes, image)


def back_project(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Spread sinograms (sample, view, detector) along their rays, to images (sample, y, x): the transpose of `project`.

    Args:
        sinogram: (sample, view, detector).
        fields: `RAYS`.
        sizes: lengths of the dimensions.
    """
    return _linear("back_project", "project", fields, sizes, sinogram)


def filtered_back_projection(sinogram: Array, fields: Arrays, sizes: Sizes) -> Array:
    """Reconstruct images (sample, y, x) from sinograms (sample, view, detector), with the window of Hann.

    The window ends at the highest frequency that the pixels of both the detector and the image can hold.

    Args:
        sinogram: (sample, view, detector).
        fields: `RAYS`.
        sizes: lengths of the dimensions.
    """
    return _linear("inverse", "inverse_adjoint", fields, sizes, sinogram)


def _linear(name: str, transposed: str, fields: Arrays, sizes: Sizes, values: Array) -> Array:
    """Apply a linear function of `values` whose transpose is known, both by their names in `_function`."""
    there, back = _function(name, sizes), _function(transposed, sizes)
    rays = tuple(fields[name] for name in RAYS)
    made: Array = linear_call(lambda r, x: there(x, *r), lambda r, x: back(x, *r), rays, values.astype(jnp.float32))
    return made


def _function(name: str, sizes: Sizes) -> Callable[..., Array]:
    """Return a function of values and rays, for the device that runs it."""
    host = partial(_on_host, name, sizes)
    if name == "inverse_adjoint":
        device = partial(_transpose, _invert_on_device, sizes, name)
    else:
        sums = {"project": _project_on_device, "back_project": _back_project_on_device, "inverse": _invert_on_device}
        device = partial(sums[name], sizes)
    if jax.device_count() > 1:
        return device
    return lambda x, *rays: jax.lax.platform_dependent(x, *rays, cpu=host, default=device)


def _transpose(function: Callable[..., Array], sizes: Sizes, name: str, values: Array, *rays: Array) -> Array:
    """Apply the transpose of a function on the device, whose argument has the shape of the result of `name`."""
    argument = jax.ShapeDtypeStruct(_shape(name, sizes, len(values)), jnp.float32)
    made: Array = jax.linear_transpose(lambda x: function(sizes, x, *rays), argument)(values)[0]
    return made


def _shape(name: str, sizes: Sizes, samples: int) -> tuple[int, ...]:
    """Return the shape of the result of a function."""
    dims = ("view", "detector") if name in ("project", "inverse_adjoint") else ("y", "x")
    return samples, *(sizes[dim] for dim in dims)


def _on_host(name: str, sizes: Sizes, values: Array, *rays: Array) -> Array:
    """Call a function of `physics` outside of XLA, by its name in `_run_on_host`."""
    run = partial(_run_on_host, name, dict(sizes))
    result = jax.ShapeDtypeStruct(_shape(name, sizes, len(values)), jnp.float32)
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
    made = np.zeros(_shape(name, sizes, len(values)), np.float32)
    for rows, seen, geometry, known in samples_by_rays(sizes["detector"], *rays):
        if to_sinogram:
            made[np.ix_(rows, np.flatnonzero(seen))] = functions[name](values[rows], geometry, known)
        else:
            made[rows] = functions[name](np.ascontiguousarray(values[rows][:, seen]), geometry, known)
    return made


@dataclass(frozen=True)
class Lines:
    """Rays as lines, each followed from row to row of the image, or of its transpose if that crosses more columns.

    A ray meets row r at column `start - r slope`, and shares its value between the two pixels beside that place. Arrays
    are (sample, view, detector).
    """

    steep: Array
    """True where rows are those of the image, not of its transpose."""
    start: Array
    slope: Array
    step: Array
    """Length of the ray within a row [pixel], 0 in views that were not measured."""


def _lines(sizes: Sizes, rays: tuple[Array, ...]) -> Lines:
    """Return the rays of samples as lines on their images."""
    angle, measured, *geometry = (array.reshape(len(array), -1, 1) for array in rays)
    axis_offset, pitch, source_distance = geometry
    detectors, ny, nx = (sizes[dim] for dim in ("detector", "y", "x"))
    u = (jnp.arange(detectors) - (detectors - 1) / 2 - axis_offset) * pitch
    fan = jnp.where(source_distance > 0, jnp.arctan2(u, jnp.where(source_distance > 0, source_distance, 1)), 0)
    cosine, sine = jnp.cos(angle - fan), jnp.sin(angle - fan)
    steep = abs(cosine) >= abs(sine) * (1 - TIE)
    along, across = jnp.where(steep, cosine, sine), jnp.where(steep, sine, cosine)
    rows, columns = jnp.where(steep, ny, nx), jnp.where(steep, nx, ny)
    start = (u * jnp.cos(fan) + (rows - 1) / 2 * across) / along + (columns - 1) / 2
    return Lines(steep, start, across / along, (measured != 0) / abs(along))


def _project_on_device(sizes: Sizes, image: Array, *rays: Array) -> Array:
    """Integrate images along rays, as `physics.tomography.projection` does."""
    lines = _lines(sizes, rays)
    ny, nx = sizes["y"], sizes["x"]
    size = max(ny, nx)
    rows, columns = jnp.where(lines.steep, ny, nx), jnp.where(lines.steep, nx, ny)
    border = ((0, 0), (0, size - ny), (1, size - nx + 1)), ((0, 0), (0, size - nx), (1, size - ny + 1))
    both = jnp.stack([jnp.pad(image, border[0]), jnp.pad(image.swapaxes(1, 2), border[1])], axis=1).reshape(-1)
    images = jnp.arange(len(image)).reshape(-1, 1, 1) * 2 + jnp.where(lines.steep, 0, 1)
    first = images * (size * (size + 2))

    def add_row(row: Array, sums: Array) -> Array:
        position = lines.start - row * lines.slope + 1
        inside = (position > 0) & (position < columns + 1) & (row < rows)
        left = jnp.clip(position.astype(jnp.int32), 0, size)
        weight, place = position - left, first + row * (size + 2) + left
        return sums + jnp.where(inside, (1 - weight) * both[place] + weight * both[place + 1], 0)

    sums: Array = jax.lax.fori_loop(0, size, add_row, jnp.zeros(lines.start.shape, jnp.float32), unroll=UNROLL)
    return lines.step * sums


def _back_project_on_device(sizes: Sizes, sinogram: Array, *rays: Array) -> Array:
    """Gather, for each pixel, the rays that `_project_on_device` lets pass through it.

    In a view, these are the rays nearest to the one through its centre, as many on each side as there are in a pixel.
    """
    lines = _lines(sizes, rays)
    detectors = sizes["detector"]
    y, x = jnp.arange(sizes["y"], dtype=jnp.float32)[:, None], jnp.arange(sizes["x"], dtype=jnp.float32)
    table = jnp.stack([lines.start, lines.slope, lines.step * sinogram, lines.steep.astype(jnp.float32)], axis=-1)

    def take(line: Array, ray: Array) -> Array:
        """Return what pixels (y, x) receive from one ray of a view each; line is (detector, 4)."""
        start, slope, value, steep = jnp.moveaxis(line[jnp.clip(ray, 0, detectors - 1)], -1, 0)
        row, column = jnp.where(steep > 0, y, x), jnp.where(steep > 0, x, y)
        weight = jnp.maximum(1 - abs(start - row * slope - column), 0)
        return jnp.where((ray >= 0) & (ray < detectors), weight * value, 0)

    def take_pair(pair: Array, image: Array) -> Array:
        """Add the rays that are the `pair`-th ones on both sides."""

        def add_view(image: Array, view: tuple[Array, Array]) -> tuple[Array, None]:
            angle, line = view
            below = jnp.floor(jax.vmap(partial(_position, sizes))(angle, *rays[2:])[0]).astype(jnp.int32)
            return image + jax.vmap(take)(line, below - pair) + jax.vmap(take)(line, below + 1 + pair), None

        views = rays[0].swapaxes(0, 1), table.swapaxes(0, 1)
        return jax.lax.scan(add_view, image, views, unroll=UNROLL)[0]

    image = jnp.zeros((len(sinogram), sizes["y"], sizes["x"]), jnp.float32)
    made: Array = jax.lax.fori_loop(0, _rays_per_side(sizes, *rays[2:]), take_pair, image)
    return made


def _rays_per_side(sizes: Sizes, axis_offset: Array, pitch: Array, source_distance: Array) -> Array:
    """Return the most rays that meet a pixel on one side of the ray through its centre, in any of the samples.

    The projection of a pixel onto the detector is enlarged most in the corner that is nearest to the source, and by the
    slant of the outermost ray.
    """
    near = jnp.where(source_distance > 0, 1 / jnp.where(source_distance > 0, source_distance, 1), 0)
    corner = (sizes["y"] ** 2 + sizes["x"] ** 2) ** 0.5 / 2 + 1
    end = ((sizes["detector"] - 1) / 2 + abs(axis_offset)) * pitch
    enlarged = jnp.sqrt(1 + (end * near) ** 2) / jnp.maximum(1 - corner * near, 1 / sizes["detector"])
    return jnp.clip(jnp.ceil(enlarged / pitch), 1, sizes["detector"]).max().astype(jnp.int32)


def _position(
    sizes: Sizes, angle: Array, axis_offset: Array, pitch: Array, source_distance: Array
) -> tuple[Array, Array]:
    """Return where the rays through pixels (y, x) meet the detector [detector pixel], and their magnification."""
    y, x = (jnp.arange(sizes[dim]) - (sizes[dim] - 1) / 2 for dim in ("y", "x"))
    nearness = jnp.where(source_distance > 0, 1 / jnp.where(source_distance > 0, source_distance, 1), 0)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    magnified = 1 / (1 + (y[:, None] * cosine - x * sine) * nearness)
    middle = (sizes["detector"] - 1) / 2 + axis_offset
    return (x * cosine + y[:, None] * sine) * magnified / pitch + middle, magnified


def _invert_on_device(sizes: Sizes, sinogram: Array, *rays: Array) -> Array:
    """Reconstruct images as `physics.tomography.filtered_back_projection` does, sample by sample."""
    return jax.vmap(partial(_invert_one, sizes))(sinogram * weigh(sizes, *rays), *rays)


def _invert_one(
    sizes: Sizes,
    weighted: Array,
    angle: Array,
    measured: Array,
    axis_offset: Array,
    pitch: Array,
    source_distance: Array,
) -> Array:
    """Filter a weighted sinogram, and spread it view by view."""
    from physics.tomography.filtered_back_projection import ramp

    detectors = sizes["detector"]
    size = 4 * detectors  # filtered projections reach up to a width of the detector beyond its ends
    frequency = jnp.arange(size // 2 + 1) / (size / 2) / jnp.minimum(pitch, 1)
    window = jnp.where(frequency <= 1, (1 + jnp.cos(jnp.pi * frequency)) / 2, 0)
    factor = jnp.asarray(ramp(size), jnp.float32) / pitch * window
    filtered = jnp.fft.irfft(jnp.fft.rfft(weighted, size, axis=-1) * factor, size, axis=-1)
    border = jnp.ceil(2 * abs(axis_offset))

    def add_view(image: Array, view: tuple[Array, Array]) -> tuple[Array, None]:
        turn, line = view
        position, magnified = _position(sizes, turn, axis_offset, pitch, source_distance)
        inside = (position >= -border) & (position <= detectors - 1 + border) & (magnified > 0)
        left = jnp.floor(position).astype(jnp.int32)
        weight = position - left
        between = (1 - weight) * line[left % size] + weight * line[(left + 1) % size]
        return image + jnp.where(inside, between * magnified**2, 0), None

    image, _ = jax.lax.scan(
        add_view, jnp.zeros((sizes["y"], sizes["x"]), jnp.float32), (angle, filtered), unroll=UNROLL
    )
    return image
