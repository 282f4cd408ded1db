"""Classical methods for clean views."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown


def smooth(fields: Arrays, *, width: float) -> dict[str, np.ndarray]:
    """Blur views (slice, y, x) with a Gaussian. All of it is taken for the clean view.

    Args:
        fields: the noisy views.
        width: standard deviation [pixel].
    """
    views = fields["noisy"]
    frequencies = (np.fft.fftfreq(n) ** 2 for n in views.shape[1:])
    square = np.add.outer(*frequencies)
    blurred = np.fft.ifft2(np.fft.fft2(views) * np.exp(-2 * (np.pi * width) ** 2 * square)).real
    return {"clean": blurred, "background": 0 * blurred}


METHODS: Mapping[str, Method] = {
    "smooth": Method(
        about="Gaussian blur",
        needs=("noisy",),
        solve=smooth,
        scope="slice",
        settings={"width": Setting("standard deviation", "pixel", (0.0, 0.5, 1.0, 1.5, 2.0), minimum=0)},
    )
}

REPORT = Report(inputs=(Shown("noisy"),), parameters=("dose",))
