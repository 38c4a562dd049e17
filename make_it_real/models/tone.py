"""The tone of a photograph: what a faded print has lost, seen from its histogram.

Fading is the same all over a picture, and a part of it can't tell whether the whole is faded or
shows fog. So this looks at the whole picture, but only at how often each brightness and saturation
occurs, and answers with one curve for each channel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The histogram is of a grid of so many places a side, in so many bins.
SIDE = 96
BINS = 24
WIDTH = 96
# A picture is left as it is if the root mean square of the change is up to this, in image units,
# and changed in full from RAMP times this on.
REST = 0.15
RAMP = 1.1


class Tone(nn.Module):
    """Undoes fading and casts: images (N, 3, H, W) in [−1, 1] → the same shape and range.

    In [0, 1] each channel v becomes ((v − b) / (w − b))^g, and then the distance of each pixel
    from its grey is scaled by s. A small network reads b, w and g of each channel, and s, from
    the soft histograms of the channels and of the saturation (largest minus smallest channel).
    """

    def __init__(self) -> None:
        super().__init__()
        last = nn.Linear(WIDTH, 10)
        # At first b = 0, w = 1, g = 1 and s = 1: nothing is changed.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(4 * BINS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), last
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.apply_curves(images, self.curves(sample(images)))

    def proposal(self, places: Tensor) -> Tensor:
        """Compute what the layers propose for places (N, 3, S, S), without rest, for training."""
        return _curved(places, self._read(places))

    def curves(self, places: Tensor) -> Tensor:
        """Read b, w, g and s, and the share of the change to make, of images: (N, 11).

        places: pixels of each image, (N, 3, S, S), as ``sample`` takes them.
        """
        read = self._read(places)
        change = _curved(places, read) - places
        rms = change.square().mean((1, 2, 3)).sqrt()
        share = ((rms / REST - 1) / (RAMP - 1)).clamp(0, 1)
        return torch.cat([read, share[:, None]], 1)

    def _read(self, places: Tensor) -> Tensor:
        """Read b, w and g of each channel, and s, from places (N, 3, S, S): (N, 10)."""
        v = (places.flatten(2).clamp(-1, 1) + 1) / 2
        v = torch.cat([v, v.amax(1, keepdim=True) - v.amin(1, keepdim=True)], 1)
        middles = torch.linspace(0, 1, BINS, device=v.device)
        near = (1 - (v[..., None] - middles).abs() * (BINS - 1)).clamp_min(0)
        # Roots bring out what is rare, such as the few black pixels of a good print.
        out: Tensor = self.layers(3 * near.mean(2).sqrt().flatten(1))
        scale = out.new_tensor([0.5] * 6 + [0.5] * 3 + [1.0])
        first = out.new_tensor([0.0] * 3 + [1.0] * 3 + [0.0] * 4)
        read = first + scale * out
        return torch.cat([read[:, :6], read[:, 6:].exp()], 1)

    def apply_curves(self, images: Tensor, curves: Tensor) -> Tensor:
        """Change images (N, 3, H, W), or parts of them, by the curves (N, 11) of the whole."""
        share = curves[:, 10, None, None, None]
        if not torch.compiler.is_compiling() and not share.any():
            return images
        return torch.where(share > 0, torch.lerp(images, _curved(images, curves), share), images)


def sample(images: Tensor) -> Tensor:
    """Take the pixels of a grid: images (N, C, H, W) of any size → (N, C, SIDE, SIDE)."""
    n, c = images.shape[:2]
    upright = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(upright, [n, c, SIDE, SIDE], align_corners=False)
    return F.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _curved(images: Tensor, read: Tensor) -> Tensor:
    """Apply b, w, g and s (N, 10 or more) in full to images (N, 3, H, W)."""
    b, w, g = (read[:, i : i + 3, None, None] for i in (0, 3, 6))
    v = (images + 1) / 2
    v = ((v - b) / (w - b).clamp_min(0.15)).clamp(1e-3, 1.0) ** g
    grey = v.mean(1, keepdim=True)
    return torch.lerp(grey, v, read[:, 9, None, None, None]).clamp(0, 1) * 2 - 1
