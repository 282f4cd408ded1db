"""Divide counts at random into independent parts (binomial thinning).

Each of N counts goes to the first part with the probability p. If N follows Poisson's law with the mean m, the parts
are independent and follow it with the means p m and (1 - p) m, so each is a measurement of its own with a share of the
dose. For other counts it fails: the covariance of the parts is p (1 - p) (variance of N - mean of N).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from schemas.counting.counts import Counts
from schemas.runtime.errors import UserError
from schemas.runtime.hashes import sha256
from schemas.task import Task

HALF = 0.5
ROUNDING = 2.0**-22  # relative error of counts that float32 fields state: input and scale are rounded once each
TOLERANCE = 1e-3  # further difference from a whole number that is taken for rounding [count]

type Arrays = dict[str, np.ndarray]


def whole_counts(
    task: Task, rule: Counts, fields: Mapping[str, np.ndarray], rows: np.ndarray, place: str
) -> np.ndarray:
    """Return the counts of some samples, as whole numbers of the shape of the input.

    Numbers of more than a million counts cannot be told from fractions in float32; they are rounded.

    Args:
        task: the task.
        rule: its rule.
        fields: input and scale, each with all samples (sample, ...).
        rows: numbers of these samples in their split, for messages.
        place: the dataset, for messages.

    Raises:
        UserError: an image was not counted, or its values are not whole counts.
    """
    values, scale = fields[rule.input].astype(float), rule.along_input(task, rule.scale, fields[rule.scale])
    counts = values * scale
    dims = task[rule.input].dims
    if (at := _first(~(scale > 0) | ~np.isfinite(scale))) is not None:
        where = _where(dims, scale.shape, at, rows)
        raise UserError(
            f"{place}: {rule.scale} = {scale[at]:g} in {where}: must be above 0, the counts that the value 1 of "
            f"{rule.input} stands for; images without counts cannot be halved: give counted ones"
        )
    if (at := _first(~(counts >= 0) | ~np.isfinite(counts))) is not None:
        where = _where(dims, counts.shape, at, rows)
        raise UserError(
            f"{place}: {rule.input} = {values[at]:g} in {where}: counts must be finite and 0 or more; "
            "give them as they were measured, before a pedestal or a background is taken off"
        )
    whole = np.rint(counts)
    if (at := _first(abs(counts - whole) > TOLERANCE + ROUNDING * whole)) is not None:
        where = _where(dims, counts.shape, at, rows)
        raise UserError(
            f"{place}: {rule.input} times {rule.scale} = {counts[at]:.6g} in {where}: must be whole counts; "
            "give them as they were counted, without gain, blur or interpolation"
        )
    return np.asarray(whole, np.int64)


def thin(
    task: Task,
    rule: Counts,
    fields: Mapping[str, np.ndarray],
    share: float,
    generators: Sequence[np.random.Generator],
    rows: np.ndarray,
    place: str,
) -> tuple[Arrays, Arrays]:
    """Divide the counts of some samples into two independent parts, of the shares p and 1 - p.

    In both parts the input has the expectation that it has in the whole; the scale and the doses are smaller.

    Args:
        task: the task.
        rule: its rule.
        fields: input and scale, and others, with all samples (sample, ...).
        share: p, between 0 and 1.
        generators: random numbers of each sample.
        rows: numbers of these samples, for messages.
        place: the dataset, for messages.

    Returns:
        The fields of both parts.

    Raises:
        UserError: as for `whole_counts`.
    """
    counts = whole_counts(task, rule, fields, rows, place)
    first = np.stack([rng.binomial(one, share) for rng, one in zip(generators, counts, strict=True)])
    return _part(task, rule, fields, first, share), _part(task, rule, fields, counts - first, 1 - share)


def halve(
    task: Task, rule: Counts, fields: Mapping[str, np.ndarray], half: int, digest: str, rows: np.ndarray, place: str
) -> Arrays:
    """Return one half of the counts of some samples: the same for any block in which a sample is read.

    The random numbers are those of Philox, keyed by the digest of the split, with the number of the sample as counter.

    Args:
        task: the task.
        rule: its rule.
        fields: some fields with all samples (sample, ...); with the input, also the scale.
        half: 0 or 1.
        digest: digest of the split.
        rows: numbers of these samples in the split.
        place: the dataset, for messages.

    Returns:
        The fields, with the input of this half and with half of the scale and of the doses.

    Raises:
        UserError: as for `whole_counts`.
    """
    if rule.input not in fields:
        return _part(task, rule, fields, None, HALF)
    generators = [numbered_generator(f"halves {digest}", int(row)) for row in rows]
    return thin(task, rule, fields, HALF, generators, rows, place)[half]


def numbered_generator(key: str, sample: int, copy: int = 0) -> np.random.Generator:
    """Return the random numbers of one sample: Philox, keyed by a text, with the sample as counter.

    Args:
        key: a text that names the purpose and the split.
        sample: number of the sample in its split.
        copy: number of the repetition.
    """
    words = np.frombuffer(bytes.fromhex(sha256(key.encode()))[:16], "<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(counter=np.array([0, 0, sample, copy], np.uint64), key=words))


def _part(
    task: Task, rule: Counts, fields: Mapping[str, np.ndarray], counts: np.ndarray | None, share: float
) -> Arrays:
    """Return fields with the input made of these counts, and with a share of the scale and of the doses."""
    smaller = {
        name: fields[name] * fields[name].dtype.type(share) for name in (rule.scale, *rule.doses) if name in fields
    }
    if counts is None:
        return {**fields, **smaller}
    values = counts / (rule.along_input(task, rule.scale, fields[rule.scale]) * share)
    return {**fields, **smaller, rule.input: values.astype(fields[rule.input].dtype)}


def _first(wrong: np.ndarray) -> tuple[int, ...] | None:
    """Return the index of the first wrong value; None if there is none."""
    return tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape)) if wrong.any() else None


def _where(dims: Sequence[str], shape: Sequence[int], at: tuple[int, ...], rows: np.ndarray) -> str:
    """Return a place in words, such as `sample 3, tilt 5`, without axes of length 1."""
    others = (f"{dim} {i}" for dim, n, i in zip(dims[1:], shape[1:], at[1:], strict=True) if n > 1)
    return ", ".join([f"sample {rows[at[0]]}", *others])
