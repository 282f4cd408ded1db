"""Atoms from files: axes, units and elements, and one clear line for each mistake; the measured models."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from generators.specimens.atoms.atom_files import read_atoms
from generators.specimens.atoms.packing import packed
from schemas.runtime.errors import UserError
from tests.conftest import DATA

type Write = Callable[..., str]

XYZ = "3\nthree atoms\nPt 0.0 1.0 5.0\nNi 0.0 4.0 5.0\nPt 3.0 1.0 5.0\n"


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(text: str, name: str = "atoms.xyz") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture(scope="module")
def positions() -> np.ndarray:
    """Positions (atom, (x, y, z)) [angstrom] of 200 atoms, each axis of another length."""
    made = 10 * packed(200, (1.2, 1.5, 2.0), 0.27, 0.23, np.random.default_rng(0))
    return made[:, ::-1]


def test_xyz_becomes_z_y_x_in_nm_about_the_mean(written: Write) -> None:
    atoms = read_atoms(written(XYZ))
    assert [atoms.elements[kind] for kind in atoms.kinds] == ["Pt", "Ni", "Pt"]
    assert atoms.positions == pytest.approx(np.array([[0, -0.1, -0.1], [0, 0.2, -0.1], [0, -0.1, 0.2]]))
    numbered = written(XYZ.replace("Pt", "1").replace("Ni", "2"), "numbered.xyz")
    atoms = read_atoms(numbered, elements=("Pd", "Pt"))
    assert [atoms.elements[kind] for kind in atoms.kinds] == ["Pd", "Pt", "Pd"]
    assert len(read_atoms(written("1\n\nAu 1 2 3\n\n"))) == 1


@pytest.mark.parametrize("suffix", [".npy", ".mat"])
def test_arrays_may_be_either_way_round(tmp_path: Path, positions: np.ndarray, suffix: str) -> None:
    species = np.arange(200) % 3 + 1
    saved = {}
    for name, values in (("rows", positions), ("columns", positions.T), ("species", species.astype(np.uint8))):
        saved[name] = str(tmp_path / f"{name}{suffix}")
        if suffix == ".npy":
            np.save(saved[name], values)
        else:
            scipy.io.savemat(saved[name], {"model": values})
    expected = (positions - positions.mean(axis=0))[:, ::-1] / 10
    for name in ("rows", "columns"):
        atoms = read_atoms(saved[name], ("Zr", "Ni", "Cu"), saved["species"])
        assert atoms.positions == pytest.approx(expected)
        assert [atoms.elements[kind] for kind in atoms.kinds[:4]] == ["Zr", "Ni", "Cu", "Zr"]
    assert read_atoms(saved["rows"], ("Ta",)).elements == ("Ta",)
    for elements, message in (
        ((), r"does not name the elements of its atoms; give elements=Ta for one element"),
        (("Zr", "Ni"), r"does not name the elements .* species=FILE"),
    ):
        with pytest.raises(UserError, match=message):
            read_atoms(saved["rows"], elements)
    with pytest.raises(UserError, match=r"species are numbers, 1 to 3; give their elements, such as elements=Pd,Ni"):
        read_atoms(saved["rows"], (), saved["species"])
    with pytest.raises(UserError, match=r"species are 1 to 3: must be 1 to 2 for the elements Zr,Ni; give one"):
        read_atoms(saved["rows"], ("Zr", "Ni"), saved["species"])
    with pytest.raises(UserError, match=r"600 numbers for the 200 atoms of .*; give one for each atom"):
        read_atoms(saved["rows"], ("Zr", "Ni"), saved["rows"])
    with pytest.raises(UserError, match=r"of shape \(1?,? ?200,?\); save positions \(atom, 3\) or \(3, atom\)"):
        read_atoms(saved["species"], ("Zr",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1 is ''; an XYZ file begins with its number of atoms, then a"),
        ("Pt 0 0 0\n" + XYZ, r"line 1 is 'Pt 0 0 0'; an XYZ file begins with its number of atoms"),
        (XYZ.replace("3\n", "4\n", 1), r"line 1 states 4 atoms, 3 lines of atoms follow; correct line 1"),
        (XYZ.replace("Ni", "# nickel\nNi"), r"line 4 is '# nickel', not an element and x, y, z; line 2 is the only"),
        (XYZ + XYZ, r"line 6 is '3', not an element and x, y, z; .* all structures but one"),
        (XYZ.replace("4.0 ", ""), r"line 4 is 'Ni 0.0 5.0', not an element and x, y, z"),
        (XYZ.replace("Ni", "Xx"), r"element 'Xx': must be the symbol of an element from H to Lr"),
        (XYZ.replace("Ni", "NI"), r"element 'NI': must be the symbol .*; write Ni"),
        (XYZ.replace("Ni", "28"), r"species are numbers, 28 to 28; give their elements"),
        (XYZ.replace("4.0", "nan"), r"positions of 1 of 3 atoms are not finite; remove these atoms"),
        (XYZ.replace("3", "4", 1) + "Ni 3 1.3 5\n", r"1 pair of atoms closer than 0.1 nm \(atoms 3 and 4: 0.03 nm"),
        (XYZ.replace("4.0", "1.0"), r"1 pair of atoms closer .* 1 and 2: 0 nm\): they overlap; remove one"),
        ("0\n\n", r"holds no atoms; give a file with at least one"),
    ],
)
def test_mistakes_in_xyz_get_one_line(written: Write, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_atoms(written(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("unit", "length"), [("nm", 0.1), ("pm", 100.0), ("m", 1e-10)])
def test_another_unit_is_recognised(tmp_path: Path, positions: np.ndarray, unit: str, length: float) -> None:
    file = str(tmp_path / "atoms.npy")
    np.save(file, length * positions)
    with pytest.raises(UserError, match=rf"read in angstrom, the median .* it looks like {unit}: set unit={unit}"):
        read_atoms(file, ("Ta",))
    right = read_atoms(file, ("Ta",), unit=unit)  # type: ignore[arg-type]
    assert right.positions == pytest.approx((positions - positions.mean(axis=0))[:, ::-1] / 10)
    np.save(file, positions)
    with pytest.raises(UserError, match="it looks like angstrom: set unit=angstrom"):
        read_atoms(file, ("Ta",), unit=unit)  # type: ignore[arg-type]


def test_fractions_of_a_cell_look_like_no_unit(tmp_path: Path, positions: np.ndarray) -> None:
    np.save(tmp_path / "fractions.npy", positions / 100)
    with pytest.raises(UserError, match=r"must be 0.1 to 0.6 nm; are they fractions, or pixels\?"):
        read_atoms(str(tmp_path / "fractions.npy"), ("Ta",))


def test_doubled_atoms_are_told_from_a_wrong_unit(tmp_path: Path, positions: np.ndarray) -> None:
    np.save(tmp_path / "twice.npy", np.concatenate([positions, positions]))
    with pytest.raises(UserError, match=r"200 pairs of atoms closer than 0.1 nm .*: they overlap"):
        read_atoms(str(tmp_path / "twice.npy"), ("Ta",))


def test_other_suffixes_and_missing_files(written: Write) -> None:
    with pytest.raises(UserError, match=r"the suffix '.docx' is not that of a file of atoms; there are: .xyz, .cif"):
        read_atoms(written("", "atoms.docx"))
    for name in ("none.xyz", "none.npy"):
        with pytest.raises(UserError, match=r"none\.(xyz: No such file|npy: no such file)"):
            read_atoms(name, ("Ta",))


def test_ase_reads_crystals(tmp_path: Path) -> None:
    build = pytest.importorskip("ase.build", reason="ASE is not installed")
    file = str(tmp_path / "crystal.cif")
    build.bulk("Pt", cubic=True).write(file)
    atoms = read_atoms(file)
    assert (len(atoms), atoms.elements) == (4, ("Pt",))
    assert np.ptp(atoms.positions, axis=0) == pytest.approx(np.full(3, 0.196))
    Path(file).write_text("data_\nloop_\n_atom_site_label\n")
    with pytest.raises(UserError, match=r"cannot be read as cif .*; save it as XYZ"):
        read_atoms(file)


def test_without_ase_one_line_says_so(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ase.io", None)
    with pytest.raises(UserError, match=r"is read by ASE, which is not installed: pip install 'drybeam\[atoms\]'"):
        read_atoms(written("", "crystal.cif"))


@pytest.mark.skipif(not DATA.exists(), reason=f"the measured models are not here, {DATA}")
def test_measured_models() -> None:
    folder = DATA / "metallic_glass"
    species = str(folder / "final_atom_types.mat")
    glass = read_atoms(str(folder / "final_atom_coord_inA.mat"), ("Ni", "Pd", "Pt"), species)
    assert np.bincount(glass.kinds).tolist() == [8322, 6896, 3138]
    film = read_atoms(str(DATA / "ta_film" / "Final_atomic_model_Ta_film.mat"), ("Ta",))
    assert (len(film), film.elements) == (8284, ("Ta",))
    assert np.ptp(film.positions, axis=0) == pytest.approx([4.487, 11.182, 12.720], abs=1e-3)
