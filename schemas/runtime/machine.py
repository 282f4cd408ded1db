"""Description of the machine and the packages with which results were made. Speeds and bits depend on both."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor and the number of cores that this process may use."""
    return f"{_processor_model() or platform.processor() or platform.machine()}, {cores()} cores"


def _processor_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of these packages and of Python, by name."""
    return {name: _installed_version(name) for name in names} | {"python": platform.python_version()}


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
