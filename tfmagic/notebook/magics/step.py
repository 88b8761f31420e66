"""``%tfstep``: a network of two layers, step by step."""

from __future__ import annotations

from typing import Any

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
            raise usage_error(error) from None
        except TfmagicError as error:
            raise usage_error(error) from None
        if options.output:
            self.shell.user_ns[options.output] = stepper
        if not options.quiet:
            self._show(stepper)

    def _stepper(self, options: Any) -> Any:
        from tfmagic.api import two_layer

        names = ("sizes", "batch", "bias", "activation", "lr", "seed", "train_bias")
        wishes = {name: getattr(options, name) for name in names}
        return two_layer(**self._given("".join(options.expression)), **wishes)

    def _given(self, expression: str) -> dict[str, Any]:
        """The values of the user's expressions, by what they stand for."""
        from tfmagic.runtime.dense import is_model
        from tfmagic.runtime.expression import evaluate

        parts = expression_names(expression) if expression else ()
        values = [evaluate(part, self.shell.user_ns, "%tfstep") for part in parts]
        if values and is_model(values[0]):
            names: tuple[str, ...] = ("model", "X", "Y")
        else:
            names = parts if set(parts) <= set(ORDER) else ORDER
        if len(values) > len(names) or len(set(names)) < len(names):
            raise OptionError("step.expressions", given=expression)
        return dict(zip(names, values, strict=False))

    def _show(self, stepper: Any) -> None:
        from tfmagic.render.step import StepView

        stepper.backward()
        show(StepView(stepper.history, stepper.at).mimebundle)

    def _show_shapes(self, error: ShapeError) -> None:
        from tfmagic.render.shapes import picture

        show(lambda: picture(error.values["shapes"], str(error)))
