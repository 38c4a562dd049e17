"""Damage, and what f makes of it: x, A(x), f(A(x)), f(f(A(x))), as in the paper's figure."""

import math
from typing import Any

from torch import Tensor

from make_it_real.app import answers, commands
from make_it_real.app.fields import Fields
from make_it_real.app.mixture import framed
from make_it_real.app.models import Loaded, Models
from make_it_real.degradations.kinds import DEGRADATIONS, Degradation, degraded, generator_of
from make_it_real.errors import RequestError
from make_it_real.evaluation.metrics import psnr
from make_it_real.images.pixels import mean_abs, on_white, scaled, to_channels
from make_it_real.inference.projection import LEAST_SIDE, generate, project

# Photographs are reduced to so many pixels, for f to follow a slider.
MOST_PIXELS = 400_000


def about() -> list[dict[str, Any]]:
    """Describe the kinds of damage: name, unit, range, and default of each."""
    return [
        {
            "name": name, "unit": kind.unit, "low": low, "high": high, "level": kind.default,
            "log": kind.log,
        }
        for name, kind in DEGRADATIONS.items()
        for low, high in [_range(kind)]
    ]  # fmt: skip


def _range(kind: Degradation) -> tuple[float, float]:
    """The levels to choose from: those that training draws from, and the default."""
    low, high = min(kind.levels[0], kind.default), max(kind.levels[1], kind.default)
    return (low, high) if low < high else kind.valid


def damaged(models: Models, fields: Fields) -> dict[str, Any]:
    """Damage an image, and repair it.

    Fields: model; a picture, or the seed of an image that the model makes; kind and level of the
    damage, and noise_seed, the seed of its random choices.
    """
    model = models.get(fields.word("model", "", [one["name"] for one in models.about()]))
    kind = fields.word("kind", "noise", DEGRADATIONS)
    damage = DEGRADATIONS[kind]
    low, high = damage.valid
    level = fields.number("level", damage.default, low, min(high, 1e6))
    seed = fields.integer("noise_seed", 0, 0, 2**31)
    x, source = _original(models, model, fields)
    Ax = degraded(x, kind, level, generator=generator_of(seed, source.file))
    f_Ax = project(model.f, Ax).cpu()
    ff_Ax = project(model.f, f_Ax).cpu()
    said = commands.Repair(model, source, kind, level, seed)
    drifts = [None, float(mean_abs(f_Ax, Ax)), float(mean_abs(ff_Ax, f_Ax)), None]
    return {
        "images": [
            {"image": answers.png(y[0].clamp(-1, 1)), "psnr": _psnr(y, x), "drift": drift}
            for y, drift in zip((x, Ax, f_Ax, ff_Ax), drifts, strict=True)
        ],
        "shell": said.shell(), "python": said.python(), "note": said.note(),
    }  # fmt: skip


def _psnr(y: Tensor, x: Tensor) -> float | None:
    """Measure the PSNR of what is shown; None for the same image."""
    value = float(psnr(y.clamp(-1, 1), x))
    return value if math.isfinite(value) else None


def _original(models: Models, model: Loaded, fields: Fields) -> tuple[Tensor, commands.Source]:
    """Return the image to damage, (1, C, H, W), and where it is from."""
    if fields.has("seed"):
        seed = fields.integer("seed", 0, 0, 2**63 - 1)
        x = generate(models.maker(model.name).f, [seed]).cpu()
        return x, commands.Source(f"{seed:06d}.png", seed=seed)
    if model.size:
        image, crop = framed(model, fields)
        return image[None], commands.Source(commands.FILE, crop=crop)
    image = to_channels(on_white(fields.picture()), model.f.config.channels)
    height, width = image.shape[1:]
    factor = min(1.0, math.sqrt(MOST_PIXELS / (height * width)))
    height, width = round(height * factor), round(width * factor)
    if min(height, width) < LEAST_SIDE:
        raise RequestError(f"no side may be under {LEAST_SIDE} pixels")
    size = (height, width) if factor < 1 else None
    x = scaled(image, height, width).clamp(-1, 1)[None]
    return x, commands.Source(commands.FILE, size=size)
