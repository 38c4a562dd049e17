"""Starting from a trained model: its f, its critic from the file beside it, and what fits.

The critic is needed to train on and for nothing else, so it lies in a file of its own:
``critic.safetensors`` beside ``model.safetensors``, ``NAME.critic.safetensors`` beside
``NAME.safetensors``.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from make_it_real.data.dataset import ImageSet
from make_it_real.models.ign import IGN
from make_it_real.training import losses
from make_it_real.training.adversarial import Trainer, begin
from make_it_real.training.checkpoint import load_critic
from make_it_real.training.config import default_config
from make_it_real.training.trainer import placed
from make_it_real.weights import model_file, pretrained

HEAD_START = 200


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
    old = pretrained.load(path)
    channels, size = images.pixels.shape[1:3]
    source = law or old.config.source
    config = replace(old.config, image_size=size, channels=channels, source=source)
    beside = model_file.critic_path(path)
    C = load_critic(beside) if beside.is_file() else None
    if C is not None:
        changes["critic_widths"] = C.widths
    start = f"{old.info.name}, sha256 {model_file.fingerprint(path)}"
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
