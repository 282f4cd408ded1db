"""The task `tomo`: sinograms follow from images, samples differ where they should, and methods find the images."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import xarray as xr
from skimage.filters import threshold_otsu

from generators.engine import pipeline, shards
from generators.random_streams import Streams
from generators.tasks import tomo
from inference.task_modules import find_method
from inference.tasks.tomo import otsu_mask
from physics.tomography.filtered_back_projection import filtered_back_projection
from physics.tomography.geometry import Geometry, field_of_view, samples_by_rays
from physics.tomography.projection import project
from schemas.runtime.settings import make_settings
from schemas.target_kinds import confusion_matrix, matthews_correlation
from schemas.task import find_task

from .conftest import ROOT, Command, refused

SAMPLES = {"train": 64, "validation": 0, "test": 0}
DATA = ROOT.parent / "shared/data/htc2022"
RAYS = ("angle", "measured", "axis_offset", "pitch", "source_distance")
SMALL = ("image_size=32", "rays.views=20")


def samples(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    made = make_settings(tomo.Recipe, tomo.RECIPES[recipe].model_dump(mode="json"), settings)
    plan = pipeline.plan("tomo", made.bind(None), 0, SAMPLES, Path("x.zarr"))
    return shards.make(plan, "train", range(n))


def with_parameters(n: int, *settings: str, recipe: str = "default") -> dict[str, np.ndarray]:
    """Return all fields of the first samples, with drawn parameters and the field of view."""
    made = make_settings(tomo.Recipe, tomo.RECIPES[recipe].model_dump(mode="json"), settings).bind(None)
    plan = pipeline.plan("tomo", made, 0, SAMPLES, Path("x.zarr"))
    streams = [Streams(0, "train", i) for i in range(n)]
    columns = [tomo.draw(made, rng).columns() for rng in streams]
    drawn = {name: np.stack([np.asarray(row[name]) for row in columns]) for name in columns[0]}
    return drawn | shards.make(plan, "train", range(n)) | tomo.constants(made, streams[0])


def projected(fields: dict[str, np.ndarray]) -> np.ndarray:
    """Project the stored images along the stored rays."""
    made = np.zeros_like(fields["sinogram"])
    for rows, seen, geometry, known in samples_by_rays(made.shape[-1], *(fields[name] for name in RAYS)):
        made[np.ix_(rows, np.flatnonzero(seen))] = project(fields["image"][rows], geometry) * known[..., None]
    return made


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("beam", ["rays.source_distance=0", "rays.source_distance=50 rays.turn=360"])
@pytest.mark.parametrize("kind", [(), ("shapes.overlap=replace",), ("granular.grains=3:6",), ("perforated.holes=2:3",)])
def test_sinograms_follow_from_the_stored_image(beam: str, kind: tuple[str, ...]) -> None:
    settings = (*SMALL, *kind, *beam.split(), "noise=0", "rays.detectors=37", "rays.axis_offset=-2:2", "rays.pitch=0.9")
    fields = with_parameters(5, *settings, "operator=grid")
    np.testing.assert_allclose(fields["sinogram"], projected(fields), atol=1e-6 * fields["sinogram"].max())
    other = with_parameters(5, *settings)
    assert (other["image"] == fields["image"]).all()
    assert 1e-3 < distance(other["sinogram"], fields["sinogram"]) < 0.1


def test_a_finer_grid_comes_near_to_the_closed_form() -> None:
    """Figures that happen not to overlap look the same whether values add or replace; only then the forms differ."""
    settings = (*SMALL, "noise=0", "shapes.shapes=1:1", "image_size=64")
    exact = samples(6, *settings)
    finer = samples(6, *settings, "shapes.overlap=replace", "supersampling=8")
    np.testing.assert_allclose(finer["image"], exact["image"], atol=1e-6)
    assert distance(finer["sinogram"], exact["sinogram"]) < 5e-3


def test_views_that_are_not_measured_are_0() -> None:
    fields = with_parameters(8, *SMALL, "noise=0")
    assert len({row.sum() for row in fields["measured"]}) > 2
    assert (fields["sinogram"][fields["measured"] == 0] == 0).all()
    assert (fields["sinogram"][fields["measured"] != 0].max(axis=-1) > 0).all()


@pytest.mark.parametrize(("distance", "begin"), [(0, 20), (90, 200)])
def test_a_measured_range_repeats_after_half_a_turn_or_for_a_fan_a_whole_one(distance: int, begin: int) -> None:
    """A parallel beam measures the same from both sides, so the range that begins at 200 degrees begins at 20."""
    turn, limited = ("rays.turn=360", "rays.views=36"), ("measured.every=1", "measured.start=200", "measured.length=90")
    fields = with_parameters(1, *SMALL, f"rays.source_distance={distance}", *turn, *limited)
    seen = np.degrees(fields["angle"][0][fields["measured"][0] == 1])
    expected = np.arange(begin, begin + 91, 10)
    assert seen == pytest.approx(expected if distance else [*expected, *(expected + 180)], abs=1e-3)


def test_lodopab_has_its_published_geometry() -> None:
    """Leuschner et al. (2021): 362 pixels over 26 cm, 1000 views over half a turn, 513 pixels over the diagonal."""
    made = tomo.RECIPES["lodopab"]
    assert (made.image_size, made.rays.views, made.rays.turn, made.detectors) == (362, 1000, 180, 513)
    assert made.image_size * made.sampling == pytest.approx(26e7)  # nm
    assert made.detectors * made.rays.pitch * made.sampling == pytest.approx(26e7 * 2**0.5)


def test_channels_of_an_object_share_all_but_their_values() -> None:
    fields = with_parameters(6, *SMALL, "channels.channels=3", "channels.phases=2")
    assert fields["object_number"].tolist() == [0, 0, 0, 1, 1, 1]
    assert fields["channel_number"].tolist() == [0, 1, 2] * 2
    for name in ("measured", "section_ellipse_middle", "attenuation", "section_spectrum"):
        assert (fields[name][0] == fields[name][2]).all()
        assert not (fields[name][0] == fields[name][3]).all() or name == "measured"
    covered = fields["image"] > 0
    assert (covered[0] == covered[1]).all()
    assert not np.allclose(fields["image"][0], fields["image"][1])


def test_the_published_recipe_repeats_the_first_view() -> None:
    fields = with_parameters(3, recipe="published")
    assert fields["sinogram"].shape == (3, 64, 64)
    assert fields["image"].max() == 1
    np.testing.assert_allclose(fields["sinogram"][:, 0], fields["sinogram"][:, -1, ::-1], atol=1e-4)


def test_the_noise_of_an_image_is_projected_with_it() -> None:
    """superres-tomo puts its noise on the image: the target is the noisy image, and its sinogram follows from it."""
    fields, clean = (with_parameters(3, *more, recipe="published") for more in ((), ("noise=0",)))
    np.testing.assert_allclose(fields["sinogram"], projected(fields), atol=2e-6 * fields["sinogram"].max())
    assert 0.01 < distance(fields["image"], clean["image"]) < 0.5


def test_counts_have_the_variance_of_their_photons() -> None:
    settings = (*SMALL, "shapes.shapes=1:1", "measured.every=1")
    ideal, noisy = (samples(30, *settings, *more) for more in (("noise=0",), ("transmission.photons=1e4",)))
    residual = (noisy["sinogram"] - ideal["sinogram"]) * np.sqrt(1e4 * np.exp(-ideal["sinogram"]))
    assert abs(residual.std() - 1) < 0.02
    assert abs(residual.mean()) < 0.03


EMITTED = (*SMALL, "measured.every=1", "channels.channels=3", "transmission.photons=0")


def test_emitted_quanta_are_counted_themselves() -> None:
    """The variance of a line integral p is p / q, where nothing is emitted it is 0, and counts are whole numbers."""
    ideal, noisy = (with_parameters(30, *EMITTED, *more) for more in (("emission=400", "noise=0"), ("emission=400",)))
    assert ideal["sinogram"].tobytes() == samples(30, *EMITTED)["sinogram"].tobytes()
    assert (ideal["photons"] == 0).all()
    assert (noisy["photons"] == 400).all()
    emitted = ideal["sinogram"] > 1e-3
    residual = ((noisy["sinogram"] - ideal["sinogram"])[emitted] * np.sqrt(400 / ideal["sinogram"][emitted])).astype(
        float
    )
    assert abs(residual.std() - 1) < 0.02
    assert abs(residual.mean()) < 5 / np.sqrt(residual.size)
    assert (noisy["sinogram"][ideal["sinogram"] == 0] == 0).all()
    np.testing.assert_allclose(400 * noisy["sinogram"], np.rint(400 * noisy["sinogram"]), atol=1e-3)


def test_channels_share_the_dose_and_not_the_noise() -> None:
    fields = with_parameters(6, *EMITTED, "emission=10:1e4")
    assert len(set(fields["photons"][:3])) == 1
    assert fields["photons"][0] != fields["photons"][3]
    alike = with_parameters(6, *EMITTED, "emission=10:1e4", "channels.floor=1", "channels.height=0")
    assert (alike["image"][0] == alike["image"][1]).all()
    assert not (alike["sinogram"][0] == alike["sinogram"][1]).all()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("emission=400",), "give transmission.photons=0"),
        (("emission=0:400", "transmission.photons=0"), "emission: 0 means"),
        (("emission=400", "transmission.photons=0", "shapes.value=-1"), "no quanta are negative"),
    ],
)
def test_impossible_emission_is_refused(settings: tuple[str, ...], reason: str, generate: Command) -> None:
    refused(generate("--task", "tomo", "--n", 4, "--set", *SMALL, *settings), reason)


def test_pictures_of_the_recipe_are_those_of_the_user(generate: Command) -> None:
    command = ("--task", "tomo", "--recipe", "div2k64", "--n", 2, "--validation", 0, "--test", 0)
    refused(generate(*command), "pictures.path is missing", "--set pictures.path=DIR")
    np.save("stack.npy", np.random.default_rng(0).integers(0, 255, (20, 90, 120)).astype(np.uint8))
    assert generate(*command, "--set", "pictures.path=stack.npy")[0] == 0
    data = xr.open_zarr("tomo.zarr/train")
    assert data.image.shape == data.sinogram.shape == (2, 64, 64)
    assert 0.5 < float(data.image.max()) <= 1


def test_the_mask_is_where_the_material_is() -> None:
    fields = samples(3, "image_size=64", recipe="htc")
    filled = fields["image"] >= fields["image"].max(axis=(1, 2), keepdims=True) / 2
    assert (fields["mask"] == filled).all()
    assert fields["mask"].dtype == np.uint8
    plain, faint = (samples(3, *SMALL, "mask=true", "channels.floor=0", *more) for more in ((), ("shapes.value=1e-3",)))
    assert (faint["mask"] == plain["mask"]).all()
    assert 0 < plain["mask"].mean() < 0.5


@pytest.mark.parametrize(("method", "settings", "most"), [
    ("fbp", {"window": "hann", "cutoff": 1.0, "positive": "yes"}, 0.35),
    ("gridding", {"window": "hann", "cutoff": 1.0, "positive": "yes"}, 0.4),
    ("sirt", {"iterations": 100, "positive": "yes"}, 0.2),
    ("cgls", {"iterations": 10, "positive": "no"}, 0.35),
    ("tv", {"weight": 0.01, "iterations": 150, "positive": "yes"}, 0.15),
])  # fmt: skip
@pytest.mark.parametrize("beam", ["rays.source_distance=0", "rays.source_distance=90"])
def test_methods_find_the_image(method: str, settings: dict[str, float | str], most: float, beam: str) -> None:
    turn = "rays.turn=180" if beam.endswith("=0") else "rays.turn=360"
    wide = ("image_size=48", "rays.views=48", "rays.detectors=60", "measured.every=1:2", "rays.axis_offset=-1:1")
    fields = with_parameters(4, *wide, beam, turn)
    made = find_method("tomo", method).solve(fields, **settings)
    assert distance(made["image"], fields["image"]) < most
    assert (made["image"][:, fields["field_of_view"] == 0] == 0).all()
    alone = {name: values[2:3] if len(values) == 4 else values for name, values in fields.items()}
    assert (find_method("tomo", method).solve(alone, **settings)["image"][0] == made["image"][2]).all()


def test_masks_depend_on_the_field_of_view_alone() -> None:
    rng = np.random.default_rng(0)
    inside = field_of_view(32)
    image = (rng.uniform(size=(32, 32)) > 0.5) + rng.normal(size=(32, 32)) * 0.1
    made = otsu_mask(image, inside)
    assert np.mean(made[inside] != (image > 0.5)[inside]) < 0.01
    assert not made[~inside].any()
    assert np.array_equal(otsu_mask(np.where(inside, image, 40), inside), made)
    assert not otsu_mask(inside * 1.0, inside).any(), "a constant image"


def test_a_dataset_from_the_command_line(generate: Command) -> None:
    assert generate("--task", "tomo", "--n", 4, "--set", *SMALL)[0] == 0
    data = xr.open_zarr("tomo.zarr/train")
    assert data.sinogram.dims == ("sample", "view", "detector")
    assert data.image.dims == ("sample", "y", "x")


@pytest.mark.parametrize("setting", ["rays.source_distance=20", "rays.views=0", "foam.radius=2", "measured.length=500"])
def test_impossible_settings_are_refused(setting: str, generate: Command) -> None:
    refused(generate("--task", "tomo", "--n", 4, "--set", *SMALL, setting), setting.partition("=")[0])


@pytest.mark.parametrize(
    ("distance", "detectors", "reach"), [(50, 40, 16), (90, 32, 15.7), (90, 20, 9.9), (4e3, 41, 16)]
)
def test_a_fan_needs_half_a_turn_and_its_own_angle(distance: float, detectors: int, reach: float) -> None:
    """The line (t, s) is measured in view t + g, sin g = s / D, and from the other side in view t + 180 - g."""
    given = [f"rays.source_distance={distance}", f"rays.detectors={detectors}", "image_size=32", "rays.turn=360"]
    turn = make_settings(tomo.Recipe, {}, given).complete_turn
    lines, fan = np.arange(0, 360, 0.1)[:, None], np.degrees(np.arcsin(np.linspace(-reach, reach, 33) / distance))
    first, other = (lines + fan) % 360, (lines + 180 - fan) % 360
    for more, whole in ((0.2, True), (-0.5, False)):
        assert ((first <= turn + more) | (other <= turn + more)).all() == whole
    assert make_settings(tomo.Recipe, {}, [*given, "rays.turn=170"]).rays.turn == 170, "a limited range, on purpose"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("rays.source_distance=90",), "rays.turn: a fan measures every line only within 200.2 degrees"),
        (("rays.source_distance=90", "rays.turn=200"), "200 are less; give 360"),
        (("mask=true", "pictures.path=x.npy"), "mask: pictures do not tell where material is"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    settings: tuple[str, ...], reason: str, generate: Command
) -> None:
    refused(generate("--task", "tomo", "--n", 4, "--set", *SMALL, *settings), reason)


@pytest.mark.skipif(not DATA.exists(), reason="measured sinograms lie in ../shared/data: absent")
def test_a_measured_disc_agrees_with_its_official_mask() -> None:
    """Helsinki Tomography Challenge 2022, disc 01a. With the fan the other way round, the correlation is 0.994."""
    held = scipy.io.loadmat(DATA / "test_a/htc2022_01a_full.mat", squeeze_me=True, struct_as_record=False)
    scan = held["CtDataFull"]
    angles = np.deg2rad(scan.parameters.angles[:720].astype(float))
    geometry = Geometry(angles, 560, source_distance=410.66 / 0.14832)
    image = filtered_back_projection(scan.sinogram[:720].astype(np.float32), geometry, (512, 512))
    official = scipy.io.loadmat(DATA / "test_a/htc2022_01a_recon_fbp_seg.mat")["reconFullFbpSeg"]
    made = (image > threshold_otsu(image))[::-1].astype(np.uint8)  # type: ignore[no-untyped-call]
    assert matthews_correlation(confusion_matrix(find_task("tomo")["mask"], made, official)) > 0.9995
