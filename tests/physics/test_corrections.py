"""Corrections of projections: each undoes its fault on exact data, and leaves data without the fault alone."""

import numpy as np
import pytest

from physics.tomography.corrections import (
    LOWEST_TRANSMISSION,
    RINGS,
    equal_totals,
    fill_columns,
    find_bad_views,
    find_dead_columns,
    line_integrals,
    remove_rings,
    remove_zingers,
    subtract_background,
    transmission,
)
from tests.physics.sinograms import angle_sets, sinogram

ANGLES = angle_sets(61)["half"]
EXACT = 0.02 * sinogram(ANGLES, 96, 44.6) * 96


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_flat_dark_and_logarithm_undo_the_measurement(rng: np.random.Generator) -> None:
    beam, dark = rng.uniform(900, 1100, (3, 96)), rng.uniform(90, 110, (3, 96))
    stack = np.stack([EXACT, 0.5 * EXACT, 0 * EXACT], axis=1)
    counts = dark + beam * np.exp(-stack)
    flats, darks = np.stack([dark + beam - 5, dark + beam + 5]), np.stack([dark - 2, dark, dark + 2])
    assert line_integrals(transmission(counts, flats, darks)) == pytest.approx(stack, abs=1e-5)
    assert np.array_equal(transmission(counts, flats.mean(axis=0), dark), transmission(counts, flats, darks))


def test_no_counts_and_negative_counts_become_the_lowest_transmission() -> None:
    counts = np.array([[0.0, -5.0, 50.0, 100.0]])
    values = line_integrals(transmission(counts, np.full(4, 100.0)))
    assert values[0, :2] == pytest.approx(-np.log(LOWEST_TRANSMISSION))
    assert values[0, 2:] == pytest.approx([np.log(2), 0])
    with pytest.raises(ValueError, match=r"75% of the transmissions lie below 0.0001; .* check the flat and dark"):
        line_integrals(np.array([0.0, -1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("flats", "darks", "text"),
    [
        (np.ones((5, 3, 95)), None, "flat frames have 5 x 3 x 95 values; they must have 3 x 96, as the projections"),
        (np.ones((5, 2, 96)), None, "flat frames have"),
        (np.ones((3, 96)), np.ones((4, 96)), "dark frames have"),
        (np.zeros((5, 3, 96)), None, "flat frames are not brighter than the dark frames in 100% of the pixels"),
        (np.ones((3, 96)), np.full((3, 96), 2.0), "are not brighter"),
        (np.full((3, 96), np.nan), None, "flat frames hold values that are not finite"),
    ],
)
def test_frames_that_do_not_fit_are_refused(flats: np.ndarray, darks: np.ndarray | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        transmission(np.ones((7, 3, 96)), flats, darks)


def test_pixels_without_flat_are_dead_and_filled() -> None:
    flat = np.full(96, 100.0)
    flat[[10, 40, 41]] = 0
    values = transmission(100 * np.exp(-EXACT), flat)
    dead = find_dead_columns(values)
    assert np.flatnonzero(dead).tolist() == [10, 40, 41]
    smooth = 100 * np.exp(-0.02 * 96 * sinogram(ANGLES, 96, 44.6, smooth=True))
    filled = fill_columns(transmission(smooth, flat), dead)
    assert filled == pytest.approx(smooth / 100, abs=0.03)


def test_dead_columns_are_those_that_are_dead(rng: np.random.Generator) -> None:
    for exact in (EXACT, 0.02 * 96 * sinogram(ANGLES, 96, 44.6, smooth=True), 0 * EXACT):
        noisy = np.exp(-exact) + 0.01 * rng.standard_normal(EXACT.shape)
        for values in (np.exp(-exact), noisy, 3 * noisy):
            assert not find_dead_columns(values).any()
        noisy[:, 30], noisy[:, 50] = 0.4, rng.random(61)
        assert np.flatnonzero(find_dead_columns(noisy)).tolist() == [30, 50]


def few_quanta(views: int, air: float, behind: float, rng: np.random.Generator) -> np.ndarray:
    """Return the transmission of an object behind which so many quanta are counted."""
    object_ = sinogram(angle_sets(views)["half"], 96, 44.6)
    return np.asarray(rng.poisson(air * np.exp(-object_ / object_.max() * np.log(air / behind))) / air)


@pytest.mark.parametrize("air", [3, 30, 1000])
@pytest.mark.parametrize("views", [4, 8, 12, 61])
def test_few_quanta_make_no_column_dead(views: int, air: float, rng: np.random.Generator) -> None:
    for _ in range(5):
        values = few_quanta(views, air, 2.0, rng)
        assert not find_dead_columns(values).any()
        assert not find_dead_columns(line_integrals(values)).any()


def test_single_outliers_make_no_column_dead(rng: np.random.Generator) -> None:
    """A count of zero has a line integral of 9.2."""
    values = EXACT + 0.003 * rng.standard_normal(EXACT.shape)
    for share in (1, 5, 20):
        values[rng.permutation(61)[:share], 40] = -np.log(LOWEST_TRANSMISSION)
        assert not find_dead_columns(values).any()


@pytest.mark.parametrize("fault", ["zeros", "constant", "noise", "far", "far and noisy"])
@pytest.mark.parametrize("air", [30, 10_000])
def test_columns_that_are_dead_in_all_views(fault: str, air: float, rng: np.random.Generator) -> None:
    values = few_quanta(61, air, 2.0, rng)
    faults = {"zeros": 0 * values[:, 30], "constant": 0.5, "noise": 5 * rng.random(61), "far": values[:, 30] * 30 + 3}
    values[:, 30] = {**faults, "far and noisy": 5 + 0.1 * rng.random(61)}[fault]
    assert np.flatnonzero(find_dead_columns(values)).tolist() == [30]
    values[:, 30] = np.nan
    assert np.flatnonzero(find_dead_columns(values)).tolist() == [30]


def test_single_values_that_are_not_finite_are_refused() -> None:
    for wrong in (np.nan, np.inf):
        values = EXACT.copy()
        values[3, 40] = wrong
        with pytest.raises(ValueError, match=r"1 values are not finite numbers \(NaN, inf\); replace them"):
            find_dead_columns(values)


def test_columns_at_the_ends_are_filled_from_one_side() -> None:
    values, dead = np.arange(12.0).reshape(2, 6), np.array([1, 0, 0, 1, 0, 1], bool)
    assert fill_columns(values, dead).tolist() == [[1, 1, 2, 3, 4, 4], [7, 7, 8, 9, 10, 10]]
    with pytest.raises(ValueError, match="all columns of the detector are dead"):
        fill_columns(values, np.ones(6, bool))


def test_zingers_are_replaced_and_grains_are_kept(rng: np.random.Generator) -> None:
    noisy = 1000 * np.exp(-EXACT) + 5 * rng.standard_normal(EXACT.shape)
    for row, column in rng.integers(3, 58, (12, 2)):
        noisy[row, column] += 3000
    cleaned = remove_zingers(noisy)
    assert abs(cleaned - 1000 * np.exp(-EXACT)).max() < 150
    grain = np.zeros((61, 96))
    grain[np.arange(61), np.arange(61) + 10] = 1.0  # a bright path of one pixel
    assert np.array_equal(remove_zingers(grain)[2:-2], grain[2:-2])


@pytest.mark.parametrize("method", RINGS)
def test_rings_are_removed_and_the_object_is_kept(method: str, rng: np.random.Generator) -> None:
    smooth = 0.02 * 96 * sinogram(ANGLES, 96, 44.6, smooth=True)
    stripes = np.zeros(96)
    stripes[[20, 33, 50, 51, 70]] = rng.uniform(0.05, 0.1, 5)
    before = abs(remove_rings(smooth, method, 9) - smooth).mean()
    after = abs(remove_rings(smooth + stripes, method, 9) - smooth).mean()
    assert before < 0.01 * smooth.max()
    assert after < max(0.5 * stripes.mean(), 1.5 * before)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="rings = 'magic': no such method; choose one of sorting, columns"):
        remove_rings(EXACT, "magic")


def test_background_is_a_line_in_each_view(rng: np.random.Generator) -> None:
    drift = rng.uniform(-0.1, 0.1, (61, 1)) + rng.uniform(-1e-3, 1e-3, (61, 1)) * np.arange(96)
    assert not EXACT[:, :4].any()
    assert not EXACT[:, -4:].any()
    assert subtract_background(EXACT + drift, 4) == pytest.approx(EXACT, abs=1e-12)
    for width in (0, 49):
        with pytest.raises(ValueError, match=f"background of {width} pixels at each end; must be 1 to 48"):
            subtract_background(EXACT, width)


def test_totals_become_equal_and_bad_views_are_found(rng: np.random.Generator) -> None:
    smooth = sinogram(ANGLES, 96, 44.6, smooth=True)
    scaled = smooth * rng.uniform(0.9, 1.1, (61, 1))
    assert np.ptp(equal_totals(scaled).sum(axis=-1)) < 1e-9
    assert equal_totals(smooth) == pytest.approx(smooth, rel=1e-5)
    assert not find_bad_views(scaled).any()
    scaled[[0, 7]] *= 0.3
    assert np.flatnonzero(find_bad_views(np.stack([scaled, scaled]))).tolist() == [0, 7]
    scaled[5] = 0
    assert not equal_totals(scaled)[5].any()
    with pytest.raises(ValueError, match="totals of views reach -"):
        equal_totals(-smooth)


@pytest.mark.parametrize(("absorption", "drift"), [(0.02, 0.005), (0.02, 0.02), (0.2, 0.02), (0.002, 0.0)])
def test_drift_and_counting_noise_make_no_view_bad(absorption: float, drift: float, rng: np.random.Generator) -> None:
    """The total of a weak absorber is smaller than the drift of the beam; a closed shutter is found nevertheless."""
    beam = 1e4 * (1 + drift * rng.standard_normal((61, 1)))
    counts = rng.poisson(beam * np.exp(-absorption * EXACT / EXACT.max())).astype(float)
    assert not find_bad_views(line_integrals(counts / 1e4)).any()
    counts[[3, 40]] *= 0.3
    assert np.flatnonzero(find_bad_views(line_integrals(counts / 1e4))).tolist() == [3, 40]


def test_many_bad_views_are_refused() -> None:
    views = np.stack([EXACT, EXACT], axis=0)
    views[:, ::4] *= 0.5
    with pytest.raises(ValueError, match=r"16 of 61 views stand apart; at most 20% are dropped; .* background=WIDTH"):
        find_bad_views(views)


@pytest.mark.parametrize("photons", [0.1, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize(("gain", "dark"), [(1.0, 0), (0.013, 0), (7.0, 500)])
def test_counting_noise_is_no_zinger(photons: float, gain: float, dark: int, rng: np.random.Generator) -> None:
    """Neither bright air beside a dark object nor counts of nearly none are changed, in any unit; a hit is."""
    level = np.full((2, 61, 96), photons)
    level[:, :, 10:86] *= np.exp(-5)
    counts = dark + gain * rng.poisson(level)
    hit = np.asarray(counts, float)
    hit[0, 30, 50] += gain * round(40 + 40 * photons**0.5)
    cleaned = remove_zingers(hit, dark)
    assert (cleaned != hit).sum() <= 2
    assert cleaned[0, 30, 50] != hit[0, 30, 50]
    rare = rng.poisson(np.full((61, 96), 0.003))
    assert np.array_equal(remove_zingers(rare), rare)


@pytest.mark.parametrize("frames", [2, 3, 10])
def test_a_zinger_in_one_frame_leaves_no_ring(frames: int, rng: np.random.Generator) -> None:
    flats, darks = rng.poisson(1e4, (frames, 1, 96)), rng.poisson(100, (frames, 1, 96))
    clean = transmission(np.full((5, 1, 96), 5000.0), flats, darks)
    flats[0, 0, 20], darks[-1, 0, 70] = 30_000, 3000
    hit = transmission(np.full((5, 1, 96), 5000.0), flats, darks)
    assert hit == pytest.approx(clean, rel=0.03)
    others = np.delete(np.arange(96), [20, 70])
    assert np.array_equal(hit[..., others], clean[..., others])
    smooth = np.full((frames, 1, 96), 1e4 / 3)
    smooth[0, 0, 20] *= 3
    assert transmission(np.full((5, 1, 96), 1e4 / 6), smooth) == pytest.approx(0.5)
