"""Speed of projections: images of N x N pixels along N rays in each of 1.4 N views over half a turn.

There are as many processes as cores. All of them make the same call at the same time, each on one core. Times are
processor times in milliseconds per image, of a block of `LANES` images with the same rays, or of one image alone.

floor         the multiply-adds of the ray sums, 2 for each ray and row, on numbers that stay in the cache.
project       `physics.tomography.projection.project`.
back project  its adjoint.
fbp           `physics.tomography.filtered_back_projection.filtered_back_projection`.
gridding      `physics.tomography.gridding.gridding_reconstruction`.
one ...       for one image.
astra ...     those of `astra-toolbox` (`linear` projector, one CPU thread, image by image), if it is installed:
              `uv sync --group bench`.

All calls of a round follow one another, so ratios are less disturbed by other programs than times.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from threading import Barrier
from typing import Any

import numpy as np

from physics.arrays import Real
from physics.compiled import compiled
from physics.tomography.filtered_back_projection import filtered_back_projection
from physics.tomography.geometry import Geometry
from physics.tomography.gridding import gridding_reconstruction
from physics.tomography.projection import LANES, back_project, project
from schemas.runtime.machine import cores, processor

ROUNDS = 3
SMALL = 16  # width of the images with which everything is compiled
PAIRS = (
    ("project", "floor"),
    ("one project", "project"),
    ("fbp", "gridding"),
    ("one fbp", "one gridding"),
    ("astra project", "project"),
    ("astra back project", "back project"),
    ("astra fbp", "fbp"),
    ("astra project", "one project"),
    ("astra fbp", "one fbp"),
    ("astra fbp", "one gridding"),
)
TITLES = {"ms_per_image": "ms per image", "growth": "exponent of N", "ratios": "ratio", "work": "floor per image"}

type Work = dict[str, tuple[Callable[[], object], int]]  # a call, and the number of images that it processes
type Times = dict[str, Real]  # seconds per image (round,)


_meeting: Barrier | None = None  # where the processes wait for one another


def measure(sizes: Sequence[int], rounds: int = ROUNDS) -> dict[str, Any]:
    """Time projections of images of several sizes.

    Args:
        sizes: the sizes N.
        rounds: number of rounds; medians over rounds and processes are reported.

    Returns:
        The report, with numbers by name.
    """
    context, number = get_context("spawn"), cores()
    times = {}
    with ProcessPoolExecutor(number, context, _meet_at, (context.Barrier(number),)) as pool:
        for size in sizes:
            jobs = [pool.submit(time_calls, size, rounds) for _ in range(number)]
            found = [job.result() for job in jobs]
            times[size] = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return {"hardware": processor(), "processes": number, **summary(times)}


def summary(times: dict[int, Times]) -> dict[str, Any]:
    """Return medians, their growth from size to size, ratios, and the work that cannot be avoided.

    Args:
        times: seconds per image, by size and name.
    """
    medians = {
        size: {name: float(np.median(seconds)) for name, seconds in found.items()} for size, found in times.items()
    }
    growth = {
        f"{a}-{b}": {name: float(np.log(medians[b][name] / medians[a][name]) / np.log(b / a)) for name in medians[a]}
        for a, b in pairwise(times)
    }
    ratios = {
        size: {f"{a} / {b}": float(np.median(found[a] / found[b])) for a, b in PAIRS if a in found and b in found}
        for size, found in times.items()
    }
    work = {
        size: {
            "million multiply-adds": 2e-6 * size * size * _views(size),
            "megabytes of image and sinogram": 4e-6 * size * (size + _views(size)),
        }
        for size in times
    }
    milliseconds = {size: {name: 1e3 * seconds for name, seconds in found.items()} for size, found in medians.items()}
    return {"ms_per_image": milliseconds, "growth": growth, "ratios": ratios, "work": work}


def text(report: dict[str, Any]) -> str:
    """Return a report as tables."""
    lines = [f"projections of N x N pixels, 1.4 N views ({report['hardware']}), {report['processes']} processes"]
    for part, title in TITLES.items():
        columns = report[part]
        names = list(next(iter(columns.values()), {}))
        width = max((len(name) for name in (title, *names)), default=0) + 2
        lines += ["", title.ljust(width) + "".join(f"{size:>12}" for size in columns)] if names else []
        lines += [name.ljust(width) + "".join(f"{found[name]:12.3g}" for found in columns.values()) for name in names]
    return "\n".join([*lines, "", "gridrec of TomoPy is not compared: TomoPy is not among the packages of PyPI"])


def time_calls(size: int, rounds: int) -> Times:
    """Time all calls in turn, together with other processes.

    Args:
        size: N.
        rounds: number of rounds.

    Returns:
        Seconds per image, by name.
    """
    for call, _ in _work(SMALL).values():
        call()  # compiles before anything is timed
    work = _work(size)
    turns = [{name: _seconds(call) / n for name, (call, n) in work.items()} for _ in range(rounds)]
    return {name: np.array([turn[name] for turn in turns]) for name in work}


def _meet_at(barrier: Barrier) -> None:
    global _meeting
    _meeting = barrier


def _seconds(call: Callable[[], object]) -> float:
    if _meeting:
        _meeting.wait()
    start = time.process_time()
    call()
    return time.process_time() - start


def _views(size: int) -> int:
    return int(1.4 * size)


def _work(size: int) -> Work:
    """Return the calls that are timed for one size."""
    views, shape = _views(size), (size, size)
    geometry = Geometry(np.arange(views) * np.pi / views, size)
    images = np.random.default_rng(0).random((LANES, *shape), np.float32)
    sinograms, row = project(images, geometry), np.ones(1024, np.float32)
    made: dict[str, Callable[[Any, Any], object]] = {
        "project": lambda image, _: project(image, geometry),
        "back project": lambda _, sinogram: back_project(sinogram, geometry, shape),
        "fbp": lambda _, sinogram: filtered_back_projection(sinogram, geometry, shape),
        "gridding": lambda _, sinogram: gridding_reconstruction(sinogram, geometry, shape),
    }
    work: Work = {"floor": (lambda: _multiply_add(row, 2 * size * size * views // len(row) * LANES), LANES)}
    for name, call in made.items():
        work[name] = (lambda call=call: call(images, sinograms), LANES)  # type: ignore[misc]
        if name != "back project":
            work[f"one {name}"] = (lambda call=call: call(images[0], sinograms[0]), 1)  # type: ignore[misc]
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
