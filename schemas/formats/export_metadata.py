"""What an exported image says of itself: JSON in the file, or beside it. An import reads it back."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from schemas.task import find_task, task_names

_STRICT = ConfigDict(frozen=True, extra="forbid")


class Parameter(BaseModel):
    """One parameter of a sample: a number, or one per plane, view and so on."""

    model_config = _STRICT

    values: list[FiniteFloat]  # flattened
    units: str


class ExportMetadata(BaseModel):
    """Whose image it is, in which units, with which parameters."""

    model_config = _STRICT

    drybeam_image: Literal[1] = 1
    task: str
    split: str
    sample: int | None  # none: of the whole dataset
    field: str
    units: str
    axes: list[str]
    parameters: dict[str, Parameter] = {}

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None if the text is something else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def known(self) -> dict[str, tuple[float, ...]]:
        """Values by the name of the parameter, of those that are in the units of the schema."""
        fields = {field.name: field for field in find_task(self.task).fields} if self.task in task_names() else {}
        return {
            name: tuple(parameter.values)
            for name, parameter in self.parameters.items()
            if name in fields and fields[name].units == parameter.units
        }
