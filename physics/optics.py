"""Optics of electron waves: exit wave, free space, lens, image. Lengths in nm, angles and phases in rad.

Waves are exp(+2 pi i z / lambda), z downstream; the phase of a specimen is + sigma V t. A plane wave of transverse
frequency f travels at the angle alpha = lambda f, and free space multiplies it by exp(-i pi lambda z |f|^2). The image
with defocus C1 > 0 (overfocus) is that of the plane z = C1 downstream of the specimen. Underfocus is C1 < 0, and
Scherzer's focus is C1 = -sqrt(1.5 C3 lambda). All widths of Gaussians are standard deviations.

Parameters are numbers, or arrays over the leading axes of the wave (`physics.arrays`). Boundaries are periodic.

Precision: with NumPy (or Python) parameters the phases are float64, and a complex64 result is within 1e-6 of the
complex128 one at any defocus. If wavelength, distance or sampling are float32 tracers, lambda z f^2 / 2 carries five
roundings before it is reduced modulo one cycle. This is an error of up to 2e-6 rad per cycle (10 um at 2.3 nm pixels
and 300 kV are 0.5 cycles; after 500 cycles the error is 1e-3 rad).
"""

from math import pi

from physics.arrays import Array, as_leading, module, pair, real_dtype
from physics.electron import interaction
from physics.fourier import fft2, frequencies, ifft2


def phase_shift(thickness: Array, potential: Array, voltage: Array) -> Array:
    """Phase [rad] that a specimen adds to the wave, in the projection approximation.

        phi = + sigma V t

    It is additive in t. Valid for frequencies f with pi lambda t f^2 << 1, and V far below the voltage.

    Args:
        thickness: t (..., y, x) [nm].
        potential: V > 0 [V], the mean inner potential.
        voltage: accelerating voltage [V].

    Returns:
        phi (..., y, x) [rad].
    """
    return _phase_per_length(thickness, potential, voltage) * thickness


def attenuation(thickness: Array, absorption: Array, voltage: Array) -> Array:
    """Amplitude [1] that remains of the wave behind a specimen, in the projection approximation.

        |psi| = exp(- sigma V' t),   intensity exp(- 2 sigma V' t)

    It is multiplicative in t: the amplitudes of slabs in a row multiply.

    Args:
        thickness: t (..., y, x) [nm].
        absorption: V' > 0 [V], the imaginary part of the potential V + i V'.
        voltage: accelerating voltage [V].

    Returns:
        |psi| (..., y, x).
    """
    exponent = -_phase_per_length(thickness, absorption, voltage) * thickness
    return exponent.__array_namespace__().exp(exponent)


def _phase_per_length(thickness: Array, potential: Array, voltage: Array) -> Array:
    """Return sigma V [rad/nm] in the dtype and over the leading axes of `thickness`."""
    xp = module(potential, voltage)
    rate = interaction(xp.asarray(voltage, dtype=float)) * potential
    return as_leading(rate, xp).astype(thickness.dtype)


def phasor(angle: Array) -> Array:
    """Unit complex numbers exp(i angle), for an angle in rad; float32 gives complex64.

    The cosine and the sine are computed apart, because NumPy's exp of a complex array is 25 times slower in complex64.
    """
    xp = angle.__array_namespace__()
    return xp.cos(angle) + 1j * xp.sin(angle)


def phasor_of_cycles(cycles: Array, dtype: Array | None = None) -> Array:
    """Unit complex numbers exp(2 pi i cycles).

    Whole cycles are subtracted first, in the precision of `cycles`. The rest, below 1/2, is then rounded to `dtype`
    (3e-7 rad for complex64), and its cosine costs 20 times less in float32.

    Args:
        cycles: [1], of any size.
        dtype: complex dtype of the result; by default of the precision of `cycles`.
    """
    rest = cycles - cycles.__array_namespace__().round(cycles)
    return phasor(2 * pi * (rest if dtype is None else rest.astype(real_dtype(dtype))))


def exit_wave(phase: Array, amplitude: Array) -> Array:
    """Wave behind the specimen, psi = a exp(i phi), in an incident wave of amplitude 1.

    Args:
        phase: phi (..., y, x) [rad]; float32 gives complex64.
        amplitude: a (..., y, x) [1], or a number.
    """
    return amplitude * phasor(phase)


def intensity(wave: Array) -> Array:
    """Intensity |psi|^2 of a complex wave of any shape, real: float32 for complex64."""
    return wave.real**2 + wave.imag**2


def propagate(wave: Array, wavelength: Array, distance: Array, sampling: Array, limit: Array | None = None) -> Array:
    """Fresnel propagation through free space, without the carrier phase 2 pi z / lambda.

        psi_z = F^-1 [ exp(-i pi lambda z |f|^2) F psi_0 ]

    Propagation is unitary and additive in z, and its inverse is -z. Valid for alpha = lambda f << 1 (paraxial: error pi
    z lambda^3 f^4 / 4), and while lambda |z| / (2 d) is below half the field of view, since then the kernel turns by
    less than pi from one frequency to the next. Detail of frequency f travels by lambda z f, and re-enters on the other
    side.

    Args:
        wave: psi_0 (..., y, x), complex.
        wavelength: lambda [nm].
        distance: z [nm], positive downstream.
        sampling: d [nm]. Like wavelength and distance it may be an array over the leading axes: z of shape (plane,)
            makes (plane, y, x).
        limit: factor (ny, nx) of the spectrum, such as `multislice.band_limit`; None for none.

    Returns:
        psi_z (..., y, x), complex, of the precision of `wave`.

    Goodman, Introduction to Fourier Optics, ch. 4.
    """
    spectrum = fft2(wave)
    ky, kx = (k.astype(spectrum.dtype) for k in fresnel(wave.shape, wavelength, distance, sampling))
    spectrum = spectrum * ky
    spectrum *= kx  # in place for NumPy: kx has the leading axes of ky
    if limit is not None:
        spectrum *= limit
    return ifft2(spectrum)


def fresnel(shape: tuple[int, ...], wavelength: Array, distance: Array, sampling: Array) -> tuple[Array, Array]:
    """Return the two factors of the kernel of `propagate`, which is separable.

        exp(-i pi lambda z |f|^2) = exp(-i pi lambda z fy^2) exp(-i pi lambda z fx^2)

    Args:
        shape: shape of the wave.
        wavelength: lambda [nm].
        distance: z [nm].
        sampling: [nm].

    Returns:
        Factors (..., ny, 1) and (..., 1, nx), complex, of the precision of the parameters.
    """
    xp = module(wavelength, distance, *pair(sampling))
    half = as_leading(wavelength, xp) * as_leading(distance, xp) / 2
    fy, fx = frequencies(shape, sampling, xp)
    return phasor_of_cycles(-half * fy**2), phasor_of_cycles(-half * fx**2)


def aberration(
    fy: Array,
    fx: Array,
    wavelength: Array,
    defocus: Array,
    spherical: Array = 0.0,
    astigmatism: Array = 0.0,
    azimuth: Array = 0.0,
) -> Array:
    """Wave aberration W = chi / 2 pi [cycles]; the lens multiplies by exp(-i chi).

        chi = (2 pi / lambda) (C1 alpha^2 / 2 + A1 alpha^2 cos 2(phi - phi_A) / 2 + C3 alpha^4 / 4)

    with alpha = lambda |f| and phi the azimuth of f, from x towards y.

    Args:
        fy: [1/nm].
        fx: [1/nm].
        wavelength: lambda [nm].
        defocus: C1 [nm].
        spherical: C3 [nm].
        astigmatism: A1 [nm], twofold.
        azimuth: phi_A [rad], the direction in which the focus is C1 + A1; across it, the focus is C1 - A1.

    Uhlemann and Haider, Ultramicroscopy 72 (1998) 109, for the names; signs as at the top of this module.
    """
    xp = module(fy, wavelength, defocus, spherical, astigmatism, azimuth)
    lam, c1, c3 = (as_leading(value, xp) for value in (wavelength, defocus, spherical))
    along, across = _astigmatism_components(astigmatism, azimuth, xp)
    quadratic = (c1 + along) * fx**2 + (c1 - along) * fy**2 + 2 * across * fx * fy
    return lam / 2 * quadratic + c3 * lam**3 / 4 * (fy**2 + fx**2) ** 2


def displacement(
    fy: Array,
    fx: Array,
    wavelength: Array,
    defocus: Array,
    spherical: Array = 0.0,
    astigmatism: Array = 0.0,
    azimuth: Array = 0.0,
) -> tuple[Array, Array]:
    """Gradient of W over f: the displacement (y, x) [nm] of the ray of frequency f in the image plane.

        dW/df = C1 alpha + A1 (cos 2 phi_A, sin 2 phi_A; sin 2 phi_A, -cos 2 phi_A) alpha + C3 alpha^2 alpha

    This equation is in the order (x, y), with the vector alpha = lambda f. The arguments are those of `aberration`.
    """
    xp = module(fy, wavelength, defocus, spherical, astigmatism, azimuth)
    lam, c1, c3 = (as_leading(value, xp) for value in (wavelength, defocus, spherical))
    along, across = _astigmatism_components(astigmatism, azimuth, xp)
    cubic = c1 + c3 * lam**2 * (fy**2 + fx**2)
    return lam * ((cubic - along) * fy + across * fx), lam * ((cubic + along) * fx + across * fy)


def _astigmatism_components(astigmatism: Array, azimuth: Array, xp: Array) -> tuple[Array, Array]:
    """Return A1 cos 2 phi_A and A1 sin 2 phi_A. They avoid the azimuth of f, which is undefined at f = 0."""
    size, angle = as_leading(astigmatism, xp), 2 * as_leading(azimuth, xp)
    return size * xp.cos(angle), size * xp.sin(angle)


def pupil(fy: Array, fx: Array, wavelength: Array, aperture: Array, edge: Array = 0.0) -> Array:
    """Transmission of a round objective aperture, 0 to 1.

        A = (1 + cos(pi t)) / 2,   t = clip((alpha - alpha_0) / w + 1/2, 0, 1)

    Args:
        fy: [1/nm].
        fx: [1/nm].
        wavelength: [nm].
        aperture: alpha_0 [rad], the semi-angle at which A = 1/2.
        edge: w [rad], the full width of the fall from 1 to 0; with w = 0 the edge is sharp.
    """
    xp = module(fy, wavelength, aperture, edge)
    width = xp.maximum(as_leading(edge, xp), 1e-30)
    angle = as_leading(wavelength, xp) * (fy**2 + fx**2) ** 0.5
    ramp = xp.clip((angle - as_leading(aperture, xp)) / width + 0.5, 0, 1)
    return (1 + xp.cos(pi * ramp)) / 2


def spatial_envelope(wavelength: Array, shift: tuple[Array, Array], source_angle: Array) -> Array:
    """Damping by a source of finite size: the mean over Gaussian tilts of the illumination.

        E_s = exp(- 2 pi^2 (beta / lambda)^2 |dW/df|^2)

    The formula is of first order in the scattered wave. It is exact for defocus and astigmatism; with spherical
    aberration it neglects a change of focus by 4 C3 beta^2 (0.04 nm for 1 mm and 0.1 mrad), and terms in beta^4.

    Args:
        wavelength: lambda [nm].
        shift: dW/df [nm] of `displacement`.
        source_angle: beta [rad], the standard deviation of each component of the tilt; the 1/e half-width of the source
            is sqrt(2) beta.

    Frank, Optik 38 (1973) 519.
    """
    xp = module(shift[0], wavelength, source_angle)
    blur = as_leading(source_angle, xp) / as_leading(wavelength, xp)
    return xp.exp(-2 * (pi * blur) ** 2 * (shift[0] ** 2 + shift[1] ** 2))


def temporal_envelope(fy: Array, fx: Array, wavelength: Array, focal_spread: Array) -> Array:
    """Damping by a spread of energies or lens currents: the mean over a Gaussian spread of the defocus.

        E_t = exp(- (pi lambda delta f^2)^2 / 2)

    The formula is of first order in the scattered wave.

    Args:
        fy: [1/nm].
        fx: [1/nm].
        wavelength: lambda [nm].
        focal_spread: delta [nm], the standard deviation of the defocus, delta = Cc dE / E (relativistic factors aside),
            not its 1/e half-width sqrt(2) delta.

    Wade and Frank, Optik 49 (1977) 81.
    """
    xp = module(fy, wavelength, focal_spread)
    rate = pi * as_leading(wavelength, xp) * as_leading(focal_spread, xp)
    return xp.exp(-((rate * (fy**2 + fx**2)) ** 2) / 2)


def transfer_function(
    shape: tuple[int, ...],
    sampling: Array,
    wavelength: Array,
    defocus: Array,
    *,
    spherical: Array = 0.0,
    astigmatism: Array = 0.0,
    azimuth: Array = 0.0,
    aperture: Array | None = None,
    edge: Array = 0.0,
    source_angle: Array = 0.0,
    focal_spread: Array = 0.0,
    dtype: Array | None = None,
) -> Array:
    """Transfer function by which the lens multiplies the spectrum of the wave.

        T = A exp(-2 pi i W) E_s E_t

    With defocus alone it is the kernel of `propagate`. |T| = 1 without aperture and envelopes. The envelopes damp a
    coherent wave. This is right for weak objects, where interference with the unscattered wave makes the image; for
    strong objects, average images over defocus and tilt instead. E_s and E_t are taken as independent (Wade and Frank
    1977).

    Args:
        shape: shape of the wave.
        sampling: [nm].
        wavelength: lambda [nm].
        defocus: C1 [nm].
        spherical: C3 [nm].
        astigmatism: A1 [nm], as for `aberration`.
        azimuth: phi_A [rad].
        aperture: semi-angle [rad] of `pupil`; None for no aperture.
        edge: [rad], as for `pupil`.
        source_angle: standard deviation [rad], as for `spatial_envelope`.
        focal_spread: standard deviation [nm], as for `temporal_envelope`.
        dtype: complex dtype of the result; by default of the precision of the parameters.

    Returns:
        T (..., ny, nx), complex, zero frequency first.
    """
    values = (wavelength, defocus, spherical, astigmatism, azimuth, source_angle, focal_spread)
    xp = module(*pair(sampling), *values, aperture, edge)
    fy, fx = frequencies(shape, sampling, xp)
    lens = (wavelength, defocus, spherical, astigmatism, azimuth)
    transfer = phasor_of_cycles(-aberration(fy, fx, *lens), dtype)
    if aperture is not None:
        transfer = transfer * pupil(fy, fx, wavelength, aperture, edge)
    if not _is_zero(source_angle):
        transfer = transfer * spatial_envelope(wavelength, displacement(fy, fx, *lens), source_angle)
    if not _is_zero(focal_spread):
        transfer = transfer * temporal_envelope(fy, fx, wavelength, focal_spread)
    return transfer if dtype is None else transfer.astype(dtype)


def _is_zero(value: Array) -> bool:
    """Return True if a parameter is the number 0. A tracer or an array is never taken for 0."""
    return isinstance(value, int | float) and value == 0


def image(wave: Array, transfer: Array) -> Array:
    """Intensity in the image plane, in units of the incident beam.

        I = |F^-1 [ T F psi ]|^2

    With |T| = 1 the mean of |psi|^2 is conserved.

    Args:
        wave: psi (..., y, x), complex, the exit wave.
        transfer: T (..., y, x) of `transfer_function`.

    Returns:
        I (..., y, x), real, of the precision of `wave`.
    """
    spectrum = fft2(wave)
    return intensity(ifft2(spectrum * transfer.astype(spectrum.dtype)))
