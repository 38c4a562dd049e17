"""One HTML file that shows images before and after, sorted by a score: no network, no folder.

    page = Gallery("Projected digits", score="moved")
    page.add("sketch.png", after=y, before=x, score=0.12, figures={"inverted": "yes"})
    page.write(Path("x.html"))

Images are tensors (C, H, W) in [−1, 1], or the path or bytes of an image file. The page holds
them as PNGs. Of a large picture it shows the part that changed.
"""

import base64
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from make_it_real import files
from make_it_real._version import __version__
from make_it_real.errors import ImageError
from make_it_real.images import decode, encode, pixels

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
    """A page to which cards are added. score: name of what they are sorted by, such as "drift"."""

    def __init__(self, title: str, *, score: str = "score", about: str = "") -> None:
        self.title, self.score, self.about = title, score, about
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
        if old is not None and (part := changed_part(old, new)):
            rows["shown"] = _where(part, new)
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
            f'<figure data-order="{number}" data-name="{escape(name)}" data-score="{key}">'
            f'<div class="{kind}" tabindex="0" role="button" aria-label="enlarge {escape(name)}">'
            f'{top}</div>{slider}<figcaption title="{escape(name)}">{_breakable(name)}</figcaption>'
            f"<dl>{cells}</dl></figure>"
        )

    def html(self) -> str:
        """Return the whole page."""
        count = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        return _PAGE.format(
            title=escape(self.title), about=escape(self.about), count=count,
            score=escape(self.score), cards="\n".join(self._cards), style=_STYLE, script=_SCRIPT,
            version=escape(__version__),
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
    differences = (after - before).abs().amax(0)[None, None]
    blocks = torch.nn.functional.avg_pool2d(differences, BLOCK, ceil_mode=True)[0, 0] > CHANGED
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
    """Encode an image as a data URL of a PNG, at most ``MAX_SIDE`` pixels a side."""
    side = max(image.shape[1:])
    if side > MAX_SIDE:
        size = [max(1, round(s * MAX_SIDE / side)) for s in image.shape[1:]]
        image = torch.nn.functional.interpolate(image[None], size, mode="area")[0]
    return "data:image/png;base64," + base64.b64encode(encode.encode(image)).decode()


def _breakable(name: str) -> str:
    """Escape a name as HTML that breaks into lines after its separators only."""
    return "<wbr>".join(map(escape, re.split(r"(?<=[/_\\-])(?=.)", name)))


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1b1b; --edge: #0002; --mark: #e06000 }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --text: #e6e6e6; --edge: #fff3; --mark: #ff9a3d } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1400px; padding: 20px;
  font: 14px/1.45 system-ui, sans-serif; background: var(--page); color: var(--text) }
header { display: flex; flex-wrap: wrap; gap: 6px 20px; align-items: baseline;
  border-bottom: 1px solid var(--edge); padding-bottom: 12px; margin-bottom: 16px }
h1 { font-size: 20px; margin: 0 } header p { margin: 0; opacity: .75 }
header span { margin-left: auto } label + label { margin-left: 12px }
main { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr)) }
figure { margin: 0; padding: 8px; border: 1px solid var(--edge); border-radius: 6px; min-width: 0 }
.pair { position: relative; width: 100%; aspect-ratio: 1; overflow: hidden; background: #8882;
  cursor: zoom-in }
.pair:focus-visible { outline: 2px solid var(--mark) }
.pair img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain }
.small img { image-rendering: pixelated }
.after { clip-path: inset(0 0 0 var(--cut, 0)) }
.before ~ .after { --cut: var(--at, 50%) }
.edge { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px;
  margin-left: -1px; background: var(--mark) }
input[type=range] { width: 100%; margin: 6px 0 0; accent-color: var(--mark) }
header input[type=range] { width: 130px; margin: 0; vertical-align: middle }
figcaption { font-weight: 600; margin-top: 4px; overflow: hidden; text-overflow: ellipsis }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 10px; margin: 2px 0 0;
  font-size: 12.5px; font-variant-numeric: tabular-nums }
dt { opacity: .7; white-space: nowrap } dd { margin: 0; text-align: right }
footer { margin-top: 20px; opacity: .6; font-size: 12px }
dialog { border: 1px solid var(--edge); border-radius: 8px; padding: 12px; max-width: none;
  background: var(--page); color: var(--text) }
dialog::backdrop { background: #000b }
dialog figure { width: min(88vw, 78vh); border: 0; padding: 0 }
dialog figcaption { overflow-wrap: break-word }
dialog .pair { cursor: zoom-out }
"""

_SCRIPT = """
const main = document.querySelector("main"), all = document.getElementById("all");
const large = document.querySelector("dialog");
const cut = (card, value) =>
  card.querySelector(".pair").style.setProperty("--at", value + "%");
document.addEventListener("input", event => {
  const card = event.target.closest("figure");
  if (card) cut(card, event.target.value);
});
all.addEventListener("input", () => {
  for (const range of main.querySelectorAll("input")) {
    range.value = all.value; cut(range.closest("figure"), all.value);
  }
});
if (!main.querySelector("input")) all.closest("label").hidden = true;
const enlarge = card => {
  const copy = card.cloneNode(true), range = card.querySelector("input");
  if (range) copy.querySelector("input").value = range.value;
  large.replaceChildren(copy);
  large.showModal();
};
document.addEventListener("click", event => {
  const pair = event.target.closest(".pair");
  if (event.target === large || (pair && large.contains(pair))) large.close();
  else if (pair) enlarge(pair.closest("figure"));
});
document.addEventListener("keydown", event => {
  if (event.target.matches(".pair") && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault(); event.target.click();
  }
});
document.getElementById("sort").addEventListener("change", event => {
  const [key, sign] = event.target.value.split(" "), cards = [...main.children];
  const number = card => card.dataset[key] === "" ? Infinity : sign * card.dataset[key];
  cards.sort(key === "name"
    ? (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true })
    : (a, b) => number(a) - number(b));
  main.append(...cards);
});
"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><header><h1>{title}</h1><p>{count}</p><p>{about}</p><span>
<label>sort by <select id="sort"><option value="order 1">order given</option>
<option value="name 1">name</option><option value="score 1">{score}, rising</option>
<option value="score -1">{score}, falling</option></select></label>
<label>all sliders <input id="all" type="range" min="0" max="100" value="50"></label>
</span></header>
<main>
{cards}
</main>
<footer>make-it-real {version}. Left of a slider: before; right of it: after. A click enlarges an
image.</footer>
<dialog></dialog>
<script>{script}</script></body></html>
"""
