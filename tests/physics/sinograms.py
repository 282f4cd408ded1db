"""Exact sinograms of discs and Gaussians, with any centre of rotation, in parallel and flat fan beams."""

import numpy as np

# x, y, radius and coefficient of a few objects, in units of a field of view of 1
OBJECTS = np.array([[0.2, -0.1, 0.12, 1], [-0.15, 0.22, 0.06, 2], [0.02, 0.3, 0.09, 0.7], [-0.25, -0.12, 0.05, 1.5]])
GOLDEN = np.pi * (5**0.5 - 1) / 2


def sinogram(
    angles: np.ndarray,
    width: int,
    centre: float,
    *,
    smooth: bool = False,
    source_distance: float = 0.0,
    field: float = 0.0,
) -> np.ndarray:
    """Return the line integrals (angle, detector) of discs or Gaussians whose axis lies at pixel `centre`."""
    u = np.arange(width) - centre
    fan = np.arctan(u / source_distance) if source_distance else np.zeros(width)
    s = source_distance * np.sin(fan) if source_distance else u
    turned = angles[:, None] - fan
    total = np.zeros(turned.shape)
    for x, y, radius, coefficient in OBJECTS * [*[field or width] * 3, 1 / width]:
        away = s - x * np.cos(turned) - y * np.sin(turned)
        if smooth:
            total += coefficient * radius * np.sqrt(np.pi / 2) * np.exp(-2 * (away / radius) ** 2)
        else:
            total += 2 * coefficient * np.sqrt((radius**2 - away**2).clip(0))
    return total


def angle_sets(count: int) -> dict[str, np.ndarray]:
    """Return sets of views by name, in the orders in which they are measured."""
    half = np.arange(count) * np.pi / count
    return {
        "half": half,
        "both ends": np.linspace(0, np.pi, count),
        "full": 2 * half,
        "backwards": 1.0 - half,
        "golden": np.arange(count) * GOLDEN % np.pi,
        "golden full": np.arange(count) * 2 * GOLDEN % (2 * np.pi),
        "shuffled": np.random.default_rng(3).permutation(half),
    }
