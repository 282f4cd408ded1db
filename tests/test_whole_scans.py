"""Whole scans in `evaluate`: images of each method, by the way of `infer --stitch`, beside the objects."""

import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import zarr

from inference.invert.split_reader import open_source
from inference.report import style, tables
from inference.report.evaluation import Evaluation, evaluate
from inference.stitching import comparison, report_section, store
from inference.stitching.comparison import WholeScans
from inference.stitching.figures import against_scales, correlations, pictures
from inference.stitching.stitched_image import stitch
from inference.task_modules import find_inference, find_stitch, inference_names
from inference.tasks.stem4d import STITCH, patch_places
from schemas.fields.illuminated_patches import pixel_offsets, repeat_pixels

from .conftest import Command, files, unsigned
from .test_methods import TOGETHER

SMALL = ("pattern=16", "probe.semi_angle=0.05", "scan.rows=8", "scan.columns=9")
DOSES = (*SMALL, "scan.scans=3", "scan.fluence=1e5:1e8", "scan.step=0.0285")
GENERATE = ("--task", "stem4d", "--recipe", "hbn_scan", "--n", 0, "--validation", 0, "--scheduler", "synchronous")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans that differ in dose, positions on whole pixels; predictions by idpc, and exact ones."""
    from generators.cli import main as generate
    from inference.cli import infer

    folder = tmp_path_factory.mktemp("scans")
    assert generate([*map(str, GENERATE), "--test", "216", "--set", *DOSES, "--out", f"{folder}/d.zarr"]) == 0
    assert infer(["--method", "idpc", "--data", f"{folder}/d.zarr", "--out", f"{folder}/idpc.zarr"]) == 0
    predicted(folder / "d.zarr", folder / "idpc.zarr", folder / "exact.zarr")
    return folder


@pytest.fixture(autouse=True)
def _here(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 30)
    for path in stores.glob("*.zarr"):
        Path(path.name).symlink_to(path)


def predicted(data: Path, template: Path, out: Path, values: Any = None) -> None:
    """Predictions with these values; without any, exact but for a constant of each patch."""
    truth, window = (np.asarray(zarr.open_array(data / "test" / name, mode="r")[...]) for name in ("phase", "mask"))
    shutil.copytree(template, out)
    root = out / "zarr.json"
    content = json.loads(root.read_text())
    content["attributes"]["drybeam_predictions"] |= {"name": out.stem, "digests": None}
    root.write_text(json.dumps(content))
    constants = np.random.default_rng(0).normal(size=(len(truth), 1, 1)).astype(np.float32)
    array = zarr.open_array(out / "phase", mode="r+", config={"write_empty_chunks": True})
    array[...] = truth + window * constants if values is None else values


def compared(data: str, *stores: str) -> WholeScans:
    found = comparison.compare(
        STITCH, open_source(Path(data), "test"), {Path(store).stem: Path(store) for store in stores}
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(stores: Path) -> Evaluation:
    return evaluate(stores / "d.zarr", [(None, stores / f"{name}.zarr") for name in ("idpc", "exact")], None)


def test_scans_are_scored_with_all_methods(found: Evaluation) -> None:
    methods = tables.metrics(found)["methods"]
    for name, method in methods.items():
        assert [scan["scan"] for scan in method["scans"]] == [0, 1, 2]
        for key in comparison.SCAN_SCORES:
            values = [scan[key] for scan in method["scans"]]
            assert method["metrics"][key]["mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert method["metrics"][key]["std"] == pytest.approx(np.std(values), rel=1e-9)
            assert method["metrics"][key]["n"] == 3
        assert method["metrics"]["stitched_rms"]["unit"] == "rad"
        assert all(scan["patches"] == 72 for scan in method["scans"])
        assert (method["metrics"]["stitched_rms"]["mean"] < 1e-5) == (name == "exact")
    for scan, one in zip(methods["exact"]["scans"], compared("d.zarr", "exact.zarr").outcomes["exact"], strict=True):
        last = max(f for f, counts in zip(one.resolution.frequency, one.resolution.counts, strict=True) if counts)
        assert scan["frc_half_bit"] == scan["frc_seventh"] == last < 0.5 / 0.0285
    assert methods["idpc"]["metrics"]["frc_half_bit"]["mean"] < methods["exact"]["metrics"]["frc_half_bit"]["mean"]
    assert methods["idpc"]["metrics"]["frc_mean"]["mean"] < methods["exact"]["metrics"]["frc_mean"]["mean"] - 0.01
    assert methods["exact"]["metrics"]["frc_mean"]["mean"] == pytest.approx(1, abs=1e-6)


def test_what_infer_stitches_is_worth_the_same(infer: Command, found: Evaluation) -> None:
    shutil.copytree("idpc.zarr", "again.zarr")
    code, _, err = infer("--method", "idpc", "--data", "d.zarr", "--out", "again.zarr", "--stitch", "image.zarr")
    assert (code, err) == (0, "")
    stitched = json.loads(Path("image-resolution.json").read_text())["scans"]
    for one, other in zip(stitched, tables.metrics(found)["methods"]["idpc"]["scans"], strict=True):
        names = ("scan", "rms", "half_bit", "seventh", "mean", "pixels")
        assert [one[name] for name in names] == [other[name] for name in ("scan", *comparison.SCAN_SCORES, "pixels")]


def test_images_that_infer_stitched_are_read_and_no_others(
    infer: Command, monkeypatch: pytest.MonkeyPatch, found: Evaluation
) -> None:
    """The same numbers. Not read: images of other patches, by another method, by older programs, or damaged ones."""
    spy = Mock(wraps=stitch)
    monkeypatch.setattr(store, "stitch", spy)
    for name in ("a", "b"):
        shutil.copytree("idpc.zarr", f"{name}.zarr")
    command = ("--method", "idpc", "--data", "d.zarr", "--out", "a.zarr", "--stitch", "image.zarr")
    anew = compared("d.zarr", "a.zarr")
    infer(*command)
    assert spy.call_count == 6
    again = compared("d.zarr", "a.zarr", "b.zarr")
    assert spy.call_count == 6
    assert again.stored == {"a": Path("image.zarr").absolute(), "b": Path("image.zarr").absolute()}
    for name in ("a", "b"):
        assert list(again.rows(name)) == list(anew.rows("a"))
    renamed = comparison.compare(STITCH, open_source(Path("d.zarr"), "test"), {"idpc": Path("a.zarr")})
    assert renamed is not None
    assert "The images of idpc (image.zarr) were stored by infer" in report_section.html(found.main, renamed)
    zarr.open_array("b.zarr/phase", mode="r+")[5, 4:9] = 1
    unsigned("b.zarr")
    assert compared("d.zarr", "a.zarr", "b.zarr").stored == {"a": Path("image.zarr").absolute(), "b": None}
    assert spy.call_count == 9
    root = json.loads(Path("image.zarr/zarr.json").read_text())
    del root["attributes"]["drybeam_images"]["stitched_from"]
    Path("image.zarr/zarr.json").write_text(json.dumps(root))
    assert compared("d.zarr", "a.zarr").stored == {"a": None}
    infer(*command, "--stitch-set", "method=iterative")
    assert compared("d.zarr", "a.zarr").stored == {"a": None}
    infer(*command)
    next(path for path in Path("image.zarr/phase/c/1").rglob("*") if path.is_file()).write_bytes(b"damage")
    assert "image.zarr: cannot be read" in compared("d.zarr", "a.zarr").failed["a"]


def test_the_command_line_tells_shows_and_bounds_them(evaluate: Command) -> None:
    bounds = [
        {"method": "exact", "metric": "stitched_rms", "at_most": 0.01, "times": "idpc"},
        {"method": "exact", "metric": "frc_half_bit", "at_least": 1.001, "times": "idpc"},
        {"method": "idpc", "metric": "frc_half_bit", "at_least": 17.5},
    ]
    Path("e.json").write_text(json.dumps(bounds))
    before = files("exact.zarr")
    command = ("--data", "d.zarr", "--predictions", "idpc.zarr", "exact.zarr", "--out", "report")
    code, out, err = evaluate(*command, "--expect", "e.json")
    assert (code, err) == (1, "")
    assert out.count("expected at") == 1
    assert "idpc: frc_half_bit is" in out
    assert "exact, whole scans (3): stitched_rms" in out
    assert files("exact.zarr") == before
    page = re.sub(r'src="[^"]*"', "", (Path("report") / "report.html").read_text())
    for said in (
        "Images of whole scans",
        "frc_half_bit [1/nm] ↑",
        "half-bit threshold",
        "3 scans: overlap",
        "Each point is one scan",
    ):
        assert said in page, said


def test_figures_hold_all_methods(found: Evaluation) -> None:
    result = found.main
    scans = compared("d.zarr", "idpc.zarr", "exact.zarr")
    curves, shown, along = (draw(result, scans) for draw in (correlations, pictures, against_scales))
    assert curves is not None
    assert len(curves.axes) == 3
    for axis in curves.axes:
        assert {line.get_label() for line in axis.lines} == {
            "idpc",
            "exact",
            "half-bit threshold",
            "threshold 1/2 (equivalent to 1/7 between two half data sets)",
        }
    assert shown is not None
    assert len([axis for axis in shown.axes if axis.images]) == 3 * 3
    assert len({axis.images[0].get_clim() for axis in shown.axes if axis.images}) == 1  # one scale of grey
    assert along is not None
    assert {axis.get_xlabel() for axis in along.axes} == {"fluence [electron/nm^2]"}


def test_scans_are_ordered_by_what_they_differ_in(generate: Command, infer: Command) -> None:
    """Fluence is the dose of a pattern over the area of a step; overlap that of discs as large as the mask."""
    settings = (*SMALL, "scan.rows=4", "scan.scans=5", "scan.step=0.02:0.06", "scan.fluence=1e8")
    generate(*GENERATE, "--test", 180, "--set", *settings, "--out", "e.zarr")
    infer("--method", "idpc", "--data", "e.zarr", "--out", "p.zarr")
    scans = compared("e.zarr", "p.zarr")
    split = zarr.open_group("e.zarr/test", mode="r")
    fields: Any = {name: np.asarray(split[name]) for name in ("step", "dose", "mask", "sampling")}
    step = fields["step"].reshape(5, -1)[:, 0].astype(float)
    assert np.allclose(scans.scales["fluence"], fields["dose"].reshape(5, -1)[:, 0] / step**2)
    bright = fields["mask"].sum() / 16 * 0.0285**2
    assert np.allclose(1 - scans.scales["overlap"], step / np.sqrt(4 * bright / np.pi))
    assert [scale.name for scale in scans.varying] == ["overlap"]
    assert [int(np.argsort(np.argsort(scans.scales["overlap"]))[row]) for row in scans.shown] == [0, 2, 4]


def test_a_method_without_numbers_does_not_spoil_the_others(found: Evaluation) -> None:
    for name, values in (("nan", np.nan), ("zero", 0)):
        predicted(Path("d.zarr"), Path("idpc.zarr"), Path(f"{name}.zarr"), values)
    scans = compared("d.zarr", "nan.zarr", "exact.zarr", "zero.zarr")
    assert scans.failed.keys() == {"nan"}
    assert scans.summary("nan")["stitched_rms"] == {"mean": None, "std": None, "n": 0, "unit": "rad"}
    assert (scans.values("exact", "stitched_rms") < 1e-5).all()
    assert (scans.values("zero", "frc_seventh") < 10).all()
    assert "no images of nan: none of 72 patches" in report_section.html(found.main, scans)


def test_patches_with_nothing_free_are_averaged_and_compared_as_they_are(found: Evaluation) -> None:
    """A constant that all patches share then is an error."""
    source, how = open_source(Path("d.zarr"), "test"), replace(STITCH, free="")
    truth = np.asarray(zarr.open_array("d.zarr/test/phase", mode="r")[...])
    window = np.asarray(zarr.open_array("d.zarr/test/mask", mode="r")[...])
    for name, constant in (("same", 0), ("moved", 0.25)):
        predicted(Path("d.zarr"), Path("idpc.zarr"), Path(f"{name}.zarr"), truth + np.float32(constant) * window)
    scans = comparison.compare(how, source, {"exact": Path("same.zarr"), "idpc": Path("moved.zarr")})
    assert scans is not None
    assert (scans.values("exact", "stitched_rms") < 0.02).all()
    assert np.allclose(scans.values("idpc", "stitched_rms"), 0.25, atol=0.02)
    assert "mean difference" not in scans.meaning("stitched_rms").about
    assert "Patches are averaged" in report_section.html(found.main, scans)


def test_single_patterns_are_no_scans(generate: Command) -> None:
    generate("--task", "stem4d", "--n", 1, "--test", 2, "--set", *SMALL[:2], "--scheduler", "synchronous")
    assert comparison.compare(STITCH, open_source(Path("stem4d.zarr"), "test"), {}) is None


def test_memory_does_not_grow_with_methods() -> None:
    source = open_source(Path("d.zarr"), "test")

    def peak(count: int) -> int:
        tracemalloc.start()
        comparison.compare(STITCH, source, {str(i): Path("exact.zarr").resolve() for i in range(count)})
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(6) - peak(1) < 5 * 100_000  # curves and pictures; the patches of one method are 221 kB


def test_a_planted_feature_lies_where_the_images_say() -> None:
    """A blob of which each pattern sees its part: its centre by the coordinates of the image, and over the object."""
    from inference.stitching.offsets import LeastSquares
    from inference.stitching.store import placed_images, write

    n, wide = 16, 0.0285
    centre = np.array([11.6, 12.3]) * wide  # y, x in the object [nm]
    split = zarr.open_group("d.zarr/test", mode="r")
    fields: Any = {name: np.asarray(split[name]) for name in STITCH.needs}

    def blob(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * (1.2 * wide) ** 2)))

    y, x = (fields["position"][:, axis, None] + wide * pixel_offsets(n) for axis in (0, 1))
    values = repeat_pixels(blob(y[:, :, None], x[:, None, :])) * fields["mask"]
    predicted(Path("d.zarr"), Path("idpc.zarr"), Path("blob.zarr"), values.astype(np.float32))
    scans = patch_places(fields)
    write(Path("blob.zarr"), scans, Path("image.zarr"), LeastSquares(), field="phase")
    found: Any = zarr.open_group("image.zarr", mode="r")
    image = np.asarray(found["phase"][0])
    image = np.where(np.isfinite(image), image - np.nanmin(image), 0)
    for name, axis in (("y", 0), ("x", 1)):
        place = (image.sum(axis=1 - axis) * np.asarray(found[name])).sum() / image.sum()
        assert place == pytest.approx(centre[axis], abs=0.1 * wide)  # they were 0.375 off
    placed, stored = placed_images(Path("blob.zarr"), scans, LeastSquares(), field="phase")
    assert stored == Path("image.zarr").absolute()
    _, first, again = next(placed)
    grid = np.meshgrid(*(wide * np.arange(40) for _ in range(2)), indexing="ij")
    exact = blob(*grid)
    _, worth = comparison.resolution_of(STITCH, again, first, exact, scans.sampling)
    assert worth.rms is not None
    assert worth.rms < 1e-5
    moved = comparison.resolution_of(STITCH, again, (first[0] + 1, first[1]), exact, scans.sampling)[1]
    assert moved.rms is not None
    assert moved.rms > 100 * worth.rms


@pytest.mark.parametrize("task", [name for name in inference_names() if find_stitch(name)])
def test_exact_targets_make_the_objects_of_every_task(generate: Command, infer: Command, task: str) -> None:
    """Scans are known by all quantities that are told of them; and images are nearer to objects than a constant is."""
    how = find_stitch(task)
    assert how is not None
    generate("--task", task, *TOGETHER[task], "--scheduler", "synchronous", "--out", "t.zarr")
    method = next(iter(find_inference(task).METHODS))
    infer("--method", method, "--data", "t.zarr", "--out", "p.zarr")
    split: Any = zarr.open_group("t.zarr/test", mode="r")
    zarr.open_array(f"p.zarr/{how.target}", mode="r+")[...] = split[how.target][...]
    unsigned("p.zarr")
    found = compared("t.zarr", "p.zarr")
    assert found.failed == {}
    assert found.scales.keys() == {scale.name for scale in how.scales}
    assert all(np.isfinite(values).all() for values in found.scales.values())
    for row in found.shown:
        image, exact = found.pictures["p"][row], found.objects[row]
        assert image.size > 4
        assert np.std(image - exact) < 0.7 * np.std(exact)
