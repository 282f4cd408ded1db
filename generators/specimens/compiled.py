"""numba, typed: a compiled function keeps its signature."""

from collections.abc import Callable
from typing import cast

import numba


def compiled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """`function` as machine code, cached on disk, run without the interpreter's lock.

    Strict arithmetic and no threads of its own: the bits depend on the arguments only.
    """
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
