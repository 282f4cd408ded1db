"""Phases within objects: rebuilt from their columns by another route, scaled as stated, continuous where they must."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from generators.specimens.draws import to_float32
from generators.specimens.planar import outline
from generators.specimens.planar.object_phase import (
    Displacement,
    DrawnDisplacement,
    Kind,
    draw,
    render,
    sizes,
    sum_of_terms,
)
from generators.specimens.planar.outline import Outline
from generators.specimens.planar.pixel_centres import pixel_centres
from schemas.fields import object_phases
from schemas.fields.object_phases import KINDS, MIN_MODULUS, NUMBERS_PER_TERM, TERMS
from schemas.runtime.ranges import Range

type Floats = NDArray[np.float64]

SHAPES = [(64, 48), (33, 50), (41, 37)]
EDGE = 1 / 32
DISC = (0.02, -0.05, 0.3)
DEFAULT = Displacement()
DISLOCATED = Displacement(kind="defects", defect_kinds=("edge", "screw"), order=Range(low=0, high=2))
INCLUDED = Displacement(kind="defects", defect_kinds=("cylinder", "sphere"), defects=Range(low=1, high=4))
RANDOM = Displacement(kind="random")
ALL = {"gratings": DEFAULT, "dislocations": DISLOCATED, "inclusions": INCLUDED, "random": RANDOM}
SEVERAL = Displacement(kind="defects", defects=Range(low=1, high=4))


def population(settings: Displacement, n: int, reach: float = 0.5) -> list[DrawnDisplacement]:
    return [draw(settings, np.random.default_rng(seed), reach, DISC) for seed in range(n)]


def modulus(seed: int, shape: tuple[int, int] = (32, 32)) -> NDArray[np.float32]:
    drawn = outline.draw(Outline(kind="mixed"), np.random.default_rng(seed), 0.5, EDGE)
    return outline.render(drawn, *shape, EDGE)


def one(kind: str, *numbers: float, span: float = 0.0, seed: int = 0) -> DrawnDisplacement:
    """A single term."""
    row: tuple[float, ...] = to_float32(*numbers, *[0.0] * (NUMBERS_PER_TERM - len(numbers)))
    return DrawnDisplacement(KINDS.index("defects"), span, 1, (TERMS.index(kind),), (row,), seed)


def rebuilt(columns: dict[str, np.ndarray], wave: NDArray[np.float32]) -> Floats:
    """The phase from its columns and the modulus, with complex coordinates, waves one by one, and a loop over pixels.

    Dislocations: -ln and arg are real and imaginary part of one logarithm, x y / r^2 and (x^2 - y^2) / r^2 of z / z*.
    """
    n_y, n_x = wave.shape
    z = np.array(
        [[complex(j / n_x - n_x // 2 / n_x, i / n_y - n_y // 2 / n_y) for j in range(n_x)] for i in range(n_y)]
    )
    total = np.zeros(z.shape)
    for k in range(int(columns["terms"])):
        numbers = columns["term"][k].astype(float)
        total += term(TERMS[columns["term_kind"][k]], z, numbers.tolist(), int(columns["seed"]))
    inside = wave >= 0.1
    if {TERMS[k] for k in columns["term_kind"][: int(columns["terms"])]} & {"edge", "screw"}:
        return np.where(wave > 0, np.angle(np.exp(1j * total)), 0)
    low, high = total[inside].min(), total[inside].max()
    scale = float(columns["span"]) / (high - low)
    return np.where(wave > 0, scale * (np.clip(total, low, high) - (high + low) / 2), 0)


def term(kind: str, z: np.ndarray, numbers: list[float], seed: int) -> Floats:
    a, b, c, d, e, f = numbers
    own = (z - complex(c, b)) * np.exp(-1j * d)  # about a defect, along its direction
    if kind == "grating":
        return np.asarray(a * np.exp(2j * np.pi * (b * z.imag + c * z.real + d)).imag)
    if kind == "gaussian":
        return np.asarray(a * np.exp(-(abs(z - complex(c, b)) ** 2) / (2 * d**2)))
    if kind == "screw":
        return np.asarray(a * np.log(own).imag)
    if kind == "edge":
        square = abs(own) ** 2 + 1e-6
        along = np.log(own).imag + (own**2).imag / square / (4 * (1 - f))
        across = -((1 - 2 * f) * np.log(square) + (own**2).real / square) / (4 * (1 - f))
        return np.asarray(a * along + e * across)
    if kind in ("cylinder", "sphere"):
        power = 1 if kind == "cylinder" else 2
        rim, r = np.minimum(1, e / abs(own)), abs(own) / e
        return np.asarray(a * np.where(r < 1, r, rim**power) * np.cos(np.angle(own)))
    return random(z, seed, a, b, c)


def random(z: np.ndarray, seed: int, weight: float, length: float, slope: float) -> Floats:
    """Wave by wave: those of fewer rings first, row by row in a ring; a wave at kx > 0 stands for that at -k, too."""
    numbers = iter(np.random.Generator(np.random.Philox(seed)).standard_normal(10**5).tolist())
    total, power = np.zeros(z.shape), 0.0
    for ring in range(int(np.ceil(1 / length)) + 1):
        for ky in range(-ring, ring + 1):
            for kx in range(ring + 1):
                if max(abs(ky), kx) == ring:
                    real, imaginary = next(numbers), next(numbers)
                    if ring:
                        share = (1 + (2 * np.pi * length) ** 2 * (ky**2 + kx**2)) ** (-slope / 2) * (1 + (kx > 0))
                        turn = np.exp(2j * np.pi * (ky * z.imag + kx * z.real))
                        total, power = total + np.sqrt(share) * (complex(real, imaginary) * turn).real, power + share
    return np.asarray(weight * total / np.sqrt(power))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(32, 32), (23, 36)])
def test_the_columns_alone_rebuild_the_phase(name: str, shape: tuple[int, int]) -> None:
    for seed, drawn in enumerate(population(ALL[name], 12)):
        columns = {
            column.name.removeprefix("displacement_"): np.array(
                getattr(drawn, column.name.removeprefix("displacement_")), column.dtype
            )
            for column in object_phases.FIELDS
        }
        wave = modulus(seed, shape)
        expected, phase = rebuilt(columns, wave), render(drawn, wave)
        if drawn.dislocated:
            assert np.exp(1j * phase) == pytest.approx(np.exp(1j * expected), abs=2e-6)
        else:
            assert phase == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", ["gratings", "inclusions", "random"])
def test_the_peak_to_peak_is_the_span_and_its_middle_0(name: str) -> None:
    for seed, drawn in enumerate(population(ALL[name], 100)):
        wave = modulus(seed)
        phase = render(drawn, wave)
        assert phase.dtype == np.float32
        assert phase.max() == np.float32(drawn.span / 2)
        assert phase.min() == np.float32(-drawn.span / 2)
        assert not phase[wave == 0].any()
    spans = [drawn.span for drawn in population(ALL[name], 500)]
    assert (min(spans), max(spans), np.mean(spans)) == pytest.approx((0, 2 * np.pi, np.pi), abs=0.25)


def test_phases_with_dislocations_are_wrapped_and_not_scaled() -> None:
    for seed, drawn in enumerate(population(DISLOCATED, 50)):
        wave = modulus(seed)
        phase, total = render(drawn, wave), sum_of_terms(drawn, 32, 32)
        inside = wave >= MIN_MODULUS
        assert drawn.dislocated
        assert drawn.span == 0
        assert np.max(abs(phase)) <= np.float32(np.pi)
        assert np.exp(1j * phase)[inside] == pytest.approx(np.exp(1j * total)[inside], abs=1e-6)
        assert not phase[wave == 0].any()


def loop(low: int, high: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the pixels around a square of pixels, in the sense from +x to +y."""
    rise, fall, still = list(range(low, high)), list(range(high, low, -1)), high - low
    y = [low] * still + rise + [high] * still + fall
    x = rise + [high] * still + fall + [low] * still
    return y, x


@pytest.mark.parametrize("kind", ["edge", "screw"])
@pytest.mark.parametrize("order", [-2.0, -1.0, 0.0, 1.0, 3.0])
def test_the_burgers_circuit_closes_but_for_q_b(kind: str, order: float) -> None:
    """Around the line the phase rises by 2 pi times Q.b / 2 pi, around another place by nothing."""
    drawn = one(kind, order, 0.03, -0.04, 0.7, 0.6, 0.3)
    wave = render(drawn, np.ones((101, 101), np.float32)).astype(float)
    for low, high, expected in ((30, 70, order), (60, 90, 0.0), (5, 95, order)):
        values = wave[loop(low, high)]
        steps = np.diff([*values, values[0]])
        assert np.sum(steps - 2 * np.pi * np.rint(steps / (2 * np.pi))) == pytest.approx(2 * np.pi * expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["edge", "screw"])
def test_exp_i_phase_goes_on_across_the_cut(kind: str) -> None:
    """Steps from pixel to pixel fall as the grid gets finer, also at the cut, once away from the line."""
    steps = []
    for n in (128, 256):
        wave = np.exp(1j * render(one(kind, 1.0, 0.0, 0.0, 2.1, 0.4, 0.3), np.ones((n, n), np.float32)).astype(float))
        far = np.hypot(pixel_centres(n)[:, None], pixel_centres(n)) > 0.1
        steps.append(max(np.max(abs(wave[1:] - wave[:-1])[far[1:]]), np.max(abs(wave.T[1:] - wave.T[:-1])[far[1:]])))
    assert steps[0] / steps[1] == pytest.approx(2, rel=0.1)
    assert steps[1] < 0.1


def test_the_phase_rises_about_a_screw_from_its_direction() -> None:
    """Fixes the place and the sense: 0 along the direction, + pi / 2 a quarter turn on, from +x towards +y."""
    phase = render(one("screw", 1.0, 0.25, -0.25, 0.0), np.ones((8, 8), np.float32))
    y, x = 4 + 2, 4 - 2
    assert phase[y, x + 1 :] == pytest.approx(0, abs=1e-6)
    assert phase[y + 1, x] == pytest.approx(np.pi / 2, abs=1e-6)
    assert phase[0, x] == pytest.approx(-np.pi / 2, abs=1e-6)


def test_an_inclusion_pushes_outwards_along_q() -> None:
    """Q.u is what was said at the rim, falls as 1/r (a cylinder) or 1/r^2 (a sphere), and is odd about the middle."""
    for kind, power in (("cylinder", 1), ("sphere", 2)):
        total = sum_of_terms(one(kind, 2.0, 0.0, 0.0, np.pi / 2, 0.125), 32, 32)
        assert total[16 + 4, 16] == pytest.approx(2)
        assert total[16 + 2, 16] == pytest.approx(1)
        assert total[16 + 8, 16] == pytest.approx(2 / 2**power)
        assert total[16 - 4, 16] == pytest.approx(-2)
        assert total[16, :] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_a_finer_grid_shows_the_same_phase(name: str, shape: tuple[int, int], factor: int) -> None:
    first = [n * factor // 2 - n // 2 * factor for n in shape]
    for drawn in population(ALL[name], 5):
        fine = sum_of_terms(drawn, shape[0] * factor, shape[1] * factor)[first[0] :: factor, first[1] :: factor]
        assert fine == pytest.approx(sum_of_terms(drawn, *shape), abs=1e-9)


@pytest.mark.parametrize(("length", "slope"), [(0.1, 3.0), (0.15, 5.0)])
def test_random_fields_have_the_stated_covariance(length: float, slope: float) -> None:
    """Mean 0, variance 1, and the autocorrelation that belongs to the power, the same along y and x."""
    n, count = 32, 300
    term = one("field", 1.0, length, slope)
    power = np.mean([abs(np.fft.fft2(sum_of_terms(replace(term, seed=k), n, n))) ** 2 for k in range(count)], axis=0)
    covariance = np.fft.ifft2(power).real / n**2
    k = np.arange(-np.ceil(1 / np.float32(length)), np.ceil(1 / np.float32(length)) + 1)
    model = (1 + (2 * np.pi * length) ** 2 * (k[:, None] ** 2 + k**2)) ** (-slope / 2)
    model[len(k) // 2, len(k) // 2] = 0
    expected = np.array([(model * np.cos(2 * np.pi * k * d / n)).sum() for d in range(12)]) / model.sum()
    assert power[0, 0] < 1e-20 * power.max()
    assert covariance[0, 0] == pytest.approx(1, abs=0.05)
    assert covariance[0, :12] == pytest.approx(expected, abs=0.06)
    assert covariance[:12, 0] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("slope", [2.0, 4.0])
def test_the_power_of_a_random_field_falls_with_its_slope(slope: float) -> None:
    """Far above 1 / (2 pi l), and within half of what waves there are: a straight line in logarithms."""
    n, term = 64, one("field", 1.0, 0.05, slope)
    power = np.mean([abs(np.fft.fft2(sum_of_terms(replace(term, seed=k), n, n))) ** 2 for k in range(200)], axis=0)
    f = np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.fft.fftfreq(n, 1 / n))
    fit = (f > 9) & (f < 20)
    assert np.polyfit(np.log(f[fit]), np.log(power[fit]), 1)[0] == pytest.approx(-slope, rel=0.1)


@pytest.mark.parametrize("reach", [0.5, 0.25])
def test_lengths_follow_the_reach_and_places_the_object(reach: float) -> None:
    for drawn in population(Displacement(gratings=Range(low=1, high=1), gaussians=Range(low=1, high=1)), 300, reach):
        _, fy, fx, cycles, *_ = drawn.term[0]
        _, y, x, width, *_ = drawn.term[1]
        assert 0.2 * (1 - 1e-6) <= 1 / np.hypot(fy, fx) / (2 * reach) <= 1.5 * (1 + 1e-6)
        assert 0 <= cycles <= 1
        assert np.hypot(y - DISC[0], x - DISC[1]) <= 0.8 * DISC[2] * (1 + 1e-6)
        assert 0.05 * (1 - 1e-6) <= width / (2 * reach) <= 0.3 * (1 + 1e-6)


def test_numbers_of_terms_and_kinds_follow_the_recipe() -> None:
    drawn = population(DEFAULT, 1000)
    counts = [[np.sum(np.array(d.term_kind[: d.terms]) == TERMS.index(k)) for k in TERMS[:2]] for d in drawn]
    for column, span in zip(np.transpose(counts), (range(1, 5), range(5)), strict=True):
        assert np.bincount(column, minlength=5)[list(span)] / 1000 == pytest.approx(
            np.full(len(span), 1 / len(span)), abs=0.05
        )
    mixed = population(Displacement(kind="mixed", weights=(2, 1, 1)), 1000)
    assert np.bincount([d.kind for d in mixed]) / 1000 == pytest.approx([0.5, 0.25, 0.25], abs=0.05)
    names = [TERMS[kind] for d in population(SEVERAL, 500) for kind in d.term_kind[: d.terms]]
    shares = [names.count(name) / len(names) for name in ("edge", "screw", "cylinder", "sphere")]
    assert shares == pytest.approx([0.25] * 4, abs=0.04)


def test_dislocations_of_either_sign_and_in_all_directions() -> None:
    rows = np.array([row for d in population(DISLOCATED, 500) for row in d.term[: d.terms]])
    order, angle = rows[:, 0], rows[:, 3]
    assert [np.mean(order == k) for k in (-2, -1, 0, 1, 2)] == pytest.approx(
        [1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6], abs=0.05
    )
    assert np.mean(np.exp(1j * angle)) == pytest.approx(0, abs=0.1)


def test_no_span_and_nothing_inside_give_no_phase() -> None:
    flat = draw(Displacement(span=Range(low=0, high=0)), np.random.default_rng(0), 0.5, DISC)
    assert not render(flat, modulus(0)).any()
    for settings in ALL.values():
        drawn = population(settings, 1)[0]
        assert drawn.dislocated or not render(drawn, np.full((5, 6), 0.09, np.float32)).any()
    pixel = np.zeros((5, 6), np.float32)
    pixel[2, 3] = 1
    assert not render(population(DEFAULT, 1)[0], pixel).any()


def test_columns_hold_phases_exactly() -> None:
    for settings in (*ALL.values(), SEVERAL, Displacement(kind="mixed")):
        lengths = sizes(settings)
        for drawn in population(settings, 200):
            for column in object_phases.FIELDS:
                value = np.array(getattr(drawn, column.name.removeprefix("displacement_")))
                assert np.array_equal(value.astype(column.dtype), value)
                assert value.shape == column.shape(lengths)
            assert not np.any(drawn.term[drawn.terms :])
            assert not np.any(drawn.term_kind[drawn.terms :])


def test_another_seed_is_another_phase() -> None:
    for settings in (DEFAULT, SEVERAL, INCLUDED, RANDOM):
        images = [render(drawn, np.ones((16, 16), np.float32)).tobytes() for drawn in population(settings, 100)]
        assert len(set(images)) == 100
        assert images[0] == render(population(settings, 1)[0], np.ones((16, 16), np.float32)).tobytes()


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_every_phase_takes_as_many_random_numbers(kind: Kind) -> None:
    for seed in range(5):
        rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
        draw(Displacement(kind=kind), rng, 0.25, DISC)
        other.random(9 + 4 * 8 + 9 * 2)
        assert rng.random() == other.random()


def test_every_column_says_what_it_is() -> None:
    named = [f"displacement_{column.name}" for column in fields(DrawnDisplacement)]
    assert named == [column.name for column in object_phases.FIELDS]
    for info in Displacement.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"gratings": "0:3", "gaussians": "0:2"},
            "gratings and gaussians must not both be 0; for a flat phase, set span",
        ),
        ({"span": 7}, "at most 6.28"),
        ({"poisson": 0.6}, "at most 0.5"),
        ({"order": 0.5}, "whole"),
        ({"period": 0}, "at least 0.02"),
        ({"correlation": 0.001}, "at least 0.02"),
        ({"defect_kinds": ("twin",)}, "edge"),
        ({"defect_kinds": ()}, "at least 1"),
        ({"weights": (0, 0, 0)}, "not all 0"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Displacement.model_validate(settings)
