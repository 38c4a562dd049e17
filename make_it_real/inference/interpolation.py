"""Arithmetic and interpolation of z: of seeds, of images, of the means of folders.

A seed gives white noise, which the source colours into z. Seeds are mixed as white noise and
coloured afterwards, so that the result is a z like any other of the source. As soon as images take
part, pixels are mixed instead. In a source of several kinds of z, an interpolation jumps from one
kind to the next, and a sum has the kind of its heaviest seed.
"""

import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from make_it_real.models.ign import IGN

How = Literal["spherical", "linear"]
Between = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Operand:
    """What is mixed: a name, an image or z (C, S, S), and the white noise where it is a seed."""

    name: str
    image: Tensor
    white: Tensor | None = None


@dataclass(frozen=True)
class Term:
    """A term of a sum: weight · operand."""

    weight: float
    operand: str


def seed_operand(f: IGN, seed: int) -> Operand:
    """Draw a seed's z as ``generate`` does."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(f.source.noise_shape, generator=generator)
    return Operand(f"seed {seed}", _coloured(f, white), white)


def _coloured(f: IGN, white: Tensor) -> Tensor:
    return f.source.colour(white[None].to(f.device))[0].cpu()


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Compute (1 − t)·a + t·b."""
    return torch.lerp(a, b, t)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Compute the point at t on the great circle from a to b; lengths are interpolated linearly.

    In high dimensions the middle of a straight line between two draws of noise is shorter than its
    ends by √½, unlike anything that the source draws. An arc keeps the length. The straight line
    is used where no arc is the shortest: for equal or opposite directions, and for zero.
    """
    lengths = a.norm(), b.norm()
    if float(min(lengths)) == 0:
        return lerp(a, b, t)
    cosine = float((a.double() * b.double()).sum() / (lengths[0].double() * lengths[1].double()))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return lerp(a, b, t)
    weights = math.sin((1 - t) * angle), math.sin(t * angle)
    direction = (weights[0] * a / lengths[0] + weights[1] * b / lengths[1]) / math.sin(angle)
    point: Tensor = direction * ((1 - t) * lengths[0] + t * lengths[1])
    return point


def interpolate(f: IGN, operands: Sequence[Operand], n: int, how: How = "spherical") -> Tensor:
    """Compute n points on the way through two or more operands, both ends included.

    Returns (n, C, S, S). Raises ValueError for fewer than two points or operands.
    """
    if len(operands) < 2 or n < 2:
        raise ValueError("an interpolation needs at least two operands and two points")
    places = [i * (len(operands) - 1) / (n - 1) for i in range(n)]
    return torch.stack([place_between(f, operands, place, how) for place in places])


def place_between(
    f: IGN, operands: Sequence[Operand], place: float, how: How = "spherical"
) -> Tensor:
    """Compute one point of the way through operands, (C, S, S).

    place: 0 at the first operand, 1 at the second, and so on.
    """
    between: Between = slerp if how == "spherical" else lerp
    leg = max(0, min(int(place), len(operands) - 2))
    a, b, t = operands[leg], operands[leg + 1], place - leg
    if a.white is not None and b.white is not None:
        return _on_the_way(f, a.white, b.white, t, between)
    return between(a.image, b.image, t)


def _on_the_way(f: IGN, a: Tensor, b: Tensor, t: float, between: Between) -> Tensor:
    """Compute the z at t between the white noise of two seeds."""
    white = between(a, b, t)
    if not f.source.picks:
        return _coloured(f, white)
    ends = [_coloured(f, torch.cat([white[:-1], end[-1:]])) for end in (a, b)]
    return lerp(ends[0], ends[1], t)


def mix(f: IGN, terms: Sequence[tuple[float, Operand]], *, raw: bool = False) -> Tensor:
    """Compute Σ weight · operand, (C, S, S).

    The sum of seeds alone is of their white noise, divided by √Σ weight² unless ``raw``, which
    makes it standard normal again. Among seeds of equal weight the kind of the first one counts.
    """
    whites = [(weight, one.white) for weight, one in terms if one.white is not None]
    if len(whites) < len(terms):
        return torch.stack([weight * one.image for weight, one in terms]).sum(0)
    total = torch.stack([weight * white for weight, white in whites]).sum(0)
    length = math.sqrt(sum(weight**2 for weight, _ in whites))
    white = total if raw or not length else total / length
    if f.source.picks:
        heaviest = max(whites, key=lambda one: one[0])[1]
        white = torch.cat([white[:-1], heaviest[-1:]])
    return _coloured(f, white)


def parse(expression: str) -> list[Term]:
    """Parse a sum such as "3 - 5 + 0.5*'my photo.png'" into terms.

    Operands are seeds, files or folders. Operators stand between spaces, which may be left out
    between seeds ("3-5+8"). Names with spaces are quoted. Raises ValueError.
    """
    try:
        tokens = shlex.split(expression)
    except ValueError as error:
        raise ValueError(f"{expression!r}: {error}") from error
    spread: list[str] = []
    for token in tokens:
        plain = re.fullmatch(r"[+-]?\d+([+-]\d+)*[+-]?", token)
        spread += re.findall(r"\d+|[+-]", token) if plain else [token]
    terms: list[Term] = []
    sign, expecting = 1.0, True
    for token in spread:
        if token in ("+", "-"):
            if expecting and (terms or (token == "-" and sign < 0)):
                raise ValueError(f"{expression!r}: two operators in a row")
            sign, expecting = (1.0 if token == "+" else -1.0), True
        elif not expecting:
            raise ValueError(f"{expression!r}: + or - is missing before {token}")
        else:
            weight, operand = _weighted(token)
            terms.append(Term(sign * weight, operand))
            sign, expecting = 1.0, False
    if not terms or expecting:
        raise ValueError(f'{expression!r}: write a sum such as "3 - 5 + 8"')
    return terms


def _weighted(token: str) -> tuple[float, str]:
    """Split a term into weight and operand: "0.5*x" → (0.5, "x"), "x" → (1.0, "x")."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\*(.+)", token)
    return (float(found[1]), found[2]) if found else (1.0, token)
