"""TIFF files: one image or a stack of pages, with the pixel size of ImageJ, of OME or of the resolution tags."""

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.image import Known, Picture, refuse_large
from schemas.formats.pixel_sizes import NM, PRINTED, pixel
from schemas.runtime.errors import UserError

NAME = "TIFF"
SUFFIX = ".tif"
UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}  # values of the tag ResolutionUnit
LARGEST = 2**32 - 1  # largest number in a tag
IMAGEJ = {"uint8", "uint16", "float32"}  # the dtypes that ImageJ reads


def read(path: Path, _: str) -> Picture:
    """Read all pages of a TIFF file, which must have one shape.

    Of series that name other files (OME, NDTiff, Micro-Manager), only the pages of this file are read.

    Args:
        path: the file.
        _: not used, because the file holds one array.

    Raises:
        UserError: the pages have different shapes, or the file is truncated.
    """
    with tifffile.TiffFile(path, _multifile=False, is_ndtiff=False, is_mmstack=False) as file:
        if len(file.series) != 1:
            raise UserError(f"{path}: holds {len(file.series)} series of pages of different shapes; save them singly")
        series = file.series[0]
        refuse_large(path, series.shape, series.dtype.itemsize)
        _refuse_short(path, file, series)
        card = _card(file)
        axes = tuple(card.axes) if card else ()
        colours = series.axes.endswith("S")  # tifffile itself stores a stack of three images with S as the first axis
        return Picture(series.asarray(), _pixel(file) | (card.known() if card else {}), axes, colours=colours)


def _refuse_short(path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse a file with missing pages, or pages beyond its end, which would be read as zeros."""
    size = path.stat().st_size
    promised = (file.imagej_metadata or {}).get("images", 1)
    whole = series.size >= promised * math.prod(series.shape[-2:]) and None not in series.pages
    whole = whole and (series.dataoffset or 0) + bool(series.dataoffset) * series.nbytes <= size
    for page in file.pages:
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        whole = whole and bool(ends) and max(ends) <= size and 0 not in page.databytecounts
    if not whole:
        raise UserError(f"{path}: truncated or damaged, pixels are missing; get another copy")


def _card(file: tifffile.TiffFile) -> ExportMetadata | None:
    imagej = file.imagej_metadata or {}
    return ExportMetadata.parse(str(imagej.get("Info", ""))) or ExportMetadata.parse(
        str(file.pages.first.tags.valueof(270) or "")
    )


def _pixel(file: tifffile.TiffFile) -> dict[str, tuple[float, ...]]:
    """Return the pixel size from the metadata of OME or ImageJ, or from the resolution tags; empty if unknown."""
    if file.ome_metadata:
        return _ome(file.ome_metadata)
    tags = file.pages.first.tags
    widths = [_width(tags.valueof(tag)) for tag in (283, 282)]  # YResolution, XResolution: pixels per unit
    if file.imagej_metadata:
        return pixel(widths[0], widths[1], file.imagej_metadata.get("unit", ""))
    unit = UNITS.get(tags.valueof(296) or 0, "")
    return pixel(widths[0], widths[1], unit) if unit and widths[1] * NM[unit] < PRINTED else {}


def _width(resolution: Any) -> float:
    return resolution[1] / resolution[0] if resolution and resolution[0] else 0.0


def _ome(xml: str) -> dict[str, tuple[float, ...]]:
    """Return the pixel size from the attributes of the element Pixels, whose default unit is um."""
    found = dict(re.findall(r'\b(PhysicalSize[XY](?:Unit)?)="([^"]*)"', xml))
    try:
        sizes = [float(found[f"PhysicalSize{axis}"]) for axis in "YX"]
    except (KeyError, ValueError):
        return {}
    units = {found.get(f"PhysicalSize{axis}Unit", "um") for axis in "YX"}
    return pixel(sizes[0], sizes[1], units.pop()) if len(units) == 1 else {}


def write(values: np.ndarray, card: ExportMetadata, known: Known) -> bytes:
    """Return a stack as a TIFF file that ImageJ reads, with the unit nm.

    A dtype that ImageJ cannot read is written as plain pages, with pixels per cm.

    Args:
        values: (..., y, x); all leading axes become pages.
        card: metadata of the field.
        known: pixel sizes.
    """
    images = values.reshape(-1, *values.shape[-2:]) if values.ndim > 2 else np.atleast_2d(values)
    step = tuple(known.get(name, known.get("sampling", (0.0,)))[0] for name in ("sampling_x", "sampling_y"))
    text, file = card.model_dump_json(), io.BytesIO()
    if values.dtype.name in IMAGEJ:
        metadata = {"axes": "ZYX"[-images.ndim :], "Info": text, **({"unit": "nm"} if all(step) else {})}
        tifffile.imwrite(file, images, imagej=True, metadata=metadata, **_resolution(step, 1.0))
    else:
        options = _resolution(step, NM["cm"])
        tifffile.imwrite(file, images, photometric="minisblack", description=text, metadata=None, **options)
    return file.getvalue()


def _resolution(step: tuple[float, ...], unit: float) -> dict[str, Any]:
    """Return the tags for pixels per unit [nm]; none if the pixel size is unknown, or more than a tag can hold."""
    if not all(step) or unit / min(step) > LARGEST:
        return {}
    return {"resolution": tuple(unit / length for length in step), **({"resolutionunit": 3} if unit > 1 else {})}
