"""Files are read in a separate process, with limits on memory and on time; pipes and devices are not opened."""

import os
import re
import select
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from schemas.formats import isolated_reader, reading
from schemas.runtime.errors import UserError
from tests.conftest import Command, refused
from tests.foreign import ALL, SERIES, WRITERS, dm4, hdf5, npy, tiff_imagej


@pytest.fixture
def in_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let a new process that reads files run some lines first."""

    def start(lines: str) -> None:
        Path("sitecustomize.py").write_text(f"import os, sys, time\nif '-P' in sys.orig_argv:\n {lines}")

    isolated_reader.stop()
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    yield start
    isolated_reader.stop()


def test_a_library_that_crashes_takes_nothing_along(dataset: Command, in_reader: Callable[[str], None]) -> None:
    """As libhdf5 does on some damaged files."""
    hdf5("a.h5", SERIES)
    in_reader("os.abort()")
    result = dataset("import", "--task", "tie", "--from", "a.h5", *ALL)
    refused(result, "a.h5: cannot be read as HDF5", "crashed", "get another copy")


def test_without_the_extra_one_line_says_what_to_install(dataset: Command, in_reader: Callable[[str], None]) -> None:
    dm4("a.dm4", SERIES)
    in_reader("sys.modules['rsciio'] = None")
    refused(dataset("import", "--task", "tie", "--from", "a.dm4", *ALL), "a.dm4", "pip install 'drybeam[microscopy]'")


def test_one_process_reads_all_files(dataset: Command) -> None:
    """It returns what a reader in this process returns, whatever was wrong with the file before."""
    for name, write in WRITERS.items():
        write(name, SERIES)
        there = reading.read(name)[1]
        here = reading.read_as(reading._kind_and_head(Path(name))[0], Path(name), "")
        assert np.array_equal(there.values, here.values)
        assert there.values.dtype == here.values.dtype
        for key in ("known", "axes", "matlab", "colours", "patterns", "notes", "order"):
            assert getattr(there, key) == getattr(here, key), (name, key)
        Path("bad.h5").write_bytes(Path(name).read_bytes()[:600])
        with pytest.raises(UserError):
            reading.read("bad.h5")
    assert len(isolated_reader._RUNNING) == 1


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of 16 x 16 pixels that unpacks to 2 GiB."""
    isolated_reader.stop()
    with h5py.File("a.h5", "w") as file:
        item = file.create_dataset("d", (3, 16, 16), "f4", chunks=(3, 16, 16), compression="gzip")
        packer = zlib.compressobj(1)
        head, part = (packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        item.id.write_direct_chunk((0, 0, 0), head + 127 * part)
    monkeypatch.setattr(isolated_reader, "BASE_MEMORY_BYTES", 1 << 28)
    with pytest.raises(UserError, match=r"a.h5: "):
        reading.read("a.h5")
    (process,) = isolated_reader._RUNNING.values()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) < 1 << 20  # kB


def test_what_a_header_states_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite("a.tif", np.ones((30, 1024, 1024), np.uint16), photometric="minisblack")
    monkeypatch.setattr(isolated_reader, "BASE_MEMORY_BYTES", 1 << 27)
    for _ in range(3):  # the images of one file are not held while the next is read
        assert reading.read("a.tif")[1].values.size == 30 << 20


def test_time_is_limited(in_reader: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    tiff_imagej("a.tif", SERIES)
    in_reader("time.sleep(60)")
    monkeypatch.setattr(isolated_reader, "BASE_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"a.tif: took longer than 0 s to read"):
        reading.read("a.tif")
    assert not isolated_reader._RUNNING


def test_what_a_library_prints_is_not_taken_for_an_answer(in_reader: Callable[[str], None]) -> None:
    """C libraries write to descriptor 1, of which `sys.stdout` knows nothing."""
    tiff_imagej("a.tif", SERIES)
    written = "'numpy' in sys.modules and os.write(1, b'{}')"  # not while modules are imported
    in_reader(f"import json; loads = json.loads; json.loads = lambda line: ({written}, loads(line))[1]")
    assert np.array_equal(reading.read("a.tif")[1].values, SERIES)


def test_an_interrupted_answer_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    tiff_imagej("a.tif", SERIES)
    tiff_imagej("b.tif", SERIES + 1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(select, "select", interrupt)
        with pytest.raises(KeyboardInterrupt):
            reading.read("a.tif")
    assert np.array_equal(reading.read("b.tif")[1].values, SERIES + 1)


def test_a_plain_array_needs_no_process() -> None:
    isolated_reader.stop()
    npy("a.npy", SERIES)
    assert np.array_equal(reading.read("a.npy")[1].values, SERIES)
    assert not isolated_reader._RUNNING


@pytest.mark.parametrize("name", ["pipe.tif", "zero.npy", "pipe.h5:data"])
def test_only_regular_files_are_opened(name: str, dataset: Command) -> None:
    place = name.partition(":")[0]
    Path(place).symlink_to("/dev/zero") if "zero" in name else os.mkfifo(place)
    refused(dataset("import", "--task", "tie", "--from", name, *ALL), "is a device or a pipe; give a regular file")


def test_no_pipe_beside_an_array_is_opened(dataset: Command) -> None:
    npy("a.npy", SERIES)
    os.mkfifo("a.json")
    assert dataset("import", "--task", "tie", "--from", "a.npy", *ALL)[0] == 0


@pytest.mark.parametrize(("name", "beside"), [("a.emi", "a_1.ser"), ("a_1.ser", "a.emi"), ("a.tvips", "a_001.tvips")])
def test_no_pipe_beside_a_file_of_several_parts_is_opened(name: str, beside: str, dataset: Command) -> None:
    Path(name).write_bytes(b"0" * 100)
    os.mkfifo(beside)
    isolated_reader.stop()
    refused(dataset("import", "--task", "tie", "--from", name, *ALL), f"{beside}: is not a regular file")
    assert os.getpid() not in isolated_reader._RUNNING


def test_a_small_file_does_not_promise_gigabytes(dataset: Command) -> None:
    """The header of a MAT file of zeros alone, whose values would take minutes to unpack."""
    import scipy.io

    scipy.io.savemat("a.mat", {"images": np.zeros((3, 2000, 2000))}, do_compression=True)
    refused(dataset("import", "--task", "tie", "--from", "a.mat", *ALL), "a.mat: damaged: states 96,000,000 bytes")
