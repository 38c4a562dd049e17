"""What a folder job works with: models, and how their results are to be."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from make_it_real.images.decode import MAX_PIXELS
from make_it_real.images.framing import Fit, Framing
from make_it_real.inference.variations import Variations
from make_it_real.models.ign import IGN


@dataclass(frozen=True)
class Model:
    """f, and what its file says of it.

    name: as it was named, for reports. quantiles: of its calibration (``scoring.checked``), for
    each input's percentile, which costs nothing; None without. text: written into each PNG as text
    chunks.
    """

    f: IGN
    framing: Framing
    name: str = ""
    quantiles: list[float] | None = None
    text: dict[str, str] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.f.device

    @property
    def any_size(self) -> bool:
        """Whether f takes pictures as they are, at their own size."""
        return not self.f.config.image_size


@dataclass(frozen=True)
class Settings:
    """How to project: k, batch size, fitting, and what to do with files that exist.

    strength: share of f's change that is made, in [0, 1]. tile: side of the tiles of large
    pictures; None to choose it. restore_size: write results at the size of their inputs. None does
    so for photographs: for pictures larger than the model's images, where these have no background,
    but not for a face in a drawing.
    drift: measure it, which applies an f of one size once more. quality: of JPEG and WEBP.
    png_level: compression of PNG, 0 to 9; None to choose it. keep_metadata: pass on EXIF and colour
    profile. to_stdout: return the encoded image in the result instead of writing it. heat: a folder
    for heat maps of what was changed, or the file for a single one. keep_before: return each face
    as f was shown it, too. scale: enlarge results at the model's size so many times, without
    smoothing, and pictures at their own size as ``whole.restore`` does. variations: what is made of
    each picture with noise. A model of any size has no use for batch, how, invert, restore_size,
    keep_before and variations.
    """

    steps: int = 1
    strength: float = 1.0
    batch: int = 64
    tile: int | None = None
    how: Fit = "auto"
    invert: bool | None = None
    restore_size: bool | None = None
    drift: bool = False
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    quality: int | None = None
    png_level: int | None = None
    keep_metadata: bool = False
    to_stdout: bool = False
    heat: Path | None = None
    keep_before: bool = False
    scale: int = 1
    variations: Variations = field(default_factory=Variations)
