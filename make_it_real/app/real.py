"""A picture made real: what ``mir project`` makes of it, and the way there."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from make_it_real.app import answers, commands
from make_it_real.app.fields import Fields
from make_it_real.app.models import AUTO, Loaded, Models
from make_it_real.errors import NoFaceError
from make_it_real.images import encode
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Fitted, Whole, fit_all
from make_it_real.images.paste_back import Outcome, finished, outcome
from make_it_real.images.pixels import mean_abs
from make_it_real.inference import plots, whole
from make_it_real.inference.projection import LEAST_SIDE, project, project_with_change
from make_it_real.inference.scoring import percentile
from make_it_real.models.unet import UNet

MOST_STEPS = 16
# Applications of f that are shown one by one.
SHOWN_STEPS = 3


def make_real(models: Models, fields: Fields) -> dict[str, Any]:
    """Apply f^steps to a picture.

    Fields: picture; model, or auto; steps; drawn, whether the picture is a whole drawing sheet;
    details, whether to show the single steps and what changed.
    """
    picture = fields.picture()
    name = fields.word("model", AUTO, (AUTO, *(one["name"] for one in models.about())))
    steps = fields.integer("steps", 1, 1, MOST_STEPS)
    drawn, details = fields.flag("drawn"), fields.flag("details")
    model, why = models.for_picture(name, picture)
    if model.size:
        answer = _framed(model, picture, steps, drawn=drawn, details=details)
    else:
        answer = _whole(model, picture, steps, details=details)
    height, width = picture.colour.shape[1:]
    crop = drawn and model.framing.faces
    return answer | {
        "size": model.size, "model": model.name, "chosen": name == AUTO, "why": why, "steps": steps,
        "width": width, "height": height, "warnings": [*picture.warnings, *answer["warnings"]],
        "shell": commands.shell(model, steps, chosen=name == AUTO, crop=crop),
        "python": commands.python(model, steps, crop=crop),
    }  # fmt: skip


def shown(models: Models, fields: Fields) -> dict[str, Any]:
    """Show a picture that a browser can't read, as a PNG. Fields: picture."""
    picture = fields.picture()
    return {"image": answers.png(picture.colour * 2 - 1, alpha=picture.alpha)}


def _whole(model: Loaded, picture: Picture, steps: int, *, details: bool) -> dict[str, Any]:
    """Restore a picture at its own size."""
    if min(picture.colour.shape[1:]) < LEAST_SIDE:
        reason = f"a side has less than {LEAST_SIDE} pixels"
        return _answer(model, picture, outcome(picture, (), restore=True), steps, reason=reason)
    f = cast(UNet, model.f)
    done = whole.restore(f, picture, steps)
    answer = _answer(model, picture, done.outcome, steps)
    if details:
        answer["heat"] = answers.png(plots.heat_map(picture.colour, done.outcome.image))
        shown = []
        for k in range(1, SHOWN_STEPS + 1):
            # A first step that is all of the result is not computed again.
            one = done if k == steps == 1 else whole.restore(f, picture)
            picture = replace(picture, colour=one.outcome.image / 2 + 0.5)
            shown.append({"image": answers.small(one.outcome.image), "moved": one.drift})
        answer["path"] = shown
    return answer


def _framed(
    model: Loaded, picture: Picture, steps: int, *, drawn: bool, details: bool
) -> dict[str, Any]:
    """Bring a picture to the model's size, apply f^steps, and paste back what it changed."""
    framing, reason = model.framing, ""
    # A sheet that was drawn on is the frame itself, for a model of faces.
    how: Whole = "crop" if drawn and framing.faces else "auto"
    fitted: tuple[Fitted, ...] = ()
    try:
        fitted = fit_all(picture, model.size, model.f.config.channels, framing, how=how)
    except NoFaceError as error:
        reason = str(error)
    if not fitted:
        return _answer(model, picture, outcome(picture, (), restore=True), steps, reason=reason)
    x = torch.stack([one.image for one in fitted])
    fx, change = (part.cpu() for part in project_with_change(model.f, x))
    path = [fx]
    while len(path) < max(steps, SHOWN_STEPS if details else 1):
        path.append(project(model.f, path[-1]).cpu())
    y = path[steps - 1]
    larger = max(picture.colour.shape[1:]) > model.size
    restore = larger and framing.background is None and not drawn
    made = outcome(picture, list(zip(fitted, y, strict=True)), restore=restore)
    answer = _answer(model, picture, made, steps, warnings=fitted[0].warnings)
    answer["notes"] = list(dict.fromkeys(note for one in fitted for note in one.done))
    answer["faces"] = len(fitted)
    answer["seen"] = answers.png(x[0])
    if model.quantiles:
        ranks = [percentile(model.quantiles, one) for one in change.abs().mean((1, 2, 3)).tolist()]
        answer["realness"] = answers.realness(max(ranks))
    if details:
        given = picture.colour if restore else finished(picture, fitted[0], x[0])[0] / 2 + 0.5
        answer["heat"] = answers.png(plots.heat_map(given, made.image))
        answer["path"] = _path(x, path)
    return answer


def _path(x: Tensor, path: list[Tensor]) -> list[dict[str, Any]]:
    """Show the first image under f, f², f³, and how far each step moved all of them."""
    moved = [float(mean_abs(b, a).mean()) for a, b in zip([x, *path], path, strict=False)]
    shown = zip(path[:SHOWN_STEPS], moved, strict=False)
    return [{"image": answers.png(y[0]), "moved": one} for y, one in shown]


def _answer(
    model: Loaded, picture: Picture, made: Outcome, steps: int, *, reason: str = "",
    warnings: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    """Encode an outcome as ``mir project`` does, and say what became of the picture."""
    data = encode.encode(made.image, text=model.text(steps), alpha=made.alpha, bits=made.bits)
    own_size = made.image.shape[1:] == picture.colour.shape[1:]
    return {
        "own_size": own_size, "image": answers.url(data), "changed": made.changed, "share": made.share,
        "reason": reason, "realness": "", "warnings": list(warnings), "notes": list(picture.notes),
    }  # fmt: skip
