"""Magnetised specimens in the task `tie`: their phase, the specimen turned over, and the two components told apart."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inference.task_modules import find_inference
from inference.tasks.tie import misell, register_fields, transport
from physics.electron import wavelength
from physics.optics import exit_wave, intensity, propagate

from .conftest import Command, refused
from .test_tie import CLEAN, samples

MOVED = ("defocus=8e3:12e3", "misalignment.shift=0.01")
PLAIN = (*CLEAN, "padding=1")
SPHERE = ("specimen.kinds=ellipsoid", "specimen.aspect=1", "specimen.offset=0", "specimen.cuts=0", "specimen.rounded=0")
SMOOTH = (*SPHERE, "specimen.wavy=0", "specimen.twisted=0")


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("padding", [1, 2])
def test_a_sphere_of_magnetite_turns_the_phase_by_a_third_of_a_radian(padding: int) -> None:
    """R = 25 nm, 80 emu/g, 5.18 g/cm^3: 0.337 rad, whatever the width of the simulated field."""
    size = 25 * (np.pi / 6) ** (1 / 3) / 150  # half the edge of the cube of the same volume
    settings = (f"specimen.size={size}", "magnetic.direction=0,0,1", "component=magnetic", f"padding={padding}")
    values = samples(1, *SMOOTH, "noise=0", "defocus=5000", "image_size=128", *settings, recipe="magnetic")
    assert values["phase"].max() == pytest.approx(0.337, rel=0.01)
    assert np.array_equal(values["phase"], values["phase_magnetic"])
    assert np.argmax(values["phase"].max(axis=2)) < 64  # along +x: the beam is pushed to -y
    assert values["mass_magnetisation"][0] * values["density"][0] * 1000 == pytest.approx(4.144e5)


@pytest.mark.parametrize("component", ["total", "electrostatic", "magnetic"])
@pytest.mark.parametrize("slices", [1, 5])
def test_both_series_follow_from_the_stored_phases_by_the_stated_formula(component: str, slices: int) -> None:
    """The flipped series has the electrostatic phase, and minus the magnetic one."""
    settings = (f"component={component}", "image_size=33", "defocus=1000:2000", f"slices={slices}")
    values = samples(3, *PLAIN, *settings, recipe="magnetic")
    total, magnetic = values["phase_total"].astype(float), values["phase_magnetic"].astype(float)
    expected = {"total": total, "electrostatic": total - magnetic, "magnetic": magnetic}[component]
    assert np.allclose(values["phase"], expected, atol=1e-6)
    assert magnetic.std() > 0.02
    found = {"intensity": values["phase_exit"].astype(float) if slices > 1 else total}
    if slices == 1:
        found["intensity_flipped"] = total - 2 * magnetic
    lens = (wavelength(3e5), values["defocus"].astype(float), float(values["sampling"][0]))
    for name, phase in found.items():
        wave = exit_wave(phase, values["amplitude"].astype(float))[:, None]
        assert np.allclose(intensity(propagate(wave, *lens)), values[name], atol=2e-5)
    assert np.max(abs(values["intensity"] - values["intensity_flipped"])) > 1e-3


def test_directions_are_uniform_on_the_sphere_or_as_asked() -> None:
    drawn = samples(200, *PLAIN, "image_size=8", "defocus=100", recipe="magnetic")["magnetisation_direction"]
    assert np.allclose(np.sum(drawn**2, axis=1), 1, atol=1e-6)
    assert np.all(abs(drawn.mean(axis=0)) < 0.15)
    assert np.mean(drawn[:, 0] ** 2) == pytest.approx(1 / 3, abs=0.06)  # phase-ret-dl draws the polar angle: 1/2
    fixed = samples(2, *PLAIN, "magnetic.direction=0,3,4", recipe="magnetic")["magnetisation_direction"]
    assert np.allclose(fixed, (0, 0.6, 0.8))


def test_what_is_magnetised_along_the_beam_is_not_seen() -> None:
    values = samples(2, *PLAIN, "magnetic.direction=1,0,0", recipe="magnetic")
    assert not values["phase"].any()
    assert np.array_equal(values["intensity"], values["intensity_flipped"])


def test_the_flipped_series_is_that_of_the_opposite_magnetisation() -> None:
    values = samples(2, *PLAIN, "magnetic.direction=0,1,2", recipe="magnetic")
    other = samples(2, *PLAIN, "magnetic.direction=0,-1,-2", recipe="magnetic")
    assert np.allclose(values["intensity_flipped"], other["intensity"], atol=1e-5)


def test_the_flipped_series_has_poses_and_noise_of_its_own() -> None:
    values = samples(4, "noise=0.05", "misalignment.shift=0.01", recipe="magnetic")
    for name in ("rotation", "scale", "shift_y", "shift_x"):
        flipped = values[f"{name}_flipped"]
        assert np.unique(flipped).size == flipped.size  # the reference, too: it was taken out and turned
        assert not np.intersect1d(flipped, values[name]).size
    alike = samples(2, *PLAIN, "noise=0.05", "magnetic.direction=1,0,0", recipe="magnetic")  # in all but their noise
    assert np.mean(alike["intensity"] == alike["intensity_flipped"]) < 0.05


def test_a_wide_field_keeps_the_border_free_of_fringes() -> None:
    """The magnetic phase does not end at the border: on a field as wide as the image its step diffracts there."""
    settings = ("noise=0", "defocus=8e3:12e3", "magnetic.direction=0,1,1")
    narrow, wide = (samples(3, *settings, f"padding={n}", recipe="magnetic")["intensity"][:, 0] for n in (1, 2))
    borders = [rms(np.concatenate([image[:, 0], image[:, -1]]) - 1) for image in (narrow, wide)]
    assert borders[1] < borders[0] / 4


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth periodic phases (y, x), 0.5 rad at most."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((2, 48, 40)))
    f = np.fft.fftfreq(48)[:, None] ** 2 + np.fft.fftfreq(40) ** 2
    smooth = np.fft.ifft2(spectrum * np.exp(-f / 0.002) * (f > 0)).real
    electrostatic, magnetic = 0.5 * smooth / abs(smooth).max(axis=(1, 2), keepdims=True)
    return electrostatic, magnetic


@pytest.mark.parametrize("component", [1, 2])
@pytest.mark.parametrize("method", ["tie", "misell"])
def test_a_noise_free_pair_is_separated_into_both_components(method: str, component: int) -> None:
    """To 1e-3 of the component, by each method from the images of the specimen and of the same turned over."""
    phases, defocus = pair(0), np.linspace(-500, 500, 5)
    lens = (wavelength(3e5), defocus, 2.0)
    waves = [exit_wave(phases[0] + sign * phases[1], 1.0)[None] for sign in (1, -1)]
    series = [intensity(propagate(wave, *lens))[None] for wave in waves]
    fields = {
        "intensity": series[0],
        "intensity_flipped": series[1],
        "phase_component": np.array(component, np.uint8),
        "defocus": defocus[None],
        "voltage": np.array([3e5]),
        "sampling": np.array([2.0]),
        "window": np.ones((48, 40)),
    }
    found = transport(fields, cutoff=0, floor=0, offset="none") if method == "tie" else misell(fields, iterations=30)
    error = found["phase"][0] - phases[component - 1]
    assert rms(error - error.mean()) < 1e-3 * rms(phases[component - 1])
    blind = transport({**fields, "phase_component": np.array(0)}, cutoff=0, floor=0, offset="none")["phase"][0]
    assert rms(blind - phases[0] - phases[1]) < 2e-3  # without it, the sum


@pytest.mark.usefixtures("quick")
def test_methods_and_networks_take_the_flipped_series(
    generate: Command, infer: Command, train: Command, evaluate: Command
) -> None:
    """The same commands: what the target is stands in the dataset."""
    small = ("image_size=32", "padding=1", "supersampling=1", "defocus=2000", "misalignment=none", "noise=0")
    command = ("--task", "tie", "--recipe", "magnetic", "--n", 16, "--validation", 4, "--test", 6)
    assert generate(*command, "--scheduler", "synchronous", "--set", *small)[0] == 0
    fixed, net = ("--set", "cutoff=0", "floor=0", "offset=annulus"), ("model.width=8", "model.widening=1,2")
    assert infer("--method", "tie", "--data", "tie.zarr", *fixed, "--out", "tie_p.zarr")[0] == 0
    for name in ("pair", "components"):
        run = ("--data", "tie.zarr", "--input", name, "--epochs", 1, "--out", f"runs/{name}", "--set", *net)
        assert train(*run)[0] == 0
        assert infer("--model", f"runs/{name}", "--data", "tie.zarr", "--out", f"{name}.zarr")[0] == 0
    code, out, _ = evaluate("--data", "tie.zarr", "--predictions", "tie_p.zarr", "pair.zarr", "components.zarr")
    assert code == 0
    assert "components" in out
    truth, found = xr.open_zarr("tie.zarr/test").phase.values, xr.open_zarr("tie_p.zarr").phase.values
    assert rms(found - truth) < 0.3 * rms(truth)


def test_an_imported_pair_is_separated_as_a_simulated_one(generate: Command, infer: Command, dataset: Command) -> None:
    small = ("image_size=32", "padding=1", "supersampling=1", "defocus=2000")
    command = ("--task", "tie", "--recipe", "magnetic", "--n", 1, "--validation", 0, "--test", 1)
    assert generate(*command, "--scheduler", "synchronous", "--set", *small)[0] == 0
    series = ("intensity", "intensity_flipped")
    assert dataset("export", "tie.zarr", "--format", "tiff", "--fields", *series, "--out", "files")[0] == 0
    files = [f"{name}=files/test_0000_{name}.tif" for name in series]
    assert dataset("import", "--task", "tie", "--from", *files, "--set", "phase_component=2")[0] == 0
    for data in ("tie", "measured"):
        fixed = ("--set", "cutoff=0", "floor=0.1", "offset=annulus", "--out", f"{data}_p.zarr")
        assert infer("--method", "tie_registered", "--data", f"{data}.zarr", *fixed)[0] == 0
    found, again = (xr.open_zarr(f"{data}_p.zarr").phase.values for data in ("tie", "measured"))
    assert np.allclose(found, again, atol=1e-6)
    assert rms(found) > 0.01


def test_the_flipped_series_is_registered_to_the_same_frame() -> None:
    values = samples(3, "noise=0", "padding=1", *MOVED, recipe="magnetic")
    method = find_inference("tie").METHODS["tie_registered"]
    assert method.reads(values.keys()) == (*method.needs[:4], "window", "intensity_flipped")
    fields = {**values, "window": np.ones((64, 64), np.float32)}
    moved = register_fields({name: fields[name] for name in method.reads(fields)})
    still = samples(3, "noise=0", "padding=1", MOVED[0], recipe="magnetic")["intensity_flipped"]
    before, after = (rms(images["intensity_flipped"][:, 1] - still[:, 1]) for images in (values, moved))
    assert after < before / 3


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (("flipped=true",), "only a magnetic specimen differs when turned over"),
        (("component=magnetic",), "give magnetic.mass=80"),
        (("magnetic.direction=0,0,0",), "not all 0"),
        (("magnetic.direction=0,1",), "three numbers"),
        (("magnetic.mass=-1",), "at least 0"),
        (("images=5", "in_focus=averaged"), "set images=3"),
    ],
)
def test_what_makes_no_sense_is_one_line(generate: Command, settings: tuple[str, ...], rule: str) -> None:
    refused(generate("--task", "tie", "--n", 2, "--set", *settings), rule)
    assert not Path("tie.zarr").exists()


@pytest.mark.parametrize("method", ["absorption", "single_material"])
def test_one_material_says_nothing_of_a_magnetic_phase(generate: Command, infer: Command, method: str) -> None:
    small = ("image_size=16", "padding=1", "supersampling=1", "defocus=500")
    command = ("--task", "tie", "--recipe", "magnetic", "--n", 2, "--scheduler", "synchronous", "--set", *small)
    assert generate(*command)[0] == 0
    refused(infer("--method", method, "--data", "tie.zarr", "--split", "train"), "the target is the magnetic phase")
