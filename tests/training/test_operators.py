"""Networks with the physics of a task inside: adjoint operators, a classical method before learning, then better."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schemas.runtime.errors import UserError
from tests.shared import Made
from tests.training.conftest import QUICK, columns, features_for, made, recipe_for
from tests.training.test_models import shaken
from training import model_building
from training.contract import find_learn, find_model, model_names
from training.features import Features
from training.run import prepare

OPERATORS = [name for name in model_names() if find_model(name).FIT == "operator"]
every = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture(scope="session")
def scan(made_once: Made) -> Path:
    return made_once("scan", lambda folder: made(folder, "toy_scan", "--set", "noise=0")) / "toy_scan.zarr"


def features_of(name: str, scan: Path) -> Features:
    bare = features_for(scan, "input=sinogram")
    return model_building.features_of(bare.task, recipe_for(name, "input=sinogram"), bare.moments, bare.sizes)


def rays(fields: dict[str, np.ndarray], sizes: Any) -> Any:
    """The matrix (sample, measured, pixel) by the formula of the schema, in float64."""
    y, x, t = (np.arange(sizes[dim]) - (sizes[dim] - 1) / 2 for dim in ("y", "x", "detector"))
    angle = fields["angle"].astype(float)[..., None, None, None]
    place = np.cos(angle) * x + np.sin(angle) * y[:, None] - t[:, None, None]
    return np.maximum(0, 1 - abs(place)).reshape(len(fields["angle"]), -1, len(y) * len(x))


@every
def test_the_adjoint_is_the_transpose(name: str, scan: Path) -> None:
    operator, features, fields = find_learn("toy_scan").operator, features_of(name, scan), columns(scan)
    assert operator
    exact = rays(fields, features.sizes)
    rng = np.random.default_rng(0)
    image = rng.standard_normal(fields["image"].shape).astype(np.float32)
    sinogram = rng.standard_normal(fields["sinogram"].shape).astype(np.float32)
    forward = operator.forward(jnp.asarray(image), fields, features.sizes)
    adjoint = operator.adjoint(jnp.asarray(sinogram), fields, features.sizes)
    one, other = image.reshape(len(image), -1), sinogram.reshape(len(image), -1)
    np.testing.assert_allclose(forward.reshape(other.shape), np.einsum("smp,sp->sm", exact, one), atol=1e-4)
    np.testing.assert_allclose(adjoint.reshape(one.shape), np.einsum("smp,sm->sp", exact, other), atol=1e-4)
    measured = operator.forward(jnp.asarray(fields["image"]), fields, features.sizes)
    np.testing.assert_allclose(measured, fields["sinogram"], atol=1e-4)


@pytest.mark.parametrize("name", ["unrolled"])
def test_before_learning_it_is_the_classical_method(name: str, scan: Path) -> None:
    """SIRT, each sample with angles of its own, in float64."""
    features, fields = features_of(name, scan), columns(scan)
    network = model_building.build_network(recipe_for(name, "input=sinogram"), features)
    parameters, rest = network.initial
    output, _, _ = network(parameters, rest, features.encode(fields), fields=fields)
    a, f = rays(fields, features.sizes), fields["sinogram"].astype(float).reshape(len(fields["angle"]), -1)
    rows, sums = a.sum(2), a.sum(1)
    u = np.zeros_like(sums)
    for _ in range(recipe_for(name).model.iterations):  # type: ignore[attr-defined]
        residual = np.divide(f - np.einsum("smp,sp->sm", a, u), rows, where=rows > 0, out=np.zeros_like(rows))
        u += np.divide(np.einsum("smp,sm->sp", a, residual), sums, where=sums > 0, out=np.zeros_like(sums))
    found = features.decode(output, fields)["image"]
    np.testing.assert_allclose(found.reshape(u.shape), u, atol=1e-4)


@every
def test_all_its_parameters_learn(name: str, scan: Path) -> None:
    features, fields = features_of(name, scan), columns(scan)
    network = model_building.build_network(recipe_for(name, "input=sinogram", "model.iterations=2"), features)
    parameters, rest = shaken(network)

    @partial(jax.jit, **QUICK)
    def slope(parameters: Any) -> Any:
        def loss(parameters: Any) -> Any:
            output, _, _ = network(parameters, rest, features.encode(fields), jax.random.key(0), None, fields)
            return jnp.mean((features.decode(output, fields)["image"] - fields["image"]) ** 2)

        return jax.grad(loss)(parameters)

    found = slope(parameters)
    assert all(np.isfinite(values).all() and np.any(values) for values in found.values())


@every
def test_it_is_refused_where_no_operator_is_stated(name: str, toy: Path) -> None:
    recipe, features = recipe_for(name), features_for(toy)
    with pytest.raises(UserError, match=r"has no LEARN\.operator; models that can: .*unet"):
        model_building.build_network(
            recipe, model_building.features_of(features.task, recipe, features.moments, features.sizes)
        )


@every
def test_an_operator_of_negative_weights_is_refused(name: str, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are small, and the sums of all rows are positive."""
    learn = find_learn("toy_scan")
    operator = learn.operator
    assert operator

    def forward(image: Any, fields: Any, sizes: Any) -> Any:
        found = operator.forward(image, fields, sizes)
        return found - 0.2 * jnp.roll(found, 3, axis=2)

    changed = replace(learn, operator=replace(operator, forward=forward))
    monkeypatch.setattr(model_building, "find_learn", lambda _: changed)
    with pytest.raises(UserError, match=r"negative weights \(-0\.\d+\), .*there must be none; take another --model"):
        prepare(scan, Path("r"), recipe_for(name, "input=sinogram"))
