"""Compilation with numba that keeps the type signature of a function."""

import logging
from collections.abc import Callable
from multiprocessing import parent_process
from typing import Any, cast

import numba
from numba.core import event


def compiled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` to machine code that is cached on disk and runs without the interpreter's lock.

    Where no folder for the cache can be written, it is compiled anew by each process. The arithmetic is strict and runs
    on one thread. So on one kind of machine, the bits of a result depend on the arguments only; elsewhere, functions
    such as exp may round differently.
    """
    try:
        made = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no locator available: neither beside the source nor in the home can be written
        made = numba.njit(nogil=True)(function)
    return cast(Callable[P, R], made)


class _CompilationNotice(event.Listener):
    """Tell the user once that functions are being compiled, which takes half a minute. Worker processes stay silent."""

    announced = False

    def on_start(self, _: Any) -> None:
        if not self.announced and parent_process() is None:
            self.announced = True
            logging.getLogger(__name__).warning("compiling kernels, once on this machine ...")

    def on_end(self, _: Any) -> None:
        pass


event.register("numba:compile", _CompilationNotice())  # type: ignore[no-untyped-call]
