"""Every model found: shapes, gradients, precision, files. Then what each one promises by itself."""

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.training.conftest import QUICK, columns, features_for, recipe_for
from training import model_building
from training.contract import Inputs, Shape, find_model, model_names
from training.dense import ACTIVATIONS, Activation, Initialisation
from training.export import store as models
from training.export.predictor import Predictor
from training.network import Named, Network
from training.optimizers import build_optimizer as build_rule

SMALL: dict[str, dict[str, Any]] = {  # others: as they come
    "unet": {"width": 4, "widening": (1, 1.5), "groups": 2},
    "convnet": {"filters": (3, 5), "kernels": (3, 4)},
    "nafnet": {"width": 4, "encoder": (1,), "middle": 0},
    "cdinn": {"filters": (12, 16)},
    "ptychonn": {"encoder": (12, 16), "decoder": (16, 12)},
    "dledi": {"filters": (6, 8)},
    "automap": {"hidden": (20, 20), "filters": (6, 8)},
    "dense_reconstruct": {"hidden": (30, 30), "filters": (6,)},
    "cnn_reconstruct": {"encoder": (6, 8), "hidden": (30,), "decoder": (6,)},
    "dncnn": {"width": 6, "depth": 2},
    "unet_classic": {"widths": (6, 8), "bottleneck": 4},
    "autoencoder": {"filters": (8, 8), "code": 6},
    "vae": {"latent": 6, "filters": (6, 8)},
    "edsr": {"width": 6, "blocks": 1},
    "fusion": {"widths": (6, 8), "coarse_blocks": 1},
    "alexnet": {"filters": (4, 4, 6, 6, 4), "kernel": (3,), "stride": (1,), "hidden": (12,) * 3, "padding": "same"},
}
SHAPES: list[tuple[Shape, int, float]] = [  # one sample of the input; channels of the output; share that must move
    ((33, 2), 1, 0.9),  # lines, odd
    ((14, 24, 1), 3, 0.9),  # not square, nor divided by the folding
    ((5, 4, 6, 3), 2, 0.2),  # volumes, so small that most taps see padding alone
]
ALONE = [name for name in model_names() if find_model(name).FIT != "operator"]  # those: test_operators.py
# Of that share: few small samples wake few of the units behind a relu.
AWAKE = {
    "cdinn": 0.3,
    "ptychonn": 0.3,
    "dense_reconstruct": 0.3,
    "cnn_reconstruct": 0.3,
    "automap": 0.8,
    "alexnet": 0.2,
    "unet_classic": 0.5,
    "autoencoder": 0.3,
    "vae": 0.2,
    "edsr": 0.8,
    "fusion": 0.8,
}
WHOLE = {"dledi": 3}  # the last layers, which may be whole, so that the output is not rounded; others: one


def normal(shape: Shape, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@cache
def network(
    name: str, shape: Shape, outputs: int, *, scalars: int = 0, seed: int = 0, dtype: Any = jnp.float32, **settings: Any
) -> Network:
    """shape: of one sample of the input; the last `scalars` of its channels are told, not seen."""
    model = find_model(name)
    config, inputs = model.Config(**(SMALL.get(name, {}) | settings)), Inputs(shape[:-1], shape[-1], scalars)
    return Network(lambda: model.build(config, inputs, (*shape[:-1], outputs), nnx.Rngs(seed), dtype))


def applied(net: Network, parameters: Named, rest: Named) -> Callable[[Any], jax.Array]:
    """The network as a function of its input alone, compiled."""
    return partial(jax.jit(lambda p, r, x: net(p, r, x)[0], **QUICK), parameters, rest)


def moved(before: Named, after: Named) -> dict[str, float]:
    """The share of each parameter's numbers that differ."""
    return {name: float(np.mean(np.asarray(before[name]) != np.asarray(after[name]))) for name in before}


@pytest.mark.parametrize(("shape", "outputs", "least"), SHAPES)
@pytest.mark.parametrize("name", ALONE)
def test_it_maps_any_grid_and_learns_with_all_of_its_parameters(
    name: str, shape: Shape, outputs: int, least: float
) -> None:
    """Nearly every number has had a gradient after three steps: in the first, zeros may still stand before it."""
    net = network(name, shape, outputs)
    parameters, rest = net.initial
    x, truth = normal((3, *shape)), normal((3, *shape[:-1], outputs), 1)

    @partial(jax.jit, **QUICK)
    def descend(parameters: Named) -> tuple[Named, Named, jax.Array]:
        def objective(p: Named) -> tuple[jax.Array, jax.Array]:
            y, _, _ = net(p, rest, x, jax.random.key(0))
            return jnp.mean((y - truth) ** 2), y

        slope, y = jax.grad(objective, has_aux=True)(parameters)
        return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, slope), slope, y

    now, learned = parameters, {part: np.zeros(value.shape, bool) for part, value in parameters.items()}
    for _ in range(3):
        now, slope, y = descend(now)
        learned = {part: was | (np.asarray(slope[part]) != 0) for part, was in learned.items()}
        assert (y.shape, y.dtype) == (truth.shape, jnp.float32)
        assert all(np.isfinite(values).all() for values in (*slope.values(), y))
    assert {value.dtype for value in now.values()} == {jnp.dtype(jnp.float32)}
    share = least * AWAKE.get(name, 1)
    assert {part: was.mean() for part, was in learned.items() if was.mean() < share} == {}


@pytest.mark.parametrize("name", ALONE)
def test_the_seed_alone_decides_its_start(name: str) -> None:
    first, again = (make(name, (12, 16, 2), 1).initial for make in (network, network.__wrapped__))
    assert [moved(a, b) for a, b in zip(first, again, strict=True)] == [dict.fromkeys(part, 0.0) for part in first]
    if name != "mlp":  # starts as the identity, whatever the seed
        assert max(moved(first[0], network(name, (12, 16, 2), 1, seed=1).initial[0]).values()) > 0.9


@pytest.mark.parametrize("name", ALONE)
def test_samples_do_not_meet(name: str) -> None:
    net, x = network(name, (12, 16, 2), 1), normal((4, 12, 16, 2))
    parameters, rest = shaken(net)
    apply = applied(net, parameters, rest)
    changed = x.at[2].set(normal((12, 16, 2), 9))
    difference = np.max(abs(np.asarray(apply(changed) - apply(x))), axis=(1, 2, 3))
    np.testing.assert_array_equal(difference > 0, [False, False, True, False])


def shaken(net: Network) -> tuple[Named, Named]:
    """Parameters and running averages of a network that has learned something: none is as it began.

    They are drawn here, for the start that the network itself would make takes a second to compile.
    """
    rng = np.random.default_rng(0)

    def drawn(name: str, shape: Shape) -> Any:
        spread = 0.1 + name.endswith("kernel") / np.sqrt(np.prod(shape[:-1]))
        middle = name.endswith(("scale", "variance"))
        return np.asarray(middle + spread * rng.standard_normal(shape), np.float32)

    one, two = ({name: drawn(name, value.shape) for name, value in sorted(part.items())} for part in net.shapes)
    return one, two


@pytest.mark.parametrize("name", ALONE)
def test_what_it_is_told_matters(name: str) -> None:
    """The last channels are scalars: other values of one sample, another output of that sample."""
    net = network(name, (12, 16, 4), 1, scalars=2)
    parameters, rest = shaken(net)
    apply = applied(net, parameters, rest)
    x = normal((2, 12, 16, 4)).at[..., 2:].set(0.5)
    difference = np.max(abs(np.asarray(apply(x.at[1, ..., 3].set(-0.5)) - apply(x))), axis=(1, 2, 3))
    np.testing.assert_array_equal(difference > 0.01, [False, True])


@pytest.mark.parametrize("name", ALONE)
def test_half_precision_computes_in_half_and_keeps_whole_parameters(name: str) -> None:
    half, whole = (network(name, (12, 16, 2), 1, dtype=dtype) for dtype in (jnp.bfloat16, jnp.float32))
    (parameters, rest), x = shaken(whole), normal((2, 12, 16, 2))
    assert {value.dtype for value in half.initial[0].values()} == {jnp.dtype(jnp.float32)}
    y, exact = (applied(net, parameters, rest)(x) for net in (half, whole))
    difference = np.sqrt(np.mean((y.astype(jnp.float32) - exact) ** 2) / np.mean(exact**2))
    assert 1e-4 < difference < 0.1
    products = [e for e in equations(half, parameters, rest, x) if e.primitive.name in PRODUCTS]
    rounded = products[: -WHOLE.get(name, 1)]
    assert rounded
    assert {v.aval.dtype for e in rounded for v in e.invars} == {jnp.dtype(jnp.bfloat16)}


PRODUCTS = ("dot_general", "conv_general_dilated")


def equations(net: Network, parameters: Named, rest: Named, x: jax.Array) -> list[Any]:
    def inner(jaxpr: Any) -> list[Any]:
        found = []
        for equation in jaxpr.eqns:
            found.append(equation)
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    found += inner(value.jaxpr)
        return found

    return inner(jax.make_jaxpr(lambda p, r, x: net(p, r, x)[0])(parameters, rest, x).jaxpr)


@pytest.mark.parametrize("name", ALONE)
def test_a_saved_model_predicts_the_same_wherever_it_lies(name: str, tie: Path, tmp_path: Path) -> None:
    from tests.training.test_export import card

    settings = (
        "input=dual",
        "scalars=defocus,voltage",
        *(f"model.{k}={_plain(v)}" for k, v in SMALL.get(name, {}).items()),
    )
    recipe, features = recipe_for(name, *settings), features_for(tie, *settings[:2])
    parameters, rest = shaken(model_building.build_network(recipe, features))
    live = Predictor(card(tie, recipe), features, model_building.build_network(recipe, features), parameters, rest)
    models.save(tmp_path / "run" / "best", live.card, parameters, rest)
    shutil.copytree(tmp_path / "run" / "best", tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "run")
    fields = columns(tie, "validation")
    before, after = live.predict(fields), models.load_model(tmp_path / "elsewhere" / "copy").predict(fields)
    assert before["phase"].shape == fields["phase"].shape
    assert before["phase"].std() > 0
    np.testing.assert_array_equal(after["phase"], before["phase"])


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def count(net: Network) -> int:
    return sum(value.size for value in net.shapes[0].values())


# --- convolutional


@pytest.mark.parametrize(
    ("name", "total", "said"),
    [("unet", 514_852, "0.51 M"), ("nafnet", 281_508, "0.28 M"), ("fno", 2_269_665, "2.27 M")],
)
def test_it_has_the_parameters_that_its_docstring_says(name: str, total: int, said: str) -> None:
    model = find_model(name)
    build = partial(model.build, model.Config(), Inputs((64, 64), 2), (64, 64, 1), dtype=jnp.float32)
    assert count(Network(lambda: build(rngs=nnx.Rngs(0)))) == total
    assert said in str(model.__doc__)


@pytest.mark.parametrize("name", ["unet", "nafnet", "fno"])
def test_it_has_as_many_parameters_on_any_grid(name: str) -> None:
    assert count(network(name, (64, 64, 2), 1)) == count(network(name, (31, 28, 2), 1))


@pytest.mark.parametrize("name", ["unet", "nafnet", "fno"])
def test_it_starts_from_the_mean_of_the_target(name: str, tie: Path) -> None:
    features = features_for(tie)
    net, fields = network(name, features.inputs.shape, 1), columns(tie)
    encode, decode = (jax.jit(f, **QUICK) for f in (features.encode, features.decode))
    found = decode(applied(net, *net.initial)(encode(fields)), fields)["phase"]
    np.testing.assert_array_equal(
        found, np.broadcast_to(features.scale(features.task["phase"], fields)[0] * fields["window"], found.shape)
    )


@pytest.mark.parametrize(("name", "shift"), [("unet", (4, 0)), ("unet", (-4, 8)), ("nafnet", (4, -8))])
def test_it_moves_with_its_input(name: str, shift: tuple[int, int]) -> None:
    """By whole multiples of the folding, here 4 pixels, for what lies on a plain ground far from the borders.

    There the convolutions see the ground alone, and the means of the normalisation, over all the image, stay.
    """
    net = network(name, (120, 136, 1), 1)
    parameters, rest = shaken(net)
    x = np.full((1, 120, 136, 1), 0.3, np.float32)
    x[:, 56:64, 60:76] = normal((1, 8, 16, 1))
    apply = applied(net, parameters, rest)
    y, turned = (np.asarray(apply(v)) for v in (x, np.roll(x, shift, (1, 2))))
    middle = (slice(None), slice(40, 80), slice(40, 96))
    expected = np.roll(y, shift, (1, 2))[middle]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(turned[middle], expected, atol=2e-5 * np.ptp(expected))


# --- mlp

GRIDS = [((4, 3, 1), 0, 1), ((6, 4), 0, 1), ((5, 1), 0, 3), ((4, 3, 3), 2, 1)]  # numbers in: as out, more, fewer; told


@pytest.mark.parametrize(("shape", "scalars", "outputs"), GRIDS)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_mlp_of_50000_units_is_the_narrow_one(shape: Shape, scalars: int, outputs: int, rule: str) -> None:
    """Before and after learning: what lies beyond max(inputs, outputs) has neither a value nor a gradient, ever."""
    narrow, wide = (network("mlp", shape, outputs, scalars=scalars, hidden=h) for h in (None, (40,)))
    pixels = int(np.prod(shape[:-1]))
    live = pixels * max(shape[-1] - scalars, outputs)
    x, truth = normal((7, *shape)), normal((7, *shape[:-1], outputs), 1)
    recipe = recipe_for("mlp", f"optimizer.name={rule}", "optimizer.learning_rate=0.01", "schedule.name=constant")
    (slim, first), (broad, second) = (learned(net, recipe, x, truth, 20) for net in (narrow, wide))
    assert first[-1] < 0.99 * first[0]
    np.testing.assert_allclose(second, first, rtol=1e-6)
    for name in ("layers.0.kernel", "layers.0.bias", "layers.1.kernel", "layers.1.bias"):
        cut = {"layers.0.kernel": np.s_[:, :live], "layers.0.bias": np.s_[:live], "layers.1.kernel": np.s_[:live]}.get(
            name
        )
        kept = broad[name] if cut is None else broad[name][cut]
        np.testing.assert_allclose(kept, slim[name], atol=1e-6, err_msg=name)
    assert not np.any(broad["layers.0.kernel"][:, live:])
    assert not np.any(broad["layers.0.bias"][live:])
    assert not np.any(broad["layers.1.kernel"][live:])


def learned(net: Network, recipe: Any, x: jax.Array, truth: jax.Array, count: int) -> tuple[Named, list[float]]:
    rule, (parameters, rest), losses = build_rule(recipe, 1000), net.initial, []
    memory = rule.init(parameters)

    @partial(jax.jit, **QUICK)
    def step(parameters: Named, memory: Any) -> tuple[Any, Any, jax.Array]:
        loss, slope = jax.value_and_grad(lambda p: jnp.mean((net(p, rest, x)[0] - truth) ** 2))(parameters)
        update, memory = rule.update(slope, memory, parameters)
        return optax.apply_updates(parameters, update), memory, loss

    for _ in range(count):
        parameters, memory, loss = step(parameters, memory)
        losses.append(float(loss))
    return parameters, losses


def test_mlp_with_one_unit_less_is_another_network() -> None:
    """So the law above is sharp: max(inputs, outputs) units are needed."""
    x, truth = normal((7, 4, 3, 1)), normal((7, 4, 3, 1), 1)
    recipe = recipe_for("mlp", "optimizer.name=sgd", "schedule.name=constant")
    short, full = (learned(network("mlp", (4, 3, 1), 1, hidden=(h,)), recipe, x, truth, 2)[1] for h in (11, 12))
    assert abs(short[0] - full[0]) > 1e-3


def test_mlp_has_the_parameters_that_its_docstring_says() -> None:
    model = find_model("mlp")
    for images, total in ((1, "33.6 M"), (2, "100.7 M"), (3, "201.3 M")):
        n, m = 4096 * images, 4096
        hidden = max(n, m)
        assert f"{(n * hidden + hidden + hidden * m + m) / 1e6:.1f} M" == total
        assert total in str(model.__doc__)


def test_mlp_takes_each_scalar_once() -> None:
    """Not once for every pixel: 64x64 pixels, three images and three scalars would be 704.7 M parameters."""
    for scalars in (0, 3):
        plain = 12288 * 12288 + 12288 + 12288 * 4096 + 4096
        net = network("mlp", (64, 64, 3 + scalars), 1, scalars=scalars)
        assert net.parameters == plain + scalars * 12288


@pytest.mark.parametrize("start", [0.0, 0.25])
def test_mlp_starts_scalars_at_a_constant(start: float) -> None:
    """y = tanh(x + c (s1 + s2)) with the identity, of each sample's own scalars."""
    x, told = normal((5, 4, 3, 1)), normal((5, 2), 1)
    fields = jnp.concatenate([x, jnp.broadcast_to(told[:, None, None], (5, 4, 3, 2))], axis=-1)
    net = network("mlp", (4, 3, 3), 1, scalars=2, scalar_initialisation=start)
    np.testing.assert_array_equal(net.initial[0]["layers.0.kernel"][-2:], np.full((2, 12), start))
    expected = np.tanh(x + start * told.sum(1)[:, None, None, None])
    np.testing.assert_allclose(net(*net.initial, fields)[0], expected, atol=1e-6)


def test_mlp_starts_as_tanh_of_the_phase_it_is_given(tie: Path) -> None:
    """Input `phases`, nothing normalised, as in the published experiment; of several channels the first."""
    fields = columns(tie)
    for given, channels in (("phases", 1), ("dual", 4)):
        features = features_for(tie, f"input={given}", "normalisation=none")
        x = features.encode(fields)
        net = network("mlp", features.inputs.shape, 1)
        found = features.decode(net(*net.initial, x)[0], fields)["phase"]
        assert x.shape[-1] == channels
        np.testing.assert_allclose(found, np.tanh(x[..., 0]) * fields["window"], atol=1e-6)


@pytest.mark.parametrize("name", get_args(Initialisation.__value__))
def test_mlp_starts_as_it_is_told(name: str) -> None:
    net = network("mlp", (4, 3, 1), 1, hidden=(12, 20), initialisation=name)
    kernels = {key: np.asarray(value) for key, value in net.initial[0].items() if key.endswith("kernel")}
    assert [value.shape for value in kernels.values()] == [(12, 12), (12, 20), (20, 12)]
    assert not any(np.any(value) for key, value in net.initial[0].items() if key.endswith("bias"))
    for value in kernels.values():
        spread = value - np.eye(*value.shape) * ("identity" in name) - (name == "ones")
        if "random" in name:
            assert 0.03 < spread.std() < 0.06  # cut at twice 0.05: 0.044
            assert abs(spread).max() <= 0.1
        else:
            assert not spread.any()


def test_mlp_has_an_activation_for_each_layer() -> None:
    x = normal((5, 2, 3, 1))
    net = network("mlp", (2, 3, 1), 1, hidden=(6, 6), activations=("tanh", "relu"))
    np.testing.assert_allclose(net(*net.initial, x)[0], np.maximum(np.tanh(x), 0), atol=1e-6)
    assert {*get_args(Activation.__value__)} == {*ACTIVATIONS}
    with pytest.raises(ValueError, match="one for each of the 2 hidden layers"):
        network("mlp", (2, 3, 1), 1, hidden=(6, 6), activations=("tanh", "relu", "relu"))


def test_mlp_refuses_another_size() -> None:
    net = network("mlp", (4, 3, 1), 1)
    with pytest.raises(ValueError, match=r"of shape \(4, 3, 1\) cannot take \(3, 4, 1\)"):
        net(*net.initial, normal((2, 3, 4, 1)))
