"""The model that a picture goes to, where none is named."""

from pathlib import Path

import pytest
import torch

from make_it_real.images import decode
from make_it_real.images.decode import Picture
from make_it_real.images.pixels import scaled
from make_it_real.inference.choice import choose

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_a_photograph_goes_to_photos(name: str) -> None:
    choice = choose(decode.read(EXAMPLES / "portraits" / f"{name}.jpg"))
    assert choice.model == "photos"
    assert choice.why.startswith("photograph: ")


def test_a_drawing_goes_to_faces() -> None:
    choice = choose(decode.read(EXAMPLES / "inputs" / "ink-8.png"))
    assert (choice.model, choice.why) == ("faces", "drawing: strokes on a bright ground")


def test_noise_of_the_size_of_faces_goes_there() -> None:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert choose(Picture(noise)).model == "faces"
    assert choose(Picture(noise[:, :63])).model == "photos"


def test_a_thumbnail_of_something_else_is_a_photograph() -> None:
    colour = decode.read(EXAMPLES / "photographs" / "rocket.jpg").colour
    choice = choose(Picture(scaled(colour, 64, 64)))
    assert (choice.model, choice.why) == ("photos", "no face, though 64×64")
