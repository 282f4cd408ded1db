"""`infer --stitch`: the predicted patches of whole scans as images, and how far these are the objects."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from inference.contract import Setting, Stitch, Value, find_stitch
from inference.invert.source import Source
from inference.methods import tuning
from inference.stitching import store
from inference.stitching.compare import worth
from inference.stitching.image import Blend, Iterative, usual
from inference.stitching.resolution import Resolution
from schemas.runtime.errors import UserError
from schemas.runtime.publish import exists, publish_alone
from schemas.task import find_task

DRAWN = 16  # scans, at most

SETTINGS = {
    "method": Setting(
        "least squares over all overlaps, or the sweeps of the seed", "1", ("least_squares", "iterative")
    ),
    "alpha": Setting("iterative: step of a patch", "1", (Iterative.alpha,), least=0, most=2),
    "sweeps": Setting("iterative: through all patches", "1", (Iterative.sweeps,), least=1, whole=True),
    "seed": Setting("iterative: of the order of patches", "1", (Iterative.seed,), least=0, whole=True),
}


def chosen(texts: Sequence[str], free: str) -> Blend:
    """Return how patches are stitched, from `key=value`. UserError for a setting that there is not."""
    if texts and not free:
        raise UserError(f"--stitch-set {texts[0]}: these patches are averaged, nothing is free in them; leave it out")
    given: Mapping[str, Value] = tuning.parse("stitching", SETTINGS, texts)
    alpha, sweeps, seed = (float(given.get(key, SETTINGS[key].values[0])) for key in ("alpha", "sweeps", "seed"))
    if given.get("method") == "iterative":
        return Iterative(alpha, int(sweeps), int(seed))
    if rest := sorted(given.keys() - {"method"}):
        raise UserError(f"--stitch-set {rest[0]}: is for method=iterative; give that, or leave it out")
    return usual(free)


def refuse_unstitched(source: Source) -> Stitch:
    """Return how the task's targets are patches of images. UserError if they are not, or the dataset has no scans."""
    found = find_stitch(source.task.name)
    if found is None:
        raise UserError(f"--stitch: the targets of task {source.task.name} are no patches of larger images")
    if lacking := source.lacks(found.needs):
        raise UserError(f"--stitch: {source.path} has no whole scans (lacks {', '.join(lacking)}); generate some")
    return found


def refuse_pictures(out: Path) -> None:
    """Raise UserError if files beside the place of new images have the names of those that are made with them."""
    stem = glob.escape(out.name.removesuffix(".zarr"))
    found = [*out.parent.glob(f"{stem}-resolution.json"), *out.parent.glob(f"{stem}-[0-9]*.png")]
    if found and not exists(out):
        raise UserError(f"--stitch {out}: {found[0]} would be replaced; move it away, or choose another name")


def stitch(source: Source, predictions: Path, out: Path, method: Blend) -> list[str]:
    """Write the images, and beside them what they are worth; returns what is to be said of each.

    Images that are there are made anew: that takes seconds.
    """
    how = refuse_unstitched(source)
    where = how.scans(source.read(how.needs, 0, source.samples))
    images = store.write(predictions, where, out, method, field=how.target)
    truth = None if source.lacks([how.truth]) else source.read([how.truth], 0, 0)[how.truth]
    stem = out.name.removesuffix(".zarr")
    units = find_task(source.task.name)[how.target].units  # measurements have no targets
    unit = "" if units == "1" else f" {units}"
    lines: list[str] = []
    rows: list[dict[str, Any]] = []
    for one, first, image in store.read_each(out, images, where, how.target):
        if len(lines) < DRAWN:
            publish_alone(out.with_name(f"{stem}-{one.scan}.png"), _picture(image))
        lines.append(f"scan {one.scan}: {_about(one, unit)}")
        if truth is not None:
            found = worth(how, image, first, truth[one.scan], where.sampling)[1]
            rows.append({"scan": one.scan, **asdict(found)})
            lines[-1] += f"; {_worth(found, unit)}"
    if truth is not None:
        place = out.with_name(f"{stem}-resolution.json")
        publish_alone(place, json.dumps({"name": images.name, "scans": rows}, indent=1).encode())
        lines.append(str(place))
    return lines


def _picture(image: np.ndarray) -> bytes:
    """Pixel for pixel; black to white: the middle 99 % of values; transparent: no patch."""
    drawn = BytesIO()
    low, high = np.nanquantile(image, (0.005, 0.995))
    imsave(drawn, image, vmin=low, vmax=high, cmap="gray", format="png")
    return drawn.getvalue()


def _about(one: store.Stitched, unit: str) -> str:
    parts = [f"{one.patches:,} patches"]
    parts += [f"{one.left_out:,} left out"] if one.left_out else []
    parts += [f"{one.components:,} parts without overlap"] if one.components > 1 else []
    parts += [f"misfit {one.misfit:.3g}{unit}"] if one.misfit is not None else []
    return ", ".join(parts)


def _worth(row: Resolution, unit: str) -> str:
    if row.rms is None:
        return "too small to be compared with its object"
    half, seventh = ("undefined" if end is None else f"{end:.3g} / nm" for end in (row.half_bit, row.seventh))
    return f"rms {row.rms:.4f}{unit}, ring correlation to {half} (half bit), {seventh} (1/7 of halves)"
