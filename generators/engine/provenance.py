"""The origin of samples: the platform class, which must be equal for equal bits, and versions of packages."""

from schemas.runtime.machine import instructions, versions

PACKAGES = ("drybeam", "numpy", "scipy", "numba", "zarr", "numcodecs", "dask")


def platform_class() -> str:
    """Return the platform class: machines of one class give the same bits (processor features, device, FFT).

    NumPy and numba compile or choose kernels by these features, and kernels differ in the last bit.
    """
    return f"{instructions()}; cpu; scipy.fft"


def packages() -> dict[str, str]:
    """Return the versions of the packages that samples depend on."""
    return versions(PACKAGES)
