"""EXIF: the orientation of a picture, and the block as it may be written again.

EXIF is a TIFF structure without an image. Its directory is read entry by entry: an entry that
can't be read is left out.
"""

import re
import struct
from dataclasses import dataclass

from PIL import Image

ORIENTATION, PHOTOMETRIC = 0x0112, 0x0106
# TIFF's tags on size, samples, strips, tiles and palette (TIFF 6.0), ICC's and Photoshop's.
LAYOUT = frozenset(
    (
        ORIENTATION, PHOTOMETRIC, *range(254, 260), 263, 264, 265, 266, 273, 277, 278,
        279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 301, 317, *range(320, 326), 330, 332, 334,
        336, *range(338, 344), 347, *range(512, 522), *range(529, 533), 34377, 34675,
    )
)  # fmt: skip
# Size of a value by its type, in bytes; and struct's letters for the types that are integers.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
MAX_ENTRIES, MAX_TRIED = 65_535, 100
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True)
class Directory:
    """A directory (IFD) of a TIFF structure.

    data: the whole structure. order: "<" or ">". start: where the directory starts. entries:
    the type, number of values, and first byte of the values of each tag. after: where the next
    directory starts; 0 for none.
    """

    data: bytes
    order: str
    start: int
    entries: dict[int, tuple[int, int, int]]
    after: int = 0

    def raw(self, tag: int) -> bytes:
        """Bytes of a tag's values; empty if it is missing."""
        kind, count, start = self.entries.get(tag, (1, 0, 0))
        return self.data[start : start + SIZES[kind] * count]

    def integers(self, tag: int) -> tuple[int, ...]:
        """Integers of a tag; empty if it is missing or of another type."""
        kind, count, start = self.entries.get(tag, (1, 0, 0))
        if kind not in INTEGERS:
            return ()
        return struct.unpack_from(f"{self.order}{count}{INTEGERS[kind]}", self.data, start)

    def integer(self, tag: int, otherwise: int = 0) -> int:
        """First integer of a tag, or ``otherwise``."""
        return next(iter(self.integers(tag)), otherwise)


def directory(data: bytes, at: int | None = None) -> Directory | None:
    """Read the directory at an offset, by default the first of a TIFF structure.

    Returns None if there is none. Entries that can't be read are left out.
    """
    order, version = {b"II": "<", b"MM": ">"}.get(data[:2], ""), data[2:4]
    if not order or version not in (b"*\0", b"\0*", b"+\0", b"\0+"):
        return None
    big = b"+" in version
    head, row, pointer = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    entries: dict[int, tuple[int, int, int]] = {}
    after = 0
    try:
        if at is None:
            (at,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + head, data, at)
        end = at + struct.calcsize("=" + head)
        for _ in range(min(count, MAX_ENTRIES)):
            tag, kind, length, place = struct.unpack_from(order + row, data, end)
            end += struct.calcsize("=" + row)
            inline, size = struct.calcsize("=" + pointer), SIZES.get(kind, 0) * length
            if size <= inline:
                place = end - inline
            if 0 < size <= len(data) - place:
                entries.setdefault(tag, (kind, length, place))
        (after,) = struct.unpack_from(order + pointer, data, end)
    except (struct.error, OverflowError):
        # The directory starts or ends beyond the data.
        return Directory(data, order, at or 0, entries) if entries else None
    return Directory(data, order, at, entries, after)


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Read the orientation, 1–8 (EXIF 2.3, tag 274), of EXIF or else of XMP.

    Returns 1, upright, if neither has one.
    """
    tags = directory(_bare(exif)) if exif else None
    value = tags.integer(ORIENTATION) if tags else 0
    if value not in range(1, 9):
        match = XMP_ORIENTATION.search(xmp or b"")
        value = int(match[1]) if match else 1
    return value


def _bare(exif: bytes) -> bytes:
    """Cut off the mark "Exif" before a block, which some programs write twice."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return exif


def kept(exif: bytes | None) -> bytes | None:
    """Make an EXIF block that may be written again; None if nothing of it can be read.

    It leaves out what is no longer true, or is kept elsewhere: orientation and thumbnail, and
    of a TIFF the layout of its pixels and the colour profile.
    """
    if not exif:
        return None
    # Pillow may raise anything for what cameras write and other programs cut.
    try:
        block = _loaded(exif)
        tags = list(block)
        try:
            return block.tobytes() if tags else None
        except Exception:
            # Entries of an unusual type can't be written: the others can.
            fit = {tag for tag in tags[:MAX_TRIED] if _is_writable(exif, tag)}
            return _loaded(exif, fit).tobytes() if fit else None
    except Exception:
        return None


def _loaded(exif: bytes, only: set[int] | None = None) -> Image.Exif:
    """Load a block into Pillow: the tags in ``only``, or all, but none of LAYOUT."""
    block = Image.Exif()
    block.load(exif)
    for tag in list(block):
        if tag in LAYOUT or (only is not None and tag not in only):
            del block[tag]
    return block


def _is_writable(exif: bytes, tag: int) -> bool:
    try:
        return bool(_loaded(exif, {tag}).tobytes())
    except Exception:
        return False
