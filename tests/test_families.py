"""A toy family of each kind of grid, dimension and target: from a dataset to scores, each as four files."""

from pathlib import Path

import pytest

from tests.conftest import Command

SMALL = {
    "unet": ("model.width=2", "model.widening=1,2"),
    "mlp": ("model.hidden=8",),
    "convnet": ("model.filters=2", "model.kernels=3", "model.dense.hidden=8"),
    "unrolled": ("model.iterations=2", "model.width=2"),
}
CASES = [  # task, further options
    ("toy_fusion", "unet", ("--input", "both")),
    ("toy_fusion", "unet", ("--input", "low")),
    ("toy_series", "unet", ("--set", "scalars=angle,background")),
    ("toy_labels", "unet", ()),
    ("toy_labels", "convnet", ("--target", "radius")),
    ("toy_labels", "convnet", ("--target", "direction")),
    ("toy_labels", "convnet", ("--target", "kind")),
    ("toy_scan", "unrolled", ()),
    ("toy_scan", "mlp", ("--input", "sinogram")),
    ("toy_scan", "unet", ("--input", "back")),
    ("toy", "toy_vae", ()),
]
pytestmark = pytest.mark.usefixtures("quick")


def made(generate: Command, task: str, *args: object) -> Path:
    command = ("--task", task, "--n", 12, "--validation", 4, "--test", 6, "--scheduler", "synchronous", *args)
    code, _, err = generate(*command, "--out", f"{task}.zarr")
    assert (code, err) == (0, "") or "complete" in err or code == 0, err
    return Path(f"{task}.zarr")


@pytest.mark.parametrize(("task", "model", "options"), CASES)
def test_from_a_dataset_to_scores(
    task: str,
    model: str,
    options: tuple[str, ...],
    generate: Command,
    train: Command,
    infer: Command,
    evaluate: Command,
) -> None:
    data = made(generate, task)
    knobs = ("--batch-size", 4, "--epochs", 2, "--model", model, "--set", "log_every=1", *SMALL.get(model, ()))
    code, out, err = train("--data", data, "--out", "run", *knobs, *options)
    assert code == 0, err
    code, out, err = infer("--model", "run", "--data", data, "--out", "p.zarr")
    assert code == 0, err
    code, out, err = evaluate("--data", data, "--predictions", "p.zarr", "--out", "report")
    assert code == 0, err
    print(out)
