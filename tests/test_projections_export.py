"""Sinograms go out to the formats of tomography, come back, and are opened by readers of others."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from schemas.formats.rotation_series.rotation_export import find_lost, find_unstated
from schemas.task import find_import
from tests.conftest import Command, refused
from tests.physics.sinograms import angle_sets, sinogram

WIDTH, VIEWS = 40, 31


@pytest.fixture
def store(dataset: Command) -> Path:
    """Return a dataset of two sinograms with golden views, one of them not measured."""
    angles = angle_sets(VIEWS)["golden"]
    values = np.stack([share * WIDTH * sinogram(angles, WIDTH, 18.3) for share in (0.02, 0.03)], axis=1)
    values[5] *= 0.01
    np.save("p.npy", values.astype(np.float32))
    np.save("a.npy", np.rad2deg(angles))
    assert (
        dataset(
            "import", "--task", "tomo", "--from", "p.npy", "rotation=a.npy", "--set", "log=taken", "--out", "a.zarr"
        )[0]
        == 0
    )
    return Path("a.zarr")


def make(generate: Command, *settings: str) -> Path:
    """Return a dataset of two simulated sinograms."""
    sizes = ("image_size=24", "rays.views=12", "noise=0")
    counts = ("--n", 0, "--validation", 0, "--test", 2)
    code, _, err = generate(
        "--task", "tomo", "--scheduler", "synchronous", *counts, "--set", *sizes, *settings, "--out", "simulated.zarr"
    )
    assert (code, err) == (0, "")
    return Path("simulated.zarr")


def arrays(store: Path | str) -> dict[str, np.ndarray]:
    group = zarr.open_group(store, path="test", mode="r")
    return {name: np.asarray(group[name][...]) for name in group.array_keys() if name != "leaf_digest"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "suffix"), [("nxtomo", "nxs"), ("dxfile", "h5"), ("npy", "npy"), ("tiff", "tif"), ("mat", "mat")]
)
def test_an_export_comes_back_with_all_its_parameters(kind: str, suffix: str, store: Path, dataset: Command) -> None:
    assert dataset("export", store, "--format", kind, "--out", "out", "--fields", "sinogram")[0] == 0
    groups = [part for i in range(2) for part in ("--from", f"out/test_000{i}_sinogram.{suffix}")]
    code, _, err = dataset("import", "--task", "tomo", *groups, "--out", "b.zarr")
    assert (code, err) == (0, "")
    before, after = arrays(store), arrays("b.zarr")
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert np.array_equal(values, after[name]), name
    assert (
        "--set rings=columns: the files hold exported inputs"
        in dataset("import", "--task", "tomo", *groups, "--set", "rings=columns")[2]
    )


def test_an_export_again_changes_nothing(store: Path, dataset: Command) -> None:
    before = []
    for _ in range(2):
        assert dataset("export", store, "--format", "nxtomo", "--out", "out")[0] == 0
        before.append({path.name: path.read_bytes() for path in Path("out").iterdir()})
    assert before[0] == before[1]


@pytest.mark.parametrize("kind", ["nxtomo", "dxfile"])
def test_other_programs_find_the_line_integrals(kind: str, store: Path, dataset: Command) -> None:
    """-ln((data - dark) / (flat - dark)), with the frames as their definitions name them."""
    assert dataset("export", store, "--format", kind, "--out", "out")[0] == 0
    known = arrays(store)
    with h5py.File(next(Path("out").glob("test_0001*"))) as file:
        if kind == "dxfile":
            data, flat, dark = (file[f"exchange/{name}"][...] for name in ("data", "data_white", "data_dark"))
            angles = file["exchange/theta"][...]
        else:
            frames, keys = (file[f"entry/data/{name}"][...] for name in ("data", "image_key"))
            assert np.flatnonzero(keys[2:] == 3).tolist() == [5]
            data, flat, dark = frames[2:], frames[keys == 1], frames[keys == 2]
            angles = file["entry/sample/rotation_angle"][2:]
            offset = file["entry/instrument/detector/x_rotation_axis_pixel_position"][()]
            assert offset == pytest.approx(18.3 - 19.5, abs=0.05)
    measured = known["sinogram"][1][known["measured"][1] == 1] if kind == "dxfile" else known["sinogram"][1]
    assert len(data) == VIEWS - (kind == "dxfile")
    assert -np.log((data - dark) / (flat - dark))[:, 0] == pytest.approx(measured, abs=1e-7)
    seen = known["measured"][1] == 1 if kind == "dxfile" else slice(None)
    assert np.deg2rad(angles) == pytest.approx(known["angle"][1][seen], abs=1e-6)


def test_an_outside_reader_opens_an_export(store: Path, dataset: Command) -> None:
    """`nxtomo`, by the facility that maintains the definition."""
    reader = pytest.importorskip("nxtomo.application.nxtomo", exc_type=ImportError)
    assert dataset("export", store, "--format", "nxtomo", "--out", "out")[0] == 0
    known = arrays(store)
    read = reader.NXtomo().load("out/test_0001_sinogram.nxs", "entry")
    keys = np.array([key.value for key in read.instrument.detector.image_key])
    assert keys[:2].tolist() == [2, 1]
    angles = read.sample.rotation_angle.to("rad").magnitude[2:]
    assert angles == pytest.approx(known["angle"][1], abs=1e-6)
    assert np.flatnonzero(keys[2:] == 3).tolist() == [5]
    assert float(read.instrument.detector.x_rotation_axis_pixel_position) == pytest.approx(
        float(known["axis_offset"][1]), abs=1e-5
    )


RAYS = ("angle", "measured", "axis_offset", "pitch", "source_distance")
ROUND = {
    "limited": ("measured.length=90",),
    "sparse": ("measured.every=3",),
    "axis": ("rays.axis_offset=1.25",),
    "one view": ("rays.views=1",),
    "fan of wide pixels": ("rays.source_distance=60", "rays.turn=360", "rays.detectors=50", "rays.pitch=0.5"),
}


@pytest.mark.parametrize("kind", ["nxtomo", "dxfile", "library"])
@pytest.mark.parametrize("name", ROUND)
def test_simulated_sinograms_come_back(name: str, kind: str, generate: Command, dataset: Command) -> None:
    store = make(generate, *ROUND[name])
    held = {"library": name not in ("axis", "fan of wide pixels"), "dxfile": "fan" not in name}.get(kind, True)
    code, _, err = dataset("export", store, "--format", kind, "--out", "out")
    assert (code == 0) == held, err
    if not held:
        return
    files = [part for path in sorted(Path("out").glob("test_*")) for part in ("--from", path)]
    code, said, err = dataset("import", "--task", "tomo", *files, "--out", "b.zarr")
    assert (code, err) == (0, "")
    assert "warning" not in said
    before, after = arrays(store), arrays("b.zarr")
    for field in ("sinogram", *RAYS, *(("image",) if kind == "library" else ())):
        assert np.array_equal(before[field], after[field]), field


def test_a_fan_beam_is_stated_or_refused(generate: Command, dataset: Command) -> None:
    """NXtomo states lengths in m: the pixels of a detector at the axis, and a source upstream of it."""
    store = make(generate, "sampling=500", *ROUND["fan of wide pixels"])
    said = "--format dxfile: sample 0: source_distance is 60, but a DXfile can only hold a parallel beam; choose"
    refused(dataset("export", store, "--format", "dxfile"), said)
    assert dataset("export", store, "--format", "nxtomo", "--out", "out")[0] == 0
    with h5py.File("out/test_0000_sinogram.nxs") as file:
        detector, source = (file[f"entry/instrument/{name}"] for name in ("detector", "source"))
        assert source["distance"][()] == pytest.approx(-60 * 500e-9)
        assert detector["x_pixel_size"][()] == pytest.approx(0.5 * 500e-9)
        assert (detector["distance"][()], source["distance"].attrs["units"]) == (0, "m")
    known = {"source_distance": (60.0,), "measured": (0.0, 1.0)}
    series = find_import("tomo").rotation
    assert series is not None
    assert "NXtomo states it in m, and sampling is not known; choose --format npy" in find_unstated(
        "nxtomo", known, series
    )
    assert "but none was" in find_unstated("dxfile", {"measured": (0.0, 0.0)}, series)


LOST = {
    "axis_offset": ("rays.axis_offset=1.5", "axis_offset is 1.5 in sample 0, but a library can only hold 0"),
    "pitch": ("rays.pitch=0.5", "pitch is 0.5 in sample 0, but a library can only hold 1"),
    "fan": (
        "rays.source_distance=50 rays.turn=360",
        "source_distance is 50 in sample 0, but a library can only hold 0",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_library_refuses_what_it_cannot_hold(name: str, generate: Command, dataset: Command) -> None:
    setting, text = LOST[name]
    refused(
        dataset("export", make(generate, *setting.split()), "--format", "library"), text, "; choose --format nxtomo"
    )


def test_a_library_holds_unmeasured_views_as_zeros(store: Path, dataset: Command) -> None:
    sinograms, angles = arrays(store)["sinogram"], arrays(store)["angle"]
    known = {"measured": arrays(store)["measured"], "axis_offset": np.zeros(2)}
    known |= {"angle": angles, "pitch": np.ones(2), "source_distance": np.zeros(2), "sinogram": sinograms}
    series = find_import("tomo").rotation
    assert series is not None
    assert not find_lost(known, series, 0)
    known["sinogram"] = sinograms + (np.arange(2) == 1)[:, None, None]
    text = "marks views that were not measured by rows of zeros, but these are not those of measured in sample 7"
    assert text in find_lost(known, series, 6)


def test_formats_of_projections_are_for_projections(store: Path, learnable: Path, dataset: Command) -> None:
    refused(dataset("export", store, "--format", "nxtomo", "--fields", "leaf"), "no such field")
    said = "is for projections, which this task does not have; choose npy or tiff"
    refused(dataset("export", learnable, "--split", "train", "--format", "dxfile"), said)
