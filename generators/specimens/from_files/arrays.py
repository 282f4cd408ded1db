"""A setting that a NumPy file stands for: recorded by hash, found by name, or by hash in a folder of inputs."""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from generators.specimens.from_files.pool import files_in, fingerprint, unchanged
from generators.specimens.from_files.voxel_files import load
from schemas.runtime.errors import UserError
from schemas.runtime.settings import Settings, setting


class ArrayFile(Settings):
    """Base of the settings that may be read from a file with one array."""

    held: ClassVar[str]  # name of the setting that holds this array
    wanted: ClassVar[str]  # description of a valid file, for messages

    path: Path | None = Field(None, exclude=True, **setting(".npy file that holds this array", "path"))
    sha256: str = Field("", **setting("sha256 of that file; filled in automatically"))
    place: Path | None = Field(None, exclude=True)  # present place of the file, which is never stored

    def bind(self, inputs: Path | None) -> Self:
        """Return the settings with their file found, if there is to be one.

        Args:
            inputs: the folder in which the file is found by hash

        Raises:
            UserError: the file is missing, or no place is given
        """
        if self.path is not None:
            place = self.path.absolute()
            return self.model_copy(update={"place": place, "sha256": fingerprint(place)})
        if not self.sha256:
            return self
        if inputs is None:
            raise UserError(f"this recipe needs the file of {self.held}; give its folder, --inputs DIR")
        for place in files_in(inputs):
            if fingerprint(place) == self.sha256:
                return self.model_copy(update={"place": place.absolute()})
        raise UserError(f"--inputs {inputs}: the file of {self.held} is missing, sha256 {self.sha256}")

    @property
    def from_file(self) -> bool:
        """True if the array is read from a file, which has been found."""
        return self.place is not None

    def array(self) -> np.ndarray:
        """Return the array in the file.

        Raises:
            UserError: the file has changed, or does not hold finite numbers
        """
        assert self.place is not None
        return _array(self.place, self.sha256, self.held, self.wanted)

    def refused(self, reason: str) -> UserError:
        """Return the error for a file that does not hold the array that its setting needs."""
        return UserError(f"{self.held}.path = {self.place}: {reason}; save {self.wanted}")


@lru_cache(maxsize=8)
def _array(place: Path, sha256: str, held: str, wanted: str) -> np.ndarray:
    array = np.array(load(unchanged(place, sha256), wanted))
    if array.dtype.kind not in "biufc" or not np.isfinite(array).all():
        raise UserError(f"{held}.path = {place}: holds {array.dtype} or numbers that are not finite; save {wanted}")
    array.flags.writeable = False
    return array
