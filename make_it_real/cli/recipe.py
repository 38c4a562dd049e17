"""What mir train's options say of how to train."""

from typing import Any

import typer

from make_it_real.cli import common


def named(damage: str | None, laws: str | None, **numbers: float | None) -> dict[str, Any]:
    """The fields of TrainConfig that these options name, as far as one can tell without a model.

    numbers: fields by name, None where the option is not given.
    """
    from make_it_real.training import TrainConfig

    changes: dict[str, Any] = {}
    for option, name, text in (("--damage", "damage", damage), ("--laws", "laws", laws)):
        if text is not None:
            changes[name] = tuple(text.split(",")) if text else ()
            try:
                TrainConfig(**{name: changes[name]})
            except ValueError as error:
                raise typer.BadParameter(f"{option}: {error}") from error
    return changes | {name: value for name, value in numbers.items() if value is not None}


def check_damage(kinds: tuple[str, ...], channels: int) -> None:
    from make_it_real import degradations

    try:
        degradations.check_damage(kinds, channels)
    except ValueError as error:
        raise typer.BadParameter(f"--damage: {error}") from error


def against_memorising(n: int, augment: float | None, watched: bool) -> dict[str, Any]:
    """The settings that keep f from learning n images by heart, announced on stderr."""
    from make_it_real.augmentation import share_for
    from make_it_real.holdout import LEAST, share_out

    share = share_for(n) if augment is None else augment
    if share:
        common.say(
            f"{n:,} images: {share:.0%} of what the critic sees, real and made alike, is moved, "
            f"masked or lit at random (--augment)"
        )
    if watched and n < LEAST:
        common.say(f"under {LEAST} images none is held out: training runs to its last step")
    return {"augment": share, "hold_out": share_out(n) if watched else 0}
