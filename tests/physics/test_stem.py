"""Probes through atoms onto detectors: Parseval, positions, band limit, PRISM, phonons."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics import multislice, probe
from physics.electron import wavelength
from physics.optics import propagate
from physics.scattering import prism, stem
from physics.scattering.atoms import Atoms, displaced, slice_potentials
from physics.scattering.detectors import annulus, segments, signals

VOLTAGE = 200e3
LAMBDA = wavelength(VOLTAGE)
GRIDS = [((64, 48), (0.02, 0.024)), ((45, 54), (0.025, 0.02)), ((63, 63), (0.02, 0.02))]
EDGES = (-0.4, -0.1, 0.2, 0.4)
THICKNESS = (0.3, 0.3, 0.2)


def atoms(count: int = 30, seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms(("C", "Pt"), rng.integers(0, 2, count), rng.uniform(-0.4, 0.4, (count, 3)))


def specimen(shape: tuple[int, int], sampling: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Transmissions (slice, y, x), complex128, and the band limit."""
    limit = multislice.band_limit(shape, sampling)
    potentials = [v.astype(float) for v in slice_potentials(atoms(), EDGES, shape, sampling, 0.006)]
    return np.stack([multislice.transmission(v, VOLTAGE, limit) for v in potentials]), limit


def focused(shape: tuple[int, int], sampling: tuple[float, float], semi_angle: float = 0.02) -> np.ndarray:
    made: np.ndarray = probe.probe(shape, sampling, VOLTAGE, semi_angle, defocus=-5.0)
    return made


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_detectors_of_all_angles_collect_all_that_is_simulated(
    shape: tuple[int, int], sampling: tuple[float, float]
) -> None:
    limit = LAMBDA * multislice.highest_frequency(sampling)
    parts = segments(shape, sampling, LAMBDA, (0, limit / 3, limit), sectors=4, start=0.3)
    assert parts.shape == (8, *shape)
    assert np.array_equal(parts.sum(axis=0), multislice.band_limit(shape, sampling))
    where = np.array([[0.1, -0.05], [0, 0], [0.02, 0.21]])
    p, (t, mask) = focused(shape, sampling), specimen(shape, sampling)
    vacuum = stem.scanned_signals(p, where, np.ones_like(t), LAMBDA, THICKNESS, sampling, parts, limit=mask)
    assert vacuum.sum(axis=1) == pytest.approx([1] * 3, abs=1e-12)
    found = stem.scanned_signals(p, where, t, LAMBDA, THICKNESS, sampling, parts, limit=mask)
    # Some electrons are scattered beyond the limit; and |t| is not quite 1 within it.
    assert found.sum(axis=1) == pytest.approx([1] * 3, abs=0.02)
    assert found.sum(axis=1) != pytest.approx([1] * 3, abs=1e-5)


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_the_probe_is_where_the_atom_is(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    """One atom off the middle, between pixels: the dark-field signal is largest for the probe at its place."""
    y, x = 0.113, -0.087
    one = Atoms(("Au",), np.array([0]), np.array([[0.0, y, x]]))
    potential = next(slice_potentials(one, (-0.1, 0.1), shape, sampling, 0.006)).astype(float)
    mask = multislice.band_limit(shape, sampling)
    t = multislice.transmission(potential, VOLTAGE, mask)[None]
    steps = np.arange(-3, 4) * 0.01
    where = np.stack(np.meshgrid(y + steps, x + steps, indexing="ij"), axis=-1).reshape(-1, 2)
    ring = annulus(shape, sampling, LAMBDA, 0.022, 0.033)
    found = stem.scanned_signals(focused(shape, sampling), where, t, LAMBDA, 0.2, sampling, ring, limit=mask)
    assert found[:, 0].argmax() == len(where) // 2


@pytest.mark.parametrize(("shape", "sampling"), GRIDS)
def test_prism_without_interpolation_is_multislice(shape: tuple[int, int], sampling: tuple[float, float]) -> None:
    p, (t, mask) = focused(shape, sampling), specimen(shape, sampling)
    where = np.array([[0.1, -0.05], [0.017, 0], [-0.3, 0.21]])
    rings = segments(shape, sampling, LAMBDA, (0, 0.01, 0.03))
    direct = stem.scanned_signals(p, where, t, LAMBDA, THICKNESS, sampling, rings, limit=mask)
    beams = prism.beams_of(p)
    waves = prism.plane_waves(beams.orders, shape, p.dtype)
    scattered = multislice.exit_wave(t, LAMBDA, THICKNESS, sampling, incident=waves, exit_plane="surface", limit=mask)
    found = prism.scanned_signals(beams, scattered, where, sampling, rings, float((abs(p) ** 2).sum()))
    assert found == pytest.approx(direct, abs=1e-5)
    assert np.ptp(direct[:, 1]) > 0.01


def test_prism_with_interpolation_approaches_multislice() -> None:
    """A probe that fills a small part of the field of view."""
    shape, d = (128, 128), (0.02, 0.02)
    p = probe.probe(shape, d, VOLTAGE, 0.025)
    mask = multislice.band_limit(shape, d)
    t = np.stack(
        [
            multislice.transmission(v.astype(float), VOLTAGE, mask)
            for v in slice_potentials(atoms(), EDGES, shape, d, 0.006)
        ]
    )
    where = np.array([[0.1, -0.05], [0.017, 0], [-0.3, 0.21]])
    direct = stem.scanned_signals(p, where, t, LAMBDA, THICKNESS, d, annulus(shape, d, LAMBDA, 0.03, 0.04), limit=mask)

    def error(f: int) -> float:
        beams = prism.beams_of(p, f)
        waves = prism.plane_waves(beams.orders, shape, p.dtype)
        scattered = multislice.exit_wave(t, LAMBDA, THICKNESS, d, incident=waves, exit_plane="surface", limit=mask)
        ring = annulus(beams.window, d, LAMBDA, 0.03, 0.04)
        found = prism.scanned_signals(beams, scattered, where, d, ring, float((abs(p) ** 2).sum()))
        return float(np.linalg.norm(found - direct) / np.linalg.norm(direct))

    assert error(1) < 1e-5
    assert error(2) < 0.03
    with pytest.raises(ValueError, match="interpolation 3: must divide the sizes 128 and 128"):
        prism.beams_of(p, 3)


def test_jax_scans_over_slices_and_equals_numpy() -> None:
    shape, d = GRIDS[0]
    p, (t, mask) = focused(shape, d), specimen(shape, d)
    where, rings = np.array([[0.1, -0.05], [0.017, 0]]), segments(shape, d, LAMBDA, (0, 0.01, 0.03))
    expected = stem.scanned_signals(p, where, t, LAMBDA, THICKNESS, d, rings, limit=mask)
    for thickness in (THICKNESS, 0.25):
        run = partial(
            multislice.exit_wave, wavelength=LAMBDA, thickness=thickness, sampling=d, exit_plane="surface", limit=mask
        )
        incident = stem.probes_at(p, where, d)
        wave = run(t, incident=incident)
        traced = jax.jit(partial(run, scan=jax.lax.scan))(
            jnp.asarray(t, jnp.complex64), incident=jnp.asarray(incident, jnp.complex64)
        )
        assert np.allclose(traced, wave, atol=2e-5 * abs(wave).max())
    assert signals(jnp.asarray(wave), rings).shape == expected.shape


def test_detectors_beyond_what_is_simulated_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a detector up to 0.1 rad is beyond the band limit of 0.0348"):
        annulus((64, 48), (0.02, 0.024), LAMBDA, 0.02, 0.1)
    with pytest.raises(ValueError, match="must rise"):
        annulus((64, 48), 0.02, LAMBDA, 0.02, 0.01)
    with pytest.raises(ValueError, match="holds no pixel"):
        annulus((64, 48), 0.02, LAMBDA, 0.02, 0.02001)


def test_incident_waves_and_planes() -> None:
    """In vacuum, psi at any plane is the incident wave that has travelled there."""
    shape, d = GRIDS[1]
    p, t = focused(shape, d), np.ones((3, *shape), complex)
    run = partial(multislice.exit_wave, t, LAMBDA, THICKNESS, d, incident=p)
    for plane, z in (("surface", 0.8), ("middle", 0.4), (2.5, 2.5), (-1.0, -1.0)):
        assert np.allclose(run(exit_plane=plane), propagate(p, LAMBDA, z, d), atol=1e-12)
    with pytest.raises(ValueError, match="exit_plane 'exit': must be middle, surface, or a distance"):
        run(exit_plane="exit")
    with pytest.raises(ValueError, match="thickness has 2 entries, but there are more slices"):
        multislice.exit_wave(t, LAMBDA, (1.0, 1.0), d)
    with pytest.raises(ValueError, match="thickness has 4 entries for 3 slices"):
        multislice.exit_wave(t, LAMBDA, (1.0, 1.0, 1.0, 1.0), d)


def test_frozen_phonons_average_to_debye_and_waller_for_one_atom() -> None:
    """The mean wave of one atom that vibrates is, to first order, that of its blurred potential."""
    shape, d, u = (48, 48), (0.02, 0.02), 0.01
    one, rng = Atoms(("C",), np.array([0]), np.zeros((1, 3))), np.random.default_rng(0)

    def wave(of: Atoms, vibration: float) -> np.ndarray:
        v = next(slice_potentials(of, (-1, 1), shape, d, vibration)).astype(float)
        scattered: np.ndarray = multislice.transmission(v, VOLTAGE) - 1
        return scattered

    mean = np.mean([wave(displaced(one, u, rng.standard_normal((1, 3))), 0.0) for _ in range(2000)], axis=0)
    blurred = wave(one, u)
    assert np.linalg.norm(mean - blurred) < 0.05 * np.linalg.norm(blurred)
    assert np.linalg.norm(wave(one, 0.0) - blurred) > 0.1 * np.linalg.norm(blurred)
    assert abs(blurred).max() < 0.3  # a weak object
