"""Make It Real: project any image onto the images that a network was trained on, in one step.

    import make_it_real

    f = make_it_real.load("faces")                       # a torch.nn.Module
    faces = make_it_real.generate(f, seeds=range(64))    # (64, 3, 64, 64) in [−1, 1]
    cleaned = make_it_real.project(f, damaged, steps=2)

The names are imported when first used: importing the package does not import torch.
"""

from typing import TYPE_CHECKING, Any

from make_it_real._version import __version__

if TYPE_CHECKING:
    from make_it_real.inference.projection import drift, generate, project
    from make_it_real.inference.refinement import refine
    from make_it_real.inference.scoring import score
    from make_it_real.models.ign import IGNConfig
    from make_it_real.weights.pretrained import IGN

__all__ = [
    "IGN",
    "IGNConfig",
    "__version__",
    "drift",
    "generate",
    "load",
    "project",
    "refine",
    "score",
]

_HOMES = {
    "IGN": "weights.pretrained",
    "IGNConfig": "models.ign",
    "drift": "inference.projection",
    "generate": "inference.projection",
    "project": "inference.projection",
    "refine": "inference.refinement",
    "score": "inference.scoring",
}


def load(model: str = "faces", device: str = "auto") -> "IGN":
    """A trained f, ready to be called on images (N, C, S, S) in [−1, 1].

    model: a bundled name, a ``.safetensors`` file, a folder or owner/name[@revision]; device:
    auto, cpu, cuda[:n] or mps. Raises WeightsError or DeviceError (``make_it_real.errors``).
    """
    from make_it_real import devices
    from make_it_real.models.ign import place
    from make_it_real.weights import model_file
    from make_it_real.weights.pretrained import IGN

    chosen = devices.pick(device)
    return place(IGN.load(model_file.resolve(model)), chosen)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
