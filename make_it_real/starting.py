"""Starting from a trained model: its f, its critic from the file beside it, and what fits.

The critic is needed to train on and for nothing else, so it lies in a file of its own:
``critic.safetensors`` beside ``model.safetensors``, ``NAME.critic.safetensors`` beside
``NAME.safetensors``.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from make_it_real import losses, weights
from make_it_real.critic import Critic
from make_it_real.data import ImageSet
from make_it_real.errors import WeightsError, one_line
from make_it_real.feeding import placed
from make_it_real.model import IGN
from make_it_real.recipe import default_config
from make_it_real.tensorfile import check_tensors, read_header, read_tensors, save_tensors
from make_it_real.training import Trainer, begin

HEAD_START = 200


def save_critic(C: Critic, path: Path, *, half: bool = False) -> None:
    """Write a critic as one file, whole or not at all; ``half`` in float16, half the size."""
    header = {
        "format": weights.FORMAT,
        "image_size": C.image_size,
        "channels": C.channels,
        "widths": C.widths,
    }
    tensors = {k: t.half() if half else t for k, t in C.state_dict().items()}
    save_tensors(tensors, {"mir_critic": json.dumps(header)}, path)


def load_critic(path: Path) -> Critic:
    """A critic from its file, on the CPU in float32. Raises WeightsError."""
    metadata, table = read_header(path)
    try:
        header = json.loads(metadata["mir_critic"])
        if header.pop("format") != weights.FORMAT:
            raise WeightsError(f"{path}: a critic of another format; update make-it-real")
        header["widths"] = tuple(header["widths"])
        if not len(header["widths"]) < len(table):
            raise ValueError("more widths than tensors")
        with torch.device("meta"):
            expected = Critic(**header).state_dict()
        check_tensors(path, table, expected)
        C = Critic(**header)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise WeightsError(f"{path}: not a critic ({one_line(error)})") from error
    C.load_state_dict({k: t.float() for k, t in read_tensors(path).items()})
    return C


def begin_from(
    path: Path, images: ImageSet, device: torch.device, law: str | None = None, **changes: Any
) -> tuple[Trainer, list[str]]:
    """(a new trainer that starts from the model file at ``path``, what was and wasn't taken).

    f and its average start from the model's parameters and the critic from those in the file
    beside it, as far as they fit the images' size and channels; what does not begins anew. The
    source takes the statistics of the new images, by the law (``laws.SOURCES``) that the model
    has or, if given, by another. Without a critic a new one is trained alone for ``HEAD_START``
    steps first. ``changes`` are fields of ``TrainConfig``. Raises WeightsError, and ValueError
    where the model can't be built at the images' size.
    """
    old, info = weights.load(path), weights.inspect(path)
    channels, size = images.pixels.shape[1:3]
    source = law or old.config.source
    config = replace(old.config, image_size=size, channels=channels, source=source)
    beside = weights.critic_path(path)
    C = load_critic(beside) if beside.is_file() else None
    if C is not None:
        changes["critic_widths"] = C.widths
    start = f"{info.name}, sha256 {weights.fingerprint(path)}"
    trainer = begin(images, config, default_config(config, start=start, **changes), device)
    notes = [f"f starts from {start}…"]
    taken = {k: v for k, v in old.state_dict().items() if not k.startswith("source.")}
    for net in trainer.nets.values():
        if isinstance(net, IGN):
            anew = _adopt(net, taken)
    if anew:
        notes.append(f"of another shape here, so begun anew in f: {', '.join(anew)}")
    if C is None and not trainer.config.held:
        notes.append(
            f"no critic beside it ({beside.name}): a new one gets {HEAD_START} steps alone"
        )
        head_start(trainer, images, HEAD_START)
    elif C is not None and (anew := _adopt(trainer.C, C.state_dict())):
        notes.append(f"of another shape here, so begun anew in the critic: {', '.join(anew)}")
    return trainer, notes


def _adopt(net: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Load what has the shape that ``net`` has; the modules of which something did not."""
    own = net.state_dict()
    fits = {k: v for k, v in state.items() if own[k].shape == v.shape}
    net.load_state_dict(fits, strict=False)
    return sorted(
        {name.removesuffix(".weight").removesuffix(".bias") for name in state if name not in fits}
    )


def head_start(trainer: Trainer, images: ImageSet, steps: int) -> None:
    """Train the critic alone, so that an f that is good already is not led by one that isn't."""
    f, C, config, generator = trainer.f, trainer.C, trainer.config, trainer.generator
    pixels = placed(images.pixels, trainer.device)
    for step in range(steps):
        x, change = trainer.batch(pixels), trainer.augmentation()
        with trainer.autocast():
            with torch.no_grad():
                fz = f(f.source.sample(len(x), generator))
            if change is not None:
                x, fz = change(x), change(fz)
            loss = losses.loss_critic(C(x), C(fz))
            if step % config.penalty_every == 0:
                penalty = losses.gradient_penalty(C, x) + losses.gradient_penalty(C, fz)
                loss = loss + config.gamma / 2 * penalty
        trainer.opt_C.zero_grad(set_to_none=True)
        loss.backward()
        trainer.opt_C.step()
