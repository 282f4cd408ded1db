"""Zone axes: along them atoms stand in columns, whatever the particle and however it is turned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generators.specimens.atoms.cluster import Cluster, DrawnCluster, atoms_of, draw
from generators.specimens.atoms.zone_axes import zone_angles, zone_axes
from generators.specimens.particles.mesh import rotation_matrix
from schemas.runtime.settings import make_settings

PERFECT = ("vacancies=0", "relaxation=0", "displacement=0", "diameter=3", "elements=Pt", "share=0")
KINDS = (("octahedron", "none"), ("octahedron", "twin"), ("icosahedron", "none"), ("decahedron", "none"))


def particle(kind: str, fault: str = "none") -> DrawnCluster:
    settings: Any = make_settings(Cluster, {}, [*PERFECT, f"kinds={kind}", f"faults={fault}"])
    return draw(settings, np.random.default_rng(3))


def share_in_columns(positions: np.ndarray, beam: np.ndarray) -> float:
    """Return the share of the atoms that have another one in front of them or behind them."""
    across = positions - np.outer(positions @ beam, beam)
    gaps = np.linalg.norm(across[:, None] - across[None], axis=-1) + np.eye(len(across))
    return float((gaps.min(axis=1) < 0.01).mean())


@pytest.mark.parametrize(("kind", "fault"), KINDS)
def test_atoms_stand_in_columns_along_zone_axes_and_nowhere_else(kind: str, fault: str) -> None:
    one = particle(kind, fault)
    positions, turn = atoms_of(one).positions, rotation_matrix(one.quaternion)
    axes = zone_axes(one.kind, one.fault) @ turn.T
    grains = {"twin": 2, "icosahedron": 20, "decahedron": 5}.get(fault if fault != "none" else kind, 1)
    assert len(axes) == 13 * grains
    shares = [share_in_columns(positions, axis) for axis in axes]
    assert min(shares) > 0.6 / grains
    assert np.allclose(zone_angles(one, axes), 0, atol=1e-6)
    rng = np.random.default_rng(0)
    beams = rng.normal(size=(40, 3))
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    angles = zone_angles(one, beams)
    assert share_in_columns(positions, beams[angles.argmax()]) < 0.2


def test_angles_are_those_of_a_cube() -> None:
    """Between [100] and [110] lie 45 degrees; halfway, 22.5 degrees are left. The other way round is the same."""
    one = replace(particle("octahedron"), quaternion=(1.0, 0.0, 0.0, 0.0))
    eighth = np.pi / 8
    beams = np.array([[1, 0, 0], [0, -1, 0], [np.cos(eighth), np.sin(eighth), 0], [0, 1, 1], [-1, 1, 1]], float)
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    assert np.allclose(zone_angles(one, beams), [0, 0, eighth, 0, 0], atol=1e-6)


def test_a_glass_has_none() -> None:
    one = replace(particle("octahedron"), kind="amorphous")
    assert np.allclose(zone_angles(one, np.eye(3)), np.pi / 2)
