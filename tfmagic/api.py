"""The functions behind the magics, for scripts, tests and other notebooks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfmagic.errors import LoadError, OptionError
from tfmagic.model import Bench, Recording, from_json
from tfmagic.model.bench import SelfTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tfmagic.model import Verdict
    from tfmagic.model.inventory import Conversion
    from tfmagic.render.bench import BenchResult, SelfTestView
    from tfmagic.render.devices import DevicesView
    from tfmagic.render.inventory import InventoryView
    from tfmagic.render.pair import Pair
    from tfmagic.render.report import GraphView
    from tfmagic.runtime.tape.tape import Tape
    from tfmagic.runtime.tape.tweak import Tweak
    from tfmagic.runtime.twolayer.twolayer import TwoLayer


def load(source: str | Path) -> Any:
    """Read a recording, a measurement or an inventory from JSON: its text, or its file.

    TensorFlow need not be installed.  Raises :class:`~tfmagic.errors.LoadError`, one
    line, for anything else.
    """
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return _shown(source)
    try:
        path = Path(source).expanduser()
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise LoadError("graph.no_plain_file", path=path)
        return _shown(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError) as error:  # the last: a ~ of nobody's
        if isinstance(error, UnicodeDecodeError):
            raise LoadError("load.not_json", detail="not text") from None
        raise LoadError("load.no_file", path=str(source)[:100], detail=str(error)[:200]) from None


def _shown(text: str) -> Any:
    thing = from_json(text)
    if not isinstance(thing, Bench):
        return thing
    from tfmagic.render.bench import BenchResult

    return BenchResult(thing)


def explain(record: Tape, target: Any, source: Any) -> Verdict:
    """Why the gradient of ``target`` with respect to ``source`` is None, zero, NaN or fine.

    ``record`` is what ``tfmagic.record()`` or ``%%tape NAME`` gave.  Where the run itself
    asked a tape for this gradient, that answer is explained; else the gradient is worked
    out now, and explained.
    """
    found = record.asked_before(target, source)
    if found is None:
        record.gradient(target, source)
        found = (len(record.recording.gradients) - 1, 0)
    call, place = found
    verdict = record.recording.gradients[call].gradients[place].verdict
    assert verdict is not None  # every gradient of a finished recording has one
    return verdict


def graph(subject: Any, title: str = "", **options: Any) -> GraphView | Pair:
    """The graph of a recording, a tape, a function, a Keras model or a file.

    A function is called once, without arguments; a ``tf.function`` is traced as well, and
    both graphs are given; a model is called on a batch of zeros.  A file is named by its
    path: a SavedModel folder, ``.keras``, ``.pb`` or ``.pbtxt``.
    ``options`` are those of :class:`~tfmagic.render.report.GraphView`: ``depth``, ``flat``,
    ``by``, ``focus``, ``only_gradient``, ``backward``, ``limit``, ``direction``, ``budget``
    (seconds), ``engine``.
    """
    from tfmagic.render.report import GraphView

    if isinstance(subject, Recording):
        return GraphView(subject, title, **options)
    from tfmagic.runtime.compiled.autograph import Subject
    from tfmagic.runtime.tape.graph_subject import of_value

    if not isinstance(subject, Subject):
        name = getattr(subject, "__name__", "") or getattr(subject, "name", "") or "graph"
        if isinstance(subject, (str, Path)):
            subject, name = str(subject), Path(subject).name
        subject, title = of_value(subject, str(name)), title or str(name)
    if subject.traced is None:
        return GraphView(subject.recording, title, **options)
    from tfmagic.render.pair import Pair

    options["limit"] = min(options.get("limit", 60), Pair.BOXES)
    if options.get("direction", "auto") == "auto":
        options["direction"] = "TB"
    eager = GraphView(subject.recording, title, **options) if subject.recording else None
    traced = GraphView(subject.traced, title, **options)
    return Pair(eager, traced, subject.code, str(subject.note))


def variables(subject: Any, sort: str = "", filter: str = "", title: str = "") -> InventoryView:
    """What ``subject`` holds: a mapping such as ``globals()``, a module or model as a tree, or
    one tensor, variable or array, with its colours.

    ``sort`` is ``"name"``, ``"kind"``, ``"dtype"``, ``"bytes"`` or ``"change"``; ``filter`` a
    word in the name, kind or dtype.  The result's ``inventory`` is plain data.
    """
    from tfmagic.analysis.inventory import arranged
    from tfmagic.render.value import view_of
    from tfmagic.runtime.values.inventory import inventory

    return view_of(arranged(inventory(subject, title), sort, filter))


def conversion(value: Any, expression: str, namespace: Mapping[str, Any]) -> Conversion:
    """How ``value``, which came of ``expression``, becomes a tensor, and why so."""
    from tfmagic.runtime.values.conversion import conversion as tried

    return tried(value, expression, namespace)


def bench(
    statement: str | Callable[[], Any],
    *,
    namespace: Mapping[str, Any] | None = None,
    setup: str = "",
    devices: Sequence[str] | str = (),
    modes: Sequence[str] | str = (),
    sweep: Mapping[str, Sequence[float]] | None = None,
    transfer: bool = False,
    cold: bool = False,
    keras: bool = False,
    ops: bool = False,
    keep: dict[str, Any] | None = None,
    loops: int | None = None,
    repeat: int | None = None,
    budget: float | None = None,
    vs: BenchResult | str | Path | None = None,
    plot: bool = False,
    precision: int = 3,
    verbose: bool = False,
    progress: Callable[[float], None] = lambda share: None,
    title: str = "",
) -> BenchResult:
    """How long one run of a statement, or one call of a function, takes.

    ``statement`` and ``setup`` are source code that reads its names from ``namespace``, or
    ``statement`` is a function without arguments.  ``devices`` are names such as ``"GPU:0"``,
    or ``"all"``; ``modes`` are ``"eager"``, ``"function"`` and ``"xla"``.  ``budget`` is in
    seconds, for each variant: 2, or half a second at each point of a sweep.  ``sweep`` are
    variables with their values; every combination is measured.  With ``transfer`` each run
    copies its inputs to the device and its results back; with ``cold`` the caches are emptied
    before each run.  With ``keras`` the statement is ``model, x`` or ``model, x, y``, and the
    ways to run the model are timed side by side.
    ``ops`` times each op of the eager run by itself, too.  What the first run assigned is put
    into ``keep``.  ``vs`` is an earlier result, or its file.
    ``loops`` (runs in a block) and ``repeat`` (blocks) set both by hand, as ``-n`` and ``-r``
    of ``%timeit`` do.
    ``precision`` are significant digits.  What the statement changes of random state and of
    the variables that it reaches is put back; what else it changes it changes, as under ``timeit``.

    What the statement raises in its first run passes.  Raises
    :class:`~tfmagic.errors.OptionError` for what is no statement and for a device that is
    not there.
    """
    from tfmagic.analysis.sweep import points
    from tfmagic.render.bench import BenchResult
    from tfmagic.runtime import private

    private.require()
    from tfmagic.runtime.timer import Plan, Request, keras_subjects, measure, subject

    if keras:
        first, *others = keras_subjects(str(statement), setup, namespace or {}, title)
    else:
        first, others = subject(statement, setup, namespace or {}, title), []
    request = Request(
        first,
        others=tuple(others),
        devices=_listed(devices),
        modes=_listed(modes),
        plan=Plan.given(budget, loops, repeat, swept=bool(sweep)),
        points=tuple(points(sweep or {})),
        transfer=transfer,
        cold=cold,
        by_op=ops,
    )
    earlier = None if vs is None else _earlier(vs)
    measured = tested(measure(request, progress=progress, keep=keep))
    return BenchResult(measured, precision, verbose=verbose, earlier=earlier, plot=plot)


def selftest(progress: Callable[[float], None] = lambda share: None) -> SelfTestView:
    """Find the smallest difference in time that can be told apart on this machine.

    It takes about half a minute.  The result is kept in the user's own folder, and later
    measurements on this machine go by it.
    """
    from tfmagic.render.bench import SelfTestView
    from tfmagic.render.files import save
    from tfmagic.runtime.timer.selftest import selftest as made

    found, path = made(progress=progress), kept_selftest()
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, {".json": found.to_json})
    return SelfTestView(found)


def kept_selftest() -> Path:
    """Where the self-test of this user is kept."""
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".local" / "state") / "tfmagic" / "selftest.json"


def tested(bench: Bench) -> Bench:
    """The measurement with the self-test that was made on the same machine, if there is one."""
    try:
        known = from_json(kept_selftest().read_text(encoding="utf-8"))
    except (OSError, ValueError, LoadError):
        return bench
    if not isinstance(known, SelfTest) or known.machine.differs(bench.machine):
        return bench
    from tfmagic.analysis.bench import allowing_for_drift

    return allowing_for_drift(replace(bench, selftest=known))


def _listed(given: Sequence[str] | str) -> tuple[str, ...]:
    """``"CPU:0,GPU:0"`` is two names, as behind an option."""
    return (
        tuple(word.strip() for word in given.split(",")) if isinstance(given, str) else tuple(given)
    )


def _earlier(given: Any) -> Bench:
    from tfmagic.render.bench import BenchResult

    try:
        found = load(given) if isinstance(given, (str, Path)) else given
    except LoadError as error:
        known = {"load.no_file": "bench.vs_nothing", "load.version": "bench.vs_version"}
        key = known.get(error.key, "bench.vs_what")
        raise OptionError(key, **{**error.values, "given": str(given)[:80]}) from None
    if not isinstance(found, BenchResult):
        raise OptionError("bench.vs_what", given=str(given)[:80])
    return found.bench


def devices(plot: bool = False) -> DevicesView:
    """Every device: its name for ``tf.device``, hardware, memory and variables, and the policy.

    The result's ``devices`` is plain data.  TensorFlow is imported, but not started: before it
    has made its devices they are told as they will be.
    """
    from tfmagic.render.devices import DevicesView
    from tfmagic.runtime.devices.devices import devices as found

    return DevicesView(found(), plot=plot)


def connect(workers: Any) -> DevicesView:
    """Join TensorFlow workers, and give the table of all devices.

    ``workers`` is ``"grpc://host:port"``, several with commas, ``"TF_CONFIG"``, a
    ``tf.train.ClusterSpec`` or a cluster resolver; ``tfmagic worker`` starts a worker.  Raises
    :class:`~tfmagic.errors.ClusterError`, which names each worker that does not answer.
    """
    from tfmagic.runtime.cluster import connect as join

    join(workers)
    return devices()


def disconnect() -> DevicesView:
    """Leave every worker, and give the table of the devices that remain."""
    from tfmagic.runtime.cluster import disconnect as leave

    leave()
    return devices()


@contextmanager
def device(name: str) -> Iterator[str]:
    """``with tfmagic.device("GPU:0"):`` — ops inside are sent there; the full name is given.

    Raises :class:`~tfmagic.errors.DeviceError`, which lists the devices, for one that does not
    exist.  Afterwards what was before is restored, and a :class:`UserWarning` says which ops
    ran elsewhere: an inner ``tf.device`` or the home of a variable overrides the block.
    """
    from tfmagic.runtime.devices.overrides import Overrides
    from tfmagic.runtime.devices.placing import DeviceScope

    with DeviceScope(name) as scope, Overrides(scope.name) as watch:
        yield scope.name
    if watch.found:
        warnings.warn(str(watch.message()), stacklevel=3)


def tweak(record: Tape | Recording, sources: Any = None) -> Tweak:
    """A recorded run on other values of its ``sources``: sliders in a notebook.

    ``record`` is a tape, or its recording while the tape lives; ``sources`` are tensors or
    variables of the run, by default those that it asked gradients for.  The result's
    ``set(W_1=…)`` moves them; ``recording``, ``gradients`` and ``value(tensor)`` are those of
    the moved run, and ``notes`` say what it cannot follow.
    """
    from tfmagic.runtime.tape.tweak import Tweak

    return Tweak(record, sources)


def two_layer(model: Any = None, **options: Any) -> TwoLayer:
    """The network of ``%tfstep``: the lesson's, a random one, or one of given numbers.

    The options are those of :func:`tfmagic.runtime.twolayer.stepper.two_layer`: ``X``, ``Y``,
    ``W_1``, ``W_2``, ``b_1``, ``b_2``, ``sizes``, ``batch``, ``bias``, ``activation``, ``lr``,
    ``seed``, ``train_bias``.
    """
    from tfmagic.runtime.twolayer.stepper import two_layer as made

    return made(model, **options)
