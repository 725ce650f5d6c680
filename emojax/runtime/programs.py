"""`jax.jit` as a decorator whose compiler options are looked up when it is first called."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from emojax.runtime.xla_options import options


def program(**settings: Any) -> Callable[[Callable], Callable]:
    """Return `jax.jit` as a decorator, its compiler options looked up at the first call."""

    def decorate(function: Callable) -> Callable:
        @functools.cache
        def compiled() -> Callable:
            return jax.jit(function, compiler_options=options(dense=True), **settings)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return compiled()(*args, **kwargs)

        return call

    return decorate
