"""Classical methods that reconstruct images from sinograms, and the report of the task.

Samples with the same rays are reconstructed together. Rows of the sinogram that were not measured are left out.
"""

from collections.abc import Callable, Mapping

import numpy as np
from skimage.filters import threshold_otsu

from inference.contract import Arrays, Method, Report, Setting, Shown
from physics.tomography import iterative
from physics.tomography.filtered_back_projection import WINDOWS, filtered_back_projection
from physics.tomography.geometry import Geometry, samples_by_rays
from physics.tomography.gridding import gridding_reconstruction
from physics.tomography.iterative import Known, Projector
from physics.tomography.projection import back_project, project

RAYS = ("angle", "measured", "axis_offset", "pitch", "source_distance")
NEEDS = ("sinogram", *RAYS, "field_of_view")
VERSION = 3  # of all methods; since 3, weights of repeated views, of fans and of total variation are others
BATCH = 32  # images that are reconstructed together


def _reconstruct(
    fields: Arrays, solve: Callable[[np.ndarray, Geometry, np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Return image and mask (sample, y, x).

    Args:
        fields: fields of a block of samples.
        solve: function of some sinograms, their rays, and the mask (sample, view) of the views that were measured.
    """
    view = fields["field_of_view"]
    images = np.zeros((len(fields["sinogram"]), *view.shape), np.float32)
    detectors = fields["sinogram"].shape[-1]
    for rows, seen, geometry, known in samples_by_rays(detectors, *(fields[name] for name in RAYS)):
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            sinograms = np.ascontiguousarray(fields["sinogram"][rows[part]][:, seen])
            images[rows[part]] = solve(sinograms, geometry, known[part]) * view
    return {"image": images, "mask": np.stack([otsu_mask(image, view != 0) for image in images])}


def otsu_mask(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return 1 where an image (y, x) is above the threshold of Otsu (1979) of the pixels inside, else 0: uint8."""
    if not inside.any() or not np.ptp(image[inside]) > 0:
        return np.zeros(image.shape, np.uint8)
    threshold = float(threshold_otsu(image[inside]))  # type: ignore[no-untyped-call]
    made: np.ndarray = ((image > threshold) & inside).astype(np.uint8)
    return made


def _known(fields: Arrays, positive: str) -> Known:
    return Known(positive=positive == "yes", support=fields["field_of_view"] != 0)


def _projector(fields: Arrays, geometry: Geometry, measured: np.ndarray) -> Projector:
    shape = fields["field_of_view"].shape
    weights = measured[..., None]
    return Projector(lambda f: project(f, geometry), lambda p: back_project(p, geometry, shape), weights)


def fbp(fields: Arrays, *, window: str, cutoff: float, positive: str) -> dict[str, np.ndarray]:
    """Reconstruct by `physics.tomography.filtered_back_projection`.

    Args:
        fields: fields of a block of samples.
        window: key of `WINDOWS`.
        cutoff: where the window ends, relative to the Nyquist frequency.
        positive: "yes": negative values become 0.
    """
    return _reconstruct_directly(filtered_back_projection, fields, window, cutoff, positive)


def gridding(fields: Arrays, *, window: str, cutoff: float, positive: str) -> dict[str, np.ndarray]:
    """Reconstruct by `physics.tomography.gridding`, with the arguments of `fbp`."""
    return _reconstruct_directly(gridding_reconstruction, fields, window, cutoff, positive)


def _reconstruct_directly(
    invert: Callable[..., np.ndarray], fields: Arrays, window: str, cutoff: float, positive: str
) -> dict[str, np.ndarray]:
    shape, known = fields["field_of_view"].shape, _known(fields, positive)

    def solve(sinograms: np.ndarray, rays: Geometry, measured: np.ndarray) -> np.ndarray:
        image: np.ndarray = known(invert(sinograms, rays, shape, window=window, cutoff=cutoff, measured=measured))
        return image

    return _reconstruct(fields, solve)


def sirt(fields: Arrays, *, iterations: float, positive: str) -> dict[str, np.ndarray]:
    """Reconstruct by `physics.tomography.iterative.sirt`.

    Args:
        fields: fields of a block of samples.
        iterations: number of iterations.
        positive: "yes": the image is not negative.
    """
    known = _known(fields, positive)
    return _reconstruct(fields, lambda p, *rays: iterative.sirt(p, _projector(fields, *rays), int(iterations), known))


def cgls(fields: Arrays, *, iterations: float, positive: str) -> dict[str, np.ndarray]:
    """Reconstruct by `physics.tomography.iterative.cgls`, with the arguments of `sirt`."""
    known = _known(fields, positive)
    return _reconstruct(fields, lambda p, *rays: iterative.cgls(p, _projector(fields, *rays), int(iterations), known))


def total_variation(fields: Arrays, *, weight: float, iterations: float, positive: str) -> dict[str, np.ndarray]:
    """Reconstruct by `physics.tomography.iterative.total_variation`.

    Args:
        fields: fields of a block of samples.
        weight: weight of the total variation for one view. It grows with the square root of the number of measured
            views, as the noise in the gradient of the misfit does.
        iterations: number of iterations.
        positive: "yes": the image is not negative.
    """
    known = _known(fields, positive)

    def solve(sinograms: np.ndarray, rays: Geometry, measured: np.ndarray) -> np.ndarray:
        by_sample = weight * np.sqrt(measured.sum(axis=1))[:, None, None]
        found: np.ndarray = iterative.total_variation(
            sinograms, _projector(fields, rays, measured), int(iterations), by_sample, known
        )
        return found

    return _reconstruct(fields, solve)


POSITIVE = Setting("the image is not negative", "1", ("yes", "no"))
RAMP = {
    "window": Setting("window of the ramp", "1", tuple(WINDOWS)),
    "cutoff": Setting("where the window ends", "Nyquist frequency", (0.3, 0.5, 0.7, 1.0), 0.01, 1),
}
METHODS: Mapping[str, Method] = {
    "fbp": Method(
        about="filtered back projection (Kak and Slaney 1988)",
        needs=NEEDS,
        solve=fbp,
        version=VERSION,
        settings=RAMP | {"positive": POSITIVE},
    ),
    "gridding": Method(
        about="Fourier reconstruction, for many views (Jackson et al. 1991)",
        needs=NEEDS,
        solve=gridding,
        version=VERSION,
        settings=RAMP | {"positive": POSITIVE},
    ),
    "sirt": Method(
        about="simultaneous iterative reconstruction technique (Gregor and Benson 2008)",
        needs=NEEDS,
        solve=sirt,
        version=VERSION,
        settings={
            "iterations": Setting("iterations", "1", (10, 20, 50, 100, 200, 400), 1, whole=True),
            "positive": POSITIVE,
        },
    ),
    "cgls": Method(
        about="conjugate gradients for least squares, stopped early (Hestenes and Stiefel 1952)",
        needs=NEEDS,
        solve=cgls,
        version=VERSION,
        settings={
            "iterations": Setting("iterations", "1", (3, 5, 7, 10, 15, 20, 30), 1, whole=True),
            "positive": POSITIVE,
        },
    ),
    "tv": Method(
        about="least squares with total variation, by a primal-dual iteration (Chambolle and Pock 2011)",
        needs=NEEDS,
        solve=total_variation,
        version=VERSION,
        settings={
            "weight": Setting(
                "weight of the total variation, times the root of the number of views",
                "1/pixel",
                tuple(a * 10.0**n for n in range(-4, 1) for a in (1, 2, 5)),
                0,
            ),
            "iterations": Setting("iterations", "1", (200,), 1, whole=True),
            "positive": Setting("the image is not negative", "1", ("yes",)),
        },
    ),
}

REPORT = Report(
    inputs=(Shown("sinogram"),), parameters=("views_number", "views_length", "photons", "attenuation", "axis_offset")
)
