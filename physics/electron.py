"""Relativistic electron optics: wavelength and interaction constant. Voltages in V, lengths in nm, phases in rad.

The units are V and nm, not J and m: in SI the square of an energy is 1e-26 and f**4 is 1e40, too close to the limits of
float32. The formulas use only `+ * / **`, so one definition works for floats, NumPy, JAX and numba, also in float32.

h, e and c are exact (SI 2019); the mass of the electron is from CODATA 2022.
"""

from math import pi

from physics.arrays import Array

PLANCK = 6.62607015e-34  # J s
CHARGE = 1.602176634e-19  # C
LIGHT = 299_792_458.0  # m/s
MASS = 9.1093837139e-31  # kg

REST_VOLTAGE = MASS * LIGHT**2 / CHARGE  # V: the rest energy per charge, 510999
HC = 1e9 * PLANCK * LIGHT / CHARGE  # V nm: 1239.84


def wavelength(voltage: Array) -> Array:
    """De Broglie wavelength [nm] after acceleration through `voltage` [V].

        lambda = h c / sqrt(eU (2 m c^2 + eU))

    Args:
        voltage: U > 0 [V], a number or an array of any shape.

    Returns:
        lambda [nm], of the shape of `voltage`.

    Kirkland, Advanced Computing in Electron Microscopy, ch. 2.

    >>> round(wavelength(300e3) * 1e3, 5)  # pm
    1.96875
    """
    return HC / (voltage * (2 * REST_VOLTAGE + voltage)) ** 0.5


def interaction(voltage: Array) -> Array:
    """Relativistic interaction constant sigma [rad/(V nm)]: the phase gained per volt of potential and nm of path.

        sigma = 2 pi gamma m e lambda / h^2 = (2 pi / lambda U) (m c^2 + eU) / (2 m c^2 + eU)

    The formula is of first order in V/U, for a potential V far below U (V/U = 6e-5 at 17 V and 300 kV). The limit
    pi/(lambda U) for slow electrons is 19 % too small at 300 kV.

    Args:
        voltage: U > 0 [V], a number or an array of any shape.

    Returns:
        sigma [rad/(V nm)], of the shape of `voltage`.

    Kirkland, Advanced Computing in Electron Microscopy.

    >>> round(interaction(300e3) * 1e2, 6)  # mrad/(V A)
    0.652616
    """
    return 2 * pi * wavelength(voltage) * (REST_VOLTAGE + voltage) / HC**2
