"""Promises of unet_classic, autoencoder, vae, edsr and fusion alone; test_models.py has those of all networks."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.conftest import QUICK, features_for, made
from tests.training.test_far_field_networks import conv
from tests.training.test_models import applied, normal, shaken
from training import losses
from training.contract import Inputs, Shape, find_model
from training.layers import resize, scaled_lengths
from training.network import Network


def built(name: str, shape: Shape, outputs: Shape, *, parts: Shape = (), **settings: Any) -> Network:
    """shape: of one sample of the input; outputs: of the output."""
    model = find_model(name)
    inputs, config = Inputs(shape[:-1], shape[-1], parts=parts), model.Config(**settings)
    grid = partial(scaled_lengths, coarse=shape[:-1], fine=outputs[:-1])
    return Network(
        lambda: model.build(config, inputs, outputs, nnx.Rngs(0), jnp.float32), lambda spatial: grid(spatial)
    )


FULL = (64, 128, 256, 512, 1024)


@pytest.mark.parametrize(
    ("name", "settings", "total", "said"),
    [
        ("unet_classic", {"bottleneck": 2}, 1_862_789, "1,862,789"),
        ("unet_classic", {"bottleneck": 2, "widths": FULL[:4], "narrow": (2,)}, 7_697_285, "7,697,285"),
        ("unet_classic", {"bottleneck": 2, "widths": FULL, "dropped": 2}, 31_031_685, "31,031,685"),
        ("unet_classic", {}, 1_862_789 - 1154 - 3 + 65, "1,862,789"),
        ("vae", {}, 373_137, "373,137"),
        ("autoencoder", {}, 316_689, "316,689"),
    ],
)
def test_it_has_the_published_parameters(name: str, settings: Any, total: int, said: str) -> None:
    """For one image of 64x64 pixels."""
    assert built(name, (64, 64, 1), (64, 64, 1), **settings).parameters == total
    assert said in str(find_model(name).__doc__)


@pytest.mark.parametrize(
    ("settings", "total", "said"), [({}, 355_540, "0.36 M"), ({"width": 64, "blocks": 16}, 1_221_572, "1.22 M")]
)
def test_edsr_has_the_parameters_that_its_docstring_says(settings: Any, total: int, said: str) -> None:
    assert built("edsr", (32, 32, 1), (64, 64, 1), **settings).parameters == total
    assert said in str(find_model("edsr").__doc__)


def test_fusion_has_the_parameters_that_its_docstring_says() -> None:
    assert built("fusion", (64, 64, 11), (64, 64, 10), parts=(10, 1)).parameters == 333_386
    assert "0.33 M" in str(find_model("fusion").__doc__)


# --- unet_classic


def halved(x: Any, narrow: bool) -> Any:
    wide = x.reshape(len(x), x.shape[1], x.shape[2] // 2, 2, -1).max(3)
    return wide if narrow else wide.reshape(len(x), x.shape[1] // 2, 2, *wide.shape[2:]).max(2)


def doubled(x: Any, narrow: bool) -> Any:
    wide = np.repeat(x, 2, 2)
    return wide if narrow else np.repeat(wide, 2, 1)


@pytest.mark.parametrize("narrow", [(), (2,), (1, 2)])
def test_unet_classic_is_its_formula(narrow: tuple[int, ...]) -> None:
    net = built("unet_classic", (8, 12, 2), (8, 12, 3), widths=(5, 6, 7), narrow=narrow, bottleneck=4, sigmoid=True)
    (arrays, rest), x = shaken(net), np.asarray(normal((2, 8, 12, 2)))

    def layer(name: str, x: Any) -> Any:
        return np.maximum(conv(arrays, name, x), 0)

    def pair(name: str, x: Any) -> Any:
        return layer(f"{name}.second", layer(f"{name}.first", x))

    fine = pair("down.0", x)
    middle = pair("down.1", halved(fine, 1 in narrow))
    y = pair("down.2", halved(middle, 2 in narrow))
    y = pair("join.1", np.concatenate([middle, layer("up.1", doubled(y, 2 in narrow))], -1))
    y = pair("join.0", np.concatenate([fine, layer("up.0", doubled(y, 1 in narrow))], -1))
    expected = 1 / (1 + np.exp(-conv(arrays, "head", layer("bottleneck", y))))
    np.testing.assert_allclose(applied(net, arrays, rest)(jnp.asarray(x)), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_unet_classic_drops_only_while_it_learns() -> None:
    for dropped, random in ((0, False), (2, True)):
        net = built("unet_classic", (8, 8, 1), (8, 8, 1), widths=(4, 6), dropped=dropped)
        parameters, rest = shaken(net)
        x = normal((2, 8, 8, 1))
        one, other = (np.asarray(net(parameters, rest, x, jax.random.key(seed))[0]) for seed in (0, 1))
        assert np.any(one != other) == random
        np.testing.assert_array_equal(net(parameters, rest, x)[0], net(parameters, rest, x)[0])


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({"narrow": (3,)}, "narrow = 3: must be at most 2"), ({"dropped": 4}, "dropped = 4: must be at most 3")],
)
def test_unet_classic_refuses_levels_that_it_lacks(settings: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        find_model("unet_classic").Config(**settings)


# --- vae


def module_of(net: Network) -> Any:
    return net.module(*shaken(net))


def test_vae_learns_by_the_published_bound() -> None:
    """- ELBO / pixels = mean cross entropy + `kl`: with one draw in place of the exact divergence, super_tomo_py's."""
    net = built("vae", (12, 14, 1), (12, 14, 1), latent=3, filters=(4, 5), sigmoid=True)
    module, x = module_of(net), normal((2, 12, 14, 1))
    truth = np.random.default_rng(0).uniform(size=(2, 12, 14, 1))
    mean, logarithm = (np.asarray(v, float) for v in module.encode(x))
    y, further = module(x, jax.random.key(3))
    e = np.asarray(jax.random.normal(jax.random.key(3), mean.shape), float)
    z, p = mean + np.exp(logarithm / 2) * e, np.asarray(y, float)
    np.testing.assert_allclose(y, module.decode(jnp.asarray(z, jnp.float32)), atol=1e-6)
    entropy = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).sum((1, 2, 3))
    exact = 0.5 * (mean**2 + np.exp(logarithm) - 1 - logarithm).sum(1)
    np.testing.assert_allclose(further["kl"], exact / (12 * 14), rtol=1e-5)

    def log_normal(z: Any, mean: Any, logarithm: Any) -> Any:
        return -0.5 * ((z - mean) ** 2 * np.exp(-logarithm) + logarithm + np.log(2 * np.pi)).sum(-1)

    draws = mean + np.exp(logarithm / 2) * np.random.default_rng(1).standard_normal((200_000, *mean.shape))
    drawn = log_normal(draws, mean, logarithm) - log_normal(draws, 0, np.zeros(()))
    np.testing.assert_allclose(drawn.mean(0), exact, atol=6 * drawn.std(0).max() / 200_000**0.5)
    loss = losses.cross_entropy(y, jnp.asarray(truth, jnp.float32)).mean((1, 2, 3)) + further["kl"]
    np.testing.assert_allclose(loss, (entropy + exact) / (12 * 14), atol=1e-6)


def test_the_divergence_by_hand() -> None:
    """Of one value with mean 1 and variance 1: 1/2; of mean 0 and variance 4: (4 - 1 - ln 4) / 2 = 0.8068528."""
    net = built("vae", (12, 14, 1), (12, 14, 1), latent=1, filters=(2, 2))
    arrays = {name: jnp.zeros_like(value) for name, value in shaken(net)[0].items()}
    for bias, expected in (((1.0, 0.0), 0.5), ((0.0, np.log(4)), 0.8068528)):
        found = net({**arrays, "describe.bias": jnp.array(bias, jnp.float32)}, {}, normal((1, 12, 14, 1)))[2]["kl"]
        assert float(found[0]) * 12 * 14 == pytest.approx(expected, abs=1e-6)


def test_inference_of_a_vae_takes_the_mean_or_draws_by_the_input_alone() -> None:
    x = normal((3, 12, 14, 1))
    nets = {k: built("vae", (12, 14, 1), (12, 14, 1), latent=3, filters=(4, 5), samples=k) for k in (0, 1, 2, 64)}
    modules = {k: module_of(net) for k, net in nets.items()}
    mean, logarithm = modules[0].encode(x)
    np.testing.assert_array_equal(modules[0](x)[0], modules[0].decode(mean))
    one = np.asarray(modules[1](x)[0])
    np.testing.assert_allclose(np.asarray(modules[1](x[::-1])[0])[::-1], one, atol=1e-6)
    assert len({float(v) for v in one.sum((1, 2, 3))}) == 3
    assert np.abs(one - modules[0](x)[0]).max() > 0.01
    other = np.asarray(modules[1](x.at[0].set(jnp.roll(x[0], 1, 0)))[0])
    np.testing.assert_allclose(other[1:], one[1:], atol=1e-6)
    spread = np.std([module_error(modules[k], x, mean, logarithm) for k in (1, 2)])
    assert module_error(modules[64], x, mean, logarithm) < module_error(modules[1], x, mean, logarithm) / 3
    assert spread > 0


def module_error(module: Any, x: jax.Array, mean: jax.Array, logarithm: jax.Array) -> float:
    """Distance of the output from the mean of many decoded draws."""
    e = jax.random.normal(jax.random.key(9), (2000, *mean.shape))
    many = jax.jit(jax.vmap(module.decode), **QUICK)(mean + jnp.exp(logarithm / 2) * e).mean(0)
    return float(jnp.sqrt(jnp.mean((module(x)[0] - many) ** 2)))


# --- edsr

GRIDS: list[tuple[Shape, Shape]] = [
    ((9,), (18,)),
    ((8, 5), (24, 15)),
    ((8, 6), (12, 9)),
    ((5, 7), (11, 13)),
    ((6, 5), (6, 5)),
    ((4, 3, 5), (8, 6, 10)),
]


@pytest.mark.parametrize(("coarse", "fine"), GRIDS)
def test_edsr_starts_from_the_interpolated_image_and_learns_every_pixel(coarse: Shape, fine: Shape) -> None:
    net, x = built("edsr", (*coarse, 1), (*fine, 1), width=4, blocks=1), normal((2, *coarse, 1))
    parameters, rest = net.initial
    np.testing.assert_allclose(net(parameters, rest, x)[0], jax.image.resize(x, (2, *fine, 1), "cubic"), atol=1e-6)
    moved = np.asarray(applied(net, *shaken(net))(x) - net(parameters, rest, x)[0])
    assert (abs(moved) > 1e-4).mean() > 0.95


@pytest.mark.parametrize(("factors", "longer"), [((2, 2), (10, 9)), ((1.5, 1.5), (10, 12)), ((2.5, 2), (10, 9))])
def test_edsr_enlarges_other_sizes_by_the_same_factor(factors: tuple[float, float], longer: Shape) -> None:
    coarse = (8, 6)
    fine = tuple(int(n * f) for n, f in zip(coarse, factors, strict=True))
    net = built("edsr", (*coarse, 2), (*fine, 2), width=4, blocks=1)
    found = net(*shaken(net), normal((1, *longer, 2)))[0]
    assert found.shape == (1, *(int(n * f) for n, f in zip(longer, factors, strict=True)), 2)


@pytest.mark.parametrize("factor", [1.5, 2])
def test_edsr_moves_with_its_input_and_fine_edges_are_coarse_edges(factor: float) -> None:
    """A move by 2 pixels is one by 2 factor pixels; a constant stays one, up to the border."""
    lengths = tuple(int(factor * n) for n in (40, 48))
    net = built("edsr", (40, 48, 1), (*lengths, 1), width=4, blocks=1)
    apply = applied(net, *shaken(net))
    x = np.full((1, 40, 48, 1), 0.3, np.float32)
    x[:, 18:22, 20:26] = normal((1, 4, 6, 1))
    y, turned = (np.asarray(apply(jnp.asarray(v))) for v in (x, np.roll(x, (2, -2), (1, 2))))
    step, middle = int(2 * factor), np.s_[:, 14:-14, 14:-14]
    np.testing.assert_allclose(turned[middle], np.roll(y, (step, -step), (1, 2))[middle], atol=1e-5)
    assert np.ptp(y[middle]) > 0.1


@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize(("coarse", "fine"), [(GRIDS[2]), (GRIDS[3])])
def test_resizing_is_linear_and_keeps_constants_edges_and_mirrors(coarse: Shape, fine: Shape, method: str) -> None:
    one, other = normal((1, *coarse, 2)), normal((1, *coarse, 2), 1)
    both = resize(2 * one - 3 * other, fine, method)
    np.testing.assert_allclose(both, 2 * resize(one, fine, method) - 3 * resize(other, fine, method), atol=1e-5)
    np.testing.assert_allclose(resize(jnp.ones((1, *coarse, 1)), fine, method), 1, atol=1e-6)
    flipped = resize(one[:, ::-1, ::-1], fine, method)[:, ::-1, ::-1]
    np.testing.assert_allclose(flipped, resize(one, fine, method), atol=1e-5)
    places = [(np.arange(n) + 0.5) / n for n in coarse]
    slope = jnp.asarray(np.broadcast_to(places[0][:, None], coarse)[None, ..., None], jnp.float32)
    expected = ((np.arange(fine[0]) + 0.5) / fine[0])[3:-3]
    np.testing.assert_allclose(
        resize(slope, fine, method)[0, 3:-3, 0, 0], expected, atol=2e-2 * (method == "cubic") + 1e-6
    )


# --- fusion


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("fused"), "toy_fusion", n=3)


def test_a_network_knows_the_channels_of_each_part_of_its_input(fused: Path) -> None:
    features = features_for(fused, "input=both")
    channels = features.sizes["channel"]
    assert features.inputs.parts == (channels, 1)
    assert features.inputs.channels == channels + 1
    assert features_for(fused, "input=low", "model.hidden=3").inputs.parts == (channels,)


def test_networks_for_any_factor_fit_what_others_do_not(fused: Path) -> None:
    features = features_for(fused, "input=low", "model.hidden=3")
    assert features.misfit("resized") == features.misfit("enlarged") == ""
    object.__setattr__(features, "sizes", {**features.sizes, "y": features.sizes["y"] + 1})
    assert features.misfit("resized") == ""
    assert "by a whole factor" in features.misfit("enlarged")


@pytest.mark.parametrize("spatial", [(13,), (9, 14), (5, 4, 6)])
def test_fusion_starts_from_the_coarse_image_and_needs_both(spatial: Shape) -> None:
    net = built("fusion", (*spatial, 4), (*spatial, 3), parts=(3, 1), widths=(6, 8), coarse_blocks=1)
    x = normal((2, *spatial, 4))
    np.testing.assert_array_equal(net(*net.initial, x)[0], x[..., :3])
    apply = applied(net, *shaken(net))
    base = apply(x)
    for part in (np.s_[..., :3], np.s_[..., 3:]):
        assert float(abs(apply(x.at[part].add(normal(x[part].shape, 5))) - base).max()) > 0.01


def test_the_coarse_encoder_of_fusion_sees_means_over_blocks() -> None:
    """What has no mean over the blocks of level `entry` reaches the output by the added image alone."""
    net = built("fusion", (8, 12, 3), (8, 12, 2), parts=(2, 1), widths=(5, 6, 7), entry=2)
    apply, x = applied(net, *shaken(net)), normal((1, 8, 12, 3))
    detail = normal((1, 2, 4, 3, 4, 2), 1)
    detail = (detail - detail.mean((2, 4), keepdims=True)).reshape(1, 8, 12, 2)
    base = apply(x)
    found = apply(x.at[..., :2].add(detail)) - base
    np.testing.assert_allclose(found, detail, atol=1e-5 * float(jnp.ptp(base)))
    steady = built("fusion", (8, 12, 3), (8, 12, 2), parts=(2, 1), widths=(5, 6, 7), residual=False)
    assert not np.any(steady(*steady.initial, x)[0])
    with pytest.raises(ValueError, match="entry = 3: must be less than 3"):
        built("fusion", (8, 12, 3), (8, 12, 2), entry=3)
