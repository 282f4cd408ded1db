"""Every parameter of phase-ret-dl has a command here, in docs/phase-ret-dl.md; each is run, on a small scale."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from generators.cli import main as generate
from inference.cli import evaluate, infer
from physics.optics import exit_wave
from schemas.cli import main as dataset
from training.cli import main as train

DOCUMENT = Path(__file__).parents[1] / "docs" / "phase-ret-dl.md"
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "generate": generate,
    "dataset": dataset,
    "train": train,
    "infer": infer,
    "evaluate": evaluate,
}
SMALL = ["--set", "image_size=16", "field_of_view=40", "supersampling=1", "defocus=100:300"]
FEW = ["--n", "8", "--validation", "2", "--test", "3", "--scheduler", "synchronous"]
BRIEF = ["--set", "epochs=1", "batch_size=4"]

# What the README of phase-ret-dl has as headings.
PARAMETERS = (
    "Hidden Layer Size, Input Type, Number of Images, Train with In-focus Image, Train/Valid/Test Split, Start Number, "
    "Batch Size, Optimiser Type, Learning Rate, Activation Functions, Use Convolutional Layers, Number of Epochs, "
    "Initialisation Type, Specify Parameters, Pre-remove Offset, Phase Retrieval Method, Misalignment, "
    "Rotation/Scale/Shift, Rotation/Scale/Shift Mode, Load/Retrain Model, Experimental Test Data, "
    "Retrieve Phase Component, Window Function Radius, Accelerating Voltage, Use Multislice, Multislice Method, "
    "Multislice Wavefield Path, Image Size in Pixels, Multislice Resolution in Pixels, Domain Size, Noise Level, "
    "Defocus, Error Limits, Phase Limits, Image Limits, Use Electrostatic/Magnetic Potential, Mean Inner Potential, "
    "Mass Magnetization, Density, Experimental Data Path, Image Output Path, Phase Output Path, Error Output Path, "
    "Load Model Path, Save Model Path, Specimen Input Path"
)
OPTIMISERS = (
    "gradient descent, adam, adadelta, adagrad, adagrad da, momentum, ftrl, proximal gradient descent, "
    "proximal adagrad, rms prop"
)


def rows() -> list[tuple[str, str]]:
    """First cell and command of each row of the tables."""
    cells = [line.strip("| \n").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| '")]
    return [(cell[0], found[1]) for cell in cells for found in [re.match("`([^`]+)`", cell[1])] if found]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset, a trained network and its predictions; files of specimens, waves and micrographs."""
    folder = tmp_path_factory.mktemp("seed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert generate(["--task", "tie", *SMALL, *FEW]) == 0
        assert train(["--data", "tie.zarr", "--model", "mlp", *BRIEF, "--out", "runs/seed"]) == 0
        assert infer(["--model", "runs/seed", "--data", "tie.zarr"]) == 0
    rng = np.random.default_rng(0)
    for name in ("specimens", "waves"):
        (folder / name).mkdir()
    for k in range(2):
        mask = np.zeros((16, 16, 16), bool)
        mask[5:11, 5:11, 4 + k : 10] = True
        np.save(folder / "specimens" / f"particle({k}).npy", mask)
        for name in ("wave", "projected"):
            wave = exit_wave(rng.random((32, 32), np.float32), 1.0)
            np.save(folder / "waves" / f"{name}({k}).npy", wave)
    for name in ("under", "over"):
        tifffile.imwrite(folder / f"{name}.tif", rng.random((16, 16), np.float32) + 0.5)
    return folder


def test_every_parameter_has_a_row() -> None:
    names = {name for row, _ in rows() for name in re.findall("'([^']+)'", row)}
    assert set(PARAMETERS.split(", ")) | set(OPTIMISERS.split(", ")) <= names


@pytest.mark.usefixtures("quick", "without_curves")
@pytest.mark.parametrize(("name", "command"), rows())
def test_its_command_works(
    name: str, command: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *given = shlex.split(command)
    place = tmp_path / "here"
    ignored = shutil.ignore_patterns("tie.zarr", "tie.zarr.run") if program == "generate" else None
    shutil.copytree(prepared, place, ignore=ignored)
    monkeypatch.chdir(place)
    more = {"generate": [*SMALL, *([] if "--n" in given else FEW)], "train": BRIEF}.get(program, [])
    assert PROGRAMS[program]([*more, *given]) == 0
