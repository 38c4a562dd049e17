"""Images out of noise: those that ``mir generate`` makes of the same seeds."""

from typing import Any

from make_it_real.app import answers
from make_it_real.app.fields import Fields
from make_it_real.app.models import Models
from make_it_real.app.real import MOST_STEPS
from make_it_real.inference.projection import generate

MOST_SEEDS = 64


def make(models: Models, fields: Fields) -> dict[str, Any]:
    """Make an image of each seed: f^steps(z). Fields: model, seeds, steps."""
    model = models.maker(fields.word("model", "", [one["name"] for one in models.about()]))
    seeds = fields.seeds("seeds", MOST_SEEDS)
    steps = fields.integer("steps", 1, 1, MOST_STEPS)
    images = generate(model.f, seeds, steps).cpu()
    text = model.text(steps)
    return {
        "images": [
            {"seed": seed, "image": answers.png(image, {**text, "seed": str(seed)})}
            for seed, image in zip(seeds, images, strict=True)
        ]
    }
