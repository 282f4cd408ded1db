"""The task `tie` from end to end: samples rebuilt from their stored columns by a model that shares no code with it.

Other tests hold the formulas one by one; these hold how they are put together: which grid, which pixel, whose frame.
"""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from generators.engine import pipeline, shards
from generators.tasks import tie
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings

from .conftest import Command

type Array = NDArray[np.floating[Any]]

H, M, E, C = 6.62607015e-34, 9.1093837139e-31, 1.602176634e-19, 299792458.0
FILES = ("--task", "tie", "--scheduler", "synchronous", "--set", "files.shared=true")
STILL = ("noise=0", "misalignment=none", "supersampling=1")


def plan(*settings: str) -> Any:
    made = make_settings(tie.Recipe, tie.Recipe().model_dump(mode="json"), settings)
    return pipeline.plan("tie", made.bind(None), 0, {"train": 100, "validation": 0, "test": 0}, Path("x.zarr"))


def samples(n: int, *settings: str) -> dict[str, NDArray[Any]]:
    return shards.make(plan(*settings), "train", range(n))


def wavelength(volts: float) -> float:
    """[nm], from momentum and energy."""
    return 1e9 * H / float(np.sqrt(2 * M * E * volts * (1 + E * volts / (2 * M * C**2))))


def interaction(volts: float) -> float:
    """2 pi m e lambda / h^2 with the relativistic mass, [rad / (V nm)]."""
    mass = M + E * volts / C**2
    return 1e-18 * 2 * np.pi * mass * E * wavelength(volts) / H**2


def turn(quaternion: NDArray[Any]) -> Array:
    """The matrix on (z, y, x) of a quaternion (w, z, y, x): SciPy has the scalar last, and any names for its axes."""
    matrix: Array = Rotation.from_quat(np.roll(quaternion.astype(float), -1)).as_matrix()
    return matrix


def means(image: Array, step: int) -> Array:
    n = len(image) // step
    return image.reshape(n, step, n, step).mean((1, 3))


def box(sample: xr.Dataset, size: int, factor: int) -> Array:
    """Thickness [nm] on the fine grid: each ray lies in three slabs at once, from the last entry to the first exit."""
    field = float(sample.sampling) * size
    half, middle = (
        field * sample.particle_half.values.astype(float),
        field * sample.particle_middle.values.astype(float),
    )
    edges = (np.arange(size * factor + 1) / factor - 0.5 - size // 2) * float(sample.sampling)
    centres = (edges[1:] + edges[:-1]) / 2  # the mean of the `factor` about coarse pixel N//2 is 0
    matrix = turn(sample.particle_quaternion.values)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    start = np.stack([np.full_like(y, 0.0), y, x], -1) - middle
    origin, along = start @ matrix, matrix[0]  # R^T p as p R; the beam is (1, 0, 0) in the laboratory
    ends = np.stack([(-half - origin) / along, (half - origin) / along])
    entry, leave = ends.min(0).max(-1), ends.max(0).min(-1)
    thickness: Array = np.maximum(leave - entry, 0)
    return thickness


def posed(image: Array, sample: xr.Dataset, plane: int, pixel: float, factor: int) -> Array:
    """measured(x) = image(c + R(-angle) (x - c - d) / m), c the centre of coarse pixel N//2."""
    angle, scale = float(sample.rotation[plane]), float(sample.scale[plane])
    d = np.array([float(sample.shift_y[plane]), float(sample.shift_x[plane])]) / pixel
    backwards = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # on (x, y), +x to +y
    matrix = backwards[::-1, ::-1] / scale  # on (y, x)
    c = np.full(2, (len(image) // factor // 2) * factor + (factor - 1) / 2)
    moved: Array = ndimage.affine_transform(image, matrix, c - matrix @ (c + d), order=3, mode="grid-wrap")
    return np.maximum(moved, 0)


def rebuilt(sample: xr.Dataset, factor: int) -> tuple[Array, Array, Array]:
    """Phase, amplitude and intensity of a cuboid in float64, of nothing but the stored columns."""
    size, pixel, volts = sample.sizes["x"], float(sample.sampling), float(sample.voltage)
    thickness = box(sample, size, factor)
    phase = interaction(volts) * float(sample.potential) * thickness
    amplitude = np.exp(-interaction(volts) * float(sample.absorption) * thickness)
    f = np.fft.fftfreq(size * factor, pixel / factor)
    spectrum, square = np.fft.fft2(amplitude * np.exp(1j * phase)), f[:, None] ** 2 + f**2
    twice, images = min(factor, 2), []
    for plane, z in enumerate(sample.defocus.values.astype(float)):
        image = abs(np.fft.ifft2(np.exp(-1j * np.pi * wavelength(volts) * z * square) * spectrum)) ** 2
        images.append(means(posed(means(image, factor // twice), sample, plane, pixel / twice, twice), twice))
    return means(phase, factor), means(amplitude, factor), np.stack(images)


ROTATION, SCALE, SHIFT = 0.5, 0.15, 0.08
PLAIN = "specimen.kinds=cuboid specimen.cuts=0 specimen.rounded=0 specimen.wavy=0 specimen.twisted=0"
WIDE = "specimen.aspect=0.5:1.5 specimen.offset=-0.15:0.15 voltage=80e3:300e3 defocus=500:3000"
DARK = "absorption=1:20 field_of_view=100 noise=0"  # so dark that splines undershoot
MOVED = f"misalignment.rotation={ROTATION} misalignment.scale={SCALE} misalignment.shift={SHIFT}"


@pytest.mark.parametrize(
    ("factor", "size", "images", "mode"),
    [
        (4, 32, 3, "uniform"),
        (4, 33, 2, "gaussian"),
        (2, 33, 3, "gaussian"),
        (2, 32, 2, "uniform"),
        (1, 33, 3, "uniform"),
    ],
)
def test_samples_are_rebuilt_from_stored_columns_alone(
    generate: Command, factor: int, size: int, images: int, mode: str
) -> None:
    """To float32 rounding: the bounds are several times what is seen, up to 1e-6 in each field.

    Phases of up to 6 rad, FFTs and splines of waves of about 1; a wrong frame, grid or pixel is off by 1e-2 and more.
    """
    modes = " ".join(f"misalignment.{name}_mode={mode}" for name in ("rotation", "scale", "shift"))
    grid = f"supersampling={factor} image_size={size} images={images}"
    settings = " ".join([PLAIN, WIDE, DARK, MOVED, modes, grid]).split()
    assert generate("--task", "tie", "--scheduler", "synchronous", "--n", 4, "--set", *settings)[0] == 0
    data = xr.open_zarr("tie.zarr/train").load()
    _holds_the_recipe(data, 0 if images == 2 else 1)
    for i in range(4):
        sample = data.isel(sample=i)
        phase, amplitude, intensity = rebuilt(sample, factor)
        assert np.max(abs(sample.phase.values - phase)) < 5e-6
        assert np.max(abs(sample.amplitude.values - amplitude)) < 1e-6
        assert np.max(abs(sample.intensity.values - intensity)) < 5e-6
        assert phase.max() > 1


def _holds_the_recipe(data: xr.Dataset, reference: int) -> None:
    """Columns that simulate as they say could still be drawn with another unit than the recipe's."""
    assert np.ptp(data.voltage.values) > 20e3
    assert np.all(data.defocus[:, 0] == -data.defocus[:, -1])
    assert np.all(data.defocus[:, -1] > 500)
    others = [plane for plane in range(data.sizes["plane"]) if plane != reference]
    for name, neutral, width in (("rotation", 0, ROTATION), ("scale", 1, SCALE), ("shift_y", 0, 100 * SHIFT)):
        assert np.all(data[name][:, reference] == neutral)
        spread = float(np.sqrt(np.mean((data[name][:, others] - neutral) ** 2)))
        assert width / 5 < spread < width * 2
    field = float(data.sampling[0]) * data.sizes["x"]
    assert field == pytest.approx(100, rel=1e-6)


def deviation(values: dict[str, NDArray[Any]]) -> Array:
    """Noise in units of its standard deviation, (sample, plane, y, x)."""
    expected = values["intensity_expected"].astype(float)
    level = values["noise"].astype(float)[:, None, None, None]
    noise: Array = (values["intensity"] - expected) / np.sqrt(expected) / level
    return noise


def correlation(a: Array, b: Array) -> float:
    """In standard errors: of n independent pairs it has the standard deviation 1."""
    return float(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)) * np.sqrt(a.size))


# In vacuum all pixels are equal, so streams that start alike stay alike; else rejections set them apart.
@pytest.mark.parametrize("settings", [("potential=0", "absorption=0"), ()], ids=["vacuum", "body"])
def test_noise_is_independent_from_plane_to_plane_pixel_to_pixel_and_sample_to_sample(
    settings: tuple[str, ...],
) -> None:
    """Within 5 standard errors; 30 pairs exceed that once in 50,000 seeds."""
    noise = deviation(samples(4, "noise=0.03:0.06", "store=both", "image_size=48", *settings))
    for one, other in combinations(range(3), 2):
        assert abs(correlation(noise[:, one], noise[:, other])) < 5
    for one, other in combinations(range(4), 2):
        for plane in range(3):
            assert abs(correlation(noise[one, plane], noise[other, plane])) < 5
    assert abs(correlation(noise[..., 1:], noise[..., :-1])) < 5
    assert abs(correlation(noise[..., 1:, :], noise[..., :-1, :])) < 5
    assert abs(correlation(noise, np.swapaxes(noise, -1, -2))) < 5 * np.sqrt(2)  # each pair is counted twice
    assert noise.std() == pytest.approx(1, rel=5 / np.sqrt(2 * noise.size) + 2e-3)


def lopsided() -> NDArray[np.bool_]:
    """An L with a foot, far from the middle along each axis by another amount, inside the sphere that may turn."""
    mask = np.zeros((24, 22, 20), bool)
    mask[9:19, 7:10, 6:9] = True
    mask[15:19, 7:15, 6:9] = True
    return mask


def test_a_free_specimen_turns_as_its_quaternion_says(generate: Command) -> None:
    """p -> R p for p = (z, y, x) about the middle of the field: the projected centre of mass to 0.05 voxel of 4."""
    np.save("one.npy", lopsided())
    settings = (*STILL, "files.path=one.npy", "image_size=48", "field_of_view=120")
    assert generate(*FILES, *settings, "--n", 8)[0] == 0
    data = xr.open_zarr("tie.zarr/train").load()
    places = np.argwhere(lopsided()) - (np.array(lopsided().shape) - 1) / 2
    axis = (np.arange(48) - 23.5) * 2.5 / 5  # voxels of 5 nm, pixels of 2.5 nm
    off = []
    for i in range(8):
        matrix, image = turn(data.orientation.values[i]), data.phase.values[i].astype(float)
        centre = np.array([image.sum(1) @ axis, image.sum(0) @ axis]) / image.sum()
        assert np.max(abs(centre - (matrix @ places.mean(0))[1:])) < 0.05
        off.append(np.max(abs(centre - (matrix.T @ places.mean(0))[1:])))
    assert max(off) > 2


def test_a_body_that_reaches_too_far_to_be_turned_is_one_line(generate: Command) -> None:
    np.save("full.npy", np.ones((8, 8, 8), bool))
    code, _, err = generate(*FILES, "files.path=full.npy", "--n", 4)
    assert code == 2
    assert "6.1 voxels from the middle" in err
    assert "files.orientation=fixed" in err
    assert len(err.strip().splitlines()) == 1


def test_text_is_read_as_the_seed_reads_it(generate: Command) -> None:
    """phase-ret-dl: row i of slice k is specimen[i, :, k]; the beam goes down the first axis."""
    numbers = (np.random.default_rng(3).random((7, 5, 6)) < 0.4).astype(int)  # slice, row, column
    numbers[0], numbers[:, :, 4:] = 1, 0
    text = "\n\n".join("\n".join(" ".join(map(str, row)) for row in rows) for rows in numbers)
    Path("one.txt").write_text(text + "\n")
    specimen = np.zeros((5, 6, 7))
    for k, rows in enumerate(text.split("\n\n")):
        for i, row in enumerate(rows.splitlines()):
            specimen[i, :, k] = [int(word) for word in row.split()]
    # 14 pixels for the 7 voxels of the longest side: those of y begin one pixel later, in the middle
    expected = np.zeros((14, 14))
    expected[1:13] = np.kron(specimen.sum(0), np.ones((2, 2)))
    settings = (
        *STILL,
        "files.path=one.txt",
        "files.orientation=fixed",
        "image_size=14",
        "field_of_view=70",
        "defocus=100",
    )
    assert generate(*FILES, *settings, "potential=10", "--n", 2)[0] == 0
    phase = xr.open_zarr("tie.zarr/train").phase.values
    scale = 10 * interaction(300e3) * 10.0  # V, voxels of 10 nm
    assert np.allclose(phase, scale * expected, rtol=1e-6, atol=1e-7)
    assert expected.max() >= 4


# Lowest voltage of the range, longest wavelength. The fine pixel is 0.39 nm in the first, 4.7 nm in the second.
LIMITS: dict[str, tuple[str, Callable[[float], float]]] = {
    "kernel": ("image_size=64 supersampling=4 field_of_view=100", lambda lam: 100 * (100 / 256) / lam),
    "wrap": ("image_size=32 supersampling=1 field_of_view=150", lambda lam: 150 * 5 / 4 / lam),
}


@pytest.mark.parametrize("case", LIMITS)
def test_the_limit_of_defocus(case: str) -> None:
    """Kernel: lambda z / (2 d) = L/2. Wrap-around: lambda z / 5 nm = L/4. To one part in a million."""
    grid, limit = LIMITS[case]
    most = limit(wavelength(80e3))
    plan(*grid.split(), "voltage=80e3:300e3", f"defocus=100:{most * (1 - 1e-6):.12g}")
    with pytest.raises(UserError, match="beyond the field of view") as error:
        plan(*grid.split(), "voltage=80e3:300e3", f"defocus=100:{most * (1 + 1e-6):.12g}")
    assert f"at most {most:.4g} nm" in str(error.value)


def test_waves_of_the_surface_have_the_recipes_wavelength() -> None:
    """|k| = 1 / wavelength [1/half extent], over the whole range and no more."""
    values = samples(64, "image_size=8", "supersampling=1", "specimen.wavelength=2:5", "specimen.wavy=1", "defocus=100")
    length = 1 / np.linalg.norm(values["particle_wave"].astype(float), axis=-1)
    assert length.size == 256
    assert 2 * (1 - 1e-6) < length.min() < 2.1
    assert 4.9 < length.max() < 5 * (1 + 1e-6)


def test_the_window_of_half_the_width_reaches_the_first_row_as_the_seeds() -> None:
    """r <= radius N, the border included: of the row at -N/2 one pixel, on the axis."""
    n = 64
    disk = shards.constants(plan("window=0.5", f"image_size={n}"))["window"]
    rows = [[float((i - n / 2) ** 2 + (j - n / 2) ** 2 <= (0.5 * n) ** 2) for j in range(n)] for i in range(n)]
    assert np.array_equal(disk, rows)
    assert disk[0].tolist() == disk[:, 0].tolist() == [float(j == n // 2) for j in range(n)]
