"""From a body, its potentials and its magnetisation to the waves behind it, on the simulation grid (y, x).

    slices = 1   projection: psi = exp(-sigma V' t) exp(i (sigma V t + phi_m))
    slices > 1   multislice (`physics.multislice`), referred to the plane amid the slabs of the body

phi_m is spread evenly over the slices: the magnetic field reaches beyond the body. A film lies in the last slab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from generators.specimens.from_files.wavefields import unwrapped
from physics import multislice, optics
from physics.electron import wavelength


@dataclass(frozen=True)
class Body:
    """What the beam meets, in its order."""

    phases: np.ndarray  # sigma V t of each slab (slice, y, x) [rad], float32
    amplitudes: np.ndarray  # exp(-sigma V' t) of each slab (slice, y, x)
    magnetic: np.ndarray | None  # phase (y, x) [rad]
    height: float  # of a slab [nm]
    voltage: float  # [V]
    sampling: float  # [nm]

    @property
    def electrostatic(self) -> np.ndarray:
        """Projected phase (y, x) [rad]."""
        return sum(self.phases[1:], self.phases[0])  # type: ignore[no-any-return]

    def wave(self, sign: int) -> np.ndarray:
        """The exit wave (y, x), complex64. sign: -1 for the body turned over, its image mirrored back."""
        slabs = zip(self.phases[::sign], self.amplitudes[::sign], strict=True)
        share = 0 if self.magnetic is None else np.float32(sign / len(self.phases)) * self.magnetic
        waves = (optics.exit_wave(phase + share, amplitude) for phase, amplitude in slabs)
        return multislice.exit_wave(waves, wavelength(self.voltage), self.height, self.sampling)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Exit:
    """What is known behind the specimen."""

    total: np.ndarray  # projected phase (y, x) [rad]
    magnetic: np.ndarray | None
    amplitude: np.ndarray  # modulus of the exit wave
    waves: Sequence[np.ndarray]  # of the specimen, and of the same turned over if asked for
    phase: np.ndarray | None = None  # of the exit wave [rad], unwrapped, where it is not the projected one

    def component(self, name: str) -> np.ndarray:
        """The total, electrostatic or magnetic phase (y, x) [rad]."""
        if name == "total" or self.magnetic is None:
            return self.total
        return self.magnetic if name == "magnetic" else self.total - self.magnetic


def behind(body: Body, *, flipped: bool) -> Exit:
    """Of a body."""
    electrostatic = body.electrostatic
    total = electrostatic if body.magnetic is None else electrostatic + body.magnetic
    waves = [body.wave(sign) for sign in ((1, -1) if flipped else (1,))]
    if len(body.phases) == 1:
        return Exit(total, body.magnetic, body.amplitudes[0], waves)
    return Exit(total, body.magnetic, abs(waves[0]), waves, unwrapped(waves[0], total))


def on_film(body: Body, phase: np.ndarray, amplitude: np.ndarray) -> Body:
    """With a support film in the last slab: its projected phase (y, x) [rad], and the amplitude that it leaves."""
    phases = np.concatenate([body.phases[:-1], body.phases[-1:] + phase])
    return replace(
        body, phases=phases, amplitudes=np.concatenate([body.amplitudes[:-1], body.amplitudes[-1:] * amplitude])
    )


def imported(exit_wave: np.ndarray, projected: np.ndarray) -> Exit:
    """Of a wave that another program has simulated, and of the one that it has in the projection approximation."""
    total = unwrapped(projected)
    return Exit(total, None, abs(exit_wave), [exit_wave], unwrapped(exit_wave, total))
