"""Atoms from files: XYZ, arrays (NPY, NPZ, MAT, HDF5), and CIF, extended XYZ and PDB by the package ASE.

Files hold x, y, z in this order. Positions are returned as (z, y, x) [nm], with their mean at the origin.

An array is (atom, 3) or (3, atom). It does not name elements. Numbers 1, 2, ... in a second array (`species`) or in the
first column of an XYZ file stand for the elements given by the user, in their order.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from generators.specimens.from_files.voxel_files import read_content
from physics.scattering.atoms import Atoms
from physics.scattering.factors import ELEMENTS
from schemas.formats.reading import read
from schemas.runtime.errors import UserError, suggestion

UNITS = {"angstrom": 0.1, "nm": 1.0, "pm": 1e-3, "m": 1e9}  # nm
CLOSEST = 0.1  # [nm]; only bonds of hydrogen are shorter
FARTHEST = 0.6  # [nm]; nearest neighbours of all solids are closer
ASE_FORMATS = {".cif": "cif", ".extxyz": "extxyz", ".pdb": "proteindatabank"}
ARRAYS = (".npy", ".npz", ".mat", ".h5", ".hdf5")

type Floats = NDArray[np.float64]
type Unit = Literal["angstrom", "nm", "pm", "m"]


def read_atoms(file: str, elements: Sequence[str] = (), species: str = "", unit: Unit = "angstrom") -> Atoms:
    """Read atoms from a file.

    Args:
        file: the file, or `file:array` if it holds several arrays
        elements: symbols of the elements to which the numbers 1, 2, ... belong; one for a file without numbers
        species: file with the number of each atom, for arrays; or `file:array`
        unit: unit of the coordinates

    Raises:
        UserError: the file cannot be read, or its atoms are not plausible
    """
    suffix = Path(file.partition(":")[0] if not Path(file).exists() else file).suffix.lower()
    if suffix == ".xyz":
        names, positions = _read_xyz(Path(file))
    elif suffix in ASE_FORMATS:
        names, positions = _read_by_ase(Path(file), ASE_FORMATS[suffix])
    elif suffix in ARRAYS:
        positions = _read_positions(file)
        names = _read_species(file, species, len(positions), elements)
    else:
        known = ", ".join([".xyz", *ASE_FORMATS, *ARRAYS])
        raise UserError(f"{file}: the suffix {suffix!r} is not that of a file of atoms; there are: {known}")
    kinds, symbols = _elements(file, names, elements)
    in_nm = UNITS[unit] * positions
    check_positions(file, in_nm, unit)
    return Atoms(symbols, kinds, (in_nm - in_nm.mean(axis=0))[:, ::-1].copy())


def check_positions(file: str, positions: Floats, unit: Unit) -> None:
    """Refuse positions that are not finite, in another unit, or of overlapping atoms.

    Args:
        file: name of the file, for messages
        positions: positions (atom, 3) [nm]
        unit: unit from which they were converted

    Raises:
        UserError: the positions are not plausible
    """
    if not len(positions):
        raise UserError(f"{file}: holds no atoms; give a file with at least one")
    if wrong := int((~np.isfinite(positions).all(axis=1)).sum()):
        raise UserError(
            f"{file}: the positions of {wrong} of {len(positions)} atoms are not finite; remove these atoms"
        )
    tree = KDTree(positions)
    places = np.unique(positions, axis=0)  # an atom that is there twice says nothing about the unit
    if len(places) > 1:
        _check_unit(file, float(np.median(KDTree(places).query(places, k=2)[0][:, 1])), unit)
    pairs = tree.query_pairs(CLOSEST, output_type="ndarray")
    if len(pairs):
        distance = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        first, second = pairs[np.argmin(distance)] + 1
        raise UserError(
            f"{file}: {len(pairs)} pair{'s' * (len(pairs) > 1)} of atoms closer than {CLOSEST:g} nm (atoms {first} and "
            f"{second}: {distance.min():.3g} nm): they overlap; remove one atom of each pair"
        )


def _check_unit(file: str, median: float, unit: Unit) -> None:
    if CLOSEST <= median <= FARTHEST:
        return
    likely = [name for name, length in UNITS.items() if CLOSEST <= median * length / UNITS[unit] <= FARTHEST]
    remedy = f"it looks like {likely[0]}: set unit={likely[0]}" if likely else "are they fractions, or pixels?"
    raise UserError(
        f"{file}: read in {unit}, the median distance of nearest neighbours is {median:.3g} nm: must be {CLOSEST:g} to "
        f"{FARTHEST:g} nm; {remedy}"
    )


def _read_xyz(path: Path) -> tuple[list[str], Floats]:
    """Return the first column of an XYZ file, and its coordinates (atom, (x, y, z))."""
    lines = read_content(path).decode("utf-8", "replace").splitlines()
    count = lines[0].strip() if lines else ""
    if not count.isdecimal():
        raise UserError(
            f"{path}: line 1 is {count[:40]!r}; an XYZ file begins with its number of atoms, then a comment"
        )
    rows = [line.split() for line in lines[2:]]
    while rows and not rows[-1]:
        rows.pop()
    for number, row in enumerate(rows, 3):
        if not _is_atom(row):
            raise UserError(
                f"{path}: line {number} is {lines[number - 1].strip()[:40]!r}, not an element and x, y, z; "
                "line 2 is the only comment: remove other comments, and all structures but one"
            )
    if len(rows) != int(count):
        raise UserError(f"{path}: line 1 states {count} atoms, {len(rows)} lines of atoms follow; correct line 1")
    return [row[0] for row in rows], np.array([row[1:4] for row in rows], float).reshape(-1, 3)


def _is_atom(row: Sequence[str]) -> bool:
    try:
        return bool(row[3:]) and bool([float(word) for word in row[1:4]])
    except ValueError:
        return False


def _read_by_ase(path: Path, form: str) -> tuple[list[str], Floats]:
    try:
        ase_io = importlib.import_module("ase.io")
    except ModuleNotFoundError:
        raise UserError(f"{path}: is read by ASE, which is not installed: pip install 'drybeam[atoms]'") from None
    read_content(path)
    try:
        structure: Any = ase_io.read(path, format=form)
    except Exception as error:  # damaged files make readers raise errors of any kind
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UserError(f"{path}: cannot be read as {form} ({reason}); save it as XYZ") from None
    return list(structure.get_chemical_symbols()), np.asarray(structure.get_positions(), float)


def _read_positions(file: str) -> Floats:
    values = read(file, "")[1].stored
    if values.ndim != 2 or 3 not in values.shape or values.dtype.kind not in "iuf":
        raise UserError(f"{file}: {values.dtype} of shape {values.shape}; save positions (atom, 3) or (3, atom)")
    return np.array(values if values.shape[1] == 3 else values.T, float)


def _read_species(file: str, species: str, count: int, elements: Sequence[str]) -> list[str]:
    """Return the number of each atom as a text; 1 if there are no numbers, and one element is given."""
    if not species:
        if len(elements) != 1:
            raise UserError(
                f"{file}: does not name the elements of its atoms; give elements=Ta for one element, "
                "or elements=Pd,Ni,... and species=FILE with the numbers 1, 2, ..."
            )
        return ["1"] * count
    numbers = read(species, "")[1].stored.ravel()
    if len(numbers) != count:
        raise UserError(f"{species}: {len(numbers)} numbers for the {count} atoms of {file}; give one for each atom")
    if not (numbers == np.round(numbers)).all():
        raise UserError(f"{species}: holds numbers that are not whole; give 1, 2, ... for the elements")
    return [str(int(number)) for number in numbers]


def _elements(file: str, names: Sequence[str], elements: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the kind of each atom, and the symbols of the kinds, from symbols or from numbers 1, 2, ..."""
    if not names:
        return np.zeros(0, np.int64), tuple(elements)
    found, kinds = np.unique(np.array(names), return_inverse=True)
    symbols: list[str] = found.tolist()
    if numbers := [name for name in symbols if name.lstrip("-").isdecimal()]:
        symbols = [_element_of_number(file, name, numbers, elements) for name in symbols]
    for symbol in symbols:
        if symbol not in ELEMENTS:
            close = suggestion(symbol.capitalize(), ELEMENTS) if symbol.capitalize() not in ELEMENTS else ""
            remedy = close or f"; write {symbol.capitalize()}"
            raise UserError(f"{file}: element {symbol!r}: must be the symbol of an element from H to Lr{remedy}")
    return kinds.astype(np.int64), tuple(symbols)


def _element_of_number(file: str, name: str, numbers: Sequence[str], elements: Sequence[str]) -> str:
    low, high = min(map(int, numbers)), max(map(int, numbers))
    if not elements:
        raise UserError(
            f"{file}: species are numbers, {low} to {high}; give their elements, such as elements=Pd,Ni,..."
        )
    if low < 1 or high > len(elements):
        raise UserError(
            f"{file}: species are {low} to {high}: must be 1 to {len(elements)} for the elements "
            f"{','.join(elements)}; give one element for each number"
        )
    return elements[int(name) - 1] if name in numbers else name
