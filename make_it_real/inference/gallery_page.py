"""The gallery's page: its style, its script and its frame, which are filled in by ``gallery``."""

STYLE = """
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
main:has(figure[data-after]) { grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)) }
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
dialog figure.full { width: 92vw }
.full .pair { aspect-ratio: auto; height: 78vh; overflow: auto; cursor: grab }
.full .pair img { inset: 0 auto auto 0; width: auto; height: auto }
.full .edge { bottom: auto; height: var(--high, 100%) }
.full button { float: right; margin-left: 12px }
"""

SCRIPT = """
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
  if (card.dataset.after) full(copy);
};
// The files themselves, pixel for pixel; what is in the page stays where they can't be shown.
const full = async copy => {
  const files = await Promise.all(["before", "after"].map(async side => {
    const file = new Image();
    file.src = copy.dataset[side]; file.className = side; file.alt = side;
    await file.decode();
    return file;
  })).catch(() => null);
  if (!files || !copy.isConnected) return;
  const pair = copy.querySelector(".pair"), range = copy.querySelector("input");
  const width = files[1].naturalWidth, height = files[1].naturalHeight;
  copy.classList.add("full");
  pair.replaceChildren(...files, pair.querySelector(".edge"));
  pair.style.setProperty("--high", height + "px");
  const place = () => pair.style.setProperty("--at",
    pair.scrollLeft + range.value / 100 * Math.min(pair.clientWidth, width) + "px");
  range.addEventListener("input", event => { event.stopPropagation(); place(); });
  pair.addEventListener("scroll", place);
  pair.addEventListener("pointermove", event => {
    if (event.buttons & 1) pair.scrollBy(-event.movementX, -event.movementY);
  });
  pair.addEventListener("dragstart", event => event.preventDefault());
  const close = document.createElement("button");
  close.textContent = "close";
  close.addEventListener("click", () => large.close());
  copy.querySelector("figcaption").prepend(close);
  const { x = width / 2, y = height / 2 } = copy.dataset;
  pair.scrollTo(x - pair.clientWidth / 2, y - pair.clientHeight / 2);
  place();
};
document.addEventListener("click", event => {
  const pair = event.target.closest(".pair");
  if (event.target === large) large.close();
  else if (pair && large.contains(pair)) pair.closest(".full") || large.close();
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

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src {images}; \
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
image; a large photograph is shown at full size, to be moved by dragging.</footer>
<dialog></dialog>
<script>{script}</script></body></html>
"""
