"""A network that the memory cannot hold is refused before anything is compiled, with the size that fits."""

import re
from pathlib import Path

import jax
import pytest

from schemas.runtime.errors import UserError
from tests.training.conftest import features_for, recipe_for
from training import devices, memory_need, model_building
from training.memory_need import refuse_too_large
from training.steps import initial_state, state_bytes


@pytest.mark.parametrize(("settings", "copies"), [((), 4), (("ema=0.9",), 5), (("optimizer.name=sgd",), 3)])
def test_the_bytes_of_a_state_are_those_that_it_has(settings: tuple[str, ...], copies: int, toy: Path) -> None:
    """Parameters, gradient, and what the optimizer and the average hold."""
    from training.optimizers import build_optimizer

    recipe, features = recipe_for("mlp", *settings), features_for(toy)
    network = model_building.build_network(recipe, features)
    state = initial_state(network, build_optimizer(recipe, 1), recipe, devices.mesh(recipe.batch_size))
    gradient = 4 * network.parameters
    held = sum(array.nbytes for array in jax.tree.leaves(state))
    assert state_bytes(network, recipe) == held + gradient
    assert held + gradient == pytest.approx(copies * gradient, abs=64)


def test_a_network_that_is_too_large_is_refused_with_the_size_that_fits(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By bisection over smaller images; one pixel more does not fit."""
    recipe, features = recipe_for("automap", "model.hidden=8", "model.filters=4,4"), features_for(toy)
    network = model_building.build_network(recipe, features)
    limit = state_bytes(network, recipe) // 2
    refuse_too_large(network, recipe, features)
    monkeypatch.setattr(memory_need, "memory_per_device", lambda: limit)
    with pytest.raises(UserError, match=r"--model automap: [\d,]+ parameters, .* take .* GB; .* pixels fit") as refusal:
        refuse_too_large(network, recipe, features)
    shape = features.output_shape[:-1]
    named = re.search(r"; ([\d x]+) pixels fit", str(refusal.value))
    assert named
    fits = max(map(int, named[1].split(" x ")))
    assert 0 < fits < max(shape)
    sizes = [memory_need._bytes_at(recipe, features, side / max(shape)) for side in (fits, fits + 1)]
    assert sizes[0] <= limit < sizes[1]


def test_where_the_size_of_images_does_not_matter_a_smaller_network_is_the_remedy(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, features = recipe_for("unet"), features_for(toy)
    monkeypatch.setattr(memory_need, "memory_per_device", lambda: 1000)
    with pytest.raises(UserError, match=r"there are 1e-06 GB; take a smaller network, such as a lower model\.width"):
        refuse_too_large(model_building.build_network(recipe, features), recipe, features)
