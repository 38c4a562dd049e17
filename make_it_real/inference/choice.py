"""Which bundled model a picture goes to, where none is named."""

from dataclasses import dataclass
from typing import Literal

from make_it_real.images.decode import Picture
from make_it_real.images.medium import recognise

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
    64×64 pixels has the size of the images of ``faces``, and goes there.
    """
    if tuple(picture.colour.shape[1:]) == (FACES_SIDE, FACES_SIDE):
        return Choice("faces", f"of the model's size, {FACES_SIDE}×{FACES_SIDE}")
    medium = recognise(picture)
    if medium.drawing:
        return Choice("faces", f"drawing: {medium.why}")
    return Choice("photos", f"photograph: {medium.why}")
