"""Promises of automap, dense_reconstruct, cnn_reconstruct, alexnet and lpd.

tests/training/test_models.py and test_operators.py have what all models promise.
"""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from schemas.runtime.settings import make_settings
from tests.shared import Made
from tests.training.conftest import QUICK, columns, features_for, made, recipe_for
from tests.training.test_models import SMALL, applied, network, normal, shaken
from training import model_building
from training.contract import Inputs, Shape, SizedOperator, find_learn, find_model
from training.features import Features
from training.models.lpd import LearnedPrimalDual
from training.network import Network
from training.recipe import recipe_type


def same(image: Any, fields: Any) -> Any:
    return image


EYE = SizedOperator("sinogram", 2, same, same, same)


@cache
def published(name: str, spatial: Shape, outputs: Shape, **settings: Any) -> Network:
    model = find_model(name)
    inputs = Inputs(spatial, 1, 0, EYE)
    build = partial(model.build, model.Config(**settings), inputs, outputs, dtype=jnp.float32)
    return Network(lambda: build(rngs=nnx.Rngs(0)), lambda _: outputs[:-1])


PAPER = {"hidden": None, "output": "convolution"}


@pytest.mark.parametrize(
    ("name", "settings", "total"),
    [
        ("automap", {}, 19_121_665),
        ("automap", PAPER, 33_669_889),
        ("dense_reconstruct", {}, 6_553_409),
        ("cnn_reconstruct", {}, 7_536_121),
        ("cnn_reconstruct", {"hidden": None}, 4_607_425),
        ("lpd", {}, 253_220),
    ],
)
def test_it_has_the_published_parameters(name: str, settings: Any, total: int) -> None:
    net = published(name, (64, 64), (64, 64, 1), **settings)
    assert net.parameters == total
    assert f"{total:,}" in str(find_model(name).__doc__)
    if name == "lpd":
        slopes = sum(value.size for part, value in net.shapes[0].items() if part.endswith("slope"))
        assert (slopes, total - slopes) == (1_280, 251_940)


# --- networks that give images


@pytest.mark.parametrize("name", ["automap", "dense_reconstruct", "cnn_reconstruct"])
def test_it_maps_a_sinogram_to_an_image_of_another_size_and_refuses_numbers(name: str) -> None:
    net = published(name, (20, 16), (9, 12, 1), **SMALL[name])
    parameters, rest = shaken(net)
    assert applied(net, parameters, rest)(normal((2, 20, 16, 1))).shape == (2, 9, 12, 1)
    with pytest.raises(ValueError, match="the target is a number or a class; take --model alexnet"):
        published(name, (20, 16), (1,))


def test_automap_adds_the_modulus_of_its_features_as_a_loss_that_is_off_unless_it_is_asked_for() -> None:
    kind = recipe_type("automap", find_model("automap"))
    assert make_settings(kind, {}, []).loss.weights["activity"] == 0
    assert make_settings(kind, {}, ["loss.activity=1e-4"]).loss.weights["activity"] == 1e-4
    net = published("automap", (6, 5), (4, 3, 1), hidden=None, filters=(2,), output="convolution")
    parameters, rest = shaken(net)
    x = normal((3, 6, 5, 1))
    y = np.asarray(x).reshape(3, -1)
    for layer in range(2):
        y = np.tanh(y @ parameters[f"dense.layers.{layer}.kernel"] + parameters[f"dense.layers.{layer}.bias"])
    assert y.shape == (3, 12)
    features = np.maximum(convolve(y.reshape(3, 4, 3, 1), parameters, "features.layers.0"), 0)
    found, _, further = net(parameters, rest, x)
    np.testing.assert_allclose(further["activity"], abs(features).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found, convolve(features, parameters, "image"), atol=1e-5)


def convolve(x: Any, arrays: Any, name: str) -> np.ndarray:
    kernel, layout = arrays[f"{name}.kernel"], ("NHWC", "HWIO", "NHWC")
    made = jax.lax.conv_general_dilated(jnp.asarray(x, jnp.float32), kernel, (1, 1), "SAME", dimension_numbers=layout)
    return np.asarray(made + arrays[f"{name}.bias"])


@pytest.mark.parametrize("hidden", [(5, 7), None])
def test_the_dense_layers_of_cnn_reconstruct_are_part_of_it(hidden: Any) -> None:
    """Each is felt by the output, and dropout acts in training alone, in both forms."""
    net = published("cnn_reconstruct", (12, 8), (6, 5, 1), encoder=(3, 4), hidden=hidden, decoder=(3,), dropout=0.5)
    parameters, rest = shaken(net)
    x = normal((2, 12, 8, 1))
    y = applied(net, parameters, rest)(x)
    for layer in range(len(hidden or ())):
        still: Any = parameters | {f"dense.layers.{layer}.bias": np.zeros(hidden[layer], np.float32)}
        assert np.ptp(applied(net, still, rest)(x) - y) > 0.01
    one, again, other = (net(parameters, rest, x, jax.random.key(k))[0] for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert min(np.ptp(one - y), np.ptp(other - one)) > 0.01


# --- alexnet


@pytest.mark.parametrize(
    ("settings", "least"),
    [({}, (280, 111)), ({"kernel": (7, 5), "stride": (2,)}, (113, 111)), ({"kernel": (5,), "stride": (1,)}, (58, 58))],
)
def test_alexnet_names_the_smallest_image_that_fits(settings: Any, least: Shape) -> None:
    message = rf"images of at least {least[0]} x {least[1]} pixels, here {{}}; or --set model.padding=same"
    assert published("alexnet", least, (1,), **settings).parameters
    for axis in (0, 1):
        small = tuple(n - (k == axis) for k, n in enumerate(least))
        with pytest.raises(ValueError, match=message.format(f"{small[0]} x {small[1]}")):
            published("alexnet", small, (1,), **settings)
    assert published("alexnet", (3, 1), (1,), padding="same", **settings).parameters


def test_alexnet_has_the_parameters_that_its_docstring_says() -> None:
    convolutions = [75 * 96 + 96, 121 * 96 * 256 + 256, 9 * 256 * 384 + 384, 9 * 384**2 + 384, 9 * 384 * 256 + 256]
    dense = [256 * 1096 + 1096, 1096**2 + 1096, 1096 * 1000 + 1000, 1000 + 1]
    norms = 2 * (96 + 384 + 1096 + 1000)
    total = published("alexnet", (280, 111), (1,)).parameters
    assert total == sum(convolutions) + sum(dense) + norms
    assert f"{total:,}" in str(find_model("alexnet").__doc__)


def test_alexnet_learns_statistics_of_the_batch_and_uses_them_afterwards() -> None:
    net = network("alexnet", (12, 16, 2), 1)
    parameters, rest = net.initial
    x = normal((6, 12, 16, 2))
    learn = jax.jit(lambda p, r, x: net(p, r, x, jax.random.key(0), jnp.ones(6))[:2], **QUICK)
    learned, after = learn(parameters, rest, x)
    assert {name for name in rest if np.any(after[name] != rest[name])} == set(rest)
    assert np.ptp(applied(net, parameters, rest)(x) - learned) > 0


# --- learned primal-dual


@pytest.fixture(scope="session")
def scan(made_once: Made) -> Path:
    return made_once("scan", lambda folder: made(folder, "toy_scan", "--set", "noise=0")) / "toy_scan.zarr"


def features_of(scan: Path, name: str, *settings: str) -> tuple[Features, Network]:
    general = [setting for setting in settings if not setting.startswith("model.")]
    known, told = features_for(scan, *general), recipe_for(name, *settings)
    found = model_building.features_of(known.task, told, known.moments, known.sizes)
    return found, model_building.build_network(told, found)


FEW = ("model.iterations=2", "model.width=4", "model.memory=3")
SMALL_UNET = ("model.primal=unet", "model.unet.width=4", "model.unet.widening=1,2")


@pytest.mark.parametrize("ways", [("transpose", "zero"), ("inverse", "zero"), ("transpose", "inverse")], ids="-".join)
@pytest.mark.parametrize("primal", [(), SMALL_UNET], ids=["cnn", "unet"])
def test_lpd_does_not_depend_on_the_units_of_the_measurement(ways: tuple[str, str], primal: Any, scan: Path) -> None:
    """An operator 1000 times as large, and measurements as well: the same image."""
    features, fields = features_of(scan, "lpd", "input=sinogram")[0], columns(scan)
    config = recipe_for("lpd", *FEW, f"model.adjoint={ways[0]}", f"model.start={ways[1]}", *primal).model  # type: ignore[attr-defined]
    operator: Any = features.inputs.operator
    x, found = features.encode(fields), []
    for scale in (1, 1000):

        def forward(u: Any, f: Any, scale: float = scale) -> Any:
            return scale * operator.forward(u, f)

        def adjoint_of(p: Any, f: Any, scale: float = scale) -> Any:
            return scale * operator.adjoint(p, f)

        def inverse(p: Any, f: Any, scale: float = scale) -> Any:
            return operator.inverse(p, f) / scale

        changed = SizedOperator(operator.measured, operator.axes, forward, adjoint_of, inverse)
        module: Any = find_model("lpd").build(
            config, replace(features.inputs, operator=changed), features.output_shape, nnx.Rngs(0), jnp.float32
        )
        seen = fields | {"sinogram": scale * fields["sinogram"]}
        found.append(np.asarray(jax.jit(lambda x, seen, m=module: m(x, None, seen), **QUICK)(x, seen)))
    assert np.ptp(found[0]) > (0.1 if not primal else -1)  # a U-Net starts from zero
    np.testing.assert_allclose(found[1], found[0], atol=1e-4 * max(np.ptp(found[0]), 1))


def test_lpd_starts_from_the_inverse_that_the_task_states(scan: Path) -> None:
    """Before training, U-Nets change nothing."""
    features, net = features_of(scan, "lpd", "input=sinogram", "model.start=inverse", *FEW, *SMALL_UNET)
    fields: Any = columns(scan)
    operator: Any = features.inputs.operator
    made = features.decode(net(*net.initial, features.encode(fields), fields=fields)[0], fields)["image"]
    np.testing.assert_allclose(made, operator.inverse(fields["sinogram"], fields), atol=1e-4)


def test_the_norm_of_lpd_is_not_below_the_true_one_and_near_it(scan: Path) -> None:
    """The singular values of each sample's matrix say what its norm is."""
    features = features_of(scan, "lpd", "input=sinogram")[0]
    fields: Any = columns(scan)
    module = find_model("lpd").build(
        recipe_for("lpd", *FEW).model,  # type: ignore[attr-defined]
        features.inputs,
        features.output_shape,
        nnx.Rngs(0),
        jnp.float32,
    )
    assert isinstance(module, LearnedPrimalDual)
    operator, shape = module.operator, fields["image"].shape
    bound = module._norm(operator.adjoint(jnp.ones_like(fields["sinogram"]), fields), fields)
    for sample in range(2):
        own: Any = {"angle": np.repeat(fields["angle"][sample : sample + 1], np.prod(shape[1:]), 0)}
        images = np.eye(np.prod(shape[1:]), dtype=np.float32).reshape(-1, *shape[1:])
        matrix = np.asarray(operator.forward(jnp.asarray(images), own)).reshape(len(images), -1)
        true = np.linalg.norm(matrix, 2)
        assert true <= bound[sample] * (1 + 1e-5)
        assert bound[sample] < 2 * true


@pytest.mark.parametrize("given", ["sinogram", "back"])
@pytest.mark.parametrize("primal", [(), SMALL_UNET], ids=["cnn", "unet"])
def test_lpd_is_told_scalars_and_images_on_the_grid_of_the_target(given: str, primal: Any, scan: Path) -> None:
    """The scalar is not in the fields of the operator; images of the input matter if they lie on the target's grid."""
    features, net = features_of(scan, "lpd", f"input={given}", "scalars=span", *FEW, *primal)
    fields: Any = columns(scan)
    parameters, rest = shaken(net)
    apply = jax.jit(lambda x: net(parameters, rest, x, fields=fields)[0], **QUICK)
    x = features.encode(fields)
    y = apply(x)
    assert x.shape[-1] == 2
    assert np.ptp(apply(x.at[..., 1].add(1.0)) - y) > 1e-3
    assert (np.ptp(apply(x.at[..., 0].add(normal(x.shape[:-1]))) - y) > 1e-3) == (given == "back")


def test_lpd_refuses_an_inverse_that_the_task_does_not_state() -> None:
    model, inputs = find_model("lpd"), Inputs((6, 6), 1, 0, replace(EYE, inverse=None))
    with pytest.raises(ValueError, match=r"model\.adjoint = inverse: LEARN\.operator states no inverse"):
        model.build(make_settings(model.Config, {}, ["adjoint=inverse"]), inputs, (6, 6, 1), nnx.Rngs(0), jnp.float32)


# --- all of them

TINY: dict[str, tuple[str, ...]] = {
    "automap": ("model.hidden=32", "model.filters=8,8"),
    "dense_reconstruct": ("model.hidden=32,32", "model.filters=8"),
    "cnn_reconstruct": ("model.encoder=8,8", "model.hidden=32", "model.decoder=8"),
    "lpd": ("model.iterations=2", "model.width=8"),
}


@pytest.mark.parametrize("name", TINY)
def test_it_learns_four_samples_by_heart(name: str, scan: Path) -> None:
    """The squared error falls to a twentieth of that of the mean image."""
    features, net = features_of(scan, name, "input=sinogram", *TINY[name])
    fields = {key: jnp.asarray(values[:4]) for key, values in columns(scan).items()}
    rule, (parameters, rest) = optax.adam(5e-3), net.initial
    x, truth = features.encode(fields), fields["image"]

    def error(parameters: Any) -> jax.Array:
        output, _, _ = net(parameters, rest, x, fields=fields)
        return jnp.mean((features.decode(output, fields)["image"] - truth) ** 2)

    @partial(jax.jit, **QUICK)
    def learn(state: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            parameters, memory = state
            update, memory = rule.update(jax.grad(error)(parameters), memory)
            return optax.apply_updates(parameters, update), memory

        return jax.lax.fori_loop(0, 100, step, state)

    parameters, _ = learn((parameters, rule.init(parameters)))
    assert error(parameters) < 0.05 * jnp.mean((truth - truth.mean(0)) ** 2)


@pytest.fixture(scope="session")
def limited(made_once: Made) -> Path:
    """Sinograms of ranges that begin at different angles, in a parallel beam."""
    ranges = ("measured.start=0:180", "measured.length=20:120", "measured.every=1", "transmission.photons=1e3:1e5")
    return made_once("limited", lambda folder: made(folder, "tomo", "--set", "image_size=12", *ranges)) / "tomo.zarr"


def test_the_measured_range_is_told_by_its_middle_and_its_length(limited: Path) -> None:
    """The mean of exp(2 i t) over an angle a is sin(a) / a exp(2 i m), m the middle, up to the step of the views."""
    fields, part = columns(limited), find_learn("tomo").derived_scalars["measured_range"]
    found = np.asarray(part.channels({name: jnp.asarray(fields[name]) for name in part.fields})).astype(float)
    start, length = (np.radians(fields[f"views_{name}"].astype(float)) for name in ("start", "length"))
    expected = np.sin(length) / length * np.exp(2j * (start + length / 2))
    step = np.pi / fields["angle"].shape[1]
    np.testing.assert_allclose(found @ [1, 1j], expected, atol=2 * step)
    assert abs(expected).min() < 0.6
    whole = {"angle": np.arange(8.0)[None] * np.pi / 8, "measured": np.ones((1, 8)), "source_distance": np.zeros(1)}
    np.testing.assert_allclose(part.channels({k: jnp.asarray(v) for k, v in whole.items()}), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings"), [("unet", {"width": 2}), ("nafnet", {"width": 2}), ("lpd", {"iterations": 2})]
)
def test_networks_for_derived_images_are_told_derived_scalars(name: str, settings: Any, limited: Path) -> None:
    """Each scalar is a constant channel behind the reconstruction; a sample of another dose gives another image."""
    told = "scalars=log_photons,log_views,measured_range"
    known, fields = features_for(limited, told), columns(limited)
    recipe = recipe_for(name, told, *(f"model.{key}={value}" for key, value in settings.items()))
    features = model_building.features_of(known.task, recipe, known.moments, known.sizes)
    assert (features.inputs.channels, features.inputs.scalars) == (5, 4)
    x = features.encode(fields)
    np.testing.assert_array_equal(x[..., 1:], np.broadcast_to(x[:, :1, :1, 1:], (*x.shape[:-1], 4)))
    net = model_building.build_network(recipe, features)
    parameters, rest = shaken(net)

    @partial(jax.jit, **QUICK)
    def output(photons: Any) -> Any:
        arrays = {**fields, "photons": photons}
        return net(parameters, rest, features.encode(arrays), fields=arrays)[0]

    changed = fields["photons"] * np.where(np.arange(len(x)) == 1, 10, 1).astype(np.float32)
    moved = abs(np.asarray(output(changed)) - np.asarray(output(fields["photons"]))).max((1, 2, 3))
    assert moved[1] > 0
    assert not moved[np.arange(len(x)) != 1].any()
