"""Thickness against chords known without a mesh, and the fill rule where rounding and ties are worst."""

from itertools import pairwise

import numpy as np
import pytest

from generators.specimens.particles.mesh import Mesh, clip, displace, rotate, subdivide, translate, twist, volume
from generators.specimens.particles.projection import fine_origin, occupancy, thickness
from generators.specimens.particles.solids import cuboid, ellipsoid, solid

from .closed_mesh import GRIDS, Box, is_closed

type Grid = tuple[tuple[int, int], tuple[float, float]]

TURN = (0.31, -0.83, 0.42, 0.59)
BOX = Box((5.0, 8.0, 11.0), TURN)
ABOVE = 1e6  # nm: thickness does not depend on z, so crossings that do not cancel stand out as spikes


def axes(shape: tuple[int, ...], sampling: tuple[float, ...]) -> list[np.ndarray]:
    return [(np.arange(n) - n // 2) * step for n, step in zip(shape, sampling, strict=True)]


def wavy(seed: int, levels: int = 3) -> Mesh:
    """A cuboid, cut, displaced and twisted."""
    rng = np.random.default_rng(seed)
    body = clip(cuboid(rng.uniform(6, 10, 3)), rng.normal(size=3), 4.0)
    for _ in range(levels):
        body = subdivide(body)
    return rotate(twist(displace(body, 0.4, rng.normal(size=(3, 3)) / 20, rng.random(3)), 0.04), rng.normal(size=4))


@pytest.fixture(params=GRIDS, ids=str)
def grid(request: pytest.FixtureRequest) -> Grid:
    return request.param  # type: ignore[no-any-return]


def test_a_turned_cuboid_has_the_chords_of_its_half_spaces(grid: Grid) -> None:
    y, x = axes(*grid)
    expected = BOX.chord(y[:, None], x[None, :])
    assert (expected > 0).sum() > 200
    assert thickness(BOX.mesh, *grid) == pytest.approx(expected, abs=1e-9)


def test_a_moved_cuboid_has_moved_chords(grid: Grid) -> None:
    """Fixes the axes, their signs and their origin."""
    y, x = axes(*grid)
    moved = translate(BOX.mesh, (100.0, 3.3, -2.2))
    assert thickness(moved, *grid) == pytest.approx(BOX.chord(y[:, None] - 3.3, x[None, :] + 2.2), abs=1e-9)


def test_an_ellipsoid_nears_the_analytic_chord(grid: Grid) -> None:
    y, x = axes(*grid)
    square = (y[:, None] / 9) ** 2 + (x[None, :] / 7) ** 2
    inner = square < 0.8  # at the rim the chord is not smooth
    chord = 2 * 5 * np.sqrt(np.maximum(1 - square, 0))
    errors = [
        np.mean(abs(thickness(ellipsoid((5.0, 9.0, 7.0), level), *grid) - chord)[inner]) for level in (2, 3, 4, 5)
    ]
    assert errors[-1] < 0.003
    assert errors[0] / errors[-1] == pytest.approx(4**3, rel=0.25)


def test_slices_add_up(grid: Grid) -> None:
    body, edges = wavy(1), np.linspace(-30, 30, 8)
    slices = [thickness(body, *grid, z_range=(low, high)) for low, high in pairwise(edges)]
    assert sum(slices) == pytest.approx(thickness(body, *grid), abs=1e-9)
    assert all(part.max() <= 60 / 7 + 1e-9 for part in slices)
    assert all(part.min() >= -1e-9 for part in slices)
    assert max(part.max() for part in slices) == pytest.approx(60 / 7)  # a slice within the body is filled


def test_a_slice_of_a_cuboid(grid: Grid) -> None:
    """Against the box cut by the planes of the slice: another way to the same chord."""
    part = clip(clip(BOX.mesh, (1.0, 0.0, 0.0), 2.5), (-1.0, 0.0, 0.0), 1.5)
    assert thickness(BOX.mesh, *grid, z_range=(-1.5, 2.5)) == pytest.approx(thickness(part, *grid), abs=1e-9)


@pytest.mark.parametrize(("shape", "sampling"), [((40, 33, 50), (1.1, 0.9, 0.7)), ((41, 30, 37), (0.5, 1.17, 0.83))])
def test_voxels_are_those_within_the_half_spaces(shape: tuple[int, int, int], sampling: tuple[float, ...]) -> None:
    points = np.stack(np.meshgrid(*axes(shape, sampling), indexing="ij"), axis=-1)
    voxels = occupancy(BOX.mesh, shape, sampling)  # type: ignore[arg-type]
    assert voxels.dtype == np.bool_
    assert np.array_equal(voxels, BOX.holds(points))


def test_voxels_add_up_to_the_thickness(grid: Grid) -> None:
    (ny, nx), (dy, dx) = grid
    body = wavy(2)
    filled = 0.1 * occupancy(body, (600, ny, nx), (0.1, dy, dx)).sum(axis=0)
    assert np.max(abs(filled - thickness(body, *grid))) <= 0.2 + 1e-9  # each of up to four surfaces is off by half


def test_volume_is_the_sum_over_ever_finer_pixels() -> None:
    """The mid-point rule on a continuous thickness with kinks: of about the second order in the pixel."""
    bodies, errors = [wavy(seed) for seed in range(8)], []
    for n in (24, 96, 384):
        sampling = (60 / n, 66 / n)
        sums = [thickness(body, (n, n + 1), sampling).sum() * sampling[0] * sampling[1] for body in bodies]
        errors.append(np.sqrt(np.mean((np.array(sums) / [volume(body) for body in bodies] - 1) ** 2)))
    assert errors[-1] < 1e-4
    assert errors[0] / errors[2] > 16**1.5


def test_the_order_of_triangles_and_vertices_does_not_matter(grid: Grid) -> None:
    body = wavy(3)
    expected = thickness(body, *grid)
    order = np.random.default_rng(0).permutation(len(body))
    assert thickness(body[order], *grid) == pytest.approx(expected, abs=1e-9)
    for turn in (1, 2):
        assert thickness(np.roll(body, turn, axis=1), *grid) == pytest.approx(expected, abs=1e-9)
    assert thickness(np.ascontiguousarray(body[:, ::-1]), *grid) == pytest.approx(-expected, abs=1e-9)


def test_a_shift_by_whole_pixels_shifts_the_thickness(grid: Grid) -> None:
    shape, (dy, dx) = grid
    body = wavy(4)
    moved, image = thickness(translate(body, (5.0, 4 * dy, -3 * dx)), *grid), thickness(body, *grid)
    assert moved[4:, :-3] == pytest.approx(image[:-4, 3:], abs=1e-8)
    y, x = shape[0] // 2, shape[1] // 2
    assert thickness(body, *grid, origin=(y + 4, x - 3)) == pytest.approx(moved, abs=1e-8)


def test_what_lies_outside_is_cut_off(grid: Grid) -> None:
    shape, sampling = grid
    body = wavy(5)
    small = thickness(body, (7, 10), sampling)
    assert small.min() > 0  # the body covers all of it
    y, x = shape[0] // 2 - 3, shape[1] // 2 - 5
    assert small == pytest.approx(thickness(body, *grid)[y : y + 7, x : x + 10], abs=1e-9)
    assert not thickness(translate(body, (0.0, 1e4, -1e5)), *grid).any()
    assert not thickness(np.empty((0, 3, 3)), *grid).any()


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_blocks_of_fine_pixels_average_to_coarse_ones(factor: int, grid: Grid) -> None:
    """Exact where the thickness is linear: under two planes of a wedge that covers the whole grid."""
    (ny, nx), (dy, dx) = grid
    wedge = clip(clip(cuboid((400.0, 100.0, 100.0)), (1.0, 0.4, -0.9), 0.0), (-1.0, 0.7, 0.3), 300.0)
    fine = thickness(
        wedge, (ny * factor, nx * factor), (dy / factor, dx / factor), origin=fine_origin((ny, nx), factor)
    )
    coarse = fine.reshape(ny, factor, nx, factor).mean(axis=(1, 3))
    assert np.ptp(coarse) > 30
    assert coarse == pytest.approx(thickness(wedge, *grid), abs=1e-9)


@pytest.mark.parametrize(("half", "count"), [((3.0, 4.0), (6, 8)), ((3.5, 4.0), (7, 8)), ((2.25, 0.5), (5, 1))])
def test_borders_through_pixel_centres_count_once(half: tuple[float, float], count: tuple[int, int]) -> None:
    """A pixel on the lower border is in, one on the upper is out: boxes side by side cover each pixel once."""
    box = cuboid((1.5, *half))
    for turned in (box, np.roll(box, 1, axis=1), box[::-1].copy()):
        image = thickness(turned, (31, 40), (1.0, 1.0))
        assert np.array_equal(np.unique(image), [0, 3])
        assert [int(np.count_nonzero(image.any(axis=axis))) for axis in (1, 0)] == list(count)
    beside = thickness(translate(box, (0.0, 2 * half[0], 0.0)), (31, 40), (1.0, 1.0))
    assert np.max(image + beside) == 3
    assert np.count_nonzero(image + beside) == np.count_nonzero(image) + np.count_nonzero(beside)


@pytest.mark.parametrize("seed", range(40))
def test_no_crossing_is_missed_or_counted_twice(seed: int) -> None:
    """Bodies whose vertices lie on pixel centres and rows, with folded, edge-on and vanishing triangles."""
    step = (1.0, 0.5, 2.0, 0.1)[seed % 4]
    body = np.round(wavy(seed, 1 + seed % 3) / step) * step
    assert is_closed(body)
    image = thickness(translate(body, (ABOVE, 0.0, 0.0)), (51, 60), (1.0, 0.5))
    assert np.max(abs(image)) < 60
    assert image == pytest.approx(thickness(body, (51, 60), (1.0, 0.5)), abs=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-17, 1e-16, 1e-15, 1e-12, 1e-9])
def test_faces_that_the_beam_all_but_grazes(angle: float) -> None:
    for axis in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.3, 0.0)):
        box = rotate(cuboid((4.0, 5.0, 6.0)), (1.0, *(angle * a for a in axis)))
        image = thickness(translate(box, (ABOVE, 0.0, 0.0)), (21, 24), (1.0, 1.0))
        inner = image[6:-6, 7:-7]
        assert inner == pytest.approx(8, abs=1e-7)
        assert image.min() > -1e-7
        assert image.max() < 8 + 1e-7


def test_edges_of_the_smallest_numbers() -> None:
    """Edges that are level but for a denormal number keep a finite slope."""
    tiny = 5e-324
    box = cuboid((1.0, 1.0, 1.0))
    box[..., 1] *= tiny
    assert np.all(np.isfinite(thickness(box, (4, 4), (1.0, 0.25), origin=(0.0, 2.0))))


def test_a_convex_body_is_no_thicker_than_its_height() -> None:
    for kind in ("tetrahedron", "icosahedron", "decahedron"):
        body = rotate(solid(kind, (5.0, 6.0, 7.0)), TURN)
        image = thickness(body, (45, 52), (0.9, 0.7))
        assert image.min() >= -1e-9
        assert image.max() <= np.ptp(body[..., 0]) + 1e-9


def test_many_crossings() -> None:
    """More than the first buffers hold."""
    image = thickness(BOX.mesh, (200, 220), (0.2, 0.2))
    y, x = axes((200, 220), (0.2, 0.2))
    assert image == pytest.approx(BOX.chord(y[:, None], x[None, :]), abs=1e-9)


def test_bad_arguments() -> None:
    broken = cuboid(1.0)
    broken[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="finite coordinates"):
        thickness(broken, (8, 8), (1.0, 1.0))
    with pytest.raises(ValueError, match="must be positive"):
        thickness(cuboid(1.0), (8, 8), (1.0, 0.0))
    with pytest.raises(ValueError, match="must be positive"):
        occupancy(cuboid(1.0), (8, 0, 8), (1.0, 1.0, 1.0))
