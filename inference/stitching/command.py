"""Stitch the predicted patches of whole scans to images, and compare these with their objects (`infer --stitch`)."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from inference.contract import Setting, Stitch, Value
from inference.invert.split_reader import Source
from inference.methods import tuning
from inference.stitching import store
from inference.stitching.comparison import resolution_of
from inference.stitching.resolution import Resolution
from inference.stitching.stitched_image import Blend, Iterative, default_method
from inference.task_modules import find_stitch
from schemas.runtime.errors import UserError
from schemas.runtime.publish import exists, publish_alone
from schemas.runtime.terminal import count_text
from schemas.task import find_task

MAX_PICTURES = 16  # maximum number of scans that are drawn as PNG files

SETTINGS = {
    "method": Setting(
        "least squares over all overlaps, or iterative sweeps as published", "1", ("least_squares", "iterative")
    ),
    "alpha": Setting("iterative: step of a patch", "1", (Iterative.alpha,), minimum=0, maximum=2),
    "sweeps": Setting("iterative: sweeps through all patches", "1", (Iterative.sweeps,), minimum=1, whole=True),
    "seed": Setting("iterative: seed of the order of patches", "1", (Iterative.seed,), minimum=0, whole=True),
}


def choose_method(texts: Sequence[str], free: str) -> Blend:
    """Return the stitching method that the user chose.

    Args:
        texts: settings as `key=value`.
        free: as in `Stitch`.

    Raises:
        UserError: there is no such setting, or it has no effect.
    """
    if texts and not free:
        raise UserError(f"--stitch-set {texts[0]}: these patches are averaged, without any settings; leave it out")
    given: Mapping[str, Value] = tuning.parse("stitching", SETTINGS, texts)
    alpha, sweeps, seed = (float(given.get(key, SETTINGS[key].values[0])) for key in ("alpha", "sweeps", "seed"))
    if given.get("method") == "iterative":
        return Iterative(alpha, int(sweeps), int(seed))
    if rest := sorted(given.keys() - {"method"}):
        raise UserError(f"--stitch-set {rest[0]}: is for method=iterative; give that as well, or leave it out")
    return default_method(free)


def required_stitch(source: Source) -> Stitch:
    """Return the rule by which the targets of a task are stitched.

    Args:
        source: the split whose patches are stitched.

    Raises:
        UserError: the targets are not patches of larger images, or the dataset has no whole scans.
    """
    found = find_stitch(source.task.name)
    if found is None:
        raise UserError(f"--stitch: the targets of task {source.task.name} are not patches of larger images")
    if lacking := source.lacks(found.needs):
        raise UserError(f"--stitch: {source.path} has no whole scans (lacks {', '.join(lacking)}); give another --data")
    return found


def refuse_pictures(out: Path) -> None:
    """Refuse a place whose neighbours would be replaced.

    Args:
        out: the place of new images.

    Raises:
        UserError: files beside it have the names of the pictures and scores that are written with the images.
    """
    stem = glob.escape(out.name.removesuffix(".zarr"))
    found = [*out.parent.glob(f"{stem}-resolution.json"), *out.parent.glob(f"{stem}-[0-9]*.png")]
    if found and not exists(out):
        raise UserError(f"--stitch {out}: {found[0]} would be replaced; move it away or choose another name")


def stitch(source: Source, predictions: Path, out: Path, method: Blend) -> list[str]:
    """Write stitched images, with pictures and their resolution beside them.

    Existing images are stitched again, which takes seconds.

    Args:
        source: the split whose patches are stitched.
        predictions: the store of the predicted patches.
        out: the store of the images.
        method: the stitching method.

    Returns:
        A line about each scan, for the terminal.

    Raises:
        UserError: `out` holds something else, or the predictions do not fit the dataset.
    """
    how = required_stitch(source)
    where = how.scans(source.read(how.needs, 0, source.samples))
    images = store.write(predictions, where, out, method, field=how.target)
    truth = None if source.lacks([how.truth]) else source.read([how.truth], 0, 0)[how.truth]
    stem = out.name.removesuffix(".zarr")
    # The unit is taken from the task, because datasets of measurements have no targets.
    units = find_task(source.task.name)[how.target].units
    unit = "" if units == "1" else f" {units}"
    lines: list[str] = []
    rows: list[dict[str, Any]] = []
    for stitched, first, image in store.read_stored(out, images, where, how.target):
        if len(lines) < MAX_PICTURES:
            publish_alone(out.with_name(f"{stem}-{stitched.scan}.png"), _png_picture(image))
        lines.append(f"scan {stitched.scan}: {_scan_text(stitched, unit)}")
        if truth is not None:
            frequencies = resolution_of(how, image, first, truth[stitched.scan], where.sampling)[1]
            rows.append({"scan": stitched.scan, **asdict(frequencies)})
            lines[-1] += f"; {_resolution_text(frequencies, unit)}"
    if truth is not None:
        path = out.with_name(f"{stem}-resolution.json")
        publish_alone(path, json.dumps({"name": images.name, "scans": rows}, indent=1).encode())
        lines.append(str(path))
    return lines


def _png_picture(image: np.ndarray) -> bytes:
    """Return an image as PNG, pixel for pixel. The middle 99 % of values span the grey scale; NaN is transparent."""
    drawn = BytesIO()
    low, high = np.nanquantile(image, (0.005, 0.995))
    imsave(drawn, image, vmin=low, vmax=high, cmap="gray", format="png")
    return drawn.getvalue()


def _scan_text(one: store.Stitched, unit: str) -> str:
    parts = [count_text(one.patches, "patch")]
    parts += [f"{one.left_out:,} left out"] if one.left_out else []
    parts += [f"{one.components:,} parts without overlap"] if one.components > 1 else []
    parts += [f"misfit {one.misfit:.3g}{unit}"] if one.misfit is not None else []
    return ", ".join(parts)


def _resolution_text(row: Resolution, unit: str) -> str:
    if row.rms is None:
        return "too small to be compared with its object"
    half, seventh = ("undefined" if end is None else f"{end:.3g} / nm" for end in (row.half_bit, row.seventh))
    return f"rms {row.rms:.4f}{unit}, ring correlation up to {half} (half bit), {seventh} (threshold 1/2)"
