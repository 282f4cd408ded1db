"""The task `tie` beyond the projection approximation: slices, waves and magnetisation from files; retrieved phases."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from generators.specimens.from_files import voxel_files
from generators.specimens.from_files.wavefields import unwrapped_phase
from generators.specimens.particles.mesh import rotation_matrix
from inference.tasks.tie import misell, transport
from physics.optics import exit_wave

from .conftest import Command, refused
from .test_tie import CLEAN, masks, samples

ONE = ("--task", "tie", "--scheduler", "synchronous", "--n", 2, "--validation", 0, "--test", 0)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def made(generate: Command, *settings: str, out: str = "tie.zarr") -> xr.Dataset:
    assert generate(*ONE, "--out", out, "--set", *settings)[0] == 0
    found: xr.Dataset = xr.open_zarr(f"{out}/train").load()
    return found


def test_slices_leave_the_target_alone_and_change_the_wave_a_little() -> None:
    """Particles of 50 nm at 2.3 nm pixels: multiple scattering is faint, the projection approximation good."""
    thin, thick = samples(3, *CLEAN), samples(3, *CLEAN, "slices=16")
    assert np.allclose(thin["phase"], thick["phase"], atol=1e-5)
    beyond = rms(thin["intensity"] - thick["intensity"]) / rms(thin["intensity"] - 1)
    assert 1e-4 < beyond < 0.05
    assert rms(thick["phase_exit"] - thick["phase"]) < 0.1 * rms(thick["phase"])
    assert "phase_exit" not in thin


def test_slices_converge() -> None:
    """To within the noise of the simulation grid long before they are as thin as its points are wide."""
    values = [samples(2, *CLEAN, f"slices={n}")["intensity"] for n in (2, 4, 8, 32)]
    errors = [rms(value - values[-1]) for value in values[:-1]]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_specimen_turned_over_meets_the_beam_from_behind(generate: Command, tmp_path: Path) -> None:
    """flipped: as the file turned by half a turn about y, magnetised so, its images mirrored back along x."""
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 24, 24), bool)
    mask[6:18, 7:17, 8:19] = rng.random((12, 10, 11)) > 0.4
    mask[6:9, 7:9] = mask[6:18, 7:17, 8].any()
    for name, body in {"a": mask, "b": mask[::-1, :, ::-1]}.items():
        np.save(tmp_path / f"{name}.npy", body)
    settings = (*CLEAN, "files.shared=true", "files.orientation=fixed", "slices=6", "flipped=true", "image_size=32")
    first = made(generate, *settings, "files.path=a.npy", "magnetic.direction=1,2,3", "defocus=2000", out="a.zarr")
    other = made(generate, *settings, "files.path=b.npy", "magnetic.direction=-1,2,-3", "defocus=2000", out="b.zarr")
    mirrored = other.intensity.values[..., ::-1]
    assert np.allclose(first.intensity_flipped.values, mirrored, atol=1e-4)
    assert np.max(abs(first.intensity.values - first.intensity_flipped.values)) > 0.02


@pytest.mark.parametrize("form", ["npy", "text"])
def test_imported_waves_give_the_images_of_the_simulation_that_made_them(
    generate: Command, tmp_path: Path, form: str
) -> None:
    """As a wavefield of another program, with the projected wave beside it: target and images come out the same."""
    settings = (*CLEAN, "image_size=32", "field_of_view=75", "defocus=1000", "voltage=200e3")
    values = made(generate, *settings, "slices=8", out="source.zarr")
    folder = tmp_path / "waves"
    folder.mkdir()
    for i in range(2):
        one = values.isel(sample=i)
        exits = exit_wave(one.phase_exit.values, one.amplitude.values)
        projected = exit_wave(one.phase.values, 1.0)
        for name, wave in (("image_hr", exits), ("image", projected)):
            if form == "npy":
                np.save(folder / f"{name}({i}).npy", wave)
            else:
                np.savetxt(folder / f"{name}({i})", wave.astype(complex).view(float), fmt="%.7g")
    waves = ("waves.path=waves", "waves.name=image_hr", "waves.projected=image", "waves.shared=true")
    found = made(generate, *settings, *waves, out="found.zarr")
    for name in ("intensity", "phase", "phase_exit", "amplitude"):
        assert np.allclose(found[name].values, values[name].values, atol=2e-5), name
    assert "potential" not in found
    assert found.item.values.tolist() == [0, 1]
    alone = made(generate, *settings, *waves[:2], "waves.shared=true", out="alone.zarr")
    assert np.allclose(alone.phase.values, values.phase_exit.values, atol=2e-5)
    code, _, err = generate("--from", "found.zarr", "--out", "again.zarr", "--inputs", "waves")
    assert (code, err) == (0, "")


def test_a_steep_phase_is_unwrapped_and_its_cycles_are_those_of_a_known_one() -> None:
    y, x = np.indices((60, 45)) - 20
    phase = (9 * np.exp(-(y**2 + 2 * x**2) / 300)).astype(np.float32)
    wave = exit_wave(phase, 1.0)
    assert np.max(abs(np.angle(wave) - phase)) > 6
    assert np.allclose(unwrapped_phase(wave), phase, atol=1e-5)
    assert np.allclose(unwrapped_phase(wave, phase + 12.5), phase + 4 * np.pi, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"1 0 1\n1 0\n", "rows of one even length"),
        (b"1 0 x\n", "rows of one even length"),
        (b"1 0 1 0\n", "of shape (1, 2)"),
        (b"", "of shape"),
        (b"\x93NUMPY", "not a NumPy array"),
    ],
)
def test_unreadable_waves_are_one_line(generate: Command, tmp_path: Path, content: bytes, rule: str) -> None:
    (tmp_path / "wave(0)").write_bytes(content)
    found = generate(*ONE, "--set", "waves.path=.", "waves.shared=true", *CLEAN)
    if rule == "of shape (1, 2)":
        rule = "1 x 2 pixels, but the simulation has 64 x 64"
    refused(found, "wave(0)", rule if content else "")


def test_waves_take_no_other_specimen(generate: Command) -> None:
    for settings, rule in (
        (("files.path=x",), "files and waves: give only one"),
        (("slices=2",), "cannot be combined with magnetic, film or slices"),
        (("padding=2",), "set padding=1"),
    ):
        refused(generate(*ONE, "--set", "waves.path=x", *settings), rule)
    refused(generate(*ONE, "--set", "waves.name=w"), "waves.path is missing")


@pytest.mark.parametrize("orientation", ["fixed", "cube", "free"])
def test_a_uniform_field_of_vectors_is_a_uniform_magnetisation(
    generate: Command, tmp_path: Path, orientation: str
) -> None:
    """Turned with the specimen, as its voxels are."""
    masks(tmp_path / "masks", [3])
    mask = np.load(tmp_path / "masks" / "particle(3).npy")
    vector = np.array([1.0, 2.0, -2.0]) / 3
    np.save(tmp_path / "masks" / "moment(3).npy", (mask[..., None] * vector).astype(np.float32))
    settings = (*CLEAN, "files.path=masks", "files.shared=true", f"files.orientation={orientation}", "image_size=48")
    field = made(generate, *settings, "files.moments=moment", "magnetic.mass=80", out="field.zarr")
    for i in range(2):
        one = field.isel(sample=i)
        matrix = voxel_files.cube_rotations()[int(one.turn)]
        if orientation == "free":
            matrix = rotation_matrix(one.orientation.values)
        turned = matrix @ vector
        direction = ",".join(f"{part:.9g}" for part in turned)
        uniform = made(generate, *settings, f"magnetic.direction={direction}", out=f"{i}.zarr").isel(sample=i)
        assert np.allclose(one.phase_magnetic.values, uniform.phase_magnetic.values, atol=2e-5)
        assert abs(one.phase_magnetic.values).max() > 0.05


def test_fields_of_vectors_that_do_not_fit_are_one_line(generate: Command, tmp_path: Path) -> None:
    masks(tmp_path / "masks", [3])
    settings = ("files.path=masks", "files.shared=true", "files.moments=moment", "magnetic.mass=80")
    refused(generate(*ONE, "--set", *settings), "no moment(N) beside it")
    path = tmp_path / "masks" / "moment(3).npy"
    for array, rule in (
        (np.zeros((32, 32, 32)), "save floats (z, y, x, component)"),
        (np.zeros((8, 8, 8, 3)), "its mask is (32, 32, 32)"),
        (np.full((32, 32, 32, 3), np.nan), "not all values are finite"),
    ):
        np.save(path, array)
        refused(generate(*ONE, "--set", *settings), "moment(3).npy", rule)
    refused(generate(*ONE, "--set", *settings[:3]), "files.moments: needs a magnetic specimen")


def test_the_image_in_focus_can_be_the_mean_of_the_others() -> None:
    """As phase-ret-dl makes it; here of the measured images, so that there is no third measurement in it."""
    values = samples(4, "in_focus=averaged", "store=both", "noise=0.05")
    for name in ("intensity", "intensity_expected"):
        under, middle, over = np.moveaxis(values[name], 1, 0)
        assert np.allclose(middle, (under + over) / 2, atol=1e-6)
    assert np.all(values["rotation"][:, :2] == 0)  # the frame is that of the under-focus image
    assert np.all(values["rotation"][:, 2] != 0)


@pytest.mark.parametrize("method", ["tie", "misell"])
def test_the_retrieved_phase_is_that_of_the_method(method: str) -> None:
    settings = ("noise=0", "misalignment=none", "window.radius=0.4")
    values = samples(3, *settings, f"retrieval={method}", "retrieval.iterations=3")
    window = (values["phase_retrieved"] != 0).any(axis=0)
    assert window.mean() == pytest.approx(np.pi * 0.4**2, abs=0.02)
    inside = (values["phase_retrieved"] - values["phase"])[:, window]
    error = rms(inside - inside.mean(axis=1, keepdims=True)) / rms(values["phase"][:, window])
    assert error < 0.6
    if method == "tie":
        found = transport({**values, "window": window.astype(np.float32)}, cutoff=0.004, floor=0.1, offset="none")
        assert np.allclose(found["phase"], values["phase_retrieved"], atol=1e-5)


def test_the_offset_is_left_or_taken_from_the_vacuum_or_by_an_oracle_from_the_truth() -> None:
    settings = ("noise=0.02", "window.radius=0.5", "retrieval=tie")
    none, annulus, oracle = (
        samples(3, *settings, f"retrieval.offset={name}") for name in ("none", "annulus", "mean_error")
    )
    y, x = np.indices((64, 64)) - 32
    window, ring = np.hypot(y, x) <= 32, (np.hypot(y, x) >= 0.45 * 64) & (np.hypot(y, x) <= 32)
    error = [
        (values["phase_retrieved"] - values["phase"])[:, window].mean(axis=1) for values in (none, annulus, oracle)
    ]
    assert np.all(abs(error[2]) < 1e-6)
    assert np.all(abs(error[0]) > 0.01)
    assert np.all(abs(annulus["phase_retrieved"][:, ring].mean(axis=1)) < 1e-6)


def test_a_component_is_retrieved_from_both_series() -> None:
    settings = ("noise=0", "misalignment=none", "padding=1", "supersampling=1", "defocus=500", "retrieval=tie")
    for component in ("electrostatic", "magnetic"):
        clean = ("retrieval.cutoff=0", "retrieval.floor=0", "specimen.kinds=ellipsoid", "potential=5", "absorption=0.1")
        values = samples(3, *settings, *clean, f"component={component}", recipe="magnetic")
        error = values["phase_retrieved"] - values["phase"]
        error = error - error.mean(axis=(1, 2), keepdims=True)
        assert rms(error) < 0.2 * rms(values["phase"])


@pytest.mark.parametrize("slices", [1, 4])
def test_a_film_adds_its_own_phase_and_absorption(slices: int) -> None:
    """9.09 V and 0.5 V times its thickness, everywhere; the mean of a rough film is as thick as a smooth one."""
    settings = (*CLEAN, f"slices={slices}", "defocus=2000")
    bare = samples(3, *settings)
    smooth, rough = (samples(3, *settings, f"film.roughness={r}", "film.correlation=8") for r in (0, 0.1))
    for values in (smooth, rough):
        rate = 6.526155e-3 * 9.09 * values["film_thickness"].astype(float)
        added = values["phase"] - bare["phase"]
        assert np.allclose(added.mean(axis=(1, 2)), rate, rtol=1e-4 if values is smooth else 0.02)
        left = np.log(values["amplitude"] / bare["amplitude"]).mean(axis=(1, 2))
        assert np.allclose(left, -rate * 0.5 / 9.09, rtol=0.02)
    assert np.std(rough["phase"] - bare["phase"], axis=(1, 2)) == pytest.approx(
        0.1 * 6.526155e-3 * 9.09 * rough["film_thickness"], rel=0.25
    )


@pytest.mark.parametrize("slices", [2, 6])
def test_the_film_lies_in_the_last_slab_and_slabs_are_as_high_as_the_body_says(slices: int) -> None:
    """Near focus the contrast of a phase grows as its distance from the image plane: so its place is seen.

    A sphere without potential, radius R: the film is (n - 1) / n R downstream of the middle, and upstream turned over.
    """
    radius = 0.2 * 60 * (6 / np.pi) ** (1 / 3)
    sphere = ("kinds=ellipsoid", "size=0.2", "aspect=1", "offset=0", "cuts=0", "rounded=0", "wavy=0", "twisted=0")
    settings = (
        *CLEAN,
        *(f"specimen.{setting}" for setting in sphere),
        "potential=0",
        "absorption=0",
        "magnetic.mass=0",
    )
    film = ("film.roughness=0.05", "film.correlation=3", "film.absorption=0", "film.thickness=5", "flipped=true")
    values = samples(2, *settings, *film, f"slices={slices}", "defocus=60", "images=2", "field_of_view=60")
    for name, sign in (("intensity", 1), ("intensity_flipped", -1)):
        under, over = np.moveaxis(values[name].astype(float) - 1, 1, 0)
        share = -np.sum(over * under) / np.sum(under**2)  # (z - d) / (z + d)
        assert 60 * (1 - share) / (1 + share) == pytest.approx(sign * (slices - 1) / slices * radius, rel=0.05)


@pytest.mark.parametrize("padding", [2, 3])
@pytest.mark.parametrize("size", [32, 33])
def test_a_wider_field_leaves_the_image_where_it_is(size: int, padding: int) -> None:
    """For odd sizes, too: pixel N//2 stays pixel n//2, of meshes, films and files alike."""
    settings = ("noise=0", "misalignment=none", f"image_size={size}", "defocus=1000:2000", "supersampling=2")
    narrow, wide = samples(3, *settings), samples(3, *settings, f"padding={padding}")
    assert np.allclose(narrow["phase"], wide["phase"], atol=1e-4)
    assert np.max(abs(narrow["intensity"] - wide["intensity"])) < 0.05
    assert rms(narrow["intensity"] - wide["intensity"]) < 2e-3


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("size", [32, 33])
def test_files_lie_in_the_middle_of_the_image(generate: Command, tmp_path: Path, size: int, padding: int) -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[8:16, 8:16, 7:17] = True
    np.save(tmp_path / "a.npy", mask)
    settings = (*CLEAN, "files.path=a.npy", "files.shared=true", "files.orientation=fixed", "defocus=300")
    phase = made(generate, *settings, f"image_size={size}", f"padding={padding}").phase.values[0]
    centre = [float(phase.sum(axis) @ (np.arange(size) + 0.5)) / phase.sum() for axis in (0, 1)]
    assert centre == pytest.approx([size / 2, size / 2], abs=1e-3)


def test_the_film_does_not_move_with_the_fineness_of_the_grid() -> None:
    settings = (
        "noise=0",
        "misalignment=none",
        "potential=0",
        "absorption=0",
        "film.roughness=0.1",
        "film.correlation=8",
    )
    coarse, fine = (samples(1, *settings, f"supersampling={n}", "defocus=1000")["phase"][0] for n in (1, 4))
    around = [rms(coarse - np.roll(fine, (y, x), (0, 1))) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert np.argmin(around) == 4
    assert around[4] < 0.1 * np.std(coarse)


@pytest.mark.parametrize("images", [2, 3])
def test_what_the_window_hides_is_not_seen_by_the_retrieved_phase(images: int) -> None:
    """The stored phase is that which inference finds in the stored images."""
    settings = ("window.radius=0.35", f"images={images}", "retrieval.method=misell", "retrieval.iterations=3")
    values = samples(2, *settings, "retrieval.offset=annulus")
    y, x = np.indices((64, 64)) - 32
    window = (np.hypot(y, x) <= 0.35 * 64).astype(np.float32)
    found = misell({**values, "window": window}, iterations=3)["phase"]
    assert np.allclose(found, values["phase_retrieved"], atol=2e-4)


def test_the_phase_is_retrieved_from_the_averaged_image() -> None:
    settings = ("noise=0", "misalignment=none", "in_focus=averaged", "retrieval=tie")
    values = samples(2, *settings)
    found = transport({**values, "window": np.ones((64, 64), np.float32)}, cutoff=0.004, floor=0.1, offset="none")
    assert np.allclose(found["phase"], values["phase_retrieved"], atol=1e-5)


def test_one_component_is_not_retrieved_from_one_series(generate: Command) -> None:
    settings = ("magnetic.mass=80", "component=magnetic", "retrieval=tie")
    refused(generate(*ONE, "--set", *settings), "set flipped=true")
