"""Projections along rays, their adjoint, and images from them: laws, analytic sinograms, and another code."""

import itertools
import warnings
from math import inf, pi

import numpy as np
import pytest
from scipy.optimize import minimize
from skimage.transform import iradon, radon

from physics.arrays import Array, Real
from physics.tomography.filtered_back_projection import (
    WINDOWS,
    filter_projections,
    filtered_back_projection,
    filtered_back_projection_adjoint,
    ramp,
)
from physics.tomography.geometry import Geometry, samples_by_rays
from physics.tomography.iterative import Known, Projector, cgls, divergence, gradient_of, sirt, total_variation
from physics.tomography.projection import FEW, back_project, project
from physics.tomography.rebinning import parallel_beam, rebin

SHAPES = [(21, 24), (33, 20), (17, 17)]
BEAMS = [0.0, 40.0]


def gaussian(shape: tuple[int, int], y0: float, x0: float, sigma: float) -> Real:
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    made: Real = np.exp(-((x - x0) ** 2 + (y[:, None] - y0) ** 2) / (2 * sigma**2))
    return made


def gaussian_sinogram(geometry: Geometry, y0: float, x0: float, sigma: float) -> Real:
    angles, s = geometry.rays()
    distance = s - x0 * np.cos(angles) - y0 * np.sin(angles)
    made: Real = np.sqrt(2 * pi) * sigma * np.exp(-(distance**2) / (2 * sigma**2))
    return made


def error(found: Real, exact: Real) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def random_geometry(rng: np.random.Generator, source_distance: float) -> Geometry:
    return Geometry(rng.uniform(-4, 7, 13), 31, pitch=0.7, axis_offset=0.5, source_distance=source_distance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distance", BEAMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_back_projection_is_the_adjoint(shape: tuple[int, int], distance: float, dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    geometry = random_geometry(rng, distance)
    image, sinogram = rng.normal(size=shape).astype(dtype), rng.normal(size=geometry.shape).astype(dtype)
    forward, back = project(image, geometry), back_project(sinogram, geometry, shape)
    assert forward.dtype == back.dtype == dtype
    left, right = (np.vdot(a.astype(float), b.astype(float)) for a, b in ((forward, sinogram), (image, back)))
    assert abs(left - right) < tolerance * np.linalg.norm(forward) * np.linalg.norm(sinogram)


@pytest.mark.parametrize("distance", BEAMS)
def test_filtered_back_projection_has_an_adjoint(distance: float) -> None:
    rng = np.random.default_rng(1)
    geometry = random_geometry(rng, distance)
    image, sinogram = rng.normal(size=(21, 24)), rng.normal(size=geometry.shape)
    made = filtered_back_projection(sinogram, geometry, (21, 24), window="hann")
    back = filtered_back_projection_adjoint(image, geometry, window="hann")
    assert abs((made * image).sum() - (back * sinogram).sum()) < 1e-13 * np.linalg.norm(made) * np.linalg.norm(image)


@pytest.mark.parametrize("distance", BEAMS)
def test_bits_do_not_depend_on_the_block(distance: float) -> None:
    rng = np.random.default_rng(2)
    geometry = random_geometry(rng, distance)
    images = rng.normal(size=(2, FEW + 3, 21, 24)).astype(np.float32)
    sinograms = project(images, geometry)
    assert (sinograms[1, 2] == project(images[1, 2], geometry)).all()
    assert (
        back_project(sinograms, geometry, (21, 24))[1, 2] == back_project(sinograms[1, 2], geometry, (21, 24))
    ).all()
    made = filtered_back_projection(sinograms, geometry, (21, 24))
    assert (made[1, 2] == filtered_back_projection(sinograms[1, 2], geometry, (21, 24))).all()


def test_a_projection_at_angle_0_is_the_sum_over_rows() -> None:
    image = np.random.default_rng(3).normal(size=(12, 9))
    angles = np.array([0, pi / 2, pi, -pi / 2])
    across = project(image, Geometry(angles[[0, 2]], 9))
    along = project(image, Geometry(angles[[1, 3]], 12))
    np.testing.assert_allclose(across, [image.sum(0), image.sum(0)[::-1]], atol=1e-12)
    np.testing.assert_allclose(along, [image.sum(1), image.sum(1)[::-1]], atol=1e-12)


@pytest.mark.parametrize("distance", BEAMS)
def test_the_error_for_a_smooth_object_falls_with_the_square_of_the_pixel(distance: float) -> None:
    errors = []
    for n in (32, 64, 128):
        geometry = Geometry(np.linspace(0, 6, 11), n + 9, 1.0, 0.5, distance * n / 32)
        image = gaussian((n, n + 3), 0.1 * n, -0.15 * n, n / 16)
        errors.append(error(project(image, geometry), gaussian_sinogram(geometry, 0.1 * n, -0.15 * n, n / 16)))
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (abs(rates - 2) < 0.1).all()
    assert errors[-1] < 2e-3


def test_the_error_for_a_disk_falls_with_the_pixel() -> None:
    """The edge of a disk lies within a pixel: first order in the mean square sense, up to the roughness of the edge."""
    errors = []
    for n in (32, 64, 128, 256):
        y, x = np.mgrid[: n * 8, : n * 8] / 8 - (n - 1 / 8) / 2
        disk = (np.hypot(y - 0.1 * n, x + 0.15 * n) < n / 4).reshape(n, 8, n, 8).mean((1, 3))
        geometry = Geometry(np.linspace(0, 3, 13), n)
        angles, s = geometry.rays()
        distance = s - 0.1 * n * np.sin(angles) + 0.15 * n * np.cos(angles)
        errors.append(error(project(disk, geometry), 2 * np.sqrt(np.maximum((n / 4) ** 2 - distance**2, 0))))
    assert np.log2(errors[0] / errors[-1]) / 3 > 0.9


@pytest.mark.parametrize("distance", BEAMS)
def test_a_turned_object_has_a_turned_sinogram(distance: float) -> None:
    """Turned from the x axis to the y axis by a right angle, the object is seen a right angle later."""
    image = np.random.default_rng(4).normal(size=(18, 18))
    geometry = Geometry(np.linspace(0, 2, 7), 25, 0.9, -0.3, distance)
    later = Geometry(geometry.angles + pi / 2, 25, 0.9, -0.3, distance)
    np.testing.assert_allclose(project(np.rot90(image, -1), later), project(image, geometry), atol=1e-11)


def test_a_mirrored_object_has_reversed_angles_and_detector() -> None:
    image = np.random.default_rng(5).normal(size=(18, 21))
    angles = np.linspace(0.1, 2, 7)
    seen, mirrored = project(image, Geometry(angles, 30)), project(image[:, ::-1], Geometry(-angles, 30))
    np.testing.assert_allclose(mirrored, seen[:, ::-1], atol=1e-11)


def test_a_moved_detector_moves_the_sinogram() -> None:
    image = gaussian((30, 30), 2, 3, 4)
    plain, moved = (project(image, Geometry(np.linspace(0, 3, 5), 40, axis_offset=d)) for d in (0, 3))
    np.testing.assert_allclose(moved[:, 3:], plain[:, :-3], atol=1e-12)


@pytest.mark.parametrize("shape", [(63, 65), (64, 64)])
@pytest.mark.parametrize("offset", [0, 0.5])
def test_the_projector_agrees_with_scikit_image(shape: tuple[int, int], offset: float) -> None:
    """It turns the image about pixel N // 2 against our sense: the axis of even sizes lies half a pixel further."""
    n = max(shape)
    middle = (n // 2) - (n - 1) / 2
    inside = np.hypot(*(np.mgrid[:n, :n] - n // 2)) <= n // 2
    image = gaussian((n, n), 5 + middle, -7 + middle, 5.0) * inside
    degrees = np.linspace(0, 180, 25, endpoint=False)
    theirs = radon(image, degrees, circle=True).T  # type: ignore[no-untyped-call]
    ours = project(gaussian(shape, 5, -7, 5.0), Geometry(-np.deg2rad(degrees), n, axis_offset=middle))
    assert error(ours, theirs) < 0.01
    if offset:
        half = Geometry(-np.deg2rad(degrees), n, axis_offset=middle + offset)
        assert error(project(gaussian(shape, 5, -7, 5.0), half), theirs) > 0.05


@pytest.mark.parametrize("shape", [(65, 68), (64, 60)])
@pytest.mark.parametrize(("distance", "turn"), [(0.0, pi), (0.0, 2 * pi), (150.0, 2 * pi)])
def test_filtered_back_projection_finds_a_smooth_object(shape: tuple[int, int], distance: float, turn: float) -> None:
    geometry = Geometry(np.arange(360) * turn / 360 + 0.1, 95, 1.0, 0.5, distance)
    exact = gaussian(shape, -9.2, 7.3, 5.0)
    made = filtered_back_projection(gaussian_sinogram(geometry, -9.2, 7.3, 5.0), geometry, shape)
    assert error(made, exact) < 6e-3
    assert abs(made.sum() / exact.sum() - 1) < 1e-3


def test_filtered_back_projection_agrees_with_scikit_image() -> None:
    n = 65
    geometry = Geometry(-np.linspace(0, pi, 60, endpoint=False), n)
    sinogram = gaussian_sinogram(geometry, 5, -7, 2.0)
    names = {"ramlak": "ramp", "shepplogan": "shepp-logan", "hann": "hann", "hamming": "hamming", "cosine": "cosine"}
    assert set(names) == set(WINDOWS)
    for ours, theirs in names.items():
        made = filtered_back_projection(sinogram, geometry, (n, n), window=ours)
        degrees = -np.rad2deg(geometry.angles)
        other = iradon(sinogram.T, degrees, filter_name=theirs, circle=True)  # type: ignore[no-untyped-call]
        inside = np.hypot(*(np.mgrid[:n, :n] - n // 2)) < 30
        assert error(made[inside], other[inside]) < 0.01


def test_the_ramp_keeps_its_shape_and_windows_begin_at_1() -> None:
    frequencies = np.arange(129) / 256
    assert abs(ramp(256) - frequencies).max() < 1e-3
    assert abs(ramp(256) - frequencies)[20:-20].max() < 1e-6
    assert 0 < ramp(256)[0] < 2e-3
    for window in WINDOWS.values():
        assert window(np.zeros(1)) == 1
    with pytest.raises(ValueError, match="window median"):
        filter_projections(np.zeros((2, 9)), 1.0, "median")
    low = filter_projections(np.random.default_rng(7).normal(size=(3, 64)), 1.0, cutoff=0.25)
    assert (abs(np.fft.rfft(low, 128)).max(0)[60:] < 0.05).all()


def test_rebinned_fan_beams_equal_parallel_beams() -> None:
    """Both axes are interpolated linearly: the error falls with the square of their steps."""
    errors = []
    for fine in (1, 2, 4):
        fan = Geometry(np.deg2rad(np.arange(0, 360, 2 / fine)), 95 * fine, 1.0 / fine, 0.5, 150.0)
        parallel = Geometry(np.deg2rad(np.arange(0, 180, 1.5)), 81)
        found, measured = rebin(gaussian_sinogram(fan, -9, 7, 5.0), fan, parallel)
        assert measured.all()
        errors.append(error(found, gaussian_sinogram(parallel, -9, 7, 5.0)))
    assert np.log2(errors[0] / errors[2]) / 2 > 1.9
    assert errors[2] < 2e-4


def test_a_limited_fan_beam_fills_a_band() -> None:
    fan = Geometry(np.deg2rad(np.arange(20, 80.5, 0.5)), 95, source_distance=150.0)
    parallel = parallel_beam(fan, 180)
    found, measured = rebin(gaussian_sinogram(fan, 0, 0, 30.0), fan, parallel)
    angles, s = parallel.rays()
    view = np.rad2deg(angles + np.arcsin(s / 150))
    inside = (view > 20) & (view < 80) & (abs(150 * np.tan(np.arcsin(s / 150))) < 47)
    assert (measured[inside]).all()
    assert abs(measured.mean() - inside.mean()) < 0.01
    assert (found[~measured] == 0).all()
    assert error(found[measured], gaussian_sinogram(parallel, 0, 0, 30.0)[measured]) < 2e-3


class Rays:
    """Images of 4 x 5 pixels, 5 views of 7 rays: a matrix without negative elements stands for the projections."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.matrix = self.rng.uniform(0, 1, (35, 20)) * (self.rng.uniform(size=(35, 20)) < 0.4)
        self.weights = self.rng.uniform(0.2, 1, (5, 7)) * (self.rng.uniform(size=(5, 7)) > 0.1)

    def operator(self, weights: Real | None = None) -> Projector:
        return Projector(
            lambda f: (f.reshape(*f.shape[:-2], 20) @ self.matrix.T).reshape(*f.shape[:-2], 5, 7),
            lambda p: (p.reshape(*p.shape[:-2], 35) @ self.matrix).reshape(*p.shape[:-2], 4, 5),
            weights,
        )

    def least_squares(self, sinogram: Real, weights: Real) -> Real:
        root = np.sqrt(weights).ravel()
        found = [np.linalg.lstsq(self.matrix * root[:, None], root * p.ravel(), rcond=None)[0] for p in sinogram]
        return np.reshape(found, (-1, 4, 5))

    def objective(self, image: Real, sinogram: Real, weight: float) -> float:
        misfit = (self.weights * (self.operator().forward(image) - sinogram) ** 2).sum() / 2
        return float(misfit + weight * np.hypot(*gradient_of(image)).sum())


def test_least_squares() -> None:
    """CGLS and SIRT reach the solutions of weighted least squares that linear algebra finds."""
    rays = Rays(8)
    sinogram = rays.rng.normal(size=(2, 5, 7))
    found = cgls(sinogram, rays.operator(rays.weights), 60)
    np.testing.assert_allclose(found, rays.least_squares(sinogram, rays.weights), atol=1e-9)
    by_length = (rays.weights > 0) / rays.matrix.sum(1).reshape(5, 7)
    found = sirt(sinogram, rays.operator(rays.weights), 3000)
    np.testing.assert_allclose(found, rays.least_squares(sinogram, by_length), atol=1e-6)


def test_total_variation_reaches_its_minimum() -> None:
    rays = Rays(9)
    image = np.pad(np.ones((2, 3)), 1)
    sinogram = rays.operator().forward(image) + 0.1 * rays.rng.normal(size=(5, 7))
    found = total_variation(sinogram, rays.operator(rays.weights), 3000, 0.3)
    reached = rays.objective(found, sinogram, 0.3)
    assert reached < rays.objective(image, sinogram, 0.3)
    for size, _ in itertools.product((0.1, 0.01, 1e-3), range(100)):
        assert rays.objective(found + size * rays.rng.normal(size=found.shape), sinogram, 0.3) > reached
    flat = total_variation(sinogram, rays.operator(), 3000, 1e3)
    lengths = rays.matrix.sum(1).reshape(5, 7)
    np.testing.assert_allclose(flat, (lengths * sinogram).sum() / (lengths**2).sum(), atol=1e-6)
    plain = total_variation(sinogram[None], rays.operator(rays.weights), 3000, 0.0)
    np.testing.assert_allclose(plain, rays.least_squares(sinogram[None], rays.weights), atol=1e-6)


def test_total_variation_agrees_with_another_minimiser() -> None:
    """Compare with a quasi-Newton method, which minimises the objective with |grad f| rounded off at 0."""
    rays = Rays(9)
    rough = np.zeros((4, 5))
    rough[1:3, 1:4] = [[1, 2, 1], [0, 1, 3]]
    sinogram = rays.operator().forward(rough) + 0.1 * rays.rng.normal(size=(5, 7))

    def smooth_objective(values: Real) -> float:
        image = values.reshape(rough.shape)
        slopes = np.sqrt((gradient_of(image) ** 2).sum(axis=0) + 1e-8).sum()
        return rays.objective(image, sinogram, 0.0) + 0.3 * float(slopes)

    exact = minimize(smooth_objective, np.zeros(rough.size), method="BFGS", options={"gtol": 1e-7, "maxiter": 5000})
    found = total_variation(sinogram, rays.operator(rays.weights), 5000, 0.3)
    np.testing.assert_allclose(found, exact.x.reshape(rough.shape), atol=2e-3)


def test_differences_and_divergence_are_adjoint() -> None:
    rng = np.random.default_rng(10)
    image, field = rng.normal(size=(3, 5, 6)), rng.normal(size=(2, 3, 5, 6))
    assert abs((gradient_of(image) * field).sum() + (image * divergence(field)).sum()) < 1e-12


METHODS = {
    "sirt": lambda p, operator, known: sirt(p, operator, 5, known),
    "cgls": lambda p, operator, known: cgls(p, operator, 5, known),
    "tv": lambda p, operator, known: total_variation(p, operator, 5, 0.1, known),
}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_known_holds(method: str) -> None:
    rays = Rays(11)
    support = np.zeros((4, 5), bool)
    support[1:3, 2:] = True
    image = METHODS[method](rays.rng.normal(size=(5, 7)), rays.operator(), Known(positive=True, support=support))
    assert image.min() == 0 < image.max()
    assert (image[~support] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_rays_that_were_not_measured_do_not_count(method: str) -> None:
    rays = Rays(12)
    sinogram, noise = rays.rng.normal(size=(2, 5, 7))
    other = np.where(rays.weights > 0, sinogram, noise)
    first, second = (METHODS[method](p, rays.operator(rays.weights), Known()) for p in (sinogram, other))
    assert (first == second).all()


@pytest.mark.parametrize("method", METHODS)
def test_views_that_only_other_sinograms_measured_change_no_bit(method: str) -> None:
    geometry, measured = random_geometry(np.random.default_rng(13), 0.0), np.arange(13) % 3 > 0
    sinogram = project(gaussian((21, 24), 3, 2, 3), geometry).astype(np.float32)

    def solve(beam: Geometry, sinogram: Array, known: Array) -> Array:
        rays = Projector(lambda f: project(f, beam), lambda p: back_project(p, beam, (21, 24)), known[:, None])
        return METHODS[method](sinogram, rays, Known())

    alone = solve(geometry.views(measured), sinogram[measured], np.ones(8, bool))
    assert (solve(geometry, sinogram, measured) == alone).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"angles": np.zeros(0)},
        {"angles": np.array([np.nan])},
        {"detectors": 0},
        {"pitch": 0.0},
        {"pitch": inf},
        {"source_distance": -1.0},
        {"axis_offset": np.nan},
    ],
)
def test_impossible_geometries_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Geometry(**{"angles": np.zeros(1), "detectors": 5} | wrong)  # type: ignore[arg-type]


def test_one_view_and_a_detector_of_one_pixel() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for geometry in (Geometry(np.array([0.3]), 1), Geometry(np.array([0.3]), 9), Geometry(np.arange(9.0), 1)):
            sinogram = project(np.ones((5, 6)), geometry)
            assert sinogram.shape == geometry.shape
            assert np.isfinite(filtered_back_projection(sinogram, geometry, (5, 6))).all()


def test_samples_with_the_same_rays_are_found() -> None:
    angles = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 3, 4], [0, 1, 2, 3]], np.float32)
    measured = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], np.uint8)
    offset, pitch, distance = np.zeros(4), np.ones(4), np.full(4, 50.0)
    (rows, seen, geometry, known), (others, *_, complete) = samples_by_rays(
        9, angles, measured, offset, pitch, distance
    )
    assert rows.tolist() == [0, 1, 3]
    assert others.tolist() == [2]
    assert seen.tolist() == [True, True, False, False]
    assert known.tolist() == [[True, False], [True, True], [True, False]]
    assert complete.all()
    assert geometry.angles.tolist() == [0, 1]
    assert geometry.source_distance == 50


@pytest.mark.parametrize("source_distance", [0.0, 60.0])
def test_views_that_were_not_measured_have_no_weight(source_distance: float) -> None:
    """Sinograms with other measured views, reconstructed together, are what they are alone: bit for bit."""
    rng = np.random.default_rng(0)
    geometry = Geometry(np.linspace(0, 2 * np.pi, 40, endpoint=False), 31, source_distance=source_distance)
    measured = rng.random((5, 40)) < np.array([[1.0], [0.5], [0.1], [0.8], [0.0]])
    measured[3, 10:] = False
    sinograms = rng.random((5, *geometry.shape), np.float32)
    together = filtered_back_projection(sinograms, geometry, (21, 24), measured=measured)
    images = rng.random((5, 21, 24), np.float32)
    back = filtered_back_projection_adjoint(images, geometry, measured=measured)
    assert not together[4].any()
    assert not back[~measured].any()
    for n in range(4):
        seen = geometry.views(measured[n])
        assert (together[n] == filtered_back_projection(sinograms[n][measured[n]], seen, (21, 24))).all()
        assert (back[n][measured[n]] == filtered_back_projection_adjoint(images[n], seen)).all()
