"""Classical methods for the line without its blur."""

from collections.abc import Mapping

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown


def deconvolve(fields: Arrays, *, noise: float) -> dict[str, np.ndarray]:
    """Wiener's filter H / (H^2 + n), with H(f) = (1 + 2 cos 2 pi f) / 3.

    Args:
        fields: the blurred line.
        noise: n [1], power of noise over that of lines.
    """
    blurred = fields["blurred"]
    length = blurred.shape[-1]
    transfer = (1 + 2 * np.cos(2 * np.pi * np.fft.rfftfreq(length))) / 3
    spectrum = np.fft.rfft(blurred) * transfer / (transfer**2 + noise)
    return {"line": np.fft.irfft(spectrum, length).astype(np.float32)}


def identity(fields: Arrays) -> dict[str, np.ndarray]:
    """Return the measurement itself."""
    return {"line": fields["blurred"]}


METHODS: Mapping[str, Method] = {
    "wiener": Method(
        about="Wiener's filter",
        needs=("blurred",),
        solve=deconvolve,
        settings={"noise": Setting("power of noise over that of lines", "1", (0.001, 0.01, 0.03, 0.1, 0.3))},
    ),
    "identity": Method(about="the measurement itself", needs=("blurred",), solve=identity),
}

REPORT = Report(inputs=(Shown("blurred"),), parameters=("height", "edges"))
