"""Support films: the statistics that are stated, and one film on every grid."""

from dataclasses import fields, replace

import numpy as np
import pytest
from pydantic import ValidationError

from generators.specimens.film import DrawnFilm, Film, check_correlation, draw, thickness
from generators.specimens.particles.projection import fine_origin
from schemas.fields import films
from schemas.runtime.ranges import Range

from .closed_mesh import GRIDS

CARBON = DrawnFilm(thickness=10.0, potential=9.09, absorption=0.5, roughness=0.1, correlation=2.0, seed=3)


def finer(
    grid: tuple[int, int], sampling: tuple[float, float], factor: int
) -> tuple[tuple[int, int], tuple[float, float]]:
    return (grid[0] * factor, grid[1] * factor), (sampling[0] / factor, sampling[1] / factor)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("correlation", [0.3, 2.0, 500.0])
def test_a_finer_grid_shows_the_same_film(
    grid: tuple[tuple[int, int], tuple[float, float]], factor: int, correlation: float
) -> None:
    """At the same places, also where the coarse grid is far too coarse for the film."""
    film, fine = replace(CARBON, correlation=correlation), finer(*grid, factor)
    first = [n * factor // 2 - n // 2 * factor for n in grid[0]]
    image = thickness(film, *fine)[first[0] :: factor, first[1] :: factor]
    assert image == pytest.approx(thickness(film, *grid), abs=2e-5)
    assert np.std(image) > 0.1


@pytest.mark.parametrize("factor", [3, 5])
def test_blocks_lie_about_the_pixels(factor: int) -> None:
    """`fine_origin`, as particles have it: the middle of a block of an odd number of points is the pixel's centre."""
    shape, sampling = GRIDS[1]
    fine = thickness(CARBON, *finer(shape, sampling, factor), origin=fine_origin(shape, factor))
    assert fine[factor // 2 :: factor, factor // 2 :: factor] == pytest.approx(
        thickness(CARBON, shape, sampling), abs=2e-5
    )


def test_the_mean_over_a_block_nears_the_mean_of_the_film() -> None:
    shape, sampling = (32, 40), (1.5, 1.5)
    blocks = []
    for factor in (4, 8):
        image = thickness(CARBON, *finer(shape, sampling, factor), origin=fine_origin(shape, factor))
        blocks.append(image.reshape(32, factor, 40, factor).mean(axis=(1, 3)))
    assert blocks[0] == pytest.approx(blocks[1], abs=0.02)


def test_rms_and_correlation_are_those_stated() -> None:
    """ln t: variance ln(1 + roughness^2), autocorrelation exp(-r^2 / (2 l^2)), the same along y and x."""
    shape, sampling, power = (96, 81), (0.8, 1.1), np.zeros((96, 81))
    seeds = range(60)
    for seed in seeds:
        log = np.log(thickness(replace(CARBON, seed=seed), shape, sampling).astype(float))
        power = power + abs(np.fft.fft2(log - log.mean())) ** 2 / len(seeds)
    covariance = np.fft.ifft2(power).real / np.prod(shape)
    assert covariance[0, 0] == pytest.approx(np.log1p(0.1**2), rel=0.03)
    for line, step in ((covariance[:6, 0], 0.8), (covariance[0, :6], 1.1), (np.diag(covariance)[:6], 1.8500**0.5)):
        expected = np.exp(-((np.arange(6) * step) ** 2) / (2 * 2.0**2))
        assert line / covariance[0, 0] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("roughness", [0.02, 0.1, 0.5])
def test_thickness_has_its_mean_and_standard_deviation(roughness: float) -> None:
    images = [thickness(replace(CARBON, roughness=roughness, seed=k), (150, 130), (0.9, 1.0)) for k in range(40)]
    assert np.min(images) > 0
    assert np.mean(images) == pytest.approx(10, rel=0.1 * roughness)
    assert np.std(images) == pytest.approx(10 * roughness, rel=0.05)


def test_a_film_is_periodic_over_the_field() -> None:
    shape, sampling = (33, 50), (1.3, 0.6)
    image = thickness(CARBON, shape, sampling)
    moved = thickness(CARBON, shape, sampling, origin=(33 // 2 + 33 + 4, 25 - 7))
    assert moved == pytest.approx(np.roll(image, (4, -7), (0, 1)), abs=2e-5)  # the film follows its origin


def test_a_field_that_rounds_to_another_width_has_the_same_film() -> None:
    """Even where it then takes one more ring of waves: 40 correlation lengths are 39 or 41 for the rounding."""
    image = thickness(CARBON, (40, 40), (2.0, 2.0))
    for change in (1 - 1e-12, 1 + 1e-12):
        assert thickness(CARBON, (40, 40), (2.0 * change,) * 2) == pytest.approx(image, abs=1e-3)


def test_another_seed_is_another_film() -> None:
    image = thickness(CARBON, *GRIDS[0])
    assert np.array_equal(image, thickness(replace(CARBON), *GRIDS[0]))
    other = thickness(replace(CARBON, seed=4), *GRIDS[0])
    assert abs(np.corrcoef(image.ravel(), other.ravel())[0, 1]) < 0.2


def test_a_smooth_film_is_flat() -> None:
    image = thickness(replace(CARBON, roughness=0.0), (5, 7), (1.0, 2.0))
    assert image.dtype == np.float32
    assert np.array_equal(image, np.full((5, 7), 10, np.float32))


def test_films_follow_the_recipe_and_are_stored_exactly() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(Film(), rng) for _ in range(500)]
    for film in drawn:
        for field in films.FIELDS:
            value = getattr(film, field.name.removeprefix("film_"))
            assert np.dtype(field.dtype).type(value) == value
    thick = [film.thickness for film in drawn]
    assert (min(thick), max(thick), np.mean(thick)) == pytest.approx((5, 20, 12.5), abs=0.5)
    assert {film.potential for film in drawn} == {float(np.float32(9.09))}
    assert len({film.seed for film in drawn}) == 500


def test_every_film_takes_as_many_random_numbers() -> None:
    for film in (Film(), Film(roughness=Range(low=0, high=0), thickness=Range(low=1, high=1))):
        rng, other = np.random.default_rng(0), np.random.default_rng(0)
        draw(film, rng)
        other.random(6)
        assert rng.random() == other.random()


def test_every_column_says_what_it_is() -> None:
    assert [f"film_{column.name}" for column in fields(DrawnFilm)] == [field.name for field in films.FIELDS]
    for info in Film.model_fields.values():
        assert info.description
        assert isinstance(info.json_schema_extra, dict)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"thickness": 0}, "more than 0"),
        ({"roughness": "0:1.5"}, "at most 1"),
        ({"correlation": 0.1}, "at least 0.2"),
        ({"absorption": -1}, "at least 0"),
        ({"colour": "black"}, "Extra inputs"),
    ],
)
def test_bad_settings(settings: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Film.model_validate(settings)


def test_a_film_too_fine_for_its_field_is_refused() -> None:
    check_correlation(Film(), 1000.0)
    check_correlation(Film(roughness=Range(low=0, high=0)), 5000.0)
    with pytest.raises(ValueError, match=r"film.correlation = 1 nm: must be at least field_of_view / 1000 = 5 nm; or"):
        check_correlation(Film(), 5000.0)


@pytest.mark.parametrize("rounded", [1 - 1e-9, 1 + 1e-9])
def test_rounding_of_the_field_does_not_change_the_film(rounded: float) -> None:
    """As 64 x 150 / 64 and 256 x 150 / 256 nm are rounded; here 48 correlation lengths."""
    one, other = (thickness(CARBON, (32, 32), (3.0 * scale,) * 2) for scale in (1, rounded))
    assert other == pytest.approx(one, abs=2e-6)
