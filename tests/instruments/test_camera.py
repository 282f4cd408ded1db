"""A camera: unbiased counts, the noise of each of its errors, and streams of their own.

Generators are keyed by seed and sample, so a test that passes once passes always. Bounds are five standard errors.
"""

from typing import Any

import numpy as np
import pytest

from generators.instruments.detectors.camera import NOISELESS, Camera, draw, expect, measure
from generators.random_streams import Streams
from physics.noise import neighbour_share
from schemas.fields.transmission import CAMERA_FIELDS
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

SHAPE = (301, 252)
PIXELS = SHAPE[0] * SHAPE[1]
SHAPES = [SHAPE, (1, 33), (7, 2), (1, 1)]
ALL: dict[str, Any] = {
    "photons": 50,
    "deviation": 0.1,
    "stripes": 0.05,
    "rings": 0.3,
    "detector.correlation": 0.2,
    "detector.gain": 2,
    "detector.offset": 100,
    "detector.read_noise": 3,
}


def settings(**values: Any) -> Camera:
    return make_settings(Camera, {}, [f"{name}={value}" for name, value in values.items()])


def measured(image: Any, at: int = 0, /, **values: Any) -> Any:
    """The image that sample number `at` measures."""
    made, rng = settings(**values), Streams(5, "train", at)
    return measure(made, draw(made, rng), image, rng)


def flat(value: float = 1.0, shape: tuple[int, int] = SHAPE) -> Any:
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_neutral_settings_change_no_bit(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert measured(image).tobytes() == image.tobytes()
    rng = Streams(5, "train", 0)
    assert measure(settings(**ALL | {"detector.correlation": 0}), NOISELESS, image, rng) == pytest.approx(image)


def test_what_is_drawn_is_what_is_stored() -> None:
    drawn = draw(settings(photons="10:1000", deviation="0:1"), Streams(0, "train", 3)).columns()
    assert drawn.keys() == {"photons", *(field.name for field in CAMERA_FIELDS)}
    assert all(np.float32(value) == value for value in drawn.values())


def test_counts_are_whole_and_have_the_variance_of_poisson() -> None:
    photons = np.float32(37.3)
    image = np.linspace(0, 2, PIXELS, dtype=np.float32).reshape(SHAPE)
    noisy = measured(image, photons=photons).astype(float)
    counts = noisy * float(photons)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
    error = noisy - image
    assert abs(error.mean()) < 5 * np.sqrt(image.mean() / photons / PIXELS)
    share = error[image > 0] ** 2 / (image[image > 0] / photons)
    assert share.mean() == pytest.approx(1, abs=5 * share.std() / np.sqrt(PIXELS))


def test_offset_and_gain_are_taken_off() -> None:
    noisy = measured(flat(), photons=400, **{"detector.gain": 3, "detector.offset": 70, "detector.read_noise": 30})
    variance = (1 + (30 / 3) ** 2 / 400) / 400  # of the photons, and of the read noise
    assert noisy.mean() == pytest.approx(1, abs=5 * np.sqrt(variance / PIXELS))
    assert noisy.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / PIXELS))


def test_neighbours_share_quanta() -> None:
    noise = measured(flat(), photons=100, **{"detector.correlation": 0.3}) - 1
    for axis in (0, 1):
        found = np.mean(noise * np.roll(noise, 1, axis)) / noise.var()
        assert found == pytest.approx(0.3, abs=5 / np.sqrt(PIXELS))
    sharp = np.zeros((21, 33), np.float32)
    sharp[10, 16] = 1
    share = neighbour_share(0.3)
    blurred = expect(settings(**{"detector.correlation": 0.3}), sharp)
    assert blurred[10, 15] / blurred[10, 16] == pytest.approx(share / (1 - 2 * share), rel=1e-4)
    assert blurred.sum() == pytest.approx(1, rel=1e-5)


def test_stripes_are_gains_of_columns() -> None:
    noisy = measured(np.linspace(1, 2, PIXELS, dtype=np.float32).reshape(SHAPE), stripes=0.1)
    gain = noisy / np.linspace(1, 2, PIXELS).reshape(SHAPE)
    np.testing.assert_allclose(gain, gain[:1] + np.zeros(SHAPE), rtol=1e-5)
    assert np.log(gain[0]).std() == pytest.approx(0.1, rel=5 / np.sqrt(2 * SHAPE[1]))


def test_rings_run_around_the_middle_of_the_image() -> None:
    noise = measured(flat(0), rings=2.0)
    np.testing.assert_allclose(noise, noise[::-1], atol=1e-5)
    np.testing.assert_allclose(noise, noise[:, ::-1], atol=1e-5)
    square = measured(flat(0, (65, 65)), rings=2.0)
    np.testing.assert_allclose(square, square.T, atol=1e-5)
    assert np.abs(square).max() > 0.1
    np.testing.assert_allclose(2 * measured(flat(0), rings=1.0), noise, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_switching_one_noise_off_leaves_the_others_alone(name: str) -> None:
    """The difference that a kind of noise makes does not depend on kinds that are added to it."""
    if name.startswith("detector") or name in ("photons", "stripes"):
        others = ("deviation", "rings")
        kept = {key: value for key, value in ALL.items() if key not in others}
        errors = measured(flat(), deviation=0.1, rings=0.3) - 1
        np.testing.assert_allclose(measured(flat(), **ALL), measured(flat(), **kept) + errors, atol=1e-4)
    else:
        without = {key: value for key, value in ALL.items() if key != name}
        alone = measured(flat(0), **{name: ALL[name]})
        np.testing.assert_allclose(measured(flat(), **ALL) - measured(flat(), **without), alone, atol=1e-4)


def test_negative_quanta_and_counts_without_photons_are_refused() -> None:
    with pytest.raises(UserError, match=r"a value of the image is -0\.5, and no quanta are negative"):
        measured(flat(-0.5), photons=3)
    with pytest.raises(UserError, match=r"detector\.read_noise: is in counts; give photons"):
        settings(**{"detector.read_noise": 3})
    with pytest.raises(UserError, match="0 means no counting"):
        settings(photons="0:5")
