"""What every objective is told, and what a step of any reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

R = TypeVar("R", bound="BaseRecord")


@dataclass(frozen=True)
class BaseConfig:
    """What every objective needs to be told.

    steps: optimizer steps in all; the learning rate falls linearly to zero over the last
        ``decay_steps``. batch: images x, and as many z, a step. flip: mirror images at random.
    hold_out: images kept from training, to be measured against. start: the model that f
        started from, and the beginning of its hash.
    spread: z is drawn so many times as wide as the images are (``Source.widen``).
    bf16: compute in bfloat16 where the device is fast at it; weights stay float32.
    """

    steps: int = 12_000
    decay_steps: int = 3_000
    batch: int = 64
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    flip: bool = False
    hold_out: int = 0
    start: str = ""
    seed: int = 0
    spread: float = 1.0
    bf16: bool = True


@dataclass(frozen=True)
class BaseRecord:
    """What one step reports: its number from 1 and the learning rate; children add losses."""

    step: int
    lr: float


@dataclass(frozen=True)
class Step(Generic[R]):
    """What one step gave: its number, from 1, and learning rate, and its terms (K,).

    The terms are still on the device: to read them is to wait for it; those that had no part
    in this step are NaN. ``kind`` is the record that they are of.
    """

    number: int
    lr: float
    terms: Tensor
    kind: type[R]

    def record(self) -> R:
        return mean([self])


def mean(steps: Sequence[Step[R]]) -> R:
    """The last step's number and rate, with each term averaged over the steps that had it."""
    last = steps[-1]
    terms = torch.stack([step.terms for step in steps]).double().nanmean(0).nan_to_num(0)
    return last.kind(last.number, last.lr, *terms.tolist())
