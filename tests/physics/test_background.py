"""Backgrounds: what each method leaves as it is, and how it moves with the image."""

from collections.abc import Callable

import numpy as np
import pytest

from physics.background import fill_harmonically, level_outside, parabolic_opening, smooth_outside
from physics.particle_mask import distance_to, find_particle
from tests.made_up_images import count, disc_of_atoms, smooth_background

GRIDS = [(48, 37), (33, 50), (41, 41), (40, 64)]
grids = pytest.mark.parametrize("shape", GRIDS)

type Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]
METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "level": lambda image, hidden: level_outside(image, hidden, 0.3) + 0 * image,
    "opening": lambda image, hidden: parabolic_opening(image, 12),
    "plane": lambda image, hidden: np.where(hidden, 0.0, smooth_outside(image, hidden, 3)),
    "harmonic": fill_harmonically,
}


def places(shape: tuple[int, int], length: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x from the middle, in units of the length of the first axis over `length`."""
    y, x = ((np.arange(n) - n // 2) * length / shape[0] for n in shape)
    return y[:, None] + 0 * x, x + 0 * y[:, None]


def disc(shape: tuple[int, int], radius: float) -> np.ndarray:
    """Return a disc beside the middle."""
    y, x = places(shape, shape[0])
    hidden: np.ndarray = np.hypot(y - 2, x + 3) <= radius
    return hidden


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


@grids
@pytest.mark.parametrize("method", METHODS)
def test_the_background_moves_with_the_image_which_does_not_depend_on_others(
    shape: tuple[int, int], method: str
) -> None:
    solve, hidden = METHODS[method], np.stack([disc(shape, r) for r in (9, 4, 0.5)])
    image = np.abs(noise((3, *shape)))
    found = solve(image, hidden)
    assert found.shape == image.shape
    outside = ~hidden | (method != "plane")
    np.testing.assert_allclose(solve(7 * image - 3, hidden)[outside], (7 * found - 3)[outside], atol=1e-5)
    for i in range(3):
        np.testing.assert_array_equal(solve(image[i], hidden[i]), found[i])
        turned = solve(image[i].T[::-1], hidden[i].T[::-1])
        np.testing.assert_allclose(turned, found[i].T[::-1], atol=1e-5)


@grids
def test_a_level_is_the_quantile_of_what_is_seen(shape: tuple[int, int]) -> None:
    hidden, image = disc(shape, 8), np.full(shape, 0.25)
    image[hidden] = 5
    assert level_outside(image, hidden, 0.9) == 0.25
    assert level_outside(image, np.ones(shape, bool), 0) == 0.25
    ramp = np.arange(np.prod(shape)).reshape(shape)
    assert level_outside(ramp, np.zeros(shape, bool), 0.75) == pytest.approx(0.75 * ramp.max())


@grids
@pytest.mark.parametrize("radius", [1, 7, 60])
def test_an_opening_lies_underneath_and_keeps_planes(shape: tuple[int, int], radius: int) -> None:
    y, x = places(shape)
    for plane in (0 * y, 0.7 * y - 0.2 * x + 3, -2 * x):
        np.testing.assert_allclose(parabolic_opening(plane, radius), plane, atol=1e-12)
    rough = noise(shape)
    below = parabolic_opening(rough, radius)
    assert (below <= rough + 1e-12).all()
    assert (abs(below - rough).reshape(-1).min()) < 1e-12, "it touches the image"


@pytest.mark.parametrize(("flat", "kept"), [(0.9, True), (1.1, False)])
def test_an_opening_keeps_hills_that_are_wider_than_the_paraboloid(flat: float, kept: bool) -> None:
    """A hill that falls by its range over 40 pixels, under a paraboloid of 0.9 or 1.1 times this radius."""
    y, radius = np.arange(-40.0, 41)[:, None] + np.zeros(9), round(40 * flat)
    error = abs(parabolic_opening(-(y**2), radius) + y**2).max() / 1600
    assert error < 2 / radius**2 if kept else error > 0.1


def test_an_opening_removes_atoms_and_keeps_the_background() -> None:
    shape, radius = (61, 50), 30
    image, _ = disc_of_atoms(shape, 40, spacing=9)
    y, x = places(shape)
    background = 0.3 * y + 0.1 * x
    below = parabolic_opening(image + background, radius)
    assert abs(below - background).max() < 0.05
    assert abs(parabolic_opening(image + background, 4) - background).max() > 0.1


@grids
def test_smoothing_keeps_planes_up_to_the_edges_of_image_and_mask(shape: tuple[int, int]) -> None:
    y, x = places(shape)
    plane, hidden = 2 * y - 3 * x + 1, disc(shape, 9)
    found = smooth_outside(np.where(hidden, np.nan, plane), hidden, 4.0)
    np.testing.assert_allclose(found[~hidden], plane[~hidden], atol=1e-6)
    assert np.isnan(found[hidden]).all()
    np.testing.assert_array_equal(smooth_outside(plane, hidden, 0), plane)


def test_smoothing_reduces_white_noise_as_the_area_of_its_gaussian() -> None:
    """The standard deviation is that of one pixel / sqrt(4 pi s^2)."""
    image = noise((150, 140))
    for width in (2.0, 4.0):
        found = smooth_outside(image, np.zeros(image.shape, bool), width)[20:-20, 20:-20]
        assert found.std() == pytest.approx(1 / np.sqrt(4 * np.pi * width**2), rel=0.15)


HARMONIC: dict[str, Surface] = {
    "plane": lambda y, x: 2 * y - 3 * x + 1,
    "saddle": lambda y, x: y**2 - x**2 + 4 * x * y,
    "wave": lambda y, x: np.exp(2 * x) * np.cos(2 * y),
}


@grids
@pytest.mark.parametrize("surface", HARMONIC)
def test_a_harmonic_function_is_found_from_its_values_outside(shape: tuple[int, int], surface: str) -> None:
    """Differences of planes and saddles on a grid are exact; others are wrong by the square of the pixel."""
    exact, hidden = HARMONIC[surface](*places(shape)), disc(shape, 12)
    found = fill_harmonically(np.where(hidden, np.nan, exact), hidden)
    np.testing.assert_array_equal(found[~hidden], exact[~hidden])
    np.testing.assert_allclose(found, exact, atol=1e-4 if surface == "wave" else 1e-6)


def test_the_error_falls_with_the_square_of_the_pixel() -> None:
    errors = []
    for n in (24, 48, 96):
        y, x = places((n, n), 2.0)
        exact, hidden = HARMONIC["wave"](y, x), np.hypot(y - 0.1, x) < 0.7
        errors.append(abs(fill_harmonically(exact * ~hidden, hidden) - exact).max())
    assert errors[0] > 1e-5
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.35)


def test_nothing_flows_across_an_edge_of_the_image() -> None:
    """With values on two opposite edges only, the solution is linear; with those of a corner, it is constant."""
    shape = (20, 31)
    hidden = np.ones(shape, bool)
    hidden[:, [0, -1]] = False
    ramp = np.broadcast_to(np.arange(31.0), shape)
    np.testing.assert_allclose(fill_harmonically(np.where(hidden, 0, ramp), hidden), ramp, atol=1e-4)
    corner = np.zeros(shape, bool)
    corner[0, 0] = True
    np.testing.assert_allclose(fill_harmonically(np.where(corner, 2.5, np.nan), ~corner), 2.5)
    assert not fill_harmonically(np.ones(shape), np.ones(shape, bool)).any()


def test_filled_pixels_lie_between_those_around_them() -> None:
    """The maximum principle, and the mean of neighbours; for scattered holes as well as for large ones."""
    image, hidden = noise((40, 50)), noise((40, 50)) > 0.2
    hidden[10:30, 5:30] = True
    found = fill_harmonically(image, hidden)
    seen = image[~hidden]
    assert seen.min() <= found.min() <= found.max() <= seen.max()
    mean = (found[:-2, 1:-1] + found[2:, 1:-1] + found[1:-1, :-2] + found[1:-1, 2:]) / 4
    np.testing.assert_allclose(found[1:-1, 1:-1][hidden[1:-1, 1:-1]], mean[hidden[1:-1, 1:-1]], atol=1e-5)


def overlap(found: np.ndarray, exact: np.ndarray) -> float:
    return float((found & exact).sum() / (found | exact).sum())


@pytest.mark.parametrize(("shape", "diameter"), [((256, 256), 200), ((201, 180), 120)])
@pytest.mark.parametrize("electrons", [0, 50])
@pytest.mark.parametrize("width", [12, 29, 0])
def test_a_particle_is_found_on_a_background(
    shape: tuple[int, int], diameter: float, electrons: float, width: float
) -> None:
    """Width 0 stands for a film whose thickness rises along y."""
    clean, exact = disc_of_atoms(shape, diameter)
    background = smooth_background(shape, width) if width else 0.3 * places(shape)[0] + 0.15
    image = count(clean + background, electrons)
    found = find_particle(image)
    assert overlap(found, exact) > 0.9
    assert (find_particle(900 * image + 70) == found).mean() > 0.999
    assert (find_particle(image[:, ::-1].T) == found[:, ::-1].T).mean() > 0.999


def test_a_particle_of_low_contrast_and_one_without_atoms_are_found() -> None:
    """Atoms of a fifth of the background's level; and a disc of one value."""
    shape = (200, 180)
    clean, exact = disc_of_atoms(shape, 120)
    assert overlap(find_particle(count(1 + 0.2 * clean, 2000)), exact) > 0.85
    assert overlap(find_particle(count(0.2 + exact * 0.2, 200)), exact) > 0.9


@pytest.mark.parametrize("electrons", [0, 1, 30])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_no_particle_is_found_where_there_is_none(electrons: float, level: float) -> None:
    for shape in ((128, 128), (100, 131)):
        assert not find_particle(count(np.full(shape, level), electrons)).any()
        assert not find_particle(count(level + smooth_background(shape, 25), electrons)).any()


def test_masks_of_a_stack_do_not_depend_on_one_another() -> None:
    images = np.stack([disc_of_atoms((90, 101), d)[0] for d in (40, 60)] + [np.zeros((90, 101))])
    found = find_particle(images)
    assert found.any(axis=(1, 2)).tolist() == [True, True, False]
    for image, mask in zip(images, found, strict=True):
        np.testing.assert_array_equal(find_particle(image), mask)


def test_distances_dilate_by_a_disc() -> None:
    mask = np.zeros((2, 15, 12), bool)
    mask[0, 4, 7] = True
    distance = distance_to(mask)
    y, x = np.indices((15, 12))
    np.testing.assert_allclose(distance[0], np.hypot(y - 4, x - 7))
    assert np.isinf(distance[1]).all()
