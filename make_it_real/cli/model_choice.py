"""The model that mir project works with: the one named, or for each picture one that is chosen."""

from typing import TYPE_CHECKING, Any

import typer

from make_it_real.cli import options, variations
from make_it_real.errors import WeightsError

if TYPE_CHECKING:
    from make_it_real.inference.choice import Auto
    from make_it_real.inference.settings import Model
    from make_it_real.models.ign import IGN
    from make_it_real.weights.model_file import ModelInfo


def load(
    model: str, device: str, described: bool, steps: int, dtype: str, **given: Any
) -> "Model | Auto":
    """Load the model of a name, or of "auto" what loads one for each picture.

    described: whether each PNG says which model made it. dtype: what f computes in. given:
    options to check for the model.
    """
    from make_it_real import devices
    from make_it_real.images import encode
    from make_it_real.inference.choice import Auto

    def one(name: str) -> "Model":
        f, info, fingerprint = options.load_model(name, device, dtype=dtype)
        if model != options.AUTO:
            _check(info.name, any_size=not info.config["image_size"], **given)
        text = encode.provenance(info.name, fingerprint, steps, f.precision) if described else {}
        return _model(f, info, name, text)

    if model != options.AUTO:
        return one(model)
    _check("", any_size=True, **given)
    return Auto(devices.pick(device), one)


def _check(
    name: str, any_size: bool, *, fit: str, invert: bool | None, crop: bool, scale: int,
    tile: int | None, noise: bool,
) -> None:  # fmt: skip
    """Refuse options that a model of any size has no use for, and those of no other model.

    name: of the model, "" where one is chosen for each picture.
    """
    if tile and not any_size:
        raise typer.BadParameter(f"--tile is for models of photographs, which {name} isn't")
    if any_size:
        from make_it_real.inference.whole import MAX_SCALE

        if scale > MAX_SCALE:
            raise typer.BadParameter(f"--scale: photographs are enlarged up to {MAX_SCALE} times")
        options.refuse([(noise, "--noise")], variations.WHY_NOT.format(name=name))
        given = ((fit != "auto", "--fit"), (invert, "--invert"), (crop, "--crop"))
        why = options.as_they_are(name) if name else "is for one model: name it by -m"
        options.refuse(given, why)


def _model(f: "IGN", info: "ModelInfo", name: str, text: dict[str, str]) -> "Model":
    """Return f with what its header says of it. name: as it was given. text: for each PNG."""
    from make_it_real.images.framing import described
    from make_it_real.inference.scoring import checked
    from make_it_real.inference.settings import Model

    try:
        quantiles = checked(info.calibration) if info.calibration else None
    except WeightsError:
        quantiles = None
    return Model(f, described(info.framing), name, quantiles, text)
