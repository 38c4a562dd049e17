"""3×3 convolutions that multiply less: Winograd's minimal filtering, for processors.

A square of m×m results of a 3×3 convolution is read off (m + 2)² products instead of 9·m², for each
pair of channels: inputs and weights are taken as polynomials, which are evaluated at m + 1 numbers
and at infinity, multiplied there, and interpolated back. All three steps are matrix products, and
with 96 channels and more a core does them in two thirds of the time of direct convolutions or less.
Results differ from those by rounding: by some 1e-6 of their deviation for m = 4 and 2e-5 for m = 7.

This follows S. Winograd, *Arithmetic Complexity of Computations*, SIAM 1980, and A. Lavin, S. Gray,
*Fast Algorithms for Convolutional Neural Networks*, CVPR 2016.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The numbers at which polynomials are evaluated, by the side m of a square of results. Of those
# tried, they lose the fewest digits.
NUMBERS = {
    4: (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2),
    7: (0, 1 / 2, -1 / 2, 4 / 5, -4 / 5, 3 / 2, -3 / 2, 3),
}
# Fewer multiplications pay for what is moved besides where they are under this share of 9·m².
PAYS = 0.42
# So many values at a time, 2 MB, stay in a processor's cache.
AT_ONCE = 2**19


class Transforms(NamedTuple):
    """The matrices of squares of m×m results, float32.

    inputs: ((m + 2)², (m + 2)²). inner: those of its columns that are not of the border, for an
    input that is zero there. weights: ((m + 2)², 9). results: (m², (m + 2)²).
    """

    inputs: Tensor
    inner: Tensor
    weights: Tensor
    results: Tensor


@cache
def transforms(side: int) -> Transforms:
    """Build the matrices for squares of side×side results, side a key of ``NUMBERS``."""
    with torch.inference_mode(False):
        inputs = torch.linalg.inv(_values(side, side + 2)).T
        matrices = inputs, inputs[:, 1:-1], _values(side, 3), _values(side, side).T
        # A transform of rows and columns is the product of both.
        return Transforms(*(torch.kron(one, one).float() for one in matrices))


def _values(side: int, coefficients: int) -> Tensor:
    """Build the matrix that evaluates polynomials at the numbers of a side, and at infinity."""
    powers = torch.arange(coefficients, dtype=torch.float64)
    finite = torch.tensor(NUMBERS[side], dtype=torch.float64)[:, None] ** powers
    infinite = (powers == coefficients - 1).double()
    return torch.cat([finite, infinite[None]])


@cache
def best_side(inputs: int, outputs: int, height: int, width: int) -> int | None:
    """Choose the side m for a convolution of so many channels and pixels; None: a direct one."""

    def share(side: int) -> float:
        squares = -(-height // side) * -(-width // side)
        products = (side + 2) ** 2
        borderless = side if height == width == side else side + 2
        each = inputs * outputs + borderless**2 * inputs + side**2 * outputs
        return squares * products * each / (9 * height * width * inputs * outputs)

    side = min(NUMBERS, key=share)
    return side if share(side) < PAYS else None


def transformed(weight: Tensor, side: int) -> Tensor:
    """Transform weights (K, C, 3, 3) for squares of a side: ((side + 2)², C, K)."""
    outputs, inputs = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (transforms(side).weights @ flat).view(-1, inputs, outputs)


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None, side: int) -> Tensor:
    """Convolve images (N, C, H, W), padded by 1, with weights as ``transformed`` gives them.

    Returns (N, K, H, W), channels last, as ``F.conv2d`` but for rounding. Without gradients.
    """
    n, _, height, width = images.shape
    products, inputs, outputs = weight.shape
    rows, columns = -(-height // side), -(-width // side)
    spread, squares = _squares(images.permute(0, 2, 3, 1), side)
    out = images.new_empty(n, rows, side, columns, side, outputs)
    # As many images, or as many rows of squares of one, as stay in the cache.
    most = AT_ONCE // (products * inputs)
    count = min(n, max(1, most // (rows * columns)))
    strip = min(rows, max(1, most // columns))
    for first, top in product(range(0, n, count), range(0, rows, strip)):
        part = squares[:, :, first : first + count, top : top + strip]
        values = (spread @ part.reshape(spread.shape[1], -1)).view(products, -1, inputs)
        read = transforms(side).results @ torch.bmm(values, weight).view(products, -1)
        read = read.view(side, side, *part.shape[2:5], outputs).permute(2, 3, 0, 4, 1, 5)
        out[first : first + count, top : top + strip] = read if bias is None else read + bias
    return out.view(n, rows * side, columns * side, outputs)[:, :height, :width].permute(0, 3, 1, 2)


def _squares(images: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cut images (N, H, W, C) into squares that overlap, (s, s, N, rows, columns, C).

    s is side + 2, or side where the only square is the image itself, whose border of zeros is left
    out. Also returns the matrix that transforms a square.
    """
    height, width = images.shape[1:3]
    if height == width == side:
        return transforms(side).inner, images.permute(1, 2, 0, 3)[:, :, :, None, None]
    padded = F.pad(images, (0, 0, 1, -width % side + 1, 1, -height % side + 1))
    cut = padded.unfold(1, side + 2, side).unfold(2, side + 2, side)
    return transforms(side).inputs, cut.permute(4, 5, 0, 1, 2, 3)


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution padded by 1, (N, C, H, W) → (N, K, H, W), the fastest way there is.

    That is ``convolve`` on a processor, in float32 and without gradients, where ``best_side`` has
    a side for it. All else, and whatever is compiled or exported, is a direct convolution. Weights
    have the names and shapes of ``nn.Conv2d``. Transformed ones are kept until they change.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._kept: tuple[tuple[int, ...], Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        side = self._side(images)
        if side is None:
            return super().forward(images)
        return convolve(images, self._transformed(side), self.bias, side)

    def _side(self, images: Tensor) -> int | None:
        if (
            torch.compiler.is_compiling()
            or not len(images)
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or images.device.type != "cpu"
            or not images.dtype == self.weight.dtype == torch.float32
        ):
            return None
        return best_side(self.in_channels, self.out_channels, *images.shape[2:])

    def _transformed(self, side: int) -> Tensor:
        # Tensors of inference mode don't count their changes.
        if self.weight.is_inference():
            return transformed(self.weight, side)
        state = side, self.weight.data_ptr(), self.weight._version
        if self._kept is None or self._kept[0] != state:
            self._kept = state, transformed(self.weight, side)
        return self._kept[1]
