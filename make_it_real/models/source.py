"""The laws of z: those that a model may have, and others: f is to map any noise onto the target."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from make_it_real.models.mixture_source import MixtureSource
from make_it_real.models.spectral_source import PublishedSource, Source, SpectralSource, WhiteSource


class BlendSource(Source):
    """z = √(1 − t)·spectral + √t·white, t uniform in [0, 1], one of each a z."""

    def __init__(self, spectral: Source) -> None:
        super().__init__(spectral.shape[0], spectral.shape[1])
        self.spectral = spectral
        # The two noises and one number more, from which t is made, all of one seed.
        self.noise_shape = (2 * math.prod(self.shape) + 1,)

    def fit(self, images: Tensor) -> None:
        self.spectral.fit(images)

    def colour(self, white: Tensor) -> Tensor:
        one, other = white[:, :-1].view(len(white), 2, *self.shape).unbind(1)
        t = torch.special.ndtr(white[:, -1])[:, None, None, None]
        z: Tensor = (1 - t).sqrt() * self.spectral.colour(one) + t.sqrt() * other
        return z


def spectral(own: Source) -> SpectralSource:
    """A spectral source with the statistics of ``own``. Raises ValueError if it has none."""
    if isinstance(own, MixtureSource):
        law = SpectralSource(own.shape[0], own.shape[1]).to(own.anchor.device)
        for name, buffer in law.named_buffers():
            buffer.copy_(own.get_buffer(name))
        return law
    if isinstance(own, SpectralSource):
        return own
    if not isinstance(own, PublishedSource):
        raise ValueError(
            "the model's z is white noise: it knows no spectrum to draw by; take the law white"
        )
    # Of the full transform the half that rfft2 has; which channels go together it never knew.
    half = slice(0, own.shape[2] // 2 + 1)
    law = SpectralSource(own.shape[0], own.shape[1]).to(own.anchor.device)
    law.mean.copy_(own.mean[..., half])
    law.std.copy_(own.std[..., half].square().sum(0).sqrt())
    return law


def source(law: str, own: Source) -> Source:
    """What draws z by a law of ``LAWS``, with the statistics that a model's ``own`` source has.

    A spectral source is its own law. Raises ValueError where the law needs statistics and
    there are none, KeyError for another name.
    """
    return _MAKERS[law](own)


def _white(own: Source) -> Source:
    channels, size = own.shape[:2]
    return WhiteSource(channels, size).to(own.anchor.device)


def _blend(own: Source) -> Source:
    return BlendSource(spectral(own)).to(own.anchor.device)


_MAKERS: dict[str, Callable[[Source], Source]] = {
    "white": _white, "spectral": spectral, "blend": _blend,
}  # fmt: skip
LAWS = tuple(_MAKERS)
# What a model may have, by name: (channels, image_size) → a source.
SOURCES: dict[str, Callable[[int, int], Source]] = {
    "spectral": SpectralSource, "principal": partial(MixtureSource, kinds=1),
    "mixture": MixtureSource, "published": PublishedSource, "white": WhiteSource,
}  # fmt: skip
