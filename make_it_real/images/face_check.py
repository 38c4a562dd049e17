"""Whether an image shows a face where images of aligned faces have theirs: a small network.

An f of faces makes a face of whatever it gets, of a page of writing too. So before a drawing, or a
picture that happens to have f's size, goes to it, this network looks at it. It was trained on
damaged and drawn faces, and on everything else, damaged and drawn alike, by
``examples/train_face_check.py``.
"""

from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.errors import WeightsError, one_line
from make_it_real.installation import bundled_folder

FILE = "face-check.safetensors"
# Side of the grey copies that are looked at, in pixels.
SIDE = 32
# Less contrast than about this, a standard deviation in [−1, 1], is not raised to that of others.
FAINT = 0.05
# Log-odds of what is clearly no face. Of CelebA's validation images 1 in 200 or fewer of most kinds
# of damage have less, 1 in 75 with their middle covered; of thumbnails of photographs, 88 in 100.
ELSE = -3.0


class FaceCheck(nn.Module):
    """Images (N, C, S, S) in [−1, 1], S ≥ 32 → log-odds that each shows a face, (N,)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 24), (24, 40)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        left = 40 * (SIDE // 8) ** 2
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(left, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        grey = F.adaptive_avg_pool2d(images.clamp(-1, 1).mean(1, keepdim=True), SIDE)
        spread, mean = torch.std_mean(grey, (1, 2, 3), keepdim=True)
        odds: Tensor = self.body((grey - mean) / (spread + FAINT))
        return odds.squeeze(1)


@torch.inference_mode()
def log_odds(images: Tensor) -> Tensor:
    """Tell how likely images (N, C, S, S) in [−1, 1] show aligned faces: log-odds, (N,).

    They may be damaged or drawn. Over 0 a face is likelier than not; under ``ELSE`` it is clearly
    something else.
    """
    odds: Tensor = _bundled()(images)
    return odds


@cache
def _bundled() -> FaceCheck:
    return load(bundled_folder() / FILE)


def load(path: Path) -> FaceCheck:
    """Load a network in float32, in evaluation mode. Raises WeightsError for other files."""
    net = FaceCheck()
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a check for faces ({one_line(error)})") from error
    return net.eval()
