"""One array in a NumPy file, as a setting: recorded by hash, found by name, or by its hash in a folder of inputs."""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from generators.specimens.from_files.pool import below, fingerprint, unchanged
from generators.specimens.from_files.voxel_files import load
from schemas.runtime.errors import UserError
from schemas.runtime.settings import Settings, setting


class ArrayFile(Settings):
    """Base of the settings that a file may stand for."""

    held: ClassVar[str]  # the name of the setting that holds it
    wanted: ClassVar[str]  # what the file must hold

    path: Path | None = Field(None, exclude=True, **setting("of a .npy file that it is read from", "path"))
    sha256: str = Field("", **setting("of that file; filled in when it is read"))
    place: Path | None = Field(None, exclude=True)  # where it is now; never stored

    def bind(self, inputs: Path | None) -> Self:
        """With the file found, if there is to be one. UserError: it is not there."""
        if self.path is not None:
            place = self.path.absolute()
            return self.model_copy(update={"place": place, "sha256": fingerprint(place)})
        if not self.sha256:
            return self
        if inputs is None:
            raise UserError(f"this recipe needs the file of {self.held}: say where it is, --inputs DIR")
        for place in below(inputs):
            if fingerprint(place) == self.sha256:
                return self.model_copy(update={"place": place.absolute()})
        raise UserError(f"--inputs {inputs}: the file of {self.held} is not there, sha256 {self.sha256}")

    @property
    def from_file(self) -> bool:
        """Whether it is read from a file, and that has been found."""
        return self.place is not None

    def array(self) -> np.ndarray:
        """What the file holds, finite numbers. UserError: it does not, or has changed."""
        assert self.place is not None
        return _array(self.place, self.sha256, self.held, self.wanted)

    def refused(self, reason: str) -> UserError:
        """The file does not hold what it should."""
        return UserError(f"{self.held}.path = {self.place}: {reason}; save {self.wanted}")


@lru_cache(maxsize=8)
def _array(place: Path, sha256: str, held: str, wanted: str) -> np.ndarray:
    array = np.array(load(unchanged(place, sha256), wanted))
    if array.dtype.kind not in "biufc" or not np.isfinite(array).all():
        raise UserError(f"{held}.path = {place}: holds {array.dtype}, or what is no finite number; save {wanted}")
    array.flags.writeable = False
    return array
