"""Laws of sinograms in closed form, and of the exact images of the same phantoms."""

from dataclasses import replace

import numpy as np
import pytest

from physics.tomography.analytic import sinogram
from physics.tomography.phantom import Phantom, add, disk, ellipses, gaussians, integral, magnify, polygons, rectangle
from physics.tomography.pixel_means import pixel_means

RAY = 1e-4  # an aperture that is as good as a single ray
ANGLES = np.array([0.3, -1.1, 2.0, 4.4, np.pi / 2])
SHAPES = [(32, 32), (33, 40), (41, 31)]


def star(y: float, x: float) -> np.ndarray:
    angle, distance = np.arange(10) * np.pi / 5 + 0.1, np.where(np.arange(10) % 2, 5.0, 2.0)
    return np.stack([y + distance * np.sin(angle), x + distance * np.cos(angle)], axis=1)


PHANTOMS = {
    "ellipses": ellipses([(2.0, 3.5, 7.0, 3.0, 0.7, 1.0), (-5.0, 1.2, 2.1, 2.1, 0.0, -0.5)]),
    "rectangle": rectangle((4.0, 7.5), -3.0, 4.0, 0.4),
    "polygons": polygons([star(3, -4), star(-4, 3)[::-1]], [1.0, -2.0]),
    "gaussians": gaussians([(2.0, -1.0, 1.1, 0.8), (-3.0, 1.5, 0.6, -0.3)]),
}
ALL = add(*PHANTOMS.values())
EACH = pytest.mark.parametrize("phantom", [*PHANTOMS.values(), ALL], ids=[*PHANTOMS, "all"])
BEAMS = pytest.mark.parametrize("distance", [0.0, 60.0])


def turned(phantom: Phantom, angle: float) -> Phantom:
    sine, cosine = np.sin(angle), np.cos(angle)

    def turn(points: np.ndarray) -> np.ndarray:
        y, x = points.T
        return np.stack([y * cosine + x * sine, x * cosine - y * sine], axis=1)

    rows, peaks = phantom.ellipses.copy(), phantom.gaussians.copy()
    rows[:, :2], peaks[:, :2] = turn(rows[:, :2]), turn(peaks[:, :2])
    rows[:, 4] += angle
    return replace(phantom, ellipses=rows, gaussians=peaks, corners=turn(phantom.corners))


def moved(phantom: Phantom, y: float, x: float) -> Phantom:
    return replace(
        phantom,
        ellipses=phantom.ellipses + np.array([y, x, 0, 0, 0, 0]),
        gaussians=phantom.gaussians + np.array([y, x, 0, 0]),
        corners=phantom.corners + np.array([y, x]),
    )


def close(values: np.ndarray, expected: np.ndarray, error: float = 2e-6) -> bool:
    return bool(np.abs(values - expected).max() <= error * np.abs(expected).max())


@EACH
@pytest.mark.parametrize(("detectors", "pitch", "offset"), [(64, 1.0, 0.0), (65, 0.7, 1.3), (40, 1.6, -0.25)])
def test_every_view_holds_the_mass(phantom: Phantom, detectors: int, pitch: float, offset: float) -> None:
    rows = sinogram(phantom, ANGLES, detectors, pitch=pitch, axis_offset=offset)
    assert rows.dtype == np.float32
    assert rows.sum(axis=1, dtype=float) * pitch == pytest.approx(integral(phantom), rel=1e-6)


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views_along_the_axes_are_sums_of_the_exact_image(phantom: Phantom, shape: tuple[int, int]) -> None:
    """Fixes axes, signs, origin and scale of both."""
    image, (ny, nx) = pixel_means(phantom, shape).astype(float), shape
    assert close(sinogram(phantom, np.array([0.0]), nx)[0], image.sum(axis=0))
    assert close(sinogram(phantom, np.array([np.pi / 2]), ny)[0], image.sum(axis=1))
    assert close(sinogram(phantom, np.array([np.pi]), nx)[0], image.sum(axis=0)[::-1])


@EACH
def test_a_turned_image_sums_to_other_views(phantom: Phantom) -> None:
    for angle in (0.4, 2.2):
        image = pixel_means(turned(phantom, -angle), (36, 35)).astype(float)
        assert close(sinogram(phantom, np.array([angle]), 35)[0], image.sum(axis=0))


@EACH
@BEAMS
def test_rotation_moves_views(phantom: Phantom, distance: float) -> None:
    expected = sinogram(phantom, ANGLES, 45, source_distance=distance)
    assert close(sinogram(turned(phantom, 0.8), ANGLES + 0.8, 45, source_distance=distance), expected)


@EACH
def test_a_shift_moves_the_axis(phantom: Phantom) -> None:
    y, x = 1.3, -2.4
    for angle in ANGLES:
        shift = x * np.cos(angle) + y * np.sin(angle)
        expected = sinogram(phantom, np.array([angle]), 51, pitch=0.8, axis_offset=shift / 0.8)
        assert close(sinogram(moved(phantom, y, x), np.array([angle]), 51, pitch=0.8), expected)


@EACH
@BEAMS
def test_a_larger_object_is_thicker_in_proportion(phantom: Phantom, distance: float) -> None:
    expected = 1.7 * sinogram(phantom, ANGLES, 45, axis_offset=0.3, source_distance=distance)
    larger = magnify(phantom, 1.7)
    assert close(sinogram(larger, ANGLES, 45, pitch=1.7, axis_offset=0.3, source_distance=1.7 * distance), expected)


@BEAMS
def test_values_add(distance: float) -> None:
    parts = [sinogram(part, ANGLES, 45, source_distance=distance) for part in PHANTOMS.values()]
    assert close(sinogram(ALL, ANGLES, 45, source_distance=distance), np.sum(parts, axis=0, dtype=float))
    images = [pixel_means(part, (33, 40)) for part in PHANTOMS.values()]
    assert close(pixel_means(ALL, (33, 40)), np.sum(images, axis=0, dtype=float))


@pytest.mark.parametrize("turn", [0.0, 1.2])
def test_equal_axes_make_a_disk_with_known_chords(turn: float) -> None:
    phantom = ellipses([(0.0, 2.0, 5.3, 5.3, turn, 3.0)])
    s = np.arange(31) - 15 - 2 * np.cos(ANGLES)[:, None]
    chords = 6 * np.sqrt(np.maximum(5.3**2 - s**2, 0))
    assert close(sinogram(phantom, ANGLES, 31, aperture=RAY), chords, 1e-5)
    assert np.array_equal(sinogram(disk(5.3, 0.0, 2.0, 3.0), ANGLES, 31), sinogram(phantom, ANGLES, 31))


@pytest.mark.parametrize("distance", [0.0, 100.0])
def test_polygons_approach_a_disk_with_their_number_of_corners_squared(distance: float) -> None:
    expected, round_image = sinogram(disk(6.0), ANGLES, 21, source_distance=distance), pixel_means(disk(6.0), (15, 16))
    errors = []
    for corners in (12, 24):
        angle = 2 * np.pi * np.arange(corners) / corners
        phantom = polygons([6.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1)], [1.0])
        rows = sinogram(phantom, ANGLES, 21, source_distance=distance)
        errors.append([np.abs(rows - expected).sum(), np.abs(pixel_means(phantom, (15, 16)) - round_image).sum()])
    assert np.divide(errors[0], errors[1]) == pytest.approx(4, rel=0.05)


@EACH
def test_a_fan_consists_of_parallel_rays(phantom: Phantom) -> None:
    """The ray to u in view t is the parallel ray (t - g, D sin g) with tan g = u / D."""
    distance, pitch, offset = 40.0, 1.3, 0.4
    rows = sinogram(
        phantom, ANGLES, 33, pitch=pitch, axis_offset=offset, source_distance=distance, aperture=RAY
    ).astype(float)
    for j in (10, 16, 21):
        angle = np.arctan((j - 16 - offset) * pitch / distance)
        position = distance * np.sin(angle)
        ray = sinogram(phantom, ANGLES - angle, 1, axis_offset=-position, aperture=RAY)
        assert np.abs(rows[:, j] - ray[:, 0]).max() < 1e-4 * np.abs(rows).max()


@pytest.mark.parametrize(
    ("name", "error"), [("ellipses", 3e-4), ("gaussians", 1e-5), ("rectangle", 1e-6), ("polygons", 1e-6)]
)
def test_a_fan_pixel_measures_the_mean_of_its_rays(name: str, error: float) -> None:
    phantom, beam = PHANTOMS[name], {"source_distance": 200.0}
    rows, fine = sinogram(phantom, ANGLES, 40, **beam), sinogram(phantom, ANGLES, 800, pitch=0.05, **beam)
    assert close(rows, fine.reshape(5, 40, 20).mean(axis=2, dtype=float), error)


@EACH
def test_a_source_far_away_makes_a_parallel_beam(phantom: Phantom) -> None:
    parallel = sinogram(phantom, ANGLES, 40)
    errors = [np.abs(sinogram(phantom, ANGLES, 40, source_distance=d) - parallel).sum() for d in (1000.0, 2000.0)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] < 0.05 * np.abs(parallel).sum()


@BEAMS
def test_sinograms_agree_with_sums_over_a_fine_image(distance: float) -> None:
    """Each fine pixel is added to the detector pixel that sees its middle; its length is that along the ray."""
    fine, detectors = 8, 41
    y, x = ((np.arange(36 * fine) - (36 * fine - 1) / 2) / fine for _ in range(2))
    image = pixel_means(magnify(ALL, fine), (36 * fine, 36 * fine)).astype(float) / fine**2
    for t, row in zip(ANGLES, sinogram(ALL, ANGLES, detectors, source_distance=distance), strict=True):
        p, q = x * np.cos(t) + y[:, None] * np.sin(t), y[:, None] * np.cos(t) - x * np.sin(t)
        depth = 1 + q / distance if distance else 1.0
        u = p / depth
        length = np.sqrt(1 + (u / distance) ** 2) / depth if distance else 1.0
        pixel = np.floor(u + detectors / 2).astype(int)
        seen = (pixel >= 0) & (pixel < detectors)
        expected = np.bincount(pixel[seen], (image * length)[seen], minlength=detectors)
        assert np.linalg.norm(row - expected) < 0.02 * np.linalg.norm(expected)


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_images_do_not_depend_on_the_grid(phantom: Phantom, shape: tuple[int, int]) -> None:
    """A pixel holds the mean of the finer pixels in it; the image of a smaller field is a part of the larger one."""
    image, (ny, nx) = pixel_means(phantom, shape), shape
    fine = pixel_means(magnify(phantom, 3), (3 * ny, 3 * nx)).astype(float)
    assert close(fine.reshape(ny, 3, nx, 3).mean(axis=(1, 3)), image)
    assert image.sum(dtype=float) == pytest.approx(integral(phantom), rel=1e-5)
    part = pixel_means(phantom, (ny - 20, nx - 24))
    assert np.allclose(part, image[10:-10, 12:-12], atol=1e-6)


def test_exact_images_hold_what_points_within_a_pixel_see() -> None:
    fine, (ny, nx) = 32, (21, 24)
    y, x = ((np.arange(n * fine) + 0.5) / fine - n / 2 for n in (ny, nx))
    v, u = y[:, None] - 1.2, x + 0.7
    along, across = u * np.cos(0.6) + v * np.sin(0.6), v * np.cos(0.6) - u * np.sin(0.6)
    for phantom, inside in (
        (ellipses([(1.2, -0.7, 8.0, 4.0, 0.6, 1.0)]), (along / 8) ** 2 + (across / 4) ** 2 < 1),
        (rectangle((5.0, 14.0), 1.2, -0.7, 0.6), (abs(along) < 7) & (abs(across) < 2.5)),
    ):
        expected = inside.reshape(ny, fine, nx, fine).mean(axis=(1, 3))
        assert np.abs(pixel_means(phantom, (ny, nx)) - expected).max() < 0.02
        assert pixel_means(phantom, (ny, nx)).max() == pytest.approx(1, abs=1e-6)


def test_parts_beyond_image_and_detector_are_left_out() -> None:
    phantom = add(disk(9.0, 0.0, 7.0), rectangle((30.0, 3.0), 0.0, -6.0), gaussians([(0.0, 7.0, 2.0, 1.0)]))
    assert close(pixel_means(phantom, (8, 14)), pixel_means(phantom, (40, 40))[16:24, 13:27])
    assert close(sinogram(phantom, ANGLES, 9), sinogram(phantom, ANGLES, 41)[:, 16:25])
    nothing = polygons([], [])
    assert not sinogram(nothing, ANGLES, 5).any()
    assert not pixel_means(nothing, (3, 4)).any()


def test_a_source_within_the_object_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"source_distance = 8: must be larger than the radius of the object, 9 pixels"
    ):
        sinogram(disk(6.0, 0.0, 3.0), ANGLES, 9, source_distance=8.0)
