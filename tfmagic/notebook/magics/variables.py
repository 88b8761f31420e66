"""``%tfvars``: what the namespace or an object holds, and how a value becomes a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from tfmagic.errors import OptionError, TfmagicError
from tfmagic.notebook.magics.base import Family
from tfmagic.notebook.options import HelpShown, Options, identifier, usage_error
from tfmagic.notebook.view import show

if TYPE_CHECKING:
    from tfmagic.runtime.inventory import Look


def variables_options() -> Options:
    """Options of ``%tfvars``."""
    parser = Options("%tfvars")
    add: Any = parser.add_argument
    add("expression", nargs="*", metavar="EXPR", help="help.vars_expression")
    add("--why", action="store_true", help="help.vars_why")
    add("--sort", metavar="BY", help="help.vars_sort")
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
        self.looks: dict[str, Look] = {}

    def detach(self) -> None:
        self.looks.clear()

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
        from tfmagic.api import conversion
        from tfmagic.render.inventory import ConversionView, InventoryView
        from tfmagic.runtime.inventory import inventory
        from tfmagic.runtime.tape import evaluate

        expression = " ".join(options.expression)
        space = self.shell.user_ns
        if options.why:
            if not expression:
                raise OptionError("vars.why_what")
            value = evaluate(expression, space, "%tfvars")
            return ConversionView(conversion(value, expression, space))
        subject = evaluate(expression, space, "%tfvars") if expression else self._names()
        found, look = inventory(subject, expression, self.looks.get(expression))
        from tfmagic.analysis.inventory import arranged

        shown = arranged(found, options.sort or "", options.filter or "")
        self.looks[expression] = look
        return InventoryView(shown)

    def _names(self) -> dict[str, Any]:
        hidden = self.shell.user_ns_hidden
        return {
            name: value
            for name, value in list(self.shell.user_ns.items())
            if not name.startswith("_") and name not in hidden
        }
