"""Description of the machine and the packages with which results were made. Speeds and bits depend on both."""

import os
import platform
import resource
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor and the number of cores that this process may use."""
    return f"{_processor_model() or platform.processor() or platform.machine()}, {cores()} cores"


def _processor_model() -> str:
    lines = _lines("/proc/cpuinfo")
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def instructions() -> str:
    """Return the architecture and the instruction sets of the processor, by which NumPy chooses its kernels."""
    import numpy as np

    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return f"{platform.machine()} {','.join([*simd.get('baseline', []), *simd.get('found', [])])}"


def memory() -> int:
    """Return the memory that this process may use [bytes]: that of the machine, or less by a limit of its group.

    Containers and batch systems limit a control group (cgroups, version 1 or 2), or the address space.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([machine, *([space] if space != resource.RLIM_INFINITY else []), *_group_limits()])


def _group_limits() -> Iterator[int]:
    """Yield the limits of memory of the control groups of this process, with all groups above them."""
    for line in _lines("/proc/self/cgroup"):
        _, kinds, group = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top, name = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if kinds else ("/sys/fs/cgroup", "memory.max")
        inner = Path(group.lstrip("/"))  # a container may see a path of its host, which it does not have
        for folder in dict.fromkeys([inner, *inner.parents, Path()]):
            yield from (int(text) for text in _lines(Path(top, folder, name)) if text.isdigit() and int(text))


def _lines(path: str | Path) -> list[str]:
    """Return the lines of a file of the system; none if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of these packages and of Python, by name."""
    return {name: _installed_version(name) for name in names} | {"python": platform.python_version()}


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
