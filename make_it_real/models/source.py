"""Source distributions by name: those that a model may have, and others to draw its z from.

A trained f should map any noise onto the target images, so it can also be given z from a source
distribution that it was not trained with.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from make_it_real.errors import SourceError
from make_it_real.models.mixture_source import MixtureSource
from make_it_real.models.spectral_source import PublishedSource, Source, SpectralSource, WhiteSource


class NoSource(Source):
    """The source of a model that repairs images of any size: there is no z that it is given.

    ``from_seeds`` and ``sample`` raise SourceError.
    """

    def fit(self, images: Tensor) -> None:
        """Take no statistics."""

    def colour(self, white: Tensor) -> Tensor:
        raise SourceError("this model repairs images and has none of its own to make")


# The sources that a model may have: (channels, image_size) → a source that is not fitted yet.
SOURCES: dict[str, Callable[[int, int], Source]] = {
    "spectral": SpectralSource, "principal": partial(MixtureSource, kinds=1),
    "mixture": MixtureSource, "published": PublishedSource, "white": WhiteSource,
    "none": NoSource,
}  # fmt: skip


class BlendSource(Source):
    """Blends of spectral and white noise: z = √(1 − t)·spectral + √t·white, t uniform in [0, 1].

    spectral: the source of the first part. Each z has its own t and its own two noises.
    """

    def __init__(self, spectral: Source) -> None:
        super().__init__(spectral.shape[0], spectral.shape[1])
        self.spectral = spectral
        # One seed gives the two noises and one number more, which t is computed from.
        self.noise_shape = (2 * math.prod(self.shape) + 1,)

    def fit(self, images: Tensor) -> None:
        self.spectral.fit(images)

    def colour(self, white: Tensor) -> Tensor:
        first, second = white[:, :-1].view(len(white), 2, *self.shape).unbind(1)
        # The normal distribution function makes a uniform number of a normal one.
        t = torch.special.ndtr(white[:, -1])[:, None, None, None]
        z: Tensor = (1 - t).sqrt() * self.spectral.colour(first) + t.sqrt() * second
        return z


def convert(own: Source, distribution: str) -> Source:
    """Return a source that draws z from another distribution, with the statistics of ``own``.

    own: a model's source. distribution: one of ``DISTRIBUTIONS``; a ``SpectralSource`` is
    itself the spectral one. Raises ValueError where the distribution needs statistics and
    ``own`` has none, KeyError for another name.
    """
    return _CONVERTERS[distribution](own)


def _to_white(own: Source) -> Source:
    channels, size = own.shape[:2]
    return WhiteSource(channels, size).to(own.anchor.device)


def _to_spectral(own: Source) -> SpectralSource:
    if isinstance(own, MixtureSource):
        # A mixture keeps the spectrum of its images beside its own statistics.
        source = SpectralSource(own.shape[0], own.shape[1]).to(own.anchor.device)
        for name, buffer in source.named_buffers():
            buffer.copy_(own.get_buffer(name))
        return source
    if isinstance(own, SpectralSource):
        return own
    if not isinstance(own, PublishedSource):
        raise ValueError(
            "the model's z is white noise: it knows no spectrum, so only white can be drawn"
        )
    # Take the half of the full transform that rfft2 has. The correlation of the channels is not
    # known: PublishedSource draws them independently.
    half = slice(0, own.shape[2] // 2 + 1)
    source = SpectralSource(own.shape[0], own.shape[1]).to(own.anchor.device)
    source.mean.copy_(own.mean[..., half])
    source.std.copy_(own.std[..., half].square().sum(0).sqrt())
    return source


def _to_blend(own: Source) -> Source:
    return BlendSource(_to_spectral(own)).to(own.anchor.device)


_CONVERTERS: dict[str, Callable[[Source], Source]] = {
    "white": _to_white, "spectral": _to_spectral, "blend": _to_blend,
}  # fmt: skip
DISTRIBUTIONS = tuple(_CONVERTERS)
