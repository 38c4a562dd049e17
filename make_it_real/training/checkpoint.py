"""The state of a training, to a file and back."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from make_it_real.errors import WeightsError, one_line
from make_it_real.models.critic import Critic
from make_it_real.weights import model_file
from make_it_real.weights.safetensors_file import (
    check_tensors,
    halved,
    read_header,
    read_tensors,
    save_tensors,
)


def save_critic(C: Critic, path: Path, *, half: bool = False) -> None:
    """Write a critic as one file, whole or not at all; ``half`` in float16, half the size."""
    header = {
        "format": model_file.FORMAT,
        "image_size": C.image_size,
        "channels": C.channels,
        "widths": C.widths,
    }
    state = C.state_dict()
    save_tensors(halved(state) if half else state, {"mir_critic": json.dumps(header)}, path)


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


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def objective_of(path: Path) -> str:
    """The objective that a checkpoint was begun with. Raises WeightsError if it is none."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["mir_checkpoint"])
        return str(header.get("objective", "adversarial"))
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError) as error:
        reason = one_line(error)
        raise WeightsError(f"{path}: not a checkpoint to resume from ({reason})") from error
