"""Projections beside those of other programs: images of odd sizes, and an axis half a pixel beside the middle."""

from typing import Any

import numpy as np
import pytest
from skimage.transform import radon

from physics.arrays import Real
from physics.tomography.geometry import Geometry
from physics.tomography.projection import back_project, project

from .test_tomography import error, gaussian

SHAPE = (63, 65)
IMAGE = gaussian(SHAPE, 9.3, -6.2, 5.0) + 0.4 * gaussian(SHAPE, -8.6, 10.1, 4.0)


def test_scikit_image() -> None:
    """It turns the image about pixel N // 2, against our sense. For N = 66 this is half a pixel beside the middle."""
    y, x = np.indices(SHAPE) - np.array([31, 32])[:, None, None]
    image = np.where(np.hypot(y, x) < 31, IMAGE, 0)  # it wants nothing outside of the circle
    degrees = np.linspace(0, 180, 25, endpoint=False)
    theirs = radon(np.pad(image, ((2, 1), (1, 0))), degrees, circle=True).T  # type: ignore[no-untyped-call]
    ours = project(image, Geometry(-np.deg2rad(degrees), 66, axis_offset=0.5))
    assert error(ours, theirs) < 0.01


@pytest.mark.parametrize("source_distance", [0.0, 150.0])
@pytest.mark.parametrize("pitch", [1.0, 0.8])
def test_astra(source_distance: float, pitch: float) -> None:
    """Its y axis points upwards. For fans it has no `linear` projector, and `line` is near on smooth images only."""
    astra: Any = pytest.importorskip("astra", exc_type=ImportError)
    geometry = Geometry(np.linspace(-1, 5, 25), 95, pitch, 0.5, source_distance)
    volume = astra.create_vol_geom(*SHAPE)
    rays = astra.create_proj_geom(*_vectors(geometry))
    projector = astra.create_projector("linear" if geometry.is_parallel else "line_fanflat", rays, volume)
    matrix = astra.matrix.get(astra.projector.matrix(projector))
    ours, theirs = project(IMAGE, geometry), (matrix @ IMAGE.ravel()).reshape(geometry.shape)
    assert error(ours, theirs) < (1e-5 if geometry.is_parallel else 0.01)
    if geometry.is_parallel:
        assert error(back_project(ours, geometry, SHAPE), (matrix.T @ ours.ravel()).reshape(SHAPE)) < 1e-5


def _vectors(geometry: Geometry) -> tuple[str, int, Real]:
    """Return the name, the number of detector pixels and the vectors of the views for a geometry of ASTRA."""
    across = geometry.pitch * np.stack([np.cos(geometry.angles), -np.sin(geometry.angles)], axis=1)
    along = np.stack([np.sin(geometry.angles), np.cos(geometry.angles)], axis=1)
    middle = -geometry.axis_offset * across
    if geometry.is_parallel:
        return "parallel_vec", geometry.detectors, np.concatenate([along, middle, across], axis=1)
    return "fanflat_vec", geometry.detectors, np.concatenate([geometry.source_distance * along, middle, across], axis=1)
