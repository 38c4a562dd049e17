"""Fine-tuning: start from a trained model's f, and from its critic if that is there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from make_it_real.data.dataset import ImageSet
from make_it_real.models.ign import IGN
from make_it_real.training import losses
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.augment import Augmentation
from make_it_real.training.checkpoint import build, load_critic
from make_it_real.training.config import TrainingConfig, default_config
from make_it_real.training.objective import apply_gradients
from make_it_real.training.trainer import Trainer, begin, placed, share
from make_it_real.weights import model_file, pretrained

HEAD_START = 200


def begin_from(
    path: Path, images: ImageSet, device: torch.device, source: str | None = None, **changes: Any
) -> tuple[Trainer[Any], list[str]]:
    """Make a trainer that starts from the model file at ``path``; also return notes on what fits.

    f and its average start from the model's parameters, and the critic from those in the file
    beside it. Parameters of another shape than the images' size and channels need start anew. The
    source is fitted to the new images. source: its kind (``source.SOURCES``), the model's own by
    default. Where there is no critic, a new one is trained alone for ``HEAD_START`` steps first.
    changes: fields of ``AdversarialConfig``. Raises WeightsError, and ValueError where the model
    can't be built at the images' size.
    """
    old = pretrained.load(path)
    channels, size = images.pixels.shape[1:3]
    source = source or old.config.source
    model = replace(old.config, image_size=size, channels=channels, source=source)
    beside = model_file.critic_path(path)
    C = load_critic(beside) if beside.is_file() else None
    if C is not None:
        changes["critic_widths"] = C.widths
    start = origin(path)
    config = default_config(model, start=start, **changes)
    trainer = begin(build(model, config, device), images)
    notes = [f"f starts from {start}…"]
    taken = {k: v for k, v in old.state_dict().items() if not k.startswith("source.")}
    anew: list[str] = []
    for net in trainer.objective.children():
        if isinstance(net, IGN):
            anew = _adopt(net, taken)
    if anew:
        notes.append(f"of another shape here, so begun anew in f: {', '.join(anew)}")
    if C is not None:
        if anew := _adopt(trainer.objective.get_submodule("C"), C.state_dict()):
            notes.append(f"of another shape here, so begun anew in the critic: {', '.join(anew)}")
    elif isinstance(trainer.objective, AdversarialObjective):
        notes.append(
            f"no critic beside it ({beside.name}): a new one gets {HEAD_START} steps alone"
        )
        head_start(trainer, trainer.objective, images, HEAD_START)
    return trainer, notes


def origin(path: Path) -> str:
    """Say which model file a training starts from: its name and the beginning of its hash."""
    return f"{model_file.inspect(path).name}, sha256 {model_file.fingerprint(path)}"


def next_stage(trainer: Trainer[Any], config: TrainingConfig) -> Trainer[Any]:
    """Make a trainer by another config that goes on with this one's f, source and critic."""
    before = trainer.objective
    objective = build(before.f.config, config, trainer.device)
    critics = dict(before.named_children())
    for name, net in objective.named_children():
        if isinstance(net, IGN):
            net.load_state_dict(before.shipped.state_dict())
        elif name in critics:
            _adopt(net, critics[name].state_dict())
    following = Trainer(objective)
    following.seed(trainer.step)
    return following


def _adopt(net: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Load parameters of fitting shapes into ``net``; return the modules that others belong to."""
    own = net.state_dict()
    fits = {k: v for k, v in state.items() if own[k].shape == v.shape}
    net.load_state_dict(fits, strict=False)
    return sorted(
        {name.removesuffix(".weight").removesuffix(".bias") for name in state if name not in fits}
    )


def head_start(
    trainer: Trainer[Any], objective: AdversarialObjective, images: ImageSet, steps: int
) -> None:
    """Train the critic alone, so that an untrained one does not spoil a good f."""
    f, C, config = objective.f, objective.C, objective.config
    generator, optimizer = trainer.generator, trainer.optimizers["C"]
    pixels, n = placed(images.pixels, trainer.device), share(config)
    for step in range(steps):
        x = trainer.batch(pixels, n)
        with objective.autocast():
            with torch.no_grad():
                fz = f(f.source.sample(n, generator))
            if config.augment:
                change = Augmentation.draw(n, config.augment, generator)
                x, fz = change(x), change(fz)
            loss = losses.loss_critic(C(x), C(fz))
            if step % config.penalty_every == 0:
                penalty = losses.gradient_penalty(C, x) + losses.gradient_penalty(C, fz)
                loss = loss + config.gamma / 2 * penalty
        optimizer.zero_grad()
        loss.backward()
        apply_gradients([optimizer])
