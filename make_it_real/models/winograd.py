"""3×3 convolutions that multiply less: Winograd's minimal filtering, for processors.

A square of 4×4 results of a 3×3 convolution is read off 36 products instead of 144, for each pair
of channels: inputs and weights are taken as polynomials, which are evaluated at five numbers and at
infinity, multiplied there, and interpolated back. All three steps are matrix products, and with 96
channels and more a core does them in two thirds of the time of direct convolutions or less. Of
images of up to 8×8 pixels all squares, and smaller rectangles at the ends, are one such step, which
moves nothing besides. Results differ from direct ones by rounding, by some 1e-6 of their deviation.

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
# The numbers at which polynomials are evaluated, the first ones where there are fewer results than
# SIDE. Of those tried, they lose the fewest digits.
NUMBERS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
# Images with sides of at most so many pixels are transformed whole.
WHOLE = 8
# Fewer multiplications pay for what is moved besides where they are under this share, and of whole
# images under that.
PAYS, PAYS_WHOLE = 0.42, 0.7
# So many values at a time, 2 MB, stay in a processor's cache.
AT_ONCE = 2**19


class Transforms(NamedTuple):
    """The matrices that transform inputs (Q, I), weights (Q, 9) and results (R, Q).

    I, R: pixels that go in and come out. Q: products for each pair of channels.
    """

    inputs: Tensor
    weights: Tensor
    results: Tensor


@cache
def of_squares() -> Transforms:
    """Build the matrices of a square of SEEN² pixels, of which the outer ones are not results."""
    return _both(_stretch(SIDE), _stretch(SIDE))


@cache
def of_whole(height: int, width: int) -> Transforms:
    """Build the matrices of whole images, around which all is 0."""
    return _both(_line(height), _line(width))


def _both(rows: Transforms, columns: Transforms) -> Transforms:
    """Join transforms of rows and of columns: their products, float32."""
    with torch.inference_mode(False):
        pairs = zip(rows, columns, strict=True)
        return Transforms(*(torch.kron(row, column).float() for row, column in pairs))


def _stretch(results: int) -> Transforms:
    """Build the matrices, float64, of so many results, SIDE at most, in a row."""
    seen = results + 2
    inputs, weights, back = (_values(seen, count) for count in (seen, 3, results))
    return Transforms(torch.linalg.inv(inputs).T, weights, back.T)


def _line(length: int) -> Transforms:
    """Build the matrices, float64, of so many results in a row, from inputs at the same places."""
    lengths = [min(SIDE, length - start) for start in range(0, length, SIDE)]
    stretches = [_stretch(count) for count in lengths]
    inputs = torch.zeros(sum(count + 2 for count in lengths), length + 2, dtype=torch.float64)
    top = 0
    for number, each in enumerate(stretches):
        seen = len(each.inputs)
        inputs[top : top + seen, number * SIDE : number * SIDE + seen] = each.inputs
        top += seen
    weights = torch.cat([each.weights for each in stretches])
    results = torch.block_diag(*(each.results for each in stretches))
    return Transforms(inputs[:, 1:-1], weights, results)


def _values(places: int, coefficients: int) -> Tensor:
    """Build the matrix (places, coefficients) of polynomials' values, the last one at infinity."""
    powers = torch.arange(coefficients, dtype=torch.float64)
    finite = torch.tensor(NUMBERS[: places - 1], dtype=torch.float64)[:, None] ** powers
    infinite = (powers == coefficients - 1).double()
    return torch.cat([finite, infinite[None]])


def pays(inputs: int, outputs: int, height: int, width: int) -> bool:
    """Tell whether fewer multiplications pay for so many channels and pixels."""
    pixels = height * width
    if whole(height, width):
        products = len(of_whole(height, width).weights)
        needed, most = products * (inputs * outputs + pixels * (inputs + outputs)), PAYS_WHOLE
    else:
        squares = -(-height // SIDE) * -(-width // SIDE)
        each = SEEN**2 * (inputs * outputs + SEEN**2 * inputs + SIDE**2 * outputs)
        needed, most = squares * each, PAYS
    return needed < most * 9 * pixels * inputs * outputs


def whole(height: int, width: int) -> bool:
    """Tell whether images of that size are transformed whole, not square by square."""
    return max(height, width) <= WHOLE


def transformed(weight: Tensor, height: int, width: int) -> Tensor:
    """Transform weights (K, C, 3, 3) for images of that size: (Q, C, K)."""
    transforms = of_whole(height, width) if whole(height, width) else of_squares()
    outputs, inputs = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (transforms.weights @ flat).view(-1, inputs, outputs)


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve images (N, C, H, W), padded by 1, with weights as ``transformed`` gives them.

    Returns (N, K, H, W), channels last, as ``F.conv2d`` but for rounding. Without gradients.
    """
    if whole(*images.shape[2:]):
        return _whole_images(images, weight, bias)
    return _by_squares(images, weight, bias)


def _whole_images(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    n, inputs, height, width = images.shape
    transforms = of_whole(height, width)
    flat = images.permute(0, 2, 3, 1).reshape(n, height * width, inputs)
    products = torch.bmm((transforms.inputs @ flat).transpose(0, 1), weight)
    out = transforms.results @ products.transpose(0, 1)
    if bias is not None:
        out += bias
    return out.view(n, height, width, -1).permute(0, 3, 1, 2)


def _by_squares(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    n, _, height, width = images.shape
    transforms, (products, inputs, outputs) = of_squares(), weight.shape
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
        values = (transforms.inputs @ part.reshape(products, -1)).view(products, -1, inputs)
        read = transforms.results @ torch.bmm(values, weight).view(products, -1)
        read = read.view(SIDE, SIDE, *part.shape[2:5], outputs).permute(2, 3, 0, 4, 1, 5)
        out[first : first + count, top : top + strip] = read if bias is None else read + bias
    return out.view(n, rows * SIDE, columns * SIDE, outputs)[:, :height, :width].permute(0, 3, 1, 2)


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution padded by 1, (N, C, H, W) → (N, K, H, W), the fastest way there is.

    That is ``convolve`` on a processor, in float32 and without gradients, where it
    ``pays``. All else, and whatever is compiled or exported, is a direct convolution. Weights
    have the names and shapes of ``nn.Conv2d``. Transformed ones are kept, unless they are trained,
    until they change, or come to images that are transformed otherwise.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._kept: tuple[tuple[int, ...], Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self._direct(images):
            return super().forward(images)
        return convolve(images, self._transformed(*images.shape[2:]), self.bias)

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

    def _transformed(self, height: int, width: int) -> Tensor:
        # Tensors of inference mode don't count their changes, nor do fused optimizers.
        if self.weight.is_inference() or self.weight.requires_grad:
            return transformed(self.weight, height, width)
        size = (height, width) if whole(height, width) else ()
        state = self.weight.data_ptr(), self.weight._version, *size
        if self._kept is None or self._kept[0] != state:
            self._kept = state, transformed(self.weight, height, width)
        return self._kept[1]
