"""``%tfvars``: what the namespace or an object holds, and how a value becomes a tensor."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from tfmagic.analysis.inventory import ORDERS
from tfmagic.errors import OptionError, TfmagicError
from tfmagic.language import say
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import HelpShown, Options, identifier, source_of, usage_error
from tfmagic.notebook.view import show
from tfmagic.notebook.watch import Watch


def variables_options() -> Options:
    """Options of ``%tfvars``."""
    parser = Options("%tfvars")
    add: Any = parser.add_argument
    add("expression", nargs="*", metavar="EXPR", help="help.vars_expression")
    add("--why", action="store_true", help="help.vars_why")
    add("--sort", metavar="BY", choices=tuple(ORDERS), help="help.vars_sort")
    add("--filter", metavar="WORD", help="help.vars_filter")
    add("-o", dest="output", metavar="NAME", help="help.output")
    add("-q", dest="quiet", action="store_true", help="help.quiet")
    return parser


@magics_class
class VariableMagics(Family):
    """``%tfvars`` shows tensors, variables, arrays, datasets, modules and models."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.parsers = {"tfvars": variables_options()}
        self.watch = Watch(self.shell, self._names)

    def detach(self) -> None:
        self.watch.sleep()

    @line_magic("tfvars")
    @no_var_expand
    def variables_line(self, line: str) -> None:
        """Show what the namespace holds, or what EXPR is."""
        try:
            options = self.parsers["tfvars"].parse(line)
            identifier(options.output, "-o")
            view = self._view(options)
        except HelpShown:
            return
        except TfmagicError as error:
            raise usage_error(error) from None
        if options.output:
            self.shell.user_ns[options.output] = view
        if not options.quiet:
            show(view.mimebundle)

    def _view(self, options: Any) -> Any:
        expression = source_of(options.expression)
        if options.why:
            return self._lesson(expression)
        from tfmagic.analysis.inventory import arranged
        from tfmagic.render.value import view_of
        from tfmagic.runtime.values.inventory import inventory

        subject = self._value(expression) if expression else self._names()
        found = inventory(subject, expression, self.watch.since)
        notes = (say("vars.watching"),) if self.watch.wake() else ()
        return view_of(arranged(found, options.sort or "", options.filter or ""), notes)

    def _lesson(self, expression: str) -> Any:
        from tfmagic.api import conversion
        from tfmagic.render.inventory import ConversionView

        if not expression:
            raise OptionError("vars.why_what")
        value = self._value(expression)
        return ConversionView(conversion(value, expression, self.shell.user_ns))

    def _value(self, expression: str) -> Any:
        """What the expression stands for; what it runs no recording hears."""
        from tfmagic.runtime.tape.expression import evaluate
        from tfmagic.runtime.values.kinds import unseen

        with unseen():
            return evaluate(expression, self.shell.user_ns, "%tfvars")

    def _names(self) -> dict[str, Any]:
        hidden = self.shell.user_ns_hidden
        return {
            name: value
            for name, value in list(self.shell.user_ns.items())
            if not name.startswith("_") and name not in hidden
        }
