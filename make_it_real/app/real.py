"""A picture made real: what ``mir project`` makes of it, and the way there."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from make_it_real.app import answers, commands
from make_it_real.app.fields import Fields
from make_it_real.app.models import AUTO, Loaded, Models
from make_it_real.errors import NoFaceError, RequestError
from make_it_real.images import encode
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Whole, fit_all
from make_it_real.images.paste_back import Outcome, finished, outcome
from make_it_real.images.pixels import mean_abs
from make_it_real.inference import plots, whole
from make_it_real.inference.projection import (
    DEFAULT_BATCH,
    LEAST_SIDE,
    project,
    project_with_change,
)
from make_it_real.inference.scoring import percentile
from make_it_real.inference.variations import Variations
from make_it_real.models.unet import UNet
from make_it_real.weights.model_file import DEFAULT_MODEL

MOST_STEPS, MOST_NOISE, MOST_VARIANTS = 16, 2.0, 12
# Applications of f that are shown one by one.
SHOWN_STEPS = 3


@dataclass(frozen=True)
class Wish:
    """What is to be done with a picture: k, and the variations, if any.

    drawn: the picture is a whole sheet. details: the single steps are shown, and what changed.
    """

    steps: int
    variations: Variations
    drawn: bool
    details: bool

    @classmethod
    def of(cls, fields: Fields) -> "Wish":
        """Read a request. Raises RequestError."""
        steps = fields.integer("steps", 1, 1, MOST_STEPS)
        noise = fields.number("noise", 0, 0, MOST_NOISE)
        first, n = fields.integer("seed", 0, 0, 2**62), fields.integer("n", 1, 1, MOST_VARIANTS)
        variations = Variations()
        if noise:
            variations = Variations((noise,), tuple(range(first, first + n)), files=True)
        # What was changed beside the noise can't be told.
        details = fields.flag("details") and not noise
        return cls(steps, variations, fields.flag("drawn"), details)


def make_real(models: Models, fields: Fields) -> dict[str, Any]:
    """Apply f^steps to a picture.

    Fields: picture; model, or auto; steps; noise, and n variants from a seed on; drawn and details
    as in ``Wish``.
    """
    picture, wish = fields.picture(), Wish.of(fields)
    name = fields.word("model", AUTO, (AUTO, *(one["name"] for one in models.about())))
    if name == AUTO and wish.variations.noise:
        # Photographs are repaired, where noise would only be more damage.
        name = DEFAULT_MODEL
    model, why = models.for_picture(name, picture)
    if model.size:
        answer = _framed(model, picture, wish)
    elif wish.variations.noise:
        raise RequestError(f"{model.info.name} repairs pictures and makes nothing new out of noise")
    else:
        answer = _whole(model, picture, wish)
    height, width = picture.colour.shape[1:]
    way = commands.Way(model, wish.steps, wish.variations, wish.drawn and model.framing.faces)
    return answer | {
        "size": model.size, "model": model.name, "chosen": name == AUTO, "why": why,
        "width": width, "height": height, "warnings": [*picture.warnings, *answer["warnings"]],
        "noise": bool(wish.variations.noise), "shell": way.shell(chosen=name == AUTO),
        # In Python, a picture that f can't be applied to is an error.
        "python": "" if answer["reason"] else way.python(),
    }  # fmt: skip


def shown(models: Models, fields: Fields) -> dict[str, Any]:
    """Show a picture that a browser can't read, as a PNG. Fields: picture."""
    picture = fields.picture()
    return {"image": answers.png(picture.colour * 2 - 1, alpha=picture.alpha)}


def _whole(model: Loaded, picture: Picture, wish: Wish) -> dict[str, Any]:
    """Restore a picture at its own size."""
    if min(picture.colour.shape[1:]) < LEAST_SIDE:
        made = outcome(picture, (), restore=True)
        reason = f"a side has less than {LEAST_SIDE} pixels"
        return _answer(model, picture, [made], wish, reason=reason)
    f = cast(UNet, model.f)
    done = whole.restore(f, picture, wish.steps)
    answer = _answer(model, picture, [done.outcome], wish)
    if wish.details:
        answer["heat"] = answers.png(plots.heat_map(picture.colour, done.outcome.image))
        path = []
        for k in range(1, SHOWN_STEPS + 1):
            # A first step that is all of the result is not computed again.
            one = done if k == wish.steps == 1 else whole.restore(f, picture)
            picture = replace(picture, colour=one.outcome.image / 2 + 0.5)
            path.append({"image": answers.small(one.outcome.image), "moved": one.drift})
        answer["path"] = path
    return answer


def _framed(model: Loaded, picture: Picture, wish: Wish) -> dict[str, Any]:
    """Bring a picture to the model's size, apply f^steps, and paste back what it changed."""
    framing = model.framing
    # A sheet that was drawn on is the frame itself, for a model of faces.
    how: Whole = "crop" if wish.drawn and framing.faces else "auto"
    try:
        fitted = fit_all(picture, model.size, model.f.config.channels, framing, how=how)
    except NoFaceError as error:
        made = outcome(picture, (), restore=True)
        return _answer(model, picture, [made], wish, reason=str(error))
    x = torch.stack([one.image for one in fitted])
    fx, change = (part.cpu() for part in project_with_change(model.f, x))
    path = [fx]
    while len(path) < max(wish.steps, SHOWN_STEPS if wish.details else 1):
        path.append(project(model.f, path[-1]).cpu())
    variants = path[wish.steps - 1][:, None]
    if wish.variations.noise:
        variants = wish.variations.project(
            model.f, x, wish.steps, batch=DEFAULT_BATCH, strength=1.0
        ).cpu()
    larger = max(picture.colour.shape[1:]) > model.size
    drawn = wish.drawn or fitted[0].drawn
    restore = larger and framing.background is None and not drawn
    outcomes = [
        outcome(picture, list(zip(fitted, y, strict=True)), restore=restore)
        for y in variants.unbind(1)
    ]
    answer = _answer(model, picture, outcomes, wish, warnings=fitted[0].warnings)
    answer["notes"] = list(dict.fromkeys(note for one in fitted for note in one.done))
    answer["seen"] = answers.png(x[0])
    answer["own_size"] = restore
    if model.quantiles:
        ranks = [percentile(model.quantiles, one) for one in change.abs().mean((1, 2, 3)).tolist()]
        answer["realness"] = answers.realness(max(ranks))
    if wish.details:
        given = picture.colour if restore else finished(picture, fitted[0], x[0])[0] / 2 + 0.5
        answer["heat"] = answers.png(plots.heat_map(given, outcomes[0].image))
        answer["path"] = _path(x, path)
    return answer


def _path(x: Tensor, path: list[Tensor]) -> list[dict[str, Any]]:
    """Show the first image under f, f², f³, and how far each step moved all of them."""
    moved = [float(mean_abs(b, a).mean()) for a, b in zip([x, *path], path, strict=False)]
    shown = zip(path[:SHOWN_STEPS], moved, strict=False)
    return [{"image": answers.png(y[0]), "moved": one} for y, one in shown]


def _answer(
    model: Loaded, picture: Picture, outcomes: list[Outcome], wish: Wish, *, reason: str = "",
    warnings: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    """Encode outcomes as ``mir project`` does, and say what became of the picture."""
    text, first = model.text(wish.steps), outcomes[0]
    urls = [
        answers.url(
            encode.encode(one.image, text=text | sheet.text(), alpha=one.alpha, bits=one.bits)
        )
        # Where f was not applied, there are no variants.
        for one, sheet in zip(outcomes, wish.variations.sheets(), strict=False)
    ]
    return {
        "own_size": True, "image": urls[0], "variants": urls, "changed": first.changed,
        "share": first.share, "reason": reason, "realness": "", "warnings": list(warnings),
        "notes": list(picture.notes),
    }  # fmt: skip
