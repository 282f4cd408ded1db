"""Pools of pictures: whose picture belongs to what split, what is shown of it, and what is said of bad files."""

import pickle
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from pydantic import ValidationError

from generators.random_streams import Streams
from generators.specimens.from_files import picture_files
from generators.specimens.from_files.pictures import DrawnPicture, Pictures, apply_symmetry, resample_part
from schemas.fields import picture_views
from schemas.runtime.errors import UserError
from schemas.task import SPLITS

WHOLE = DrawnPicture(item=0, symmetry=0, part=1.0, y=0.0, x=0.0)
GREY = np.arange(12 * 17, dtype=np.uint8).reshape(12, 17)


def write(path: Path, values: np.ndarray) -> Path:
    match path.suffix:
        case ".npy":
            np.save(path, values)
        case ".tif":
            tifffile.imwrite(path, values, photometric="minisblack")
        case ".h5":
            with h5py.File(path, "w") as file:
                file["pictures"] = values
        case ".zarr":
            zarr.save_array(str(path), values)
        case _:
            Image.fromarray(values).save(path)
    return path


def pool(path: Path, **settings: Any) -> Pictures:
    return Pictures(path=path, **settings).bind(None)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".npy", ".tif", ".h5", ".zarr"])
def test_a_picture_is_read_from_each_kind_of_file(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", GREY)
    image = pool(path).render(WHOLE, GREY.shape)
    assert image.dtype == np.float32
    assert image == pytest.approx(GREY / 255, abs=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".h5", ".zarr"])
def test_a_stack_is_read_from_each_kind_of_file(suffix: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65535, (5, 9, 11)).astype(np.uint16)
    found = pool(write(tmp_path / f"a{suffix}", values), shared=True)
    assert found.counts == (5,)
    for item in range(5):
        drawn = DrawnPicture(item, 0, 1.0, 0.0, 0.0)
        assert found.render(drawn, (9, 11)) == pytest.approx(values[item] / 65535, abs=1e-6)


def test_colours_become_grey() -> None:
    colours = np.random.default_rng(0).integers(0, 255, (6, 7, 4)).astype(np.uint8)
    expected = (0.2126 * colours[..., 0] + 0.7152 * colours[..., 1] + 0.0722 * colours[..., 2]) / 255
    path = Path("a.png")
    assert picture_files.to_grey(path, colours, "type") == pytest.approx(expected, abs=1e-6)
    assert picture_files.to_grey(path, np.repeat(GREY[..., None], 3, axis=2), "type") == pytest.approx(GREY / 255)
    assert picture_files.to_grey(path, GREY[..., None], "type") == pytest.approx(GREY / 255)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_levels(dtype: type) -> None:
    """The range of the type, or of the picture."""
    most = 1 if dtype in (np.bool_, np.float32, np.float64) else np.iinfo(dtype).max
    values: np.ndarray = np.array([[0, 1], [1, 0]] if most == 1 else [[0, 50], [100, 20]]).astype(dtype)
    path = Path("a.npy")
    assert picture_files.to_grey(path, values, "type") == pytest.approx(values.astype(float) / most)
    stretched = picture_files.to_grey(path, values, "image")
    assert [stretched.min(), stretched.max()] == pytest.approx([0, 1])
    assert not picture_files.to_grey(path, np.full((3, 3), 7.5), "image").any()


def test_symmetries_are_those_stated() -> None:
    y, x = np.indices((5, 5)) - 2
    seen = {apply_symmetry(GREY[:5, :5].astype(np.float32), k).tobytes() for k in range(8)}
    assert len(seen) == 8
    point = ((y == 1) & (x == 2)).astype(np.float32)
    for symmetry, place in ((0, (1, 2)), (1, (2, -1)), (2, (-1, -2)), (4, (1, -2)), (5, (-2, -1))):
        image = apply_symmetry(point, symmetry)
        assert (int(y[image == 1][0]), int(x[image == 1][0])) == place


@pytest.mark.parametrize("shape", [(20, 20), (13, 30), (40, 11)])
@pytest.mark.parametrize("part", [0.3, 1.0])
def test_the_part_lies_where_it_is_said(shape: tuple[int, int], part: float) -> None:
    """Of a ramp along each axis the part is a ramp: its ends say where it lies, in the shape of the field."""
    size = (60, 90)
    width = part * min(size[1], size[0] * shape[1] / shape[0])
    sides = (width * shape[0] / shape[1], width)
    for axis in (0, 1):
        ramp = np.broadcast_to((np.arange(size[axis]) + 0.5).reshape((-1, 1) if axis == 0 else (1, -1)), size)
        for place in (0.0, 0.4, 1.0):
            drawn = DrawnPicture(0, 0, part, place, place)
            image = resample_part(ramp.astype(np.float32), drawn, shape, shape[0] / shape[1]).mean(axis=1 - axis)
            step = sides[axis] / shape[axis]
            expected = (size[axis] - sides[axis]) * place + (np.arange(shape[axis]) + 0.5) * step
            inner = slice(2, -2)  # at the border there is no picture beyond
            assert image[inner] == pytest.approx(expected[inner], abs=0.02 * max(step, 1))


def test_a_coarser_grid_shows_means() -> None:
    noise = np.random.default_rng(0).random((120, 160)).astype(np.float32)
    image = resample_part(noise, WHOLE, (12, 16), 0.75)
    blocks = noise.reshape(12, 10, 16, 10).mean(axis=(1, 3))
    assert np.corrcoef(image.ravel(), blocks.ravel())[0, 1] > 0.8
    assert image.std() < 1.2 * blocks.std()


def test_every_picture_serves_one_split_and_the_same_everywhere(tmp_path: Path) -> None:
    """A folder of files and stacks: dealt by content, whatever their names, order and place."""
    rng = np.random.default_rng(0)
    for i in range(30):
        write(tmp_path / f"{i}.png", rng.integers(0, 255, (8, 9)).astype(np.uint8))
    write(tmp_path / "stack.npy", rng.random((200, 8, 9)))
    found = pool(tmp_path)
    members = {split: found.items_of(split) for split in SPLITS}
    assert sorted(item for items in members.values() for item in items) == list(range(230))
    assert [len(members[split]) / 230 for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.08)
    moved = tmp_path / "moved" / "within"
    moved.mkdir(parents=True)
    for i in range(30):
        shutil.move(tmp_path / f"{i}.png", moved / f"z{99 - i}.png")
    again = pool(tmp_path)
    for split in SPLITS:
        assert {found.keys[i] for i in members[split]} == {again.keys[i] for i in again.items_of(split)}
    assert found.keys[:1] == found.sha256[:1]  # a picture alone: the hash of its file


def test_a_stack_deals_its_pictures_as_it_always_did() -> None:
    """Fixed numbers: what served a split yesterday must not serve another tomorrow."""
    found = Pictures(sha256=("ab" * 32, "cd" * 32), counts=(20, 1))
    assert found.items_of("validation") == STACK["validation"]
    assert found.items_of("test") == STACK["test"]


STACK = {"validation": (5, 11, 12, 13, 20), "test": (1,)}


def test_pictures_are_found_again_by_hash(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    write(first / "a.png", GREY)
    write(first / "b.zarr", np.random.default_rng(0).random((4, 8, 9)))
    found = pool(first, shared=True)
    stored = Pictures.model_validate(found.model_dump(mode="json"))
    assert stored.path is None
    with pytest.raises(UserError, match="this recipe needs 2 pictures; give their folder, --inputs DIR"):
        stored.bind(None)
    first.rename(tmp_path / "second")
    again = stored.bind(tmp_path)
    assert again.counts == (1, 4)
    for k in range(6):
        drawn = again.draw(Streams(0, "train", k))
        assert drawn == found.draw(Streams(0, "train", k))
        assert again.render(drawn, (8, 8)).std() > 0
    (tmp_path / "second/b.zarr/c/0/0/0").unlink()
    with pytest.raises(UserError, match="1 of the pictures are missing"):
        stored.bind(tmp_path)


def test_samples_take_pictures_in_turn_and_draw_their_part(tmp_path: Path) -> None:
    found = pool(write(tmp_path / "a.npy", np.zeros((7, 8, 9))), shared=True)
    drawn = [found.draw(Streams(0, "train", k)) for k in range(700)]
    assert [picture.item for picture in drawn[:9]] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert {picture.symmetry for picture in drawn} == set(range(8))
    for name, low, high in (("part", 0.3, 1), ("y", 0, 1), ("x", 0, 1)):
        values = [getattr(picture, name) for picture in drawn]
        assert (min(values), max(values)) == pytest.approx((low, high), abs=0.02)
    for field in picture_views.FIELDS:
        for picture in drawn:
            value = getattr(picture, field.name.removeprefix("picture_"))
            assert np.dtype(field.dtype).type(value) == value
    fixed = pool(tmp_path / "a.npy", shared=True, orientation="fixed").draw(Streams(0, "train", 3))
    assert (fixed.symmetry, fixed.x) == (0, drawn[3].x)
    assert [f"picture_{column.name}" for column in fields(DrawnPicture)] == [f.name for f in picture_views.FIELDS]


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy", ".tif", ".h5"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.7])
def test_a_damaged_picture_is_told_in_one_line(suffix: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = cut(write(tmp_path / f"a{suffix}", noise), share)
    with pytest.raises(UserError, match=f"a{suffix}") as caught:
        picture_files.open_stack(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (np.zeros(5), "holds float64 of shape (5,); must be numbers with axes (y, x) or (item, y, x)"),
        (np.zeros((2, 3, 4, 5)), "of shape (2, 3, 4, 5)"),
        (np.zeros((0, 3, 5)), "of shape (0, 3, 5)"),
        (np.zeros((4, 1)), "of shape (4, 1)"),
        (np.zeros((4, 4), complex), "complex128 of shape"),
        (np.zeros((4, 4), "U3"), "of shape"),
    ],
)
def test_arrays_that_are_no_pictures(values: np.ndarray, rule: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UserError) as caught:
        pool(tmp_path)
    assert rule in str(caught.value)


def test_a_damaged_chunk_is_told_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", np.random.default_rng(0).random((4, 8, 9)))
    cut(path / "c/0/0/0", 0.5)
    with pytest.raises(UserError, match=r"a\.zarr: cannot be read as pictures \(.*\); get another copy") as caught:
        pool(path, shared=True).render(WHOLE, (8, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (np.array([[0, np.nan]]), "not all values are finite"),
        (
            np.array([[0, 2.5]]),
            "from 0 to 2.5: must be 8 or 16 bit, or floats from 0 to 1; or set pictures.levels=image",
        ),
        (np.array([[0, 7]]), "int64 from 0 to 7: must be 8 or 16 bit"),
        (np.array([[-1, 7]], np.int8), "int8 from -1 to 7"),
    ],
)
def test_values_without_a_scale(values: np.ndarray, rule: str) -> None:
    with pytest.raises(UserError) as caught:
        picture_files.to_grey(Path("a.npy"), values, "type")
    assert rule in str(caught.value)


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(GREY))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(UserError, match=name):
            picture_files.open_stack(tmp_path / name)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pictures\.path is missing: give a folder of pictures, or one file, --set"):
        Pictures().bind(None)
    with pytest.raises(UserError, match="no such file or folder; give a folder of pictures"):
        pool(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UserError, match=r"no pictures; these can be read: .*\.png"):
        pool(tmp_path)
    write(tmp_path / "a.png", GREY)
    found = pool(tmp_path)
    splits = [split for split in SPLITS if found.items_of(split)]
    assert len(splits) == 1
    other = next(split for split in SPLITS if split not in splits)
    with pytest.raises(UserError, match=f"pictures: none of the 1 pictures belongs to {other}.*pictures.shared=true"):
        found.check_split(other)


def test_a_picture_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", GREY)
    found = pool(path, shared=True)
    write(path, GREY[::-1].copy())
    with pytest.raises(UserError, match="has changed since the run began"):
        found.render(WHOLE, (8, 8))


@pytest.mark.parametrize(("settings", "rule"), [({"part": 0}, "more than 0"), ({"levels": "db"}, "'type' or 'image'")])
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Pictures.model_validate(settings)


def test_every_setting_and_column_says_what_it_is() -> None:
    for name, info in Pictures.model_fields.items():
        assert info.description or name == "paths"
