"""Objects made of ellipses and polygons: what is stored of them, how they lie, and their images and sinograms."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from skimage.measure import points_in_poly

from generators.specimens.draws import stored_parameters
from generators.specimens.sections import channels, foam, granular, perforated, section, shapes
from generators.specimens.sections.channels import Channels
from generators.specimens.sections.foam import Foam
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.outlines import MAX_CORNERS
from generators.specimens.sections.perforated import Perforated
from generators.specimens.sections.placement import laguerre_cells, place_discs, place_outlines, points_in_disc
from generators.specimens.sections.section import DrawnSection
from generators.specimens.sections.shapes import Shapes
from physics.tomography.phantom import polygons, signed_areas
from schemas.fields.sections import CHANNEL_FIELDS, FIELDS
from schemas.runtime.ranges import Range

REPLACED = Shapes(overlap="replace", cut=True, background=1 / 255, normalise=True, rotation=Range(low=0, high=0))
FAMILIES: dict[str, tuple[ModuleType, Any]] = {
    "shapes": (shapes, Shapes()),
    "replaced": (shapes, REPLACED),
    "foam": (foam, Foam()),
    "granular": (granular, Granular(gap=Range(low=0.004, high=0.01))),
    "perforated": (perforated, Perforated()),
}
EACH = pytest.mark.parametrize("family", FAMILIES)
EXACT = pytest.mark.parametrize("family", [name for name in FAMILIES if name != "replaced"])


def draw(family: str, seed: int = 0, **changes: Any) -> DrawnSection:
    module, settings = FAMILIES[family]
    changed = type(settings).model_validate(settings.model_dump() | changes)
    drawn: DrawnSection = module.draw(changed, np.random.default_rng(seed))
    return drawn


@EACH
def test_stored_columns_are_those_of_the_schema(family: str) -> None:
    drawn, sizes = draw(family), FAMILIES[family][1].room.sizes()
    columns = stored_parameters("section_", drawn)
    assert list(columns) == [field.name for field in FIELDS]
    for field in FIELDS:
        stored = np.asarray(columns[field.name]).astype(field.dtype)
        assert stored.shape == field.shape(sizes), field.name
        assert np.array_equal(stored, columns[field.name]), field.name


@EACH
def test_an_object_is_drawn_again_from_the_same_numbers(family: str) -> None:
    first, second = (stored_parameters("", draw(family, seed=5)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = stored_parameters("", draw(family, seed=6))
    assert not all(np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("family", "number"), [("shapes", "shapes"), ("foam", "bubbles"), ("granular", "grains"), ("perforated", "holes")]
)
def test_the_first_figures_do_not_depend_on_how_many_follow(family: str, number: str) -> None:
    changes = {"kind": {"granular": "disc", "perforated": "blob"}.get(family, "mixed")} if family != "foam" else {}
    few, many = (draw(family, 3, **changes, **{number: [low, 16]}) for low in (1, 14))
    assert few.ellipses + few.polygons < many.ellipses + many.polygons
    assert np.array_equal(few.ellipse_middle[: few.ellipses], many.ellipse_middle[: few.ellipses])
    assert np.array_equal(few.polygon_corner[: few.polygons], many.polygon_corner[: few.polygons])


@EXACT
@pytest.mark.parametrize("shape", [(48, 48), (45, 52), (61, 44)], ids=str)
def test_sinograms_are_those_of_the_exact_image(family: str, shape: tuple[int, int]) -> None:
    drawn = draw(family, 1)
    image, rows = section.render(drawn, shape), section.sinogram(drawn, min(shape), np.array([0.0]), shape[1])
    assert rows.dtype == image.dtype == np.float32
    assert np.abs(rows[0] - image.sum(axis=0, dtype=float)).max() < 1e-5 * rows.max()


@EACH
def test_finer_grids_show_the_same_object(family: str) -> None:
    drawn = draw(family, 2)
    fine, coarse = section.render(drawn, (144, 168)).astype(float), section.render(drawn, (48, 56))
    difference = fine.reshape(48, 3, 56, 3).mean(axis=(1, 3)) - coarse
    # Where figures replace others, pixels that two outlines cross are not exact.
    assert np.abs(difference).max() < (1e-6 if drawn.exact else 0.3)
    assert abs(difference.mean()) < (1e-6 if drawn.exact else 5e-3) * fine.mean()


@pytest.mark.parametrize("kind", [*granular.KINDS, "mixed"])
def test_grains_do_not_overlap(kind: str) -> None:
    for seed in range(4):
        drawn = draw("granular", seed, kind=kind)
        filled = replace(
            drawn,
            ellipse_value=(drawn.ellipse_value > 0).astype(np.float32) * (np.arange(len(drawn.ellipse_value)) > 1),
            polygon_value=(drawn.polygon_value > 0).astype(np.float32),
        )
        image, inner = section.render(filled, (200, 200)), drawn.ellipse_semi_axes[1, 0]
        y, x = np.mgrid[:200, :200] / 200 - 199 / 400
        assert 0 <= image.min() <= image.max() < 1 + 1e-5
        assert not image[np.hypot(y, x) > inner + 0.004].any()
        assert image.sum() > 0


def test_bubbles_keep_their_walls() -> None:
    wall = 0.008
    drawn = draw("foam", 1, wall=wall)
    rows, radii = drawn.ellipse_middle[: drawn.ellipses], drawn.ellipse_semi_axes[: drawn.ellipses, 0]
    apart = np.hypot(*(rows[1:, None] - rows[None, 1:]).transpose(2, 0, 1)) - radii[1:, None] - radii[1:]
    assert apart[np.triu_indices(len(apart), 1)].min() > wall - 1e-6
    assert (radii[0] - np.hypot(*(rows[1:] - rows[0]).T) - radii[1:]).min() > wall - 1e-6
    assert drawn.ellipses > 20
    assert radii[1:].min() >= Foam().smallest - 1e-7


@pytest.mark.parametrize("kind", [*perforated.KINDS, "mixed"])
def test_holes_keep_their_distances(kind: str) -> None:
    for seed in range(5):
        drawn = draw("perforated", seed, kind=kind, holes=[6, 6], gap=0.03, rim=0.06)
        image = section.render(drawn, (240, 240))
        assert image.min() > -1e-6
        assert image.max() < 1 + 1e-6
        assert 1 <= drawn.polygons <= 6
        outlines = [drawn.polygon_corner[n, : drawn.polygon_corners[n]] for n in range(drawn.polygons)]
        assert (signed_areas(polygons(outlines, drawn.polygon_value[: drawn.polygons])) > 0).all()
        rim = [np.hypot(*(o - drawn.ellipse_middle[0]).T).max() for o in outlines]
        assert max(rim) < drawn.ellipse_semi_axes[0, 0] - 0.06 + 1e-5
        gaps = [
            np.hypot(*(a[:, None] - b).transpose(2, 0, 1)).min() for i, a in enumerate(outlines) for b in outlines[:i]
        ]
        assert min(gaps, default=1) > 0.03 - 1e-5


def inside(drawn: DrawnSection, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which ellipses (ellipse, point) and which polygons (polygon, point) hold points y, x."""
    y, x = np.moveaxis(points - drawn.ellipse_middle[: drawn.ellipses, None], -1, 0)
    cosine, sine = (f(drawn.ellipse_angle[: drawn.ellipses, None]) for f in (np.cos, np.sin))
    along, across = x * cosine + y * sine, y * cosine - x * sine
    axes = drawn.ellipse_semi_axes[: drawn.ellipses, :, None]
    corners = [drawn.polygon_corner[n, : drawn.polygon_corners[n]] for n in range(drawn.polygons)]
    held = [points_in_poly(points, outline) for outline in corners]  # type: ignore[no-untyped-call]
    return np.hypot(along / axes[:, 0], across / axes[:, 1]) <= 1, np.reshape(held, (-1, len(points)))


MANY = {"shapes": [12, 12], "size": [0.05, 0.3]}
HELD: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "foam": ({"value": [0.2, 0.3], "filling": [1, 3]}, lambda e, p: e[0] & ~e[1:].any(axis=0)),
    "perforated": ({}, lambda e, p: e[0] & ~p.any(axis=0)),
    "granular": (
        {"density": [-1, 1], "wall_value": [0, 0]},
        lambda e, p: (e[0] & ~e[1]) | e[2:].any(axis=0) | p.any(axis=0),
    ),
    "tubeless": ({"density": [0, 0.02], "wall": [0, 0]}, lambda e, p: e.any(axis=0) | p.any(axis=0)),
    "shapes": ({"value": [-3, 3], "background": 5.0, **MANY}, lambda e, p: e[1:].any(axis=0) | p.any(axis=0)),
    "replaced": ({"value": [0, 0.1], **MANY}, lambda e, p: e[1:].any(axis=0) | p.any(axis=0)),
}


@pytest.mark.parametrize("family", HELD)
def test_material_is_where_its_figures_are_whatever_their_values(family: str) -> None:
    """Bubbles, holes and the inside of the tube are none. A bubble that is filled with the material is still one."""
    changes, holds = HELD[family]
    module, settings = FAMILIES[family.replace("tubeless", "granular")]
    settings = type(settings).model_validate(settings.model_dump() | changes)
    drawn = module.draw(settings, np.random.default_rng(3))
    grid = (np.arange(360) - 179.5) / 360
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    held = holds(*inside(drawn, points)) & (np.hypot(*points.T) <= (drawn.support or 1))
    share = held.reshape(40, 9, 40, 9).mean(axis=(1, 3))
    cover = section.render(module.material(settings, drawn), (40, 40))
    clear = abs(share - 0.5) > 0.15  # nearer than that, the points do not decide, nor do pixels that two outlines cross
    assert ((cover >= 0.5) == (share >= 0.5))[clear].all()
    assert cover.mean() == pytest.approx(share.mean(), rel=0.01)


def test_outlines_are_apart_even_where_only_edges_meet() -> None:
    """A cross: no corner of one bar lies in the other. And a small outline within a large one."""
    bar = np.array([[-0.01, -0.2], [-0.01, 0.2], [0.01, 0.2], [0.01, -0.2]])
    cross, ring = np.stack([bar, bar[:, ::-1]]), np.stack([bar, 0.01 * bar])
    for outlines in (cross, ring, ring[::-1]):
        middles = np.zeros((2, 2, 2))
        middles[1, 1] = 0.3, 0.0
        chosen = place_outlines(np.ascontiguousarray(outlines), np.array([4, 4]), middles, 1.0, 0.001)
        assert chosen.tolist() == [0, 1]


def test_cells_fill_the_disc_and_hold_their_discs() -> None:
    rng = np.random.default_rng(0)
    candidates = np.column_stack([points_in_disc(rng.random((400, 2)), 0.4), np.full(400, 0.08)])
    discs = place_discs(candidates, 30, 0.4, 0.0, 0.02)
    cells = laguerre_cells(discs, 0.4, 0.0)
    areas = signed_areas(polygons(cells, np.ones(len(cells))))
    assert areas.sum() == pytest.approx(16 * np.sin(np.pi / 16) * 0.16, rel=1e-6)
    for cell, (y, x, radius) in zip(cells, discs, strict=True):
        after = np.roll(cell, -1, axis=0) - cell
        distance = ((x - cell[:, 1]) * -after[:, 0] + (y - cell[:, 0]) * after[:, 1]) / np.hypot(*after.T)
        assert distance.min() > radius - 0.4 * (1 - np.cos(np.pi / 32)) - 1e-6


def test_later_shapes_hide_earlier_ones() -> None:
    drawn = draw("replaced", 0, shapes=40, size=[0.2, 0.4], background=0.0)
    assert not drawn.exact
    image = section.render(drawn, (64, 64))
    y, x = np.mgrid[:64, :64] - 31.5
    assert not image[np.hypot(y, x) > 0.5 * 64 - 5 + 1].any()
    top = int(drawn.ellipse_layer.argmax())
    assert drawn.ellipse_layer[top] > drawn.polygon_layer.max()
    row, column = np.round(64 * drawn.ellipse_middle[top] + 31.5).astype(int)
    assert image[row, column] == drawn.ellipse_value[top]
    levels = {0.0, *drawn.ellipse_value.tolist(), *drawn.polygon_value.tolist()}
    nearest = np.min([abs(image - level) for level in levels], axis=0)
    assert (nearest < 1e-5).mean() > 0.6
    assert draw("shapes", 0, shapes=40, size=[0.2, 0.4]).exact
    with pytest.raises(ValueError, match="no closed form; project an image that is rendered on a finer grid"):
        section.sinogram(drawn, 64, np.zeros(1), 64)


def test_values_are_scaled_by_a_factor_over_decades() -> None:
    drawn = [draw("shapes", seed, scale=[0, 1], decades=[0, 2]) for seed in range(50)]
    scale = np.array([d.scale for d in drawn])
    assert scale.min() < 0.02
    assert 0.3 < scale.max() < 1
    plain = draw("shapes", 7)
    assert drawn[7].ellipse_value == pytest.approx(drawn[7].scale * plain.ellipse_value, rel=1e-6)


def test_image_noise_is_that_of_counts_before_the_filter() -> None:
    image = np.ones((200, 200), np.float32)
    noisy = shapes.add_image_noise(image, 256, 0, np.random.default_rng(0))
    assert noisy.max() == 1
    assert noisy.std() / noisy.mean() == pytest.approx(1 / 16, rel=0.02)
    assert shapes.add_image_noise(0 * image, 256, 1, np.random.default_rng(0)).max() == 0


def test_channels_share_figures() -> None:
    drawn, rng = draw("granular", 4), np.random.default_rng(1)
    settings = Channels(channels=7, phases=3)
    spectra = channels.draw(settings, drawn, rng)
    sizes = FAMILIES["granular"][1].room.sizes() | settings.sizes()
    for field, values in zip(CHANNEL_FIELDS, stored_parameters("section_", spectra).items(), strict=True):
        assert values[0] == field.name
        assert (values[1].dtype, values[1].shape) == (field.dtype, field.shape(sizes))
    angle, spectrum = np.array([0.0, 1.0]), spectra.spectrum
    of_phases = []
    for phase in range(3):
        ellipses, polygons = (np.where(p == phase, v, np.float32(0)) for p, v in (
            (spectra.ellipse_phase, drawn.ellipse_value), (spectra.polygon_phase, drawn.polygon_value)
        ))  # fmt: skip
        of_phases.append(section.render(replace(drawn, ellipse_value=ellipses, polygon_value=polygons), (40, 44)))
    for channel in range(7):
        one = channels.select(drawn, spectra, channel)
        image, rows = section.render(one, (40, 44)), section.sinogram(one, 40, angle, 44)
        assert np.abs(rows[0] - image.sum(axis=0, dtype=float)).max() < 1e-5 * rows.max()
        assert image == pytest.approx(np.tensordot(spectrum[:, channel], np.stack(of_phases), (0, 0)), abs=1e-6)


@EXACT
def test_a_hole_belongs_to_the_phase_that_it_is_cut_from(family: str) -> None:
    for seed in range(4):
        drawn = draw(family, seed)
        spectra = channels.draw(Channels(channels=3, phases=8), drawn, np.random.default_rng(seed))
        images = np.stack([section.render(channels.select(drawn, spectra, k), (40, 44)) for k in range(3)])
        assert images.min() > -1e-5 * images.max()


def test_no_outline_has_too_many_corners() -> None:
    for seed in range(60):
        for family, changes in (("perforated", {}), ("granular", {"kind": "cell"})):
            assert draw(family, seed, **changes).polygon_corners.max(initial=0) <= MAX_CORNERS
