"""Classical methods that denoise images, and the report of the task."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from inference.contract import Arrays, Method, Report, Setting, Shown
from inference.methods.denoisers import (
    Denoise,
    block_matching,
    denoise_counts,
    denoise_values,
    non_local_means,
    total_variation,
)


def gaussian(fields: Arrays, *, width: float) -> dict[str, np.ndarray]:
    """Blur images with a Gaussian. The mean of the counts stays, so no transform is needed.

    Args:
        fields: noisy of a block of images.
        width: standard deviation [pixel].
    """
    blurred: np.ndarray = gaussian_filter(np.asarray(fields["noisy"], float), width, axes=(-2, -1))
    return {"clean": blurred}


def denoise(fields: Arrays, *, strength: float, read_noise: float, method: Denoise) -> dict[str, np.ndarray]:
    """Denoise images in a scale in which their noise has the variance 1 (`inference.methods.denoisers`).

    Args:
        fields: noisy of a block of images, and photons if they are known. Without photons, or where they are 0, the
            noise is taken to be the same everywhere, and is estimated.
        strength: standard deviation of the noise that is removed, relative to that in this scale.
        read_noise: standard deviation of the noise that is independent of the signal, where photons are counted.
        method: the denoiser.
    """
    noisy = np.asarray(fields["noisy"], float)
    photons = fields.get("photons", np.zeros(len(noisy)))
    rows = [
        denoise_counts(image, float(scale), method, strength, read_noise)
        if scale > 0
        else denoise_values(image, method, strength)
        for image, scale in zip(noisy, photons, strict=True)
    ]
    return {"clean": np.stack(rows)}


def _method(about: str, method: Denoise, strengths: tuple[float, ...]) -> Method:
    """Return a method that denoises images with noise of variance 1."""
    return Method(
        about=f"{about}; counts behind an Anscombe transform (Makitalo and Foi 2011)",
        needs=("noisy",),
        uses=("photons",),
        solve=partial(denoise, method=method),
        settings={
            "strength": Setting("noise that is removed, relative to that of the image", "1", strengths, 0.01),
            "read_noise": Setting("noise that does not depend on the signal, of counts", "photon", (0.0,), 0),
        },
    )


METHODS: Mapping[str, Method] = {
    "gaussian": Method(
        about="convolution with a Gaussian",
        needs=("noisy",),
        solve=gaussian,
        settings={
            "width": Setting(
                "standard deviation", "pixel", (0.0, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0, 10.0), 0, 1000
            )
        },
    ),
    "tv": _method(
        "total variation (Rudin, Osher and Fatemi 1992)",
        total_variation,
        (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0),
    ),
    "nlm": _method(
        "non-local means (Buades, Coll and Morel 2005)", non_local_means, (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
    ),
    "bm3d": _method(
        "BM3D (Dabov et al. 2007; package bm3d, free for non-commercial use only)",
        block_matching,
        (0.7, 1.0, 1.4, 2.0, 2.8),
    ),
}

REPORT = Report(
    inputs=(Shown("noisy"),),
    parameters=("photons", "camera_deviation", "camera_stripes", "camera_rings", "textured_contrast"),
)
