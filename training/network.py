"""A flax module as pure functions on named arrays, as checkpoints, files and training steps need it."""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import jax
from flax import nnx

from schemas.runtime.errors import UserError
from schemas.runtime.plugins import call_mistakes
from training.contract import Array, Shape

type Named = dict[str, Array]


class Network:
    """The structure of a module without its arrays. Nothing is computed before `initial` is read."""

    def __init__(
        self, build: Callable[[], nnx.Module], grid: Callable[[Shape], Shape] = lambda spatial: spatial
    ) -> None:
        """Args:
            build: returns the module.
            grid: returns the spatial shape of the output for that of an input.

        Raises:
            ValueError: `build` does not return a module with the right `__call__`.
        """
        self._build, self._grid = build, grid
        module = nnx.eval_shape(build)
        if not isinstance(module, nnx.Module):
            raise ValueError(f"build returned a {type(module).__name__}; it must return a flax.nnx.Module")
        self._optional = {"weight", "fields"} & inspect.signature(module.__call__).parameters.keys()
        names = dict.fromkeys(self._optional)
        if mistake := next(call_mistakes("__call__", module.__call__, "x", "key", **names), None):
            raise ValueError(mistake)
        self.graph, parameters, rest = _split_module(module)
        self._learned = _NamedTree(parameters)
        self._rest = _NamedTree(rest)
        self.shapes: tuple[Named, Named] = (self._learned.named(parameters), self._rest.named(rest))

    @property
    def parameters(self) -> int:
        """Number of values that are learned."""
        return sum(value.size for value in self.shapes[0].values())

    @cached_property
    def initial(self) -> tuple[Named, Named]:
        """Parameters and rest before learning.

        They are compiled as a whole and without optimisation: this runs once, and one by one the arrays of a U-Net take
        8 s.
        """
        made = jax.jit(lambda: _split_module(self._build())[1:], compiler_options={"xla_backend_optimization_level": 0})
        parameters, rest = made()
        return self._learned.named(parameters), self._rest.named(rest)

    def module(self, parameters: Named, rest: Named) -> Any:
        """Return the module with these arrays in it.

        Args:
            parameters: learned arrays by name.
            rest: other arrays by name, such as running averages.
        """
        return nnx.merge(self.graph, self._learned.tree(parameters), self._rest.tree(rest))

    @property
    def applies_operator(self) -> bool:
        """Return whether the module has the task's physics inside; it is then called with fields."""
        return "fields" in self._optional

    def __call__(
        self,
        parameters: Named,
        rest: Named,
        x: Array,
        key: Array | None = None,
        weight: Array | None = None,
        fields: Mapping[str, Array] = MappingProxyType({}),
    ) -> tuple[Array, Named, Named]:
        """Apply the network.

        Args:
            parameters: learned arrays by name.
            rest: other arrays by name, such as running averages.
            x: input, (sample, *spatial, channel).
            key: key for dropout; None in inference.
            weight: (sample,), 0 for samples that only fill up the batch; None if there are none.
            fields: the fields from which the input was made.

        Returns:
            Output (sample, *spatial, channel), the new rest, and further losses (sample,) by name.

        Raises:
            UserError: the output has the wrong shape.
        """
        module = self.module(parameters, rest)
        known = {"weight": weight, "fields": fields}
        made = module(x, key, **{name: known[name] for name in self._optional})
        output, further = made if isinstance(made, tuple) else (made, {})
        expected = (len(x), *self._grid(x.shape[1:-1]))
        if output.shape[:-1] != expected:
            file = f"{type(module).__module__.replace('.', '/')}.py"
            raise UserError(f"{file}: returns {output.shape} for {x.shape}, must be {expected} and channels")
        return output, self._rest.named(nnx.state(module, nnx.Not(nnx.Param))), further


def _split_module(module: Any) -> tuple[Any, Any, Any]:
    graph, parameters, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
    return graph, parameters, rest


class _NamedTree:
    """Conversion between a tree of arrays and a dict by dotted path."""

    def __init__(self, tree: Any) -> None:
        paths, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        self._names = [
            jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in paths
        ]

    def named(self, tree: Any) -> Named:
        return dict(zip(self._names, jax.tree_util.tree_leaves(tree), strict=True))

    def tree(self, named: Mapping[str, Array]) -> Any:
        return jax.tree_util.tree_unflatten(self._structure, [named[name] for name in self._names])
