"""Which bundled model a picture goes to, where none is named."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import torch

from make_it_real.images.decode import Picture
from make_it_real.images.face_check import ELSE, log_odds
from make_it_real.images.medium import recognise
from make_it_real.inference.settings import Model

# Side of the images that ``faces`` is trained on.
FACES_SIDE = 64


@dataclass(frozen=True)
class Choice:
    """The model that a picture goes to.

    model: name of a bundled model. why: the reason, in a few words.
    """

    model: Literal["photos", "faces"]
    why: str


def choose(picture: Picture) -> Choice:
    """Choose the model for a picture: ``photos`` for a photograph, ``faces`` for a drawing.

    A photograph is repaired at its own size, the faces in it as everything else. A picture of
    64×64 pixels has the size of the images of ``faces``, and goes there, unless some of it is
    transparent, as icons are, or it clearly shows something else.
    """
    if tuple(picture.colour.shape[1:]) == (FACES_SIDE, FACES_SIDE):
        if picture.alpha is not None:
            return Choice("photos", f"icon: {FACES_SIDE}×{FACES_SIDE} and partly transparent")
        if log_odds(picture.colour[None] * 2 - 1) < ELSE:
            return Choice("photos", f"no face, though {FACES_SIDE}×{FACES_SIDE}")
        return Choice("faces", f"of the model's size, {FACES_SIDE}×{FACES_SIDE}")
    medium = recognise(picture)
    if medium.drawing:
        return Choice("faces", f"drawing: {medium.why}")
    return Choice("photos", f"photograph: {medium.why}")


class Auto:
    """A model for each picture, as ``choose`` says. Several threads use it at once.

    device: where all of them are. load: loads one by its name, which is done when a first picture
    goes there.
    """

    # Photographs are not batched.
    any_size = True

    def __init__(self, device: torch.device, load: Callable[[str], Model]) -> None:
        self.device, self._load = device, load
        self._loaded: dict[str, Model] = {}
        self._lock = Lock()

    def __call__(self, picture: Picture) -> tuple[Model, str]:
        """Return the model for a picture, and why it is that. Raises WeightsError."""
        choice = choose(picture)
        with self._lock:
            if choice.model not in self._loaded:
                self._loaded[choice.model] = self._load(choice.model)
            return self._loaded[choice.model], choice.why
