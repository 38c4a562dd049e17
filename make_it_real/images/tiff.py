"""TIFFs of more than 8 bits per sample, which Pillow refuses or cuts to 8 bits: their samples.

Pillow still decompresses them: the file gets a directory that calls it a grey 8-bit image, whose
width is the number of bytes in a row. What the bytes mean is worked out here.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from make_it_real.images.deep import Samples
from make_it_real.images.exif import Directory

Array = NDArray[Any]
Entries = dict[int, tuple[int, int, bytes]]
# Tags (TIFF 6.0).
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, EXTRA, FORMAT = 284, 317, 322, 323, 338, 339
FILL_ORDER, ROWS_PER_STRIP = 266, 278
# Offsets and lengths of strips and tiles, one value for each.
PLACES = (273, 279, 324, 325)
# Compressions that work on bytes: none and PackBits; then those that may follow on a predictor:
# LZW, Deflate (two numbers), LZMA, Zstandard.
PLAIN, PREDICTED = (1, 32773), (5, 8, 32946, 34925, 50000)
LONG, BIG = 4, (16, 17, 18)
MAX_SAMPLES, MAX_PADDED = 32, 2**24


@dataclass(frozen=True)
class Layout:
    """How a TIFF stores pixels of more than 8 bits per sample.

    size: (height, width) of the image. tile: (height, width) of a tile; the image's if it is in
    strips. dtype: type of a sample in the file. samples: samples per pixel. colours: how many
    of them, the first ones, are colours (1 for grey, 3 for RGB).
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    dtype: np.dtype[Any]
    samples: int
    colours: int

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of all tiles together, padding included."""
        height, width = (-(-a // b) * b for a, b in zip(self.size, self.tile, strict=True))
        return height, width


def layout(tags: Directory) -> Layout | None:
    """Read how a TIFF stores its pixels.

    None unless these are grey or RGB, of 16 bits per sample or more, and can be decompressed.
    """
    bits, formats = set(tags.integers(BITS)), set(tags.integers(FORMAT)) or {1}
    kind = {1: "u", 2: "i", 3: "f"}.get(min(formats))
    colours = {0: 1, 1: 1, 2: 3}.get(tags.integer(PHOTOMETRIC, -1), 0)
    samples = tags.integer(SAMPLES, 1)
    size = tags.integer(HEIGHT), tags.integer(WIDTH)
    tile = tags.integer(TILE_HEIGHT, size[0]), tags.integer(TILE_WIDTH, size[1])
    if not (
        kind and len(formats) == len(bits) == 1 and bits <= {16, 32, 64}
        and 0 < colours <= samples <= MAX_SAMPLES
        and tags.integer(COMPRESSION, 1) in PLAIN + PREDICTED
        and min(size + tile) > 0
    ):  # fmt: skip
        return None
    dtype = np.dtype(f"{tags.order}{kind}{min(bits) // 8}")
    how = Layout(size, tile, dtype, samples, colours)
    # A small image in huge tiles would take any amount of memory.
    area = how.padded[0] * how.padded[1]
    return how if area <= max(MAX_PADDED, 4 * size[0] * size[1]) else None


def read(tags: Directory, how: Layout) -> Samples:
    """Decompress the pixels. Raises what Pillow raises for damaged files."""
    extra = tags.integers(EXTRA)
    if not extra and how.samples == how.colours + 1 == 4:
        # A fourth sample that is not described is alpha, as in Pillow.
        extra = (2,)
    alpha = next((i for i, kind in enumerate(extra) if kind in (1, 2)), None)
    if alpha is not None and how.colours + alpha >= how.samples:
        alpha = None
    wanted = how.colours if alpha is None else how.colours + alpha + 1
    if tags.integer(PLANAR, 1) == 2:
        planes = [_plane(tags, how, i, 1) for i in range(wanted)]
        values = np.concatenate(planes, -1)
    else:
        values = _plane(tags, how, 0, how.samples)
    colour = values[..., : how.colours]
    if tags.integer(PHOTOMETRIC) == 0 and how.dtype.kind == "u":
        colour = ~colour
    if alpha is None:
        return Samples(colour)
    return Samples(colour, values[..., how.colours + alpha], extra[alpha] == 1)


def _plane(tags: Directory, how: Layout, plane: int, samples: int) -> Array:
    """Decompress one plane: (H, W, samples). samples: samples per pixel in it."""
    (height, width), across = how.padded, how.tile[1]
    rows = _bytes(tags, how, plane, samples).reshape(height, width // across, -1)
    predictor = tags.integer(PREDICTOR, 1) if tags.integer(COMPRESSION) in PREDICTED else 1
    if predictor == 3:
        values = _from_byte_planes(rows, how.dtype.itemsize, samples)
    else:
        values = np.ascontiguousarray(rows).view(how.dtype)
    values = values.reshape(height, width // across, across, samples)
    if predictor == 2:
        # Samples are differences from the pixel on the left, modulo their range.
        whole = np.dtype(f"u{how.dtype.itemsize}")
        unsigned = values.view(whole.newbyteorder(how.dtype.byteorder)).astype(whole)
        values = unsigned.cumsum(2, dtype=whole).view(how.dtype.newbyteorder("="))
    return values.reshape(height, width, samples)[: how.size[0], : how.size[1]]


def _from_byte_planes(rows: Array, size: int, samples: int) -> Array:
    """Undo the predictor for floating-point numbers (Adobe's TIFF technical note 3).

    rows: uint8 (H, N, bytes of a row of a tile), differences of bytes; the most significant
    bytes of all numbers come first. Returns the numbers, of ``size`` bytes each, (H, N, values).
    """
    height, count, length = rows.shape
    whole = rows.reshape(height, count, length // samples, samples).cumsum(2, dtype=np.uint8)
    numbers = whole.reshape(height, count, size, length // size).swapaxes(2, 3)
    return np.ascontiguousarray(numbers).view(f">f{size}")[..., 0]


def _bytes(tags: Directory, how: Layout, plane: int, samples: int) -> Array:
    """Decompress one plane to bytes: (H, bytes of a row), padding included."""
    entries: Entries = {}
    for tag in (COMPRESSION, FILL_ORDER, ROWS_PER_STRIP, TILE_HEIGHT, *PLACES):
        if tag in tags.entries:
            kind, count, _ = tags.entries[tag]
            entries[tag] = kind, count, tags.raw(tag)
    if samples < how.samples:
        # The offsets of the first plane's strips come first, then the second's, and so on.
        for tag in entries.keys() & set(PLACES):
            kind, count, raw = entries[tag]
            size = len(raw) // how.samples
            entries[tag] = kind, count // how.samples, raw[plane * size : (plane + 1) * size]
    height, width = how.padded
    long = samples * how.dtype.itemsize
    numbers = {WIDTH: width * long, HEIGHT: height, BITS: 8, PHOTOMETRIC: 1, SAMPLES: 1}
    if TILE_WIDTH in tags.entries:
        numbers[TILE_WIDTH] = how.tile[1] * long
    for tag, number in numbers.items():
        entries[tag] = LONG, 1, struct.pack(tags.order + "I", number)
    with Image.open(io.BytesIO(rewritten(tags, entries)), formats=("TIFF",)) as image:
        return np.array(image)


def rewritten(tags: Directory, entries: Entries) -> bytes:
    """Give the TIFF another directory, its only one, of these entries (type, count, bytes).

    A BigTIFF becomes a TIFF, which is enough for 2 GiB, since Pillow reads few BigTIFFs.
    """
    data, order = tags.data, tags.order
    at = len(data) + len(data) % 2
    table, values = struct.pack(order + "H", len(entries)), b""
    place = at + len(table) + 12 * len(entries) + 4
    for tag, (kind, count, raw) in sorted(entries.items()):
        if kind in BIG:
            numbers = struct.unpack(f"{order}{count}Q", raw)
            kind, raw = LONG, struct.pack(f"{order}{count}I", *(n % 2**32 for n in numbers))
        inline = raw
        if len(raw) > 4:
            inline = struct.pack(order + "I", place + len(values))
            values += raw + bytes(len(raw) % 2)
        table += struct.pack(order + "HHI4s", tag, kind, count, inline)
    head = struct.pack(order + "2sHI", data[:2], 42, at)
    return b"".join((head, memoryview(data)[8:], bytes(len(data) % 2), table, bytes(4), values))
