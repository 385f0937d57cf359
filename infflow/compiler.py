"""numba's ``njit`` for kernels: machine code is made of those that Python calls, and of no others.

numba optimises every function and turns it into machine code by itself, together with all that it
calls, although a function that only other kernels call is never run that way: its caller takes it
over and does both once more, and so does the caller's caller. With ``njit`` from this module,

* a kernel that is called from Python is compiled as ever, and kept on disk if ``cache`` is set;
* a kernel that is called from another kernel becomes a *part* of it: it is typed and lowered, once
  for each signature in a process, and its callers do the rest. A part is not kept on disk.

Nothing else differs, and one function may be both. A part is made by a pipeline of its own, which
is how numba is meant to be extended, but it needs some names that numba does not document; where
one is missing, numba's own ``njit`` stands in, and the first use takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher

from . import compile_notice  # noqa: F401  # whoever imports kernels is told when they compile

__all__ = ["njit"]


class _PartLibrary(JITCodeLibrary):
    """Code of a part: it waits for a caller that is linked with it."""

    def _optimize_final_module(self) -> None:
        """Leave it to the caller, which sees more."""

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True


class _OptimisedLibrary(_PartLibrary):
    """The same, optimised before it becomes part of a caller."""

    def _optimize_final_module(self) -> None:
        JITCodeLibrary._optimize_final_module(self)


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(typed_passes.NativeLowering):
    """Numba's lowering without the wrappers, into a library that makes no machine code."""

    _name = "part_lowering"
    library: type[_PartLibrary] = _PartLibrary

    def run_pass(self, state: Any) -> bool:
        """Lower the function, and tell callers of it where its code is."""
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        name = object()  # stands for the address that a compiled function has
        state.targetctx.insert_user_function(name, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=name)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _OptimisedLowering(_PartLowering):
    _name = "optimised_part_lowering"
    library = _OptimisedLibrary


class _PartCompiler(compiler.CompilerBase):
    """Numba's pipeline with the last step exchanged."""

    lowering: type[_PartLowering] = _PartLowering

    def define_pipelines(self) -> list[Any]:
        """The one pipeline: nopython mode."""
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (self.lowering if each is typed_passes.NativeLowering else each, name)
            for each, name in manager.passes
        ]
        manager.finalize()
        return [manager]


class _OptimisedCompiler(_PartCompiler):
    lowering = _OptimisedLowering


class _Part(CPUDispatcher):
    """What other kernels see of a kernel."""

    def add_overload(self, result: Any) -> None:
        """Keep a signature, which Python has no way to call."""
        self.overloads[tuple(result.signature.args)] = result


class _Kernel(CPUDispatcher):
    """A function that is compiled as a whole for Python, and as a part for other kernels."""

    #: Whether the part is optimised by itself.
    optimised = False
    _own_part: Any = None

    @property
    def part(self) -> Any:
        """The part, made when it is first asked for."""
        if self._own_part is None:
            options = {**self.targetoptions, "no_cpython_wrapper": True}
            pipeline = _OptimisedCompiler if self.optimised else _PartCompiler
            self._own_part = _Part(self.py_func, self.locals, options, pipeline_class=pipeline)
        return self._own_part

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Types of a call from another kernel."""
        return self.part.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """The code for a call from another kernel."""
        return self.part.get_overload(sig)

    @property
    def is_compiling(self) -> Any:
        """Whether it calls itself."""
        return self._compiling_counter or self.part._compiling_counter


#: Members of numba's classes that parts rest on.
_NEEDED = (
    (JITCodeLibrary, "_optimize_final_module"),
    (JITCodeLibrary, "_finalize_final_module"),
    (JITCodeLibrary, "_finalize_dynamic_globals"),
    (CPUDispatcher, "add_overload"),
    (CPUDispatcher, "get_call_template"),
    (CPUDispatcher, "get_overload"),
    (CPUDispatcher, "is_compiling"),
)
_HAS_PARTS = all(hasattr(owner, name) for owner, name in _NEEDED)


def njit(*, cache: bool = False, optimised: bool = False, **options: Any) -> Any:
    """Compile a function in nopython mode, as ``numba.njit`` does, without the code nobody calls.

    Parameters
    ----------
    cache : bool
        Whether the compiled code is kept on disk. It matters to functions that Python calls.
    optimised : bool
        Whether the function is optimised by itself before it becomes part of another kernel. Some
        loops are vectorised better in a small function than where they end up.
    **options
        Further options of ``numba.njit``: fastmath, error_model, forceinline, inline, ...

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> from infflow.compiler import njit
    >>> @njit(error_model="numpy")
    ... def square(x):
    ...     return x * x
    >>> @njit(error_model="numpy")
    ... def fourth_power(x):
    ...     return square(square(x))
    >>> fourth_power(3.0)
    81.0
    """
    if getattr(numba.config, "DISABLE_JIT", 0) or not _HAS_PARTS:
        return numba.njit(cache=cache, **options)

    def decorate(function: Callable[..., Any]) -> _Kernel:
        fixed = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True}  # no C calls it
        kernel = _Kernel(function, {}, {**fixed, **options})
        kernel.optimised = optimised
        if cache:
            kernel.enable_caching()
        return kernel

    return decorate
