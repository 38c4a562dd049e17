"""One HTML file that shows images before and after, sorted by a score: no network, no folder.

    page = Gallery("Projected digits", score="moved")
    page.add("sketch.png", after=y, before=x, score=0.12, figures={"inverted": "yes"})
    page.write(Path("x.html"))

Images are tensors (C, H, W) in [−1, 1], or the path or bytes of an image file; they are kept
as PNGs inside the page.
"""

import base64
import json
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
Shown = Tensor | Path | bytes


class Gallery:
    """A page in the making. score: what cards are sorted by, such as "drift"."""

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
        """A card: ``after`` alone, or under a slider that uncovers ``before``.

        figures: shown below, by name. Raises ImageError for a file that is no image.
        """
        number = len(self._cards)
        top = f'<img class="after" alt="{escape(name)}" src="{_uri(after)}">'
        slider = ""
        if before is not None:
            under = f'<img class="before" alt="before" src="{_uri(before)}">'
            top = under + top + '<i class="edge"></i>'
            slider = (
                '<input type="range" min="0" max="100" value="50" '
                f'aria-label="before and after of {escape(name)}">'
            )
        rows = dict(figures or {})
        if score is not None:
            rows = {self.score: score, **rows}
        cells = "".join(f"<dt>{escape(k)}</dt><dd>{escape(_said(v))}</dd>" for k, v in rows.items())
        key = "" if score is None else f"{score:.9g}"
        self._cards.append(
            f'<figure data-order="{number}" data-name="{escape(name)}" data-score="{key}">'
            f'<div class="pair">{top}</div>{slider}'
            f"<figcaption>{escape(name)}</figcaption><dl>{cells}</dl></figure>"
        )

    def html(self) -> str:
        """The whole page."""
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


def _uri(shown: Shown) -> str:
    return "data:image/png;base64," + base64.b64encode(_png(shown)).decode()


def _png(shown: Shown) -> bytes:
    image = shown if isinstance(shown, Tensor) else pixels.on_white(decode.read(shown))
    if image.ndim != 3:
        raise ImageError("a gallery shows images of shape (C, H, W)")
    side = max(image.shape[1:])
    if side > MAX_SIDE:
        size = [max(1, round(s * MAX_SIDE / side)) for s in image.shape[1:]]
        image = torch.nn.functional.interpolate(image[None], size, mode="area")[0]
    return encode.encode(image)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --side: 148px }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1400px; padding: 20px;
  font: 14px/1.45 system-ui, sans-serif; background: Canvas; color: CanvasText }
header { display: flex; flex-wrap: wrap; gap: 6px 20px; align-items: baseline;
  border-bottom: 1px solid var(--edge); padding-bottom: 12px; margin-bottom: 16px }
h1 { font-size: 20px; margin: 0 } header p { margin: 0; opacity: .75 }
header span { margin-left: auto } label + label { margin-left: 12px }
main { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(164px, 1fr)) }
figure { margin: 0; padding: 8px; border: 1px solid var(--edge); border-radius: 6px }
.pair { position: relative; width: 100%; aspect-ratio: 1; overflow: hidden; background: #8882 }
.pair img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain;
  image-rendering: pixelated }
.after { clip-path: inset(0 0 0 var(--cut, 0)) }
.before ~ .after { --cut: var(--at, 50%) }
.edge { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px;
  margin-left: -1px; background: #f80 }
input[type=range] { width: 100%; margin: 6px 0 0; accent-color: #f80 }
header input[type=range] { width: 130px; margin: 0; vertical-align: middle }
figcaption { font-weight: 600; overflow-wrap: anywhere; margin-top: 4px }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 10px; margin: 2px 0 0;
  font-size: 12.5px; font-variant-numeric: tabular-nums }
dt { opacity: .7 } dd { margin: 0; text-align: right; overflow-wrap: anywhere }
footer { margin-top: 20px; opacity: .6; font-size: 12px }
"""

_SCRIPT = """
const main = document.querySelector("main"), all = document.getElementById("all");
const cut = (card, value) =>
  card.querySelector(".pair").style.setProperty("--at", value + "%");
for (const range of main.querySelectorAll("input"))
  range.addEventListener("input", () => cut(range.closest("figure"), range.value));
all.addEventListener("input", () => {
  for (const range of main.querySelectorAll("input")) {
    range.value = all.value; cut(range.closest("figure"), all.value);
  }
});
if (!main.querySelector("input")) all.closest("label").hidden = true;
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
<footer>make-it-real {version}. Left of a slider: before; right of it: after.</footer>
<script>{script}</script></body></html>
"""
