"""Options that commands share, and their parsers.

Nothing here imports torch, so that --help and wrong usage answer at once.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from make_it_real.cli.console import detail, say
from make_it_real.cli.help import INPUT, MODEL, OUTPUT
from make_it_real.errors import ImageError, SourceError
from make_it_real.weights import model_file

if TYPE_CHECKING:
    import torch

    from make_it_real.models.ign import IGN
    from make_it_real.weights.model_file import ModelInfo


def model_names() -> list[str]:
    return [*model_file.bundled(), *model_file.ALIASES]


MODEL_HELP = (
    "faces, photos, mnist (or digits), fashion (or clothes); a .safetensors file, a folder or "
    "owner/name[@revision]."
)
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", envvar="MIR_MODEL", autocompletion=model_names, metavar="MODEL",
        rich_help_panel=MODEL, help=MODEL_HELP,
    ),
]  # fmt: skip
AUTO = "auto"
ModelOrAuto = Annotated[
    str,
    typer.Option(
        "--model", "-m", envvar="MIR_MODEL", autocompletion=model_names, metavar="MODEL",
        rich_help_panel=MODEL,
        help=f"{MODEL_HELP} auto takes photos for photographs, and faces for drawings.",
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        "--device", "-d", envvar="MIR_DEVICE", metavar="DEVICE", rich_help_panel=MODEL,
        help="Device: auto, cpu, cuda[:n] or mps.",
    ),
]  # fmt: skip
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(
        "--dtype", rich_help_panel=MODEL,
        help="Numbers that f computes in. bfloat16 is up to twice as fast on GPUs and processors "
        "that have it, and moves many pixels by one 8-bit level and few by more; auto takes it "
        "there for models of photographs.",
    ),
]  # fmt: skip
Steps = Annotated[
    int, typer.Option("--steps", "-k", min=1, metavar="K", help="Number of times f is applied.")
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch", min=1, metavar="N", rich_help_panel=MODEL,
        help="Number of images at once; halved where memory runs out.",
    ),
]  # fmt: skip
Scale = Annotated[
    int,
    typer.Option(
        "--scale", min=1, max=32, metavar="N", rich_help_panel=OUTPUT,
        help="Enlarge what is saved N times, without smoothing.",
    ),
]  # fmt: skip
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace files that exist."),
]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object a line.")
]


def parse_seeds(text: str) -> list[int]:
    """ "0-3,80" → [0, 1, 2, 3, 80]. Raises ValueError."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError as error:
            raise ValueError(f"{text!r} is no list of seeds such as 5, 0-63 or 0-63,80") from error
        if high < low or high - low >= 10_000_000 or high >= 2**63:
            raise ValueError(f"not a range of seeds: {part.strip()}")
        seeds += range(low, high + 1)
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is named twice")
    return seeds


def output_path(output: str | None) -> tuple[Path | None, bool]:
    """Read -o: (path, or None for the default and for stdout; whether it ends in a slash)."""
    if output == "":
        raise typer.BadParameter("-o is empty; give a file or a folder")
    if output is None or output == "-":
        return None, False
    return Path(output), output.endswith(("/", os.sep))


def check_own(model: str, overwrite: bool) -> Path:
    """The path of a model that is to be rewritten; a usage error for one that is not the user's.

    That is one that comes with the package, or lies in the hub's cache.
    """
    path = model_file.resolve(model)
    bundled = {each.resolve() for each in model_file.bundled().values()}
    own = Path(model).expanduser().exists() and path.resolve() not in bundled
    if not own and not overwrite:
        raise typer.BadParameter(
            f"{model} is not a model of your own: --overwrite writes into {path} all the same, "
            "or name a copy by -m"
        )
    return path


def load_model(
    model: str, device: str, *, makes: bool = False, dtype: str = "float32"
) -> "tuple[IGN, ModelInfo, str]":
    """Load (f on its device, the header of its file, the file's fingerprint).

    makes: images of its own are asked of the model. SourceError where it has none. dtype: what f
    computes in, as for ``devices.precision``.
    """
    path = model_file.resolve(model)
    info = model_file.inspect(path)
    if makes and info.repairs:
        others = ", ".join(model_file.makers())
        raise SourceError(
            f"{info.name} repairs pictures (mir project) and has none of its own to make; "
            f"name one by -m that has: {others}"
        )

    from make_it_real import devices
    from make_it_real.models.ign import place
    from make_it_real.weights import pretrained

    chosen = devices.pick(device)
    f = place(pretrained.load(path), chosen)
    f.precision = devices.precision(dtype, chosen, repairs=info.repairs)
    fingerprint = model_file.fingerprint(path)
    short = str(f.precision) == "torch.bfloat16"
    say(f"{info.name} on {f.device}" + ", in bfloat16" * short)
    if short:
        warn_of_bfloat16(chosen)
    detail(f"{path} (sha256 {fingerprint}…): {info.steps:,} steps on {info.data}")
    return f, info, fingerprint


def warn_of_bfloat16(device: "torch.device") -> None:
    """Say where bfloat16 is slower than float32."""
    from make_it_real.devices import fast_bf16

    if not fast_bf16(device):
        say("this device has no bfloat16 of its own: --dtype float32 is faster")


def check_frame(info: "ModelInfo", fit: "FitWord", invert: bool | None) -> None:
    """Refuse options that say how a picture is framed for a model that takes it as it is."""
    if info.config.get("image_size") == 0:
        refuse(((fit != "auto", "--fit"), (invert is not None, "--invert")), as_they_are(info.name))


def as_they_are(name: str) -> str:
    """Say why an option is refused for a model of any size."""
    return f"is not for {name}, which takes pictures as they are"


def refuse(given: Iterable[tuple[object, str]], why: str) -> None:
    """Raise BadParameter for the first option that was given. given: (whether it was, its name)."""
    for was_given, option in given:
        if was_given:
            raise typer.BadParameter(f"{option} {why}")


Gallery = Annotated[
    Path | None,
    typer.Option(
        "--gallery", metavar="X.html", rich_help_panel=OUTPUT,
        help="Page to write, with each image before and after.",
    ),
]  # fmt: skip
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", rich_help_panel=INPUT, help="Search subfolders.")
]
Invert = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert",
        rich_help_panel=INPUT,
        help="Swap dark and bright, or never [as the picture needs].",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile", min=64, metavar="N", rich_help_panel=MODEL,
        help="Side in pixels of the tiles that a large photograph is worked off in [1024]; less "
        "takes less memory and more time. For models of photographs.",
    ),
]  # fmt: skip
RestoreSize = Annotated[
    bool | None,
    typer.Option(
        "--restore-size/--crop", rich_help_panel=OUTPUT,
        help="Paste f's change back at the input's own size; or write only what f works on, at "
        "the model's size, a file for each face [own size for photographs].",
    ),
]  # fmt: skip
OutputFormat = Annotated[
    Literal["png", "jpg", "webp", "same"] | None,
    typer.Option(
        "--format", rich_help_panel=OUTPUT,
        help="Format of the results: png, jpg, webp, or same as the input's [png].",
    ),
]  # fmt: skip
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", min=1, max=100, rich_help_panel=OUTPUT,
        help="Quality of JPEG [95] and WebP [lossless].",
    ),
]  # fmt: skip
PngLevel = Annotated[
    int | None,
    typer.Option(
        "--png-level", min=0, max=9, metavar="N", rich_help_panel=OUTPUT,
        help="Compression of PNG: 0 none, 9 smallest and slowest [6; large pictures faster].",
    ),
]  # fmt: skip
KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata", rich_help_panel=OUTPUT,
        help="Copy EXIF and colour profile to the results.",
    ),
]  # fmt: skip
NoMetadata = Annotated[
    bool,
    typer.Option(
        "--no-metadata", rich_help_panel=OUTPUT,
        help="Write pixels only, without the text that names the model.",
    ),
]  # fmt: skip
FitWord = Literal["auto", "faces", "pad", "crop", "stretch"]
Fit = Annotated[
    FitWord,
    typer.Option(
        "--fit", metavar="HOW", rich_help_panel=INPUT,
        help="Part of a picture to take: auto, faces, pad, crop or stretch. auto takes what is "
        "drawn, or faces for a model of faces; pad and stretch take the whole, crop a square.",
    ),
]  # fmt: skip
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, globs, or - for stdin.")]


def check(path: Path | None, option: str, suffixes: Sequence[str], overwrite: bool) -> None:
    """Refuse, before any work, an output with another suffix or one that exists."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise typer.BadParameter(f"{option} {path}: must end in {' or '.join(suffixes)}")
    if os.path.lexists(path) and not overwrite:
        raise ImageError(f"{path} exists; --overwrite replaces it")
