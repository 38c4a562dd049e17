"""One HTML file that shows images before and after, sorted by a score: no network, no folder.

    page = Gallery("Projected digits", score="moved")
    page.add("sketch.png", after=y, before=x, score=0.12, figures={"inverted": "yes"})
    page.write(Path("x.html"))

Images are tensors (C, H, W) in [−1, 1], or the path or bytes of an image file. The page holds
them, large ones reduced. Of a large picture it shows the part that changed; where the files lie in
reach of the page, a click shows all of it at full size.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real import files
from make_it_real._version import __version__
from make_it_real.errors import ImageError
from make_it_real.images import decode, encode, pixels
from make_it_real.inference import gallery_page as page

# Larger pictures are shown no larger than this, in pixels a side.
MAX_SIDE = 512
# Of pictures larger than that: the blocks in pixels that are compared, the least difference of
# one that counts as changed (in image units, above what JPEG brings about), the share of a side
# that is shown around what changed, and the share of the picture from which all of it is shown.
BLOCK, CHANGED, AROUND, MOST = 8, 0.05, 0.2, 0.6
# Images up to this side are enlarged in squares, others smoothly.
SMALL = 128
Shown = Tensor | Path | bytes


class Gallery:
    """A page to which cards are added. score: name of what they are sorted by, such as "drift".

    folder: where the page will lie, for links to large pictures that are files; None for no links.
    """

    def __init__(
        self, title: str, *, score: str = "score", about: str = "", folder: Path | None = None
    ) -> None:
        self.title, self.score, self.about, self.folder = title, score, about, folder
        self._cards: list[str] = []

    def __len__(self) -> int:
        return len(self._cards)

    def add(
        self,
        name: str,
        after: Shown,
        before: Shown | None = None,
        *,
        score: float | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a card: ``after`` alone, or with a slider that uncovers ``before``.

        Of two large pictures of one size, the part that differs is shown. figures: values by name,
        shown below. Raises ImageError for a file that is no image.
        """
        number = len(self._cards)
        new, old = _image(after), None if before is None else _image(before)
        rows = dict(figures or {})
        if score is not None:
            rows = {self.score: score, **rows}
        files = self._links(new, after, old, before)
        if old is not None and (part := changed_part(old, new)):
            rows["shown"] = _where(part, new)
            x, y = ((span.start + span.stop) // 2 for span in reversed(part))
            files += f' data-x="{x}" data-y="{y}"' * bool(files)
            new, old = new[:, part[0], part[1]], old[:, part[0], part[1]]
        top = f'<img class="after" alt="{escape(name)}" src="{_uri(new)}">'
        slider = ""
        if old is not None:
            under = f'<img class="before" alt="before" src="{_uri(old)}">'
            top = under + top + '<i class="edge"></i>'
            slider = (
                '<input type="range" min="0" max="100" value="50" '
                f'aria-label="before and after of {escape(name)}">'
            )
        kind = "pair small" if max(new.shape[1:]) <= SMALL else "pair"
        cells = "".join(f"<dt>{escape(k)}</dt><dd>{escape(_said(v))}</dd>" for k, v in rows.items())
        key = "" if score is None else f"{score:.9g}"
        self._cards.append(
            f'<figure data-order="{number}" data-name="{escape(name)}" data-score="{key}"{files}>'
            f'<div class="{kind}" tabindex="0" role="button" aria-label="enlarge {escape(name)}">'
            f'{top}</div>{slider}<figcaption title="{escape(name)}">{_breakable(name)}</figcaption>'
            f"<dl>{cells}</dl></figure>"
        )

    def _links(self, new: Tensor, after: Shown, old: Tensor | None, before: Shown | None) -> str:
        """Return attributes that name the files of two large pictures of one size, if they are."""
        alike = old is not None and old.shape[1:] == new.shape[1:]
        if self.folder is None or not alike or max(new.shape[1:]) <= MAX_SIDE:
            return ""
        links = ""
        for side, shown in (("before", before), ("after", after)):
            if not isinstance(shown, Path):
                return ""
            path = os.path.relpath(shown.resolve(), self.folder.resolve())
            links += f' data-{side}="{quote(os.fsencode(path))}"'
        return links

    def html(self) -> str:
        """Return the whole page."""
        count = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        return page.PAGE.format(
            title=escape(self.title), about=escape(self.about), count=count,
            score=escape(self.score), cards="\n".join(self._cards),
            style=page.STYLE, script=page.SCRIPT,
            version=escape(__version__), images="data: file: 'self'" if self.folder else "data:",
        )  # fmt: skip

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the page, whole or not at all. Raises ImageError where that can't be done."""
        files.make_folder(path.parent)
        files.write_bytes(path, self.html().encode("utf-8", "replace"), overwrite=overwrite)


def changed_part(before: Tensor, after: Tensor) -> tuple[slice, slice] | None:
    """Return the rows and columns around all that differs between two images (C, H, W).

    Returns None where everything is to be shown: where the images are small or of different sizes,
    and where nothing or nearly everything differs.
    """
    shape = after.shape[1:]
    if before.shape[1:] != shape or max(shape) <= MAX_SIDE:
        return None
    # Means of blocks, since JPEG changes single pixels anywhere.
    means = []
    for top in range(0, shape[0], 16 * BLOCK):
        rows = slice(top, top + 16 * BLOCK)
        differences = (after[:, rows] - before[:, rows]).abs().amax(0, keepdim=True)
        means.append(F.avg_pool2d(differences, BLOCK, ceil_mode=True)[0])
    blocks = torch.cat(means) > CHANGED
    part: list[slice] = []
    for flags, length in zip((blocks.any(1), blocks.any(0)), shape, strict=True):
        places = flags.nonzero().flatten().tolist()
        if not places:
            return None
        first, last = places[0] * BLOCK, (places[-1] + 1) * BLOCK
        around = max(MAX_SIDE // 8, round((last - first) * AROUND))
        part.append(slice(max(0, first - around), min(length, last + around)))
    rows, columns = part
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (shape[0] * shape[1])
    return (rows, columns) if share < MOST else None


def _where(part: tuple[slice, slice], image: Tensor) -> str:
    """Format sizes, width first, as in "320×240 of 4000×3000"."""
    rows, columns = part
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return f"{width}×{height} of {image.shape[2]}×{image.shape[1]}"


def _image(shown: Shown) -> Tensor:
    """Return an image (C, H, W), read where it is a file. Raises ImageError."""
    image = shown if isinstance(shown, Tensor) else pixels.on_white(decode.read(shown))
    if image.ndim != 3:
        raise ImageError("a gallery shows images of shape (C, H, W)")
    return image


def _uri(image: Tensor) -> str:
    """Encode an image as a data URL of a PNG, or reduced to ``MAX_SIDE`` pixels as a JPEG."""
    side, kind = max(image.shape[1:]), "PNG"
    if side > MAX_SIDE:
        size = [max(1, round(s * MAX_SIDE / side)) for s in image.shape[1:]]
        image, kind = F.interpolate(image[None], size, mode="area")[0], "JPEG"
    data = base64.b64encode(encode.encode(image, kind)).decode()
    return f"data:image/{kind.lower()};base64,{data}"


def _breakable(name: str) -> str:
    """Escape a name as HTML that breaks into lines after its separators only."""
    return "<wbr>".join(map(escape, re.split(r"(?<=[/_\\-])(?=.)", name)))


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
