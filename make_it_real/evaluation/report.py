"""The report of an evaluation: tables, and one HTML or Markdown file with its pictures."""

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from torch import Tensor

from make_it_real._version import __version__
from make_it_real.degradations import kinds
from make_it_real.evaluation.bootstrap import Interval
from make_it_real.evaluation.figures import Figure, Figures, Group, named
from make_it_real.evaluation.peers import PEERS
from make_it_real.images import encode

METRICS = {
    "fd": "Fréchet distance", "kd": "kernel distance",
    "precision": "precision", "recall": "recall", "density": "density", "coverage": "coverage",
    "acc": "accuracy", "psnr": "PSNR (dB)", "ssim": "SSIM", "feature": "feature distance",
    "unchanged": "share unchanged by f", "coloured": "share coloured",
    "rest": "share of pixels with f(f(y)) = f(y)", "seconds": "CPU seconds a megapixel",
}  # fmt: skip
# Titles of columns, by k or by what a figure is of.
GENERATED = ("real images", "f(z)", "f(f(z))", "f³(z)")
REPAIRED = ("A(x)", "f", "f²", "f³")
STEPS = {
    "mean": "mean |f^(k+1)(z) − f^k(z)|", "p99": "its 99th percentile",
    "": "mean distance |f^k(z) − f(z)|",
}  # fmt: skip
TITLES = {
    "generation": "Generation, against held-out images",
    "idempotence": "Idempotence",
    "fidelity": "Fidelity to held-out images",
    "realness": "Realness",
    "projection": "Projection of damaged images",
    "speed": "Speed",
}
# Labels of figures that are not part of a larger table.
LABELS = {
    "classifier_accuracy": "accuracy of the classifier on undamaged images",
    "class_share_min": "share of the rarest class",
    "class_share_max": "share of the most frequent class",
    "idempotence": "mean |f(f(z)) − f(z)|", "rest_share": "share at rest at k = 1,000",
    "rest_change_max": "largest change of a pixel at k = 1,000",
    "rest_way": "mean |f^1000(z) − f(z)|", "rest_way_max": "largest |f^1000(z) − f(z)|",
    "kd_lite0_real": "kernel distance (lite0) of x", "kid_real": "KID of x",
    "fidelity": "mean |f(x) − x|", "fidelity_psnr": "PSNR (dB)", "fidelity_ssim": "SSIM",
    "fidelity_unchanged": "share of pixels unchanged",
    "fidelity_within_1": "share of pixels within one 8-bit level",
    "auroc_noise": "AUROC of the score, real against noisy",
    "auroc_inverted": "AUROC of the score, real against inverted",
    "auroc_shuffled": "AUROC of the score, real against shuffled",
}  # fmt: skip
NOTES = (
    "In brackets: 95 % intervals, by resampling images. Of a Fréchet distance they are ± 1.96 "
    "deviations of the resampled distances, and there are none where these would take long. A "
    "distance grows as images become fewer: compare it with that of as many real images. Only FID "
    "and KID are in features of Inception. f² and f³ of more than 1,000 damaged images: what they "
    "change on the first 1,000 is added to the figure of f over all, without an interval. Feature "
    "distance: 1 is the mean between different real images. Kernel distances of repairs are those "
    "of up to 1,000 from up to 2,000 real images other than those damaged, unbiased and not "
    "multiplied by 1,000; their intervals are by the standard error of a U-statistic. Unchanged: "
    "bit for bit. Coloured: on average over pixels, the largest less the smallest channel is over "
    "0.06 of the range. Kinds marked as kept out were never trained on."
)
# Columns of the overview of photographs, before and after those of peers: title and form of values.
BRIEF = {
    ("psnr", 0): ("A(x)", "{:.2f}"), ("psnr", 1): ("f", "{:.2f}"), ("psnr", 2): ("f²", "{:.2f}"),
    ("seconds", 1): ("f", "{:.2f}"), ("rest", 2): ("at rest", "{:.1%}"),
}  # fmt: skip
PHOTOGRAPH_NOTES = (
    "In brackets: 95 % intervals, by resampling pictures. Pictures are of 8 bits, and what f makes "
    "is rounded to 8 bits before f is applied to it again. A picture's PSNR, over all values of "
    "RGB, counts as 60 dB at most. Levels of noise are standard deviations of 255 levels, others "
    "as mir degrade has them. At rest: the share of pixels with f(f(y)) = f(y), bit for bit. f is "
    "told nothing. Peers are OpenCV's NLM, scikit-image's wavelets and NL-means, and BM3D; they "
    "are told the standard deviation of white noise, and elsewhere scikit-image estimates it, as "
    "its wavelets always do. Feature distance: 1 is the mean between different pictures. Kinds "
    "marked as kept out were never trained on."
)


# Writes a value and its interval.
Cell = Callable[[float, Interval | None], str]


@dataclass(frozen=True)
class Table:
    """A table: its title, the titles of its columns, and rows of cells, first the row's label."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Report:
    """The results of an evaluation.

    facts: what was measured, by name. groups: as ``evaluate`` yielded them. kept_out: the kinds
    of damage that were kept out of training. notes: how to read the figures.
    """

    title: str
    facts: Mapping[str, str]
    groups: list[Group] = field(default_factory=list)
    kept_out: Collection[str] = kinds.kept_out(1)
    notes: str = NOTES

    @property
    def figures(self) -> Figures:
        """The values of all groups by name."""
        return {name: value for group in self.groups for name, value in group.figures.items()}

    @property
    def intervals(self) -> dict[str, Interval]:
        """The intervals of all groups by name."""
        return {name: value for group in self.groups for name, value in group.intervals.items()}

    def tables(self, cell: Cell | None = None) -> list[tuple[str, list[Table]]]:
        """Lay out the figures: (title, tables) of each section, with single figures last.

        cell: writes a value and its interval, ``bracketed`` by default.
        """
        sections: dict[str, list[Group]] = {}
        for group in self.groups:
            sections.setdefault(group.section, []).append(group)
        cell = cell or bracketed
        tables = [
            (TITLES[name], _tables(groups, self.kept_out, cell))
            for name, groups in sections.items()
        ]
        # Half the width of an interval is enough here, and a table with peers is wide.
        overview = _overview(self, plus_minus if cell is bracketed else cell)
        return [("Overview", [overview]), *tables] if overview.rows else tables

    def pictures(self, title: str) -> Iterable[tuple[str, Tensor]]:
        """Yield the pictures of the section with this title: (what one shows, its sheet)."""
        for group in self.groups:
            if TITLES[group.section] == title:
                yield from group.pictures.items()


def _tables(groups: list[Group], kept_out: Collection[str], write: Cell) -> list[Table]:
    """Lay out the figures of a section."""
    # Cells by table, row and column.
    grids: dict[str, dict[str, dict[str, str]]] = {}
    single: list[tuple[str, ...]] = []
    for group in groups:
        for figure in group.entries:
            cell = write(figure.value, figure.interval)
            if figure.k is None:
                single.append((LABELS.get(figure.name, figure.name), cell))
            else:
                table, row, column = _place(figure, figure.k, kept_out)
                grids.setdefault(table, {}).setdefault(row, {})[column] = cell
    tables = []
    for title, rows in grids.items():
        columns = tuple(dict.fromkeys(column for cells in rows.values() for column in cells))
        body = tuple((row, *(cells.get(c, "") for c in columns)) for row, cells in rows.items())
        tables.append(Table(title, columns, body))
    return [*tables, *([Table("", ("figure",), tuple(single))] if single else [])]


def _place(figure: Figure, k: int, kept_out: Collection[str]) -> tuple[str, str, str]:
    """Return the table, row and column of a figure that there is for several k, or for peers."""
    if figure.section == "generation":
        return "", _label(figure), GENERATED[k]
    if figure.section == "idempotence":
        return "", f"k = {k:,}", STEPS[figure.of]
    by = PEERS[figure.by].title if figure.by else REPAIRED[k]
    if figure.section == "speed":
        return "", METRICS[figure.metric], by
    mark = " (kept out)" if figure.of in kept_out else ""
    level = "" if figure.level is None else f" {figure.level:g}"
    return _label(figure), f"{figure.of}{level}{mark}", by


def _overview(report: Report, write: Cell) -> Table:
    """Lay out what counts of photographs, a row for each damage. Other reports get no rows."""
    rows: dict[str, dict[str, str]] = {}
    figures = [figure for group in report.groups for figure in group.entries]
    if not any(figure.metric == "rest" for figure in figures):
        return Table("", (), ())
    for figure in figures:
        if figure.k is None or (what := (figure.metric, 1 if figure.by else figure.k)) not in BRIEF:
            continue
        column, form = BRIEF[what]
        _, row, place = _place(figure, figure.k, report.kept_out)
        cell = form.format(figure.value)
        if what == ("psnr", 1) and not figure.by:
            cell = write(figure.value, figure.interval)
        rows.setdefault(row, {})[place if figure.by else column] = cell
    titles = list(dict.fromkeys(title for title, _ in BRIEF.values()))
    peers = [peer.title for peer in PEERS.values()]
    columns = [*titles[:3], *peers, *titles[3:]]
    columns = [column for column in columns if any(column in cells for cells in rows.values())]
    body = ((row, *(cells.get(column, "") for column in columns)) for row, cells in rows.items())
    return Table("PSNR (dB)", tuple(columns), tuple(body))


def _label(figure: Figure) -> str:
    """Return a metric and its features in words, such as Fréchet distance (lite0) or FID."""
    name = named(figure.features, figure.metric)
    if name in ("fid", "kid"):
        return name.upper()
    return METRICS[figure.metric] + (f" ({figure.features})" if figure.features else "")


def bracketed(value: float, interval: Interval | None) -> str:
    """Write a value and its interval, such as 0.5 [0.4, 0.6]."""
    text = f"{value:.4g}"
    return text if interval is None else f"{text} [{interval[0]:.4g}, {interval[1]:.4g}]"


def plus_minus(value: float, interval: Interval | None) -> str:
    """Write a value and half the width of its interval, such as 0.5 ±0.1."""
    text = f"{value:.4g}"
    return text if interval is None else f"{text} ±{(interval[1] - interval[0]) / 2:.2g}"


def markdown(report: Report) -> str:
    """Write the report as Markdown, with its pictures inside."""
    facts = (f"- {name}: {fact}" for name, fact in report.facts.items())
    parts = [f"# {report.title}", *facts, "", report.notes]
    for title, tables in report.tables():
        parts += ["", f"## {title}"]
        for table in tables:
            parts += ["", *_markdown_lines(table)]
        for what, sheet in report.pictures(title):
            parts += ["", f"{what}:", "", f"![{what}]({_uri(sheet)})"]
    return "\n".join([*parts, "", f"make-it-real {__version__}", ""])


def _markdown_lines(table: Table) -> list[str]:
    """Write a table as lines of Markdown."""
    head = (table.title, *table.columns)
    lines = [head, ("---",) * len(head), *table.rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in escaped]


def html(report: Report) -> str:
    """Write the report as one HTML page, with its pictures inside; it needs no network."""
    facts = "".join(f"<li>{escape(k)}: {escape(v)}</li>" for k, v in report.facts.items())
    body = [f"<h1>{escape(report.title)}</h1><ul>{facts}</ul><p>{escape(report.notes)}</p>"]
    for title, tables in report.tables():
        body.append(f"<h2>{escape(title)}</h2>")
        for table in tables:
            head = "".join(f"<th>{escape(c)}</th>" for c in (table.title, *table.columns))
            rows = "".join(
                f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
                for row in table.rows
            )
            body.append(f"<div><table><tr>{head}</tr>{rows}</table></div>")
        for what, sheet in report.pictures(title):
            width = 2 * sheet.shape[2] if sheet.shape[2] < 400 else sheet.shape[2]
            picture = f'<img alt="{escape(what)}" src="{_uri(sheet)}" width="{width}">'
            body.append(f"<figure>{picture}<figcaption>{escape(what)}</figcaption></figure>")
    version = escape(__version__)
    return _PAGE.format(title=escape(report.title), body="\n".join(body), version=version)


def _uri(sheet: Tensor) -> str:
    """Encode a sheet of images (C, H, W) in [−1, 1] as a data URI."""
    return "data:image/png;base64," + base64.b64encode(encode.encode(sheet)).decode()


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ margin: 0 auto; max-width: 1100px; padding: 20px;
  font: 14px/1.45 system-ui, sans-serif; background: Canvas; color: CanvasText }}
h1 {{ font-size: 20px }} h2 {{ font-size: 17px; margin-top: 2em }}
div {{ overflow-x: auto }} table {{ border-collapse: collapse; margin: 12px 0 }}
th, td {{ padding: 3px 10px; border-bottom: 1px solid #8884; text-align: right;
  font-variant-numeric: tabular-nums }}
th:first-child, td:first-child {{ text-align: left }}
figure {{ display: inline-block; margin: 10px 16px 10px 0; vertical-align: top }}
img {{ image-rendering: pixelated; max-width: 100% }} figcaption {{ font-size: 12px; opacity: .8 }}
footer {{ margin-top: 24px; opacity: .6; font-size: 12px }}
</style></head><body>
{body}
<footer>make-it-real {version}</footer></body></html>
"""
