"""List the Matthews correlation of each method with the official masks of measured discs, by range of views.

    table.py FOLDER CHALLENGE

The discs of set a are scored as the challenge does it: with 512 x 512 pixels, in the direction of the official mask.
Those of the training set are turned and cut at twelve starts; this is the mean of their correlations in the report.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy.io
import zarr
from scipy.ndimage import map_coordinates

METHODS = "unet", "tv", "sirt", "fbp"
LENGTHS = 90, 80, 70, 60, 50, 40, 30


def turned_back(mask: np.ndarray, start: float, size: int = 512) -> np.ndarray:
    """Return a mask (y, x) of which the first view was turned to angle 0, in the direction of the official masks.

    Args:
        mask: 0 or 1.
        start: angle of the first view [rad].
        size: pixels of the result along each side.
    """
    place = (np.arange(size) - (size - 1) / 2) * len(mask) / size
    y, x = np.meshgrid(place[::-1], place, indexing="ij")  # y points up in the official masks
    there = np.stack([y * np.cos(start) - x * np.sin(start), x * np.cos(start) + y * np.sin(start)])
    return map_coordinates(mask.astype(float), there + (len(mask) - 1) / 2, order=1, mode="nearest") >= 0.5


def official_score(folder: Path, challenge: Path, level: int, method: str) -> float:
    """Return the Matthews correlation of a disc of set a with its official mask."""
    name = f"htc2022_0{level}a"
    scan = scipy.io.loadmat(challenge / f"test_a/{name}_limited.mat", simplify_cells=True)
    start = np.deg2rad(scan["CtDataLimited"]["parameters"]["angles"][0])
    mask = zarr.open_array(folder / f"a-{LENGTHS[level - 1]}/{method}.zarr/mask", mode="r")[0]
    official = scipy.io.loadmat(challenge / f"test_a/{name}_recon_fbp_seg.mat")["reconFullFbpSeg"] > 0
    return float(np.corrcoef(turned_back(mask, start).ravel(), official.ravel())[0, 1])  # which it is for two classes


def mean_score(folder: Path, length: int, method: str) -> float:
    """Return the mean correlation of the discs of the training set."""
    found = json.loads((folder / f"t-{length}/metrics.json").read_text())["methods"][method]
    return float(found["metrics"]["mcc"]["mean"])


if __name__ == "__main__":
    folder, challenge = map(Path, sys.argv[1:])
    print("range [degree]    ", *(f"{length:6}" for length in LENGTHS))
    for method in METHODS:
        print(f"set a,    {method:8}", *(f"{official_score(folder, challenge, n, method):6.3f}" for n in range(1, 8)))
        print(f"training, {method:8}", *(f"{mean_score(folder, length, method):6.3f}" for length in LENGTHS))
