"""A setting that a NumPy file stands for: recorded by hash, found by name, or by hash in a folder of inputs."""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from generators.specimens.from_files.pool import list_input_files, sha256_of_input, verified_path
from generators.specimens.from_files.voxel_files import load_array
from schemas.runtime.errors import UserError
from schemas.runtime.settings import Settings, setting


class ArrayFile(Settings):
    """Base of the settings that may be read from a file with one array."""

    setting_name: ClassVar[str]  # name of the setting that holds this array
    valid_file: ClassVar[str]  # description of a valid file, for messages

    path: Path | None = Field(None, exclude=True, **setting(".npy file that holds this array", "path"))
    sha256: str = Field("", **setting("sha256 of that file; filled in automatically"))
    location: Path | None = Field(None, exclude=True)  # where the file is at present; never stored

    def bind(self, inputs: Path | None) -> Self:
        """Return the settings with their file found, if there is to be one.

        Args:
            inputs: the folder in which the file is found by hash

        Raises:
            UserError: the file is missing, or no folder is given
        """
        if self.path is not None:
            location = self.path.absolute()
            return self.model_copy(update={"location": location, "sha256": sha256_of_input(location)})
        if not self.sha256:
            return self
        if inputs is None:
            raise UserError(f"this recipe needs the file of {self.setting_name}; give its folder, --inputs DIR")
        for path in list_input_files(inputs):
            if sha256_of_input(path) == self.sha256:
                return self.model_copy(update={"location": path.absolute()})
        raise UserError(f"--inputs {inputs}: the file of {self.setting_name} is missing, sha256 {self.sha256}")

    @property
    def from_file(self) -> bool:
        """True if the array is read from a file, which has been found."""
        return self.location is not None

    def array(self) -> np.ndarray:
        """Return the array in the file.

        Raises:
            UserError: the file has changed, or does not hold finite numbers
        """
        assert self.location is not None
        return _load_array(self.location, self.sha256, self.setting_name, self.valid_file)

    def refusal(self, reason: str) -> UserError:
        """Return the error for a file that does not hold the array that its setting needs."""
        return UserError(f"{self.setting_name}.path = {self.location}: {reason}; save {self.valid_file}")


@lru_cache(maxsize=8)
def _load_array(path: Path, sha256: str, setting_name: str, valid_file: str) -> np.ndarray:
    array = np.array(load_array(verified_path(path, sha256), valid_file))
    if array.dtype.kind not in "biufc" or not np.isfinite(array).all():
        raise UserError(
            f"{setting_name}.path = {path}: holds {array.dtype} or numbers that are not finite; save {valid_file}"
        )
    array.flags.writeable = False
    return array
