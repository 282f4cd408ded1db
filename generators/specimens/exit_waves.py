"""Waves behind a body, from its potentials and its magnetisation, on the simulation grid (y, x).

    slices = 1   projection: psi = exp(-sigma V' t) exp(i (sigma V t + phi_m))
    slices > 1   multislice (`physics.multislice`), referred to the middle plane of the body

phi_m is spread evenly over the slices, because the magnetic field reaches beyond the body. A film lies in the last
slab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from generators.specimens.from_files.wavefields import unwrapped_phase
from physics import multislice, optics
from physics.electron import wavelength


@dataclass(frozen=True)
class Body:
    """The slabs that the beam passes, in this order."""

    phases: np.ndarray  # sigma V t of each slab (slice, y, x) [rad], float32
    amplitudes: np.ndarray  # exp(-sigma V' t) of each slab (slice, y, x)
    magnetic: np.ndarray | None  # phase (y, x) [rad]
    height: float  # thickness of a slab [nm]
    voltage: float  # [V]
    sampling: float  # [nm]

    @property
    def electrostatic(self) -> np.ndarray:
        """Projected phase (y, x) [rad]."""
        return sum(self.phases[1:], self.phases[0])  # type: ignore[no-any-return]

    def wave(self, sign: int) -> np.ndarray:
        """Return the exit wave (y, x), complex64.

        Args:
            sign: 1, or -1 for the body turned over, with its image mirrored back
        """
        slabs = zip(self.phases[::sign], self.amplitudes[::sign], strict=True)
        magnetic = 0 if self.magnetic is None else np.float32(sign / len(self.phases)) * self.magnetic
        waves = (optics.exit_wave(phase + magnetic, amplitude) for phase, amplitude in slabs)
        return multislice.exit_wave(waves, wavelength(self.voltage), self.height, self.sampling)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ExitWaves:
    """The phases, the amplitude and the waves behind the specimen."""

    total: np.ndarray  # projected phase (y, x) [rad]
    magnetic: np.ndarray | None
    amplitude: np.ndarray  # modulus of the exit wave
    waves: Sequence[np.ndarray]  # exit waves of the specimen, and of the specimen turned over if asked for
    phase: np.ndarray | None = None  # unwrapped phase of the exit wave [rad], if it is not the projected phase

    def component(self, name: str) -> np.ndarray:
        """Return the total, electrostatic or magnetic phase (y, x) [rad].

        Args:
            name: `total`, `electrostatic` or `magnetic`; without magnetisation, all give the total
        """
        if name == "total" or self.magnetic is None:
            return self.total
        return self.magnetic if name == "magnetic" else self.total - self.magnetic


def simulate_exit(body: Body, *, flipped: bool) -> ExitWaves:
    """Return the phases, the amplitude and the waves behind a body.

    Args:
        body: the body
        flipped: also compute the wave of the body turned over
    """
    electrostatic = body.electrostatic
    total = electrostatic if body.magnetic is None else electrostatic + body.magnetic
    waves = [body.wave(sign) for sign in ((1, -1) if flipped else (1,))]
    if len(body.phases) == 1:
        return ExitWaves(total, body.magnetic, body.amplitudes[0], waves)
    return ExitWaves(total, body.magnetic, abs(waves[0]), waves, unwrapped_phase(waves[0], total))


def add_film(body: Body, phase: np.ndarray, amplitude: np.ndarray) -> Body:
    """Return the body with a support film in its last slab.

    Args:
        body: the body
        phase: projected phase of the film (y, x) [rad]
        amplitude: amplitude (y, x) that the film transmits
    """
    phases = np.concatenate([body.phases[:-1], body.phases[-1:] + phase])
    return replace(
        body, phases=phases, amplitudes=np.concatenate([body.amplitudes[:-1], body.amplitudes[-1:] * amplitude])
    )


def import_exit(exit_wave: np.ndarray, projected: np.ndarray) -> ExitWaves:
    """Return the phases, the amplitude and the wave that another program has simulated.

    Args:
        exit_wave: exit wave (y, x)
        projected: wave of the same specimen in the projection approximation (y, x)
    """
    total = unwrapped_phase(projected)
    return ExitWaves(total, None, abs(exit_wave), [exit_wave], unwrapped_phase(exit_wave, total))
