"""mir models: what models there are, and to fetch, check, send and export them."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from make_it_real import installation
from make_it_real.cli import console, options
from make_it_real.cli.help import Command, Group
from make_it_real.errors import WeightsError
from make_it_real.weights import hub, model_card, model_file

app = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)

# Columns from which a terminal has room for all that ``mir models list`` can say.
WIDE = 110
NUMBERS = ("size", "steps")

Name = Annotated[
    str,
    typer.Argument(metavar="MODEL", autocompletion=options.model_names, help=options.MODEL_HELP),
]


@app.callback()
def models() -> None:
    """The models there are: list, show, fetch, check, send and export them."""


@app.command("list", cls=Command, epilog="Example:\n$ mir models list")
@console.command
def list_models(as_json: options.Json = False) -> None:
    """List the bundled models and those in the hub's cache. Uses no network."""
    found = {name: ("bundled", path) for name, path in model_file.bundled().items()}
    found |= {name: ("cached", path) for name, path in hub.cached().items()}
    table = sys.stdout.isatty() and not as_json
    rows: list[tuple[str, model_file.ModelInfo, int]] = []
    for name, (where, path) in found.items():
        try:
            info = model_file.inspect(path)
        except WeightsError as error:
            console.complain(f"{name}: {error}")
            continue
        size = path.stat().st_size
        if table:
            rows.append((name, info, size))
            continue
        if as_json:
            line = _described(info) | {"model": name, "where": where, "bytes": size}
            print(json.dumps(line))
            continue
        facts = (model_card.resolution(info), f"{size / 1e6:.1f} MB", info.data, info.licence)
        figures = model_card.headlines(info.figures)
        print("  ".join([f"{name:24}", f"{where:8}", *filter(None, (*facts, figures))]))
    if table:
        _print_table(rows)
        for where in dict.fromkeys(where for where, _ in found.values()):
            folder = installation.bundled_folder() if where == "bundled" else hub.cache_folder()
            print(f"{where} in {folder}")


def _print_table(rows: list[tuple[str, model_file.ModelInfo, int]]) -> None:
    """Print (name, header, bytes) of models; narrow terminals are not shown the objective."""
    from rich.console import Console
    from rich.table import Table

    screen = Console(markup=False, highlight=False)
    wide = screen.width >= WIDE
    between = 2 if wide else 1
    table = Table(box=None, pad_edge=False, padding=(0, between, 0, 0), header_style="bold")
    for title in ("name", "size", "images", *(["objective"] if wide else []), "steps"):
        table.add_column(title, no_wrap=True, justify="right" if title in NUMBERS else "left")
    table.add_column("licence")
    aliases = {name: alias for alias, name in model_file.ALIASES.items()}
    for name, info, size in rows:
        shown = f"{name}, {aliases[name]}" if name in aliases else name
        objective = [info.objective] if wide else []
        table.add_row(
            shown, f"{size / 1e6:.1f} MB", model_card.resolution(info), *objective,
            f"{info.steps:,}", info.licence,
        )  # fmt: skip
    screen.print(table)


@app.command("info", cls=Command, epilog="Example:\n$ mir models info faces")
@console.command
def show_info(model: Name, as_json: options.Json = False) -> None:
    """Show a model's card, out of its file's header alone."""
    path = model_file.resolve(model)
    info = model_file.inspect(path)
    if as_json:
        line = {"file": str(path), "sha256": model_file.fingerprint(path), **asdict(info)}
        print(json.dumps(line))
        return
    # A stranger's header may hold what a terminal would obey.
    shown = (c if c.isprintable() or c == "\n" else "\ufffd" for c in model_card.text(info))
    print("".join(shown), end="")
    print(f"\nFile: {path}\nSHA-256: {model_file.fingerprint(path)}…")


@app.command(cls=Command, epilog="Example:\n$ mir models pull owner/name")
@console.command
def pull(
    names: Annotated[list[str], typer.Argument(metavar="OWNER/NAME[@REVISION]…")],
    force: Annotated[bool, typer.Option("--force", help="Fetch what is in the cache too.")] = False,
    as_json: options.Json = False,
) -> None:
    """Fetch models from the hub into its cache, checked; prints where each lies."""
    for name in names:
        console.say(f"fetching {name} …")
        path = hub.fetch(name, force=force)
        info = model_file.inspect(path)
        commit = path.parent.name
        if as_json:
            line = _described(info) | {"model": name, "file": str(path), "commit": commit}
            print(json.dumps(line))
        else:
            console.say(f"{info.name}, {model_card.resolution(info)}, commit {commit}")
            print(path)


@app.command(cls=Command, epilog="Example:\n$ mir models verify faces")
@console.command
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]…", help="All the bundled ones if none.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check that models are whole and make what they made when they were saved. On the CPU."""
    from make_it_real.weights import pretrained
    from make_it_real.weights.verify import check

    bad: WeightsError | None = None
    for name in names or list(model_file.bundled()):
        try:
            path = model_file.resolve(name)
            found = check(pretrained.load(path), path)
        except WeightsError as error:
            # The other models are still looked at; the exit code is that of the failure.
            bad = error
            console.complain(str(error))
            continue
        if as_json:
            print(json.dumps({"model": name, "file": str(path), "ok": True, **found}))
        else:
            print(
                f"{name}: whole; {found['images']} probe images differ by at most "
                f"{found['difference']} of 255 levels; sha256 {model_file.fingerprint(path)}…"
            )
    if bad is not None:
        raise typer.Exit(bad.exit_code)


@app.command(cls=Command, epilog="Example:\n$ mir models push run/model.safetensors owner/name")
@console.command
def push(
    model: Name,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, made if it isn't there [main].")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
) -> None:
    """Send a model to the hub with its critic, a sample grid and a card. Prints the commit."""
    path = model_file.resolve(model)
    model_file.inspect(path)
    hub.split_name(repo)

    from make_it_real.weights import pretrained

    print(pretrained.push_file(path, repo, revision=revision, private=private or None))


@app.command(cls=Command, epilog="Example:\n$ mir models export digits -o digits.onnx")
@console.command
def export(
    model: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    kind: Annotated[
        Literal["onnx", "pt2"] | None, typer.Option("--format", help="By the name's end if none.")
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write f for other programs, checked against torch: ONNX or torch.export's .pt2.

    The network alone: what it maps, z or images, is for the other program to provide.
    """
    kind = kind or {".onnx": "onnx", ".pt2": "pt2"}.get(output.suffix)  # type: ignore[assignment]
    if kind is None:
        raise typer.BadParameter(f"-o {output}: end it in .onnx or .pt2, or give --format")
    if output.exists() and not overwrite:
        raise typer.BadParameter(f"{output} exists; --overwrite replaces it")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent}: no such folder")
    path = model_file.resolve(model)

    from make_it_real.weights import pretrained
    from make_it_real.weights.export import FORMATS, SEEDS

    f = pretrained.load(path)
    difference = FORMATS[kind](f, output)
    on = f"{len(SEEDS)} images" if f.config.image_size else "images of several sizes"
    console.say(f"at most {difference:.1g} from torch over {on}")
    print(output)


def _described(info: model_file.ModelInfo) -> dict[str, Any]:
    fields = asdict(info)
    kept = ("name", "data", "licence", "objective", "steps", "version", "figures")
    return {name: fields[name] for name in kept} | {"resolution": model_card.resolution(info)}
