"""Electron waves: exit wave, free space, lens, image. Lengths in nm, angles and phases in rad.

Waves are exp(+2 pi i z / lambda), z downstream; the phase of a specimen is + sigma V t. A plane wave of transverse
frequency f travels at the angle alpha = lambda f; free space multiplies it with exp(-i pi lambda z |f|^2).
The image with defocus C1 > 0 (overfocus) is that of the plane z = C1 downstream of the specimen; underfocus is C1 < 0
and Scherzer's focus C1 = -sqrt(1.5 C3 lambda). All widths of Gaussians are standard deviations.

Parameters are numbers, or arrays over the leading axes of the wave (`physics.arrays`). Boundaries are periodic.

Precision. With NumPy (or Python) parameters the phases are float64, and a complex64 result is within 1e-6 of the
complex128 one at any defocus. Where wavelength, distance or sampling are float32 tracers, lambda z f^2 / 2 carries five
roundings before it is reduced modulo one cycle: an error of up to 2e-6 rad for every cycle in it (0.5 cycles for 10 um
at 2.3 nm pixels and 300 kV; 1e-3 rad after 500 cycles).
"""

from math import pi

from physics.arrays import Array, leading, module, pair, real_dtype
from physics.electron import interaction
from physics.fourier import fft2, frequencies, ifft2


def phase_shift(thickness: Array, potential: Array, voltage: Array) -> Array:
    """Phase [rad] that a specimen gives to the wave, in the projection approximation.

        phi = + sigma V t

    thickness: t (..., y, x) [nm]. potential: V > 0 [V], the mean inner potential. voltage: accelerating voltage [V].
    Additive in t. Valid for frequencies f with pi lambda t f^2 << 1, and V far below the voltage.
    """
    return _per_length(thickness, potential, voltage) * thickness


def attenuation(thickness: Array, absorption: Array, voltage: Array) -> Array:
    """Amplitude [1] that a specimen leaves to the wave, in the projection approximation.

        |psi| = exp(- sigma V' t),   intensity exp(- 2 sigma V' t)

    thickness: t (..., y, x) [nm]. absorption: V' > 0 [V], the imaginary part of the potential V + i V'.
    voltage: accelerating voltage [V]. Multiplicative in t: slabs in a row multiply.
    """
    exponent = -_per_length(thickness, absorption, voltage) * thickness
    return exponent.__array_namespace__().exp(exponent)


def _per_length(thickness: Array, potential: Array, voltage: Array) -> Array:
    """Sigma V [rad/nm] in the dtype and over the leading axes of `thickness`."""
    xp = module(potential, voltage)
    rate = interaction(xp.asarray(voltage, dtype=float)) * potential
    return leading(rate, xp).astype(thickness.dtype)


def phasor(angle: Array) -> Array:
    """The unit complex numbers exp(i angle). angle: [rad]; float32 gives complex64.

    Not exp of a complex array: NumPy's is 25 times slower in complex64.
    """
    xp = angle.__array_namespace__()
    return xp.cos(angle) + 1j * xp.sin(angle)


def turn(cycles: Array, dtype: Array | None = None) -> Array:
    """The unit complex numbers exp(2 pi i cycles). cycles: [1], of any size. dtype: complex, of the result.

    Whole cycles are taken off first, in the precision of `cycles`; what is left, below 1/2, bears the rounding to
    `dtype` (3e-7 rad for complex64), and its cosine costs 20 times less in float32.
    """
    rest = cycles - cycles.__array_namespace__().round(cycles)
    return phasor(2 * pi * (rest if dtype is None else rest.astype(real_dtype(dtype))))


def exit_wave(phase: Array, amplitude: Array) -> Array:
    """The wave behind the specimen, psi = a exp(i phi), in an incident wave of amplitude 1.

    phase: phi (..., y, x) [rad]. amplitude: a (..., y, x) [1], or a number. Float32 gives complex64.
    """
    return amplitude * phasor(phase)


def intensity(wave: Array) -> Array:
    """|psi|^2, real: float32 for complex64. wave: complex, of any shape."""
    return wave.real**2 + wave.imag**2


def propagate(wave: Array, wavelength: Array, distance: Array, sampling: Array) -> Array:
    """Fresnel propagation through free space; the carrier phase 2 pi z / lambda is dropped.

        psi_z = F^-1 [ exp(-i pi lambda z |f|^2) F psi_0 ]

    wave: complex (..., y, x). wavelength: lambda [nm]. distance: z [nm], positive downstream. sampling: [nm].
    wavelength, distance and sampling may be arrays over the leading axes: z of shape (plane,) makes (plane, y, x).
    Returns complex (..., y, x) of the precision of `wave`.

    Unitary, additive in z, inverse -z. Valid for alpha = lambda f << 1 (paraxial: error pi z lambda^3 f^4 / 4), and
    while lambda |z| / (2 d) is below half the field of view: then the kernel turns by less than pi from one
    frequency to the next. Detail of frequency f travels by lambda z f, and comes in again on the other side.

    Goodman, Introduction to Fourier Optics, ch. 4.
    """
    spectrum = fft2(wave)
    ky, kx = (k.astype(spectrum.dtype) for k in fresnel(wave.shape, wavelength, distance, sampling))
    spectrum = spectrum * ky
    spectrum *= kx  # in place for NumPy: kx has the leading axes of ky
    return ifft2(spectrum)


def fresnel(shape: tuple[int, ...], wavelength: Array, distance: Array, sampling: Array) -> tuple[Array, Array]:
    """The two factors (..., ny, 1) and (..., 1, nx) of the kernel of `propagate`: it is separable.

        exp(-i pi lambda z |f|^2) = exp(-i pi lambda z fy^2) exp(-i pi lambda z fx^2)

    shape: of the wave. wavelength, distance, sampling: [nm]. Complex, of the precision of the parameters.
    """
    xp = module(wavelength, distance, *pair(sampling))
    half = leading(wavelength, xp) * leading(distance, xp) / 2
    fy, fx = frequencies(shape, sampling, xp)
    return turn(-half * fy**2), turn(-half * fx**2)


def aberration(
    fy: Array,
    fx: Array,
    wavelength: Array,
    defocus: Array,
    spherical: Array = 0.0,
    astigmatism: Array = 0.0,
    azimuth: Array = 0.0,
) -> Array:
    """Wave aberration W = chi / 2 pi [cycles]; the lens multiplies with exp(-i chi).

        chi = (2 pi / lambda) (C1 alpha^2 / 2 + A1 alpha^2 cos 2(phi - phi_A) / 2 + C3 alpha^4 / 4)

    with alpha = lambda |f| and phi the azimuth of f, from x towards y.

    fy, fx: [1/nm]. wavelength: lambda [nm]. defocus: C1 [nm]. spherical: C3 [nm]. astigmatism: A1 [nm], twofold.
    azimuth: phi_A [rad], the direction in which the focus is C1 + A1; across it, it is C1 - A1.

    Uhlemann and Haider, Ultramicroscopy 72 (1998) 109, for the names; signs as at the top of this module.
    """
    xp = module(fy, wavelength, defocus, spherical, astigmatism, azimuth)
    lam, c1, c3 = (leading(value, xp) for value in (wavelength, defocus, spherical))
    along, across = _twofold(astigmatism, azimuth, xp)
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
    """The gradient of W over f: where the ray of frequency f meets the image plane, (y, x) [nm] off its point.

        dW/df = C1 alpha + A1 (cos 2 phi_A, sin 2 phi_A; sin 2 phi_A, -cos 2 phi_A) alpha + C3 alpha^2 alpha

    in the order (x, y), with the vector alpha = lambda f. Arguments: as for `aberration`.
    """
    xp = module(fy, wavelength, defocus, spherical, astigmatism, azimuth)
    lam, c1, c3 = (leading(value, xp) for value in (wavelength, defocus, spherical))
    along, across = _twofold(astigmatism, azimuth, xp)
    cubic = c1 + c3 * lam**2 * (fy**2 + fx**2)
    return lam * ((cubic - along) * fy + across * fx), lam * ((cubic + along) * fx + across * fy)


def _twofold(astigmatism: Array, azimuth: Array, xp: Array) -> tuple[Array, Array]:
    """A1 cos 2 phi_A and A1 sin 2 phi_A: no arctangent of f, which has none at 0."""
    size, angle = leading(astigmatism, xp), 2 * leading(azimuth, xp)
    return size * xp.cos(angle), size * xp.sin(angle)


def pupil(fy: Array, fx: Array, wavelength: Array, aperture: Array, edge: Array = 0.0) -> Array:
    """Transmission of a round objective aperture, 0 to 1.

        A = (1 + cos(pi t)) / 2,   t = clip((alpha - alpha_0) / w + 1/2, 0, 1)

    fy, fx: [1/nm]. wavelength: [nm]. aperture: alpha_0 [rad], the semi-angle at which A = 1/2. edge: w [rad], the full
    width of the fall from 1 to 0; with w = 0 the edge is sharp.
    """
    xp = module(fy, wavelength, aperture, edge)
    width = xp.maximum(leading(edge, xp), 1e-30)
    angle = leading(wavelength, xp) * (fy**2 + fx**2) ** 0.5
    ramp = xp.clip((angle - leading(aperture, xp)) / width + 0.5, 0, 1)
    return (1 + xp.cos(pi * ramp)) / 2


def spatial_envelope(wavelength: Array, shift: tuple[Array, Array], source_angle: Array) -> Array:
    """Damping by a source of finite size: the mean over Gaussian tilts of the illumination.

        E_s = exp(- 2 pi^2 (beta / lambda)^2 |dW/df|^2)

    wavelength: lambda [nm]. shift: dW/df [nm] of `displacement`. source_angle: beta [rad], the standard deviation of
    each component of the tilt; the 1/e half-width of the source is sqrt(2) beta.

    First order in the scattered wave. Exact for defocus and astigmatism; with spherical aberration it neglects a change
    of focus by 4 C3 beta^2 (0.04 nm for 1 mm and 0.1 mrad), and beta^4. Frank, Optik 38 (1973) 519.
    """
    xp = module(shift[0], wavelength, source_angle)
    blur = leading(source_angle, xp) / leading(wavelength, xp)
    return xp.exp(-2 * (pi * blur) ** 2 * (shift[0] ** 2 + shift[1] ** 2))


def temporal_envelope(fy: Array, fx: Array, wavelength: Array, focal_spread: Array) -> Array:
    """Damping by a spread of energies or lens currents: the mean over a Gaussian spread of the defocus.

        E_t = exp(- (pi lambda delta f^2)^2 / 2)

    fy, fx: [1/nm]. wavelength: lambda [nm]. focal_spread: delta [nm], the standard deviation of the defocus,
    delta = Cc dE / E (relativistic factors aside), not its 1/e half-width sqrt(2) delta.

    First order in the scattered wave. Wade and Frank, Optik 49 (1977) 81.
    """
    xp = module(fy, wavelength, focal_spread)
    rate = pi * leading(wavelength, xp) * leading(focal_spread, xp)
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
    """What the lens multiplies the spectrum of the wave with.

        T = A exp(-2 pi i W) E_s E_t

    shape: of the wave. sampling: [nm]. wavelength: lambda [nm]. defocus: C1 [nm]. spherical: C3 [nm].
    astigmatism, azimuth: A1 [nm] and phi_A [rad]. aperture: semi-angle [rad], none by default. edge: [rad].
    source_angle, focal_spread: standard deviations [rad] and [nm]. All as for `aberration`, `pupil`,
    `spatial_envelope`, `temporal_envelope`; numbers, or arrays over leading axes.
    dtype: complex, of the result; by default of the precision of the parameters.
    Returns complex (..., ny, nx), zero frequency first.

    With defocus alone it is the kernel of `propagate`. |T| = 1 without aperture and envelopes. The envelopes damp a
    coherent wave: right for weak objects, where interference with the unscattered wave makes the image; for strong
    ones average images over defocus and tilt. E_s and E_t are taken as independent (Wade and Frank 1977).
    """
    values = (wavelength, defocus, spherical, astigmatism, azimuth, source_angle, focal_spread)
    xp = module(*pair(sampling), *values, aperture, edge)
    fy, fx = frequencies(shape, sampling, xp)
    lens = (wavelength, defocus, spherical, astigmatism, azimuth)
    transfer = turn(-aberration(fy, fx, *lens), dtype)
    if aperture is not None:
        transfer = transfer * pupil(fy, fx, wavelength, aperture, edge)
    if not _absent(source_angle):
        transfer = transfer * spatial_envelope(wavelength, displacement(fy, fx, *lens), source_angle)
    if not _absent(focal_spread):
        transfer = transfer * temporal_envelope(fy, fx, wavelength, focal_spread)
    return transfer if dtype is None else transfer.astype(dtype)


def _absent(value: Array) -> bool:
    """Whether a parameter is the number 0: a tracer or an array is not."""
    return isinstance(value, int | float) and value == 0


def image(wave: Array, transfer: Array) -> Array:
    """Intensity in the image plane, in units of the incident beam.

        I = |F^-1 [ T F psi ]|^2

    wave: complex (..., y, x), the exit wave. transfer: T (..., y, x) of `transfer_function`.
    Returns real (..., y, x) of the precision of `wave`. With |T| = 1 the mean of |psi|^2 is conserved.
    """
    spectrum = fft2(wave)
    return intensity(ifft2(spectrum * transfer.astype(spectrum.dtype)))
