"""Where samples were made: what must be equal for equal bits, and what is written down besides."""

import platform

import numpy as np

from schemas.runtime.machine import versions

PACKAGES = ("drybeam", "numpy", "scipy", "numba", "zarr", "numcodecs", "dask")


def platform_class() -> str:
    """Machines of one class give the same bits: processor features, device, FFT.

    NumPy and numba compile or choose kernels by these features, and kernels differ in the last bit.
    """
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    features = ",".join([*simd.get("baseline", []), *simd.get("found", [])])
    return f"{platform.machine()} {features}; cpu; scipy.fft"


def packages() -> dict[str, str]:
    """Versions of the packages that samples pass through."""
    return versions(PACKAGES)
