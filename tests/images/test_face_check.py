"""The network that tells faces from everything else, as it ships."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real import load
from make_it_real.degradations.kinds import degraded
from make_it_real.errors import WeightsError
from make_it_real.images import decode, face_check
from make_it_real.images.face_check import ELSE, FaceCheck, log_odds
from make_it_real.images.pixels import scaled, to_channels
from make_it_real.inference.projection import generate
from make_it_real.weights.safetensors_file import save_tensors
from tests.helpers import EXAMPLES, example


def thumbnail(path: Path) -> Tensor:
    """A picture, all of it, as an image (3, 64, 64) in [−1, 1]."""
    colour = to_channels(decode.read(path).colour, 3)
    return scaled(colour, 64, 64) * 2 - 1


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """Faces (32, 3, 64, 64) that f makes, all but a few of them good ones."""
    return generate(load("faces", device="cpu"), range(32))


@pytest.mark.parametrize("hand", ["pen", "blocks", "pencil", "doodle"])
def test_a_face_drawn_by_any_hand_is_one(hand: str, tmp_path: Path) -> None:
    drawing: Image.Image = getattr(example("draw_faces"), hand)()
    drawing.save(tmp_path / "drawn.png")
    assert log_odds(thumbnail(tmp_path / "drawn.png")[None]) > 0


@pytest.mark.parametrize(
    ("kind", "level"), [("noise", 0.5), ("mask", 0.25), ("sketch", 21.0), ("low-resolution", 4.0)]
)
def test_damage_hides_few_faces(faces: Tensor, kind: str, level: float) -> None:
    damaged = degraded(faces, kind, level, generator=torch.Generator().manual_seed(0))
    assert (log_odds(faces) > 0).sum() >= 29
    assert (log_odds(damaged) > ELSE).sum() >= 29


def test_screens_and_things_are_no_faces() -> None:
    screens = sorted((EXAMPLES / "screens").glob("*.png"))
    things = [EXAMPLES / "photographs" / f"{name}.jpg" for name in ("coffee", "rocket")]
    odds = log_odds(torch.stack([thumbnail(path) for path in screens + things]))
    assert len(odds) == 12
    assert (odds < 0).sum() >= 9
    assert odds[-1] < ELSE


def test_noise_may_become_a_face() -> None:
    noise = torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (log_odds(noise) > ELSE).all()


def test_grey_images_of_other_sizes_are_looked_at_too() -> None:
    grey = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(log_odds(grey), log_odds(grey.expand(-1, 3, -1, -1)), atol=1e-4)


def test_its_file_comes_back(tmp_path: Path) -> None:
    net = FaceCheck()
    save_tensors(net.state_dict(), {}, tmp_path / "net.safetensors")
    again = face_check.load(tmp_path / "net.safetensors")
    image = torch.zeros(1, 3, 64, 64)
    assert torch.equal(again(image), net.eval()(image))


def test_another_file_is_no_check(tiny_model: Path) -> None:
    with pytest.raises(WeightsError, match="not a check for faces"):
        face_check.load(tiny_model)
