"""``%tfstep``: a network of two layers, step by step."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import line_magic, magics_class, no_var_expand

from tfmagic.errors import OptionError, ShapeError, TfmagicError
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import (
    HelpShown,
    Options,
    expression_names,
    identifier,
    usage_error,
)
from tfmagic.notebook.view import show

#: What expressions stand for, in their order; by their names where all of them have one.
ORDER = ("W_1", "W_2", "X", "Y", "b_1", "b_2")


def step_options() -> Options:
    """Options of ``%tfstep``."""
    parser = Options("%tfstep")
    add: Any = parser.add_argument
    add("expression", nargs="*", metavar="W_1,W_2,X,Y", help="help.step_expression")
    add("--sizes", metavar="I,H,O", default="", help="help.step_sizes")
    add("--batch", type=int, metavar="N", default=1, help="help.step_batch")
    add("--bias", action="store_true", help="help.step_bias")
    add("--activation", metavar="NAME", help="help.step_activation")
    add("--lr", type=float, metavar="RATE", default=0.05, help="help.step_lr")
    add("--seed", type=int, metavar="N", default=0, help="help.step_seed")
    add("--no-train-bias", dest="train_bias", action="store_false", help="help.step_train_bias")
    add("--static", action="store_true", help="help.step_static")
    add("-o", dest="output", metavar="NAME", help="help.output")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    return parser


@magics_class
class StepMagics(Family):
    """``%tfstep`` steps through two layers: the lesson's, or the user's own."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.parsers = {"tfstep": step_options()}

    @line_magic("tfstep")
    @no_var_expand
    def step_line(self, line: str) -> None:
        """Step through a network of two layers."""
        try:
            options = self.parsers["tfstep"].parse(line)
            identifier(options.output, "-o")
            stepper = self._stepper(options)
        except HelpShown:
            return
        except ShapeError as error:
            self._show_shapes(error)
            raise UsageError(self._told(error, "".join(options.expression))) from None
        except TfmagicError as error:
            raise usage_error(error) from None
        if options.output:
            self.shell.user_ns[options.output] = stepper
        if not options.quiet:
            self._show(stepper, "".join(options.expression), static=options.static)

    def _stepper(self, options: Any) -> Any:
        from tfmagic.api import two_layer

        names = ("sizes", "batch", "bias", "activation", "lr", "seed", "train_bias")
        wishes = {name: getattr(options, name) for name in names}
        return two_layer(**self._given("".join(options.expression)), **wishes)

    def _given(self, expression: str) -> dict[str, Any]:
        """The values of the user's expressions, by what they stand for."""
        from tfmagic.runtime.tape.expression import evaluate

        found = self._expressions(expression)
        return {name: evaluate(part, self.shell.user_ns, "%tfstep") for name, part in found.items()}

    def _expressions(self, expression: str) -> dict[str, str]:
        """What each of the user's expressions stands for."""
        from tfmagic.runtime.tape.expression import evaluate
        from tfmagic.runtime.twolayer.dense import is_model

        parts = expression_names(expression) if expression else ()
        first = evaluate(parts[0], self.shell.user_ns, "%tfstep") if parts else None
        if is_model(first):
            names: tuple[str, ...] = ("model", "X", "Y")
        elif callable(first) or hasattr(first, "trainable_variables"):
            raise OptionError("step.other_model", given=parts[0], type=type(first).__name__)
        else:
            names = parts if set(parts) <= set(ORDER) else ORDER
        if len(parts) > len(names) or len(set(names)) < len(names):
            raise OptionError("step.expressions", given=expression)
        return dict(zip(names, parts, strict=False))

    def _show(self, stepper: Any, expression: str, *, static: bool) -> None:
        """The panel where there is a frontend for it, else what it would leave behind."""
        stepper.show_whole()
        if static or not hasattr(self.shell, "kernel"):
            from tfmagic.render.step import StepView

            show(StepView(stepper.history, stepper.at).mimebundle)
            return
        from tfmagic.notebook.panels.step import StepPanel

        StepPanel(stepper, self._link(stepper, expression)).show()

    def _link(self, stepper: Any, expression: str) -> Any:
        from tfmagic.notebook.panels.step_link import Link

        return Link(self.shell, stepper, self._expressions(expression)) if expression else None

    def _told(self, error: ShapeError, expression: str) -> str:
        """The sentence, and of the matrices in it those that the user calls otherwise."""
        text = str(error)
        other = [f"{name} = {part[:40]}" for name, part in self._expressions(expression).items()
                 if part != name and name in text]  # fmt: skip
        return f"{text} ({', '.join(other)})" if other else text

    def _show_shapes(self, error: ShapeError) -> None:
        from tfmagic.render.shapes import picture

        show(lambda: picture(error.values["shapes"], str(error)))
