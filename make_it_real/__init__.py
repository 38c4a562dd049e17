"""Make It Real: map any image onto images like those that a network was trained on, in one step.

    import make_it_real

    f = make_it_real.load("faces")                       # a torch.nn.Module
    faces = make_it_real.generate(f, seeds=range(64))    # (64, 3, 64, 64) in [−1, 1]
    cleaned = make_it_real.project(f, damaged, steps=2)

Names are imported when they are first used, so that importing the package does not import torch.
Errors that a user can fix are ``make_it_real.errors.MirError``.
"""

from typing import TYPE_CHECKING, Any

from make_it_real._version import __version__

if TYPE_CHECKING:
    from make_it_real.inference.projection import drift, generate, project
    from make_it_real.inference.refinement import refine
    from make_it_real.inference.scoring import score
    from make_it_real.models.ign import IGNConfig
    from make_it_real.weights.pretrained import PretrainedIGN as IGN  # noqa: N814

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
    "IGN": ("weights.pretrained", "PretrainedIGN"),
    "IGNConfig": ("models.ign", "IGNConfig"),
    "drift": ("inference.projection", "drift"),
    "generate": ("inference.projection", "generate"),
    "project": ("inference.projection", "project"),
    "refine": ("inference.refinement", "refine"),
    "score": ("inference.scoring", "score"),
}

# Modules that are offered by their names, and those that come with them.
_MODULES = {
    "framing": ("images.framing",),
    "images": ("images", "images.decode", "images.encode", "images.pixels"),
}


def load(model: str = "faces", device: str = "auto") -> "IGN":
    """Load a trained f, to be called on images (N, C, S, S) in about [−1, 1].

    model: a bundled name, a ``.safetensors`` file, a folder of a run, or owner/name[@revision] on
    the Hugging Face hub. device: auto, cpu, cuda[:n] or mps. Raises WeightsError or DeviceError.
    """
    from make_it_real import devices
    from make_it_real.models.ign import place
    from make_it_real.weights import model_file, pretrained

    chosen = devices.pick(device)
    return place(pretrained.load(model_file.resolve(model)), chosen)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        for module in _MODULES[name]:
            import_module(f"{__name__}.{module}")
        return import_module(f"{__name__}.{_MODULES[name][0]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
