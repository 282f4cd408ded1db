"""Centre of rotation: exact sinograms whose axis is known, and measured ones; never wrong without a doubt."""

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from physics.tomography.corrections import fill_columns, find_dead_columns, line_integrals, transmission
from physics.tomography.rotation_axis import find_axis, from_consistency, from_opposite_views, is_truncated
from tests.conftest import DATA
from tests.physics.sinograms import angle_sets, sinogram

measured = pytest.mark.skipif(not (DATA / "tomo").exists(), reason="measured sinograms lie in ../shared/data: absent")


@pytest.mark.parametrize("name", angle_sets(4))
@pytest.mark.parametrize(("width", "count", "centre"), [(96, 61, 51.37), (97, 40, 42.0), (128, 75, 70.5)])
@pytest.mark.parametrize("smooth", [True, False])
def test_known_axis(name: str, width: int, count: int, centre: float, *, smooth: bool) -> None:
    found = find_axis(sinogram(angle_sets(count)[name], width, centre, smooth=smooth), angle_sets(count)[name])
    assert found.certain
    assert found.centre == pytest.approx(centre, abs=0.05)
    assert abs(found.centre - centre) < max(5 * found.uncertainty, 0.01)


@pytest.mark.parametrize("name", angle_sets(4))
def test_uncertainty_covers_the_error_of_noisy_views(name: str) -> None:
    """The error in units of the stated uncertainty is of the order of 1, and no certain estimate is far off."""
    rng, errors = np.random.default_rng(0), []
    angles = angle_sets(60)[name]
    for _ in range(12):
        centre = 63.5 + rng.uniform(-15, 15)
        exact = sinogram(angles, 128, centre)
        found = find_axis(exact + 0.05 * exact.max() * rng.standard_normal(exact.shape), angles)
        assert not found.certain or abs(found.centre - centre) < max(4 * found.uncertainty, 0.1)
        errors.append((found.centre - centre) / found.uncertainty)
    assert 0.1 < np.sqrt(np.mean(np.square(errors))) < 2.5


@pytest.mark.parametrize(("noise", "rings"), [(0.003, 0.03), (0.02, 0.05), (0.05, 0.0)])
def test_uncertainty_covers_the_error_of_views_with_rings(noise: float, rings: float) -> None:
    """At least 90 % of the certain estimates lie within two standard deviations, and all within five."""
    rng, errors = np.random.default_rng(0), []
    for angles in (angle_sets(60)[name] for name in ("half", "both ends", "golden", "full", "golden full")):
        for index in range(24):
            centre = 47.5 + rng.uniform(-12, 12)
            exact = sinogram(angles, 96, centre, smooth=index % 2 == 0)
            stripes = rings * rng.standard_normal(96)
            found = find_axis(exact + exact.max() * (stripes + noise * rng.standard_normal(exact.shape)), angles)
            if found.certain:
                errors.append(abs(found.centre - centre) / found.uncertainty)
    assert len(errors) > 60
    assert max(errors) < 5
    assert np.mean(np.array(errors) <= 2) >= 0.9


@pytest.mark.parametrize("name", ["full", "golden full"])
@pytest.mark.parametrize("overlap", [0.06, 0.1, 0.2])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_half_acquisition(name: str, overlap: float, noise: float) -> None:
    """The axis lies near an end of the detector, so that opposite views share few pixels."""
    angles, rng = angle_sets(180)[name], np.random.default_rng(0)
    width = round(100 / (1 - overlap / 2))
    cut = sinogram(angles, 200, 99.3)[:, :width]
    for views, centre in ((cut, 99.3), (cut[:, ::-1], width - 1 - 99.3)):
        found = find_axis(views + noise * cut.max() * rng.standard_normal(cut.shape), angles)
        assert found.certain
        assert found.centre == pytest.approx(centre, abs=max(4 * found.uncertainty, 0.05))


def test_the_two_methods_agree_without_sharing_anything() -> None:
    angles = angle_sets(60)["full"]
    exact = sinogram(angles, 101, 44.2, smooth=True)[None]
    pairs = from_opposite_views(exact, angles)
    assert pairs is not None
    assert pairs.centre == pytest.approx(44.2, abs=2e-3)
    assert from_consistency(exact, angles).centre == pytest.approx(44.2, abs=2e-3)


def test_error_falls_with_noise() -> None:
    """The error of least squares is proportional to the noise."""
    angles = angle_sets(60)["half"]
    exact, noise = sinogram(angles, 101, 44.2, smooth=True), np.random.default_rng(5).standard_normal((60, 101))
    none, half, full = (from_consistency((exact + level * noise)[None], angles).centre for level in (0, 5e-4, 1e-3))
    assert (full - none) / (half - none) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("centre", [63.5, 55.2])
def test_fan_beam(centre: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 181)
    found = find_axis(sinogram(angles, 128, centre, source_distance=300), angles, 300)
    assert found.certain
    assert found.centre == pytest.approx(centre, abs=0.05)
    short = angles[:60]
    assert "no opposite views" in find_axis(sinogram(short, 128, centre, source_distance=300), short, 300).doubt


def test_truncated_view() -> None:
    """Opposite views show the axis of an object that reaches beyond the detector; also if the axis is near its end."""
    angles = angle_sets(90)["full"]
    whole = sinogram(angles, 160, 75.3)
    for first, last in ((40, 110), (0, 100), (50, 160)):
        cut = whole[:, first:last]
        assert is_truncated(cut)
        found = find_axis(cut, angles)
        assert found.certain
        assert found.centre == pytest.approx(75.3 - first, abs=0.1)


@pytest.mark.parametrize("name", angle_sets(4))
@pytest.mark.parametrize("centre", [-30.0, -8.0, 130.0, 150.0])
def test_axis_off_the_detector_is_never_found_with_certainty(name: str, centre: float) -> None:
    angles = angle_sets(50)[name]
    views = sinogram(angles, 128, centre, field=128)
    views += 0.01 * views.max() * np.random.default_rng(0).standard_normal(views.shape)
    assert not find_axis(views, angles).certain


def test_sectors_without_information_are_doubtful() -> None:
    angles, rng = np.arange(40) * np.pi / 240, np.random.default_rng(0)
    exact = sinogram(angles, 128, 60.0)
    assert not find_axis(exact + 0.05 * exact.max() * rng.standard_normal(exact.shape), angles).certain
    assert not find_axis(rng.standard_normal((60, 128)), angle_sets(60)["full"]).certain
    assert not find_axis(np.ones((60, 128)), angle_sets(60)["full"]).certain
    assert not find_axis(exact[:1], angles[:1]).certain


def test_several_slices_share_the_axis() -> None:
    angles = angle_sets(60)["half"]
    empty, full = np.zeros((60, 96)), sinogram(angles, 96, 40.25)
    assert find_axis(np.stack([empty, full]), angles).centre == pytest.approx(40.25, abs=0.02)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="3 angles for 4 views; give one angle per view"):
        find_axis(np.ones((4, 9)), np.arange(3.0))
    with pytest.raises(ValueError, match="not finite"):
        find_axis(np.full((4, 9), np.nan), np.arange(4.0))


@measured
def test_tooth() -> None:
    with h5py.File(DATA / "tomo/tooth.h5") as file:
        counts, flats, darks = (file[f"exchange/{name}"][...] for name in ("data", "data_white", "data_dark"))
        angles = np.deg2rad(file["exchange/theta"][...])
    found = find_axis(line_integrals(np.moveaxis(transmission(counts, flats, darks), 1, 0)), angles)
    assert found.certain
    assert found.centre == pytest.approx(296.0, abs=0.5)


@measured
def test_neutrons() -> None:
    """Two dead columns are found; the axis is found from both halves of the turn alone as from all of it."""
    counts = tifffile.imread(DATA / "tomo/sinogram_360_neutron_image.tif").astype(np.float32)
    dead, angles = find_dead_columns(counts), np.linspace(0, 2 * np.pi, 459)
    assert np.flatnonzero(dead).tolist() == [314, 346]
    whole = line_integrals(fill_columns(counts, dead) / 47000)
    found = find_axis(whole, angles)
    assert found.certain
    assert found.centre == pytest.approx(244.93, abs=0.1)
    assert find_axis(whole[:230], angles[:230]).centre == pytest.approx(found.centre, abs=0.5)
    assert find_axis(whole[:, 130:380], angles).centre == pytest.approx(found.centre - 130, abs=0.2)


@measured
def test_fan_of_a_disc() -> None:
    """A flat fan beam of known geometry: the axis lies at the middle of the detector, as its makers aimed at."""
    stored = scipy.io.loadmat(DATA / "htc2022/training/htc2022_ta_full.mat", simplify_cells=True)["CtDataFull"]
    known = stored["parameters"]
    distance = known["distanceSourceOrigin"] / known["effectivePixelSizePost"]
    found = find_axis(stored["sinogram"], np.deg2rad(known["angles"].astype(float)), distance)
    assert found.certain
    assert found.centre == pytest.approx(279.5, abs=0.3)


@pytest.mark.parametrize("degrees", [30, 90, 140])
def test_a_limited_range_gives_an_estimate_and_a_doubt(degrees: float) -> None:
    angles = np.deg2rad(np.linspace(0, degrees, 61))
    found = find_axis(sinogram(angles, 128, 58.3, smooth=True), angles)
    assert found.centre == pytest.approx(58.3, abs=1)
    assert "no opposite views" in found.doubt
