"""HDF5 files from strangers: none brings in the values of another file, whichever reader it is for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from schemas.formats import hdf5_links, reading
from schemas.formats.image import Picture
from schemas.runtime.errors import UserError
from tests import foreign, foreign_scans
from tests.conftest import Command, refused

type Point = Callable[[h5py.File, str], None]

SECRET = np.random.default_rng(7).uniform(1, 2, (3, 20, 31)).astype(np.float32)
SCANNED = np.random.default_rng(8).integers(0, 9, (3, 4, 20, 31)).astype(np.uint16)


def by_link(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.ExternalLink("secret.h5", "values")


def by_link_on_the_way(file: h5py.File, name: str) -> None:
    """The group that holds it lies in another file."""
    group = name.rpartition("/")[0]
    with h5py.File("secret.h5", "a") as secret:
        file.copy(group, secret, "group") if group else None
    if group:
        del file[group]
        file[group] = h5py.ExternalLink("secret.h5", "group")
    else:
        by_link(file, name)


def by_soft_link(file: h5py.File, name: str) -> None:
    """A link within the file leads to one that leads out."""
    del file[name]
    file["further"] = h5py.ExternalLink("secret.h5", "/")
    file[name] = h5py.SoftLink("/further/values")


def _replace(file: h5py.File, name: str, make: Callable[[Any], Any]) -> None:
    old = file[name]
    attributes = dict(old.attrs)
    del file[name]
    make(old).attrs.update(attributes)


def by_virtual_dataset(file: h5py.File, name: str) -> None:
    def make(old: h5py.Dataset) -> h5py.Dataset:
        layout = h5py.VirtualLayout(old.shape, old.dtype)
        layout[:] = h5py.VirtualSource("secret.h5", "values", old.shape)
        return file.create_virtual_dataset(name, layout)

    _replace(file, name, make)


def by_external_storage(file: h5py.File, name: str) -> None:
    def make(old: h5py.Dataset) -> h5py.Dataset:
        size = old.size * old.dtype.itemsize
        return file.create_dataset(name, old.shape, old.dtype, external=[("secret.bin", 0, size)])

    _replace(file, name, make)


POINTS: dict[str, Point] = {
    point.__name__: point
    for point in (by_link, by_link_on_the_way, by_soft_link, by_virtual_dataset, by_external_storage)
}
OURS = {
    "a.h5": foreign.hdf5,
    "matlab.mat": foreign.mat_73,
    "a.emd": foreign.emd,
    "scan.h5": foreign_scans.py4dstem,
}
PLUGINS = {"scan.hspy": foreign_scans.hyperspy}
WRITERS = OURS | PLUGINS


def write(name: str) -> str:
    """A good file, and the secrets beside it; the name of its images."""
    values = SCANNED if name.startswith("scan") else SECRET
    WRITERS[name](name, values)
    Path("secret.bin").write_bytes((values + 1).tobytes())
    with h5py.File("secret.h5", "w") as file:
        file.create_dataset("values", data=values + 1, chunks=True)
    with h5py.File(name) as file:
        found: list[str] = []
        file.visititems(lambda key, item: found.append(key) if getattr(item, "ndim", 0) > 2 else None)
    return found[0]


def read(name: str, inner: str = "") -> Picture:
    """In this process."""
    return reading.read_as(reading._kind_and_head(Path(name))[0], Path(name), inner)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", WRITERS)
def test_no_hdf5_file_brings_in_another(name: str, point: str) -> None:
    inner = write(name)
    with h5py.File(name, "a") as file:
        POINTS[point](file, inner)
    with pytest.raises(UserError) as error:
        read(name, inner if name in OURS else "")
    assert "another file" in str(error.value) or "in other files" in str(error.value)
    assert "copy the data into this file" in str(error.value)


@pytest.mark.parametrize("name", OURS)
def test_a_link_that_is_asked_for_is_named(name: str) -> None:
    inner = write(name)
    with h5py.File(name, "a") as file:
        by_link(file, inner)
        file["deep/out"] = h5py.ExternalLink("secret.h5", "/")
        file["soft"] = h5py.SoftLink("/deep/out/values")
    with pytest.raises(UserError, match=f"{name}:{inner}: is a link to another file; copy the data into this file"):
        read(name, inner)
    with pytest.raises(UserError, match=f"{name}:deep/out: is a link to another file"):
        read(name, "/deep/out/values")
    for inner in ("soft", "./deep//out/values"):
        with pytest.raises(UserError, match=r"deep/out: is a link to another file.*, or give secret.h5:"):
            read(name, inner)
    with pytest.raises(UserError, match="no such array"):
        read(name, "none/of/these")


@pytest.mark.parametrize("name", ["data_000001", "counts", "other"])
@pytest.mark.parametrize("there", ["", "data.h5", "pixel_mask", "flatfield"])
def test_nothing_stands_in_for_data_of_another_file(name: str, there: str) -> None:
    """A master file, whose data are links: numbered, the signal of NXdata, or otherwise."""
    with h5py.File("master.h5", "w") as file:
        file[f"entry/data/{name}"] = h5py.ExternalLink("d.h5", "/entry/data/data")
        file["entry/data"].attrs["signal"] = np.array([b"counts"])
        if there:
            file[f"entry/instrument/detector/{there}"] = SECRET[0]
        file["entry/instrument/detector/distance"] = 0.1
    if name == "other" and there == "data.h5":
        names = f"arrays: entry/instrument/detector/{there}, entry/data/other"
        with pytest.raises(UserError, match=rf"{names}\); choose one, such as master.h5:entry/instrument"):
            read("master.h5")
    else:
        with pytest.raises(UserError, match=rf"{name}: is a link to another file.*give d.h5:entry/data/data$"):
            read("master.h5")
    if there:
        assert np.array_equal(read("master.h5", there).values, SECRET[0])


def test_a_mask_alone_is_read_by_name_only() -> None:
    with h5py.File("mask.h5", "w") as file:
        file["detector/pixel_mask"] = np.zeros((4, 5))
        file["detector/distance"] = 0.1
    with pytest.raises(UserError, match=r"holds no images but detector/pixel_mask; name it to read it: mask.h5:det"):
        read("mask.h5")


def test_hdf5_files_are_refused_at_the_command_line(dataset: Command) -> None:
    inner = write("a.emd")
    with h5py.File("a.emd", "a") as file:
        by_link(file, inner)
    command = ("import", "--task", "tie", "--from", f"a.emd:{inner}", *foreign.ALL)
    refused(dataset(*command), f"a.emd:{inner}: is a link to another")


def test_links_beside_what_is_read() -> None:
    """A reader of one array ignores them; a plugin may follow them, so they are refused."""
    for name in WRITERS:
        write(name)
        with h5py.File(name, "a") as file:
            file["beside"] = h5py.ExternalLink("secret.h5", "/")
    for name in OURS:
        assert read(name).values.size
    for name in PLUGINS:
        with pytest.raises(UserError, match=f"{name}:beside: is a link to another file"):
            read(name)


def test_what_stays_in_a_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles of hard links, soft links to anything, and a virtual dataset of the same file."""
    for name in WRITERS:
        inner = write(name)
        with h5py.File(name, "a") as file:
            file["round/and/round"] = file["/"]
            file["soft"] = h5py.SoftLink("/round")
            file["dangling"] = h5py.SoftLink("/nowhere")
            layout = h5py.VirtualLayout((2,), "f8")
            layout[:] = h5py.VirtualSource(".", "/part", (2,))
            file["part"] = [1.0, 2.0]
            file.create_virtual_dataset("same", layout)
        assert read(name, inner if name in OURS else "").values.size
    monkeypatch.setattr(hdf5_links, "MAX_LINKS", 3)
    with pytest.raises(UserError, match="has more than 3 links"):
        read("scan.hspy")
