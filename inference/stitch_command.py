"""`infer --stitch`: the predicted patches of whole scans as images, and how far these are the objects."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from matplotlib.image import imsave

from inference import scans, tuning
from inference.contract import Setting, Stitch, Value, find_stitch
from inference.offsets import LeastSquares
from inference.resolution import Resolution
from inference.source import Source
from inference.stitching import Iterative
from inference.whole_scans import worth
from schemas.errors import UserError
from schemas.objects import publish_alone

DRAWN = 16  # scans, at most

SETTINGS = {
    "method": Setting(
        "least squares over all overlaps, or the sweeps of the seed", "1", ("least_squares", "iterative")
    ),
    "alpha": Setting("iterative: step of a patch", "1", (Iterative.alpha,), least=0, most=2),
    "sweeps": Setting("iterative: through all patches", "1", (Iterative.sweeps,), least=1, whole=True),
    "seed": Setting("iterative: of the order of patches", "1", (Iterative.seed,), least=0, whole=True),
}


def chosen(texts: Sequence[str]) -> LeastSquares | Iterative:
    """How patches are stitched, from `key=value`. UserError for a setting that there is not."""
    given: Mapping[str, Value] = tuning.parse("stitching", SETTINGS, texts)
    alpha, sweeps, seed = (float(given.get(key, SETTINGS[key].values[0])) for key in ("alpha", "sweeps", "seed"))
    if given.get("method") == "iterative":
        return Iterative(alpha, int(sweeps), int(seed))
    if rest := sorted(given.keys() - {"method"}):
        raise UserError(f"--stitch-set {rest[0]}: is for method=iterative; give that, or leave it out")
    return LeastSquares()


def refuse_unstitched(source: Source) -> Stitch:
    """How the task's targets are patches of images. UserError if they are not, or the dataset has no scans."""
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
    if found and not out.exists():
        raise UserError(f"--stitch {out}: {found[0]} would be replaced; move it away, or choose another name")


def stitch(source: Source, predictions: Path, out: Path, method: LeastSquares | Iterative) -> list[str]:
    """Write the images, and beside them what they are worth; returns what is to be said of each.

    Images that are there are made anew: that takes seconds.
    """
    how = refuse_unstitched(source)
    where = how.scans(source.read(how.needs, 0, source.samples))
    images = scans.write(predictions, where, out, method, field=how.target, force=True)
    lines = [f"scan {one.scan}: {_about(one)}" for one in images.scans]
    _draw(out, how, images)
    if source.lacks([how.truth]):
        return lines
    found = _resolutions(out, images, where, source.read([how.truth], 0, 0)[how.truth], how)
    place = out.with_name(f"{out.name.removesuffix('.zarr')}-resolution.json")
    rows = [{"scan": one.scan, **asdict(row)} for one, row in zip(images.scans, found, strict=True)]
    publish_alone(place, json.dumps({"name": images.name, "scans": rows}, indent=1).encode())
    return [f"{line}; {_worth(row)}" for line, row in zip(lines, found, strict=True)] + [str(place)]


def _draw(out: Path, how: Stitch, images: scans.Images) -> None:
    """Pictures beside the store, pixel for pixel; black to white: the middle 99 % of values; transparent: no patch."""
    group: Any = zarr.open_group(out, mode="r")
    for row, one in enumerate(images.scans[:DRAWN]):
        values, picture = np.asarray(group[how.target][row]), BytesIO()
        low, high = np.nanquantile(values, (0.005, 0.995))
        imsave(picture, values, vmin=low, vmax=high, cmap="gray", format="png")
        publish_alone(out.with_name(f"{out.name.removesuffix('.zarr')}-{one.scan}.png"), picture.getvalue())


def _resolutions(
    out: Path, images: scans.Images, where: scans.Scans, truth: np.ndarray, how: Stitch
) -> list[Resolution]:
    group: Any = zarr.open_group(out, mode="r")
    y, x = (round(float((group[name][0] - where.zero) / where.sampling)) for name in ("y", "x"))
    return [
        worth(how, np.asarray(group[how.target][row]), (y, x), truth[one.scan], where.sampling)[1]
        for row, one in enumerate(images.scans)
    ]


def _about(one: scans.Stitched) -> str:
    parts = [f"{one.patches:,} patches"]
    parts += [f"{one.left_out:,} left out"] if one.left_out else []
    parts += [f"{one.components:,} parts without overlap"] if one.components > 1 else []
    parts += [f"misfit {one.misfit:.3g} rad"] if one.misfit is not None else []
    return ", ".join(parts)


def _worth(row: Resolution) -> str:
    if row.rms is None:
        return "too small to be compared with its object"
    half, seventh = ("undefined" if end is None else f"{end:.3g} / nm" for end in (row.half_bit, row.seventh))
    return f"rms {row.rms:.4f} rad, ring correlation to {half} (half bit), {seventh} (1/7 of halves)"
