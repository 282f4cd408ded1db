"""Metadata of an exported image: JSON in the file, or beside it. An import reads them back."""

import stat
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from schemas.task import find_task, task_names

MAX_JSON_BYTES = 1 << 20  # maximum number of bytes of a JSON file that are read

_STRICT = ConfigDict(frozen=True, extra="forbid")


class Parameter(BaseModel):
    """One parameter of a sample: one number, or one per plane, view and so on."""

    model_config = _STRICT

    values: list[FiniteFloat]  # flattened
    units: str


class ExportMetadata(BaseModel):
    """Source, units and parameters of an exported image."""

    model_config = _STRICT

    drybeam_image: Literal[1] = 1
    task: str
    split: str
    sample: int | None  # None: the field belongs to the whole dataset
    field: str
    units: str
    axes: list[str]
    parameters: dict[str, Parameter] = {}
    key: str = Field("", exclude_if=lambda key: not key)  # name of the array in the file, if not that of the field

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the metadata in a JSON text; None if the text is something else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def known(self) -> dict[str, tuple[float, ...]]:
        """Return the values of those parameters, by name, whose units are those of the task."""
        fields = {field.name: field for field in find_task(self.task).fields} if self.task in task_names() else {}
        return {
            name: tuple(parameter.values)
            for name, parameter in self.parameters.items()
            if name in fields and fields[name].units == parameter.units
        }


def read_beside(path: Path) -> ExportMetadata | None:
    """Return the metadata in the JSON file beside an exported file; None if there are none.

    Args:
        path: the exported file.
    """
    beside = path.with_suffix(".json")
    try:
        if not stat.S_ISREG(beside.stat().st_mode):
            return None
        with beside.open("rb") as file:
            return ExportMetadata.parse(file.read(MAX_JSON_BYTES).decode("utf-8", "replace"))
    except OSError:
        return None
