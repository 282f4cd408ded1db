"""The detector chain: neutral settings, order, streams of each kind of noise, and fixed patterns."""

from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from generators.instruments.detectors.chain import DetectorChain
from generators.instruments.detectors.fixed_pattern import FixedPattern
from generators.random_streams import Streams
from physics import noise
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

SHAPES = [(33,), (21, 27), (1,), (1, 1)]
NEUTRAL = DetectorChain()


def chain(*settings: str) -> DetectorChain:
    return make_settings(DetectorChain, {}, settings)


def exposures(shape: tuple[int, ...]) -> Any:
    """Expected quanta: five rows of a line detector, or an image; no two pixels alike."""
    shape = (5, *shape) if len(shape) == 1 else shape
    return np.linspace(10, 60, int(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_neutral_chain_changes_no_bit_and_draws_nothing(shape: tuple[int, ...], dtype: type) -> None:
    streams, quanta = Streams(0, "train", 3), exposures(shape).astype(dtype)
    pixels = NEUTRAL.pattern.draw(shape, streams)
    expected = NEUTRAL.expect(quanta, pixels)
    assert expected.dtype == dtype
    np.testing.assert_array_equal(expected, quanta)
    counting, readout = default_rng(0), default_rng(1)
    counted = NEUTRAL.record(quanta, pixels, counting, readout)
    np.testing.assert_array_equal(counted, noise.add_shot_noise(quanta, 1.0, default_rng(0)))
    assert readout.bit_generator.state == default_rng(1).bit_generator.state
    assert NEUTRAL.digitise(quanta) is quanta
    assert not [name for name in vars(streams) if not name.startswith("_") and name not in ("split", "sample")]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chain_is_its_links_in_order(shape: tuple[int, ...]) -> None:
    settings = ("correlation=0.3", "gain=2", "offset=10", "read_noise=1.5", "saturation=100", "step=0.5")
    patterns = ("pattern.variation=0.1", "pattern.dead=0.2", "pattern.hot=0.2")
    made, quanta = chain(*settings, *patterns), exposures(shape)
    pixels = made.pattern.draw(shape, Streams(0, "train", 1))
    mirrored = (1, *(2 * n for n in shape))
    transfer = noise.modulation_transfer(mirrored, correlation=0.3)
    spread = noise.modulate(noise.add_shot_noise(quanta, 1.0, default_rng(0)), transfer)
    read = spread * (2 * pixels.gain) + 10 + 1.5 * default_rng(1).standard_normal(quanta.shape)
    limited = np.round(np.minimum(read, 100) * 2) / 2
    expected = np.where(pixels.dead, 10, np.where(pixels.hot, 100, limited))
    np.testing.assert_allclose(made.record(quanta, pixels, default_rng(0), default_rng(1)), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(33,), (21, 27), (64, 48)])
@pytest.mark.parametrize("setting", ["correlation=0.6", "blur=1.5", "tail=0.5"])
def test_the_ends_of_a_detector_do_not_see_each_other(shape: tuple[int, ...], setting: str) -> None:
    """Light stays on the side where it falls, and none is lost: what would leave the detector comes back."""
    made, flat = chain(setting), NEUTRAL.pattern.draw(shape, Streams(0, "train", 0))
    quanta: Any = np.zeros((4, *shape) if len(shape) == 1 else shape)
    quanta[..., 0] = 100
    spread = made.expect(quanta, flat)
    assert spread[..., -1].max() < 1e-2
    assert spread[..., 1].min() > 10
    np.testing.assert_allclose(spread.sum(axis=-1), 100)
    np.testing.assert_allclose(made.expect(np.full_like(quanta, 7), flat), 7)


def test_the_expectation_is_the_mean_of_many_exposures() -> None:
    made = chain("correlation=0.2", "gain=3", "offset=7", "read_noise=4", "step=5", "pattern.variation=0.2")
    pixels = made.pattern.draw((9,), Streams(0, "train", 0))
    quanta = np.repeat(exposures((9,))[:1], 40_000, axis=0)
    recorded = made.record(quanta, pixels, default_rng(2), default_rng(3))
    error = recorded.std(axis=0) / 40_000**0.5
    assert np.all(abs(recorded.mean(axis=0) - made.expect(quanta[:1], pixels)[0]) < 5 * error)


def test_gains_and_blind_pixels_have_their_statistics() -> None:
    pattern = FixedPattern(variation=0.03, dead=0.02, hot=0.01)
    pixels = pattern.draw((150, 201), Streams(0, "train", 0))
    n = pixels.gain.size
    assert abs(np.log(pixels.gain).mean()) < 5 * 0.03 / n**0.5
    assert abs(np.log(pixels.gain).std() - 0.03) < 5 * 0.03 / (2 * n) ** 0.5
    for found, share in ((pixels.dead, 0.02), (pixels.hot, 0.01)):
        assert abs(found.mean() - share) < 5 * (share / n) ** 0.5
    assert not np.any(pixels.dead & pixels.hot)
    np.testing.assert_array_equal(pixels.blind, pixels.dead | pixels.hot)


def test_each_kind_of_pattern_stays_when_another_is_switched_off() -> None:
    full, streams = FixedPattern(variation=0.1, dead=0.2, hot=0.1), Streams
    whole = full.draw((501,), streams(0, "train", 0))
    for off in ("variation", "dead", "hot"):
        part = full.model_copy(update={off: 0.0}).draw((501,), streams(0, "train", 0))
        same = {"variation": "gain", "dead": "dead", "hot": "hot"}
        assert not np.array_equal(getattr(part, same.pop(off)), getattr(whole, {"variation": "gain"}.get(off, off)))
        for name in same.values():
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_a_pattern_belongs_to_the_sample_or_to_the_dataset() -> None:
    places = [("train", 0), ("train", 7), ("test", 0)]
    for per, different in (("sample", 3), ("dataset", 1)):
        pattern = FixedPattern(variation=0.1, per=per)
        assert len({tuple(pattern.draw((9,), Streams(0, *place)).gain) for place in places}) == different


def test_mistakes_are_refused() -> None:
    for settings, message in (
        (["pattern.hot=0.1"], "pattern.hot: hot pixels read the saturation; give saturation, too"),
        (["pattern.dead=0.4", "pattern.hot=0.2"], r"dead \+ hot = 0.6: at least half of the pixels must measure"),
        (["correlation=0.7"], "at most 0.666667"),
        (["read_noise=-1"], "at least 0"),
        (["gain=0"], "more than 0"),
    ):
        with pytest.raises(UserError, match=message):
            chain(*settings)
