"""mir evaluate of a model for photographs of any size."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import options
from make_it_real.cli import sections as sections_display
from make_it_real.cli.console import detail, say
from make_it_real.errors import DataError
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.data.image_folder import Ref
    from make_it_real.evaluation.peers import Peer
    from make_it_real.evaluation.report import Report
    from make_it_real.models.ign import IGN


Size = tuple[int, int]
# Pictures, and width and height that are taken of each, for a first look.
QUICK, QUICK_CROP = 8, (256, 256)
# Side of the smallest pictures.
LEAST_SIDE = 8
STAGE = "photographs"

Crop = Annotated[
    str | None,
    typer.Option(
        "--crop", metavar="WxH",
        help="Part of each photograph to take, from its top left, as in 320x256 [all].",
    ),
]  # fmt: skip
Peers = Annotated[
    bool,
    typer.Option(
        "--peers",
        help="Measure other denoisers on the same photographs: those of OpenCV, scikit-image and "
        "bm3d that are installed.",
    ),
]


@dataclass(frozen=True)
class Choices:
    """What to measure on.

    n: number of pictures, the first by name. crop: width and height to take of each at most.
    features: network of the distances. peers: whether f is compared with other denoisers. seed: of
    the damage.
    """

    data: Path
    n: int | None
    crop: Size | None
    features: str
    peers: bool
    seed: int


def takes(model: str) -> bool:
    """Tell whether a model takes images of any size."""
    return model_file.inspect(model_file.resolve(model)).config.get("image_size") == 0


def choose(
    data: Path | None,
    n: int | None,
    crop: str | None,
    quick: bool,
    features: str,
    peers: bool,
    seed: int,
) -> Choices:
    """Read options. Raises BadParameter where one is missing or wrong."""
    if data is None:
        raise typer.BadParameter("DATA is missing: a folder or zip of photographs")
    size = None if crop is None else _parse_crop(crop)
    if quick:
        n, size = n or QUICK, size or QUICK_CROP
    return Choices(data, n, size, features, peers, seed)


def own_figures(report: "Report") -> dict[str, float]:
    """List the figures of the model itself, by name, without its peers' and its speed."""
    figures = (one for group in report.groups if group.section != "speed" for one in group.entries)
    return {figure.name: figure.value for figure in figures if not figure.by}


def _parse_crop(text: str) -> Size:
    """Parse "320x256": width and height. Raises BadParameter."""
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text)
    if match is None or min(int(match[1]), int(match[2])) < LEAST_SIDE:
        raise typer.BadParameter(
            f"--crop {text}: width and height, of {LEAST_SIDE} pixels or more, as in 320x256"
        )
    return int(match[1]), int(match[2])


def evaluate(choices: Choices, model: str, device: str, dtype: str, plain: bool) -> "Report":
    """Measure a model on photographs. plain: print figures as lines, too."""
    f, info, fingerprint = options.load_model(model, device, dtype=dtype)

    from make_it_real.degradations.kinds import kept_out
    from make_it_real.evaluation import feature_extractors, photographs
    from make_it_real.evaluation.report import PHOTOGRAPH_NOTES, Report

    refs, first = _list(choices)
    extractor = feature_extractors.load(choices.features, f.config.channels, 0, f.device)
    if extractor is None:
        say("no features, so no distances: pip install 'make-it-real[lite0]' for them")
    peers = _peers() if choices.peers else {}
    crop = "all" if choices.crop is None else f"{'×'.join(map(str, choices.crop))} from top left"
    facts = {
        "model": f"{info.name} (sha256 {fingerprint}…)",
        "data": f"{choices.data.name}, {len(refs):,} pictures", "part of each": crop,
        "features": f"{extractor.name} (sha256 {extractor.version}…)" if extractor else "none",
        "peers": ", ".join(peer.title for peer in peers.values()) or "none",
        "seed": str(choices.seed), "device": _describe(f),
        "dtype": str(f.precision).removeprefix("torch."),
    }  # fmt: skip
    seconds = photographs.seconds(f, first, len(refs), extractor, peers)
    say(f"this takes about {sections_display.about(seconds)} on this machine")
    notes, kinds = PHOTOGRAPH_NOTES, kept_out(f.config.channels, any_size=True)
    results = Report(f"mir evaluate: {info.name}", facts, kept_out=kinds, notes=notes)
    with sections_display.bars({STAGE: len(refs) * (1 + len(photographs.DAMAGE))}) as tick:
        pictures = _pictures(refs, choices.crop, detail)
        for group in photographs.evaluate(
            f, pictures, extractor=extractor, peers=peers, seed=choices.seed,
            tick=partial(tick, STAGE),
        ):  # fmt: skip
            results.groups.append(group)
            sections_display.print_lines(group.figures if plain else {})
    return results


def _list(choices: Choices) -> "tuple[list[Ref], Tensor]":
    """List the pictures, and read the first. Raises DataError where there is none."""
    from make_it_real.data.image_folder import list_images

    if not choices.data.exists():
        raise DataError(f"{choices.data}: no such file or folder")
    refs = list_images(choices.data, set()).refs[: choices.n]
    first = next(_pictures(refs, choices.crop), None)
    if first is None:
        raise DataError(f"{choices.data}: holds no picture that can be read")
    return refs, first


def _pictures(
    refs: "list[Ref]", crop: Size | None, skip: Callable[[str], None] = lambda reason: None
) -> "Iterator[Tensor]":
    """Read pictures one by one: uint8 (3, H, W). skip: called with why one is left out."""
    from make_it_real.data.image_folder import decode_pictures
    from make_it_real.images.pixels import on_white, to_channels, to_pixels

    width, height = crop or (None, None)
    for ref, picture in zip(refs, decode_pictures(refs), strict=True):
        if isinstance(picture, str):
            skip(picture)
        elif min(picture.colour.shape[1:]) < LEAST_SIDE:
            skip(f"{ref[1] or ref[0]}: a side is under {LEAST_SIDE} pixels")
        else:
            yield to_pixels(to_channels(on_white(picture)[:, :height, :width], 3)).contiguous()


def _peers() -> "dict[str, Peer]":
    """List the peers that are installed, and say which are not."""
    from make_it_real.evaluation.peers import PEERS, installed

    peers = installed()
    if missing := [peer for name, peer in PEERS.items() if name not in peers]:
        titles = ", ".join(peer.title for peer in missing)
        packages = " ".join(dict.fromkeys(word for p in missing for word in p.packages))
        say(f"peers that are not installed: {titles} (pip install {packages})")
    return peers


def _describe(f: "IGN") -> str:
    """Describe the device that f is on, and on a CPU the number of threads."""
    import torch

    threads = torch.get_num_threads()
    return f"{f.device}, {threads} threads" if f.device.type == "cpu" else str(f.device)
