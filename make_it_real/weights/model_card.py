"""A model's card: its header as Markdown to read, and as metadata that the hub sorts by."""

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from make_it_real.weights.model_file import ModelInfo

LIBRARY = "make-it-real"
SAMPLES = "samples.png"
# The figures that a list of models shows; the header has all of them.
HEADLINES = ("fd_f", "fd_ff", "idempotence", "fidelity", "rest_share", "held_out_distance")
# Settings that mir train has options for, and others that any header has.
OPTIONS = ("steps", "batch", "lr", "seed", "damage", "flip", "source")
SETTINGS = ("decay_steps", "augment")
# Of models that make images and of those that repair them: what they do, what the sheet
# ``SAMPLES`` shows, and what they can't do.
GENERATOR = (
    "An idempotent generative network, {}: it maps any image, noise included, onto images like "
    "those it was trained on, in one step.",
    "What it makes of seeds 0 to 63",
    "Whatever it is given becomes something like its training images: what it restores is "
    "plausible, not what was there.",
)
RESTORER = (
    "An idempotent network for pictures of any size: it repairs damage in one step, without being "
    "told what it is. Pixels that need no repair come back exactly as they are.",
    "Damaged images, and what it makes of each below",
    "It knows the kinds of damage that it was trained on; other damage may stay. Where a picture "
    "lacks detail, what it puts there is plausible, not what was there. It makes no images of its "
    "own.",
)
# A figure of damaged images: the kernel distance's name, and the damage.
DISTANCE = re.compile(r"(kd(?:_[a-z0-9]+)?|kid)_(.+)_before")
# Identifiers of licences that the hub knows; others are given as "other", with their name.
LICENCE = re.compile(r"(cc0|cc-by(-nc)?(-sa|-nd)?|mit|apache|bsd|gpl|openrail)[\w.-]*")


def licence_tag(licence: str) -> str | None:
    """Return the hub's identifier: "CC BY-SA 3.0" → "cc-by-sa-3.0"; None for other licences."""
    tag = "-".join(licence.lower().split())
    return tag if LICENCE.fullmatch(tag) else None


def resolution(info: ModelInfo) -> str:
    """Return channels and size in words, such as 1×28×28, or 3×H×W for pictures of any size."""
    size, channels = info.config.get("image_size"), info.config.get("channels")
    return f"{channels}×H×W" if size == 0 else f"{channels}×{size}×{size}"


def headlines(figures: Mapping[str, Any]) -> str:
    """Return those of a model's figures that are in ``HEADLINES``, on one line."""
    chosen = ((name, figures[name]) for name in HEADLINES if name in figures)
    return ", ".join(f"{n} {v:.4g}" for n, v in chosen if isinstance(v, int | float))


def degradations(settings: Mapping[str, Any]) -> dict[str, float]:
    """The kinds of damage that a model learned to repair, with the weight of each.

    settings: a header's ``training``, whose ``damage`` is such weights or a list in which a
    kind stands as often as it weighs.
    """
    damage = settings.get("damage")
    if isinstance(damage, Mapping):
        numbers = {str(kind): n for kind, n in damage.items() if isinstance(n, int | float)}
        return {kind: float(n) for kind, n in numbers.items()}
    return dict(Counter(map(str, damage))) if isinstance(damage, list) else {}


def training_command(info: ModelInfo) -> str:
    """Return the ``mir train`` command of the model, as far as its header has the settings."""
    settings = info.training
    if not settings:
        return ""
    words = ["mir train DATA -o RUN"]
    if settings.get("recipe"):
        words.append(f"--recipe {shlex.quote(str(settings['recipe']))}")
    elif info.config.get("image_size"):
        words.append(f"--size {info.config.get('image_size')}")
        words.append(f"--channels {info.config.get('channels')}")
    if info.objective.startswith("idempotent"):
        words.append("--objective ign")
    if info.objective == "restoration of photographs" and not settings.get("recipe"):
        words.append("--objective photographs")
    if settings.get("start") and not settings.get("recipe"):
        words.append(f"--from {shlex.quote(str(settings['start']).partition(',')[0])}")
    # Headers from before did not say what differs from the defaults of their time.
    listed = settings.get("nondefault")
    if not isinstance(listed, list):
        listed = [name for name in OPTIONS + SETTINGS if name in settings]
    for name in listed:
        if name == "damage" and not degradations(settings):
            continue
        value = _value(_at({**info.config, **settings}, str(name)))
        if name == "flip":
            words += ["--flip"] * (value == "true")
        elif name in OPTIONS:
            words.append(f"--{name} {shlex.quote(value)}")
        else:
            words.append(f"--set {shlex.quote(f'{name}={value}')}")
    return " ".join(words)


def _at(settings: Mapping[str, Any], name: str) -> Any:
    """A setting by its name, one of a group as in ``lambdas.rec``; "" where it is missing."""
    group, _, term = name.partition(".")
    value = settings.get(group, "")
    return value.get(term, "") if term and isinstance(value, Mapping) else value


def _value(value: Any) -> str:
    """A setting's value as the command line takes it."""
    if isinstance(value, list) and all(isinstance(kind, str) for kind in value):
        value = Counter(value)
    if isinstance(value, Mapping):
        return ",".join(k if n == 1 else f"{k}={n:g}" for k, n in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def repairs(figures: Mapping[str, Any]) -> str:
    """Write a table of repairs whose kernel distance was measured, with a blank line after it.

    It shows how real they look, and PSNR and the share unchanged by f where these were measured.
    "" where there is no such figure.
    """
    distances = [match for name in figures if (match := DISTANCE.fullmatch(name))]
    rows = []
    for metric, damage in (match.groups() for match in distances):
        cells = [
            _cell(figures.get(f"{metric}_real"), 1000, 0),
            *(_cell(figures.get(f"{metric}_{damage}_{k}"), 1000, 0) for k in ("before", "after")),
            *(_cell(figures.get(f"psnr_{damage}_{k}"), 1, 1) for k in ("before", "after")),
            _cell(figures.get(f"unchanged_{damage}_before"), 100, 0),
        ]
        rows.append(f"| {damage.replace('_', ' ')} | {' | '.join(cells)} |\n")
    if not rows:
        return ""
    return (
        "How real repairs look is their kernel distance × 1,000 from other real images; *real* is "
        "that of undamaged images. What is *unchanged*, in percent, f takes for real.\n\n"
        "| damage | real | damaged | f | PSNR (dB) damaged | f | unchanged |\n"
        f"| {' | '.join(['---'] * 7)} |\n{''.join(rows)}\n"
    )


def _cell(value: Any, scale: int, digits: int) -> str:
    """Write a figure times ``scale`` with so many digits; "" where there is none."""
    return f"{value * scale:,.{digits}f}" if isinstance(value, int | float) else ""


def text(info: ModelInfo, repo: str = "", *, samples: bool = False) -> str:
    """Write the card as Markdown, without metadata.

    repo: owner/name on the hub, where the model is there. samples: whether the image ``SAMPLES``
    lies beside the card.
    """
    command = training_command(info)
    about, shown, limits = RESTORER if info.repairs else GENERATOR
    parts = [f"# {info.name}", about.format(resolution(info))]
    if samples:
        parts.append(f"![{shown}]({SAMPLES})")
    name = repo or info.name
    make = "" if info.repairs else f"mir generate -m {name} -o made.png\n"
    parts.append(
        f"## Use\n\n```sh\npip install make-it-real\n{make}mir project photo.jpg -m {name}\n```\n\n"
        f'```python\nimport make_it_real\n\nf = make_it_real.IGN.from_pretrained("{name}")\n```'
    )
    facts = {
        "Data": info.data, "Licence": info.licence, "Objective": info.objective,
        "Steps": f"{info.steps:,}" if info.steps else "",
        "Repairs": ", ".join(f"{k} {n:g}" for k, n in degradations(info.training).items()),
        "Made by": f"make-it-real {info.version}",
    }  # fmt: skip
    lines = [f"- {what}: {fact}" for what, fact in facts.items() if fact]
    parts.append("## Training\n\n" + "\n".join(lines))
    if command:
        parts.append(f"```sh\n{command}\n```")
        if "nondefault" not in info.training:
            parts.append(f"With other settings that `mir models info {name} --json` prints.")
    if info.figures:
        rows = "\n".join(f"| {name} | {value} |" for name, value in info.figures.items())
        parts.append(
            "## Figures\n\nAs measured by mir; Fréchet distances (fd) are on features of its own "
            f"and are not FID.\n\n{repairs(info.figures)}| figure | value |\n| --- | --- |\n{rows}"
        )
    parts.append(f"## Limits\n\n{limits}")
    return "\n\n".join(parts) + "\n"


def with_metadata(info: ModelInfo, repo: str) -> str:
    """Write the whole README.md for the hub: YAML metadata, then ``text``."""
    from huggingface_hub import EvalResult, ModelCardData

    tag = licence_tag(info.licence)
    extra: dict[str, Any] = {}
    if info.licence and tag is None:
        extra["license_name"] = info.licence
    task = "image-to-image" if info.repairs else "unconditional-image-generation"
    results = [
        EvalResult(
            task_type=task, dataset_type="images",
            dataset_name=info.data or "unnamed", metric_type=name, metric_value=value,
        )
        for name, value in info.figures.items() if isinstance(value, int | float)
    ]  # fmt: skip
    data = ModelCardData(
        license=tag or ("other" if info.licence else None),
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=["idempotent-generative-network", "image-restoration", "safetensors"],
        datasets=[dataset] if (dataset := _dataset(info.data)) else None,
        metrics=[name for name in HEADLINES if name in info.figures] or None,
        model_name=info.name if results else None,
        eval_results=results or None,
        **extra,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text(info, repo, samples=True)}"


def _dataset(data: str) -> str | None:
    """Return the data set's name as an identifier: "mnist, 60,000 images" → "mnist"."""
    name = "-".join(data.partition(",")[0].lower().split())
    return name if re.fullmatch(r"[\w.-]+", name) else None
