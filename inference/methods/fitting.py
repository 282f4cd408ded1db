"""Training samples for classical methods that learn (`Method.fit`), such as a random forest."""

import json
from dataclasses import replace

import numpy as np

from inference.contract import Arrays, Method, Settings
from inference.invert.split_reader import Source
from schemas import slices
from schemas.predictions import Weights
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256

MAX_SAMPLES = 64  # maximum number of training samples that a classical method learns from
MAX_BYTES = 2**28  # maximum size of their fields; the first sample is used even if it is larger


def training_split(name: str, source: Source, other: Source | None) -> Source:
    """Return the training samples that a method learns from.

    Args:
        name: the method.
        source: any split of the dataset that is inverted.
        other: any split of another dataset, whose training samples are used instead.

    Raises:
        UserError: there are none with targets.
    """
    train = replace(other or source, split="train")
    if not train.manifest.samples.get("train") or not train.task.of("target"):
        remedy = "generate some" if other else "name a dataset that has some by --tune-on"
        raise UserError(f"--method {name}: learns from training samples, and {train.path} has none; {remedy}")
    return train


def training_fields(method: Method, train: Source) -> tuple[Arrays, int]:
    """Return the fields of the first training samples, as `Method.fit` receives them, and the number of samples.

    Args:
        method: the method.
        train: the training samples.

    Raises:
        UserError: the dataset is damaged.
    """
    fields = {field.name: field for field in train.task.fields}
    targets = [field.name for field in train.task.of("target")]
    names = dict.fromkeys([*method.reads(fields), *targets])
    size = sum(fields[name].nbytes(train.manifest.sizes) for name in names if fields[name].per_sample)
    count = min(train.samples, MAX_SAMPLES, max(1, MAX_BYTES // max(size, 1)))
    read = train.read(names, 0, count)
    if method.scope == "slice":
        read = {name: np.asarray(values) for name, values in slices.fold(train.task, read, count).items()}
    prepared = method.prepare_fields(read)
    return {**prepared, **{name: read[name] for name in targets}}, count


def identity(name: str, method: Method, settings: Settings, train: Source, samples: int) -> Weights:
    """Return what identifies a method that has learned, as the weights of a network do.

    Args:
        name: the method.
        method: the method.
        settings: its settings.
        train: the training samples.
        samples: number of them that it has learned from.
    """
    digest = str(train.manifest.root_digest)
    known = json.dumps([name, method.version, dict(settings), digest, samples], sort_keys=True)
    return Weights(
        sha256=sha256(known.encode()),
        parameters=0,
        trained_on=digest,
        family=train.manifest.family,
        samples=samples,
    )
