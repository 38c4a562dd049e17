"""What a run that goes on was begun with: the settings that it keeps, and its images."""

from collections.abc import Mapping
from typing import Any

import torch

from make_it_real.data.dataset import ImageSet
from make_it_real.data.photographs import PhotographSet
from make_it_real.errors import SettingsError
from make_it_real.training.checkpoint import Saved

# Settings that a run keeps, of any objective that has them; the model's stay too.
KEPT = ("flip", "seed", "hold_out", "critic_widths", "projected", "alone")
# Mean levels, out of 255, of so many images tell a data set; another decoder changes them by less.
LEVELS, TOLERANCE = 32, 0.5


def kept(saved: Saved) -> dict[str, Any]:
    """What a run keeps, by the names of options and settings, as it was begun with them."""
    model, config = saved.model, saved.config
    own = {name: getattr(config, name) for name in KEPT if hasattr(config, name)}
    size = saved.images.get("side", model.image_size)
    own |= {"size": size, "channels": model.channels, "source": model.source}
    own |= {"objective": config.objective, "norm": model.norm}
    if "faces" in saved.images:
        own["faces"] = saved.images["faces"]
    return own


def check_kept(saved: Saved, told: Mapping[str, Any]) -> None:
    """Refuse what a run can't change. Raises SettingsError that names what the run has.

    told: what is asked for by names; None is nothing. What the run has already may be told.
    """
    own = kept(saved)
    for name, value in told.items():
        if value is not None and name in own and value != own[name]:
            raise SettingsError(
                f"{name}: a run keeps what it was begun with, {_text(own[name])} "
                f"(not {_text(value)})"
            )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(images: ImageSet | PhotographSet) -> dict[str, Any]:
    """What tells a data set from others, cheap to get: name, number of images, levels of some."""
    index = torch.linspace(0, len(images) - 1, min(LEVELS, len(images))).round().long()
    levels = images.pixels[index].float().mean((1, 2, 3))
    return {"name": images.name, "count": len(images), "levels": levels.tolist()}


def same_images(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one data set. One that says nothing is of any."""
    if "levels" not in before:
        return True
    if (before["name"], before["count"]) != (now["name"], now["count"]):
        return False
    pairs = zip(before["levels"], now["levels"], strict=True)
    return all(abs(a - b) <= TOLERANCE for a, b in pairs)


def check_images(saved: Saved, images: ImageSet | PhotographSet, allowed: bool) -> str:
    """Compare the images with those that a run was begun with; what to say of them, if anything.

    Raises SettingsError for others, unless they are allowed.
    """
    before, now = saved.images, describe(images)
    if same_images(before, now):
        return ""
    texts = [f"{each['name']}, {each['count']:,} images" for each in (before, now)]
    if texts[0] == texts[1]:
        texts[1] = "others of that name and number"
    if not allowed:
        raise SettingsError(
            f"the run was begun on {texts[0]}; these are {texts[1]}: --new-data goes on with them"
        )
    fitted = "" if saved.model.source == "none" else "; z stays as it was fitted to those"
    return f"new data: {texts[1]}, where it was {texts[0]}{fitted}"
