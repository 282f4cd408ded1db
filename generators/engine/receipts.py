"""Receipts: records of the objects that finished jobs wrote, so that a crash costs no finished work.

A receipt is written last, after the objects it names. It is trusted only while those objects have the hashes that it
names.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from generators.engine.plan import RECEIPT_FOLDER, Job, Plan
from schemas.manifest import Layout
from schemas.runtime.errors import Interrupted
from schemas.runtime.hashes import sha256
from schemas.runtime.machine import cores
from schemas.runtime.publish import entries, inside, nbytes, publish, read, remove

FILE_NAME = re.compile(r"(samples|parameters)-[a-z]+-\d{12}(-[0-9a-f]{12})?\.json")  # old ones have no mark


class FieldSums(BaseModel):
    """Sums over the values of one field in one sample. Samples are summed one by one, whatever the layout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    sum: float
    squares: float
    min: float
    max: float


class Receipt(BaseModel):
    """The objects that a job wrote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    layout: Layout
    kind: str
    split: str
    start: int
    stop: int
    objects: dict[str, tuple[str, int]]  # key in the store: (sha256, size in bytes)
    leaves: str = ""  # leaf digests, 32 bytes per sample, hexadecimal
    moments: dict[str, list[FieldSums]] = {}  # sums of each sample by field, for the first training samples
    seconds: float


def load(job: Job) -> Receipt | None:
    """Return the receipt of a job.

    Args:
        job: the job

    Returns:
        None if there is no receipt, or it is damaged, or belongs to another plan, layout or range
    """
    manifest = job.plan.manifest
    asked = (job.plan.fingerprint, manifest.layout, job.kind, job.split, job.start, job.stop)
    for receipt in filter(None, map(_read, (job.receipt, job.old_receipt))):
        if (receipt.fingerprint, receipt.layout, receipt.kind, receipt.split, receipt.start, receipt.stop) == asked:
            return receipt
    return None


def layout(plan: Plan) -> Layout | None:
    """Return the layout of the finished shards of a plan; None if there are none.

    It is needed for a store without root metadata: a newly chosen layout would depend on the present speed of the
    machine.

    Args:
        plan: the plan
    """
    for path in entries(plan.run / RECEIPT_FOLDER):
        receipt = _read(path)
        if receipt is not None and receipt.fingerprint == plan.fingerprint:
            return receipt.layout
    return None


def _read(path: Path) -> Receipt | None:
    """Return the receipt in a file; None if it is missing or damaged."""
    data = read(path)
    if data is None:
        return None
    content = unsealed(data)
    try:
        return None if content is None else Receipt.model_validate_json(content)
    except ValidationError:
        return None


def sealed(content: bytes, of: bytes = b"") -> bytes:
    """Return content behind a line with its sha256.

    Args:
        content: bytes to protect
        of: identity of the object that the content belongs to; the same bytes are needed to unseal it
    """
    return sha256(of + content).encode() + b"\n" + content


def unsealed(data: bytes, of: bytes = b"") -> bytes | None:
    """Return the content of sealed bytes; None if they are damaged, or belong to something else.

    Args:
        data: bytes made by `sealed`
        of: identity of the object that the content must belong to
    """
    content = data.partition(b"\n")[2]
    return content if data == sealed(content, of) else None


def holds(job: Job, receipt: Receipt) -> bool:
    """Return True if a receipt names all objects of its job, and the store holds each of them with its hash.

    Args:
        job: the job
        receipt: its receipt
    """
    return receipt.objects.keys() == set(job.object_keys()) and all(
        _holds(job, key, *expected) for key, expected in receipt.objects.items()
    )


def _holds(job: Job, key: str, digest: str, length: int) -> bool:
    path = inside(job.plan.out, key)
    return nbytes(path) == length and sha256(read(path) or b"") == digest


def refuse_broken(plan: Plan) -> None:
    """Refuse to complete a store unless every object still has the hash that its receipt names.

    Args:
        plan: the plan, whose jobs are all done

    Raises:
        Interrupted: a receipt is missing, or an object has changed since it was made
    """
    with ThreadPoolExecutor(cores()) as threads:
        for jobs in batched(plan.jobs(), 4 * cores()):  # few at once, so that memory does not grow with the plan
            for job, whole in zip(jobs, threads.map(is_done, jobs), strict=True):
                if not whole:
                    raise Interrupted(f"{plan.out}: {job} changed after it was made; run the same command again")


def sweep_old(plan: Plan) -> None:
    """Remove the receipts of other plans, which writers that came too late have left.

    Args:
        plan: the plan of the store
    """
    own = {path for job in plan.jobs() for path in (job.receipt, job.old_receipt)}
    for path in entries(plan.run / RECEIPT_FOLDER):
        if path not in own:
            remove(path)


def is_done(job: Job) -> bool:
    """Return True if a job has a receipt, and the store holds every object that it names."""
    receipt = load(job)
    return receipt is not None and holds(job, receipt)


def save(job: Job, receipt: Receipt) -> None:
    """Publish a receipt, sealed with its own hash so that damage is noticed.

    Args:
        job: the finished job
        receipt: its receipt
    """
    publish(job.receipt, sealed(receipt.model_dump_json().encode()))
