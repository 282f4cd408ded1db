"""Exit waves that another program has simulated, read from a pool of files, and their unwrapped phase.

NumPy files hold a complex array (y, x). Text files, as multislice-wf (after Kirkland) writes them, hold rows in which
real and imaginary parts alternate. A wave spans the field of view, its phase is + sigma V t, and it is relative to a
plane wave of amplitude 1.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray
from pydantic import Field
from skimage.restoration import unwrap_phase

from generators.random_streams import Streams
from generators.specimens.from_files import voxel_files
from generators.specimens.from_files.numbered_files import NumberedFiles
from generators.specimens.from_files.pool import verified_path
from schemas.runtime.errors import UserError
from schemas.runtime.settings import setting

TEXT_RULE = "write rows in which real and imaginary parts alternate, or a complex NumPy array (y, x)"

type Wave = NDArray[np.complex64]
type Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DrawnWave:
    """A file drawn from a pool, by its position in the recipe."""

    item: int


class WaveFiles(NumberedFiles):
    """Settings of exit waves named `<name>(N)`, and of waves in the projection approximation beside them."""

    setting_name: ClassVar[str] = "waves"

    name: str = Field("wave", pattern=r"^\w+$", **setting("name of the files name(N) with exit waves", "file"))
    projected: str | None = Field(
        None,
        pattern=r"^\w+$",
        **setting("name of the files name(N) with projected waves, the target; none: the exit wave", "file"),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the exit waves, and of the projected waves if there are any."""
        return (self.name,) if self.projected is None else (self.name, self.projected)

    def draw(self, rng: Streams) -> DrawnWave:
        """Return the file of a sample."""
        return DrawnWave(self.choose_item(rng))

    def waves(self, item: DrawnWave, size: int) -> tuple[Wave, Wave]:
        """Return the exit wave and the projected one, (size, size).

        Args:
            item: the file
            size: points of the simulation grid along each side

        Raises:
            UserError: the waves have another size, or a file does not hold one
        """
        waves = [_read_wave(*self.file_at(item.item, companion)) for companion in range(len(self.names))]
        for companion, wave in enumerate(waves):
            if wave.shape != (size, size):
                path = self.file_at(item.item, companion)[0]
                raise UserError(
                    f"{path}: {wave.shape[0]} x {wave.shape[1]} pixels, but the simulation has {size} x {size}; set "
                    "image_size and supersampling so that their product is the size of the waves, and padding=1"
                )
        return waves[0], waves[-1]


@lru_cache(maxsize=4)
def _read_wave(path: Path, digest: str) -> Wave:
    """Return the complex wave (y, x) of a NumPy or text file."""
    data = voxel_files.read_content(verified_path(path, digest))
    is_numpy = data.startswith(MAGIC_PREFIX)
    wave = voxel_files.load_array(path, "a complex array (y, x)") if is_numpy else _parse_text_wave(path, data)
    if wave.ndim != 2 or wave.dtype.kind != "c" or not np.isfinite(wave).all():
        raise UserError(f"{path}: {wave.dtype} of shape {wave.shape}, must be complex (y, x) and finite; {TEXT_RULE}")
    return np.array(wave, np.complex64)


def _parse_text_wave(path: Path, data: bytes) -> NDArray[np.complex128]:
    try:
        rows = [np.array(line.split(), float) for line in data.decode("ascii").splitlines() if line.strip()]
        return np.array(rows).view(complex)
    except ValueError:
        raise UserError(f"{path}: not a text of numbers in rows of one even length; {TEXT_RULE}") from None


def unwrapped_phase(wave: Wave, reference: Floats | None = None) -> Floats:
    """Return the phase of a wave (y, x) [rad] without jumps by 2 pi, by scikit-image.

    The algorithm is that of Herraez et al., Appl. Opt. 41 (2002). It does not determine a constant multiple of 2 pi.

    Args:
        wave: (y, x)
        reference: a phase (y, x) [rad] that is close in the mean, and fixes the multiple; None: the mean along the
            border comes closest to 0
    """
    # Without wrap_around=(True, True): scikit-image 0.26 then reads uninitialised memory, and may never return.
    phase = unwrap_phase(np.angle(wave), rng=0)  # type: ignore[no-untyped-call]
    if reference is None:
        difference = np.concatenate([phase[0], phase[-1], phase[:, 0], phase[:, -1]])
    else:
        difference = phase - reference
    out: Floats = (phase - 2 * np.pi * np.round(difference.mean() / (2 * np.pi))).astype(np.float32)
    return out
