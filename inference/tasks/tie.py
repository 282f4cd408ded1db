"""Phase from a through-focus series without a network: the transport-of-intensity equation, and the logarithm."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from inference.contract import Arrays, Method, Report, Setting, Shown
from inference.methods.registration import register
from physics import focal_series, transport_of_intensity
from physics.electron import wavelength
from physics.magnetics import separate
from physics.transport_of_intensity import in_focus, unwindowed
from schemas.runtime.errors import UserError
from schemas.tasks.tie import COMPONENTS

FRESNEL = 3.0  # lengths sqrt(lambda z): so wide is the Gaussian through which images are registered
DARKEST = 1e-3  # relative to the incident beam: the logarithm is cut there
SERIES = ("intensity", "intensity_flipped")


def of_component(fields: Arrays, retrieve: Callable[[Arrays], np.ndarray]) -> dict[str, np.ndarray]:
    """The phase that the dataset asks for, by a method that retrieves one (sample, y, x) [rad] from a series.

    If that is the electrostatic or the magnetic one, and there is a series of the specimen turned over: half the sum of
    both phases, or half their difference.
    """
    found = retrieve(fields)
    wanted = COMPONENTS[int(fields.get("phase_component", np.array(0)))]
    if wanted != "total" and "intensity_flipped" in fields:
        flipped = retrieve({**fields, "intensity": fields["intensity_flipped"]})
        found = separate(found, flipped)[wanted == "magnetic"]
    return {"phase": found * fields["window"]}


def transport(fields: Arrays, *, cutoff: float, floor: float, offset: str) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] by the transport-of-intensity equation (`physics.transport_of_intensity.retrieve`).

    dI/dz is the slope of the line through all planes, I the image in the middle. cutoff: f_c [1/nm]. floor: r [1].
    offset: "none" leaves the mean at 0; "annulus" sets the mean between 0.45 and 0.50 of the width to 0, for the
    phase of vacuum is 0 in this dataset (phaseimaging's remove_offset; nothing is done if the window leaves no
    pixel there).
    """

    def retrieve(fields: Arrays) -> np.ndarray:
        found = transport_of_intensity.transport(fields["intensity"], *_lens(fields), cutoff=cutoff, floor=floor)
        return found - transport_of_intensity.vacuum(found, fields["window"]) if offset == "annulus" else found  # type: ignore[no-any-return]

    return of_component(fields, retrieve)


def registered(fields: Arrays) -> dict[str, np.ndarray]:
    """The fields, with all images in the frame of the one in focus, or of the under-focus one of two.

    So are those of the specimen turned over: in focus, it looks the same.
    """
    sampling = fields["sampling"].astype(float)
    fresnel = np.sqrt(wavelength(fields["voltage"].astype(float)) * np.abs(fields["defocus"]).max(axis=1))
    names = [name for name in SERIES if name in fields]
    planes = fields["intensity"].shape[1]
    images = np.concatenate([fields[name] for name in names], axis=1)
    found = register(images, (planes - 1) // 2, fields["window"], FRESNEL * fresnel / sampling)
    return {**fields, **dict(zip(names, np.split(found, len(names), axis=1), strict=True))}


def misell(fields: Arrays, *, iterations: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] by Gerchberg, Saxton and Misell, from that of the transport of intensity on.

    The constant is taken from the vacuum, as by `transport`.
    """

    def retrieve(fields: Arrays) -> np.ndarray:
        window = fields["window"]
        found = focal_series.misell_from_transport(
            fields["intensity"], *_lens(fields), window=window, iterations=int(iterations)
        )
        return found - transport_of_intensity.vacuum(found, window)  # type: ignore[no-any-return]

    return of_component(fields, retrieve)


def _refuse_magnetic(fields: Arrays) -> None:
    """A material's thickness says nothing of its magnetisation."""
    if COMPONENTS[int(fields.get("phase_component", np.array(0)))] == "magnetic":
        raise UserError("the target is the magnetic phase: one material's absorption says nothing of it; use tie")


def single_material(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] of one material, from all images (`physics.focal_series`). ratio: V / V' [1]."""
    _refuse_magnetic(fields)
    images = unwindowed(fields["intensity"], fields["window"])
    return {"phase": focal_series.single_material(images, *_lens(fields), ratio=ratio) * fields["window"]}


def _lens(fields: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Defocus, wavelength, sampling."""
    return fields["defocus"], wavelength(fields["voltage"].astype(float)), fields["sampling"].astype(float)


def absorption(fields: Arrays, *, ratio: float) -> dict[str, np.ndarray]:
    """Phase (sample, y, x) [rad] of one material, from the in-focus image alone.

        phi = - (V / 2 V') ln I

    since phi = sigma V t and I = exp(- 2 sigma V' t). ratio: V / V' [1]. Blind to dose, defocus and misalignment: the
    honest baseline for bodies of a single material; wrong as soon as there are two.
    """
    _refuse_magnetic(fields)
    window = fields["window"]
    safe = np.where(window > 0, window, 1)
    image = np.maximum(in_focus(fields["intensity"]) / safe, np.float32(DARKEST))
    return {"phase": np.float32(-ratio / 2) * np.log(image) * window}


RATIO = Setting("V / V' of the specimens", "1", tuple(n / 2 for n in range(4, 101)))
TRANSPORT = Method(
    about="transport of intensity, dI/dz = -(lambda / 2 pi) div(I grad phi), regularised (Teague 1983)",
    needs=("intensity", "defocus", "voltage", "sampling", "window"),
    uses=("intensity_flipped", "phase_component"),
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
        uses=TRANSPORT.uses,
        solve=misell,
        prepare=registered,
        settings={
            "iterations": Setting("sweeps through the planes and back", "1", (1, 3, 10, 30, 100), least=0, whole=True)
        },
    ),
    "single_material": Method(
        about="images registered, then one material: least squares over all planes (Paganin et al. 2002, for one)",
        needs=TRANSPORT.needs,
        uses=("phase_component",),
        solve=single_material,
        prepare=registered,
        settings={"ratio": RATIO},
    ),
    "absorption": Method(
        about="one material: phi = -(V / 2 V') ln I in focus, no propagation",
        needs=("intensity", "window"),
        uses=("phase_component",),
        solve=absorption,
        settings={"ratio": RATIO},
    ),
}

REPORT = Report(
    inputs=(Shown("intensity", (0,)), Shown("intensity", (-1,))), parameters=("noise", "defocus", "particle_half")
)
