"""Choose the settings of a method that image each scan best, on scans that serve no other purpose.

    tuned.py runs METHOD FOLDER                 list the runs that the test scans need: name, tab, settings
    tuned.py table METRICS FOLDER METHOD ...    list the mean ring correlation of each test scan with its settings

FOLDER/METHOD holds the files that `infer --stitch SETTINGS-image.zarr` writes beside its images, for all settings
tried. If there are several scans, each gets the settings with the highest mean ring correlation of the tuning scan in
its place. A single scan is inverted twice: as METHOD with these settings, and as METHOD_rms with those of least error
in rad.
"""

import json
import sys
from pathlib import Path

END = "-image-resolution.json"


def chosen(folder: Path) -> list[str]:
    """Return the settings with the highest mean ring correlation, one entry per scan."""
    tried = _tried(folder)
    scans = range(len(next(iter(tried.values()))))
    return [max(tried, key=lambda name: tried[name][i]["mean"]) for i in scans]


def runs(method: str, folder: Path) -> dict[str, str]:
    """Return the chosen settings, each once, with the name of their run."""
    best = chosen(folder)
    if len(best) > 1:
        return {settings: f"{method} {settings}" for settings in best}
    tried = _tried(folder)
    return {min(tried, key=lambda name: tried[name][0]["rms"]): f"{method}_rms", best[0]: method}


def table(metrics: Path, folder: Path, methods: list[str]) -> list[str]:
    """Return one line per test scan: fluence, overlap, and the mean ring correlation by each method."""
    found = json.loads(metrics.read_text())["methods"]
    names = {method: [f"{method} {one}" for one in chosen(folder / method)] for method in methods}
    others = {name: [name] * len(one["scans"]) for name, one in found.items() if one["method"] not in methods}
    lines = []
    for i, row in enumerate(next(iter(found.values()))["scans"]):
        scores = [f"{used[i]}: {found[used[i]]['scans'][i]['frc_mean']:.3f}" for used in (others | names).values()]
        lines.append(f"fluence {row['fluence']:.2g}, overlap {row['overlap']:.2f}: {'; '.join(scores)}")
    return lines


def _tried(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return the scores of each scan, by the settings."""
    return {
        path.name.removesuffix(END): json.loads(path.read_text())["scans"] for path in sorted(folder.glob(f"*{END}"))
    }


if __name__ == "__main__":
    what, first, second, *rest = sys.argv[1:]
    if what == "runs":
        print(*(f"{name}\t{settings}" for settings, name in runs(first, Path(second, first)).items()), sep="\n")
    else:
        print(*table(Path(first), Path(second), rest), sep="\n")
