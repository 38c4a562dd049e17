"""3×3 convolutions that multiply less: Winograd's minimal filtering, for processors.

A square of 4×4 results of a 3×3 convolution is read off 36 products instead of 144, for each pair
of channels: inputs and weights are taken as polynomials, which are evaluated at five numbers and at
infinity, multiplied there, and interpolated back. All three steps are matrix products, and with 96
channels and more a core does them in two thirds of the time of direct convolutions or less. Results
differ from those by rounding, by some 1e-6 of their deviation.

This follows S. Winograd, *Arithmetic Complexity of Computations*, SIAM 1980, and A. Lavin, S. Gray,
*Fast Algorithms for Convolutional Neural Networks*, CVPR 2016.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Sides of a square of results, and of the inputs that it depends on.
SIDE, SEEN = 4, 6
# The numbers at which polynomials are evaluated. Of those tried, they lose the fewest digits.
NUMBERS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
# Fewer multiplications pay for what is moved besides where they are under this share.
PAYS = 0.42
# So many values at a time, 2 MB, stay in a processor's cache.
AT_ONCE = 2**19


class Transforms(NamedTuple):
    """The matrices that transform squares: inputs (36, 36), weights (36, 9), results (16, 36)."""

    inputs: Tensor
    weights: Tensor
    results: Tensor


@cache
def transforms() -> Transforms:
    """Build the matrices, float32."""
    with torch.inference_mode(False):
        matrices = torch.linalg.inv(_values(SEEN)).T, _values(3), _values(SIDE).T
        # A transform of rows and columns is the product of both.
        return Transforms(*(torch.kron(one, one).float() for one in matrices))


def _values(coefficients: int) -> Tensor:
    """Build the matrix (6, coefficients) that evaluates polynomials, last of all at infinity."""
    powers = torch.arange(coefficients, dtype=torch.float64)
    finite = torch.tensor(NUMBERS, dtype=torch.float64)[:, None] ** powers
    infinite = (powers == coefficients - 1).double()
    return torch.cat([finite, infinite[None]])


def pays(inputs: int, outputs: int, height: int, width: int) -> bool:
    """Tell whether fewer multiplications pay for so many channels and pixels."""
    squares = -(-height // SIDE) * -(-width // SIDE)
    each = SEEN**2 * (inputs * outputs + SEEN**2 * inputs + SIDE**2 * outputs)
    return squares * each < PAYS * 9 * height * width * inputs * outputs


def transformed(weight: Tensor) -> Tensor:
    """Transform weights (K, C, 3, 3): (36, C, K)."""
    outputs, inputs = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (transforms().weights @ flat).view(-1, inputs, outputs)


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve images (N, C, H, W), padded by 1, with weights as ``transformed`` gives them.

    Returns (N, K, H, W), channels last, as ``F.conv2d`` but for rounding. Without gradients.
    """
    n, _, height, width = images.shape
    products, inputs, outputs = weight.shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    border = (0, 0, 1, columns * SIDE - width + 1, 1, rows * SIDE - height + 1)
    padded = F.pad(images.permute(0, 2, 3, 1), border)
    # Squares that overlap, (6, 6, N, rows, columns, C).
    squares = padded.unfold(1, SEEN, SIDE).unfold(2, SEEN, SIDE).permute(4, 5, 0, 1, 2, 3)
    out = images.new_empty(n, rows, SIDE, columns, SIDE, outputs)
    # As many images, or as many rows of squares of one, as stay in the cache.
    most = AT_ONCE // (products * inputs)
    count = min(n, max(1, most // (rows * columns)))
    strip = min(rows, max(1, most // columns))
    for first, top in product(range(0, n, count), range(0, rows, strip)):
        part = squares[:, :, first : first + count, top : top + strip]
        values = (transforms().inputs @ part.reshape(products, -1)).view(products, -1, inputs)
        read = transforms().results @ torch.bmm(values, weight).view(products, -1)
        read = read.view(SIDE, SIDE, *part.shape[2:5], outputs).permute(2, 3, 0, 4, 1, 5)
        out[first : first + count, top : top + strip] = read if bias is None else read + bias
    return out.view(n, rows * SIDE, columns * SIDE, outputs)[:, :height, :width].permute(0, 3, 1, 2)


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution padded by 1, (N, C, H, W) → (N, K, H, W), the fastest way there is.

    That is ``convolve`` on a processor, in float32 and without gradients, where it
    ``pays``. All else, and whatever is compiled or exported, is a direct convolution. Weights
    have the names and shapes of ``nn.Conv2d``. Transformed ones are kept, unless they are trained,
    until they change.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._kept: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self._direct(images):
            return super().forward(images)
        return convolve(images, self._transformed(), self.bias)

    def _direct(self, images: Tensor) -> bool:
        return (
            torch.compiler.is_compiling()
            or not len(images)
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or images.device.type != "cpu"
            or not images.dtype == self.weight.dtype == torch.float32
            or not pays(self.in_channels, self.out_channels, *images.shape[2:])
        )

    def _transformed(self) -> Tensor:
        # Tensors of inference mode don't count their changes, nor do fused optimizers.
        if self.weight.is_inference() or self.weight.requires_grad:
            return transformed(self.weight)
        state = self.weight.data_ptr(), self.weight._version
        if self._kept is None or self._kept[0] != state:
            self._kept = state, transformed(self.weight)
        return self._kept[1]
