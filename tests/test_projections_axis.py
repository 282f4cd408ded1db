"""The axis of rotation and the field of view of measured projections: tilted axes, half acquisitions, NXtomo."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import Command
from tests.physics.sinograms import angle_sets, sinogram
from tests.projection_files import ROWS, VIEWS, WIDTH, P, dxfile, imported, nxtomo

FULL = np.arange(72) * 5.0


def scan(path: str, integrals: np.ndarray, degrees: np.ndarray) -> None:
    """Write a DXfile of line integrals (angle, row, detector)."""
    beam = np.full_like(integrals[:1], 1e4)
    dxfile(path, data=beam * np.exp(-integrals), data_white=beam, data_dark=0 * beam, angles=degrees)


def test_rows_of_one_object_have_axes_on_a_line(dataset: Command) -> None:
    """Their own estimates would jitter, with rings; a row without an object has an axis, too."""
    rng, tilt, angles = np.random.default_rng(0), 0.1, np.deg2rad(FULL)
    rows = np.stack([sinogram(angles, WIDTH, 31 + tilt * row) for row in range(8)], axis=1)
    rows[:, 3] = 0
    rows = rows / rows.max() + 0.02 * rng.standard_normal((8, WIDTH)) + 0.01 * rng.standard_normal(rows.shape)
    scan("a.h5", rows, FULL)
    arrays, said = imported(dataset, "--from", "a.h5", "--set", "columns=keep")
    exact = 31 + tilt * np.arange(8) - (WIDTH - 1) / 2
    assert arrays["axis_offset"] == pytest.approx(exact, abs=0.05)
    assert np.diff(arrays["axis_offset"], 2) == pytest.approx(0, abs=1e-5)
    assert "in the first to 31.7" in said


@pytest.mark.parametrize("side", [1, -1])
def test_a_half_acquisition_has_the_whole_disc(side: int, dataset: Command) -> None:
    """The image and the disc reach to the farther end of the detector."""
    cut = 2 * sinogram(np.deg2rad(FULL), 100, 49.5)[:, None, :58]
    scan("a.h5", cut[..., ::side], FULL)
    arrays, said = imported(dataset, "--from", "a.h5")
    assert arrays["axis_offset"] == pytest.approx(side * (49.5 - 28.5), abs=0.05)
    assert "not certain" not in said
    assert arrays["field_of_view"].shape == (100, 100)
    assert arrays["field_of_view"].sum() == pytest.approx(np.pi * 50**2, rel=0.01)


@pytest.mark.parametrize(
    ("name", "settings", "radius"),
    [
        ("half", (), 30.5),  # half a turn: up to the nearer end of the detector
        ("half", ("image_size=40",), 20),
        ("half", ("pixel=2",), 15.25),
        ("full", ("image_size=64",), 32),
        ("full", ("image_size=80",), 33.5),
        ("full", ("image_size=80", "source_distance=64"), 33.5 / np.hypot(1, 33.5 / 64)),
        ("full", ("image_size=80", "range=0:90"), 30.5),
    ],
)
def test_the_disc_is_what_is_measured(name: str, settings: tuple[str, ...], radius: float, dataset: Command) -> None:
    degrees = np.rad2deg(angle_sets(VIEWS)[name])
    np.save("p.npy", P[:, 0].astype(np.float32))
    np.save("a.npy", degrees)
    options = ("log=taken", "center=30", *settings)
    arrays, _ = imported(dataset, "--from", "p.npy", "rotation=a.npy", "--set", *options)
    size = len(arrays["field_of_view"])
    distance = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2))
    assert np.array_equal(arrays["field_of_view"] == 1, distance <= radius)


def add(path: str, **values: object) -> None:
    with h5py.File(path, "a") as file:
        for name, value in values.items():
            file[f"entry/instrument/detector/{name}"] = value


@pytest.mark.parametrize(("size", "unit"), [(6.5e-6, "m"), (6.5, "um"), (6500.0, "nm")])
def test_nxtomo_states_the_width_of_a_pixel(size: float, unit: str, dataset: Command) -> None:
    nxtomo("a.nxs")
    add("a.nxs", x_pixel_size=size)
    with h5py.File("a.nxs", "a") as file:
        file["entry/instrument/detector/x_pixel_size"].attrs["units"] = unit
    arrays, _ = imported(dataset, "--from", "a.nxs", "--set", "pixel=2")
    assert arrays["sampling"] == pytest.approx([13_000] * ROWS)


@pytest.mark.parametrize("stated", [-5.0, 31.5 + 20])  # from the middle, or from the first pixel
def test_nxtomo_states_an_axis_that_is_used_if_the_views_show_none(stated: float, dataset: Command) -> None:
    nxtomo("a.nxs")
    add("a.nxs", x_rotation_axis_pixel_position=stated)
    arrays, said = imported(dataset, "--from", "a.nxs")
    place = 31.5 + stated if stated < 0 else stated
    assert arrays["axis_offset"] == pytest.approx(-1.3, abs=0.05)
    assert f"; the file states {place:.2f}" in said
    arrays, said = imported(dataset, "--from", "a.nxs", "--set", "center=33", out="given.zarr")
    assert arrays["axis_offset"].tolist() == [1.5] * ROWS
    with h5py.File("a.nxs", "a") as file:  # nothing but air, whose noise shows no axis
        data = file["entry/instrument/detector/data"]
        beam = data[1]
        data[2:47] = np.random.default_rng(0).normal(beam, 100, (45, *beam.shape))
    arrays, said = imported(dataset, "--from", "a.nxs", "--set", "log=take", out="air.zarr")
    assert arrays["axis_offset"] == pytest.approx(place - 31.5)
    assert f"{place:.2f}, which the file states, is used: check it" in said


def test_a_half_acquisition_needs_a_whole_turn(dataset: Command) -> None:
    nxtomo("a.nxs")
    for kind in ("Full", "Half"):
        add("a.nxs", field_of_view=kind)
        _, said = imported(dataset, "--from", "a.nxs", out=f"{kind}.zarr")
        assert ("states a half acquisition (field_of_view), but the views cover no whole turn" in said) == (
            kind == "Half"
        )
        with h5py.File("a.nxs", "a") as file:
            del file["entry/instrument/detector/field_of_view"]
    assert Path("Half.zarr").exists()


@pytest.mark.parametrize(("turn", "stated", "told"), [
    (360, 180, "the first and the last view are alike, as after a whole turn: are the angles 0:360?"),
    (180, 360, "the last view is the mirror image of the first, as after half a turn: are the angles 0:180?"),
    (360, 360, ""),
    (180, 180, ""),
])  # fmt: skip
def test_half_a_turn_stated_as_a_whole_one_is_told(turn: int, stated: int, told: str, dataset: Command) -> None:
    integrals = sinogram(np.deg2rad(np.linspace(0, turn, 61)), WIDTH, 33.0)[:, None]
    scan("a.h5", integrals / integrals.max(), np.linspace(0, stated, 61))
    _, said = imported(dataset, "--from", "a.h5")
    assert told in said
    assert ("are the angles" in said) == bool(told)


def test_line_integrals_that_no_beam_survives_are_told(dataset: Command) -> None:
    np.save("p.npy", 30 * P[:, 0] / P[:, 0].max())
    _, said = imported(dataset, "--from", "p.npy", "--set", "angles=0:176", "log=taken")
    assert "warning: line integrals up to 30, of which no beam would be left: are these counts (log=take)" in said
