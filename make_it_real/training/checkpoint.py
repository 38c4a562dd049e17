"""A trainer's whole state to a file and back, and a critic's, which a model is trained on with.

Nothing is unpickled. A critic is needed to train on and for nothing else, so it also lies in a file
of its own: ``critic.safetensors`` beside ``model.safetensors``, ``NAME.critic.safetensors`` beside
``NAME.safetensors``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from make_it_real import distributed
from make_it_real.degradations.kinds import check_damage
from make_it_real.errors import WeightsError, one_line
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture import SORTS
from make_it_real.training import config as configs
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import (
    AdversarialConfig,
    IGNTrainingConfig,
    PhotographConfig,
    TrainingConfig,
    with_settings,
)
from make_it_real.training.ign import IGNObjective
from make_it_real.training.mixture import DeltaObjective, ReaderObjective
from make_it_real.training.objective import Objective
from make_it_real.training.photographs import PhotographObjective
from make_it_real.training.restoration import RestorationObjective
from make_it_real.training.tone import ToneObjective
from make_it_real.training.trainer import Trainer, share
from make_it_real.weights import model_file
from make_it_real.weights.safetensors_file import (
    check_tensors,
    dequantize,
    quantize,
    read_header,
    read_tensors,
    save_tensors,
)

# By the part of f that is trained alone.
OF_PHOTOGRAPHS = {
    "": PhotographObjective, "tone": ToneObjective, "reader": ReaderObjective,
} | dict.fromkeys(SORTS, DeltaObjective)  # fmt: skip
# What a file that is no checkpoint, or part of one, makes of being read.
_DAMAGED = (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError)


def build(model: IGNConfig, config: TrainingConfig, device: torch.device) -> Objective:
    """The objective that a config is of, its networks as they begin."""
    if isinstance(config, IGNTrainingConfig):
        return IGNObjective(model, config, device)
    if isinstance(config, PhotographConfig):
        return OF_PHOTOGRAPHS[config.alone](model, config, device)
    assert isinstance(config, AdversarialConfig)
    if config.holds:
        return RestorationObjective(model, config, device)
    return AdversarialObjective(model, config, device)


def state(trainer: Trainer[Any]) -> dict[str, Tensor]:
    """Everything with a state, flat, as tensors."""
    out: dict[str, Tensor] = dict(trainer.objective.state_dict())
    for name, optimizer in trainer.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            out |= {f"opt_{name}.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    drawn = trainer.drawn
    out["generator"] = trainer.generator.get_state() if drawn is None else drawn
    return out


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says of itself.

    step: how many steps of its stage are done. images: what tells the data set from others
    (``resume.describe``), and whether its images are aligned faces; empty where it is not known.
    """

    step: int
    model: IGNConfig
    config: TrainingConfig
    images: Mapping[str, Any]


def save(trainer: Trainer[Any], path: Path, images: Mapping[str, Any] | None = None) -> None:
    """Write the checkpoint as one safetensors file, whole or not at all.

    images: what is to be known of the data set when the run goes on.
    """
    header = {
        "objective": trainer.config.objective, "step": trainer.step,
        "model": asdict(trainer.objective.f.config), "config": asdict(trainer.config),
        "images": dict(images or {}),
    }  # fmt: skip
    save_tensors(state(trainer), {"mir_checkpoint": json.dumps(header)}, path)


def inspect(path: Path) -> Saved:
    """What a checkpoint says of itself, without its tensors. Raises WeightsError if it is none."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["mir_checkpoint"])
        # Checkpoints from before there were two objectives name none.
        config = configs.read_config(header.get("objective", "adversarial"), header["config"])
        model, images = IGNConfig(**header["model"]), dict(header.get("images", {}))
        return Saved(int(header["step"]), model, config, images)
    except _DAMAGED as error:
        raise _not_resumed(path, error) from error


def load(path: Path, device: torch.device, **changes: Any) -> Trainer[Any]:
    """Go on from a checkpoint; ``changes`` replace fields of its config.

    Raises WeightsError if the file is not a whole checkpoint, or of settings that are no longer
    there, and ValueError for changes that mean nothing.
    """
    saved = inspect(path)
    model, config = saved.model, saved.config
    if changes:
        config = with_settings(config, changes)
    if isinstance(config, AdversarialConfig) and "damage" in changes:
        check_damage(config.damage, model.channels)
    # More processes than before may not divide a batch, which is no fault of the file.
    share(config)
    try:
        with safe_open(path, "pt") as file:
            kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        trainer = Trainer(build(model, config, device))
        for name, net in trainer.objective.named_children():
            # A projected critic or a bank that the run has not had so far begins anew.
            if (known := _under(kept, name)) or name not in ("P", "bank"):
                net.load_state_dict(known)
        for name, optimizer in trainer.optimizers.items():
            _load_moments(optimizer, _under(kept, f"opt_{name}"))
        trainer.step = saved.step
        trainer.seed(trainer.step)
        if distributed.rank() == 0:
            trainer.generator.set_state(kept["generator"])
    except _DAMAGED as error:
        raise _not_resumed(path, error) from error
    return trainer


def _not_resumed(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: not a checkpoint to resume from ({one_line(error)})")


def _load_moments(optimizer: torch.optim.Optimizer, kept: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    parameters = dict(enumerate(optimizer.param_groups[0]["params"]))
    for key, value in kept.items():
        index, kind = key.split(".")
        # Fused Adam walks memory: moments must be laid out as their parameters.
        if value.ndim:
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        moments.setdefault(int(index), {})[kind] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _under(kept: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in kept.items() if key.startswith(start)}


def save_critic(C: Critic, path: Path, *, quantized: bool = False) -> None:
    """Write a critic as one file, whole or not at all.

    quantized: its weights in 8 bits, a quarter of the size: what it calls real hardly changes, and
    training goes on from there.
    """
    header = {
        "format": model_file.FORMAT,
        "image_size": C.image_size,
        "channels": C.channels,
        "widths": C.widths,
    }
    state = C.state_dict()
    if quantized:
        state = quantize(state)
        header["quantized"] = True
    save_tensors(state, {"mir_critic": json.dumps(header)}, path)


def load_critic(path: Path) -> Critic:
    """A critic from its file, on the CPU in float32. Raises WeightsError."""
    metadata, table = read_header(path)
    try:
        header = json.loads(metadata["mir_critic"])
        if header.pop("format") != model_file.FORMAT:
            raise WeightsError(f"{path}: a critic of another format; update make-it-real")
        header["widths"] = tuple(header["widths"])
        if not len(header["widths"]) < len(table):
            raise ValueError("more widths than tensors")
        quantized = header.pop("quantized", False)
        with torch.device("meta"):
            expected = Critic(**header).state_dict()
            check_tensors(path, table, quantize(expected) if quantized else expected)
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
    C.load_state_dict(dequantize(read_tensors(path)))
    return C
