"""A phase retrieved from each simulated measurement by a classical method, and stored with it."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from physics import focal_series
from physics.transport_of_intensity import transport, vacuum
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

type Offset = Literal["none", "annulus", "mean_error"]


class Retrieval(Settings):
    """How; `--set retrieval=tie` is short for retrieval.method=tie."""

    method: Literal["tie", "misell"] = Field(
        "tie", **setting("transport of intensity, or Gerchberg, Saxton and Misell from there on")
    )
    cutoff: Annotated[float, within(0)] = Field(0.004, **setting("tie: frequencies below it are damped", "1/nm"))
    floor: Annotated[float, within(0)] = Field(0.1, **setting("tie: intensity below which the division is damped"))
    iterations: int = Field(10, ge=1, le=10_000, **setting("misell: sweeps through the planes and back"))
    offset: Offset = Field(
        "none",
        **setting("subtracted: nothing, the mean in vacuum, or, an oracle that reads the truth, the mean error"),
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    def retrieve(
        self, images: np.ndarray, defocus: np.ndarray, wavelength: float, sampling: float, window: np.ndarray
    ) -> np.ndarray:
        """Phase (y, x) [rad] of one series (plane, y, x), without window; offset as it comes out.

        defocus: (plane,) [nm]. wavelength, sampling: [nm]. What the window hides is not seen.
        """
        series = (images * window, defocus, wavelength, sampling)
        if self.method == "tie":
            return transport(*series, cutoff=self.cutoff, floor=self.floor)  # type: ignore[no-any-return]
        return focal_series.misell_from_transport(*series, window=window, iterations=self.iterations)  # type: ignore[no-any-return]

    def adjusted(self, phase: np.ndarray, exact: np.ndarray, window: np.ndarray) -> np.ndarray:
        """The phase (y, x) under the window, its offset removed. exact: the target, for the oracle."""
        if self.offset == "annulus":
            phase = phase - vacuum(phase, window)
        elif self.offset == "mean_error":
            phase = phase - np.mean(phase - exact, where=window > 0)
        out: np.ndarray = (phase * window).astype(np.float32)
        return out
