"""Choice among the arrays of a file: the named one is read, the others never disturb, and a list names them all."""

import io
import zipfile
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import scipy.io
import tifffile

from schemas.formats import tiff
from schemas.runtime.errors import UserError
from tests.conftest import Command, refused
from tests.foreign import SERIES, UNSAID
from tests.foreign_scans import hyperspy
from tests.test_foreign_axes import IMAGE, OME
from tests.test_foreign_values import read
from tests.velox import velox

IMAGES = np.random.default_rng(0).integers(80, 120, (3, 16, 20)).astype(np.uint16)


@pytest.mark.parametrize("options", [{"imagej": True}, {"photometric": "minisblack"}, {"ome": True}])
def test_a_number_after_a_tiff_is_that_of_an_image(options: dict[str, object]) -> None:
    name = "a.ome.tif" if "ome" in options else "a.tif"
    tifffile.imwrite(name, IMAGES, **options)  # type: ignore[arg-type]
    assert np.array_equal(read(name).values, IMAGES)
    for number in range(3):
        assert np.array_equal(read(name, str(number)).values, IMAGES[number])
    with pytest.raises(UserError, match=r"a(.ome)?.tif:3: holds 3 images; give a number from 0 to 2"):
        read(name, "3")
    with pytest.raises(UserError, match=r"no such array"):
        read(name, "other")


def test_reduced_images_are_left_out_unless_they_are_named() -> None:
    with tifffile.TiffWriter("a.tif") as file:
        file.write(IMAGES[0, ::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
        file.write(IMAGES[1], photometric="minisblack", metadata=None)
    assert np.array_equal(read("a.tif").values, IMAGES[1])
    assert np.array_equal(read("a.tif", "1").values, IMAGES[1])
    assert np.array_equal(read("a.tif", "0").values, IMAGES[0, ::2, ::2])
    with tifffile.TiffWriter("b.tif") as file:
        file.write(IMAGES[0], photometric="minisblack", metadata=None)
        file.write(IMAGES[1, ::2], photometric="minisblack", metadata=None)
    with pytest.raises(UserError, match=r"holds 2 images \(arrays: series0, series1\); choose one, such as b.tif:ser"):
        read("b.tif")
    assert np.array_equal(read("b.tif", "series1").values, IMAGES[1, ::2])


def test_images_of_one_ome_file_have_names_and_pixel_sizes_of_their_own() -> None:
    size = 'PhysicalSizeX="{0}" PhysicalSizeY="{0}" PhysicalSizeXUnit="nm" PhysicalSizeYUnit="nm"'
    parts = [("a &amp; b", 0, 100), ("series", 3, 2)]
    xml = OME.format(
        "".join(
            IMAGE.format(number=number, name=name, first=first, size=size.format(pixel))
            for number, (name, first, pixel) in enumerate(parts)
        )
    )
    with tifffile.TiffWriter("a.ome.tif") as file:
        for number, image in enumerate((*SERIES, *SERIES[::-1])):
            file.write(image, photometric="minisblack", description=xml.encode() if not number else None, metadata=None)
    with pytest.raises(UserError, match=r"arrays: a & b, series"):
        read("a.ome.tif")
    for name, values, pixel in (("a & b", SERIES, 100), ("series", SERIES[::-1], 2), ("4", SERIES[1], 2)):
        picture = read("a.ome.tif", name)
        assert np.array_equal(picture.values, values)
        assert picture.known["sampling"] == (pixel,)


def test_links_and_empty_datasets_of_hdf5() -> None:
    with h5py.File("a.h5", "w") as file:
        file["entry/detector/data"] = SERIES
        file["entry/data/hard"] = file["entry/detector/data"]
        file["entry/soft"] = h5py.SoftLink("data")
        file["entry/null"] = h5py.Empty("f4")
        file["entry/text"] = "hello"
        file["round"], file["gone"] = h5py.SoftLink("/round"), h5py.SoftLink("/nowhere")
    for inner in ("", "entry/detector/data", "entry/data/hard", "entry/soft/hard", "/entry//./data/hard", "hard"):
        assert np.array_equal(read("a.h5", inner).values, SERIES), inner
    for inner, rule in {
        "entry/null": "is a null dataset, without values",
        "entry/text": "holds object; give an array of numbers",
        "round": "no such array",
        "gone": "no such array",
    }.items():
        with pytest.raises(UserError, match=rf"a.h5:{inner}: {rule}"):
            read("a.h5", inner)


def test_the_largest_array_is_suggested() -> None:
    np.savez("a.npz", dark=SERIES[0], images=SERIES)
    with pytest.raises(UserError, match=r"holds 2 images \(arrays: images, dark\); choose one, such as a.npz:images"):
        read("a.npz")


def test_members_of_an_archive_do_not_disturb_one_another() -> None:
    np.savez("a.npz", settings={"kV": 300}, **{"run/images": SERIES})  # type: ignore[arg-type]
    with zipfile.ZipFile("a.npz", "a") as archive:
        archive.writestr("README.txt", "hello")
        archive.writestr("short.npy", b"\x93NUMPY")
    for inner in ("", "run/images", "images"):
        assert np.array_equal(read("a.npz", inner).values, SERIES)
    with pytest.raises(UserError, match=r"a.npz:settings: holds Python objects"):
        read("a.npz", "settings")
    with pytest.raises(UserError, match=r"a.npz: cannot be read as NPY"):
        read("a.npz", "README.txt")


def test_encrypted_members_say_so() -> None:
    file = io.BytesIO()
    np.save(file, SERIES)
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("d.npy", file.getvalue())
    raw = bytearray(Path("a.npz").read_bytes())
    raw[6] |= 1
    raw[raw.find(b"PK\1\2") + 8] |= 1
    Path("a.npz").write_bytes(raw)
    with pytest.raises(UserError, match=r"a.npz:d: is encrypted"):
        read("a.npz", "d")


def test_fields_of_matlab_structs_have_names() -> None:
    scan = {"images": np.moveaxis(SERIES, 0, -1), "kV": 300.0, "name": "x", "dark": SERIES[0]}
    scipy.io.savemat("a.mat", {"scan": scan})
    assert np.array_equal(np.moveaxis(read("a.mat", "scan.images").values, -1, 0), SERIES)
    with pytest.raises(UserError, match=r"arrays: scan.images, scan.dark"):
        read("a.mat")
    with pytest.raises(UserError, match=r"a.mat:scan.image: no such array; did you mean scan.images\?"):
        read("a.mat", "scan.image")


def test_velox_has_images_beside_spectra(dataset: Command) -> None:
    velox("a.emd", {"HAADF": IMAGES[0], "Si": IMAGES[1]})
    for name, values in (("HAADF", IMAGES[0]), ("Si", IMAGES[1])):
        picture = read("a.emd", name)
        assert np.array_equal(picture.values, values)
        assert picture.known["sampling"] == pytest.approx((2.34,))
    refused(dataset("import", "--task", "tie", "--from", "a.emd", *UNSAID), "arrays: HAADF, Si")
    velox("b.emd", {"HAADF": np.moveaxis(IMAGES, 0, -1)})
    picture = read("b.emd")
    assert np.array_equal(picture.values, IMAGES)


def test_arrays_without_chunks_are_read() -> None:
    """The plugins for HSPY and Velox read only chunks lazily."""
    scan = np.random.default_rng(0).poisson(3, (3, 4, 16, 16)).astype(np.uint16)
    hyperspy("a.hspy", scan)
    velox("a.emd", {"HAADF": np.moveaxis(IMAGES, 0, -1)})
    for name, place in (("a.hspy", "Experiments/scan/data"), ("a.emd", f"Data/Image/{0:032x}/Data")):
        with h5py.File(name, "a") as file:
            values = file[place][...]
            del file[place]
            file.create_dataset(place, data=values)
    assert np.array_equal(read("a.hspy").values, scan)
    assert np.array_equal(read("a.emd").values, IMAGES)


def test_a_variable_of_matlab_that_is_not_there_is_answered_by_those_that_are() -> None:
    scipy.io.savemat("a.mat", {"stack": SERIES, "info": {"kV": 300.0}})
    with pytest.raises(UserError, match=r"a.mat:cells: no such array; there are: stack"):
        read("a.mat", "cells")


def test_faults_of_a_header_that_readers_bear_are_told(dataset: Command) -> None:
    for place, fault in ((208, "Map ID string not found"), (212, "Unrecognised machine stamp")):
        with mrcfile.new("a.mrc", overwrite=True) as file:
            file.set_data(SERIES)
        raw = bytearray(Path("a.mrc").read_bytes())
        raw[place : place + 4] = bytes(4)
        Path("a.mrc").write_bytes(raw)
        picture = read("a.mrc")
        assert np.array_equal(picture.values, SERIES)
        assert len(picture.notes) == 1
        assert fault in picture.notes[0]
    known = (*UNSAID, "sampling=2")
    assert "Unrecognised machine stamp" in dataset("import", "--task", "tie", "--from", "a.mrc", *known)[1]


@pytest.mark.parametrize("compression", ["lzw", "zstd", "jpegxl", "packbits"])
def test_compressed_tiffs_are_read(compression: str) -> None:
    tifffile.imwrite("a.tif", IMAGES, photometric="minisblack", compression=compression)
    assert np.array_equal(read("a.tif").values, IMAGES)


@pytest.mark.parametrize("mode", [3, 101])
def test_modes_of_mrc_that_cannot_be_read(mode: int) -> None:
    with mrcfile.new("a.mrc") as file:
        file.set_data(SERIES)
    raw = bytearray(Path("a.mrc").read_bytes())
    raw[12] = mode
    Path("a.mrc").write_bytes(raw)
    with pytest.raises(UserError, match=rf"mode {mode} of MRC cannot be read; .*convert it"):
        read("a.mrc")


@pytest.mark.parametrize(("number", "remedy"), [(32008, "pip install hdf5plugin"), (40000, "install it")])
def test_a_filter_that_is_missing_is_named(number: int, remedy: str) -> None:
    with h5py.File("a.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((3, 16, 16))
        made.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        space = h5py.h5s.create_simple((3, 16, 16))
        h5py.h5d.create(file.id, b"d", h5py.h5t.IEEE_F64LE, space, made).write_direct_chunk((0, 0, 0), bytes(64), 0)
    with pytest.raises(UserError, match=rf"a.h5:d: is compressed with the filter {number}.*: {remedy}.*h5repack"):
        read("a.h5")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package"), "pip install imagecodecs"),
        (ModuleNotFoundError("The 'sparse' library was not found. To load"), "pip install sparse"),
        (ModuleNotFoundError("No module named 'zarr'"), "pip install zarr"),
        (ModuleNotFoundError("No module named 'compression'"), "pip install imagecodecs"),
        (ModuleNotFoundError("No module named 'compression.zstd'"), "pip install imagecodecs"),
        (ModuleNotFoundError("No module named 'unheard'"), "'unheard'); save it in another format"),
        (NotImplementedError("16 planes"), "16 planes); save it in another format"),
        (ValueError("strange"), "strange); get another copy, or save it in another format"),
    ],
)
def test_only_what_may_be_damage_asks_for_another_copy(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    tifffile.imwrite("a.tif", IMAGES, photometric="minisblack")
    monkeypatch.setattr(tiff, "read", fails)
    with pytest.raises(UserError, match=r"a.tif: ") as said:
        read("a.tif")
    assert str(said.value).endswith(told)
