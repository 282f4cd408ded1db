"""Atoms of a file as the specimen of a dataset, such as the model that a tomographic measurement gave.

Both files, that of the positions and that of the species, are recorded by hash (`from_files.arrays`).
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field

from generators.specimens.atoms.alloys import check_element
from generators.specimens.atoms.atom_files import Unit, read_atoms
from generators.specimens.from_files.arrays import ArrayFile
from generators.specimens.from_files.pool import verified_path
from physics.scattering.atoms import Atoms
from schemas.runtime.settings import setting


class Species(ArrayFile):
    """Settings of the file with the number of the element of each atom."""

    setting_name: ClassVar[str] = "model.species"
    valid_file: ClassVar[str] = "a number 1, 2, ... for each atom, as .npy, .mat or .h5"


class Model(ArrayFile):
    """Settings of the file with the atoms."""

    setting_name: ClassVar[str] = "model"
    valid_file: ClassVar[str] = "positions x, y, z of atoms, as .xyz, .cif, .npy, .mat or .h5"

    key: str = Field("", **setting("name of the array within the file, if it holds several"))
    unit: Unit = Field("angstrom", **setting("unit of the positions"))
    elements: tuple[Annotated[str, AfterValidator(check_element)], ...] = Field(
        (), **setting("elements for which the numbers 1, 2, ... stand; one for a file without numbers")
    )
    species: Species = Field(Species(), **setting("file with the number of each atom, for arrays"))
    turned: bool = Field(False, **setting("true: each sample shows the atoms in another orientation"))
    count: int = Field(0, ge=0, **setting("number of atoms; filled in automatically"))

    def bind(self, inputs: Path | None) -> Self:
        """Return the settings with both files found, and the number of atoms.

        Args:
            inputs: the folder in which files are found by hash; None: the recipe's own paths

        Raises:
            UserError: a file is missing or does not hold atoms
        """
        found = super().bind(inputs)
        found = found.model_copy(update={"species": self.species.bind(inputs)})
        return found.model_copy(update={"count": len(found.atoms())}) if found.from_file else found

    def atoms(self) -> Atoms:
        """Return the atoms, with their mean position at the origin.

        Raises:
            UserError: a file has changed, or does not hold plausible atoms
        """
        assert self.location is not None
        verified_path(self.location, self.sha256)
        species = "" if self.species.location is None else str(self.species.location)
        return _read(f"{self.location}{self.key and ':' + self.key}", self.elements, species, self.unit, self.sha256)


@lru_cache(maxsize=2)
def _read(file: str, elements: tuple[str, ...], species: str, unit: Unit, sha256: str) -> Atoms:
    """Return the atoms of a file; the hash is there for the cache."""
    return read_atoms(file, elements, species, unit)
