"""Speed and memory of `generate` with the default recipe of a task, compared with one in-process loop and bare work.

bare work     the work that no sample can do without, each part timed alone with the best library call: FFTs (by
              scipy.fft), shot noise (NumPy's Poisson); for tie interpolations (scipy.ndimage's cubic spline); for cdi
              sines and exponentials of the phase, and the error function of the edge. Specimens, hashing and disk are
              not in it.
in-process    the engine's function that makes a shard, on one core, warm: draw, simulate, measure, encode, hash, write,
              receipt.
engine        the command line with a worker per core. Samples per second follow from the difference of two runs, with n
              and 10 n samples, so that the time of starting and ending cancels; that time is reported apart.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy.fft
from scipy import ndimage
from scipy.special import erf

from generators.contract import find_generator
from generators.engine import pipeline, shards, store_creation
from generators.instruments.spline import affine
from generators.tasks import cdi, tie
from schemas.runtime.machine import cores


def measure(n: int, task: str) -> dict[str, Any]:
    """Measure speeds, ratios and peak memory.

    Args:
        n: training samples of the small run; the large one has 10 n.
        task: name of the task.

    Returns:
        The report, with numbers by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        loop = _loop(Path(folder) / "loop.zarr", task, n)
        small, large = (_engine(Path(folder) / f"{count}.zarr", task, count) for count in (n, 10 * n))
    bare = BARE[task]()
    rate = 9 * n / (large["seconds"] - small["seconds"])
    library = sum(seconds for name, seconds in bare.items() if name != OWN)
    ours = {"sample_to_bare_with_our_spline": loop / (library - bare[LIBRARY] + bare[OWN])} if OWN in bare else {}
    return {
        "task": task,
        "cores": cores(),
        "bare_ms": {name: 1e3 * seconds for name, seconds in bare.items()},
        "samples_per_second": {"engine": rate, "in_process": 1 / loop, "bare": 1 / library},
        "ratios": {
            "sample_to_bare": loop / library,
            **ours,
            "engine_to_in_process": rate * loop,
        },
        "peak_memory_mb": {"n": small["peak"] / 1e6, "10n": large["peak"] / 1e6},
        "seconds_per_100000": 1e5 / rate,
        "start_and_end_s": small["seconds"] - n / rate,
        "n": n,
    }


def _best(work: Callable[[], object], rounds: int = 50) -> float:
    """Return the median time [s] of a call of `work` over all rounds."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _bare_tie() -> dict[str, float]:
    """Return the seconds per sample of each kind of bare work of tie."""
    recipe = tie.RECIPES["default"]
    fine = recipe.image_size * recipe.supersampling
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=(fine, fine)) + 1j * rng.normal(size=(fine, fine))).astype(np.complex64)
    posed = recipe.image_size * min(recipe.supersampling, 2)  # the grid on which images are rotated
    image = abs(wave[:posed, :posed])
    counts = np.full((recipe.images, recipe.image_size, recipe.image_size), 4e4)
    matrix, offset = np.array([[1.01, 0.03], [-0.03, 1.01]]), np.array([0.4, -1.3])
    return {
        "fft": recipe.images * _best(lambda: scipy.fft.fft2(wave)),  # one forward, and one back per image out of focus
        "noise": _best(lambda: rng.poisson(counts)),
        LIBRARY: (recipe.images - 1)
        * _best(lambda: ndimage.affine_transform(image, matrix, offset, order=3, mode="grid-wrap")),
        OWN: (recipe.images - 1) * _best(lambda: affine(image, matrix, offset)),
    }


def _bare_cdi() -> dict[str, float]:
    """Return the time [s] of each library call that a sample of `cdi` cannot do without."""
    recipe = cdi.RECIPES["default"]
    rng = np.random.default_rng(0)
    wave = rng.normal(size=recipe.finest_shape).astype(np.complex64)
    counts = np.full(recipe.finest_shape, 100.0)
    place = rng.normal(size=(recipe.image_size, recipe.image_size))
    terms = (recipe.displacement.gratings, recipe.displacement.gaussians)
    gratings, gaussians = ((term.low + term.high) / 2 for term in terms)
    elementary = gratings * _best(lambda: np.sin(place)) + gaussians * _best(lambda: np.exp(place))
    return {
        "fft": _best(lambda: scipy.fft.fft2(wave)),
        "noise": _best(lambda: rng.poisson(counts)),
        "elementary": elementary + 2 * _best(lambda: np.cos(place)) + _best(lambda: erf(place)),
    }


OWN, LIBRARY = "interpolation_own", "interpolation_library"
BARE: dict[str, Callable[[], dict[str, float]]] = {"tie": _bare_tie, "cdi": _bare_cdi}


def _loop(out: Path, task: str, n: int) -> float:
    """Return the seconds per sample of making all shards in this process, which has made samples before."""
    samples = {"train": n, "validation": 0, "test": 0}
    recipe = find_generator(task)[1].RECIPES["default"]
    plan, _ = pipeline.lay_out(pipeline.plan(task, recipe, 0, samples, out), None)
    store_creation.claim(plan)
    start = time.perf_counter()
    for job in plan.jobs():
        shards.ensure(job)
    return (time.perf_counter() - start) / n


def _engine(out: Path, task: str, n: int) -> dict[str, float]:
    """Run the command line, and return its wall time and the peak memory of all its processes together."""
    command = [sys.executable, "-m", "generators", "--task", task, "--validation", "0", "--test", "0"]
    command += ["--n", str(n), "--out", str(out), "--workers", str(cores())]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return {"seconds": time.perf_counter() - start, "peak": peak}


def _memory(pid: int) -> int:
    """Return the bytes of a process and its descendants; shared pages are divided equally among the processes."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # the process has ended meanwhile
            continue
    return total


def text(report: dict[str, Any]) -> str:
    """Format the report as text."""
    speed, ratio, memory = report["samples_per_second"], report["ratios"], report["peak_memory_mb"]
    bare = ", ".join(f"{name} {value:.2f}" for name, value in report["bare_ms"].items())
    return "\n".join(
        [
            f"generate --task {report['task']}, default recipe, {report['cores']} cores",
            f"bare work [ms per sample]       {bare}",
            f"samples/s   bare work {speed['bare']:,.0f}   one in-process loop {speed['in_process']:,.0f}"
            f"   engine {speed['engine']:,.0f}",
            f"a sample / its bare work        {ratio['sample_to_bare']:.2f}   (at most 2.5)",
            *(
                f"  with our spline instead       {value:.2f}"
                for name, value in ratio.items()
                if name == "sample_to_bare_with_our_spline"
            ),
            f"engine / one in-process loop    {ratio['engine_to_in_process']:.2f}   (at least 1.7 on two cores)",
            f"peak memory [MB]                {memory['n']:,.0f} at n = {report['n']:,}, {memory['10n']:,.0f} at 10 n",
            f"100,000 samples [s]             {report['seconds_per_100000']:.0f}",
            f"starting and ending [s]         {report['start_and_end_s']:.1f}",
        ]
    )
