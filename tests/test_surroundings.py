"""Commands bear the machine that they run on: limits of memory, file systems, Slurm, and names of any encoding."""

import errno
import fcntl
import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

from physics.compiled import compiled
from schemas.manifest import read_manifest
from schemas.runtime import machine
from schemas.runtime.destinations import local_path
from schemas.runtime.locks import locked
from tests.conftest import TOY_TASK, Command, refused
from training import devices, loop
from training.checkpoints import Memory, Place


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/job/step", {"/sys/fs/cgroup/job/memory.max": "500", "/sys/fs/cgroup/job/step/memory.max": "max"}, 500),
        ("0::/", {"/sys/fs/cgroup/memory.max": "700"}, 700),
        ("4:cpu,memory:/job\n0::/", {"/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "600"}, 600),
        ("4:memory:/docker/of/host", {"/sys/fs/cgroup/memory/memory.limit_in_bytes": "600"}, 600),
        ("4:cpu:/job", {"/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "600"}, None),
        ("4:memory:/", {"/sys/fs/cgroup/memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, None),
        ("0::/../../x", {}, None),
    ],
)
def test_a_limit_of_the_group_is_the_memory(
    groups: str, files: dict[str, str], limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"/proc/self/cgroup": groups, **files}
    monkeypatch.setattr(machine, "_lines", lambda path: known.get(str(path), "").splitlines())
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory() == (whole if limit is None else limit)


def test_a_limit_of_the_address_space_is_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 20, resource.RLIM_INFINITY))
    assert machine.memory() == 1 << 20


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_nothing_is_locked(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for patience in (None, 0):
        with locked(Path("x.lock"), patience=patience):
            pass
        assert not Path("x.lock").exists()


def test_kernels_are_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: Any) -> Callable[..., Any]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(abs)(-1) == 1


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, 1),
        ({"SLURM_NTASKS": "4"}, 1),  # sbatch without srun
        ({"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}, 4),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}, 2),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}, 1),
        ({"SLURM_NTASKS": "x", "SLURM_STEP_ID": "0"}, 1),
    ],
)
def test_a_step_of_slurm_counts_its_own_tasks(
    environment: dict[str, str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert devices._tasks_of_step() == count


def test_without_shared_memory_jobs_run_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from generators.engine import executors

    def lock() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing, "get_context", lambda name: SimpleNamespace(Lock=lock))
    jobs: Any = [3]
    work: Any = lambda job: (job, os.getpid())  # noqa: E731
    with executors.local(2) as run:
        assert list(run(work, jobs)) == [(3, os.getpid())]  # type: ignore[comparison-overlap]
    assert capsys.readouterr().out.startswith("warning: no shared memory")


def test_a_path_without_a_name_gets_one(generate: Command, dataset: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_path("x/..").name == Path.cwd().name == local_path(".").name
    assert str(local_path("x/y")) == "x/y"
    assert generate(*TOY_TASK, "--n", 4, "--validation", 0, "--test", 0)[0] == 0
    monkeypatch.chdir("toy.zarr/train")
    for verb in ("info", "validate", "verify"):
        assert dataset(verb, "..")[0] == 0
    refused(dataset("info", "/"), "no dataset here")
    refused(generate(*TOY_TASK, "--n", 4, "--out", "/"), "root of the file system")


def test_names_of_any_encoding_are_stored_as_text(dataset: Command) -> None:
    name = os.fsdecode(b"M\xfcller\x1b[1m.npy")
    with open(os.fsencode(name), "wb") as file:
        np.save(file, np.random.default_rng(0).random((3, 16, 16)) + 0.5)
    settings = ("--set", "defocus=-8000,0,8000", "voltage=300e3", "sampling=2")
    command = ("import", "--task", "tie", "--from", name, *settings, "--out", os.fsdecode(b"\xfc.zarr"))
    assert dataset(*command)[0] == 0
    assert "already imported" in dataset(*command)[1]
    (source,) = read_manifest(Path(os.fsdecode(b"\xfc.zarr"))).sources
    assert source.name == "M?ller?[1m.npy"
    for verb in ("info", "validate", "verify", "preview"):
        assert dataset(verb, os.fsdecode(b"\xfc.zarr"))[0] == 0


def test_a_store_with_a_name_of_any_encoding_is_read(generate: Command, dataset: Command) -> None:
    """Older versions wrote names of files as they were."""
    assert generate(*TOY_TASK, "--n", 4, "--validation", 0, "--test", 0)[0] == 0
    root = Path("toy.zarr/zarr.json")
    source = f'[{{"name": "M\\udcfcller.npy", "sha256": "{"0" * 64}"}}]'
    assert '"sources": []' in root.read_text()
    root.write_text(root.read_text().replace('"sources": []', f'"sources": {source}'))
    assert dataset("info", "toy.zarr")[0] == 0
    assert read_manifest(Path("toy.zarr")).sources[0].name == "M?ller.npy"


def test_a_run_that_goes_on_with_other_arithmetic_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = Memory(places=[Place(step=0, hardware="x", packages={})])  # an older version, without arithmetic
    for step, name in enumerate(("AVX2", "AVX2", "AVX512")):
        monkeypatch.setattr(loop, "arithmetic", lambda name=name: name)
        loop._remember_place(memory, step)
    assert [place.arithmetic for place in memory.places] == ["", "AVX2", "AVX512"]
    said = "warning: this run was computed with AVX2, now AVX512: from step 2 on, weights differ by rounding\n"
    assert capsys.readouterr().out == said


def test_networks_are_trained_with_32_bits(train: Command) -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        refused(train("--data", "x.zarr"), "jax_enable_x64 is on in this process")
    finally:
        jax.config.update("jax_enable_x64", False)


def test_checkpoints_need_a_name_in_utf_8(generate: Command, train: Command) -> None:
    assert generate(*TOY_TASK, "--n", 8, "--validation", 2, "--test", 0)[0] == 0
    name = os.fsdecode(b"\xfc")
    refused(train("--data", "toy.zarr", "--model", "mlp", "--epochs", 1, "--out", name), "needs a path in UTF-8")
    assert not Path(name).exists()
