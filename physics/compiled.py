"""numba, typed: a compiled function keeps its signature."""

import logging
from collections.abc import Callable
from multiprocessing import parent_process
from typing import Any, cast

import numba
from numba.core import event


def compiled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """`function` as machine code, cached on disk, run without the interpreter's lock.

    Strict arithmetic and no threads of its own: the bits depend on the arguments only.
    """
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


class _Compiling(event.Listener):
    """Says once that functions are compiled, not loaded: it takes half a minute. Workers leave it to their client."""

    said = False

    def on_start(self, _: Any) -> None:
        if not self.said and parent_process() is None:
            self.said = True
            logging.getLogger(__name__).warning("compiling kernels, once on this machine ...")

    def on_end(self, _: Any) -> None:
        pass


event.register("numba:compile", _Compiling())  # type: ignore[no-untyped-call]
