"""The store that a plan is written into: made, continued, extended or refused, before any sample is made.

The root metadata is published first: from then on the folder belongs to the plan, and a run killed at any
moment can be resumed. Nothing is ever deleted but by `--overwrite`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from generators import receipts, unit
from generators.plan import Plan
from schemas import digest
from schemas.errors import UserError
from schemas.manifest import Manifest, read_manifest
from schemas.objects import publish, publish_if_changed, read, sweep
from schemas.store import encode, metadata


def prepare(plan: Plan, *, unit_samples: int | None = None, overwrite: bool = False) -> Plan:
    """The plan as it will be carried out: with the stored layout, if there is a store to go on with.

    unit_samples: what the user asked for; refused if the store has another. Nothing is written.
    """
    if overwrite or read(plan.out / "zarr.json") is None:
        return plan
    stored = read_manifest(plan.out, incomplete=True)
    _refuse_difference(plan, stored)
    if unit_samples not in (None, stored.layout.unit):
        raise UserError(
            f"--unit-samples {unit_samples}: {plan.out} is laid out in units of {stored.layout.unit}; omit it"
        )
    plan = replace(
        plan, manifest=plan.manifest.model_copy(update={"layout": stored.layout, "packages": stored.packages})
    )
    _refuse_other_bits(plan, stored)
    return plan


def claim(plan: Plan, *, overwrite: bool = False) -> None:
    """Write the metadata of a plan: root first. An OSError becomes a UserError naming the place."""
    try:
        if overwrite:
            _remove(plan)
        _refuse_foreign(plan)
        _publish(plan)
    except OSError as error:
        raise UserError(f"--out {plan.out}: {error.strerror or error}; choose a place that can be written") from None


def _publish(plan: Plan) -> None:
    objects = metadata(plan.manifest)
    root = objects.pop("zarr.json")
    new = read(plan.out / "zarr.json") is None
    changed = new or read_manifest(plan.out, incomplete=True).samples != plan.manifest.samples
    if changed:
        publish(plan.out / "zarr.json", root)
    sweep(plan.out)
    for key, data in objects.items():
        if changed or _node(key) == "array":
            publish_if_changed(plan.out / key, data)
        elif read(plan.out / key) is None:  # the groups of a complete store hold its consolidated metadata
            publish(plan.out / key, data)
    for key, data in constants(plan).items():
        publish_if_changed(plan.out / key, data)


def _node(key: str) -> str:
    return "group" if key.count("/") == 1 else "array"


def constants(plan: Plan) -> dict[str, bytes]:
    """The objects of the fields without a sample axis."""
    described = metadata(plan.manifest)
    values = unit.constants(plan)
    objects = {}
    for split in plan.manifest.splits:
        for name, array in values.items():
            prefix = f"{split}/{name}"
            for key, data in encode(described[f"{prefix}/zarr.json"], 0, array).items():
                objects[f"{prefix}/{key}"] = data
    return objects


def _remove(plan: Plan) -> None:
    if plan.out.exists():
        read_manifest(plan.out, incomplete=True)  # never remove what is not ours
        shutil.rmtree(plan.out)
    shutil.rmtree(plan.run, ignore_errors=True)


def _refuse_foreign(plan: Plan) -> None:
    """A folder that holds something, but no dataset and no sign that there was one, is somebody else's."""
    if plan.out.is_dir() and any(plan.out.iterdir()):
        if read(plan.out / "zarr.json") is None and not plan.run.is_dir():
            raise UserError(f"--out {plan.out}: holds files that are no dataset; choose another place")
    elif plan.out.exists() and not plan.out.is_dir():
        raise UserError(f"--out {plan.out}: is a file; choose another place")


def _refuse_difference(plan: Plan, stored: Manifest) -> None:
    asked = plan.manifest
    found = _differences(_identity(stored), _identity(asked))
    if found:
        raise UserError(f"{plan.out} was made otherwise: {'; '.join(found[:4])}; choose another --out, or --overwrite")
    for split, n in stored.samples.items():
        if asked.samples.get(split, 0) < n:
            option = "--n" if split == "train" else f"--{split}"
            raise UserError(f"{option} {asked.samples[split]}: {plan.out} already has {n}; a dataset can only grow")


def _identity(manifest: Manifest) -> dict[str, Any]:
    return {
        "task": manifest.task.name,
        "schema": manifest.task.identity(),
        "seed": manifest.seed,
        "generator version": manifest.generator_version,
        "platform": manifest.platform,
        **_flat(manifest.recipe or {}),
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys([*stored, *asked])
    return [
        f"{key} is {_short(stored.get(key))}, asked {_short(asked.get(key))}"
        for key in keys
        if stored.get(key) != asked.get(key)
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_other_bits(plan: Plan, stored: Manifest) -> None:
    """Another version of a library may draw or round otherwise: make one finished sample again and compare."""
    before = replace(plan, manifest=plan.manifest.model_copy(update={"samples": stored.samples}))
    for job in before.jobs():
        receipt = receipts.load(job)
        if receipt and receipt.leaves:
            values = unit.make(plan, job.split, range(job.start, job.start + 1))
            if next(digest.leaves(plan.task, values)).hex() != receipt.leaves[:64]:
                raise UserError(
                    f"{plan.out}: its samples come out otherwise here (made with {stored.packages}); "
                    "finish it with those versions, or choose another --out"
                )
            return


def existing_bytes(path: Path) -> int:
    """Bytes of the objects below a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def unfinished(plan: Plan) -> int:
    """Samples without a receipt; whether receipts still hold is seen when the plan is carried out."""
    jobs = (job for job in plan.jobs() if job.kind == "samples")
    if not plan.run.is_dir():
        return sum(plan.manifest.samples.values())
    return sum(job.stop - job.start for job in jobs if receipts.load(job) is None)
