"""Help pages in panels, and what happens before any command; errors of usage stay plain text.

rich is imported where a page is shown, and not before: everything else starts without it.
"""

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup

from make_it_real.cli import console

# Titles of the panels that commands share.
INPUT, OUTPUT, MODEL, MESSAGES = "Input", "Output", "Model", "Messages"


class Command(TyperCommand):
    """A command whose help page has panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare(self)
        self.rich_markup_mode = "rich"
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help page has a panel for each kind of them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for command in (self, *self.commands.values()):
            _prepare(command)
        self.rich_markup_mode = "rich"
        super().format_help(ctx, formatter)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        console.prepare_streams()
        return super().main(*args, **kwargs)


def _prepare(command: Any) -> None:
    """Keep [brackets] in help texts from being read as rich's markup; wrap paragraphs anew.

    A flag is shown without the type that it has as all flags do.
    """
    from rich.markup import escape

    if command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = escape("\n\n".join(" ".join(p.split("\n")) for p in paragraphs))
    for holder, name in ((command, "short_help"), (command, "epilog")):
        if text := getattr(holder, name, None):
            setattr(holder, name, escape(text))
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            parameter.help = escape(text)
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
