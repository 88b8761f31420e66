"""The panel of ``%tfstep`` as a student meets it: the lesson's figures at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.browser import lab as jupyter

pytestmark = pytest.mark.browser

LOAD = "%load_ext tfmagic"
STEP = "%tfstep -o m"

Run = Callable[..., Any]


def part(page: Any, name: str) -> Any:
    """A box or node of the picture."""
    return page.locator(f'.tfm-step-picture [data-part="{name}"]')


def press(page: Any, act: str) -> None:
    page.locator(f'[data-act="{act}"]').click()


def test_the_lessons_figures_piece_by_piece(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP])
    hidden, out, loss = (part(page, name) for name in ("H_1[0]", "Y_hat[0]", "Loss"))
    hidden.filter(has_text="0.85").wait_for()
    press(page, "forward")  # a complete pass begins anew: the hidden layer, nothing behind it
    out.filter(has_text="?").wait_for()
    assert "0.85" in hidden.text_content() and "0.48" in part(page, "H_1[1]").text_content()
    page.locator(".tfm-step-formula", has_text="0.11·2 + 0.21·3").wait_for()
    press(page, "forward")
    out.filter(has_text="0.191").wait_for()
    assert "?" in loss.text_content()
    press(page, "forward")
    loss.filter(has_text="0.32724").wait_for()
    assert "∇" not in page.locator(".tfm-step-picture").text_content()

    now = page.locator(".tfm-step-factor.tfm-step-now")
    for factor, value, place in (("Ŷ[0] − Y[0]", "-0.809", "Y_hat[0]"), ("H_1[0]", "0.85", "W_2[0,0]"),
                                 ("W_2[0,0]", "0.14", "W_2[0,0]"), ("X[0]", "2", "W_1[0,0]")):  # fmt: skip
        press(page, "backward")
        now.filter(has_text=factor).filter(has_text=value).wait_for()
        assert now.count() == 1
        page.locator(f'.tfm-step-picture .tfm-step-now[data-part="{place}"]').wait_for()
    for weight, slope in (("W_1[0,0]", "-0.22652"), ("W_1[0,1]", "-0.33978"), ("W_1[1,0]", "-0.2427"),
                          ("W_1[1,1]", "-0.36405"), ("W_2[0,0]", "-0.68765"), ("W_2[0,1]", "-0.38832")):  # fmt: skip
        assert slope in part(page, weight).text_content()
    assert "✓" in page.locator(".tfm-step-agree").inner_text()
    press(page, "update")
    page.locator(".tfm-step-formula", has_text="0.11 − 0.05 · (-0.22652) = 0.12133").wait_for()
    press(page, "update")
    page.locator(".tfm-step-head", has_text="step 1").wait_for()
    press(page, "forward-all")
    part(page, "H_1[0]").filter(has_text="0.9236").wait_for()
    part(page, "H_1[1]").filter(has_text="0.5589").wait_for()
    part(page, "Y_hat[0]").filter(has_text="0.2557").wait_for()
    loss.filter(has_text="0.27696").wait_for()


@pytest.mark.parametrize("front_end", ["lab", "notebook_7"])
def test_sliders_fields_keys_undo_and_scrub(
    front_end: str, context: Any, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(front_end)
    nbformat.write(jupyter.notebook_of([LOAD, STEP, "print('end')"]), server.folder / "moves.ipynb")
    page = jupyter.run(jupyter.opened(server, context, "moves.ipynb"))
    slider = page.locator('input[data-part="W_1[0,0]"]')
    slider.wait_for()
    slider.evaluate(DRAG)  # a hundred moves in one go, ending at 1
    part(page, "H_1[0]").filter(has_text="2.63").wait_for()  # 1·2 + 0.21·3
    page.locator('input[data-field="W_1[0,0]"]').fill("0.11")
    page.keyboard.press("Enter")
    part(page, "H_1[0]").filter(has_text="0.85").wait_for()
    slider.focus()
    page.keyboard.press("ArrowRight")
    part(page, "H_1[0]").filter(has_text="0.87").wait_for()  # 0.12·2 + 0.63
    for _ in range(3):
        page.keyboard.press("z")
    page.locator('[data-act="undo"]:disabled').wait_for()
    part(page, "Loss").filter(has_text="0.32724").wait_for()
    page.keyboard.press("s")
    page.locator(".tfm-step-head", has_text="step 1 · Loss = 0.27696").wait_for()
    for _ in range(3):
        page.keyboard.press("s")
    page.locator(".tfm-step-head", has_text="step 4").wait_for()
    page.locator('input[data-act="scrub"]').fill("1")
    page.locator(".tfm-step-head", has_text="step 1 · Loss = 0.27696").wait_for()
    assert page.locator(".tfm-step-curve output").inner_text() == "1 / 4"
    page.locator('input[data-act="scrub"]').fill("4")
    page.locator(".tfm-step-head", has_text="step 4").wait_for()
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 3  # Jupyter took no key for itself


def test_each_move_hurries_its_answer(run_in_lab: Run, context: Any) -> None:
    sent: list[bytes] = []

    def listen(socket: Any) -> None:
        socket.on("framesent", lambda frame: sent.append(as_bytes(frame)))

    context.on("page", lambda page: page.on("websocket", listen))
    page = run_in_lab([LOAD, STEP])
    part(page, "Loss").filter(has_text="0.32724").wait_for()
    hurried = sum(b"hurry" in frame for frame in sent)
    press(page, "step")
    page.locator(".tfm-step-head", has_text="step 1").wait_for()
    assert sum(b"hurry" in frame for frame in sent) == hurried + 1


def as_bytes(frame: Any) -> bytes:
    """What went through a socket, whether as text or not."""
    return frame if isinstance(frame, bytes) else str(frame).encode()


def test_an_answer_that_got_lost_is_noticed_at_the_next(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP])
    part(page, "Loss").filter(has_text="0.32724").wait_for()
    page.evaluate(
        EXECUTE,
        "from tfmagic.notebook.panels import base\n(panel,) = base._open.values()\n"
        "panel.stepper.set(Y=[3.0])\npanel._state()  # counted, and never sent",
    )
    press(page, "step")
    part(page, "Y[0]").filter(has_text="3").wait_for()


def test_what_is_no_number_or_no_rate_is_said(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP])
    field = page.locator('input[data-field="W_1[0,0]"]')
    field.wait_for()
    field.fill("NaN")
    field.press("Enter")
    page.locator(".tfm-alert", has_text="not a finite number").wait_for()
    assert field.input_value() == "0.11" and field.get_attribute("aria-invalid") == "true"
    rate = page.locator('input[data-field="lr"]')
    warning = page.locator(".tfm-alert[role=status]")
    for typed, said in (("0", "changes nothing"), ("-0.05", "goes up the slope")):
        rate.fill(typed)
        rate.press("Enter")
        warning.filter(has_text=said).wait_for()
    rate.fill("50")
    rate.press("Enter")
    warning.wait_for(state="hidden")
    press(page, "play")
    warning.filter(has_text="beyond all bounds").wait_for()
    page.locator('[data-act="play"][aria-pressed="false"]').wait_for()  # it has stopped itself
    for shown in page.locator("input[data-field]").all():  # no digit is cut off, however large
        assert shown.evaluate("field => field.scrollWidth <= field.clientWidth")
    page.locator('input[data-act="scrub"]').fill("0")
    part(page, "Loss").filter(has_text="0.32724").wait_for()


def test_a_guess_is_explained(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP])
    part(page, "W_1[0,0]").filter(has_text="∇").wait_for()
    press(page, "predict")
    page.locator('[data-act="predict"][aria-pressed="true"]').wait_for()
    assert "∇" not in page.locator(".tfm-step-picture").text_content()
    assert "-0.2265" not in page.locator(".tfm-step-main").inner_text()
    guess, told = page.locator('[data-act="guess"]'), page.locator(".tfm-step-told")
    for typed, said in (("0.22652", "the sign is not"), ("-0.11326", "multiply by X[0]")):
        guess.fill(typed)
        press(page, "check")
        told.filter(has_text=said).wait_for()
    part(page, "W_2[0,1]").click()
    told.filter(has_not_text="multiply").wait_for(state="attached")
    guess.fill("-0.388")
    guess.press("Enter")
    told.filter(has_text="Right").wait_for()
    page.locator(".tfm-step-chain", has_text="-0.38832").wait_for()


def test_ones_own_variables_stay_in_step_both_ways(run_in_lab: Run) -> None:
    own = """import tensorflow as tf
X, Y = tf.constant([[2.0], [3.0]]), tf.constant([1.0])
W_1 = tf.Variable([[0.11, 0.21], [0.12, 0.08]])
W_2 = tf.Variable([[0.14, 0.15]])
%tfstep W_1,W_2,X,Y"""
    page = run_in_lab([LOAD, own, "W_1[0, 0].assign(1.0)"])
    part(page, "H_1[0]").filter(has_text="2.63").wait_for()
    page.locator('input[data-field="W_1[0,0]"]').fill("0.11")
    page.keyboard.press("Enter")
    part(page, "H_1[0]").filter(has_text="0.85").wait_for()
    press(page, "step")
    page.locator(".tfm-step-head", has_text="step 1").wait_for()
    printed = page.evaluate(
        EXECUTE, "print(round(float(W_1[0, 0]), 6), round(float(W_2[0, 0]), 6))"
    )
    assert printed.strip() == "0.121326 0.174383"


def test_landscape_and_code(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP])
    page.locator(".tfm-step-landscape summary").click()
    page.locator(".tfm-step-land svg image").wait_for()
    press(page, "step")
    page.locator(".tfm-step-land svg polyline").wait_for(state="attached")
    press(page, "code")
    code = page.locator(".tfm-panel textarea")
    page.wait_for_function(
        "document.querySelector('.tfm-panel textarea').value.includes('assign_sub')"
    )
    printed = page.evaluate(EXECUTE, f"exec({code.input_value()!r}); print(round(float(Loss), 6))")
    assert printed.strip() == "0.276957"


def test_several_panels_and_a_large_network(run_in_lab: Run) -> None:
    page = run_in_lab([LOAD, STEP, "%tfstep --sizes 90,100,10 --batch 3 --activation relu,linear"])
    second = page.locator(".tfm-panel").nth(1)
    second.wait_for()
    assert page.locator(".tfm-panel").first.locator("input[type=range]").count() == 11
    assert second.locator("input[type=range]").count() < 30
    second.get_by_label("W_1 row").fill("70")
    second.get_by_label("W_1 row").press("Enter")
    second.locator(".tfm-step-chain", has_text="∂Loss/∂W_1[70,0]").wait_for()
    second.locator('[data-act="step"]').click()
    second.locator(".tfm-step-head", has_text="step 1").wait_for()
    assert "step 0" in page.locator(".tfm-step-head").first.inner_text()
    second.locator('[data-act="close"]').click()
    page.locator(".tfm-panel").nth(1).wait_for(state="detached")
    page.locator(".tfmagic-snapshot").nth(1).locator("img").first.wait_for()


# Moves the slider a hundred times in one go.
DRAG = """slider => { for (let i = 1; i <= 100; i++) {
    slider.value = i / 100; slider.dispatchEvent(new Event('input')); } }"""

# Runs code in the notebook's kernel, and gives what it printed.
EXECUTE = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({code, store_history: false});
    let text = '';
    future.onIOPub = message => { if (message.header.msg_type === 'stream') text += message.content.text;
        if (message.header.msg_type === 'error') text += message.content.evalue; };
    await future.done;
    return text;
}"""


def test_saved_with_its_state_and_reopened_only_the_picture_is_left(
    lab: jupyter.Server, context: Any, tmp_path: Path
) -> None:
    notebook = jupyter.notebook_of([LOAD, "%tfstep"])
    NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path))
    assert notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    nbformat.write(notebook, lab.folder / "saved.ipynb")
    page = jupyter.opened(lab, context, "saved.ipynb")
    only_the_picture_is_left(page)
    assert not page.evaluate(TRUSTED)
    page.evaluate("() => { jupyterapp.commands.execute('notebook:trust'); }")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.wait_for_function(TRUSTED)
    only_the_picture_is_left(page)
    page.screenshot(path=tmp_path / "page.png")


def only_the_picture_is_left(page: Any) -> None:
    """Nothing is seen of a panel that its kernel does not know, but its last picture."""
    page.locator(".tfmagic-snapshot", has_text="step 0").wait_for()
    page.wait_for_function("document.querySelector('.tfmagic-snapshot img')?.naturalWidth > 40")
    assert not page.locator(".tfm-panel:visible").count()
    shown = page.locator(".jp-OutputArea").last.inner_text()
    assert "object at" not in shown and "not found" not in shown


TRUSTED = "() => [...jupyterapp.shell.currentWidget.content.widgets].every(c => c.model.trusted)"
