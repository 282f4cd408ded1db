"""The axis of many rows: a line that few wrong rows do not change, with an uncertainty that covers its error."""

import numpy as np
import pytest

from physics.tomography.axis_line import fit_line
from physics.tomography.rotation_axis import RotationAxis, find_axis
from tests.physics.sinograms import angle_sets, sinogram


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("tilt", [0.0, 0.03])
@pytest.mark.parametrize("count", [3, 7, 32])
def test_uncertainty_covers_the_error(tilt: float, count: int, rng: np.random.Generator) -> None:
    rows, errors = np.linspace(0, 500, count), []
    for _ in range(60):
        sigma = rng.uniform(0.02, 0.3, count)
        centres = 60 + (tilt if count > 4 else 0) * rows + sigma * rng.standard_normal(count)
        line = fit_line(rows, [RotationAxis(*one) for one in zip(centres.tolist(), sigma.tolist(), strict=True)])
        ends = rows[[0, -1]]
        exact = 60 + (tilt if count > 4 else 0) * ends
        errors.append((line.centres(ends) - exact) / line.uncertainties(ends))
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) < 1.5
    assert np.mean(np.abs(errors) < 2) > 0.9


def test_wrong_and_doubtful_rows_do_not_count(rng: np.random.Generator) -> None:
    rows = np.arange(20)
    found = [RotationAxis(50 + 0.1 * row + 0.02 * rng.standard_normal(), 0.02) for row in rows]
    found[3], found[11] = RotationAxis(58.0, 0.01), RotationAxis(43.0, 0.01)
    found[7] = RotationAxis(10.0, 0.01, "doubtful")
    assert fit_line(rows, found).centres(rows) == pytest.approx(50 + 0.1 * rows, abs=0.05)


def test_scatter_beyond_the_uncertainties_is_counted(rng: np.random.Generator) -> None:
    """Rows that disagree more than they say make the line uncertain."""
    found = [RotationAxis(50 + 0.5 * rng.standard_normal(), 0.01) for _ in range(16)]
    line = fit_line(np.arange(16), found)
    assert line.tilt == 0
    assert 0.05 < line.uncertainties(np.zeros(1))[0] < 0.3


def test_one_row_and_none() -> None:
    line = fit_line(np.array([4]), [RotationAxis(51.0, 0.2)])
    assert line.centres(np.arange(2)).tolist() == [51, 51]
    assert line.uncertainties(np.arange(2)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no row shows the axis"):
        fit_line(np.array([4]), [RotationAxis(51.0, 0.2, "doubtful")])


def test_a_tilted_axis_of_rows_with_rings(rng: np.random.Generator) -> None:
    angles, rows = angle_sets(60)["full"], np.arange(8)
    found = []
    for row in rows:
        exact = sinogram(angles, 96, 50 + 0.2 * row)
        noise = 0.03 * rng.standard_normal(96) + 0.02 * rng.standard_normal(exact.shape)
        found.append(find_axis(exact + exact.max() * noise, angles))
    line = fit_line(rows, found)
    assert abs(line.centres(rows) - 50 - 0.2 * rows).max() < 3 * line.uncertainties(rows).max() + 0.005
    assert line.tilt == pytest.approx(0.2, abs=0.01)
