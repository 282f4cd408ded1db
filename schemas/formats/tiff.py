"""TIFF files: one image or a stack of pages, with the pixel size of ImageJ, of OME or of the resolution tags."""

import io
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from schemas.formats.axis_order import Axis
from schemas.formats.export_metadata import ExportMetadata
from schemas.formats.image import Known, choose_array, refuse_large
from schemas.formats.pixel_sizes import MIN_PRINTED_WIDTH, NM_PER_UNIT
from schemas.formats.stated import Stated
from schemas.runtime.errors import UserError

NAME = "TIFF"
SUFFIX = ".tif"
UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}  # values of the tag ResolutionUnit
MAX_TAG_NUMBER = 2**32 - 1  # largest number in a tag
IMAGEJ_DTYPES = {"uint8", "uint16", "float32"}  # the dtypes that ImageJ reads
REDUCED_BIT, MASK_BIT = 1, 4  # bits of the tag NewSubfileType
STRAIGHT_LINE, NO_CALIBRATION = 0, 20  # ImageJ's numbers of calibration functions
ORIENTATION_TAG, UPRIGHT = 274, 1
CHANNEL, CHANNEL_MODES = "C", ("composite", "color")  # axis of channels, and modes in which ImageJ shows them
WORDLESS_IMAGEJ = "1.11a"  # version that tifffile states; to it, images of a stack without named axes are channels
DIGITAL_MICROGRAPH_TAGS = (65024, 65025)  # origin and scale of the grey values
NODATA_TAG = 42113  # tag of GDAL

type Series = tifffile.TiffPageSeries


def read(path: Path, inner: str) -> Stated:
    """Read the only series of a TIFF file, the named one, or one image.

    Thumbnails and other reduced images are left out, unless they are named. Of series that name other files (OME,
    NDTiff, Micro-Manager), only the pages of this file are read.

    Args:
        path: the file.
        inner: name of a series, or number of an image in the file, counted from 0; empty: the only series.

    Raises:
        UserError: there is no such series, or more than one, or the file is truncated, or its grey values have a
            meaning that is not understood.
    """
    with tifffile.TiffFile(path, _multifile=False, is_ndtiff=False, is_mmstack=False) as file:
        series = _named_series(file)
        number = int(inner) if inner.isascii() and inner.isdigit() and inner not in series else None
        if number is not None:
            chosen, number = _series_of_image(path, file, number)
        else:
            chosen = series[choose_array(path, inner, {name: one.shape for name, one in series.items()})]
        refuse_large(path, chosen.shape, chosen.dtype.itemsize)
        _refuse_short(path, file, chosen)
        _refuse_tags(path, chosen.keyframe)
        values = chosen.asarray()
        colours = chosen.axes.endswith("S")  # tifffile itself stores a stack of three images with S as the first axis
        if number is not None:
            values = values.reshape(-1, *chosen.keyframe.shape)[number]
        card = _read_export_metadata(file)
        scale, offset = _calibration(path, chosen.keyframe, file.imagej_metadata or {})
        return Stated(
            values,
            (*_leading_axes(file, chosen, values.ndim), *_sizes(file, chosen))
            if values.ndim > 1 and not colours
            else (),
            card.known() if card else {},
            scale,
            offset,
            _undefined(chosen.keyframe),
            tuple(card.axes) if card and number is None else (),
            colours=colours,
        )


def _named_series(file: tifffile.TiffFile) -> dict[str, Series]:
    """Return the series by name, or by number if names are missing or repeat; without reduced images and masks."""
    full = [one for one in file.series if not one.keyframe.subfiletype & (REDUCED_BIT | MASK_BIT)] or list(file.series)
    names = [one.name for one in full]
    return {
        one.name if one.name and names.count(one.name) == 1 and one.kind == "ome" else f"series{index}": one
        for index, one in enumerate(full)
    }


def _series_of_image(path: Path, file: tifffile.TiffFile, number: int) -> tuple[Series, int]:
    """Return the series that holds an image of the file, and the number of the image in this series."""
    for one in file.series:
        indices = [page.index for page in one.pages if page is not None]
        if number in indices:
            return one, indices.index(number)
    one, count = file.series[0], sum(len(one.pages) for one in file.series)
    if len(file.series) == 1:  # ImageJ may store all images of a stack behind one page
        count = one.size // max(math.prod(one.keyframe.shape), 1)
    if number < count and len(file.series) == 1:
        return one, number
    raise UserError(f"{path}:{number}: holds {count} images; give a number from 0 to {count - 1}")


def _refuse_short(path: Path, file: tifffile.TiffFile, series: Series) -> None:
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


def _leading_axes(file: tifffile.TiffFile, series: Series, rank: int) -> list[Axis]:
    """Return the axes before y and x. An axis of channels has a name only if the file describes the channels.

    Writers call the axis C in any stack that has been given to them without a word. ImageJ itself never does.
    """
    imagej = file.imagej_metadata or {}
    counted = imagej.get("channels", 1) != 1 and imagej.get("ImageJ") != WORDLESS_IMAGEJ
    channels = counted or imagej.get("mode") in CHANNEL_MODES or bool(_ome_channels(file))
    names = series.axes[:-2] if channels and len(series.axes) == rank else ""
    return [Axis(name if name == CHANNEL else "") for name in names.ljust(rank - 2)]


def _ome_channels(file: tifffile.TiffFile) -> list[ET.Element]:
    """Return the channels that OME describes by a name, a colour or a wavelength."""
    try:
        found = ET.fromstring(file.ome_metadata or "").findall("{*}Image/{*}Pixels/{*}Channel")
    except ET.ParseError:
        return []
    return [one for one in found if set(one.keys()) - {"ID", "SamplesPerPixel"}]


def _refuse_tags(path: Path, page: Any) -> None:
    """Refuse grey values that grow from white to black or whose zero is unclear, and turned or mirrored images."""
    if (page_turn := page.tags.valueof(ORIENTATION_TAG) or UPRIGHT) != UPRIGHT:
        rule = "its rows and columns are not stored from the top left; save it upright (Orientation 1)"
        raise UserError(f"{path}: its tag Orientation is {page_turn}: {rule}")
    if (origin := _digital_micrograph_calibration(page)[0]) != 0:
        rule = f"its grey values are calibrated by DigitalMicrograph with the origin {origin:g}"
        raise UserError(f"{path}: {rule}; give its DM4 file, or the calibrated values")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise UserError(f"{path}: its tags say that 0 is white; save it with 0 as black (MinIsBlack)")


def _digital_micrograph_calibration(page: Any) -> tuple[float, float]:
    """Return the grey value of the calibrated value 0, and the scale; 0 and 1 if the tags do not state them."""
    origin, scale = (float(np.ravel(page.tags.valueof(tag, 0))[0]) for tag in DIGITAL_MICROGRAPH_TAGS)
    return origin, scale or 1.0


def _calibration(path: Path, page: Any, imagej: Mapping[str, Any]) -> tuple[float, float]:
    """Return scale and offset of the grey values, as ImageJ or DigitalMicrograph state them. Refuse other functions."""
    if (function := imagej.get("cf", NO_CALIBRATION)) == NO_CALIBRATION:
        return _digital_micrograph_calibration(page)[1], 0.0
    if function != STRAIGHT_LINE or not {"c0", "c1"} <= imagej.keys():
        raise UserError(
            f"{path}: its grey values are calibrated by ImageJ's function number {function}, which is not a straight "
            "line; apply it in ImageJ (Process > Math > Macro), remove it (Analyze > Calibrate, None), and save again"
        )
    return float(imagej["c1"]), float(imagej["c0"])


def _undefined(page: Any) -> tuple[float, ...]:
    """Return the grey value of pixels without a measurement, if GDAL's tag states one."""
    try:
        return (float(str(page.tags.valueof(NODATA_TAG)).strip("\0 ")),)
    except ValueError:
        return ()


def _read_export_metadata(file: tifffile.TiffFile) -> ExportMetadata | None:
    imagej = file.imagej_metadata or {}
    return ExportMetadata.parse(str(imagej.get("Info", ""))) or ExportMetadata.parse(
        str(file.pages.first.tags.valueof(270) or "")
    )


def _sizes(file: tifffile.TiffFile, series: Series) -> tuple[Axis, Axis]:
    """Return the axes y and x with the pixel size of OME, of ImageJ or of the resolution tags."""
    return (_ome_sizes(file, series) if file.is_ome else None) or _tagged_sizes(file, series.keyframe)


def _tagged_sizes(file: tifffile.TiffFile, page: Any) -> tuple[Axis, Axis]:
    """Return the axes y and x from the resolution tags, in the unit of ImageJ or of the tag."""
    y, x = (_width(page.tags.valueof(tag)) for tag in (283, 282))  # YResolution, XResolution: pixels per unit
    if imagej := file.imagej_metadata:
        unit = str(imagej.get("unit", ""))
        return Axis("", y, str(imagej.get("yunit", unit))), Axis("", x, unit)
    unit = UNITS.get(page.tags.valueof(296) or 0, "")
    usable = unit and x * NM_PER_UNIT[unit] < MIN_PRINTED_WIDTH
    return Axis("", y if usable else None, unit), Axis("", x if usable else None, unit)


def _width(resolution: Any) -> float:
    return resolution[1] / resolution[0] if resolution and resolution[0] else 0.0


def _ome_sizes(file: tifffile.TiffFile, series: Series) -> tuple[Axis, Axis] | None:
    """Return the axes y and x from the element Pixels of the series; the default unit is um."""
    try:
        images = ET.fromstring(file.ome_metadata or "").findall("{*}Image")
    except ET.ParseError:
        return None
    index = next((i for i, one in enumerate(file.series) if one is series), 0)
    named = [image for image in images if image.get("Name", "") == series.name]
    image = named[0] if len(named) == 1 else images[index] if index < len(images) else None
    pixels = image.find("{*}Pixels") if image is not None else None
    if pixels is None:
        return None
    y, x = (
        Axis("", _number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "um"))
        for axis in "YX"
    )
    return y, x


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


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
    if values.dtype.name in IMAGEJ_DTYPES:
        metadata = {"axes": "ZYX"[-images.ndim :], "Info": text, **({"unit": "nm"} if all(step) else {})}
        tifffile.imwrite(file, images, imagej=True, metadata=metadata, **_resolution(step, 1.0))
    else:
        options = _resolution(step, NM_PER_UNIT["cm"])
        tifffile.imwrite(file, images, photometric="minisblack", description=text, metadata=None, **options)
    return file.getvalue()


def _resolution(step: tuple[float, ...], unit: float) -> dict[str, Any]:
    """Return the tags for pixels per unit [nm]; none if the pixel size is unknown, or more than a tag can hold."""
    if not all(step) or unit / min(step) > MAX_TAG_NUMBER:
        return {}
    return {"resolution": tuple(unit / length for length in step), **({"resolutionunit": 3} if unit > 1 else {})}
