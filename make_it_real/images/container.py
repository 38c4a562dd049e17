"""Separates a file's metadata from its pixels, so that metadata can't prevent decoding.

PNG, JPEG and TIFF are split here, and the EXIF of AVIF and HEIC is hidden from their libraries.
Those of the other formats return metadata without parsing it.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from make_it_real.errors import one_line
from make_it_real.images.exif import LAYOUT, ORIENTATION, Directory, directory
from make_it_real.images.tiff import rewritten

# The most that a piece of compressed metadata may decompress to: a few MB are usual.
MAX_BYTES = 2**26
MAX_FRAMES = 65_535
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
XMP_KEY = b"XML:com.adobe.xmp"
# Keys under which ImageMagick writes EXIF, in hexadecimal.
HEX_KEYS = (b"Raw profile type exif", b"Raw profile type APP1")
XMP_TAG, ICC_TAG, PICTURES_TAG = 700, 34675, 0xB001
# Tags of a TIFF that its pixels depend on, LERC's parameters included.
NEEDED = LAYOUT - {ORIENTATION, 330, 34377, ICC_TAG} | {50674}
EXIF_ITEM = re.compile(rb"(infe[\2\3].{7,9}?)Exif", re.DOTALL)


@dataclass
class Parts:
    """A file, split into pixels and metadata.

    pixels: a file of the same format with the same pixels. exif, icc, xmp: EXIF block, colour
    profile and XMP packet; None if ``pixels`` may still have it. frames: number of pictures;
    0 if only the decoder knows. tiff: directory of a TIFF. whole: an AVIF or HEIC file, if its
    EXIF is hidden in ``pixels``. warnings: metadata that can't be used.
    """

    pixels: bytes
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    frames: int = 0
    tiff: Directory | None = None
    whole: bytes | None = None
    warnings: list[str] = field(default_factory=list)


def split(data: bytes) -> Parts:
    """Split a file. Of formats other than PNG, JPEG, TIFF, AVIF and HEIC nothing is split off."""
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(JPEG):
        return _jpeg(data)
    if data[4:8] == b"ftyp":
        # The EXIF item gets an unknown type. The orientation has a place of its own.
        pixels, hidden = EXIF_ITEM.subn(rb"\1none", data)
        return Parts(pixels, whole=data if hidden else None)
    tags = directory(data)
    return _tiff(tags) if tags else Parts(data)


def _inflated(data: bytes | memoryview) -> bytes:
    """Decompress metadata. Raises ValueError or zlib.error."""
    stream = zlib.decompressobj()
    out = stream.decompress(data, MAX_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"over {MAX_BYTES >> 20} MB")
    return out


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the complete chunks of a PNG: kind, start and end."""
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not kind.isalpha():
            return
        yield kind, at, end
        at = end


def _crc(data: memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _png(data: bytes) -> Parts:
    """Split a PNG. Checksums of ancillary chunks are not checked."""
    parts, view, end = Parts(data, frames=1), memoryview(data), len(PNG)
    pieces: list[bytes | memoryview] = [view[:end]]
    kinds: set[bytes] = set()
    for kind, start, end in _chunks(data):
        body = view[start + 8 : end - 4]
        if kind[:1].isupper():
            pieces.append(view[start:end])
            if kind == b"IDAT" and kind not in kinds and b"acTL" in kinds and b"fcTL" not in kinds:
                # A default image that is not part of the animation.
                parts.frames += 1
        elif kind == b"tRNS":
            if len(body) in {0: (2,), 2: (6,), 3: range(1, 257)}.get(data[25], ()):
                pieces += [view[start : end - 4], _crc(view[start + 4 : end - 4])]
        elif kind == b"acTL":
            parts.frames = max(1, int.from_bytes(body[:4], "big"))
        else:
            _add_chunk(parts, kind, body)
        kinds.add(kind)
    # A critical chunk that is cut off.
    if data[end + 4 : end + 5].isupper():
        pieces.append(view[end:])
    parts.pixels = b"".join(pieces)
    return parts


def _add_chunk(parts: Parts, kind: bytes, body: memoryview) -> None:
    """Take metadata from an ancillary chunk of a PNG; the first of a kind counts."""
    if kind == b"eXIf":
        parts.exif = parts.exif or bytes(body)
    elif kind == b"iCCP" and parts.icc is None:
        try:
            # The profile's name, a zero, and the method of compression come first.
            parts.icc = _inflated(body[bytes(body[:80]).index(0) + 2 :])
        except (ValueError, zlib.error) as error:
            parts.icc = b""
            parts.warnings.append(f"its colour profile can't be used ({one_line(error)})")
    elif kind in (b"tEXt", b"zTXt", b"iTXt"):
        key = bytes(body[:80]).partition(b"\0")[0]
        # Other text is not read, however long it is.
        with suppress(ValueError, zlib.error):
            if key == XMP_KEY:
                parts.xmp = parts.xmp or _text(kind, bytes(body[len(key) + 1 :]))
            elif key in HEX_KEYS:
                lines = _text(kind, bytes(body[len(key) + 1 :])).decode("latin-1").split("\n")
                parts.exif = parts.exif or bytes.fromhex("".join(lines[3:]))


def _text(kind: bytes, body: bytes) -> bytes:
    """Read the text of a chunk's body after key and zero. Raises ValueError or zlib.error."""
    if kind == b"tEXt":
        return body
    if kind == b"zTXt":
        return _inflated(body[1:])
    packed, (_, _, text) = body[:1] == b"\1", body[2:].split(b"\0", 2)
    return _inflated(text) if packed else text


def _jpeg(data: bytes) -> Parts:
    """Split a JPEG, up to its first scan. Pixels depend on two kinds of application segments."""
    parts, view, at = Parts(data, frames=1), memoryview(data), len(JPEG)
    pieces: list[bytes | memoryview] = [JPEG]
    profile: dict[int, bytes] = {}
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            # Padding.
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        # A marker without a segment, the first scan, or a segment that is cut off.
        if not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA or not at + 4 <= end <= len(data):
            break
        body = data[at + 4 : end]
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _says_colours(marker, body):
            pieces.append(view[at:end])
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            # A block that is too long for one segment goes on in the next.
            parts.exif = body if parts.exif is None else parts.exif + body[6:]
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            parts.xmp = body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile.setdefault(body[12], body[14:])
        elif marker == 0xE2 and body.startswith(b"MPF\0"):
            pictures = directory(body[4:])
            parts.frames = max(1, pictures.integer(PICTURES_TAG)) if pictures else 1
        at = end
    parts.pixels = b"".join([*pieces, view[at:]])
    parts.icc = b"".join(profile[part] for part in sorted(profile)) or None
    if parts.xmp and b' hdrgm:Version="' in parts.xmp:
        # The second picture is the first one's gain map.
        parts.frames = 1
    return parts


def _says_colours(marker: int, body: bytes) -> bool:
    """Whether an application segment tells the colour space: complete JFIF or Adobe ones do."""
    jfif = marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14
    return jfif or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)


def _tiff(tags: Directory) -> Parts:
    """Split a TIFF: its first directory is reduced to the tags that its pixels depend on."""
    entries = {
        tag: (kind, count, tags.raw(tag))
        for tag, (kind, count, _) in tags.entries.items()
        if tag in NEEDED
    }
    frames, after, places = 1, tags.after, {0, tags.start}
    while after not in places and frames < MAX_FRAMES:
        places.add(after)
        following = directory(tags.data, after)
        if following is None:
            break
        frames, after = frames + 1, following.after
    return Parts(
        rewritten(tags, entries),
        exif=tags.data,
        icc=tags.raw(ICC_TAG) or None,
        xmp=tags.raw(XMP_TAG) or None,
        frames=frames,
        tiff=tags,
    )
