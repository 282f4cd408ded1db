"""Classical methods for the phase of a through-focus series, and the report of the task.

The methods are the transport-of-intensity equation, iterative projection onto the planes, and two for specimens of a
single material.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown
from inference.methods.registration import register
from physics import focal_series, transport_of_intensity
from physics.electron import wavelength
from physics.magnetics import separate_phases
from physics.transport_of_intensity import in_focus, remove_window
from schemas.runtime.errors import UserError
from schemas.tasks.tie import COMPONENTS

BLUR_WIDTH = 3.0  # width of the Gaussian that blurs images for their registration, in Fresnel lengths sqrt(lambda z)
MIN_INTENSITY = 1e-3  # lower bound of an intensity, relative to the incident beam, before its logarithm is taken
SERIES = ("intensity", "intensity_flipped")


def component_phase(fields: Arrays, retrieve: Callable[[Arrays], np.ndarray]) -> dict[str, np.ndarray]:
    """Return the phase that the dataset asks for: the total, the electrostatic or the magnetic one.

    The last two need a series of the specimen turned over: the electrostatic phase is half the sum of both phases, the
    magnetic phase half their difference. Without such a series, the phase is returned as it was retrieved.

    Args:
        fields: fields of a block of samples.
        retrieve: function from fields to the phase (sample, y, x) [rad] of `intensity`.
    """
    found = retrieve(fields)
    wanted = COMPONENTS[int(fields.get("phase_component", np.array(0)))]
    if wanted != "total" and "intensity_flipped" in fields:
        flipped = retrieve({**fields, "intensity": fields["intensity_flipped"]})
        found = separate_phases(found, flipped)[wanted == "magnetic"]
    return {"phase": found * fields["window"]}


def transport(fields: Arrays, *, cutoff: float, floor: float, offset: str) -> dict[str, np.ndarray]:
    """Solve the transport-of-intensity equation (`physics.transport_of_intensity.retrieve`).

    dI/dz is the slope of the line through all planes, and I is the image in the middle of the series.

    Args:
        fields: fields of a block of samples.
        cutoff: f_c [1/nm].
        floor: r [1].
        offset: "none" leaves the mean of the phase at 0. "annulus" sets the mean between 0.45 and 0.50 of the width to
            0, because the phase of vacuum is 0 in this dataset (`remove_offset` of phaseimaging). It changes nothing if
            the window leaves no pixel there.

    Returns:
        The phase (sample, y, x) [rad].
    """

    def retrieve(fields: Arrays) -> np.ndarray:
        phases = transport_of_intensity.retrieve_from_series(
            fields["intensity"], *_optics(fields), cutoff=cutoff, floor=floor
        )
        return phases - transport_of_intensity.vacuum_phase(phases, fields["window"]) if offset == "annulus" else phases  # type: ignore[no-any-return]

    return component_phase(fields, retrieve)


def register_fields(fields: Arrays) -> dict[str, np.ndarray]:
    """Return the fields after all images are registered with the image in focus, or the underfocused one of two.

    Images of the specimen turned over are registered with the same image, because in focus it looks the same.
    """
    sampling = fields["sampling"].astype(float)
    fresnel = np.sqrt(wavelength(fields["voltage"].astype(float)) * np.abs(fields["defocus"]).max(axis=1))
    names = [name for name in SERIES if name in fields]
    planes = fields["intensity"].shape[1]
    images = np.concatenate([fields[name] for name in names], axis=1)
    registered = register(images, (planes - 1) // 2, fields["window"], BLUR_WIDTH * fresnel / sampling)
    return {**fields, **dict(zip(names, np.split(registered, len(names), axis=1), strict=True))}


def misell(fields: Arrays, *, iterations: float) -> dict[str, np.ndarray]:
    """Retrieve the phase by the algorithm of Gerchberg, Saxton and Misell.

    It starts from the phase of the transport-of-intensity equation. The constant is taken from the vacuum, as in
    `transport`.

    Args:
        fields: fields of a block of samples.
        iterations: sweeps through the planes and back.

    Returns:
        The phase (sample, y, x) [rad].
    """

    def retrieve(fields: Arrays) -> np.ndarray:
        window = fields["window"]
        phases = focal_series.misell_from_transport(
            fields["intensity"], *_optics(fields), window=window, iterations=int(iterations)
        )
        return phases - transport_of_intensity.vacuum_phase(phases, window)  # type: ignore[no-any-return]

    return component_phase(fields, retrieve)


def _refuse_magnetic(fields: Arrays) -> None:
    """Raise UserError if the target is the magnetic phase, which absorption does not reveal."""
    if COMPONENTS[int(fields.get("phase_component", np.array(0)))] == "magnetic":
        raise UserError("the target is the magnetic phase, which absorption does not reveal; use --method tie")


def single_material(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Retrieve the phase of a specimen of one material from all images (`physics.focal_series.single_material`).

    Args:
        fields: fields of a block of samples.
        ratio: V / V' [1].

    Returns:
        The phase (sample, y, x) [rad].

    Raises:
        UserError: the target is the magnetic phase.
    """
    _refuse_magnetic(fields)
    images = remove_window(fields["intensity"], fields["window"])
    return {"phase": focal_series.single_material(images, *_optics(fields), ratio=ratio) * fields["window"]}


def _optics(fields: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return defocus, wavelength and sampling [nm]."""
    return fields["defocus"], wavelength(fields["voltage"].astype(float)), fields["sampling"].astype(float)


def absorption(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Compute the phase of a specimen of one material from only the in-focus image.

        phi = - (V / 2 V') ln I

    because phi = sigma V t and I = exp(- 2 sigma V' t). This ignores dose, defocus and misalignment. It is the
    baseline for specimens of a single material, and wrong if there are two materials.

    Args:
        fields: fields of a block of samples.
        ratio: V / V' [1].

    Returns:
        The phase (sample, y, x) [rad].

    Raises:
        UserError: the target is the magnetic phase.
    """
    _refuse_magnetic(fields)
    window = fields["window"]
    safe = np.where(window > 0, window, 1)
    image = np.maximum(in_focus(fields["intensity"]) / safe, np.float32(MIN_INTENSITY))
    return {"phase": np.float32(-ratio / 2) * np.log(image) * window}


RATIO = Setting("ratio V / V' of the specimens", "1", tuple(n / 2 for n in range(4, 101)))
TRANSPORT = Method(
    about="transport-of-intensity equation, dI/dz = -(lambda / 2 pi) div(I grad phi), regularised (Teague 1983)",
    needs=("intensity", "defocus", "voltage", "sampling", "window"),
    uses=("intensity_flipped", "phase_component"),
    solve=transport,
    settings={
        "cutoff": Setting(
            "lower spatial frequencies are damped", "1/nm", (0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03)
        ),
        "floor": Setting(
            "division by lower intensities is damped", "mean intensity", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
        ),
        "offset": Setting("the phase is 0 on average (none) or in vacuum (annulus)", "1", ("none", "annulus")),
    },
)

METHODS: Mapping[str, Method] = {
    "tie": TRANSPORT,
    "tie_registered": replace(
        TRANSPORT,
        about=f"registration of the images (shift, rotation, magnification), then the {TRANSPORT.about}",
        prepare=register_fields,
    ),
    "misell": Method(
        about="registration of the images, then projection onto one plane after another (Gerchberg and Saxton; "
        "Misell 1973)",
        needs=TRANSPORT.needs,
        uses=TRANSPORT.uses,
        solve=misell,
        prepare=register_fields,
        settings={
            "iterations": Setting("sweeps through the planes and back", "1", (1, 3, 10, 30, 100), minimum=0, whole=True)
        },
    ),
    "single_material": Method(
        about="registration of the images, then least squares over all planes for a single material (Paganin et al. "
        "2002 for one plane)",
        needs=TRANSPORT.needs,
        uses=("phase_component",),
        solve=single_material,
        prepare=register_fields,
        settings={"ratio": RATIO},
    ),
    "absorption": Method(
        about="single material without propagation: phi = -(V / 2 V') ln I of the image in focus",
        needs=("intensity", "window"),
        uses=("phase_component",),
        solve=absorption,
        settings={"ratio": RATIO},
    ),
}

REPORT = Report(
    inputs=(Shown("intensity", (0,)), Shown("intensity", (-1,))), parameters=("noise", "defocus", "particle_half")
)
