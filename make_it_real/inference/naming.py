"""Names of results, by the names of the files that they are made of."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Literal

from make_it_real.images.decode import SUFFIXES

Format = Literal["png", "jpg", "webp", "same"]
OUTPUT_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def result_suffix(name: str, format: Format | None) -> str:
    """Return the suffix of the result of a file."""
    if format != "same":
        return f".{format or 'png'}"
    own = os.path.splitext(name)[1]
    return own if own.lower() in OUTPUT_SUFFIXES else ".png"


def without_results(names: list[str], word: str) -> list[str]:
    """Leave out the results among a folder's names, such as x_real.png beside x.jpg."""
    if not word:
        return names
    stems = [os.path.splitext(name)[0] for name in names]
    result = re.compile(rf"(.+?){re.escape(word)}(_\d+)?(-face\d+(_2)*)?", re.DOTALL)
    known = {*stems, *names}
    whose = [result.fullmatch(stem) for stem in stems]
    return [
        name for name, match in zip(names, whose, strict=True) if not match or match[1] not in known
    ]


def result_names(names: list[str], format: Format | None, word: str = "") -> list[str]:
    """Name a folder's results: x.jpg → x.png, or x.jpg.png where several would be x.png.

    word: goes before the suffix. Names that differ in case alone count as equal, as they do on
    many file systems.
    """
    plain = [os.path.splitext(name)[0] + word + result_suffix(name, format) for name in names]
    counts = Counter(result.casefold() for result in plain)
    taken = {result for result, count in counts.items() if count == 1}
    for i, name in enumerate(names):
        if counts[plain[i].casefold()] > 1:
            suffix, number = word + result_suffix(name, format), 1
            result = f"{name}{suffix}"
            while result.casefold() in taken:
                number += 1
                result = f"{name}_{number}{suffix}"
            taken.add(result.casefold())
            plain[i] = result
    return plain


def heat_name(heat: Path, place: Path) -> Path:
    """Name the heat map of a result: ``heat`` itself if that is a PNG, else a PNG in that folder.

    place: of the result below its own folder, such as sub/photo.jpg, which gives sub/photo.jpg.png.
    """
    if heat.suffix.lower() == ".png":
        return heat
    own = place.suffix.lower() == ".png"
    return heat / (place if own else place.with_name(f"{place.name}.png"))


def part_name(source: Path, output: Path, part: str) -> Path:
    """Name the file for one of several results of a photo: photo_real-face2.png.

    part: which one, such as face2. The name differs from that of the result of a file called
    photo-face2, which may lie beside the photo.
    """
    stem = f"{output.stem}-{part}"
    while output.parent != source.parent and any(
        os.path.lexists(source.parent / (stem + ending))
        for suffix in SUFFIXES
        for ending in (suffix, suffix.upper())
    ):
        stem += "_2"
    return output.with_stem(stem)
