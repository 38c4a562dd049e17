"""Weights λ of the terms of each objective's loss, by the terms' names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AdversarialLambdas:
    """Weights of the terms of f's loss, by the terms' names."""

    real: float = 1.0
    real_again: float = 0.5
    real_restored: float = 0.5
    rec: float = 5.0
    hold: float = 5.0
    idem: float = 5.0
    idem_inner: float = 1.0
    restore: float = 5.0
    perceptual: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True)
class IGNLambdas:
    """Weights of the paper's three terms."""

    rec: float = 20.0
    idem: float = 20.0
    tight: float = 2.5


@dataclass(frozen=True)
class PhotographLambdas:
    """Weights of the restorer's terms: of clean crops, of damaged ones, of f's own results.

    gate: of what a learned gate takes for damage.
    """

    rec: float = 1.25
    restore: float = 8.75
    idem: float = 0.2
    gate: float = 0.5
