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
from numpy.typing import NDArray
from pydantic import Field
from skimage.restoration import unwrap_phase

from generators.random_streams import Streams
from generators.specimens.from_files import voxel_files
from generators.specimens.from_files.pool import Pool, unchanged
from schemas.runtime.errors import UserError
from schemas.runtime.settings import setting

TEXT = "write rows in which real and imaginary parts alternate, or a complex NumPy array (y, x)"

type Wave = NDArray[np.complex64]
type Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WaveItem:
    """A file drawn from a pool, by its position in the recipe."""

    item: int


class WaveFiles(Pool):
    """Settings of exit waves named `<name>(N)`, and of waves in the projection approximation beside them."""

    held: ClassVar[str] = "waves"

    first: int = Field(0, ge=0, **setting("number N of the first file to use"))
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

    def listed(self, path: Path) -> tuple[Path, ...]:
        """Return files by rising number, from `first`, then their companions.

        Args:
            path: a folder, or one file

        Raises:
            UserError: files or companions are missing
        """
        return voxel_files.with_companions(path, self.first, self.names)

    def draw(self, rng: Streams) -> WaveItem:
        """Return the file of a sample."""
        return WaveItem(self.choose(rng))

    def waves(self, item: WaveItem, size: int) -> tuple[Wave, Wave]:
        """Return the exit wave and the projected one, (size, size).

        Args:
            item: the file
            size: points of the simulation grid along each side

        Raises:
            UserError: the waves have another size, or a file does not hold one
        """
        found = [_wave(*self.place(item.item, companion)) for companion in range(len(self.names))]
        for companion, wave in enumerate(found):
            if wave.shape != (size, size):
                path = self.place(item.item, companion)[0]
                raise UserError(
                    f"{path}: {wave.shape[0]} x {wave.shape[1]} pixels, but the simulation has {size} x {size}; set "
                    "image_size and supersampling so that their product is the size of the waves, and padding=1"
                )
        return found[0], found[-1]


@lru_cache(maxsize=4)
def _wave(path: Path, digest: str) -> Wave:
    """Return the complex wave (y, x) of a NumPy or text file."""
    data = voxel_files.content(unchanged(path, digest))
    wave = (
        voxel_files.load(path, "a complex array (y, x)")
        if data.startswith(voxel_files.NUMPY)
        else _from_text(path, data)
    )
    if wave.ndim != 2 or wave.dtype.kind != "c" or not np.isfinite(wave).all():
        raise UserError(f"{path}: {wave.dtype} of shape {wave.shape}, must be complex (y, x) and finite; {TEXT}")
    return np.array(wave, np.complex64)


def _from_text(path: Path, data: bytes) -> NDArray[np.complex128]:
    try:
        rows = [np.array(line.split(), float) for line in data.decode("ascii").splitlines() if line.strip()]
        return np.array(rows).view(complex)
    except ValueError:
        raise UserError(f"{path}: not a text of numbers in rows of one even length; {TEXT}") from None


def unwrapped(wave: Wave, near: Floats | None = None) -> Floats:
    """Return the phase of a wave (y, x) [rad] without jumps by 2 pi, by scikit-image.

    The algorithm is that of Herraez et al., Appl. Opt. 41 (2002). It does not determine a constant multiple of 2 pi.

    Args:
        wave: (y, x)
        near: a phase (y, x) [rad] that is close in the mean, and fixes the multiple; None: choose the multiple that
            brings the mean along the border closest to 0
    """
    # Without wrap_around=(True, True): scikit-image 0.26 then reads uninitialised memory, and may never return.
    found = unwrap_phase(np.angle(wave), rng=0)  # type: ignore[no-untyped-call]
    rest = found - near if near is not None else np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    out: Floats = (found - 2 * np.pi * np.round(rest.mean() / (2 * np.pi))).astype(np.float32)
    return out
