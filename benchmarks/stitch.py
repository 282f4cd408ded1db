"""Speed of stitching 65,536 patches to one image, compared with the loop of deep-phase-imaging.

The patches have 32 x 32 pixels and weight in the middle 12 x 12. They are cut from a known image at the positions of
the measured hBN scan (../shared/data, or the same raster: 256 x 256, step 0.869959 px of four pixels each). Each has a
constant of its own, and noise.

seed     the published loop, that of deep-phase-imaging, rewritten in plain Python and NumPy: 3 sweeps, alpha 0.1, in
         shuffled order, on float64 patches, without reading and writing. The loop before it, which subtracts the mean
         of each patch, is reported apart; ours includes this step.
ours     `inference.stitching.store.write`: reading, least squares, writing. Each run has a process of its own, which
         has stitched a few patches before. The peak memory is that of the whole process with its libraries.

Our stitching runs from Zarr to Zarr, the loop over arrays in memory. Both take turns, and the shortest time of
each is reported, as wall time and as processor time. Other users of the machine disturb the latter less (reading uses
two cores for a while). Errors are root mean squares against the true image, after removing the constant.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import tapered_weights
from inference.stitching.store import Scans, write
from schemas.grids import Ambiguities
from schemas.predictions import FORMAT, Predictions, metadata, objects
from schemas.runtime.machine import processor
from schemas.runtime.publish import publish_folder
from schemas.store import open_split, shard_ranges
from schemas.task import Field, Task

TURNS = 5
SIDE, MASKED, FINE = 32, slice(10, 22), 4  # pixels of a patch; pixels with weight; pixels of a patch per scan pixel
RASTER, STEP = 256, 0.869959
NOISE_RMS = 0.1  # rad
SHARD_PATCHES = 8192  # patches in an object of the store
MEASURED_POSITIONS = Path(__file__).parent.parent.parent / "shared" / "data" / "hbn_4dstem" / "positions.npy"


def measure(n: int) -> dict[str, Any]:
    """Measure times, ratios, peak memory and errors.

    Args:
        n: number of patches, the first of the scan, at most 65,536.

    Returns:
        The report, with numbers by name.
    """
    position = positions()[:n] * FINE
    truth = texture(np.random.default_rng(0), int(np.rint(position).max()) + SIDE + 1)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "patches.zarr"
        values = cut(truth, position)
        publish_patches(source, values, SHARD_PATCHES)
        np.save(Path(folder) / "position.npy", position)
        preparing, masked = mean_free(values)
        del values
        turns = [(seed_loop(masked, position), ours(Path(folder))) for _ in range(TURNS)]
        image = np.asarray(open_split(Path(folder) / "scan.zarr", "")["phase"][0])
    known = np.isfinite(image)
    seconds, busy = (
        {"seed": min(seed[key] for seed, _ in turns), "ours": min(own[key] for _, own in turns)}
        for key in ("seconds", "busy")
    )
    return {
        "hardware": processor(),
        "patches": len(position),
        "seconds": seconds | {"seed_before": preparing},
        "processor_seconds": busy,
        "ratios": {
            "seed_to_ours": seconds["seed"] / seconds["ours"],
            "seed_to_ours_processor": busy["seed"] / busy["ours"],
        },
        "peak_memory_mb": max(own["peak"] for _, own in turns) / 1e6,
        "error_rad": {"seed": error(turns[0][0]["image"], truth, known), "ours": error(image, truth, known)},
        "noise_rad": NOISE_RMS,
    }


def positions() -> np.ndarray:
    """Return the positions y, x of the patches (patch, 2), in pixels of the scan."""
    if MEASURED_POSITIONS.exists():
        measured: np.ndarray = np.load(MEASURED_POSITIONS)[:, ::-1]  # x is the first column
        return measured
    return np.indices((RASTER, RASTER)).reshape(2, -1).T * STEP


def texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a phase [rad] with the spectrum of natural images, 1/f in amplitude, and standard deviation 1.

    Args:
        rng: random generator.
        side: number of pixels along each axis.
    """
    waves = scipy.fft.rfft2(rng.normal(size=(side, side)))
    f = np.hypot(scipy.fft.fftfreq(side)[:, None], scipy.fft.rfftfreq(side))
    image: np.ndarray = scipy.fft.irfft2(waves / np.maximum(f, 1 / side), (side, side))
    return image / image.std()


def cut(truth: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Cut patches from an image, and add a constant to each, and noise.

    Args:
        truth: the image (y, x) [rad].
        position: (patch, 2) [pixel].

    Returns:
        The patches (patch, y, x), float32.
    """
    rng = np.random.default_rng(1)
    values = rng.normal(0, NOISE_RMS, (len(position), SIDE, SIDE)).astype(np.float32)
    values += rng.normal(size=(len(position), 1, 1)).astype(np.float32)
    for patch, (y, x) in zip(values, np.rint(position).astype(int), strict=True):
        patch += truth[y : y + SIDE, x : x + SIDE]
    return values


def mask() -> np.ndarray:
    """Return the mask (y, x), which is 1 where a patch is known."""
    found = np.zeros((SIDE, SIDE))
    found[MASKED, MASKED] = 1
    return found


def mean_free(values: np.ndarray) -> tuple[float, np.ndarray]:
    """Subtract the mean of each patch, and apply its weight, as deep-phase-imaging does before its loop.

    Args:
        values: patches (patch, y, x) [rad].

    Returns:
        The time [s] that this takes, and the patches (patch, y, x), float64.
    """
    start = time.perf_counter()
    weight, inside = mask(), mask().astype(bool)
    found = np.zeros(values.shape)
    for i in range(len(values)):
        found[i, :, :] = (values[i, :, :] - np.mean(values[i][inside])) * weight
    return time.perf_counter() - start, found


def seed_loop(patches: np.ndarray, position: np.ndarray) -> dict[str, Any]:
    """Stitch patches by the loop of deep-phase-imaging.

    Args:
        patches: (patch, y, x) of `mean_free`.
        position: (patch, 2) [pixel].

    Returns:
        Wall time and processor time [s], and the image.
    """
    start, busy = time.perf_counter(), time.process_time()
    inside, alpha = mask().reshape(-1, 1).astype(bool), 0.1
    corner = np.round(position).astype(int)
    image = np.zeros(corner.max(axis=0) + SIDE + 1)
    order = np.random.default_rng(0).permutation(len(patches)).tolist()
    weight = mask()
    for _ in range(3):
        for i in order:
            y, x = corner[i, 0], corner[i, 1]
            window = image[y : y + SIDE, x : x + SIDE]
            mean = np.mean(window.reshape(-1, 1)[inside])
            image[y : y + SIDE, x : x + SIDE] = window + alpha * (patches[i, :, :] - window + mean) * weight
    return {"seconds": time.perf_counter() - start, "busy": time.process_time() - busy, "image": image}


def publish_patches(path: Path, values: np.ndarray, shard: int) -> None:
    """Write a store of predictions that holds the given patches.

    Args:
        path: the store.
        values: patches (sample, y, x) [rad].
        shard: number of patches in an object of the store.
    """
    publish_folder(path, _objects(_described(values.shape, shard), values))


def _objects(predictions: Predictions, values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    yield from metadata(predictions).items()
    for start, stop in shard_ranges(len(values), predictions.shard):
        yield from objects(predictions, start, {"phase": values[start:stop]}).items()


def _described(shape: tuple[int, ...], shard: int) -> Predictions:
    """Return the metadata of predictions that hold the patches to be stitched."""
    fields = (
        Field("amplitude", ("sample", "qy", "qx"), "float32", "1", "input", "a pattern"),
        Field("phase", ("sample", "y", "x"), "float32", "rad", "target", "a patch of the object"),
    )
    task = Task(
        "patches", "1.0", "patches of an object", "phase = phase", fields, Ambiguities(("constant",), ("phase",))
    )
    about = {"name": "patches", "kind": "classical", "method": "cut", "version": 1, "about": "cut from an image"}
    which = {"dataset_digest": "0" * 64, "family": "", "split": "test", "split_digest": "0" * 64, "samples": shape[0]}
    layout = {"unit": shard, "chunks": {"phase": (min(shard, 256), *shape[1:])}, "tiles": {}, "overlap": 0.0}
    made: dict[str, Any] = {
        "settings": {},
        "weights": None,
        "tuning": None,
        "history": [],
        "hardware": "",
        "packages": {},
    }
    sizes = {"y": shape[1], "x": shape[2], "qy": 1, "qx": 1}
    complete = {"format": FORMAT, "task": task, "sizes": sizes, "status": "complete"}
    return Predictions.model_validate(about | which | layout | made | complete)


def ours(folder: Path) -> dict[str, Any]:
    """Stitch the patches of a folder in a process of its own.

    Returns:
        Wall time and processor time [s] from store to store, and the peak memory [byte].
    """
    command = [sys.executable, "-m", "benchmarks.stitch", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _alone(folder: Path) -> None:
    """Stitch the patches once and print the wall time, processor time and peak memory of this process."""
    position = np.load(folder / "position.npy")
    publish_patches(folder / "few.zarr", np.zeros((4, SIDE, SIDE), np.float32), 4)
    write(folder / "few.zarr", _scans(position[:4]), folder / "first.zarr", LeastSquares(), field="phase")
    start, busy = time.perf_counter(), time.process_time()
    write(folder / "patches.zarr", _scans(position), folder / "scan.zarr", LeastSquares(), field="phase")
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(json.dumps({"seconds": seconds, "busy": busy, "peak": _peak()}))


def _peak() -> int:
    """Return the peak memory [byte] of this process; getrusage could give the larger one of its parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _scans(position: np.ndarray) -> Scans:
    return Scans(position, tapered_weights(mask()[None]), np.zeros(len(position), np.int64), 1.0)


def error(image: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    """Root mean square [rad] of the difference of two images at the known pixels, after removing its mean.

    Args:
        image: (y, x) [rad].
        truth: (y, x) [rad].
        known: mask (y, x), bool.
    """
    ny, nx = known.shape
    difference = (image[:ny, :nx] - truth[:ny, :nx])[known]
    return float(difference.std())


def text(report: dict[str, Any]) -> str:
    """Format the report as text."""
    seconds, busy, errors, ratios = (report[key] for key in ("seconds", "processor_seconds", "error_rad", "ratios"))
    return "\n".join(
        [
            f"stitching {report['patches']:,} patches of {SIDE} x {SIDE}, {report['hardware']}",
            f"published loop, arrays [s]      {seconds['seed']:.2f}   processor time {busy['seed']:.2f}"
            f"   means before it {seconds['seed_before']:.2f}",
            f"ours, Zarr to Zarr [s]          {seconds['ours']:.2f}   processor time {busy['ours']:.2f}",
            f"times faster                    {ratios['seed_to_ours']:.2f}   (at least 3)"
            f"   by processor time {ratios['seed_to_ours_processor']:.2f}",
            f"peak memory of ours [MB]        {report['peak_memory_mb']:,.0f}   (at most 2,147)",
            f"rms error [rad]                 {errors['ours']:.4f}   published loop {errors['seed']:.4f}"
            f"   noise of a patch {report['noise_rad']:.2f}",
        ]
    )


if __name__ == "__main__":
    _alone(Path(sys.argv[1]))
