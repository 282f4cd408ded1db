"""Files of Gatan's DigitalMicrograph, version 4, by the structure of their tags: no library writes them.

header     version (4), length, 1 (little endian); then the root group
group      sorted, open, number of tags
tag        20 (group) or 21 (data), length of the name, name, length of the rest, the rest
data       %%%%, number of words, words that say the type, values
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DTYPES = {"int16": 1, "float32": 2, "uint8": 6, "int32": 7, "uint16": 10, "uint32": 11, "float64": 12}
ELEMENTS = {"int16": 2, "int32": 3, "uint16": 4, "uint32": 5, "float32": 6, "float64": 7, "uint8": 10}


def image(
    values: np.ndarray, pixel: float, units: str, voltage: float, brightness: tuple[float, float] = (0.0, 1.0)
) -> bytes:
    """A file with one image or stack; pixel: width in `units`; voltage [V]; brightness: origin and scale of values."""
    return data(values, [(pixel, units)] * 2 + [(1.0, "")] * (values.ndim - 2), voltage, brightness)


def data(
    values: np.ndarray,
    steps: Sequence[tuple[float, str]],
    voltage: float,
    brightness: tuple[float, float] = (0.0, 1.0),
) -> bytes:
    """A file with one array; steps: of its axes and their units, the last axis first; voltage [V]."""
    axes = [_axis(*step) for step in steps]
    origin, scale = brightness
    content = {
        "Calibrations": {"Brightness": {"Origin": origin, "Scale": scale, "Units": ""}, "Dimension": axes},
        "Data": values.ravel(),
        "DataType": np.uint32(DTYPES[values.dtype.name]),
        "Dimensions": [np.uint32(length) for length in values.shape[::-1]],
        "PixelDepth": np.uint32(values.itemsize),
    }
    tags = {"Microscope Info": {"Voltage": voltage}}
    root = {"ImageList": [{"ImageData": content, "ImageTags": tags, "Name": "series"}]}
    body = _group(root)
    return struct.pack(">IQI", 4, len(body), 1) + body + bytes(8)


def _axis(scale: float, units: str) -> dict[str, Any]:
    return {"Origin": 0.0, "Scale": scale, "Units": units}


def _group(tags: Mapping[str, Any] | Sequence[Any]) -> bytes:
    named = tags.items() if isinstance(tags, Mapping) else [("", tag) for tag in tags]
    return struct.pack(">BBQ", 1, 0, len(named)) + b"".join(_tag(name, value) for name, value in named)


def _tag(name: str, value: Any) -> bytes:
    inner = isinstance(value, Mapping | list)
    rest = _group(value) if inner else _data(value)
    return struct.pack(">BH", 20 if inner else 21, len(name)) + name.encode() + struct.pack(">Q", len(rest)) + rest


def _data(value: Any) -> bytes:
    if isinstance(value, str):
        value = np.frombuffer(value.encode("utf-16-le"), "<u2")
    if isinstance(value, float):
        value = np.float32(value)
    array = np.asarray(value)
    words = [20, ELEMENTS[array.dtype.name], array.size] if array.ndim else [ELEMENTS[array.dtype.name]]
    return b"%%%%" + struct.pack(f">{1 + len(words)}Q", len(words), *words) + array.astype(array.dtype).tobytes()
