"""MATLAB files: up to version 7 (SciPy), and version 7.3, which is HDF5 with all axes reversed.

MATLAB has the axis of images last, A(:, :, k). Users of a `Picture` from this module must move it to the front.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.hdf5 import read_dataset
from schemas.formats.image import Beside, Known, choose_array, refuse_large
from schemas.formats.rotation_series.rotation_mat import PARAMETERS, geometry
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "MAT"
SUFFIX = ".mat"
ITEM_SIZES = {"double": 8, "single": 4, "logical": 1} | {f"{u}int{8 * n}": n for n in (1, 2, 4, 8) for u in ("", "u")}
UTF32 = 4  # bytes of a character in memory
MAX_CARD_CHARACTERS = 1 << 20  # maximum number of characters of export metadata
CARD_VARIABLE = "drybeam"  # name of the variable that holds export metadata
HEADER = b"MATLAB 5.0 MAT-file, written by drybeam".ljust(116)  # SciPy's own header holds the time


def read(path: Path, inner: str) -> Stated:
    """Read one variable, in MATLAB's order of axes.

    Args:
        path: the file.
        inner: name of the variable, or `struct.field`; empty: the exported field, or the only image.

    Raises:
        UserError: there is no such variable, or more than one image, or the file is damaged.
    """
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            stated = read_dataset(path, file, inner)
        return Stated(stated.values.T, matlab=True)
    listed = scipy.io.whosmat(str(path), appendmat=False)
    found = {name: (shape, ITEM_SIZES[kind]) for name, shape, kind in listed if kind in ITEM_SIZES}
    texts = {name: shape for name, shape, kind in listed if kind == "char"}
    structs = [name for name, _, kind in listed if kind == "struct"]
    if CARD_VARIABLE in texts:
        refuse_large(path, texts[CARD_VARIABLE], UTF32)
    card = (
        _read_export_metadata(path)
        if texts.get(CARD_VARIABLE, (0, MAX_CARD_CHARACTERS + 1))[-1] <= MAX_CARD_CHARACTERS
        else None
    )
    if card and not inner:
        inner = card.key or card.field
    if inner.partition(".")[0] in structs or (structs and not found):
        return _in_struct(path, inner, structs)
    name = choose_array(path, inner, {name: shape for name, (shape, _) in found.items()})
    refuse_large(path, *found[name])
    values = np.asarray(_load(path, name))
    if values.size * 2 < np.prod(found[name][0]):
        raise UserError(f"{path}:{name}: damaged: shorter than its header states; get another copy")
    if card and name == (card.key or card.field):
        shape = values.shape[-len(card.axes) :]  # MATLAB has added a leading axis to arrays of one axis
        return Stated(values.reshape(shape), known=card.known(), exported=tuple(card.axes))
    return Stated(values, matlab=True)


def _in_struct(path: Path, inner: str, structs: Sequence[str]) -> Stated:
    """Return a numeric field of a struct, which is named `struct.field`, and the geometry that the struct states."""
    name = inner.partition(".")[0]
    chosen = [name] if name in structs else structs
    found: dict[str, np.ndarray] = {}
    beside: dict[str, dict[str, Beside]] = {}
    for one in chosen:
        values = _load(path, one)
        if values.size == 1 and values.dtype.names:
            fields = {f"{one}.{key}": np.asarray(values[key].item()) for key in values.dtype.names}
            found |= {key: field for key, field in fields.items() if field.dtype.kind in "biufc"}
            beside[one] = geometry(path, fields.get(f"{one}.{PARAMETERS}"))
    name = choose_array(path, inner, {key: field.shape for key, field in found.items()})
    stated = beside[name.partition(".")[0]]
    return Stated(found[name], beside=stated, matlab=True, upward=bool(stated))


def _load(path: Path, name: str) -> Any:
    return scipy.io.loadmat(str(path), appendmat=False, variable_names=[name])[name]


def _read_export_metadata(path: Path) -> ExportMetadata | None:
    text = _load(path, CARD_VARIABLE)
    return ExportMetadata.parse(str(text[0])) if text.shape == (1,) else None


def write(values: np.ndarray, card: ExportMetadata, known: Known) -> bytes:
    """Return a MAT file with the field, its parameters and its pixel size as variables, and the metadata as JSON.

    Args:
        values: the field.
        card: its metadata.
        known: parameters of the sample.
    """
    file = io.BytesIO()
    parameters = {name: np.array(numbers) for name, numbers in known.items() if name != (card.key or card.field)}
    text = json.dumps(card.model_dump(mode="json"))  # ASCII, because SciPy truncates other texts
    content = {**parameters, CARD_VARIABLE: text, card.key or card.field: values}
    scipy.io.savemat(file, content, do_compression=True)
    return HEADER + file.getvalue()[len(HEADER) :]
