"""Phase from a through-focus series without a network: the transport-of-intensity equation, and the logarithm."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown
from inference.registration import register, unwindowed
from physics import focal_series
from physics.electron import wavelength
from physics.phase import in_focus, longitudinal_derivative, retrieve

FRESNEL = 3.0  # lengths sqrt(lambda z): so wide is the Gaussian through which images are registered
DARKEST = 1e-3  # relative to the incident beam: the logarithm is cut there
ANNULUS = (0.45, 0.50)  # of the width: radii where the specimen is expected to have ended


def transport(fields: Arrays, *, cutoff: float, floor: float, offset: str) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] by the transport-of-intensity equation (`physics.phase.retrieve`).

    dI/dz is the slope of the line through all planes, I the image in the middle. cutoff: f_c [1/nm]. floor: r [1].
    offset: "none" leaves the mean at 0; "annulus" sets the mean between 0.45 and 0.50 of the width to 0, for the
    phase of vacuum is 0 in this dataset (phaseimaging's remove_offset; nothing is done if the window leaves no
    pixel there).
    """
    images = fields["intensity"]
    phase = retrieve(
        longitudinal_derivative(images, fields["defocus"]),
        in_focus(images),
        wavelength(fields["voltage"].astype(float)),
        fields["sampling"].astype(float),
        cutoff=cutoff,
        floor=floor,
    )
    if offset == "annulus":
        phase = phase - _offset(phase, fields["window"])
    return {"phase": phase * fields["window"]}


def registered(fields: Arrays) -> dict[str, np.ndarray]:
    """The fields, with all images in the frame of the one in focus, or of the under-focus one of two."""
    images, sampling = fields["intensity"], fields["sampling"].astype(float)
    fresnel = np.sqrt(wavelength(fields["voltage"].astype(float)) * np.abs(fields["defocus"]).max(axis=1))
    reference = (images.shape[1] - 1) // 2
    return {**fields, "intensity": register(images, reference, fields["window"], FRESNEL * fresnel / sampling)}


def misell(fields: Arrays, *, iterations: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] by Gerchberg, Saxton and Misell, from that of the transport of intensity on.

    The constant is taken from the vacuum, as by `transport`.
    """
    window = fields["window"]
    start = transport(fields, cutoff=0.0, floor=0.01, offset="annulus")["phase"]
    phase = focal_series.misell(*_series(fields), start=start, iterations=int(iterations))
    return {"phase": (phase - _offset(phase, window)) * window}


def single_material(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] of one material, from all images (`physics.focal_series`). ratio: V / V' [1]."""
    return {"phase": focal_series.single_material(*_series(fields), ratio=ratio) * fields["window"]}


def _series(fields: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images without their window, defocus, wavelength, sampling."""
    images = unwindowed(fields["intensity"], fields["window"])
    return images, fields["defocus"], wavelength(fields["voltage"].astype(float)), fields["sampling"].astype(float)


def absorption(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] of one material, from the in-focus image alone.

        phi = - (V / 2 V') ln I

    since phi = sigma V t and I = exp(- 2 sigma V' t). ratio: V / V' [1]. Blind to dose, defocus and misalignment: the
    honest baseline for bodies of a single material; wrong as soon as there are two.
    """
    window = fields["window"]
    safe = np.where(window > 0, window, 1)
    image = np.maximum(in_focus(fields["intensity"]) / safe, np.float32(DARKEST))
    return {"phase": np.float32(-ratio / 2) * np.log(image) * window}


def _offset(phase: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(sample, 1, 1): the mean over the annulus, inside the window."""
    ny, nx = phase.shape[-2:]
    y, x = np.arange(ny) - ny // 2, np.arange(nx) - nx // 2
    radius = np.hypot(y[:, None], x) / min(ny, nx)
    ring = (radius >= ANNULUS[0]) & (radius <= ANNULUS[1]) & (window > 0)
    if not ring.any():
        return np.zeros((len(phase), 1, 1), phase.dtype)
    return np.array([image[ring].mean() for image in phase], phase.dtype)[:, None, None]


RATIO = Setting("V / V' of the specimens", "1", tuple(n / 2 for n in range(4, 101)))
TRANSPORT = Method(
    about="transport of intensity, dI/dz = -(lambda / 2 pi) div(I grad phi), regularised (Teague 1983)",
    needs=("intensity", "defocus", "voltage", "sampling", "window"),
    solve=transport,
    settings={
        "cutoff": Setting(
            "frequencies below it are damped", "1/nm", (0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03)
        ),
        "floor": Setting(
            "intensity below which the division is damped", "mean intensity", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
        ),
        "offset": Setting("what the phase of vacuum is taken from", "1", ("none", "annulus")),
    },
)

METHODS: Mapping[str, Method] = {
    "tie": TRANSPORT,
    "tie_registered": replace(
        TRANSPORT,
        about=f"images registered (displacement, turn, magnification), then {TRANSPORT.about}",
        prepare=registered,
    ),
    "misell": Method(
        about="images registered, then projection onto one plane after another (Gerchberg, Saxton; Misell 1973)",
        needs=TRANSPORT.needs,
        solve=misell,
        prepare=registered,
        settings={"iterations": Setting("sweeps through the planes and back", "1", (1, 3, 10, 30, 100))},
    ),
    "single_material": Method(
        about="images registered, then one material: least squares over all planes (Paganin et al. 2002, for one)",
        needs=TRANSPORT.needs,
        solve=single_material,
        prepare=registered,
        settings={"ratio": RATIO},
    ),
    "absorption": Method(
        about="one material: phi = -(V / 2 V') ln I in focus, no propagation",
        needs=("intensity", "window"),
        solve=absorption,
        settings={"ratio": RATIO},
    ),
}

REPORT = Report(
    inputs=(Shown("intensity", (0,)), Shown("intensity", (-1,))), parameters=("noise", "defocus", "particle_half")
)
