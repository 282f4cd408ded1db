import numpy as np
import pytest
from pydantic import ValidationError

from generators.specimens.planar.phase_object import DrawnObject, PhaseObject, draw, phase, transmission
from physics.optics import attenuation, exit_wave, phase_shift
from schemas.runtime.ranges import Range

IMAGE = np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)


def test_a_pure_phase_object_takes_no_electrons() -> None:
    found = phase(DrawnObject(1.25, 0.0), IMAGE)
    wave = transmission(found, 0.0)
    assert wave.dtype == np.complex64
    assert abs(wave) == pytest.approx(np.ones(IMAGE.shape), abs=1e-6)
    assert np.angle(wave) == pytest.approx(1.25 * IMAGE, abs=1e-6)


def test_weak_absorption_is_that_of_the_projected_potentials() -> None:
    """exp(-sigma V' t) exp(i sigma V t) with V'/V = k."""
    thickness = 20 * IMAGE
    expected = exit_wave(phase_shift(thickness, 10.0, 80e3), attenuation(thickness, 1.5, 80e3))
    assert transmission(phase_shift(thickness, 10.0, 80e3), 0.15) == pytest.approx(expected, abs=1e-6)


def test_objects_follow_the_recipe_and_are_stored_exactly() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(PhaseObject(absorption=Range(low=0, high=0.1)), rng) for _ in range(300)]
    for name, high in (("range", 1.5), ("absorption", 0.1)):
        values = [getattr(one, name) for one in drawn]
        assert all(float(np.float32(value)) == value for value in values)
        assert (min(values), max(values)) == pytest.approx((0, high), abs=0.02 * high)


def test_bad_settings() -> None:
    with pytest.raises(ValidationError, match="at least 0"):
        PhaseObject.model_validate({"range": -1})
    for info in PhaseObject.model_fields.values():
        assert info.description
