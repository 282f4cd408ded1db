"""Specimens that a wave passes: particles, voxels or waves from files; magnetised and on a film if wanted."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from generators.instruments.image_formation import SimulationGrid
from generators.specimens import film
from generators.specimens.draws import stored_parameters
from generators.specimens.exit_waves import Body, ExitWaves, add_film, import_exit, simulate_exit
from generators.specimens.film import DrawnFilm
from generators.specimens.from_files.voxels import DrawnVoxels, SpecimenFiles
from generators.specimens.from_files.wavefields import DrawnWave, WaveFiles
from generators.specimens.particles import nanoparticle
from generators.specimens.particles.magnetised import Magnet
from generators.specimens.particles.mesh import support
from generators.specimens.particles.nanoparticle import Particle
from generators.specimens.particles.projection import thickness
from physics import optics

type Files = SpecimenFiles | WaveFiles | None
type Shape = Particle | DrawnVoxels | DrawnWave


@dataclass(frozen=True)
class ThickSpecimen:
    """A drawn specimen; floats are rounded to float32, as they are stored."""

    shape: Shape
    potential: np.float32  # mean inner potential V [V]
    absorption: np.float32  # absorptive potential V' [V]
    magnet: Magnet | None
    film: DrawnFilm | None

    def columns(self) -> dict[str, Any]:
        """Return all parameters by field, with those of shape, magnet and film."""
        prefix = "particle_" if isinstance(self.shape, Particle) else ""
        parameters = stored_parameters("", self) | stored_parameters(prefix, self.shape)
        parameters |= stored_parameters("", self.magnet) if self.magnet else {}
        return parameters | (stored_parameters("film_", self.film) if self.film else {})


def exit_waves(
    specimen: ThickSpecimen, files: Files, grid: SimulationGrid, voltage: float, slices: int, *, flipped: bool
) -> ExitWaves:
    """Return the phases, amplitude and waves behind a specimen, on the simulation grid.

    Args:
        specimen: the specimen
        files: the pool from which its shape was drawn; None for particles
        grid: the simulation grid
        voltage: accelerating voltage [V]
        slices: number of slices for multislice; 1: projection approximation
        flipped: also compute the wave of the specimen turned over
    """
    if isinstance(files, WaveFiles):
        assert isinstance(specimen.shape, DrawnWave)
        return import_exit(*files.waves(specimen.shape, grid.size))
    slabs, height = _slabs(specimen.shape, files, grid, slices)
    body = Body(
        phases=optics.phase_shift(slabs, float(specimen.potential), voltage),
        amplitudes=optics.attenuation(slabs, float(specimen.absorption), voltage),
        magnetic=_magnetic_phase(specimen, files, grid, slabs),
        height=height,
        voltage=voltage,
        sampling=grid.pitch,
    )
    if specimen.film:
        support_film = film.thickness(specimen.film, *grid.shape_and_pitch, origin=grid.origin(grid.supersampling))
        phase = optics.phase_shift(support_film, specimen.film.potential, voltage)
        body = add_film(body, phase, optics.attenuation(support_film, specimen.film.absorption, voltage))
    return simulate_exit(body, flipped=flipped)


def _slabs(shape: Shape, files: SpecimenFiles | None, grid: SimulationGrid, slices: int) -> tuple[np.ndarray, float]:
    """Return the thickness [nm] within each slab of the specimen, (slab, y, x) float32, and the slab height [nm]."""
    if files is not None:
        assert isinstance(shape, DrawnVoxels)
        slabs, height = files.slabs(shape, grid.shape_and_pitch, grid.field_of_view, grid.middle, slices)
        return slabs.astype(np.float32), height
    assert isinstance(shape, Particle)
    mesh = nanoparticle.build(shape, grid.field_of_view)
    edges = np.linspace(-support(mesh, (-1, 0, 0)), support(mesh, (1, 0, 0)), slices + 1)
    origin = grid.origin(grid.supersampling)
    layers = [thickness(mesh, *grid.shape_and_pitch, z_range=pair, origin=origin) for pair in pairwise(edges.tolist())]
    return np.stack(layers).astype(np.float32), float(edges[1] - edges[0])


def _magnetic_phase(
    specimen: ThickSpecimen, files: SpecimenFiles | None, grid: SimulationGrid, slabs: np.ndarray
) -> np.ndarray | None:
    """Return the phase (y, x) [rad] due to the magnetisation; None if the specimen is not magnetic."""
    if specimen.magnet is None:
        return None
    if files is not None and files.moments:
        assert isinstance(specimen.shape, DrawnVoxels)
        moment = files.moment(specimen.shape, grid.shape_and_pitch, grid.field_of_view, grid.middle)
        return specimen.magnet.phase_of_moment(moment, grid.pitch)
    return specimen.magnet.uniform_phase(slabs.sum(axis=0), grid.pitch)
