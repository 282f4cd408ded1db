"""What cdinn, ptychonn and dledi promise by themselves; tests/training/test_models.py has what all models promise."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from physics.diffraction import far_field
from tests.training.conftest import QUICK
from tests.training.test_models import applied, network, normal, shaken
from training.contract import Derived, Inputs, find_model
from training.network import Named, Network
from training.tasks.cdi import LEARN


def as_published(name: str, channels: int, **settings: Any) -> Network:
    """For one image of 32x32 pixels."""
    model = find_model(name)
    build = partial(model.build, model.Config(**settings), Inputs((32, 32), 1), (32, 32, channels), dtype=jnp.float32)
    return Network(lambda: build(rngs=nnx.Rngs(0)))


PYTORCH = {"decoder": (128, 64, 64), "upsampling": "bilinear"}


@pytest.mark.parametrize(
    ("name", "channels", "settings", "total", "said"),
    [
        ("cdinn", 1, {}, 720_321, "720,321"),
        ("cdinn", 2, {}, 2 * 720_321, "720,321"),
        ("cdinn", 3, {"groups": (1, 2)}, 2 * 720_321 + 289, "720,321"),
        ("ptychonn", 2, {}, 1_154_210, "1,154,210"),
        ("ptychonn", 2, PYTORCH, 1_247_074, "1,247,074"),
        ("ptychonn", 3, {"groups": (1, 2)}, 1_154_210 + 289, "1,154,210"),
        ("dledi", 1, {}, 9_445_408, "9,445,408"),
    ],
)
def test_it_has_the_published_parameters(name: str, channels: int, settings: Any, total: int, said: str) -> None:
    assert as_published(name, channels, **settings).parameters == total
    assert said in str(find_model(name).__doc__)


def test_dledi_has_the_published_running_averages() -> None:
    shapes = as_published("dledi", 1).shapes
    assert sum(value.size for value in shapes[1].values()) == 8_356
    assert "8,356" in str(find_model("dledi").__doc__)
    assert sum(value.size for part in shapes for value in part.values()) == 9_453_764


@pytest.mark.parametrize("name", ["cdinn", "ptychonn", "dledi"])
def test_it_has_as_many_parameters_on_any_grid(name: str) -> None:
    assert network(name, (64, 64, 2), 1).parameters == network(name, (31, 28, 2), 1).parameters


@pytest.mark.parametrize("name", ["cdinn", "ptychonn", "dledi"])
def test_kernels_start_as_glorot_has_them_and_biases_at_zero(name: str) -> None:
    """Uniform within sqrt(6 / (taps (inputs + outputs))), so with a third of that as its variance."""
    for part, value in as_published(name, 1).initial[0].items():
        if part.endswith("kernel"):
            limit = np.sqrt(6 / (9 * sum(value.shape[2:])))
            assert np.max(abs(value)) <= limit
            assert value.size < 1000 or np.var(value) == pytest.approx(limit**2 / 3, rel=0.2)
        else:
            np.testing.assert_array_equal(value, float(part.endswith("scale")))


# --- plain re-statements in NumPy


def conv(arrays: Named, name: str, x: Any, stride: int = 1) -> Any:
    """With zeros around, as many before as after, or one more after."""
    kernel, bias = arrays[f"{name}.kernel"], arrays[f"{name}.bias"]
    missing = [max(k - 1 - (n - 1) % stride, 0) for n, k in zip(x.shape[1:3], kernel.shape, strict=False)]
    wide = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("nyxcij,ijcd->nyxd", windows, kernel) + bias


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def halved(x: Any) -> Any:
    return np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


def doubled(x: Any) -> Any:
    return np.kron(x, np.ones((1, 2, 2, 1)))


def down(arrays: Named, name: str, x: Any) -> Any:
    for level in range(2):
        x = relu(conv(arrays, f"{name}.pairs.{level}.0", x))
        x = halved(relu(conv(arrays, f"{name}.pairs.{level}.1", x)))
    return x


def up(arrays: Named, name: str, x: Any, enlarged: Any = doubled) -> Any:
    for level in range(2):
        x = relu(conv(arrays, f"{name}.pairs.{level}.0", x))
        x = enlarged(relu(conv(arrays, f"{name}.pairs.{level}.1", x)))
    return conv(arrays, f"{name}.head", x)


def test_cdinn_is_its_layers_in_order() -> None:
    net, x = network("cdinn", (12, 8, 2), 3, groups=(1, 2)), normal((3, 12, 8, 2))
    arrays, rest = shaken(net)
    expected = [up(arrays, f"decoders.{k}", down(arrays, f"encoders.{k}", x)) for k in range(2)]
    assert [part.shape[-1] for part in expected] == [1, 2]
    assert np.std(expected[0]) > 0.1
    np.testing.assert_allclose(applied(net, arrays, rest)(x), np.concatenate(expected, -1), rtol=1e-4, atol=1e-4)


def test_ptychonn_is_its_layers_in_order() -> None:
    net, x = network("ptychonn", (12, 8, 2), 3), normal((3, 12, 8, 2))
    arrays, rest = shaken(net)
    code = down(arrays, "encoder", x)
    expected = np.concatenate([up(arrays, f"decoders.{k}", code) for k in range(3)], -1)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(applied(net, arrays, rest)(x), expected, rtol=1e-4, atol=1e-4)


def bilinear(x: Any) -> Any:
    """As PyTorch has it (align_corners=False): 3/4 of the pixel and 1/4 of its neighbour, clamped at the borders."""
    for axis in (1, 2):
        n = x.shape[axis]
        before, after = (np.take(x, np.clip(np.arange(n) + k, 0, n - 1), axis) for k in (-1, 1))
        pair = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def test_ptychonn_may_enlarge_as_pytorch_does() -> None:
    net, x = network("ptychonn", (12, 8, 1), 1, upsampling="bilinear"), normal((3, 12, 8, 1))
    arrays, rest = shaken(net)
    expected = up(arrays, "decoders.0", down(arrays, "encoder", x), bilinear)
    np.testing.assert_allclose(applied(net, arrays, rest)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cdinn", "ptychonn"])
def test_groups_that_do_not_add_up_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"model.groups = 1,1: must add up to the 3 channels of the output, or be"):
        network(name, (12, 8, 2), 3, groups=(1, 1))


def test_ptychonn_goes_up_as_far_as_down() -> None:
    with pytest.raises(ValueError, match="decoder must be 2 values, one for each of encoder"):
        network("ptychonn", (12, 8, 2), 3, encoder=(3, 4), decoder=(4,))


# --- dledi


def norm(arrays: Named, rest: Named, name: str, x: Any) -> Any:
    y = (x - rest[f"{name}.mean"]) / np.sqrt(rest[f"{name}.variance"] + 1e-3)
    return relu(np.asarray(y * arrays[f"{name}.scale"] + arrays[f"{name}.bias"]))


def transposed(arrays: Named, name: str, x: Any) -> Any:
    kernel, (samples, height, width, _) = np.asarray(arrays[f"{name}.kernel"]), x.shape
    y = np.zeros((samples, 2 * height + 1, 2 * width + 1, kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            y[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ kernel[i, j]
    return y[:, :-1, :-1] + arrays[f"{name}.bias"]


def block(arrays: Named, rest: Named, name: str, x: Any, first: Any = conv) -> Any:
    y = first(arrays, f"{name}.first", norm(arrays, rest, f"{name}.first_norm", x))
    y = conv(arrays, f"{name}.second", norm(arrays, rest, f"{name}.second_norm", y))
    return y + first(arrays, f"{name}.shortcut", x)


def test_dledi_is_its_layers_in_order() -> None:
    net, x = network("dledi", (12, 8, 2), 1, filters=(3, 4, 5)), normal((3, 12, 8, 2))
    arrays, rest = shaken(net)
    run = partial(block, arrays, rest)
    a = run("first", x)
    b = run("down.0.1", run("down.0.0", a, partial(conv, stride=2)))
    c = run("down.1.1", run("down.1.0", b, partial(conv, stride=2)))
    d = np.concatenate([run("up.0.1", run("up.0.0", c, transposed)), b], -1)
    e = np.concatenate([run("up.1.1", run("up.1.0", d, transposed)), a], -1)
    expected = run("head", run("join", e))
    assert (c.shape, d.shape[-1], e.shape[-1]) == ((3, 3, 2, 5), 5 + 4, 4 + 3)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(applied(net, arrays, rest)(x), expected, rtol=1e-3, atol=1e-3 * np.std(expected))


def test_dledi_learns_with_the_statistics_of_the_batch_and_infers_with_their_averages() -> None:
    """m' -> 0.99 m' + 0.01 m tells m; with m in place of m', inference gives what learning gave."""
    net, x = network("dledi", (12, 8, 2), 1, dropout=0.0), 5 + 3 * normal((6, 12, 8, 2))
    (parameters, rest), apply = shaken(net), jax.jit(net, **QUICK)
    y, after, _ = apply(parameters, rest, x, jax.random.key(0))
    batch = {name: (after[name] - 0.99 * rest[name]) / 0.01 for name in rest}
    np.testing.assert_allclose(batch["first.first_norm.mean"], np.mean(x, (0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(batch["first.first_norm.variance"], np.var(x, (0, 1, 2)), rtol=1e-4)
    inferred, same, _ = apply(parameters, batch, x)
    np.testing.assert_allclose(inferred, y, atol=1e-3 * np.std(y))
    assert all(np.array_equal(same[name], batch[name]) for name in batch)
    assert np.std(apply(parameters, rest, x)[0] - y) > 0.1 * np.std(y)


def test_dropout_of_dledi_is_a_function_of_its_key() -> None:
    net, x = network("dledi", (12, 8, 2), 1), normal((4, 12, 8, 2))
    apply = jax.jit(net, **QUICK)
    first, again, other = (apply(*shaken(net), x, jax.random.key(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.9


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[jax.Array, Any]]:
    """What is dropped from, with which key."""
    found, drop = [], nnx.Dropout.__call__

    def told(self: nnx.Dropout, x: jax.Array, *, deterministic: bool, rngs: Any) -> Any:
        if not deterministic:
            found.append((x, rngs))
        return drop(self, x, deterministic=deterministic, rngs=rngs)

    monkeypatch.setattr(nnx.Dropout, "__call__", told)
    return found


def test_dledi_drops_after_each_stage_and_on_each_skip(dropped: list[tuple[jax.Array, Any]]) -> None:
    """As published, where the last two blocks have none; inference drops nothing."""
    net, x = as_published("dledi", 1), jnp.zeros((2, 32, 32, 1))
    jax.eval_shape(net, *net.shapes, x, None)
    assert not dropped
    jax.eval_shape(net, *net.shapes, x, jax.random.key(0))
    twice = [(32, 16), (16, 32), (8, 64), (4, 128)]  # on the way down and on the skip
    assert [(x.shape[1], x.shape[-1]) for x, _ in dropped] == [
        *(n for n in twice for _ in range(2)), (2, 256), (4, 256), (8, 128), (16, 64), (32, 32)
    ]  # fmt: skip
    assert find_model("dledi").Config().model_dump()["dropout"] == 0.2


def test_dledi_drops_with_another_key_each_time(dropped: list[tuple[jax.Array, Any]]) -> None:
    net = network("dledi", (4, 4, 1), 1)
    state = net.initial

    @partial(jax.jit, **QUICK)
    def used(x: jax.Array) -> list[jax.Array]:
        net(*state, x, jax.random.key(0))
        return [jax.random.key_data(key) for _, key in dropped]

    keys = used(normal((1, 4, 4, 1)))
    assert len({tuple(np.asarray(key).tolist()) for key in keys}) == len(keys) == 4


@pytest.mark.parametrize("n", [8, 9])
def test_the_autocorrelation_is_that_of_the_wave(n: int) -> None:
    rng = np.random.default_rng(1)
    wave = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    (channels,) = LEARN.inputs["autocorrelation"][1:]
    assert isinstance(channels, Derived)
    found = np.asarray(channels.channels({"amplitude": jnp.asarray(abs(far_field(wave))[None], jnp.float32)}))[0]
    for shift in ((0, 0), (1, -2), (-3, 0)):
        exact = (wave.conj() * np.roll(wave, [-s for s in shift], (0, 1))).sum() / (abs(wave) ** 2).sum()
        real, imaginary = found[n // 2 + shift[0], n // 2 + shift[1]]
        assert complex(real, imaginary) == pytest.approx(exact, abs=1e-5)
