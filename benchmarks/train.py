"""Speed of `train --task tie --model unet` with the default recipe, compared with PyTorch and with the disk.

step       one training step (training/steps.py) with data on the device: encode, network, loss, gradient, clip, Adam.
peer       the same network and optimizer in PyTorch, channels-last (benchmarks/peer_torch.py). It takes turns with
           ours, and runs in the python that has torch: this one, or --torch-python.
loader     batches of a stream (training/batches.py) without training, compared with the needs of the step, and with
           reading the same objects without decoding them.
start      time from the command to the first line of its journal.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas.runtime.settings import make_settings
from training import devices, model_building, optimizers, steps
from training.batch_sources import plan_reading
from training.batches import Batch, Resident, Stream
from training.contract import find_model
from training.recipe import recipe_type
from training.run import Run, hardware, prepare

ROUNDS = 40  # steps that are timed; their median is reported
TURNS = 3  # turns of our step and the peer's; the fastest of each is reported


def measure(n: int, torch_python: str | None = None) -> dict[str, Any]:
    """Measure speeds and their ratios.

    Args:
        n: training samples of the dataset.
        torch_python: a python that has torch; None for this one.

    Returns:
        The report, with numbers by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "tie.zarr"
        _command("generators", "--task", "tie", "--n", n, "--out", data)
        recipe = make_settings(recipe_type("unet", find_model("unet")), {}, ["loss.mse=1", "loss.relative=0"])
        run = prepare(data, Path(folder) / "run", recipe)
        turns = [(_step(run), _peer(run, torch_python)) for _ in range(TURNS)]
        loader, raw = _loader(run), _raw(data)
        start = _start(data, Path(folder) / "started")
    step = max(own for own, _ in turns)
    peers = [peer for _, peer in turns if peer]
    peer = max(peers, key=lambda found: found["samples_per_second"]) if peers else None
    return {
        "hardware": hardware(),
        "n": n,
        "samples_per_second": {"step": step, "loader": loader["samples"], "peer": peer and peer["samples_per_second"]},
        "peer": peer,
        "bytes_per_second": {"loader": loader["bytes"], "raw": raw},
        "ratios": {
            "step_to_peer": peer and step / peer["samples_per_second"],
            "loader_to_step": loader["samples"] / step,
            "loader_to_raw": loader["bytes"] / raw,
        },
        "start_s": start,
    }


def _command(room: str, *args: object) -> None:
    subprocess.run([sys.executable, "-m", room, *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def _step(run: Run) -> float:
    """Return the samples per second of training, with data on the device."""
    mesh = devices.mesh(run.recipe.batch_size)
    network = model_building.build_network(run.recipe, run.features)
    rule = optimizers.build_optimizer(run.recipe, 10**6)
    learn = steps.learning_step(network, run.features, rule, run.recipe.model_copy(update={"augment": False}), mesh)
    state = steps.initial_state(network, rule, run.recipe, mesh)
    data, order, _ = plan_reading(run, "train", 0)
    batches = list(Resident(data, order, mesh).batches(0, 4))
    times = []
    for number in range(ROUNDS + 5):
        start = time.perf_counter()
        state, metrics = learn(state, batches[number % 4])
        jax.block_until_ready((state, metrics))
        times.append(time.perf_counter() - start)
    return run.recipe.batch_size / float(np.median(times[5:]))


def _peer(run: Run, python: str | None) -> dict[str, Any] | None:
    """Return the measurement of the peer, or None without PyTorch."""
    settings: Any = run.recipe.model  # type: ignore[attr-defined]
    spec = {
        "inputs": run.features.inputs.channels,
        "outputs": run.features.output_shape[-1],
        "size": run.features.inputs.spatial[0],
        "batch": run.recipe.batch_size,
        "widths": [round(settings.width * factor) for factor in settings.widening],
        "patch": settings.patch,
        "groups": settings.groups,
        "rounds": ROUNDS,
        "compile": jax.default_backend() == "gpu",
    }
    script = Path(__file__).with_name("peer_torch.py")
    done = subprocess.run([python or sys.executable, script, json.dumps(spec)], capture_output=True, text=True)
    found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    if found is not None:
        own = model_building.build_network(run.recipe, run.features).parameters
        assert found["parameters"] == own, (found["parameters"], own)
    return found


def _loader(run: Run) -> dict[str, float]:
    """Return samples and decoded bytes per second of a stream, from its first batch on."""
    mesh = devices.mesh(run.recipe.batch_size)
    data, order, _ = plan_reading(run, "train", 0)
    stream = Stream(data, order, mesh).batches(0, 2 * order.steps)
    next(stream)
    start = time.perf_counter()
    nbytes = sum(_nbytes(batch) for batch in _ready(stream))
    seconds = time.perf_counter() - start
    return {"samples": (2 * order.steps - 1) * order.batch / seconds, "bytes": nbytes / seconds}


def _ready(stream: Iterator[Batch]) -> Iterator[Batch]:
    for batch in islice(stream, None):
        yield jax.block_until_ready(batch)


def _nbytes(batch: Batch) -> int:
    return sum(values.nbytes for values in batch.values())


def _raw(data: Path) -> float:
    """Return bytes per second of reading the same objects from the page cache, without decoding."""
    paths = [
        path for name in ("intensity", "phase") for path in (data / "train" / name).rglob("c/**/*") if path.is_file()
    ]
    start = time.perf_counter()
    nbytes = sum(len(path.read_bytes()) for path in paths for _ in range(2))
    return nbytes / (time.perf_counter() - start)


def _start(data: Path, out: Path) -> float:
    """Return the seconds from the command to the first line of the journal."""
    args = ["--data", data, "--out", out, "--epochs", 1, "--set", "log_every=1"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = out / "metrics.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    return seconds


def text(report: dict[str, Any]) -> str:
    """Format the report as text."""
    speed, ratio, flow, peer = (report[key] for key in ("samples_per_second", "ratios", "bytes_per_second", "peer"))
    against = (
        f"{ratio['step_to_peer']:.2f} of PyTorch {peer['version']} on {peer['device']} ({speed['peer']:.0f})"
        if peer
        else "not compared, because this python has no PyTorch: give --torch-python"
    )
    return "\n".join(
        [
            f"hardware  {report['hardware']}",
            f"step      {speed['step']:.0f} samples/s: {against}",
            f"loader    {speed['loader']:.0f} samples/s, {ratio['loader_to_step']:.1f} times the need of the step; "
            f"{flow['loader'] / 1e6:.0f} MB/s decoded, {ratio['loader_to_raw']:.2f} of a raw read "
            f"({flow['raw'] / 1e6:.0f})",
            f"start     {report['start_s']:.1f} s from the command to the first step",
        ]
    )
