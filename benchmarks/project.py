"""Speed of projections: images of N x N pixels along N rays in each of 1.4 N views over half a turn, on one core.

Times are in milliseconds per image, for a block of `LANES` images with the same rays.

floor         the multiply-adds of the ray sums, 2 for each ray and row, on numbers that stay in the cache.
project       `physics.tomography.projection.project`.
back project  its adjoint.
fbp           `physics.tomography.filtered_back_projection.filtered_back_projection`.
one           `project` for a single image.
astra ...     the same three of `astra-toolbox` (`linear` projector, one CPU thread, image by image), if it is
              installed: `uv sync --group bench`.

All calls of a round follow one another, so ratios are less disturbed by other programs than times.
"""

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from physics.compiled import compiled
from physics.tomography.filtered_back_projection import filtered_back_projection
from physics.tomography.geometry import Geometry
from physics.tomography.projection import LANES, back_project, project
from training.run import hardware

ROUNDS = 5
SIZES = (128, 256, 512, 1024)
PAIRS = (("project", "floor"), ("one", "project"))
PEERS = ("project", "back project", "fbp")

type Work = dict[str, tuple[Callable[[], object], int]]  # a call, and the number of images that it processes


def measure(largest: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Time projections of all `SIZES` up to a size.

    Args:
        largest: the largest image size.
        rounds: number of rounds; medians are reported.

    Returns:
        The report, with numbers by name.
    """
    sizes = {str(size): _measure_size(size, rounds) for size in SIZES if size <= largest}
    return {"hardware": hardware(), "sizes": sizes}


def text(report: dict[str, Any]) -> str:
    """Return a report as a table of times and a table of ratios."""
    lines = [f"projections of N x N pixels, 1.4 N views ({report['hardware']}), one core"]
    for part, title in (("ms_per_image", "ms per image"), ("ratios", "ratio")):
        names = list(next(iter(report["sizes"].values()))[part])
        width = max(len(name) for name in names) + 2
        lines.append(title.ljust(width) + "".join(f"{size:>10}" for size in report["sizes"]))
        for name in names:
            values = "".join(f"{found[part][name]:10.3g}" for found in report["sizes"].values())
            lines.append(name.ljust(width) + values)
    return "\n".join(lines)


def _measure_size(size: int, rounds: int) -> dict[str, dict[str, float]]:
    work = _work(size)
    for call, _ in work.values():
        call()  # compiles before anything is timed
    turns = [{name: _seconds(call) / n for name, (call, n) in work.items()} for _ in range(rounds)]
    times = {name: np.array([turn[name] for turn in turns]) for name in work}
    pairs = PAIRS + tuple((f"astra {name}", name) for name in PEERS if f"astra {name}" in times)
    return {
        "ms_per_image": {name: 1e3 * float(np.median(seconds)) for name, seconds in times.items()},
        "ratios": {f"{a} / {b}": float(np.median(times[a] / times[b])) for a, b in pairs},
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _work(size: int) -> Work:
    """Return the calls that are timed for one size."""
    geometry = Geometry(np.arange(int(1.4 * size)) * np.pi / int(1.4 * size), size)
    images = np.random.default_rng(0).random((LANES, size, size), np.float32)
    sinograms, shape = project(images, geometry), (size, size)
    row = np.ones(1024, np.float32)
    work: Work = {
        "floor": (lambda: _multiply_add(row, 2 * size * size * int(1.4 * size) // 1024 * LANES), LANES),
        "project": (lambda: project(images, geometry), LANES),
        "back project": (lambda: back_project(sinograms, geometry, shape), LANES),
        "fbp": (lambda: filtered_back_projection(sinograms, geometry, shape), LANES),
        "one": (lambda: project(images[0], geometry), 1),
    }
    return work | _peer(images[0], sinograms[0], geometry)


def _peer(image: np.ndarray, sinogram: np.ndarray, geometry: Geometry) -> Work:
    """Return the calls of `astra-toolbox`; none if it is not installed."""
    try:
        astra: Any = importlib.import_module("astra")
    except ImportError:
        return {}
    size = len(image)
    volume = astra.create_vol_geom(size, size)
    rays = astra.create_proj_geom("parallel", 1.0, geometry.detectors, geometry.angles)
    projector = astra.create_projector("linear", rays, volume)
    held = {"vol": astra.data2d.create("-vol", volume, image), "sino": astra.data2d.create("-sino", rays, sinogram)}
    targets = {
        "project": ("FP", "VolumeDataId"),
        "back project": ("BP", "ReconstructionDataId"),
        "fbp": ("FBP", "ReconstructionDataId"),
    }
    work: Work = {}
    for name, (algorithm, key) in targets.items():
        config = astra.astra_dict(algorithm)
        config |= {"ProjectorId": projector, key: held["vol"], "ProjectionDataId": held["sino"]}
        made = astra.algorithm.create(config)
        work[f"astra {name}"] = (lambda made=made: astra.algorithm.run(made), 1)  # type: ignore[misc]
    return work


@compiled
def _multiply_add(row: np.ndarray, times: int) -> float:
    """Add a row to another so many times."""
    sums = np.zeros_like(row)
    for n in range(times):
        for i in range(len(row)):
            sums[i] += row[i] * n
    return float(sums[0])
