"""A TIFF that names other files of this machine is read as its own pages alone."""

import json
import struct
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from .conftest import Command, refused

PIXELS = 16


def _series(path: Path, image: np.ndarray) -> int:
    """Write an image as Micro-Manager's NDTiff does; return where its pixels begin."""
    summary = json.dumps({"Prefix": "x"}).encode()
    head = struct.pack("<4sI5I", b"II*\0", 0, 483729, 3, 0, 2355492, len(summary)) + summary
    head += b"\0" * (-len(head) % 16)
    metadata = len(head) + image.nbytes
    body = head + image.tobytes() + b'{"a":1}'.ljust(15) + b"\0"
    tags = [
        *((tag, 4, 1, PIXELS) for tag in (256, 257)),
        *((258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, len(head)), (277, 3, 1, 1)),
        *((278, 4, 1, PIXELS), (279, 4, 1, image.nbytes), (51123, 2, 16, metadata)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0" * 4
    path.write_bytes(body[:4] + struct.pack("<I", len(body)) + body[8:] + directory)
    return len(head)


def _entry(axes: dict[str, int], name: str, offset: int) -> bytes:
    about, file = json.dumps(axes).encode(), name.encode()
    numbers = struct.pack("<IiiiiIii", offset, PIXELS, PIXELS, 1, 0, 0, 0, 0)
    return struct.pack("<I", len(about)) + about + struct.pack("<I", len(file)) + file + numbers


def test_an_index_of_other_files_is_not_followed(dataset: Command) -> None:
    secret = np.random.default_rng(0).integers(1, 60000, (PIXELS, PIXELS), np.uint16)
    Path("secret").mkdir()
    Path("theirs").mkdir()
    tifffile.imwrite("secret/private.tif", secret, photometric="minisblack")
    offset = _series(Path("theirs/series.tif"), np.ones((PIXELS, PIXELS), np.uint16))
    index = (_entry({"time": 0}, "series.tif", offset), _entry({"time": 1}, "../secret/private.tif", offset))
    Path("theirs/NDTiff.index").write_bytes(b"".join(index))
    command = ("import", "--task", "tie", "--from", "theirs/series.tif", "--set", "voltage=300e3", "sampling=2")
    refused(dataset(*command, "defocus=-8000,8000"), "")
    np.save("in_focus.npy", np.ones((PIXELS, PIXELS), np.uint16))
    assert dataset(*command[:5], "in_focus.npy", *command[5:], "defocus=-8000,0")[0] == 0
    assert (xr.open_zarr("measured.zarr/test").intensity == 1).all()
