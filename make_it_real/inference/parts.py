"""What f made of a picture → files: the whole or each face, a grid of variants or each of them."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from torch import Tensor

from make_it_real.images.alignment import Similarity
from make_it_real.images.framing import Fitted
from make_it_real.images.paste_back import Outcome, outcome
from make_it_real.inference.naming import part_name
from make_it_real.inference.report import Result
from make_it_real.inference.variations import Sheet
from make_it_real.inference.writer import Item, Writer


def write(
    writer: Writer, item: Item, y: Tensor, figures: Mapping[str, Tensor], share: float
) -> list[Result]:
    """Write what f made of a picture, y (N, V, C, S, S): a Result for each file, in order.

    figures: fields of Result by name, a value for each image and variant (N, V). share: seconds
    that each image took in f.
    """
    settings = writer.settings
    together = item.restore or not item.fitted
    # A folder job that goes on takes the first file for a sign that all are there.
    each = [range(i, i + 1) for i in range(len(item.fitted))]
    parts = [range(len(item.fitted))] if together else each
    sheets = settings.variations.sheets() if item.fitted else [Sheet(range(1))]
    results = []
    for number, (part, sheet) in reversed([*enumerate(product(parts, sheets), 1)]):
        start = time.perf_counter()
        source, output = item.job.source, item.job.output
        if part.start:
            output = part_name(source, output, f"face{part.start + 1}")
        if sheet.word:
            output = part_name(source, output, sheet.word)
        first = None if together else item.fitted[part.start]
        keep = first and sheet.single and settings.keep_before and _cut_out(first)
        result = Result(
            str(source),
            str(output),
            "changed",
            item.reason,
            warnings=item.warnings if number == 1 else (),
            inverted=any(item.fitted[i].inverted for i in part),
            done=first.done if first else item.notes,
            model=item.model.name,
            why=item.why,
            face=part.start + 1,
            noise=sheet.noise,
            seeds=sheet.seeds,
            part=number,
            before=first.image if first and keep else None,
        )
        result = writer.write(
            item, output, partial(_outcome, item, part, y, sheet),
            _with_figures(result, figures, part, sheet.variants), [first] if first else [],
            sheet.text(),
        )  # fmt: skip
        seconds = time.perf_counter() - start + share * len(part) / len(sheets)
        seconds += item.seconds / (len(parts) * len(sheets))
        results.append(replace(result, seconds=round(seconds, 6)))
    return results[::-1]


def _cut_out(fitted: Fitted) -> bool:
    return isinstance(fitted.frame, Similarity)


def _outcome(item: Item, part: range, y: Tensor, sheet: Sheet) -> Outcome:
    """Make the variants of a sheet of some of an item's images, of which y is (N, V, C, S, S)."""
    each = (
        outcome(item.picture, [(item.fitted[i], y[i, v]) for i in part], restore=item.restore)
        for v in sheet.variants
    )
    return sheet.outcome(each)


def _with_figures(
    result: Result, figures: Mapping[str, Tensor], part: range, variants: range
) -> Result:
    """Add the figures of some images and variants: the highest percentile, of all else the mean."""
    some = {
        name: each[part.start : part.stop, variants.start : variants.stop]
        for name, each in figures.items()
        if part
    }
    more: dict[str, Any] = {
        name: float(each.max() if name == "percentile" else each.mean())
        for name, each in some.items()
    }
    return replace(result, **more)
