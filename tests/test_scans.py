"""Predicted patches to images, store to store: as in memory, with coordinates, one image per scan, or one line."""

import json
import os
import shutil
import tracemalloc
from dataclasses import replace
from errno import ENOSPC
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr

from benchmarks.stitch import publish_patches
from inference.stitching import store
from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import Patches, first_pixels, frame_of, relative_weights, tapered_weights
from inference.stitching.stitched_image import Iterative, stitch
from inference.stitching.store import Scans, read_images
from schemas.runtime.errors import Interrupted, UserError

SAMPLING = 0.05  # nm
SIZE = (7, 10)
COUNT = 150
SOURCE, OUT = Path("patches.zarr"), Path("scan.zarr")

write = partial(store.write, field="phase")


def truth(y: Any, x: Any) -> np.ndarray:
    """A phase [rad] at positions [nm]."""
    return np.asarray(np.sin(9 * y) * np.cos(7 * x) + y * x)


def scans(count: int = COUNT) -> Scans:
    """Positions on a jittered raster of 10 columns, from (-1, 2) nm on; the outermost pixels of a patch are unknown."""
    index = np.arange(count)
    jitter = np.random.default_rng(1).uniform(-0.03, 0.03, (count, 2))
    position = np.stack([-1 + index // 10 * 0.11, 2 + index % 10 * 0.14], axis=1) + jitter
    mask = np.pad(np.ones(np.subtract(SIZE, 2)), 1)[None]
    return Scans(position, tapered_weights(mask), np.zeros(count, np.int64), SAMPLING)


def patches_of(where: Scans) -> np.ndarray:
    rng = np.random.default_rng(2)
    first = first_pixels(where.position, SAMPLING, SIZE)
    y, x = ((first[:, axis, None] + np.arange(SIZE[axis])) * SAMPLING for axis in (0, 1))
    values = truth(y[:, :, None], x[:, None, :]) + rng.normal(size=(len(first), 1, 1))
    return values.astype(np.float32)


@pytest.fixture
def where() -> Scans:
    found = scans()
    publish_patches(SOURCE, patches_of(found), 32)
    return found


def refused(call: Any, *parts: str) -> None:
    with pytest.raises(UserError) as told:
        call()
    assert "\n" not in str(told.value)
    for part in parts:
        assert part in str(told.value)


def test_the_image_lies_where_the_object_does(where: Scans) -> None:
    """The stored coordinates are those of the positions: y is y, x is x, and nothing is half a pixel away."""
    write(SOURCE, where, OUT, LeastSquares())
    with xr.open_zarr(OUT) as found:
        assert found.phase.dims == ("scan", "y", "x")
        assert (found.phase.units, found.y.units, found.x.units) == ("rad", "nm", "nm")
        expected = truth(found.y.values[:, None], found.x.values[None, :])
        difference = found.phase.values[0] - expected
        known = np.isfinite(difference)
        np.testing.assert_array_equal(known, found.weight.values[0] > 0)
        np.testing.assert_array_equal(known, found.component.values[0] == 1)
        assert not known.all()
        assert np.ptp(difference[known]) < 2e-6
        assert np.diff(found.x.values) == pytest.approx(SAMPLING)


@pytest.mark.parametrize("method", [LeastSquares(), Iterative()])
@pytest.mark.parametrize("unit", [8, 32, 512])
def test_from_store_to_store_it_is_the_image_of_memory(where: Scans, method: Any, unit: int) -> None:
    shutil.rmtree(SOURCE)
    values = patches_of(where)
    values[17] = np.nan
    publish_patches(SOURCE, values, unit)
    images = write(SOURCE, where, OUT, method)
    patches = Patches(first_pixels(where.position, SAMPLING, SIZE), relative_weights(where.weight))
    frame = frame_of(patches.corner, SIZE)
    expected = stitch(lambda window: [(np.arange(COUNT), values[:, *window])], patches, frame, method)
    with xr.open_zarr(OUT) as found:
        np.testing.assert_array_equal(found.phase.values[0], expected.values.astype(np.float32))
        np.testing.assert_array_equal(found.weight.values[0], expected.weight.astype(np.float32))
    assert images == read_images(OUT)
    assert images.method == ("iterative" if isinstance(method, Iterative) else "least_squares")
    (scan,) = images.scans
    assert (scan.patches, scan.left_out, scan.components) == (COUNT, 1, 1)
    assert scan.misfit == expected.misfit


def test_each_scan_has_an_image_of_its_own(where: Scans) -> None:
    """Their patches taken in turns, and one scan alone in its own units."""
    number = np.where(np.arange(COUNT) >= 128, 7, np.arange(COUNT) % 2 * 3)
    images = write(SOURCE, replace(where, scan=number), OUT, LeastSquares())
    assert [scan.scan for scan in images.scans] == [0, 3, 7]
    assert [scan.patches for scan in images.scans] == [64, 64, 22]
    with xr.open_zarr(OUT) as found:
        assert found.scan.values.tolist() == [0, 3, 7]
        for place, one in enumerate((0, 3, 7)):
            rows = np.flatnonzero(number == one)
            patches = Patches(first_pixels(where.position, SAMPLING, SIZE), relative_weights(where.weight))
            values, frame = patches_of(where), frame_of(patches.corner, SIZE)

            def read(window: Any, values: Any = values, rows: Any = rows) -> Any:
                return [(np.arange(len(rows)), values[rows][:, *window])]

            alone = stitch(read, patches.select(rows), frame, LeastSquares())
            np.testing.assert_array_equal(found.phase.values[place], alone.values.astype(np.float32))


def test_memory_does_not_grow_with_the_patches() -> None:
    """Four times as many patches at the same places: no more than a unit and a few numbers per patch."""

    def peak(count: int) -> int:
        path = Path(f"{count}.zarr")
        publish_patches(path, np.zeros((count, 32, 32), np.float32), 64)
        where = Scans(np.zeros((count, 2)), np.ones((1, 32, 32)), np.zeros(count, np.int64), 1.0)
        tracemalloc.start()
        write(path, where, Path("out.zarr"), LeastSquares())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(64)
    assert peak(2048) - peak(512) < 0.1 * (2048 - 512) * 32 * 32 * 4


def test_images_that_are_there_are_made_anew(where: Scans) -> None:
    write(SOURCE, where, OUT, LeastSquares())
    write(SOURCE, where, OUT, Iterative())
    assert read_images(OUT).settings == {"alpha": 0.1, "sweeps": 3, "seed": 0}


def test_what_is_not_ours_is_never_touched(where: Scans) -> None:
    before = (SOURCE / "zarr.json").read_bytes()
    refused(lambda: write(SOURCE, where, SOURCE, LeastSquares()), "something else than stitched images; choose another")
    Path("file").write_text("mine")
    refused(lambda: write(SOURCE, where, Path("file"), LeastSquares()), "choose another place")
    assert ((SOURCE / "zarr.json").read_bytes(), Path("file").read_text()) == (before, "mine")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"position": np.zeros((3, 2))},
            ("150 patches, but positions have the shape (3, 2)", "take them from the split"),
        ),
        ({"scan": np.zeros(3, np.int64)}, ("scans (3,)",)),
        ({"weight": np.ones((1, 3, 4))}, ("patches of (7, 10) pixels, but weights have the shape (1, 3, 4)",)),
        ({"weight": np.ones((2, *SIZE))}, ("weights have the shape (2, 7, 10)", "or one for each patch")),
        ({"weight": np.zeros((1, *SIZE))}, ("not all 0",)),
        ({"sampling": 0.0}, ("sampling 0.0 nm", "must be above 0")),
        ({"sampling": 1e-7}, ("pixels: the limit is", "check positions and sampling")),
        ({"position": np.full((COUNT, 2), np.nan)}, ("position of sample 0", "must be finite")),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(
    where: Scans, change: dict[str, Any], said: tuple[str, ...]
) -> None:
    refused(lambda: write(SOURCE, replace(where, **change), OUT, LeastSquares()), *said)
    assert os.listdir() == [SOURCE.name]


def test_damaged_predictions_are_told_in_one_line_and_leave_nothing(where: Scans) -> None:
    part = next((SOURCE / "phase" / "c").rglob("0"))
    next(path for path in part.rglob("*") if path.is_file()).write_bytes(b"damage")
    refused(lambda: write(SOURCE, where, OUT, LeastSquares()), "cannot be read", "run the same `infer` command again")
    assert os.listdir() == [SOURCE.name]


def test_a_field_that_is_no_patch_is_refused(where: Scans) -> None:
    refused(lambda: write(SOURCE, where, OUT, LeastSquares(), field="phas"), "'phas'; did you mean phase?")
    refused(lambda: write(Path("nothing"), where, OUT, LeastSquares()), "no predictions here")


def test_images_that_are_none_or_of_the_future_are_refused(where: Scans) -> None:
    refused(lambda: read_images(SOURCE), "no stitched images here")
    refused(lambda: read_images(Path("nothing")), "no stitched images here")
    write(SOURCE, where, OUT, LeastSquares())
    root = json.loads((OUT / "zarr.json").read_text())
    root["attributes"]["drybeam_images"]["format"] = 99
    (OUT / "zarr.json").write_text(json.dumps(root))
    refused(lambda: read_images(OUT), "format 99, this program reads up to")


def test_a_place_that_cannot_be_written_is_told(where: Scans) -> None:
    Path("file").write_text("")
    refused(lambda: write(SOURCE, where, Path("file/scan.zarr"), LeastSquares()), "--out file/scan.zarr", "choose")


def test_a_full_disk_can_be_resumed(where: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.runtime.publish.publish", Mock(side_effect=OSError(ENOSPC, os.strerror(ENOSPC))))
    with pytest.raises(Interrupted, match=r"scan.zarr: No space left on device; make room and run the same command"):
        write(SOURCE, where, OUT, LeastSquares())
    assert not OUT.exists()
