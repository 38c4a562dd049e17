"""Sets of photographs of different sizes, and random crops of them."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from make_it_real.data.image_folder import Decoding, decode
from make_it_real.errors import DataError, ImageError
from make_it_real.images.decode import Picture
from make_it_real.images.pixels import on_white, scaled, to_channels, to_images, to_pixels
from make_it_real.models.tone import sample

# Side of the middles that stand for the photographs where all must be of one size.
MIDDLE = 128
# Photographs whose shorter side is longer are reduced to so many pixels, which hides the noise and
# the compression that a camera left in them.
SIDE = 512


@dataclass(frozen=True)
class PhotographSet:
    """Photographs in colour.

    pictures: uint8 (3, H, W), each of its own size. name: of the files or folders. skipped:
    "path: reason" for each file that could not be used. note: why there is no cache, where one was
    wanted. pixels: the middle of each, uint8 (N, 3, S, S), with S up to 128, as far as the smallest
    allows. areas: numbers of pixels (N,).
    """

    pictures: Sequence[Tensor]
    name: str
    skipped: tuple[str, ...] = ()
    note: str = ""
    pixels: Tensor = field(init=False)
    areas: Tensor = field(init=False)

    def __post_init__(self) -> None:
        side = min(MIDDLE, *(min(picture.shape[1:]) for picture in self.pictures))
        object.__setattr__(self, "pixels", torch.stack([
            picture[:, (h := (picture.shape[1] - side) // 2) : h + side,
                    (w := (picture.shape[2] - side) // 2) : w + side]
            for picture in self.pictures
        ]))  # fmt: skip
        areas = torch.tensor([float(picture[0].numel()) for picture in self.pictures])
        object.__setattr__(self, "areas", areas)

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def places(self) -> Tensor:
        """What a tone reads of each photograph: the pixels of a grid over all of it.

        uint8 (N, 3, SIDE, SIDE), with ``tone.SIDE``.
        """
        return torch.cat([to_pixels(sample(to_images(each[None]))) for each in self.pictures])

    def crops(self, n: int, side: int, *, turned: bool, generator: torch.Generator) -> Tensor:
        """Draw n crops, uint8 (n, 3, side, side): each pixel of the set is as likely as another.

        turned: whether they are mirrored and transposed at random. No photograph may be smaller
        than a crop.
        """
        areas = self.areas.to(generator.device)
        at = torch.multinomial(areas, n, True, generator=generator).tolist()
        drawn = torch.rand(n, 5, generator=generator, device=generator.device).tolist()
        out = torch.empty(n, 3, side, side, dtype=torch.uint8)
        for crop, number, (row, column, *coins) in zip(out, at, drawn, strict=True):
            picture = self.pictures[number]
            top = int(row * (picture.shape[1] - side + 1))
            left = int(column * (picture.shape[2] - side + 1))
            found = picture[:, top : top + side, left : left + side]
            if turned:
                axes = [axis for axis, coin in zip((1, 2), coins, strict=False) if coin < 0.5]
                found = found.flip(axes)
                found = found.transpose(1, 2) if coins[2] < 0.5 else found
            crop.copy_(found)
        return out


def load(
    paths: Sequence[Path], *, side: int | None = None, least: int = 1, cached: bool = True
) -> PhotographSet:
    """Load the photographs in folders and zips as one set.

    side: the shorter side that larger ones are reduced to; None is 512. least: smaller ones are
    left out. cached: as for ``dataset.load``. Grey ones get three equal channels; what is
    transparent becomes white. Raises DataError where fewer than two can be used.
    """
    if side is not None and side < least:
        raise DataError(f"photographs reduced to {side} pixels a side: at least {least} are needed")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if path.is_file() and not zipfile.is_zipfile(path):
            raise DataError(f"{path}: neither a folder nor a zip of photographs")
    name = " + ".join(p.stem if p.is_file() else p.resolve().name for p in paths)
    most = side or SIDE
    # As long as they are wide, on average at most twice.
    how = Decoding(partial(_fit, side=most, least=least), [most, least], 6 * most**2, each=True)
    decoded = decode(paths, how, cached)
    pictures, skipped = decoded.images, decoded.skipped
    if len(pictures) < 2:
        reason = f"; {skipped[0]}" if skipped else ""
        raise DataError(
            f"{name}: at least two photographs are needed; {len(pictures)} can be used{reason}"
        )
    return PhotographSet(list(pictures), name, skipped, decoded.note)


def _fit(picture: Picture, side: int, least: int) -> list[Tensor]:
    """Make a photograph, uint8 (3, H, W), of a picture. Raises ImageError for a small one."""
    height, width = picture.colour.shape[1:]
    shorter = min(height, width)
    if shorter < least:
        raise ImageError(f"{width}×{height} pixels: no side may be under {least}")
    image = on_white(picture)
    if shorter > side:
        size = (round(height * side / shorter), round(width * side / shorter))
        image = scaled(image, *size)
    return [to_pixels(to_channels(image, 3)).contiguous()]
