"""Axes of other programs' files: their order, by names and units, and pixel sizes of each axis in its own unit."""

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import xarray as xr

from schemas.formats.axis_order import Axis, sorted_axes
from schemas.formats.stated import Stated, to_picture
from schemas.runtime.errors import UserError
from tests.conftest import Command, refused
from tests.digital_micrograph import data
from tests.foreign import SERIES, UNSAID, nexus
from tests.foreign_scans import hyperspy
from tests.test_foreign_values import read

SCAN = np.random.default_rng(0).integers(0, 9, (3, 4, 5, 6)).astype(np.uint16)


@pytest.mark.parametrize(
    ("names", "units", "order"),
    [
        ("z y x", "nm nm nm", [0, 1, 2]),
        ("x y z", "nm nm nm", [2, 1, 0]),
        ("y z x", "- - -", [1, 0, 2]),
        ("X Y", "- -", [1, 0]),
        ("columns rows", "- -", [1, 0]),
        ("y x energy", "nm nm eV", [2, 0, 1]),
        ("Ry Rx Qy Qx", "- - - -", [0, 1, 2, 3]),
        ("R_x R_y Q_x Q_y", "- - - -", [1, 0, 3, 2]),
        ("kx ky x y", "- - - -", [3, 2, 1, 0]),
        ("- - - -", "1/nm 1/nm nm nm", [2, 3, 0, 1]),
        ("- - - -", "mrad mrad - -", [2, 3, 0, 1]),
        ("scan_y scan_x det_y det_x", "- - - -", [0, 1, 2, 3]),
        ("scan_x ky kx", "- - -", [0, 1, 2]),
        ("- - -", "nm nm nm", None),
        ("x - -", "- - -", None),
        ("x x y", "- - -", None),
        ("x y up down", "- - - -", None),
        ("kx ky kz", "- - -", [2, 1, 0]),
        ("velocity energy", "- -", None),
    ],
)
def test_order_by_names_and_units(names: str, units: str, order: list[int] | None) -> None:
    pairs = zip(names.split(), units.split(), strict=True)
    axes = [Axis(name.strip("-"), 1.0, unit.strip("-")) for name, unit in pairs]
    assert sorted_axes(axes) == order


def test_the_order_in_the_file_can_be_had_again() -> None:
    picture = to_picture(Path("a"), Stated(SERIES.transpose(2, 0, 1), tuple(map(Axis, "xzy"))))
    assert np.array_equal(picture.values, SERIES)
    assert np.array_equal(picture.stored, SERIES.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("y", "x", "known"),
    [
        (("nm", 2.0), ("nm", 2.0), {"sampling": 2, "sampling_y": 2, "sampling_x": 2}),
        (("um", 0.002), ("nm", 2.0), {"sampling": 2, "sampling_y": 2, "sampling_x": 2}),
        (("[n_m]", 2.0), ("angstrom", 10.0), {"sampling_y": 2, "sampling_x": 1}),
        (("1/nm", 0.1), ("1/Å", 0.02), {"sampling_y": 0.5, "sampling_x": 0.25}),
        (("nm", 2.0), ("1/nm", 2.0), {}),
        (("nm", 2.0), ("", 2.0), {}),
        (("", 2.0), ("", 2.0), {}),
        (("nm", None), ("nm", 2.0), {}),
        (("nm", -2.0), ("nm", 2.0), {}),
    ],
)
def test_each_axis_has_its_own_unit(
    y: tuple[str, float | None], x: tuple[str, float | None], known: dict[str, float]
) -> None:
    axes = tuple(Axis("", step, unit) for unit, step in (y, x))
    found = to_picture(Path("a"), Stated(np.zeros((20, 20)), axes)).known
    assert {name: value for name, (value,) in found.items()} == pytest.approx(known)


def emd(name: str, values: np.ndarray, names: Sequence[str], group: str = "data/a", unit: str = "nm") -> None:
    with h5py.File(name, "w") as file:
        there = file.create_group(group)
        there.attrs["emd_group_type"] = 1
        there["data"] = values
        for number, axis in enumerate(names):
            there[f"dim{number + 1}"] = np.arange(values.shape[number]) * 2.0
            there[f"dim{number + 1}"].attrs.update({"name": axis, "units": unit})


def test_emd_of_its_writers() -> None:
    """The names decide, except for py4DSTEM, which calls the rows x; without names, the order is that of the file."""
    emd("ncem.emd", SERIES, "zyx")
    emd("hyperspy.emd", SERIES.T, "xyz", "signals/a")
    emd("mixed.emd", SERIES.transpose(2, 0, 1), "xzy")
    emd("unnamed.emd", SERIES, ("",) * 3)
    for name in ("ncem.emd", "hyperspy.emd", "mixed.emd", "unnamed.emd"):
        picture = read(name)
        assert np.array_equal(picture.values, SERIES), name
        assert picture.known["sampling"] == pytest.approx((2.0,))
    for name, group in (("old.emd", "4DSTEM_experiment/data/datacubes/a"), ("prismatic.emd", "data/a")):
        emd(name, SCAN, ("R_x", "R_y", "Q_x", "Q_y"), group)
        assert np.array_equal(read(name).values, SCAN if name == "old.emd" else SCAN.transpose(1, 0, 3, 2))


@pytest.mark.parametrize("maps", [(1, 2, 3), (2, 1, 3), (3, 1, 2), (3, 2, 1), (0, 0, 0)])
def test_mrc_names_its_columns_rows_and_sections(maps: tuple[int, int, int]) -> None:
    """MAPC, MAPR and MAPS, and a voxel size for each axis."""
    stored = [maps[::-1].index(number) for number in (3, 2, 1)] if any(maps) else [0, 1, 2]
    with mrcfile.new("a.mrc") as file:
        file.set_data(np.ascontiguousarray(SERIES.transpose(np.argsort(stored))))
        header = file.header
        header.mapc, header.mapr, header.maps = maps
        header.mx, header.my, header.mz = 31, 20, 3
        header.cella = (31 * 10.0, 20 * 20.0, 30.0)
    picture = read("a.mrc")
    assert np.array_equal(picture.values, SERIES)
    assert picture.known == {"sampling_y": pytest.approx((2.0,)), "sampling_x": pytest.approx((1.0,))}


@pytest.mark.parametrize("maps", [(1, 1, 3), (1, 2, 0), (2, 3, 4)])
def test_mrc_must_name_each_axis_once(maps: tuple[int, int, int]) -> None:
    with mrcfile.new("a.mrc") as file:
        file.set_data(SERIES)
        file.header.mapc, file.header.mapr, file.header.maps = maps
    with pytest.raises(UserError, match=rf"MAPC, MAPR and MAPS are \[{', '.join(map(str, maps))}\]; they must be"):
        read("a.mrc")


def test_nexus_names_its_axes() -> None:
    with h5py.File("a.nxs", "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["x", "y", "frame"]})
        group["counts"] = SERIES.T
        for name, unit, step in (("x", "nm", 2.0), ("y", "um", 0.001)):
            group[name] = np.arange(50) * step
            group[name].attrs["units"] = unit
    picture = read("a.nxs")
    assert np.array_equal(picture.values, SERIES)
    assert picture.known == {"sampling_y": pytest.approx((1.0,)), "sampling_x": pytest.approx((2.0,))}


TRANSPOSED = {
    "texts": ["x", "y", "frame"],
    "bytes": np.array([b"x", b"y", b"frame"]),
    "no axis": ["x", "y", "."],
    "colons": "x:y:frame",
    "commas": np.array([b"[x,y,frame]"]),
}


@pytest.mark.parametrize("link", ["", "soft", "hard"])
@pytest.mark.parametrize("where", ["", "dataset"])
@pytest.mark.parametrize("axes", TRANSPOSED.values(), ids=TRANSPOSED)
def test_axes_of_nexus_are_found_however_they_are_written(axes: object, where: str, link: str) -> None:
    """As texts, bytes or one text, of the group or of the dataset, and behind links of either kind."""
    nexus("a.nxs", SERIES.T, axes, np.array([b"data"]), link, where)
    for inner in ("", "entry/data/data"):
        picture = read("a.nxs", inner)
        assert np.array_equal(picture.values, SERIES)
        assert picture.known == {"sampling_y": pytest.approx((1.0,)), "sampling_x": pytest.approx((2.0,))}


def test_indices_of_nexus_place_its_axes() -> None:
    nexus("a.nxs", SERIES.T, ["y", "x"])
    with h5py.File("a.nxs", "a") as file:
        file["entry/data"].attrs.update({"x_indices": 0, "y_indices": [1]})
    assert np.array_equal(read("a.nxs").values, SERIES)


@pytest.mark.parametrize("scales", [True, False])
def test_dimension_scales_and_labels_name_axes(*, scales: bool) -> None:
    with h5py.File("a.h5", "w") as file:
        item = file.create_dataset("images", data=SERIES.T)
        for dimension, name in zip(item.dims, ("x", "y", "frame"), strict=True):
            if scales:
                file[f"scales/{name}"] = np.arange(3) * 2.0
                file[f"scales/{name}"].make_scale(name)
                file[f"scales/{name}"].attrs["units"] = "nm"
                dimension.attach_scale(file[f"scales/{name}"])
            else:
                dimension.label = name
    picture = read("a.h5", "images")
    assert np.array_equal(picture.values, SERIES)
    assert picture.known.get("sampling") == (pytest.approx((2.0,)) if scales else None)


@pytest.mark.parametrize("axes", [["y", "x"], ["x", "frame", "other"], ["x", "x", "y"], "x y frame"])
def test_axes_that_are_not_understood_need_names(axes: object, dataset: Command) -> None:
    nexus("a.nxs", SERIES.T, axes)
    command = ("import", "--task", "tie", "--from", "a.nxs")
    refused(dataset(*command, *UNSAID, "sampling=2"), "its axes are stated as", "--axes plane,y,x")
    assert dataset(*command, "--axes", "x,y,plane", *UNSAID, "sampling=2")[0] == 0
    assert np.array_equal(xr.open_zarr("measured.zarr/test").intensity[0], SERIES)


def _energies(name: str) -> None:
    Path(name).write_bytes(data(SERIES, [(2.0, "nm"), (2.0, "nm"), (5.0, "eV")], 80e3))


def _channels(name: str) -> None:
    metadata = {"axes": "CYX", "mode": "composite", "Channel": {"Name": ["Si", "O", "Fe"]}}
    tifffile.imwrite(name, SERIES, imagej=".ome" not in name, ome=".ome" in name, metadata=metadata)


def _channels_shown_one_by_one(name: str) -> None:
    """ImageJ states channels in its grayscale mode, too; tifffile states 1.11a and channels for any stack."""
    tifffile.imwrite(name, SERIES, imagej=True, metadata={"axes": "CYX", "mode": "grayscale"})
    Path(name).write_bytes(Path(name).read_bytes().replace(b"ImageJ=1.11a", b"ImageJ=1.53t"))


SPECTRAL: dict[str, Callable[[str], None]] = {
    "a.dm4": _energies,
    "a.tif": _channels,
    "grey.tif": _channels_shown_one_by_one,
    "a.ome.tif": _channels,
    "a.nxs": lambda name: nexus(name, SERIES, ["energy", "y", "x"]),
    "a.emd": lambda name: emd(name, SERIES, ("channel", "y", "x")),
}


@pytest.mark.parametrize("name", SPECTRAL)
def test_energies_and_channels_are_not_focus_planes(name: str, dataset: Command) -> None:
    SPECTRAL[name](name)
    command = ("import", "--task", "tie", "--from", name)
    refused(dataset(*command, *UNSAID, "sampling=2"), "of length 3 holds energies or channels", "--axes plane,y,x")
    assert dataset(*command, "--axes", "plane,y,x", *UNSAID, "sampling=2")[0] == 0


def test_axes_that_are_not_uniform_or_lie_elsewhere_have_no_step() -> None:
    emd("a.emd", SERIES, "zyx")
    with h5py.File("a.emd", "a") as file:
        del file["data/a/dim2"]
        file["data/a/dim2"] = np.arange(20.0) ** 2
        file["data/a/dim2"].attrs.update({"name": "y", "units": "nm"})
    assert read("a.emd").known == {}
    with h5py.File("a.emd", "a") as file:
        del file["data/a/dim2"]
        file["data/a/dim2"] = h5py.ExternalLink("other.h5", "places")
    assert np.array_equal(read("a.emd").values, SERIES)


OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
IMAGE = (
    '<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="float32" '
    'SizeX="31" SizeY="20" SizeZ="3" SizeC="1" SizeT="1" {size}><TiffData IFD="{first}" PlaneCount="3"/>'
    "</Pixels></Image>"
)


@pytest.mark.parametrize(
    ("size", "known"),
    [
        ('PhysicalSizeX="0.002" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="0.002" PhysicalSizeYUnit="&#xB5;m"', 2.0),
        ("PhysicalSizeX='2' PhysicalSizeXUnit='nm' PhysicalSizeY='2.0e-3'", 2.0),
        ('PhysicalSizeX="20" PhysicalSizeXUnit="Å" PhysicalSizeY="2" PhysicalSizeYUnit="nm"', 2.0),
        ('PhysicalSizeX="2" PhysicalSizeXUnit="pixel" PhysicalSizeY="2" PhysicalSizeYUnit="pixel"', None),
        ('PhysicalSizeX="2"', None),
    ],
)
def test_ome_is_parsed_as_xml(size: str, known: float | None) -> None:
    xml = OME.format(IMAGE.format(number=0, name="a", first=0, size=size))
    tifffile.imwrite("a.ome.tif", SERIES, photometric="minisblack", description=xml.encode(), metadata=None)
    found = read("a.ome.tif").known.get("sampling", (None,))[0]
    assert found == (known if known is None else pytest.approx(known))


def test_imagej_states_a_unit_for_each_axis() -> None:
    metadata = {"unit": "nm", "yunit": "um"}
    tifffile.imwrite("a.tif", SERIES, imagej=True, resolution=(0.5, 500), metadata=metadata)
    assert read("a.tif").known["sampling"] == pytest.approx((2.0,))


def test_patterns_are_not_images(dataset: Command) -> None:
    """Nor are the pixels of a detector those of the wave behind a pattern."""
    emd("a.emd", SERIES, "zyx", unit="1/nm")
    refused(dataset("import", "--task", "tie", "--from", "a.emd", *UNSAID), "units of diffraction patterns", "images")
    emd("b.emd", SERIES[:, :, :20], "zyx", unit="um")
    code, out, _ = dataset("import", "--task", "cdi", "--from", "b.emd", "--amplitudes")
    assert code == 0
    assert "b.emd: its pixels of 2000 nm are not those of a pattern, which need 1/nm; not used" in out
    assert "sampling" not in xr.open_zarr("measured.zarr/test")


def test_axes_that_the_user_names_are_those_of_the_file(dataset: Command) -> None:
    emd("a.emd", SERIES.T, "xyz")
    given = ("--axes", "x,y,plane", *UNSAID, "sampling=2")
    assert dataset("import", "--task", "tie", "--from", "a.emd", *given)[0] == 0
    assert np.array_equal(xr.open_zarr("measured.zarr/test").intensity[0], SERIES)


def test_a_scan_without_units_has_no_places(dataset: Command) -> None:
    hyperspy("a.hspy", SCAN[..., [0] * 4][:, :, :4])
    with h5py.File("a.hspy", "a") as file:
        for group in file["Experiments/scan"].values():
            if "scale" in group.attrs:
                del group.attrs["units"]
    known = ("--set", "sampling=0.03")
    assert dataset("import", "--task", "stem4d", "--counts", "--from", "a.hspy", *known)[0] == 0
    assert "position" not in xr.open_zarr("measured.zarr/test")
