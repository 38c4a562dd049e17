"""Help pages in panels, and what happens before any command; errors of usage stay plain text.

rich is imported where a page is shown, and not before: everything else starts without it.
"""

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from make_it_real.cli import console

# Titles of the panels that commands share.
INPUT, OUTPUT, FOLDERS, MODEL = "Input", "Output", "Many files", "Model"


class Command(TyperCommand):
    """A command whose help page has panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare(self, ctx)
        self.rich_markup_mode = "rich"
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help page has a panel for each kind of them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for command in (self, *self.commands.values()):
            _prepare(command, ctx)
        self.rich_markup_mode = "rich"
        super().format_help(ctx, formatter)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        console.prepare_streams()
        return super().main(*args, **kwargs)


def _prepare(command: Any, ctx: Any) -> None:
    """Keep [brackets] in help texts from being read as rich's markup; wrap paragraphs anew."""
    from rich.markup import escape

    if command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = escape("\n\n".join(" ".join(p.split("\n")) for p in paragraphs))
    for holder, name in ((command, "short_help"), (command, "epilog")):
        if text := getattr(holder, name, None):
            setattr(holder, name, escape(text))
    for parameter in command.get_params(ctx):
        if text := getattr(parameter, "help", None):
            parameter.help = escape(text)
        if isinstance(parameter, TyperOption):
            _shorten(parameter, ctx)


# What stands for a value in help, by what its type is called there.
VALUES = {"int": "N", "float": "X", "path": "PATH", "str": "TEXT"}


def _shorten(option: Any, ctx: Any) -> None:
    """Leave room for what an option does: N in place of "<int range> [x>=1]", none for a flag.

    Words to choose from that need more than a few columns are listed behind the help text.
    """
    if option.is_flag:
        option.metavar = ""
    label = getattr(option, "display_type", lambda ctx: "")(ctx).strip("<>")
    if option.metavar is None and "|" in label:
        words = label.split("|")
        if len(label) > 12:
            option.metavar = "WORD"
            unknown = [word for word in words if word not in (option.help or "")]
            option.help = f"{option.help} One of {', '.join(words)}." if unknown else option.help
    elif option.metavar is None:
        option.metavar = VALUES.get(label.removesuffix(" range"))
    if getattr(option, "max", None) is None and hasattr(option, "min"):
        option.min = None
