"""Sheets of samples: what f makes while it trains."""

import copy

import torch
from torch import Tensor

from make_it_real.images.pixels import grid, to_images
from make_it_real.inference.projection import generate, project
from make_it_real.training.objective import Objective

# Seeds, and training images, on a sheet.
SEEDS, IMAGES = 64, 16


def sheet(objective: Objective, pixels: Tensor) -> Tensor:
    """Draw a sheet (C, H, W) of what the finished f would make now, on the CPU.

    pixels: training images x, uint8 (N, C, S, S). It shows images f(z) of seeds 0–63, above rows of
    x, A(x) and f(A(x)); of an f for photographs of any size A(x), f(A(x)) and x, side by side.
    """
    f = copy.deepcopy(objective.shipped).eval()
    generator = torch.Generator(f.device).manual_seed(0)
    if not f.config.image_size:
        # Spread over the set: photographs of one source lie together.
        x = to_images(pixels[:: -(-len(pixels) // IMAGES)]).to(f.device)
        Ax = objective.degraded(x, x, generator)
        return grid(torch.stack([Ax, project(f, Ax), x], 1).flatten(0, 1).cpu(), columns=6)
    x = to_images(pixels[:IMAGES]).to(f.device)
    Ax = objective.degraded(x, f.source.sample(len(x), generator), generator)
    return grid(torch.cat([generate(f, range(SEEDS)), x, Ax, project(f, Ax)]).cpu(), columns=IMAGES)
