"""What a run is, settled before anything compiles: dataset, recipe, features; refused with all that does not suit."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from schemas import output
from schemas.digest import canonical
from schemas.errors import UserError
from schemas.locks import locked
from schemas.machine import processor
from schemas.manifest import Manifest, read_manifest
from schemas.objects import is_partial, publish, set_aside, sha256, sweep, sweep_removed
from schemas.store import open_split
from training.contract import find_learn
from training.export import Trained
from training.features import Features, Moments
from training.recipe import Recipe

MODELS = {"best", ".best.new", ".best.old"}
REPORTS = {"metrics.jsonl", "metrics.csv", "curves.png", "tensorboard"}
WRITTEN = {  # names in the folders that are replaced as a whole
    **dict.fromkeys(sorted(MODELS), r"model\.safetensors|model\.json|README\.md"),
    "tensorboard": r"events\.out\.tfevents\..*",
    "checkpoints": r"\d+(\..*)?|_.*",
    "damaged": r"\d.*",
}
OURS = {"run.json", "checkpoints", "damaged"} | MODELS | REPORTS  # what stands in a run's folder
VERSION = 1  # of what a run computes; raised when the same recipe would learn otherwise


@dataclass(frozen=True)
class Run:
    """A run: what is learned from which data, and where it is kept."""

    data: Path
    out: Path
    manifest: Manifest
    recipe: Recipe
    features: Features
    ranges: Mapping[str, list[tuple[float, float]]]  # of each value of the task's scalars, over the training samples
    mode: str = "auto"
    keep_every: int | None = None
    start: Trained | None = None  # whose parameters it starts from; None: drawn by the recipe's seed

    @property
    def identity(self) -> dict[str, Any]:
        """All that its result depends on."""
        manifest = self.manifest
        data = {"task": manifest.task.name, "schema": manifest.task.version, "digest": manifest.root_digest}
        known = {"version": VERSION, "data": data, "recipe": self.recipe.model_dump(mode="json")}
        return known if self.start is None else known | {"from": _origin(self.start)}

    @property
    def digest(self) -> str:
        """sha256 of its identity."""
        return sha256(canonical(self.identity))


def _origin(start: Trained) -> dict[str, str]:
    """What a run's result depends on of the model that it starts from, beside what its recipe says."""
    moments = start.card.model_dump(mode="json", include={"moments"})
    return {"weights_sha256": start.card.weights_sha256, "moments_sha256": sha256(canonical(moments))}


def prepare(data: Path, out: Path, recipe: Recipe, start: Trained | None = None, **options: Any) -> Run:
    """The run of a recipe on a dataset; UserError lists what the dataset lacks, also for the model to start from."""
    manifest = read_manifest(data)
    if start and (found := start.accepts(manifest.task, manifest.sizes)):
        raise UserError(f"{data}: the model to start from cannot read it: {'; '.join(found)}")
    learn = find_learn(manifest.task.name)
    name = recipe.input or next(iter(learn.inputs))
    if name not in learn.inputs:
        raise UserError(f"--input {name}: no such input; there are: {', '.join(learn.inputs)}")
    head = recipe.head or next(iter(learn.heads), "")
    if head and head not in learn.heads:
        raise UserError(
            f"head = {head}: no such head of {manifest.task.name}; there are: {', '.join(learn.heads) or 'none'}"
        )
    if unknown := set(recipe.scalars) - set(learn.scalars):
        raise UserError(f"scalars = {', '.join(sorted(unknown))}: must be some of {', '.join(learn.scalars) or 'none'}")
    recipe = recipe.model_copy(update={"input": name, "head": head})
    features = Features(manifest.task, learn, name, recipe.scalars, {}, manifest.sizes, head)
    if found := _problems(manifest, features, recipe):
        raise UserError(f"{data}: cannot be learned from: {'; '.join(found)}")
    try:
        recipe.chosen(manifest.samples["train"])
    except ValueError as error:
        raise UserError(f"{data}: {error}") from None
    moments = start.card.moments if start else _moments(data, manifest, features, recipe)
    features = replace(features, moments=moments)
    return Run(data, out, manifest, recipe, features, _ranges(data, manifest, learn.scalars), start=start, **options)


def _ranges(data: Path, manifest: Manifest, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Least and greatest of each parameter that the dataset has; of several values a sample, of each."""
    stored = {field.name for field in manifest.task.fields}
    columns = {name: _column(data, name) for name in names if name in stored}
    flat = {name: values.reshape(len(values), -1) for name, values in columns.items()}
    return {name: list(zip(v.min(0).tolist(), v.max(0).tolist(), strict=True)) for name, v in flat.items()}


def _column(data: Path, name: str) -> np.ndarray:
    return np.asarray(open_split(data, "train")[name][...], np.float64)  # type: ignore[index]


def _problems(manifest: Manifest, features: Features, recipe: Recipe) -> list[str]:
    """What the dataset lacks."""
    found = []
    fields = {field.name: field for field in manifest.task.fields}
    if manifest.origin != "simulated":
        found.append("it holds measurements, without targets")
    if not manifest.samples.get("train"):
        found.append("it has no training samples")
    if not manifest.samples.get("validation") and (recipe.patience or recipe.schedule.name == "plateau"):
        found.append("it has no validation samples, which patience and schedule.name=plateau need")
    if (recipe.loss.wave or recipe.loss.circular) and not manifest.task.wave:
        found.append("its targets are no modulus and phase, which loss.wave and loss.circular compare")
    if not features.targets:
        found.append("no field has the role target")
    needed = dict.fromkeys([*features.reads, *features.normalised])
    found += [f"field {name} is missing" for name in needed if name not in fields]
    flat = [(f.name, dim) for f in features.targets for dim in features.learn.spatial if dim not in f.dims]
    return found + [f"target {name} has no dimension {dim}" for name, dim in flat]


def _moments(data: Path, manifest: Manifest, features: Features, recipe: Recipe) -> dict[str, Moments]:
    """Of each field that is normalised, over the training samples."""
    if recipe.normalisation == "none":
        return {name: Moments(mean=0, std=1) for name in features.normalised}
    return {name: _of_field(data, manifest, name) for name in features.normalised}


def _of_field(data: Path, manifest: Manifest, name: str) -> Moments:
    known = manifest.statistics.get(name)
    if known is not None:
        return _moments_of(known.mean, known.std)
    values = _column(data, name)
    return _moments_of(float(values.mean()), float(values.std()))


def _moments_of(mean: float, std: float) -> Moments:
    """What is constant, but for rounding, is measured by itself: another value elsewhere does not grow out of scale."""
    return Moments(mean=mean, std=std if std > 1e-6 * abs(mean) else abs(mean) or 1.0)


@contextmanager
def claim(run: Run, *, overwrite: bool) -> Iterator[None]:
    """Hold the run's folder for this process alone while entered. Nothing in it is changed before `begin`.

    UserError shows how it differs from the run that is there, or says that another process is at it.
    """
    output.refuse_store("--out", run.out)
    _refuse_foreign(run.out, overwrite=overwrite)
    with ExitStack() as stack:
        with output.writable("--out", run.out):
            _lock(run.out, stack)
        _refuse_foreign(run.out, overwrite=overwrite)
        if _learned(run.out) and not overwrite:
            _refuse_other(run)
        yield


def _lock(out: Path, stack: ExitStack) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(out.with_name(f".{out.name}.lock"), wait=False))
    except BlockingIOError:
        raise UserError(f"{out}: another process is training here; wait for it, or give another --out") from None


def begin(run: Run, *, overwrite: bool) -> None:
    """Remove the old run if `overwrite` says so, tidy up after killed processes, and write what this run is.

    The caller has entered `claim`, and knows that the run can begin.
    """
    _refuse_foreign(run.out, overwrite=overwrite)
    with output.writable("--out", run.out):
        if overwrite and _entries(run.out):
            set_aside(run.out)
        sweep_removed(run.out)
        sweep(run.out)
        if not _learned(run.out):
            publish(run.out / "run.json", json.dumps(run.identity, indent=1).encode())


def _refuse_other(run: Run) -> None:
    """Raise UserError if the run that is there differs from this one."""
    path = run.out / "run.json"
    try:
        differences = list(_differences(json.loads(path.read_bytes()), json.loads(json.dumps(run.identity))))
    except ValueError:
        raise UserError(f"{path}: damaged; delete the run's folder, or give --overwrite") from None
    if differences:
        raise UserError(
            f"{run.out}: holds another run ({'; '.join(differences[:4])}); "
            "give another --out, or --overwrite to lose it"
        )


def _entries(out: Path) -> set[str]:
    return {path.name for path in out.glob("*") if not is_partial(path.name)}


def _refuse_foreign(out: Path, *, overwrite: bool) -> None:
    """Raise UserError unless a folder is empty or a run, without foreign files where `train` replaces things."""
    there = _entries(out)
    if there and not _is_run(out / "run.json"):
        raise UserError(f"{out}: is not empty, and no run (its run.json is lost, or of others); give another --out")
    strangers = [*(sorted(there - OURS) if overwrite else []), *_strangers(out)]
    if strangers:
        raise UserError(
            f"{out}: holds {strangers[0]}, which `train` did not write; move it away, or give another --out"
        )


def _is_run(path: Path) -> bool:
    try:
        return bool({"version", "data", "recipe"} <= json.loads(path.read_bytes()).keys())
    except (OSError, ValueError, AttributeError):
        return False


def _strangers(out: Path) -> Iterator[str]:
    """Yield entries of the folders that `train` replaces which it did not write."""
    for folder, known in WRITTEN.items():
        for path in sorted((out / folder).glob("*")):
            if not re.fullmatch(known, path.name) and not is_partial(path.name):
                yield f"{folder}/{path.name}"


def _learned(out: Path) -> bool:
    """Whether there is anything to lose."""
    return (out / "best").exists() or any(entry.name.isdigit() for entry in (out / "checkpoints").glob("*"))


def _differences(old: Any, new: Any, name: str = "") -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".removeprefix("."))
    elif old != new:
        yield f"{name.removeprefix('recipe.')} {json.dumps(old)}, now {json.dumps(new)}"


def hardware() -> str:
    """What this runs on, for people."""
    devices = jax.devices()
    kind = processor() if devices[0].platform == "cpu" else devices[0].device_kind
    return f"{len(devices)} x {kind}" if len(devices) > 1 else kind
