"""Speed of phase retrieval of objects of 32 x 32 pixels: 620 iterations, a network, and a network with 50 iterations.

Times are in milliseconds per pattern, for a block of patterns at once, and for one pattern at a time as in the paper.

floor         two Fourier transforms per iteration, for 620 iterations, in blocks that stay in the cache.
iterations    `physics.phase_retrieval.reconstruct`: the published 620, from random starts, for patterns of 64 x 64.
network       CDI NN's two networks (`train --recipe published`), from patterns of 32 x 32 to shape and phase.
              They are untrained, which changes their answers but not their time. Compilation is not timed.
refined       the network, and 50 iterations from its answer (`infer --refine 50`).

Iterations run on one core, by NumPy. The network runs on the device that JAX finds, on all cores if there is no
accelerator. The accuracy of the answers is the subject of `evaluate` (workflows/cdi_inversion), not of this benchmark.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from inference.tasks.cdi import finish
from physics.diffraction import amplitude, embed, subsample
from physics.fourier import fft2, ifft2
from physics.phase_retrieval import PUBLISHED_SCHEDULE, Schedule, initial_guess, reconstruct
from schemas.fields.object_phases import MIN_MODULUS
from schemas.runtime.settings import make_settings
from schemas.task import find_task
from training.contract import find_learn, find_model
from training.model_building import build_network, features_of
from training.moments import Moments
from training.recipe import recipe_type
from training.run import hardware

SIDE, BLOCK, ROUNDS = 32, 8, 5
REFINED_ITERATIONS = 50  # iterations

type Fields = Mapping[str, np.ndarray]
type Predict = Callable[[Fields], dict[str, np.ndarray]]
type Work = dict[str, Callable[[], object]]

RATIOS = {
    "block_to_floor": ("block", "floor"),
    "one_by_one_to_block": ("one by one", "block"),
    "iterations_to_network_block": ("block", "network block"),
    "iterations_to_network_one_by_one": ("one by one", "network one by one"),
    "iterations_to_refined_block": ("block", "refined block"),
    "iterations_to_refined_one_by_one": ("one by one", "refined one by one"),
}


def measure(
    n: int, *, rounds: int = ROUNDS, schedule: Schedule = PUBLISHED_SCHEDULE, network: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure the times and their ratios.

    The rounds are interleaved, so that other work on the machine slows all calls alike.

    Args:
        n: number of patterns.
        rounds: number of rounds; medians are reported.
        schedule: the iterations that are timed.
        network: settings of the network, as for `--set`.

    Returns:
        The report, with numbers by name.
    """
    work = _work(n, schedule, _network(network))
    for name in ("network block", "network one by one"):
        work[name]()  # compiles before anything is timed
    turns = [{name: _seconds(call) for name, call in work.items()} for _ in range(rounds)]
    times = {name: np.array([turn[name] for turn in turns]) for name in work}
    return {
        "hardware": hardware(),
        "n": n,
        "iterations": schedule.iterations,
        "ms_per_pattern": {name: 1e3 / n * float(np.median(seconds)) for name, seconds in times.items()},
        "ratios": {name: float(np.median(times[above] / times[below])) for name, (above, below) in RATIOS.items()},
    }


def _work(n: int, schedule: Schedule, predict: Predict) -> Work:
    """Return the calls to be timed, each for all patterns at once and for one pattern at a time."""
    fields, starts = _patterns(n)
    solve: dict[str, Callable[[slice], object]] = {
        "": lambda rows: reconstruct(fields["amplitude_oversampled"][rows], starts[rows], schedule),
        "network ": lambda rows: predict(_rows(fields, rows)),
        "refined ": lambda rows: _refined(predict, _rows(fields, rows)),
    }
    work: Work = {"floor": lambda: _transforms(starts, schedule.iterations)}
    work |= {f"{kind}block": partial(call, slice(0, n)) for kind, call in solve.items()}
    return work | {f"{kind}one by one": partial(_one_by_one, call, n) for kind, call in solve.items()}


def _one_by_one(solve: Callable[[slice], object], n: int) -> None:
    for i in range(n):
        solve(slice(i, i + 1))


def _patterns(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return amplitudes of discs of random phase, as the task stores them, and random starts."""
    rng = np.random.default_rng(0)
    y, x = np.arange(SIDE)[:, None] - SIDE // 2, np.arange(SIDE) - SIDE // 2
    disc = y**2 + x**2 < rng.uniform(6, 14, (n, 1, 1)) ** 2
    wave = (disc * np.exp(1j * rng.uniform(-1, 1, (n, SIDE, SIDE)))).astype(np.complex64)
    pattern = amplitude(embed(wave, (2 * SIDE, 2 * SIDE)))
    fields = {"amplitude": np.ascontiguousarray(subsample(pattern, 2)), "amplitude_oversampled": pattern}
    return fields, initial_guess(pattern, rng.random(pattern.shape, np.float32))


def _rows(fields: Fields, rows: slice) -> Fields:
    return {name: values[rows] for name, values in fields.items()}


def _network(given: Sequence[str]) -> Predict:
    """Return the untrained CDI NN as a function from patterns to shape and phase."""
    task = find_task("cdi").select(frozenset({"amplitude_oversampled"}))
    recipe = make_settings(
        recipe_type("cdinn", find_model("cdinn"), find_learn("cdi")), find_learn("cdi").recipes["published"], given
    )
    raw = {"amplitude": Moments(mean=0, std=1)}
    features = features_of(task, recipe, raw, dict.fromkeys(("y", "x", "qy", "qx"), SIDE))
    network = build_network(recipe, features)
    parameters, rest = network.initial

    @jax.jit
    def predict(batch: Any) -> Any:
        return features.decode(network(parameters, rest, features.encode(batch))[0], batch)

    return lambda fields: {name: np.asarray(v) for name, v in predict({"amplitude": fields["amplitude"]}).items()}


def _refined(predict: Predict, fields: Fields) -> object:
    return finish(fields, predict(fields), threshold=MIN_MODULUS, refine=REFINED_ITERATIONS)


def _transforms(waves: Any, iterations: int) -> None:
    for first in range(0, len(waves), BLOCK):
        wave = waves[first : first + BLOCK]
        for _ in range(iterations):
            wave = ifft2(fft2(wave))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def text(report: dict[str, Any]) -> str:
    """Format the report as text."""
    times, ratios = report["ms_per_pattern"], report["ratios"]
    kinds = {"iterations": "", "network": "network ", "refined": "refined "}
    return "\n".join(
        [
            f"{report['n']} patterns, {report['iterations']} iterations, {report['hardware']}",
            f"ms/pattern     a block   one by one      transforms alone {times['floor']:.2f}",
            *(f"{k:<13}{times[f'{p}block']:>9.2f}{times[f'{p}one by one']:>13.2f}" for k, p in kinds.items()),
            *(f"{name.replace('_', ' '):<36}{value:9.2f}" for name, value in ratios.items()),
        ]
    )
