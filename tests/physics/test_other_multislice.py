"""Multislice beside abTEM, on the same grid, slices and band limit, with the potentials of Lobato and Van Dyck.

With the same potentials, waves and signals agree to rounding. abTEM's own potentials on our grid differ by 12 %, and
its waves by 4 %, for a reason of its own: it shares an atom bilinearly between the four pixels around it, and divides
by the spectrum of one pixel, so that an atom's sharpness depends on its place between pixels. The error falls with the
square of the pixels, so its potentials are computed on pixels four times finer here. Measured by hand with a sphere of
10,489 atoms (radius 3.25 nm, 360 x 384 pixels, 33 slices): 1.0 % for the wave and 0.7 % for the signals; with the same
potentials, 2e-8 and 1e-8.

abTEM meets the first slice at the entrance surface, and gives the wave a whole slice behind the last one; our slices
are met in their middle. Its band limit falls over 3 % of the radius, which is switched off: it changes the wave behind
this particle by 2 %. Its fields have the axes (x, y), lengths are in angstrom, and pixel 0 is the origin.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest

from physics.arrays import Real
from physics.electron import wavelength
from physics.multislice import band_limit, exit_wave, transmission
from physics.optics import propagate
from physics.probe import probe
from physics.scattering import stem
from physics.scattering.atoms import Atoms, projected_potential, slice_potentials
from physics.scattering.detectors import annulus

# ASE sets shapes in place, which NumPy 2.5 deprecates: https://numpy.org/doc/stable/release/2.5.0-notes.html
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")

VOLTAGE, LAMBDA = 300e3, wavelength(300e3)
SHAPE, PIXEL = (144, 160), 0.02  # nm
RADIUS, SLICES = 1.0, 10
DEPTH = 2 * RADIUS + 0.04
EXACT = {"antialias.taper": 0.0, "antialias.cutoff": 2 / 3, "precision": "float64", "device": "cpu"}


def peer() -> Any:
    return pytest.importorskip("abtem", exc_type=ImportError)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@cache
def particle() -> Atoms:
    """Return a sphere of an alloy of nickel and platinum, fcc with a lattice constant of 0.38 nm, turned about x."""
    cells = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    lattice = 0.38 * ((cells + basis).reshape(-1, 3) + np.array([0.13, 0.21, 0.07]))
    c, s = np.cos(0.3), np.sin(0.3)
    positions = lattice @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    positions = positions[(positions**2).sum(axis=1) < RADIUS**2]
    return Atoms(("Ni", "Pt"), np.random.default_rng(0).integers(0, 2, len(positions)), positions)


def their_potentials(atoms: Atoms, slices: int, finer: int) -> Real:
    """Return abTEM's projected potentials [V nm], from finer pixels, up to our band limit."""
    abtem, ase = peer(), pytest.importorskip("ase")
    corner = np.array([SHAPE[0] // 2 * PIXEL, SHAPE[1] // 2 * PIXEL, DEPTH / 2])
    body = ase.Atoms(
        [atoms.elements[kind] for kind in atoms.kinds],
        positions=10 * (atoms.positions[:, [1, 2, 0]] + corner),
        cell=10 * np.array([SHAPE[0] * PIXEL, SHAPE[1] * PIXEL, DEPTH]),
        pbc=True,
    )
    with abtem.config.set(EXACT):
        made = abtem.Potential(
            body,
            gpts=(finer * SHAPE[0], finer * SHAPE[1]),
            slice_thickness=10 * DEPTH / slices,
            parametrization="lobato",
            projection="infinite",
        )
        return np.stack([limited(np.asarray(one.array)[0]) for one in made.generate_slices()]) / 10


def limited(potential: Real) -> Real:
    """Return a field on finer pixels at ours, up to the band limit."""
    spectrum = np.fft.fftshift(np.fft.fft2(potential))
    first = [(whole - part) // 2 for whole, part in zip(potential.shape, SHAPE, strict=True)]
    part = spectrum[first[0] : first[0] + SHAPE[0], first[1] : first[1] + SHAPE[1]]
    share = SHAPE[0] * SHAPE[1] / potential.size
    made: Real = np.fft.ifft2(np.fft.ifftshift(part) * band_limit(SHAPE, PIXEL)).real * share
    return made


@cache
def waves(finer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return abTEM's wave of a plane wave, and signals of some probes, from our potentials (0) or its own."""
    abtem = peer()
    potentials = our_potentials() if not finer else their_potentials(particle(), SLICES, finer)
    angstrom = (10 * PIXEL, 10 * PIXEL)
    with abtem.config.set(EXACT):
        slices = abtem.PotentialArray(10 * potentials, slice_thickness=10 * DEPTH / SLICES, sampling=angstrom)
        plane = np.asarray(abtem.PlaneWave(energy=VOLTAGE).multislice(slices, lazy=False).array)
        axis = abtem.core.axes.OrdinalAxis(values=tuple(range(len(places()))))
        incident = abtem.Waves(
            stem.probes_at(focused(), places(), PIXEL),
            energy=VOLTAGE,
            sampling=angstrom,
            ensemble_axes_metadata=[axis],
            reciprocal_space=False,
        )
        ring = abtem.AnnularDetector(23, 32)
        shares = np.asarray(incident.multislice(slices, detectors=ring).array)
    return plane, shares / (SHAPE[0] * SHAPE[1])


def our_potentials() -> Real:
    edges = np.linspace(-DEPTH / 2, DEPTH / 2, SLICES + 1)
    return np.stack(list(slice_potentials(particle(), edges.tolist(), SHAPE, PIXEL))).astype(float)


@cache
def our_waves() -> tuple[np.ndarray, np.ndarray]:
    limit, thickness = band_limit(SHAPE, PIXEL), DEPTH / SLICES
    slices = np.stack([transmission(v, VOLTAGE, limit) for v in our_potentials()])
    plane = exit_wave(slices, LAMBDA, thickness, PIXEL, exit_plane=DEPTH + thickness / 2, limit=limit)
    early = propagate(focused(), LAMBDA, -thickness / 2, PIXEL)
    detector = annulus(SHAPE, PIXEL, LAMBDA, 0.023, 0.032)
    shares = stem.scanned_signals(early, places(), slices, LAMBDA, thickness, PIXEL, detector, limit=limit)
    return plane, shares[:, 0]


def focused() -> np.ndarray:
    made: np.ndarray = probe(SHAPE, PIXEL, VOLTAGE, 0.02)
    return made


def places() -> Real:
    return np.random.default_rng(0).uniform(-0.8 * RADIUS, 0.8 * RADIUS, (30, 2))


def test_the_same_potentials_make_the_same_waves() -> None:
    (plane, shares), (ours, our_shares) = waves(0), our_waves()
    assert distance(ours, plane) < 1e-7
    assert distance(our_shares, shares) < 1e-6
    assert np.ptp(shares) > 0.1 * shares.mean()


def test_its_own_potentials_make_the_same_waves_within_two_percent() -> None:
    (plane, shares), (ours, our_shares) = waves(4), our_waves()
    assert distance(ours, plane) < 0.005
    assert distance(our_shares, shares) < 0.02


def test_the_potential_of_one_atom_is_ours_for_fine_pixels() -> None:
    """The difference falls with the square of abTEM's pixels. The atom lies a third beside all of them."""
    one = Atoms(("Pt",), np.array([0]), PIXEL * np.array([[0.0, 5 + 1 / 3, -10 - 1 / 3]]))
    ours = projected_potential(one, SHAPE, PIXEL)
    errors = [distance(their_potentials(one, 1, finer)[0], ours) for finer in (1, 2, 4)]
    assert errors[0] > 0.05 > errors[1] > 0.01 > errors[2]
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.2)
