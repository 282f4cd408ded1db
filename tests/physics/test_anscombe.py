"""The Anscombe transform: counts have one variance behind it, and means come back without bias."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from physics.anscombe import restore, stabilise

NODES = np.linspace(-6, 6, 121)


def moments(electrons: float, read_noise: float) -> tuple[float, float]:
    """Return mean and variance of the transformed sum of a Poisson and a normal variable, by quadrature."""
    counts = np.arange(400)
    weights = poisson.pmf(counts, electrons)[:, None] * norm.pdf(NODES) * (NODES[1] - NODES[0])
    values = stabilise(counts[:, None] + read_noise * NODES, read_noise)
    mean = float((weights * values).sum())
    return mean, float((weights * values**2).sum()) - mean**2


@pytest.mark.parametrize("read_noise", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("electrons", [0.0, 0.1, 1.0, 4.0, 30.0, 100.0])
def test_the_inverse_is_not_biased(electrons: float, read_noise: float) -> None:
    """The algebraic inverse is too dark by a quarter of an electron."""
    mean, variance = moments(electrons, read_noise)
    assert abs(restore(mean, read_noise) - electrons) < (0.05 if read_noise else 0.02)
    if electrons >= 4:
        assert variance == pytest.approx(1, abs=0.1)
        assert mean**2 / 4 - 3 / 8 - read_noise**2 == pytest.approx(electrons - 0.25, abs=0.05)


def test_large_counts_come_back_and_none_is_negative() -> None:
    counts = np.array([[1e3, 1e4], [1e5, 1e6]])
    np.testing.assert_allclose(restore(stabilise(counts)), counts + 0.25, atol=0.01)
    assert restore(np.array([-1.0, 0, 1.2])).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert stabilise(np.array([-5.0])) == 0
