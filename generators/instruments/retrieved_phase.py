"""A phase retrieved from each simulated measurement by a classical method, and stored with it."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from physics import focal_series
from physics.transport_of_intensity import retrieve_from_series, vacuum_phase
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

type Offset = Literal["none", "annulus", "mean_error"]


class Retrieval(Settings):
    """Base of the settings of a method that retrieves phases; the task names the methods, `misell` among them."""

    method: str
    cutoff: Annotated[float, within(0)] = Field(
        0.004, **setting("spatial frequency below which the transport of intensity damps the phase", "1/nm")
    )
    floor: Annotated[float, within(0)] = Field(
        0.1, **setting("intensity below which the transport of intensity damps its division")
    )
    iterations: int = Field(10, ge=1, le=10_000, **setting("number of sweeps of misell through the planes and back"))
    offset: Offset = Field(
        "none",
        **setting(
            "constant to subtract: nothing, the mean in vacuum, or the mean error (an oracle that uses the truth)"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    def retrieve(
        self, images: np.ndarray, defocus: np.ndarray, wavelength: float, sampling: float, window: np.ndarray
    ) -> np.ndarray:
        """Return the retrieved phase (y, x) [rad] of one series, without window, its offset not adjusted.

        Args:
            images: (plane, y, x)
            defocus: (plane,) [nm]
            wavelength: [nm]
            sampling: width of a pixel [nm]
            window: weights (y, x); pixels where they are 0 are not used
        """
        series = (images * window, defocus, wavelength, sampling)
        if self.method == "misell":
            return focal_series.misell_from_transport(*series, window=window, iterations=self.iterations)  # type: ignore[no-any-return]
        return retrieve_from_series(*series, cutoff=self.cutoff, floor=self.floor)  # type: ignore[no-any-return]

    def remove_offset(self, phase: np.ndarray, exact: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Return the phase (y, x) [rad] under the window, its offset removed.

        Args:
            phase: the retrieved phase (y, x) [rad]
            exact: the target, which only the offset `mean_error` uses
            window: weights (y, x)
        """
        if self.offset == "annulus":
            phase = phase - vacuum_phase(phase, window)
        elif self.offset == "mean_error":
            phase = phase - np.mean(phase - exact, where=window > 0)
        out: np.ndarray = (phase * window).astype(np.float32)
        return out
