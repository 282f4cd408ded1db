import cProfile
import pickle
import pstats
from math import prod
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from generators.specimens.from_files.numbered_files import list_numbered_files
from generators.specimens.from_files.voxel_files import (
    cube_rotations,
    read_mask,
    rotate_by_matrix,
    rotate_by_number,
    thickness,
)
from schemas.runtime.errors import UserError

SEED = Path(__file__).parents[3] / "shared/data/specimen/specimen.txt"


def mask(*shape: int) -> np.ndarray:
    """A lopsided body."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, 1j * n) for n in shape)]
    return ((z / 0.8) ** 2 + (y / 0.5) ** 2 + ((x - 0.2) / 0.6) ** 2 < 1) & (x + y < 0.4) & (z - y < 0.6)


def text(body: np.ndarray, end: str = "\n") -> str:
    slices = [
        end.join(" ".join(str(int(voxel)) for voxel in row) for row in plane) for plane in body.transpose(2, 0, 1)
    ]
    return (2 * end).join(slices) + end


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 9, 6)])
@pytest.mark.parametrize("ending", [0, 1, 2])
def test_text_gives_the_mask_back(shape: tuple[int, ...], ending: int, tmp_path: Path) -> None:
    body, file = mask(*shape), tmp_path / "particle(0)"
    written = text(body, "\r\n" if ending == 1 else "\n")
    file.write_bytes((written + "\n\n" if ending else written.rstrip()).replace(" ", "\t " if ending else " ").encode())
    assert np.array_equal(read_mask(file), body)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
def test_numpy_gives_the_mask_back(dtype: type, tmp_path: Path) -> None:
    body = mask(5, 9, 6)
    np.save(tmp_path / "any.npy", body.astype(dtype))
    again = read_mask(tmp_path / "any.npy")
    assert again.dtype == np.bool_
    assert np.array_equal(again, body)


def test_a_text_is_read_as_a_whole_not_line_by_line(tmp_path: Path) -> None:
    """So a mask of the usual size takes milliseconds: as many calls of functions as a small one."""
    calls = []
    for size in (8, 64):
        body, file = mask(size, size, size), tmp_path / f"particle({size}).txt"
        file.write_text(text(body))
        with cProfile.Profile() as profile:
            found = read_mask(file)
        assert np.array_equal(found, body)
        calls.append(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]
    assert calls[0] == calls[1]


@pytest.mark.skipif(not SEED.exists(), reason="the published specimen lies in ../shared/data, which is absent")
def test_the_published_specimen() -> None:
    body = read_mask(SEED)
    assert body.shape == (64, 64, 64)
    assert body.sum() == 7237
    assert max(body.sum(axis=axis).max() for axis in range(3)) == 28
    image = thickness(body, (64, 64), (150 / 64,) * 2, 150.0)
    assert image == pytest.approx(body.sum(axis=0) * 150 / 64, abs=1e-12)


BLOCK = "1 0\n0 1\n\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"empty; write rows of 0 and 1"),
        (" \n\n", r"empty; write rows"),
        (BLOCK + "1 0\n0 1 1\n", r"3 numbers in line 5, 2 in the first; write rows"),
        (BLOCK + "1 0\n", r"1 rows in slice 2, 2 in the first; write rows"),
        (BLOCK + "1 0\n0 2\n", r"'2' in line 5; write rows"),
        (BLOCK + "1 0\n0 0.5\n", r"'0\.5' in line 5"),
        (BLOCK + "1 0\n0 101\n", r"'101' in line 5"),
        ("x y z\n", r"'x' in line 1"),
        (BLOCK, r"a single slice of 2 rows; write rows"),
        ("0 0\n\n0 0\n", r"no voxel is 1; a specimen must fill"),
    ],
)
def test_text_that_is_no_mask(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "particle(0)"
    file.write_text(content)
    with pytest.raises(UserError, match=r"particle\(0\): " + message) as caught:
        read_mask(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2, 2), 2), r"2 is neither 0 nor 1; save a boolean array"),
        (np.array([[[0.0, np.nan]]]), r"nan is neither 0 nor 1"),
        (np.ones((4, 4), bool), r"bool of shape \(4, 4\); save a boolean array"),
        (np.ones((2, 2, 2), complex), r"complex128 of shape"),
        (np.zeros((2, 2, 2), bool), r"no voxel is 1"),
        (np.array([[[{"a": 1}]]], dtype=object), r"not a NumPy array of numbers"),
        (np.ones((0, 4, 4), bool), r"no voxel is 1|not a NumPy array"),
    ],
)
def test_arrays_that_are_no_mask(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message) as caught:
        read_mask(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


def test_pickles_and_broken_arrays_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(pickle.dumps(mask(4, 4, 4)))
    with pytest.raises(UserError, match="in line 1"):
        read_mask(file)
    np.save(file, mask(8, 8, 8))
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(UserError, match="not a NumPy array"):
        read_mask(file)
    file.write_bytes(whole.replace(b"(8, 8, 8)", b"(9999999, 9999999, 9)")[: len(whole)])
    with pytest.raises(UserError, match="not a NumPy array"):
        read_mask(file)
    file.write_bytes(whole[:8])
    with pytest.raises(UserError, match="not a NumPy array"):
        read_mask(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory; give a readable specimen file"):
        read_mask(tmp_path / "absent")
    with pytest.raises(UserError, match="Is a directory; give a readable"):
        read_mask(tmp_path)
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(UserError, match="268435457 bytes; a specimen may have 268435456"):
        read_mask(huge)


def test_specimens_are_listed_by_number(tmp_path: Path) -> None:
    for name in ("particle(10)", "particle(9).txt", "particle(2).npy", "particle(0)", "particle(3).png", "notes"):
        (tmp_path / name).write_text("0")
    assert [file.name for file in list_numbered_files(tmp_path, "particle")] == [
        "particle(0)",
        "particle(2).npy",
        "particle(9).txt",
        "particle(10)",
    ]
    assert [file.name for file in list_numbered_files(tmp_path, "particle", 9)] == ["particle(9).txt", "particle(10)"]
    assert list_numbered_files(tmp_path / "notes", "particle") == (tmp_path / "notes",)
    with pytest.raises(UserError, match=r"no specimen particle\(11\) or later; name them"):
        list_numbered_files(tmp_path, "particle", 11)
    with pytest.raises(UserError, match="No such file or directory; give a folder"):
        list_numbered_files(tmp_path / "absent", "particle")
    (tmp_path / "particle(9).npy").write_text("0")
    with pytest.raises(UserError, match=r"particle\(9\)\.npy and particle\(9\)\.txt are both specimen 9; keep one"):
        list_numbered_files(tmp_path, "particle")


SHAPES = [((64, 64), (1.5, 1.5)), ((33, 50), (96 / 33, 96 / 50)), ((128, 7), (0.75, 96 / 7)), ((131, 96), (1.0, 1.1))]


@pytest.mark.parametrize("grid", SHAPES)
@pytest.mark.parametrize("shape", [(64, 64, 64), (21, 40, 37)])
def test_resampling_conserves_the_volume(
    grid: tuple[tuple[int, int], tuple[float, float]], shape: tuple[int, ...]
) -> None:
    body, field = mask(*shape), 96.0
    image = thickness(body, *grid, field)
    expected = body.sum() * (field / max(shape)) ** 3
    assert image.sum() * prod(grid[1]) == pytest.approx(expected, rel=1e-12)
    assert image.max() <= body.sum(axis=0).max() * field / max(shape) + 1e-9
    assert image.min() >= 0


def test_blocks_of_a_finer_grid_average_to_the_coarse_one() -> None:
    body = mask(21, 40, 37)
    fine = thickness(body, (66, 72), (1.5, 1.25), 96.0)
    coarse = thickness(body, (33, 24), (3.0, 3.75), 96.0)
    assert fine.reshape(33, 2, 24, 3).mean(axis=(1, 3)) == pytest.approx(coarse, abs=1e-12)


def test_centre_of_mass_stays_at_its_place() -> None:
    """Fixes axes, signs and origin, seen from the middle of the field: exactly so where pixels divide voxels."""
    body = mask(20, 30, 25)
    centre = [(np.argwhere(body)[:, axis].mean() + 0.5 - body.shape[axis] / 2) * 96 / 30 for axis in (1, 2)]
    for ((ny, nx), (dy, dx)), error in [(((60, 100), (1.6, 0.8)), 1e-9), *((grid, 0.2) for grid in SHAPES)]:
        image = thickness(body, (ny, nx), (dy, dx), 96.0)
        y, x = (np.arange(ny) + 0.5 - ny / 2) * dy, (np.arange(nx) + 0.5 - nx / 2) * dx
        assert [image.sum(1) @ y / image.sum(), image.sum(0) @ x / image.sum()] == pytest.approx(centre, abs=error)


def test_the_24_rotations_of_a_cube() -> None:
    matrices = cube_rotations()
    assert matrices.shape == (24, 3, 3)
    assert np.array_equal(matrices[0], np.eye(3))
    assert len({matrix.tobytes() for matrix in matrices}) == 24
    assert np.linalg.det(matrices) == pytest.approx(np.ones(24))
    assert np.array_equal(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (24, 1, 1)))


@pytest.mark.parametrize("n", [8, 9])
def test_turning_moves_voxels_by_the_matrix(n: int) -> None:
    body, middle = mask(n, n, n), (n - 1) / 2
    for number, matrix in enumerate(cube_rotations()):
        places = np.argwhere(body) - middle
        expected = np.zeros_like(body)
        expected[tuple((places @ matrix.T + middle).astype(int).T)] = True
        assert np.array_equal(rotate_by_number(body, number), expected)
        assert np.array_equal(rotate_by_matrix(body, matrix), expected)
    assert np.array_equal(rotate_by_number(body, 0), body)


def test_turning_a_mask_of_unequal_sides() -> None:
    body = mask(5, 8, 11)
    for number, matrix in enumerate(cube_rotations()):
        image = rotate_by_number(body, number)
        assert image.shape == tuple(abs(matrix) @ body.shape)
        assert image.sum() == body.sum()


def test_free_rotation_keeps_volume_and_turns_the_centre_of_mass() -> None:
    body = mask(40, 40, 40)
    grid = np.stack(np.meshgrid(*(np.arange(40) - 19.5,) * 3, indexing="ij"), axis=-1)
    centre = (grid * body[..., None]).sum((0, 1, 2)) / body.sum()
    for matrix in Rotation.random(5, rng=np.random.default_rng(0)).as_matrix():
        image = rotate_by_matrix(body, matrix)
        assert image.sum(dtype=np.float64) == pytest.approx(body.sum(), rel=0.01)
        assert (grid * image[..., None]).sum((0, 1, 2)) / image.sum() == pytest.approx(matrix @ centre, abs=0.05)
        assert image.min() >= 0
        assert image.max() <= 1 + 1e-6
        assert thickness(image, (40, 40), (1.0, 1.0), 40.0).sum() == pytest.approx(image.sum(), rel=1e-5)
