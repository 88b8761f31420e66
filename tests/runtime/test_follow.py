"""A training that is followed: what is shown meanwhile, how seldom, and that it changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfmagic
from tfmagic.render import live
from tfmagic.runtime.tape.follow import MOST, Course, Follower

tf = pytest.importorskip("tensorflow")


def _fit(steps: int) -> tuple[Any, Any]:
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.RandomState(0).rand(8 * steps, 3).astype("f")
    now = [0.0]

    def passes(*_: Any, **named: Any) -> None:
        now[0] += 1.0

    told = keras.callbacks.LambdaCallback(on_train_batch_begin=passes)
    options = {"batch_size": 8, "verbose": 0, "shuffle": False, "callbacks": [told]}
    return lambda: model.fit(x, x.sum(1), **options).model, now


def test_what_is_shown_of_a_fit_is_what_the_run_tells() -> None:
    fit, now = _fit(12)
    shown: list[tuple[list[int], list[float], list[float]]] = []

    def show(courses: dict[str, Course], seconds: float) -> None:
        (course,) = courses.values()
        shown.append((list(course.steps), list(course.loss), list(course.norm)))

    with tfmagic.record() as rec:
        rec.log.progress = Follower(rec.log, show, clock=lambda: now[0]).step
        fit()
    (run,) = rec.recording.runs
    steps, losses, norms = shown[-1]
    every = np.sqrt(sum(v**2 for v in run.gradient_norm.values()))
    assert len(steps) > 5 and not rec.log.faults
    assert losses == [run.loss[step - 1] for step in steps]
    assert np.allclose(norms, [every[step - 1] for step in steps])


def test_an_eager_loop_is_followed_by_its_loss_and_no_op_of_ours_is_recorded() -> None:
    w = tf.Variable([1.0, 2.0])
    shown: list[float] = []
    now = [0.0]

    def loop() -> None:
        for _ in range(4):
            now[0] += 1.0
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(w * w)
            w.assign_sub(0.1 * tape.gradient(loss, w))

    with tfmagic.record() as plain:
        loop()
    w.assign([1.0, 2.0])
    with tfmagic.record() as rec:
        rec.log.progress = Follower(
            rec.log,
            lambda courses, _: shown.append(next(iter(courses.values())).loss[-1]),
            clock=lambda: now[0],
        ).step
        loop()
    assert [e.type for e in rec.log.entries] == [e.type for e in plain.log.entries]
    assert len(shown) == 3 and shown == pytest.approx(
        list(rec.recording.runs[0].loss)[-len(shown) :]
    )


def test_a_look_that_fails_ends_the_following_and_not_the_training() -> None:
    fit, now = _fit(3)

    def show(*_: Any) -> None:
        raise OSError("no room")

    with tfmagic.record() as rec:
        rec.log.progress = Follower(rec.log, show, clock=lambda: now[0]).step
        model = fit()
    assert int(model.optimizer.iterations) == 3
    assert rec.log.progress is None and "no room" in rec.log.faults[0]


def test_looks_are_as_seldom_as_they_are_dear() -> None:
    now = [0.0]

    def show(*_: Any) -> None:
        now[0] += 0.1  # a look takes a tenth of a second

    looks = 0
    with tfmagic.record() as rec:
        follower = Follower(rec.log, show, clock=lambda: now[0])
        for _ in range(100_000):
            before = now[0]
            now[0] += 0.001
            follower.step()
            looks += now[0] - before > 0.05
    assert 0.1 * (looks - 2) / now[0] <= 0.02 and looks > 10


def test_a_course_is_bounded_and_keeps_its_ends() -> None:
    course = Course()
    for step in range(1, 10_001):
        course.add(step, float(step), 0.0)
    assert len(course.steps) <= MOST and course.steps[0] == 1 and course.steps[-1] == 10_000
    assert course.loss == [float(s) for s in course.steps]


def test_the_text_of_it_is_one_line_and_the_picture_light() -> None:
    course = Course([1, 2, 3], [3.0, float("nan"), 1.0], [float("nan")] * 3)
    assert "\n" not in live.line({"": course}, 1.5)
    markup = live.courses({"": course}, 1.5)
    assert markup.count("data:image/svg+xml") == 1 and len(markup) < 8_000
