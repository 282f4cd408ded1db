"""Far fields: inverse, energy, symmetries, the sign of a ramp, Airy's zeros, finer sampling, coherence; and JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import j1, jn_zeros

from physics.diffraction import (
    amplitude,
    crop_middle,
    embed,
    far_field,
    inverse_far_field,
    partially_coherent,
    subsample,
)
from physics.fourier import blurred

type Shape = tuple[int, int]

GRIDS = [(64, 48), (33, 50), (21, 27), (16, 35)]

grids = pytest.mark.parametrize("shape", GRIDS)


def wave(shape: Shape, seed: int = 0) -> Any:
    """Two random complex waves (2, y, x)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, *shape)) + 1j * rng.standard_normal((2, *shape))


def places(shape: Shape) -> tuple[Any, Any]:
    """y (ny, 1) and x (nx,) [pixel] from N//2."""
    return np.arange(shape[0])[:, None] - shape[0] // 2, np.arange(shape[1]) - shape[1] // 2


def inverted(image: Any) -> Any:
    """r -> -r about N//2, cyclic: on an even side the first pixel is its own mirror image."""
    shift = tuple(1 - n % 2 for n in image.shape[-2:])
    return np.roll(np.flip(image, (-2, -1)), shift, (-2, -1))


@grids
def test_near_and_far_field_are_inverse_and_parseval_holds(shape: Shape) -> None:
    psi = wave(shape)
    np.testing.assert_allclose(inverse_far_field(far_field(psi)), psi, atol=1e-12)
    np.testing.assert_allclose(far_field(inverse_far_field(psi)), psi, atol=1e-12)
    total = np.sum(amplitude(psi) ** 2, axis=(1, 2))
    np.testing.assert_allclose(total, np.prod(shape) * np.sum(abs(psi) ** 2, axis=(1, 2)), rtol=1e-12)


@grids
def test_the_far_field_is_the_sum_of_its_definition(shape: Shape) -> None:
    """D(q) = sum psi(r) exp(-2 pi i q.r), r and q from N//2: sign, origin and axes at once."""
    psi = wave(shape)
    y, x = places(shape)
    for row, column in [(3, 5), (0, 0), (shape[0] // 2, shape[1] // 2), (shape[0] - 1, 2)]:
        qy, qx = (row - shape[0] // 2) / shape[0], (column - shape[1] // 2) / shape[1]
        expected = np.sum(psi * np.exp(-2j * np.pi * (qy * y + qx * x)), axis=(1, 2))
        np.testing.assert_allclose(far_field(psi)[:, row, column], expected, atol=1e-9)


@grids
def test_a_flat_wave_is_one_pixel_in_the_middle(shape: Shape) -> None:
    expected = np.zeros(shape)
    expected[shape[0] // 2, shape[1] // 2] = np.prod(shape)
    np.testing.assert_allclose(far_field(np.ones(shape)), expected, atol=1e-9)
    np.testing.assert_allclose(inverse_far_field(expected), np.ones(shape), atol=1e-12)


@grids
def test_the_pattern_of_a_real_wave_has_friedels_symmetry(shape: Shape) -> None:
    pattern = far_field(wave(shape).real)
    np.testing.assert_allclose(inverted(pattern), pattern.conj(), atol=1e-9)
    even = wave(shape).real + inverted(wave(shape).real)
    np.testing.assert_allclose(far_field(even).imag, 0, atol=1e-9)
    assert np.max(abs(amplitude(wave(shape)) - inverted(amplitude(wave(shape))))) > 1  # a complex one has not


@grids
@pytest.mark.parametrize("shift", [(3, -5), (-1, 0), (7, 11)])
def test_a_shift_turns_the_phase_alone(shape: Shape, shift: Shape) -> None:
    psi = wave(shape)
    moved = np.roll(psi, shift, (-2, -1))
    np.testing.assert_allclose(amplitude(moved), amplitude(psi), atol=1e-9)
    qy, qx = (place / n for place, n in zip(places(shape), shape, strict=True))
    turned = far_field(psi) * np.exp(-2j * np.pi * (qy * shift[0] + qx * shift[1]))
    np.testing.assert_allclose(far_field(moved), turned, atol=1e-9)


@grids
@pytest.mark.parametrize("shift", [(3, -5), (-1, 0), (7, 11)])
def test_a_linear_phase_shifts_the_pattern_towards_its_gradient(shape: Shape, shift: Shape) -> None:
    psi = wave(shape)
    y, x = (place / n for place, n in zip(places(shape), shape, strict=True))
    tilted = psi * np.exp(2j * np.pi * (shift[0] * y + shift[1] * x))
    np.testing.assert_allclose(amplitude(tilted), np.roll(amplitude(psi), shift, (-2, -1)), atol=1e-9)


@grids
def test_the_twin_has_the_same_pattern(shape: Shape) -> None:
    psi = wave(shape)
    np.testing.assert_allclose(amplitude(inverted(psi).conj()), amplitude(psi), atol=1e-9)
    np.testing.assert_allclose(far_field(inverted(psi).conj()), far_field(psi).conj(), atol=1e-9)
    assert np.max(abs(amplitude(inverted(psi)) - amplitude(psi))) > 1  # without the conjugate it has not


def disc(radius: float, side: Shape) -> Any:
    """1 within the radius [pixel] about N//2, and on the edge the part of the pixel that lies within."""
    y, x = places(side)
    fine = (np.arange(8) - 3.5) / 8
    inside = (y[..., None, None] + fine[:, None]) ** 2 + (x[:, None, None] + fine) ** 2 < radius**2
    return inside.mean(axis=(-2, -1))


@pytest.mark.parametrize("radius", [5.3, 11.0])
def test_a_centred_disc_has_airys_zeros(radius: float) -> None:
    """|J1(2 pi R q)| / q is 0 at 2 pi R q = j_1k, along both axes of an oblong, odd and even grid."""
    side = (201, 300)
    pattern = far_field(disc(radius, side)).real
    for line, n in ((pattern[100, 150:], 300), (pattern[100:, 150], 201)):
        q = np.arange(len(line)) / n
        changes = np.flatnonzero(np.diff(np.sign(line)))[:2]
        crossings = q[changes] - line[changes] * np.diff(q)[0] / (line[changes + 1] - line[changes])
        np.testing.assert_allclose(2 * np.pi * radius * crossings, jn_zeros(1, 2), rtol=0.01)


def test_finer_pixels_converge_to_airy_with_their_square() -> None:
    """D of a disc of fixed size, by pixels of 1, 1/2 and 1/4: to pi R^2 2 J1(u) / u, the error falls as the area."""
    frame, radius, errors = 40, 5.0, []
    q = np.arange(1, 8) / frame
    u = 2 * np.pi * radius * q
    expected = np.pi * radius**2 * 2 * j1(u) / u
    for finer in (1, 2, 4):
        n = frame * finer
        line = far_field(disc(radius * finer, (n, n)))[n // 2, n // 2 + 1 : n // 2 + 8].real / finer**2
        errors.append(np.max(abs(line - expected)))
    assert errors[0] < 0.05 * np.max(abs(expected))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(rates, 2, atol=0.3)


@pytest.mark.parametrize("large", [(64, 48), (33, 51), (40, 37)])
@pytest.mark.parametrize("small", [(16, 12), (15, 13), (33, 36), (8, 9)])
def test_embed_keeps_the_origin_and_middle_takes_it_back(small: Shape, large: Shape) -> None:
    image = wave(small)
    put = embed(image, large)
    assert put.shape == (2, *large)
    np.testing.assert_array_equal(crop_middle(put, small), image)
    assert np.sum(abs(put)) == pytest.approx(np.sum(abs(image)))
    origin = put[:, large[0] // 2, large[1] // 2]
    np.testing.assert_array_equal(origin, image[:, small[0] // 2, small[1] // 2])
    np.testing.assert_array_equal(crop_middle(wave(large), large), wave(large))


@grids
@pytest.mark.parametrize("factor", [2, 3])
def test_zeros_around_a_wave_sample_its_pattern_finer(shape: Shape, factor: int) -> None:
    """`coarser` undoes them: every factor-th pixel is the pattern of the wave alone, with its phase."""
    psi = wave(shape)
    whole = (factor * shape[0], factor * shape[1])
    fine = far_field(embed(psi, whole))
    np.testing.assert_allclose(subsample(fine, factor), far_field(psi), atol=1e-9)
    assert np.sum(abs(fine) ** 2) == pytest.approx(factor**2 * np.sum(abs(far_field(psi)) ** 2), rel=1e-12)
    assert subsample(fine, 1) is fine or np.array_equal(subsample(fine, 1), fine)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"an image of \(8, 9\) does not fit into \(8, 8\)"):
        embed(np.ones((8, 9)), (8, 8))
    with pytest.raises(ValueError, match=r"an image of \(8, 9\) has no part of \(9, 9\)"):
        crop_middle(np.ones((8, 9)), (9, 9))
    with pytest.raises(ValueError, match="the sides must be multiples"):
        subsample(np.ones((8, 9)), 2)


@grids
def test_partial_coherence_conserves_the_counts_and_is_none_at_width_0(shape: Shape) -> None:
    """At any width, if the pattern is sampled twice: then no lobe of a narrow Gaussian is left to be cut at 0."""
    intensity = amplitude(embed(wave(shape), (2 * shape[0], 2 * shape[1]))) ** 2
    for width in (0.3, 1.0, 4.0):
        found = partially_coherent(intensity, width)
        assert np.all(found >= 0)
        np.testing.assert_allclose(found.sum(axis=(1, 2)), intensity.sum(axis=(1, 2)), rtol=1e-12)
        assert np.var(found) < np.var(intensity)
    np.testing.assert_array_equal(partially_coherent(intensity, 0), intensity)


@pytest.mark.parametrize("width", [1.0, 1.7])
def test_a_gaussian_pattern_broadens_by_the_width_of_the_source(width: float) -> None:
    """exp(-q^2 / 2 a^2) becomes exp(-q^2 / 2 (a^2 + s^2)), its height a^2 / (a^2 + s^2); along each axis."""
    shape = (51, 64)
    y, x = places(shape)
    ay, ax = 2.0, 3.1
    narrow = np.exp(-((y / ay) ** 2) / 2 - (x / ax) ** 2 / 2)
    by, bx = np.hypot(ay, width), np.hypot(ax, width)
    broad = ay * ax / (by * bx) * np.exp(-((y / by) ** 2) / 2 - (x / bx) ** 2 / 2)
    np.testing.assert_allclose(partially_coherent(narrow, width), broad, atol=1e-9)


def test_partial_coherence_blurs_the_fringes_of_two_points() -> None:
    """Points at the distance r in a field of N pixels: the contrast of their fringes is exp(-2 pi^2 s^2 r^2 / N^2)."""
    n, apart, width = 60, 10, 0.9  # fringes of 6 pixels: their darkest is one
    points = np.zeros((31, n))
    points[15, [n // 2 - apart // 2, n // 2 + apart // 2]] = 1
    row = partially_coherent(amplitude(points) ** 2, width)[15]
    contrast = (row.max() - row.min()) / (row.max() + row.min())
    assert contrast == pytest.approx(np.exp(-2 * (np.pi * width * apart / n) ** 2), rel=1e-9)


@grids
def test_blurred_is_a_convolution_with_a_normalised_gaussian(shape: Shape) -> None:
    point = np.zeros(shape)
    point[shape[0] // 2, shape[1] // 2] = 1
    y, x = places(shape)
    expected = np.exp(-(y**2 + x**2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
    np.testing.assert_allclose(blurred(point, 1.5), expected, atol=1e-6)
    assert blurred(point.astype(np.float32), 1.5).dtype == np.float32
    np.testing.assert_allclose(blurred(blurred(point, 0.8), 0.6), blurred(point, 1.0), atol=1e-12)


@pytest.mark.parametrize("shape", GRIDS[1:3])
@pytest.mark.parametrize(
    "formula",
    [
        far_field,
        inverse_far_field,
        amplitude,
        lambda psi: embed(psi, (70, 71)),
        lambda psi: crop_middle(psi, (9, 10)),
        lambda psi: subsample(embed(psi, (3 * psi.shape[-2], 3 * psi.shape[-1])), 3),
        lambda psi: partially_coherent(abs(psi) ** 2, 1.3),
    ],
)
def test_numpy_in_single_precision_and_jax_agree(shape: Shape, formula: Any) -> None:
    psi = wave(shape).astype(np.complex64)
    expected, exact = formula(psi), formula(psi.astype(np.complex128))
    assert expected.dtype == (np.complex64 if np.iscomplexobj(exact) else np.float32)
    scale = np.max(abs(exact))
    np.testing.assert_allclose(expected, exact, atol=3e-6 * scale)
    for run in (formula, jax.jit(formula)):
        found = run(jnp.asarray(psi))
        assert isinstance(found, jax.Array)
        np.testing.assert_allclose(found, exact, atol=3e-6 * scale)
    np.testing.assert_array_equal(formula(psi[1]), expected[1])
