"""Whatever bytes a file has: a picture, or a MirError; never another exception."""

import functools
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from make_it_real.errors import MirError
from make_it_real.images import decode, encode
from tests.images.imagefiles import ADOBE_TO_XYZ, chunk, encoded, profile, with_chunks

LIMIT = 100_000
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM", "HEIF")
STARTS = (
    b"", b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff",
    b"RIFF\x40\0\0\0WEBPVP8 ", b"RIFF\x40\0\0\0WEBPVP8L", b"RIFF\x40\0\0\0WEBPVP8X", b"BM",
    b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"GIF89a", b"GIF87a",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"P1 ", b"P2 ", b"P3 ",
    b"P4 4 4 ", b"P5 4 4 ", b"P6 4 4 65535 ", b"Pf 4 4 -1 ", b"PF 2 2 1 ", b"Py 4 4 255 ", b"P7\n",
)  # fmt: skip


@functools.cache
def wholes(kind: str) -> list[bytes]:
    """Small valid files of a format, with all that it can carry."""
    random = np.random.default_rng(0)
    rgb = Image.fromarray(random.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    other = rgb.rotate(180)
    if kind == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
        pillow_heif.register_heif_opener()
        return [encoded(rgb, "HEIF", quality=50)]
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Ada"
    full = {"exif": exif, "icc_profile": profile(2.2, ADOBE_TO_XYZ)}
    options = full if kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") else {}
    files = [encoded(rgb, kind, **options)]
    if kind in ("PNG", "TIFF", "GIF", "BMP"):
        files.append(encoded(rgb.quantize(16), kind))
    if kind in ("PNG", "TIFF"):
        deep = Image.fromarray(random.integers(0, 65536, (12, 16)).astype(np.uint16))
        files += [encoded(deep, kind), encoded(rgb.convert("RGBA"), kind)]
    if kind == "TIFF":
        files += [
            encoded(rgb, kind, compression=c) for c in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")
        ]
        files.append(encoded(rgb.convert("CMYK"), kind))
    if kind in ("PNG", "TIFF", "GIF", "WEBP"):
        files.append(encoded(rgb, kind, save_all=True, append_images=[other]))
    if kind == "PPM":
        files += [encoded(rgb.convert("1"), kind), encoded(rgb.convert("F"), kind)]
    return files


def check(data: bytes) -> decode.Picture | None:
    """Read some bytes; what comes of it must be sound. The picture, if there is one."""
    reason, picture = "", None
    try:
        picture = decode.read(data, max_pixels=LIMIT)
    except MirError as error:
        reason = str(error)
    if picture is None:
        assert reason
        assert "\n" not in reason
        return None
    c, h, w = picture.colour.shape
    assert c in (1, 3)
    assert 0 < h * w <= LIMIT
    assert picture.colour.isfinite().all()
    assert 0 <= picture.colour.min() <= picture.colour.max() <= 1
    if picture.alpha is not None:
        assert picture.alpha.shape == (h, w)
        assert 0 <= picture.alpha.min() <= picture.alpha.max() <= 1
    # What is kept of its metadata can be written again.
    metadata = picture.metadata
    try:
        encode.encode(
            picture.colour * 2 - 1, alpha=picture.alpha, exif=metadata.exif, icc=metadata.icc
        )
    except MirError as error:
        reason = str(error)
    assert "\n" not in reason
    return picture


PLACE, SIZE = st.floats(0, 1, width=16), st.integers(1, 64)
MUTATION = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("set"), PLACE, st.sampled_from((0, 1, 0x7F, 0x80, 0xFF))),
    st.tuples(st.just("delete"), PLACE, SIZE),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("repeat"), PLACE, SIZE),
    st.tuples(st.just("cut"), PLACE, st.none()),
)


def mutated(data: bytes, mutations: list[tuple[str, float, int | bytes | None]]) -> bytes:
    for how, place, what in mutations:
        at = min(int(place * len(data)), len(data) - 1)
        if at < 0:
            break
        if isinstance(what, bytes):
            data = data[:at] + what + data[at:]
        elif what is None:
            data = data[:at]
        elif how == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << what]) + data[at + 1 :]
        elif how == "set":
            data = data[:at] + bytes([what]) + data[at + 1 :]
        elif how == "delete":
            data = data[:at] + data[at + what :]
        else:
            data = data[: at + what] + data[at:]
    return data


BOUNDED = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("kind", KINDS)
def test_valid_files_are_pictures(kind: str) -> None:
    for whole in wholes(kind):
        assert decode.read(whole, max_pixels=LIMIT).colour.shape[1:] in {(12, 16), (16, 12)}
        check(whole)


@settings(BOUNDED, max_examples=600)
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_random_bytes(start: bytes, rest: bytes) -> None:
    check(start + rest)


@pytest.mark.parametrize("kind", KINDS)
def test_random_mutations_of_valid_files(kind: str) -> None:
    @settings(BOUNDED, max_examples=200)
    @given(st.sampled_from(wholes(kind)), st.lists(MUTATION, min_size=1, max_size=5))
    def damage(whole: bytes, mutations: list[tuple[str, float, int | bytes | None]]) -> None:
        check(mutated(whole, mutations))

    damage()


# Metadata alone


PACKET = b'<x:xmpmeta><rdf:Description tiff:Orientation="1" dc:title="a title"/></x:xmpmeta>'
NOTE = b"a note of some length, of which the picture does not need a word"


def in_full(kind: str) -> tuple[bytes, list[slice], list[slice]]:
    """A file, where its EXIF, XMP and text are, and where its colour profile is."""
    random = np.random.default_rng(1)
    rgb = Image.fromarray(random.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    block = Image.Exif()
    block[0x0112], block[0x013B], block[0x011A] = 6, "Ada, who took it", 72.5
    block[0x8769] = {0x9003: "2020:01:02 03:04:05", 0x927C: bytes(range(60))}
    block[0x8825] = {1: "N", 2: (1.0, 2.0, 3.5)}
    if kind in ("AVIF", "HEIF"):
        # They say otherwise how they are turned, and change the block for that.
        del block[0x0112]
    exif = block.tobytes()
    icc = profile(2.2, ADOBE_TO_XYZ)
    if kind == "TIFF":
        # Its own directory is its EXIF, whose own entries may change as they like.
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[0x013B], info[0x010E], info[700] = "Ada, who took it", NOTE.decode(), PACKET
        whole = encoded(rgb, kind, tiffinfo=info, icc_profile=icc)
        parts = [b"Ada, who took it", NOTE, PACKET]
        return whole, [span(whole, part) for part in parts], [span(whole, icc)]
    options = {"xmp": PACKET} if kind in ("JPEG", "WEBP", "AVIF") else {}
    whole = encoded(rgb, kind, exif=exif, icc_profile=icc, **options)
    if kind != "PNG":
        packets = [span(whole, PACKET)] if options else []
        return whole, [span(whole, exif[6:]), *packets], [span(whole, icc)]
    packed = zlib.compress(NOTE)
    whole = with_chunks(
        whole, chunk(b"tEXt", b"Note\0" + NOTE), chunk(b"zTXt", b"Note\0\0" + packed),
        chunk(b"iTXt", b"Note\0\1\0\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\n4949\n"), chunk(b"pHYs", bytes(9)),
        chunk(b"gAMA", bytes(4)), chunk(b"tIME", bytes(7)), chunk(b"acTL", bytes(8)),
    )  # fmt: skip
    spans: dict[bytes, list[slice]] = {}
    at = 8
    while at < len(whole):
        length, name = struct.unpack_from(">I4s", whole, at)
        # With the checksum, without length and kind.
        spans.setdefault(name, []).append(slice(at + 8, at + 12 + length))
        at += 12 + length
    profiles = spans.pop(b"iCCP")
    side = [one for name, found in spans.items() if name[:1].islower() for one in found]
    return whole, side, profiles


def span(whole: bytes, part: bytes) -> slice:
    """Where a part lies in a file."""
    assert whole.count(part) == 1
    at = whole.index(part)
    return slice(at, at + len(part))


CHANGES = st.lists(
    st.tuples(st.integers(0, 9), PLACE, st.binary(min_size=1, max_size=24)), min_size=1, max_size=6
)


def changed(whole: bytes, spans: list[slice], changes: list[tuple[int, float, bytes]]) -> bytes:
    """A file with other bytes in some places of some spans."""
    data = bytearray(whole)
    for number, place, new in changes:
        where = spans[number % len(spans)]
        start = where.start + int(place * (where.stop - where.start - 1))
        new = new[: where.stop - start]
        data[start : start + len(new)] = new
    return bytes(data)


FULL = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF")


@pytest.mark.parametrize("kind", FULL)
def test_whatever_exif_and_text_hold_the_pixels_are_read(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
        wholes(kind)
    whole, spans, _ = in_full(kind)
    before = check(whole)
    assert before is not None
    levels = before.colour.flatten().sort().values

    @settings(BOUNDED, max_examples=120)
    @given(CHANGES)
    def damage(changes: list[tuple[int, float, bytes]]) -> None:
        after = check(changed(whole, spans, changes))
        # It may be turned otherwise: each way has the same levels.
        assert after is not None
        assert bool((after.colour.flatten().sort().values == levels).all())

    damage()


@pytest.mark.parametrize("kind", FULL)
def test_whatever_a_profile_holds_there_is_a_picture(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
        wholes(kind)
    whole, _, spans = in_full(kind)

    @settings(BOUNDED, max_examples=120)
    @given(CHANGES)
    def damage(changes: list[tuple[int, float, bytes]]) -> None:
        after = check(changed(whole, spans, changes))
        assert after is not None
        assert sorted(after.colour.shape) == [3, 12, 16]

    damage()
