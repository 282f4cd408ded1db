"""Symmetries of the physics: what is drawn is another sample of the same kind."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from schemas.runtime.errors import UserError
from tests.training.conftest import columns, features_for
from training.augmentation import augment, refuse_asymmetric_constants, symmetries
from training.features import Features


def batch_of(store: Path, count: int | None = None) -> dict[str, Any]:
    fields = {name: values for name, values in columns(store).items() if not name.startswith("particle")}
    samples = len(fields["phase" if "phase" in fields else "line"])
    rows = np.arange(count or samples) % samples
    chosen = {k: v[rows] if len(v) == samples and k not in ("window", "position") else v for k, v in fields.items()}
    return chosen | {"weight": (np.arange(len(rows)) % 3 > 0).astype(np.float32)}


def drawn(features: Features, batch: Mapping[str, Any], key: int = 0) -> dict[str, np.ndarray]:
    found = jax.jit(lambda b, k: augment(features, b, k))(batch, jax.random.key(key))
    return {name: np.asarray(values) for name, values in found.items()}


def group(image: np.ndarray) -> list[np.ndarray]:
    """The eight images (..., y, x) of a square of even size about its pixel n // 2: index -> -index."""
    flips = [image, *(np.roll(np.flip(image, axes), 1, axes) for axes in ((-2,), (-1,), (-2, -1)))]
    return [*flips, *(np.swapaxes(flip, -2, -1) for flip in flips)]


def which(image: np.ndarray, images: list[np.ndarray]) -> int:
    [found] = [i for i, candidate in enumerate(images) if np.array_equal(image, candidate)]
    return found


def test_each_sample_is_one_of_the_eight_in_all_its_fields(bare: Path) -> None:
    features, batch = features_for(bare), batch_of(bare, 200)
    found = drawn(features, batch)
    elements = []
    for i in range(200):
        names = ("intensity", "phase", "amplitude")
        chosen = {which(found[name][i], group(batch[name][i])) for name in names}
        assert len(chosen) == 1
        elements.append(chosen.pop())
    times = np.bincount(elements, minlength=8)
    assert len(times) == 8
    assert np.all(abs(times - 25) < 5 * 5)  # five standard deviations


def test_what_has_no_axes_stays(bare: Path) -> None:
    batch = batch_of(bare)
    found = drawn(features_for(bare), batch)
    assert found.keys() == batch.keys()
    for name in ("weight", "window", "defocus", "voltage", "shift_y"):
        np.testing.assert_array_equal(found[name], batch[name])


def test_the_key_and_the_place_alone_decide(bare: Path) -> None:
    """Not the length of the batch nor the others in it, so nor the number of devices."""
    features = features_for(bare)
    long, short = batch_of(bare, 21), batch_of(bare, 5)
    whole, other = drawn(features, long), drawn(features, long, key=1)
    np.testing.assert_array_equal(drawn(features, short)["phase"], whole["phase"][:5])
    np.testing.assert_array_equal(drawn(features, long)["phase"], whole["phase"])
    assert not np.array_equal(other["phase"], whole["phase"])


def test_the_window_lies_where_it_lay(tie: Path) -> None:
    """It is a constant, about pixel n // 2: plainly reversed, data of even size would move by a pixel."""
    batch = batch_of(tie, 60)
    outside = batch["window"] == 0
    assert not np.array_equal(outside, outside[::-1])
    found = drawn(features_for(tie), batch)
    assert not found["phase"][:, outside].any()
    assert not found["intensity"][:, :, outside].any()
    np.testing.assert_array_equal((found["intensity"] != 0).any(axis=(0, 1)), ~outside)


@pytest.mark.parametrize("size", [17, 16])
def test_only_a_square_is_transposed(bare: Path, size: int) -> None:
    features = replace(features_for(bare), sizes={"plane": 3, "y": 16, "x": size})
    assert symmetries(features) == (("flip_y", "flip_x", "transpose") if size == 16 else ("flip_y", "flip_x"))


@pytest.mark.parametrize("shape", [(7, 10), (10, 7), (9, 5)])
def test_of_a_rectangle_there_are_four(bare: Path, shape: tuple[int, int]) -> None:
    features = replace(features_for(bare), sizes={"plane": 3, "y": shape[0], "x": shape[1]})
    rng = np.random.default_rng(0)
    batch = {"phase": rng.random((80, *shape)), "intensity": rng.random((80, 3, *shape)), "weight": np.ones(80)}
    batch = {name: values.astype(np.float32) for name, values in batch.items()}
    found, seen = drawn(features, batch), set()
    for i in range(80):
        index = [np.arange(n) for n in shape]
        turned = [(2 * (n // 2) - axis) % n for n, axis in zip(shape, index, strict=True)]
        images = [batch["phase"][i][np.ix_(y, x)] for y in (index[0], turned[0]) for x in (index[1], turned[1])]
        seen.add(which(found["phase"][i], images))
    assert seen == {0, 1, 2, 3}


def test_lines_are_turned_with_what_belongs_to_them(toy: Path) -> None:
    features, batch = features_for(toy), batch_of(toy)
    found = drawn(features, batch)
    turned = [not np.array_equal(a, b) for a, b in zip(found["blurred"], batch["blurred"], strict=True)]
    assert 10 < sum(turned) < 31
    for name in ("blurred", "line"):
        expected = np.where(np.array(turned)[:, None], batch[name][:, ::-1], batch[name])
        np.testing.assert_array_equal(found[name], expected)
    np.testing.assert_array_equal(found["position"], batch["position"])


def test_a_symmetry_that_would_change_a_constant_is_refused(tie: Path) -> None:
    features, window = features_for(tie), columns(tie)["window"]
    refuse_asymmetric_constants(features, {"window": window})
    tilted = window * np.linspace(0.5, 1, window.shape[1], dtype=np.float32)
    with pytest.raises(UserError, match="flip_x would change window, which all samples share; set augment=false"):
        refuse_asymmetric_constants(features, {"window": tilted})
