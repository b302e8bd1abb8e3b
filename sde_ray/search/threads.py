"""Linear algebra on one thread, for the matrices of a search and of effects: some hundred columns.

    @single_threaded
    def posterior(...): ...

NumPy and SciPy each bring an OpenBLAS with threads for all cores, which spin while they wait for each other and for
cores that train: on a busy machine that costs many times what the work does. On one thread the result, to the last
digit, does not depend on the number of cores either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import numpy.linalg  # noqa: F401  the libraries that are held to one thread are those that are loaded
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def single_threaded(function: Callable[P, R]) -> Callable[P, R]:
    """Function whose linear algebra runs on one thread."""

    @wraps(function)
    def on_one_thread(*args: P.args, **kwargs: P.kwargs) -> R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return on_one_thread
