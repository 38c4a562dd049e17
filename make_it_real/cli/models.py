"""mir models: what models there are, and to fetch, check, send and export them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from make_it_real import card, hub, weights
from make_it_real.cli import common
from make_it_real.errors import WeightsError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", autocompletion=common.model_names,
        help="faces, mnist or fashion, a .safetensors file, a folder or owner/name[@revision].",
    ),
]  # fmt: skip


@app.callback()
def models() -> None:
    """The models there are: list, show, fetch, check, send and export them."""


@app.command("list")
@common.command
def list_models(
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """List the bundled models and those in the hub's cache. Uses no network."""
    found = {name: ("bundled", path) for name, path in weights.bundled().items()}
    found |= {name: ("cached", path) for name, path in hub.cached().items()}
    for name, (where, path) in found.items():
        try:
            info = weights.inspect(path)
        except WeightsError as error:
            common.complain(f"{name}: {error}")
            continue
        size = path.stat().st_size
        if as_json:
            line = _described(info) | {"model": name, "where": where, "bytes": size}
            print(json.dumps(line))
            continue
        facts = (card.resolution(info), f"{size / 1e6:.1f} MB", info.data, info.licence)
        figures = card.headlines(info.figures)
        print("  ".join([f"{name:24}", f"{where:8}", *filter(None, (*facts, figures))]))


@app.command("info")
@common.command
def show_info(
    model: Name,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Show a model's card, out of its file's header alone."""
    path = weights.resolve(model)
    info = weights.inspect(path)
    if as_json:
        line = {"file": str(path), "sha256": weights.fingerprint(path), **asdict(info)}
        print(json.dumps(line))
        return
    # A stranger's header may hold what a terminal would obey.
    shown = (c if c.isprintable() or c == "\n" else "\ufffd" for c in card.text(info))
    print("".join(shown), end="")
    print(f"\nFile: {path}\nSHA-256: {weights.fingerprint(path)}…")


@app.command()
@common.command
def pull(
    names: Annotated[list[str], typer.Argument(metavar="OWNER/NAME[@REVISION]…")],
    force: Annotated[bool, typer.Option("--force", help="Fetch what is in the cache too.")] = False,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Fetch models from the hub into its cache, checked; prints where each lies."""
    for name in names:
        common.say(f"fetching {name} …")
        path = hub.fetch(name, force=force)
        info = weights.inspect(path)
        commit = path.parent.name
        if as_json:
            line = _described(info) | {"model": name, "file": str(path), "commit": commit}
            print(json.dumps(line))
        else:
            common.say(f"{info.name}, {card.resolution(info)}, commit {commit}")
            print(path)


@app.command()
@common.command
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]…", help="All the bundled ones if none.")
    ] = None,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Check that models are whole and make what they made when they were saved. On the CPU."""
    from make_it_real import probe

    bad: WeightsError | None = None
    for name in names or list(weights.bundled()):
        try:
            path = weights.resolve(name)
            found = probe.check(path)
        except WeightsError as error:
            # The other models are still looked at; the exit code is that of the failure.
            bad = error
            common.complain(str(error))
            continue
        if as_json:
            print(json.dumps({"model": name, "file": str(path), "ok": True, **found}))
        else:
            print(
                f"{name}: whole; {found['seeds']} probe images differ by at most "
                f"{found['difference']} of 255 levels; sha256 {weights.fingerprint(path)}…"
            )
    if bad is not None:
        raise typer.Exit(bad.exit_code)


@app.command()
@common.command
def push(
    model: Name,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, made if it isn't there [main].")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Send a model to the hub with its critic, a sample grid and a card. Prints the commit."""
    path = weights.resolve(model)
    weights.inspect(path)
    hub.split_name(repo)

    from make_it_real import pretrained

    print(pretrained.push_file(path, repo, revision=revision, private=private or None))


@app.command()
@common.command
def export(
    model: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    kind: Annotated[
        Literal["onnx", "pt2"] | None, typer.Option("--format", help="By the name's end if none.")
    ] = None,
    overwrite: common.Overwrite = False,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
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
    path = weights.resolve(model)

    from make_it_real import export

    difference = export.FORMATS[kind](weights.load(path), output)
    common.say(f"at most {difference:.1g} from torch over {len(export.SEEDS)} images")
    print(output)


def _described(info: weights.ModelInfo) -> dict[str, Any]:
    fields = asdict(info)
    kept = ("name", "data", "licence", "objective", "steps", "version", "figures")
    return {name: fields[name] for name in kept} | {"resolution": card.resolution(info)}
