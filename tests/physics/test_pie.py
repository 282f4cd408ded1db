"""Ptychography: exact solutions stay, known objects come back, and the compiled sweep is the plain one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physics import pie
from physics.pie import Reconstruction, epie, orthogonal_modes, remove_ambiguities, rpie, scale_to_dose
from physics.probe import probe
from physics.ptychography import illumination, patterns

MEASURED = Path(__file__).parents[3] / "shared/data/hbn_4dstem/probe.npy"
WINDOWS = [(24, 18), (21, 27), (25, 25)]


def electrons(window: tuple[int, int], defocus: float = 4.0) -> np.ndarray:
    out: np.ndarray = probe(window, (0.03, 0.03), 80e3, 0.03, defocus=defocus)
    return out


def texture(shape: tuple[int, int], strength: float = 1.0, seed: int = 0) -> np.ndarray:
    """A pure phase object with detail down to 8 pixels, of the given peak phase [rad]."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape))
    f = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.fftfreq(shape[1]) ** 2
    phase = np.fft.ifft2(spectrum * np.exp(-f / 0.1**2)).real
    out: np.ndarray = np.exp(1j * strength * phase / np.max(abs(phase)))
    return out


class Scan:
    """A raster of n x m positions, jittered by less than a pixel, over a textured object that is just large enough."""

    def __init__(self, window: tuple[int, int], step: float, n: tuple[int, int] = (7, 6), strength: float = 1.0):
        rng = np.random.default_rng(3)
        raster = np.mgrid[: n[0], : n[1]].reshape(2, -1).T * step
        self.positions = raster + rng.uniform(0, 0.9, raster.shape) + np.array(window) // 2
        shape = np.ceil(self.positions.max(axis=0)).astype(int) + np.array(window) // 2 + 2
        self.transmission = texture((int(shape[0]), int(shape[1])), strength)
        self.empty = np.ones_like(self.transmission)
        self.single = self.empty.astype(np.complex64)

    def orders(self, sweeps: int) -> np.ndarray:
        rng = np.random.default_rng(4)
        return np.array([rng.permutation(len(self.positions)) for _ in range(sweeps)])

    def seen(self, p: np.ndarray) -> np.ndarray:
        out: np.ndarray = patterns(self.transmission, p, self.positions)
        return out

    def rms(self, found: Reconstruction, p: np.ndarray) -> float:
        """Of the phase [rad], where a tenth of the brightest light fell, after the mean difference is taken off."""
        light = illumination(self.empty.shape, p, self.positions)
        difference = (found.transmission * self.transmission.conj())[light > 0.1 * light.max()]
        return float(np.std(np.angle(difference / difference.mean())))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    ("engine", "steps"), [(epie, {"alpha": 1.0, "beta": 1.0}), (rpie, {"alpha": 0.1, "beta": 0.2})]
)
def test_the_exact_object_and_probe_stay(window: tuple[int, int], engine: Any, steps: dict[str, float]) -> None:
    scan, rng = Scan(window, 4), np.random.default_rng(5)
    two = orthogonal_modes(
        rng.standard_normal((2, *window)) + 1j * rng.standard_normal((2, *window))
    )  # of all frequencies
    found = engine(scan.seen(two), scan.positions, scan.transmission, two, scan.orders(2), **steps)
    assert found.error == pytest.approx([0, 0], abs=1e-20)
    light = illumination(scan.empty.shape, two, scan.positions)
    exact, factor = remove_ambiguities(scan.transmission, light)
    assert np.allclose(found.transmission, exact)
    assert np.allclose(found.probe, orthogonal_modes(two * factor))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("engine", "error"), [(epie, 0.02), (rpie, 0.002)])
def test_a_phase_object_comes_back(window: tuple[int, int], engine: Any, error: float) -> None:
    scan, p = Scan(window, 2, (9, 8)), electrons(window)
    found = engine(scan.seen(p), scan.positions, scan.empty, p, scan.orders(60))
    assert scan.rms(found, p) < error
    assert found.error[-1] < 0.1 * found.error[0]
    assert np.array_equal(found.probe[0], p)


def test_under_a_known_probe_the_object_keeps_its_modulus() -> None:
    scan, p = Scan((21, 27), 3), electrons((21, 27))
    found = rpie(0.64 * scan.seen(p), scan.positions, scan.single, p, scan.orders(30))
    light = illumination(scan.empty.shape, p, scan.positions)
    assert np.median(abs(found.transmission[light > 0.1 * light.max()])) == pytest.approx(0.8, abs=0.01)


def test_object_and_probe_come_back_together() -> None:
    """From a probe at a wrong focus and of a wrong dose. A phase ramp and a shift between them are left over."""
    scan, p = Scan((24, 26), 3, (9, 10), strength=3), 40 * electrons((24, 26))
    seen = scan.seen(p)
    arguments = (
        seen,
        scan.positions,
        scan.single,
        scale_to_dose(electrons((24, 26), defocus=7.0), seen),
        scan.orders(60),
    )
    fixed, found = epie(*arguments), epie(*arguments, beta=0.5)
    assert found.error[-1] < 0.1 * fixed.error[-1]
    assert scan.rms(found, p) < 0.1 < 0.2 < scan.rms(fixed, p)
    assert np.sum(abs(found.probe) ** 2) == pytest.approx(1600, rel=0.02)


def test_two_known_modes_explain_what_one_cannot() -> None:
    scan, p = Scan((24, 25), 3, (8, 8)), electrons((24, 25))
    two = np.stack([p, 0.5 * np.roll(p, (3, 1), (0, 1))])
    seen, orders = scan.seen(two), scan.orders(60)
    one, both = (rpie(seen, scan.positions, scan.single, q, orders) for q in (scale_to_dose(p, seen), two))
    assert scan.rms(both, two) < 0.005 < 0.03 < scan.rms(one, two)


def test_two_modes_come_back() -> None:
    scan, p = Scan((24, 25), 3, (8, 8), strength=3), electrons((24, 25))
    two = np.stack([p, 0.5 * np.roll(p, (3, 1), (0, 1))])
    seen, orders = scan.seen(two), scan.orders(60)
    start = scale_to_dose(np.stack([p, 0.2 * np.roll(p, (1, 1), (0, 1))]), seen)
    one, both = (rpie(seen, scan.positions, scan.single, q, orders, beta=1.0) for q in (start[0], start))
    assert both.error[-1] < 0.1 * one.error[-1]
    found, known = (np.sum(abs(orthogonal_modes(q)) ** 2, axis=(1, 2)) for q in (both.probe, two))
    assert np.allclose(found, known, rtol=0.02)


def test_rpie_is_ahead_of_epie_at_low_overlap() -> None:
    scan, p = Scan((24, 24), 7, (5, 5)), electrons((24, 24))
    seen, orders = scan.seen(p), scan.orders(40)
    slow = epie(seen, scan.positions, scan.empty, p, orders)
    quick = rpie(seen, scan.positions, scan.empty, p, orders, alpha=0.05)
    assert quick.error[-1] < 0.5 * slow.error[-1]
    assert scan.rms(quick, p) < scan.rms(slow, p)


def test_rpie_without_regularisation_of_the_dim_is_epie() -> None:
    scan, p = Scan((21, 27), 4), electrons((21, 27))
    seen, orders = scan.seen(p), scan.orders(2)
    one, other = (
        epie(seen, scan.positions, scan.empty, p, orders),
        rpie(seen, scan.positions, scan.empty, p, orders, alpha=1),
    )
    assert np.array_equal(one.transmission, other.transmission)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("beta", [None, 0.3])
@pytest.mark.parametrize("vacuum", [False, True])
def test_the_compiled_sweep_is_the_plain_one(
    window: tuple[int, int], count: int, beta: float | None, vacuum: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over few positions: each enlarges what rounding leaves, tenfold in ten positions where the light is dim.

    In vacuum over one: what is almost dark afterwards has a phase that rounding changes by its share of it.
    """
    scan, p = Scan(window, 4, *(((1, 1), 3.0) if vacuum else ((3, 2), 1.0))), electrons(window)
    modes = np.stack([np.roll(p, k, 0) / (k + 1) for k in range(count)]).astype(np.complex64)
    start = scan.single if vacuum else texture(scan.empty.shape, 0.5, 9).astype(np.complex64)
    arguments = scan.seen(modes), scan.positions, start, modes, scan.orders(1)
    machine = rpie(*arguments, alpha=0.2, beta=beta)
    monkeypatch.setattr(pie, "MAX_COMPILED_PROBE", 0)
    plain = rpie(*arguments, alpha=0.2, beta=beta)
    assert np.allclose(machine.transmission, plain.transmission, atol=2e-5)
    assert np.allclose(machine.probe, plain.probe, atol=2e-5)
    assert machine.error == pytest.approx(plain.error, rel=1e-4)
    assert abs(plain.transmission - start).max() > 0.1


def visited(
    engine: str, count: np.ndarray, o: np.ndarray, p: np.ndarray, alpha: float, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Object and probe after one visit, as published: ePIE by Maiden and Rodenburg 2009, rPIE by Maiden et al. 2017.

    ePIE: O += alpha conj(P) d / max|P|^2,                             P += beta conj(O) d / max|O|^2
    rPIE: O += conj(P) d / ((1 - alpha) |P|^2 + alpha max|P|^2),       P += conj(O) d / (the same of O and beta)
    """
    field = np.fft.fft2(p * o)
    d = np.fft.ifft2(np.sqrt(count) * field / abs(field)) - p * o
    light, there = abs(p) ** 2, abs(o) ** 2
    if engine == "epie":
        return o + alpha * p.conj() * d / light.max(), p + beta * o.conj() * d / there.max()
    weight = (1 - alpha) * light + alpha * light.max(), (1 - beta) * there + beta * there.max()
    return o + p.conj() * d / weight[0], p + o.conj() * d / weight[1]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])  # compiled, plain
def test_in_vacuum_the_bright_field_alone_moves_the_object(window: tuple[int, int], dtype: Any) -> None:
    """One visit: the far field beside the aperture, measured but not modelled, has no phase."""
    scan, p = Scan(window, 4, (1, 1), strength=3), electrons(window).astype(dtype)
    scan.positions[:] = np.array(window) // 2
    seen, start = scan.seen(p), scan.empty.astype(dtype)
    found = epie(seen, scan.positions, start, p, np.zeros((1, 1), int))
    field, measured = np.fft.fft2(p.astype(complex)), np.fft.ifftshift(np.sqrt(seen[0]))
    inside = abs(field) > 1e-3 * abs(field).max()
    assert measured[~inside].max() > 0.01 * measured.max()
    change = np.fft.ifft2(np.where(inside, (measured / np.where(inside, abs(field), 1) - 1) * field, 0))
    new = scan.empty.copy()
    new[: window[0], : window[1]] += p.conj() * change / np.max(abs(p)) ** 2
    exact = remove_ambiguities(new, illumination(new.shape, p, scan.positions))
    np.testing.assert_allclose(found.transmission, exact[0] * abs(exact[1]), atol=1e-6)
    assert abs(new - 1).max() > 0.1


@pytest.mark.parametrize("engine", [epie, rpie])
def test_rounding_in_vacuum_decides_nothing(engine: Any) -> None:
    """A start that is 1 but for 1e-12 leads to the same object, and away from vacuum."""
    scan, p = Scan((21, 27), 4, (3, 2)), electrons((21, 27))
    noise = 1e-12 * np.random.default_rng(0).standard_normal((2, *scan.empty.shape))
    one, other = (engine(scan.seen(p), scan.positions, 1 + n + 0j, p, scan.orders(3)).transmission for n in noise)
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert abs(one - 1).max() > 0.1


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])  # compiled, plain
@pytest.mark.parametrize(("engine", "alpha", "beta"), [("epie", 0.7, 0.4), ("rpie", 0.3, 0.6), ("rpie", 0.05, 0.15)])
def test_one_visit_is_as_published(engine: str, alpha: float, beta: float, dtype: Any) -> None:
    """Object and probe, of modulus and phase that vary, with the factor and the phase of all results."""
    rng, (ny, nx) = np.random.default_rng(0), (9, 12)
    o, p, other = (rng.uniform(0.3, 1, (3, ny, nx)) * np.exp(1j * rng.uniform(-1, 1, (3, ny, nx)))).astype(dtype)
    count = abs(np.fft.fft2(p * other)) ** 2
    arguments = np.fft.fftshift(count)[None], np.array([[ny // 2, nx // 2]]), o, p, np.zeros((1, 1), int)
    found = {"epie": epie, "rpie": rpie}[engine](*arguments, alpha=alpha, beta=beta)
    new = visited(engine, count, o.astype(complex), p.astype(complex), alpha, beta)
    exact, factor = remove_ambiguities(new[0], illumination(o.shape, p, arguments[1]))
    exact_probe = orthogonal_modes(new[1] * factor)
    tolerance = 1e-12 if dtype is np.complex128 else 3e-5
    assert np.allclose(found.transmission, exact, atol=tolerance)
    assert np.allclose(found.probe, exact_probe, atol=tolerance)
    assert abs(exact - remove_ambiguities(o, abs(p) ** 2)[0]).max() > 0.1
    assert abs(new[1] - p).max() > 0.1


def test_single_precision_goes_in_and_out() -> None:
    scan, p = Scan((24, 26), 2), electrons((24, 26))
    seen = scan.seen(p).astype(np.float32)
    found = rpie(seen, scan.positions, scan.single, p, scan.orders(20))
    assert found.transmission.dtype == np.complex64
    assert scan.rms(found, p) < 0.02


def test_an_object_shifted_with_its_positions() -> None:
    """By whole pixels on a larger canvas: the same reconstruction, further in."""
    scan, p = Scan((21, 24), 4), electrons((21, 24))
    seen, orders = scan.seen(p), scan.orders(1)
    here = rpie(seen, scan.positions, scan.empty, p, orders)
    empty = np.pad(scan.empty, ((2, 3), (5, 0)))
    there = rpie(seen, scan.positions + np.array([2, 5]), empty, p, orders)
    assert np.allclose(there.transmission[2:-3, 5:], here.transmission, atol=1e-6)


def test_the_ambiguities() -> None:
    rng = np.random.default_rng(0)
    light, o = rng.uniform(0, 1, (9, 12)), texture((9, 12)) * (1 + rng.uniform(0, 0.3, (9, 12)))
    bare, factor = remove_ambiguities(3 * np.exp(2j) * o, light)
    assert np.allclose(bare * factor, 3 * np.exp(2j) * o)
    assert np.allclose(bare, remove_ambiguities(o, light)[0])
    assert np.angle((light * bare).sum()) == pytest.approx(0, abs=1e-12)
    assert (light * abs(bare) ** 2).sum() == pytest.approx(light.sum())


def test_mixtures_of_modes_are_one_state() -> None:
    rng = np.random.default_rng(0)
    two = rng.standard_normal((2, 7, 6)) + 1j * rng.standard_normal((2, 7, 6))
    unitary = np.linalg.qr(rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2)))[0]
    first, second = orthogonal_modes(two), orthogonal_modes(np.einsum("ab,byx->ayx", unitary, two))
    assert np.allclose(first, second)
    assert np.vdot(first[0], first[1]) == pytest.approx(0, abs=1e-12)
    assert np.sum(abs(first[0]) ** 2) > np.sum(abs(first[1]) ** 2)
    assert np.allclose(
        patterns(np.ones((9, 9)) + 0j, first, np.array([[4, 4]])),
        patterns(np.ones((9, 9)) + 0j, two, np.array([[4, 4]])),
    )


@pytest.mark.skipif(not MEASURED.exists(), reason=f"needs the measured probe {MEASURED}")
def test_a_measured_probe() -> None:
    p = np.load(MEASURED)
    scan = Scan((32, 32), 2, (9, 8))
    found = rpie(scan.seen(p), scan.positions, scan.empty, p, scan.orders(30))
    assert scan.rms(found, p) < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intensity": np.ones((42, 24, 25))}, r"patterns of shape \(42, 24, 25\) and a probe of 24x26 pixels differ"),
        ({"intensity": np.ones((41, 24, 26))}, r"41 patterns and 42 positions: give one position to each pattern"),
        ({"intensity": np.full((42, 24, 26), -1.5)}, r"an intensity of -1\.5 must be 0 or more"),
        ({"intensity": np.full((42, 24, 26), np.nan)}, r"an intensity of nan must be 0 or more"),
        ({"intensity": np.zeros((42, 24, 26))}, r"the sum of all patterns is 0 or not finite"),
        ({"positions": np.full((42, 2), 5.0)}, r"position 0 at \(5, 5\) puts the 24x26 probe outside the object of"),
        ({"transmission": np.ones((50, 50))}, r"the first object is float64: it must be complex64"),
        ({"orders": np.zeros((2, 42), int)}, r"orders of shape \(2, 42\) must be \(sweep, 42\), each a permutation"),
        ({"orders": np.arange(42)}, r"orders of shape \(42,\) must be"),
        ({"alpha": 1.5}, r"alpha 1\.5 must be above 0 and at most 1"),
        ({"beta": 0.0}, r"beta 0\.0 must be above 0 and at most 1: None for a known probe"),
    ],
)
def test_what_cannot_be_reconstructed(change: dict[str, Any], message: str) -> None:
    scan, p = Scan((24, 26), 3), electrons((24, 26))
    arguments: dict[str, Any] = {"intensity": scan.seen(p), "positions": scan.positions, "transmission": scan.empty}
    arguments |= {"probe": p, "orders": scan.orders(2)} | change
    with pytest.raises(ValueError, match=message):
        rpie(**arguments)
