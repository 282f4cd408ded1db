"""Estimate the settings of a detector chain from measured air, flat fields, dark fields and a solid disc.

    uv run python workflows/calibrate_detector.py htc2022_solid_disc_full.mat tooth.h5

The first file is the solid disc of the Helsinki Tomography Challenge 2022 (logarithm already taken), the second a
DXfile with flat and dark fields. `docs/detector.md` lists the results.
"""

import sys

import h5py
import numpy as np
import scipy.io
from scipy.optimize import least_squares

from physics.noise import modulation_transfer, neighbour_share

AIR = np.r_[2:40, 520:558]  # columns of the disc's sinogram that see air in all views
LAGS = 4


def correlations(noise):
    """Return correlations [1] along the last axis at 0 to 3 pixels."""
    covariances = [np.mean(noise[..., k:] * noise[..., : noise.shape[-1] - k]) for k in range(LAGS)]
    return np.array(covariances) / covariances[0]


def show(name, *values):
    """Print an estimate."""
    print(f"{name:60}", *(f"{number:.4g}" for value in values for number in np.atleast_1d(value)))


def show_disc(path):
    """Estimate photons, correlation, columns, air offset and hardening of the Helsinki scanner."""
    data = next(v for k, v in scipy.io.loadmat(path, simplify_cells=True).items() if not k.startswith("__"))
    sinogram, angles = data["sinogram"][:720].astype(float), np.deg2rad(data["parameters"]["angles"][:720])
    air = sinogram[:, AIR].mean(axis=0)
    jumps = np.diff(sinogram, n=2, axis=0) / 6**0.5  # second differences of views: noise without drift and object
    noise = np.stack([jumps[:, 2:40], jumps[:, 520:558]])
    found = correlations(noise)
    transfer = modulation_transfer((1, 560), correlation=found[1])
    show("air offset", air.mean())
    show("effective photons, 1/variance", 1 / noise.var())
    show("correlation at 0, 1, 2, 3 pixels", found)
    share = neighbour_share(found[1])
    show("setting correlation; correlation at 2 pixels with it", found[1], share**2 * np.sum(1 / np.mean(transfer**2)))
    show("setting photons, mean(MTF^2)/variance", np.mean(transfer**2) / noise.var())
    for first in (60, 160, 260):
        part = slice(first, first + 40)
        scaled = np.exp(sinogram[:, part].mean()) / jumps[:, part].var()
        show(f"effective photons from behind the disc, columns {first}-{first + 39}", scaled)
    show("columns: standard deviation in air, left and right", air[:38].std(), air[38:].std())
    bends = np.diff(sinogram.mean(axis=0), n=2) / 6**0.5  # of columns; a smooth object hardly bends
    show("setting rings, from second differences behind the disc", bends[100:460].std())
    drifts = [sinogram[:, side].reshape(12, 60, -1).mean(axis=(1, 2)) for side in (AIR[:38], AIR[38:])]
    show("drift: air in 12 parts of the scan, last minus first, per side", *(d[-1] - d[0] for d in drifts))
    show_hardening(sinogram, angles, air.mean())


def show_hardening(sinogram, angles, air):
    """Fit the disc of 70 mm [mm] in the fan beam of the Helsinki scanner."""
    source, width = 410.66, 0.2 * 410.66 / 553.74
    fan = np.arctan((np.arange(560) - 279.5) * width / source)
    foot = source * np.sin(fan)  # distance of a ray from the axis

    def misfit(x, radius=35.0):
        direction = angles[:, None] - fan
        distance = foot + x[2] - x[0] * np.cos(direction) - x[1] * np.sin(direction)
        length = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
        return (air + x[3] * length - x[4] * length**2 - sinogram)[::6].ravel()

    start = [0, 0, 0, 0.04, 1e-4]
    fit = least_squares(misfit, start, loss="soft_l1", f_scale=0.02)
    free = least_squares(lambda x: misfit(x[:5], x[5]), [*fit.x, 35.0], loss="soft_l1", f_scale=0.02)
    for name, x, error in (("35 mm", fit.x, misfit(fit.x)), ("fitted", free.x, misfit(free.x[:5], free.x[5]))):
        show(f"radius {name}: a1 [1/mm], a2 [1/mm^2], rms", x[3], x[4], np.sqrt(np.mean(error**2)))
        show("    setting hardening, a2/a1^2", x[4] / x[3] ** 2)
    show("fitted radius [mm]", free.x[5])


def show_flats(path):
    """Estimate offset, read noise, correlation, gain, pattern and drift from flat and dark fields of a DXfile."""
    with h5py.File(path) as file:
        flat, dark = (file["exchange"][name][:].astype(float) for name in ("data_white", "data_dark"))
    signal = flat.mean() - dark.mean()
    level = flat.mean(axis=(1, 2))
    steady = flat * (level.mean() / level)[:, None, None]
    noise = (steady - steady.mean(axis=0)) / np.sqrt(steady.mean(axis=0))
    found = correlations(noise)
    naive = (steady.var(axis=0, ddof=1) - dark.var(axis=0, ddof=1)).mean() / signal
    show("setting offset, setting read_noise [count]", dark.mean(), dark.var(axis=0, ddof=1).mean() ** 0.5)
    show("signal of the flat field [count]", signal)
    show("variance / signal [count]", naive)
    show("correlation at 0, 1, 2, 3 pixels", found)
    show("correlation of the two rows", np.mean(noise[:, 0] * noise[:, 1]) / np.mean(noise**2))
    wide = 1 + 2 * found[1:].sum()  # 1 / mean(MTF^2) along an axis: the noise at frequency 0
    show("noise at frequency 0, relative to that of a pixel, per axis", wide)
    show("setting gain, one and two axes [count]", naive * wide, naive * wide**2)
    show("photons, one and two axes", signal / (naive * wide), signal / (naive * wide**2))
    mean = flat.mean(axis=0)
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(21) / 21, "same"), 1, mean)
    show("setting pattern.variation", np.log(mean / smooth)[:, 20:-20].std())
    counted = (naive / signal / (flat.shape[1] * flat.shape[2]) * wide**2) ** 0.5
    show("flux from frame to frame; shot noise alone", level.std(ddof=1) / level.mean(), counted)


if __name__ == "__main__":
    show_disc(sys.argv[1])
    show_flats(sys.argv[2])
