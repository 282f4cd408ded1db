"""Images go out, and come back bit for bit; other programs find values, sizes and parameters in them."""

import csv
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import tifffile
import zarr
from PIL import Image

from schemas.exchange import exporting
from schemas.formats import reading, tiff
from schemas.formats.export_metadata import ExportMetadata
from schemas.runtime import publish
from tests.conftest import TOY_TASK, Command, files, refused

TIE = ("--task", "tie", "--n", 2, "--validation", 0, "--test", 3, "--out", "tie.zarr", "--scheduler", "synchronous")
RECIPE = ("--set", "image_size=24", "supersampling=1", "misalignment=none")
TUNED = ("--set", "cutoff=0.004", "floor=0.1", "offset=none")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset and predictions for it, made once."""
    from generators.cli import main as generate
    from inference.cli import infer

    folder = tmp_path_factory.mktemp("made")
    store, guess = str(folder / "tie.zarr"), str(folder / "guess.zarr")
    assert generate([str(arg) for arg in (*TIE[:8], "--out", store, *TIE[10:], *RECIPE)]) == 0
    assert infer(["--data", store, "--method", "tie", *TUNED, "--out", guess]) == 0
    return folder


def values(store: Path, field: str) -> np.ndarray:
    return np.asarray(zarr.open_array(store / field, mode="r")[...])


def out(name: str) -> list[str]:
    return sorted(path.name for path in Path(name).iterdir())


@pytest.mark.parametrize(("kind", "suffix"), [("npy", "npy"), ("tiff", "tif"), ("mat", "mat")])
def test_what_goes_out_comes_in_bit_for_bit(kind: str, suffix: str, made: Path, dataset: Command) -> None:
    """Without a word: the files know their parameters."""
    assert dataset("export", made / "tie.zarr", "--format", kind, "--out", "out")[0] == 0
    groups = [part for i in range(3) for part in ("--from", f"out/test_000{i}_intensity.{suffix}")]
    assert dataset("import", "--task", "tie", *groups)[0] == 0
    for name in ("intensity", "defocus", "voltage", "sampling"):
        before, after = values(made / "tie.zarr" / "test", name), values(Path("measured.zarr/test"), name)
        assert before.tobytes() == after.tobytes(), name
    assert dataset("verify", "measured.zarr")[0] == 0


def test_npy_has_its_card_beside_it(made: Path, dataset: Command) -> None:
    assert dataset("export", made / "tie.zarr", "--format", "npy")[1].startswith("tie-npy: 6 files")
    phase = values(made / "tie.zarr/test", "phase")
    assert np.array_equal(np.load("tie-npy/test_0002_phase.npy"), phase[2])
    card = json.loads(Path("tie-npy/test_0002_phase.json").read_text())
    assert (card["field"], card["units"], card["axes"], card["sample"]) == ("phase", "rad", ["y", "x"], 2)
    sampling = values(made / "tie.zarr/test", "sampling")
    assert card["parameters"]["sampling"] == {"values": [float(sampling[2])], "units": "nm"}


def test_tiff_is_what_imagej_reads(made: Path, dataset: Command) -> None:
    assert dataset("export", made / "tie.zarr", "--format", "tiff", "--out", "out")[0] == 0
    with tifffile.TiffFile("out/test_0001_intensity.tif") as file:
        assert file.is_imagej
        assert file.series[0].axes == "ZYX"
        assert file.imagej_metadata
        assert file.imagej_metadata["unit"] == "nm"
        pixels, length = file.pages.first.tags.valueof(282)
        assert length / pixels == pytest.approx(values(made / "tie.zarr/test", "sampling")[1], rel=1e-6)
        assert np.array_equal(file.asarray(), values(made / "tie.zarr/test", "intensity")[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [2.34, 0.0123456, 1 / 3, 3e-3, 987.654321, 31.25])
def test_the_pixel_size_keeps_six_digits(step: float, dtype: str) -> None:
    """In the tags alone: this card knows no parameters."""
    card = ExportMetadata(task="tie", split="test", sample=0, field="phase", units="rad", axes=["y", "x"])
    Path("a.tif").write_bytes(tiff.write(np.zeros((4, 5), dtype), card, {"sampling": (step,)}))
    (found,) = reading.read_as("tiff", Path("a.tif"), "").known["sampling"]
    assert found == pytest.approx(step, rel=1e-6)
    assert tiff.write(np.zeros((4, 5), dtype), card, {"sampling": (1e-6,)})


def test_mat_has_variables(made: Path, dataset: Command) -> None:
    assert dataset("export", made / "tie.zarr", "--format", "mat", "--out", "out", "--fields", "phase")[0] == 0
    found = scipy.io.loadmat("out/test_0000_phase.mat")
    assert np.array_equal(found["phase"], values(made / "tie.zarr/test", "phase")[0])
    assert found["sampling"].item() == values(made / "tie.zarr/test", "sampling")[0]
    assert found["defocus"].shape == (1, 3)


def test_parameters_are_a_table(made: Path, dataset: Command) -> None:
    assert dataset("export", made / "tie.zarr", "--format", "png", "--out", "out", "--samples", "1:3")[0] == 0
    rows = list(csv.DictReader(Path("out/parameters.csv").read_text().splitlines()))
    assert [(row["split"], row["sample"]) for row in rows] == [("test", "1"), ("test", "2")]
    defocus = values(made / "tie.zarr/test", "defocus")
    assert np.float32(rows[1]["defocus_2 [nm]"]) == defocus[2, 2]


def test_png_goes_from_the_least_to_the_greatest_value(made: Path, dataset: Command) -> None:
    """One scale for all that is exported, written down: grey values can be converted back to half a step."""
    assert dataset("export", made / "tie.zarr", "--format", "png", "--out", "out")[0] == 0
    names = [
        f"test_000{i}_{part}.png" for i in range(3) for part in ("intensity_0", "intensity_1", "intensity_2", "phase")
    ]
    assert out("out") == sorted([*names, "export.json", "parameters.csv"])
    phase = values(made / "tie.zarr/test", "phase")
    scale = json.loads(Path("out/export.json").read_text())["fields"]["phase"]
    assert (scale["black"], scale["white"]) == (pytest.approx(phase.min()), pytest.approx(phase.max()))
    with Image.open("out/test_0001_phase.png") as image:
        assert image.mode == "L"
        grey = np.asarray(image).astype(float)
    back = scale["black"] + (scale["white"] - scale["black"]) * grey / 255
    assert abs(back - phase[1]).max() <= 0.501 * (scale["white"] - scale["black"]) / 255


def test_limits_cut(made: Path, dataset: Command) -> None:
    some = ("--fields", "phase", "--limits", "phase=0.5:1.5")
    assert dataset("export", made / "tie.zarr", "--format", "png", "--out", "png", *some)[0] == 0
    assert dataset("export", made / "tie.zarr", "--format", "npy", "--out", "npy", *some)[0] == 0
    phase = values(made / "tie.zarr/test", "phase")[0]
    grey = np.asarray(Image.open("png/test_0000_phase.png"))
    assert np.array_equal(grey == 255, np.rint(255 * np.clip(phase.astype(float) - 0.5, 0, 1)) == 255)
    assert (grey[phase <= 0.5] == 0).all()
    assert np.array_equal(np.load("npy/test_0000_phase.npy"), np.clip(phase, 0.5, 1.5))


def test_predictions_and_their_errors(made: Path, dataset: Command) -> None:
    guess, store = made / "guess.zarr", made / "tie.zarr"
    assert dataset("export", guess, "--format", "npy", "--out", "alone")[0] == 0
    assert out("alone") == ["export.json", "parameters.csv"] + [
        f"test_000{i}_phase.{end}" for i in range(3) for end in ("json", "npy")
    ]
    assert dataset("export", guess, "--format", "tiff", "--out", "out", "--data", store)[0] == 0
    error = values(guess, "phase") - values(store / "test", "phase")
    assert np.array_equal(tifffile.imread("out/test_0002_error.tif"), error[2])
    assert np.array_equal(tifffile.imread("out/test_0002_phase.tif"), values(guess, "phase")[2])
    with tifffile.TiffFile("out/test_0002_error.tif") as file:
        assert file.imagej_metadata
        assert file.imagej_metadata["unit"] == "nm"
    seeds = ("--limits", "phase=-3:3", "error=-3:3", "--data", store)
    assert dataset("export", guess, "--format", "png", "--out", "seeds", *seeds)[0] == 0
    grey = np.asarray(Image.open("seeds/test_0000_error.png"))
    assert np.array_equal(grey, np.rint(255 * np.clip((error[0].astype(float) + 3) / 6, 0, 1)))


def test_other_fields_constants_and_splits(made: Path, dataset: Command) -> None:
    some = ("--fields", "window", "amplitude", "--split", "train", "--format", "tiff", "--out", "out")
    assert dataset("export", made / "tie.zarr", *some)[0] == 0
    assert out("out")[2:] == ["train_0000_amplitude.tif", "train_0001_amplitude.tif", "train_window.tif"]
    assert np.array_equal(tifffile.imread("out/train_window.tif"), values(made / "tie.zarr/train", "window"))


def test_a_task_of_lines(generate: Command, dataset: Command) -> None:
    """Nothing knows of images but their formats."""
    assert generate(*TOY_TASK, "--n", 2, "--out", "toy.zarr")[0] == 0
    line = values(Path("toy.zarr/train"), "line")
    for kind in ("npy", "tiff", "mat", "png"):
        assert dataset("export", "toy.zarr", "--split", "train", "--format", kind, "--out", kind)[0] == 0
    assert np.array_equal(tifffile.imread("tiff/train_0001_line.tif").ravel(), line[1])
    blurred = values(Path("toy.zarr/train"), "blurred")
    assert dataset("import", "--task", "toy", "--from", "mat/train_0001_blurred.mat")[0] == 0
    assert np.array_equal(values(Path("measured.zarr/test"), "blurred"), blurred[1:])


def test_the_same_export_again_changes_nothing(made: Path, dataset: Command) -> None:
    """And one that was killed is finished."""
    for kind in ("npy", "tiff", "mat", "png"):
        args = ("export", made / "tie.zarr", "--format", kind, "--out", kind)
        assert dataset(*args)[0] == 0
        before = files(kind)
        next(Path(kind).glob("test_0001*")).unlink()
        assert dataset(*args)[0] == 0
        assert files(kind) == before


def test_other_files_are_left_alone(made: Path, dataset: Command) -> None:
    Path("mine").mkdir()
    Path("mine/test_0000_phase.npy").write_text("mine")
    args: tuple[Any, ...] = ("export", made / "tie.zarr", "--format", "npy", "--out")
    refused(dataset(*args, "mine"), "--out mine: holds other files")
    assert out("mine") == ["test_0000_phase.npy"]
    refused(dataset(*args, "mine/test_0000_phase.npy"), "is a file")
    assert dataset(*args, "out")[0] == 0
    refused(dataset(*args, "out", "--samples", "0:1"), "--out out: already holds another export")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--fields", "phse"), "--fields phse: no such field; did you mean phase?"),
        (("--fields", "defocus"), "is a parameter; every export lists it in parameters.csv"),
        (("--fields", "error"), "--fields error: needs predictions, and their dataset"),
        (("--limits", "phse=0:1"), "--limits phse: no such field among those exported; did you mean phase?"),
        (("--limits", "phase=3:-3"), "must be FIELD=LOW:HIGH with LOW below HIGH"),
        (("--limits", "phase"), "must be FIELD=LOW:HIGH"),
        (("--limits", "phase=nan:1"), "must be FIELD=LOW:HIGH"),
        (("--samples", "0:9"), "--samples 0:9: must lie within 0:3"),
        (("--samples", "2"), "must be A:B"),
        (("--samples", "2:1"), "--samples 2:1"),
        (("--split", "validation"), "--split validation"),
        (("--split", "tset"), "--split tset"),
        (("--data", "x.zarr"), "is for predictions"),
    ],
)
def test_mistakes(options: tuple[str, ...], rule: str, made: Path, dataset: Command) -> None:
    refused(dataset("export", made / "tie.zarr", "--format", "npy", "--out", "out", *options), rule)
    assert not Path("out").exists()


def test_mistakes_with_predictions(made: Path, dataset: Command, generate: Command) -> None:
    assert generate(*TOY_TASK, "--n", 2, "--out", "toy.zarr")[0] == 0
    export = ("export", made / "guess.zarr", "--format", "npy", "--out", "out")
    refused(dataset(*export, "--data", "toy.zarr"), "--data toy.zarr", "predictions for another dataset")
    refused(dataset(*export, "--split", "train"), "--split train", "holds predictions of the split test")
    refused(dataset(*export, "--fields", "error"), "--fields error: needs predictions, and their dataset")
    refused(dataset("export", "none.zarr", "--format", "npy"), "none.zarr: no dataset here")


@pytest.mark.parametrize("written", range(0, 9, 2))
def test_an_export_is_complete_when_its_mark_is_there(
    written: int, made: Path, dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any file, the same command finishes it, and until then nothing calls it complete."""

    class Killed(BaseException):
        pass

    def killed(path: Path, data: bytes) -> None:
        if next(left, None) is None:
            raise Killed
        publish.publish_if_changed(path, data)

    command = ("export", made / "tie.zarr", "--format", "npy", "--out")
    assert dataset(*command, "whole")[0] == 0
    left = iter(range(written))
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "publish_if_changed", killed)
        with pytest.raises(Killed):
            dataset(*command, "cut")
    assert not Path("cut/export.json").exists()
    refused(dataset("export", made / "tie.zarr", "--format", "tiff", "--out", "cut"), "already holds another export")
    assert dataset(*command, "cut")[0] == 0
    assert files("cut") == files("whole")
    hashes = json.loads(Path("cut/export.json").read_text())["sha256"]
    assert hashes == {name: sha256(data).hexdigest() for name, data in files("cut").items() if name != "export.json"}
