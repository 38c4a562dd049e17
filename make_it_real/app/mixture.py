"""Between seeds and pictures, and sums of them: what ``mir interpolate`` and ``mir mix`` make."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from make_it_real.app import answers, commands
from make_it_real.app.fields import Fields
from make_it_real.app.models import Loaded, Models
from make_it_real.app.real import MOST_STEPS
from make_it_real.errors import NoFaceError
from make_it_real.images.framing import fit_all
from make_it_real.inference import plots
from make_it_real.inference.interpolation import (
    Operand,
    interpolate,
    mix,
    place_between,
    seed_operand,
)
from make_it_real.inference.projection import project

MOST_OPERANDS, MOST_FRAMES, MOST_WEIGHT = 3, 60, 4.0
FRAMES = 24


@dataclass(frozen=True)
class End:
    """One of what is mixed, and where it is from."""

    operand: Operand
    source: commands.Source


def mixed(models: Models, fields: Fields) -> dict[str, Any]:
    """Mix two or three operands, and apply f^steps.

    Fields: model; operands, each a seed or a picture, with a weight where they are summed; sum;
    place, from 0 at the first to 1 at the second, and 2 at the third; steps.
    """
    model, ends, steps = _given(models, fields)
    operands = [one.operand for one in ends]
    said: commands.Between | commands.Sum
    if fields.flag("sum"):
        weights = [
            one.number("weight", 1.0, -MOST_WEIGHT, MOST_WEIGHT)
            for one in fields.parts("operands", 2, MOST_OPERANDS)
        ]
        y = mix(model.f, list(zip(weights, operands, strict=True)))
        said = commands.Sum(model, steps, [one.source for one in ends], weights)
    else:
        place = fields.number("place", 0.5, 0, len(operands) - 1)
        y = place_between(model.f, operands, place)
        said = commands.Between(model, steps, [one.source for one in ends], place, FRAMES)
    fy = project(model.f, y[None], steps).cpu()[0]
    return {
        "image": answers.png(fy, model.text(steps)), "before": answers.png(y),
        "shell": said.shell(), "python": said.python(), "note": said.note(),
    }  # fmt: skip


def ends(models: Models, fields: Fields) -> dict[str, Any]:
    """Show what the operands are to f: f^steps of each alone. Fields as for ``mixed``."""
    model, operands, steps = _given(models, fields, least=1)
    made = [project(model.f, one.operand.image[None], steps).cpu()[0] for one in operands]
    return {"images": [answers.png(image) for image in made]}


def animated(models: Models, fields: Fields) -> dict[str, Any]:
    """Make an animation of the way from the first operand to the last. Fields: also frames."""
    model, ends, steps = _given(models, fields)
    n = fields.integer("frames", FRAMES, 2, MOST_FRAMES)
    operands = [one.operand for one in ends]
    images = project(model.f, interpolate(model.f, operands, n), steps).cpu()
    labels = [f"t = {i / (n - 1):.2f}" for i in range(n)]
    return {"image": answers.url(plots.animation(list(images), labels, "WEBP"), "webp")}


def _given(models: Models, fields: Fields, least: int = 2) -> tuple[Loaded, list[End], int]:
    """Read what all of these requests have: (model, ends, steps)."""
    model = models.maker(fields.word("model", "", [one["name"] for one in models.about()]))
    parts = fields.parts("operands", least, MOST_OPERANDS)
    ends = [_end(model, one, f"picture{i}.png") for i, one in enumerate(parts, 1)]
    return model, ends, fields.integer("steps", 1, 1, MOST_STEPS)


def _end(model: Loaded, fields: Fields, file: str) -> End:
    """Read a seed or a picture, brought to the model's size. file: what the picture is called."""
    if fields.has("seed"):
        seed = fields.integer("seed", 0, 0, 2**63 - 1)
        return End(seed_operand(model.f, seed), commands.Source(seed=seed))
    image, crop = framed(model, fields)
    return End(Operand(file, image), commands.Source(file, crop=crop))


def framed(model: Loaded, fields: Fields) -> tuple[Tensor, bool]:
    """Bring the picture of a request to the model's size: (the image (C, S, S), it was cropped).

    A sheet that was drawn on, and a picture without a face, is taken whole, as its square.
    """
    picture, drawn = fields.picture(), fields.flag("drawn") and model.framing.faces
    shape = model.size, model.f.config.channels, model.framing
    if not drawn:
        with suppress(NoFaceError):
            return fit_all(picture, *shape)[0].image, False
    return fit_all(picture, *shape, how="crop")[0].image, True
