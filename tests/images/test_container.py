"""Metadata of every kind, damaged or huge, and the pixels that are read all the same."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from make_it_real.errors import ImageError
from make_it_real.images import container, decode, exif
from tests.images.imagefiles import SRGB_TO_XYZ, chunk, encoded, profile, with_chunks

Array = NDArray[Any]
ORIENTATION = 0x0112
Y, X = np.mgrid[0:24, 0:40]
# Smooth, so that lossy formats keep it.
COLOUR = np.stack([4 * X + 40, 6 * Y + 60, 200 - 2 * X - 2 * Y], -1).astype(np.uint8)
IMAGE = Image.fromarray(COLOUR)
# As a camera on its side stores it: orientation 6.
SIDEWAYS = Image.fromarray(np.rot90(COLOUR))
JPEG = {"quality": 100, "subsampling": 0}
WEBP = {"lossless": True, "exact": True}
AVIF = {"quality": 100, "subsampling": "4:4:4"}
HEIF = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {}, "JPEG": JPEG, "WEBP": WEBP, "AVIF": AVIF, "HEIF": HEIF
}  # fmt: skip


def off(picture: decode.Picture, colour: Array = COLOUR) -> float:
    """By how many levels a picture differs from colours (H, W, 3), at most."""
    found = picture.colour.permute(1, 2, 0).numpy() * 255
    assert found.shape == colour.shape
    return float(np.abs(found - colour).max())


def block(*entries: tuple[int, int, int, bytes], more: bytes = b"") -> bytes:
    """An EXIF block (tag, type, count, the 4 bytes of the value), with data after byte 8 + ..."""
    out = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    for tag, kind, count, value in sorted(entries):
        out += struct.pack("<HHI4s", tag, kind, count, value)
    return out + bytes(4) + more


TURNED = (ORIENTATION, 3, 1, struct.pack("<HH", 6, 0))
# Blocks whose orientation can be read, beside what can't.
ODD_BLOCKS = {
    "a signed resolution": block(TURNED, (0x11A, 9, 1, struct.pack("<i", -72))),
    "a signed width": block(TURNED, (0x100, 8, 1, struct.pack("<hh", -5, 0))),
    "a double as text": block(
        TURNED, (0x131, 12, 1, struct.pack("<I", 38)), more=struct.pack("<d", 1.5)
    ),
    "a text beyond the end": block(TURNED, (0x10F, 2, 99, struct.pack("<I", 5000))),
    "an unknown type": block(TURNED, (0x10F, 99, 1, b"abcd")),
    "groups beyond the end": block(
        TURNED, (0x8769, 4, 1, b"\xff\xff\0\0"), (0x8825, 4, 1, b"\xff\xff\xff\xff")
    ),
    "a group in itself": block(TURNED, (0x8769, 4, 1, struct.pack("<I", 8))),
    "a cut directory": block(TURNED, (0x11A, 5, 1, b"\xff\0\0\0"))[:-9],
    "an orientation of another type": block((ORIENTATION, 4, 1, struct.pack("<I", 6))),
    "a mark written twice": b"Exif\0\0" + block(TURNED),
}
# Those of which nothing can be read.
NO_BLOCKS = {
    "text": b"none of the kind", "Python's text of bytes": b"b'Exif\\x00\\x00II*\\x00'",
    "no head": b"\0\x08\0\x02\x01\x12\0\x03", "a head alone": b"II*\0", "a mark alone": b"MM",
    "a directory elsewhere": b"II*\0\xff\xff\xff\xff", "zeros": bytes(40),
    "an impossible orientation": block((ORIENTATION, 3, 1, b"\x09\0\0\0")),
    "an orientation of text": block((ORIENTATION, 2, 4, b"six\0")),
}  # fmt: skip


def with_exif(image: Image.Image, kind: str, data: bytes) -> bytes:
    """A file whose EXIF block is data, as it stands."""
    options = OPTIONS[kind]
    if kind == "PNG":
        return with_chunks(encoded(image, kind), chunk(b"eXIf", data))
    if kind in ("AVIF", "HEIF"):
        # Only what can be read is written; a block of the same length takes its place.
        fill = Image.Exif()
        fill[0x010F] = "x" * 200
        good = fill.tobytes()[6:]
        whole = encoded(image, kind, exif=b"Exif\0\0" + good, **options)
        assert whole.count(good) == 1
        return whole.replace(good, data.ljust(len(good), b"\0"))
    return encoded(image, kind, exif=b"Exif\0\0" + data, **options)


@pytest.mark.parametrize("data", ODD_BLOCKS.values(), ids=ODD_BLOCKS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_odd_exif_costs_neither_pixels_nor_orientation(kind: str, data: bytes) -> None:
    picture = decode.read(with_exif(SIDEWAYS, kind, data))
    assert picture.notes == ("turned upright",)
    assert off(picture) <= 4


@pytest.mark.parametrize("data", NO_BLOCKS.values(), ids=NO_BLOCKS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_that_is_none_costs_nothing(kind: str, data: bytes) -> None:
    picture = decode.read(with_exif(IMAGE, kind, data))
    assert picture.notes == ()
    assert off(picture) <= 4
    assert picture.metadata.exif is None


@pytest.mark.parametrize("data", (ODD_BLOCKS | NO_BLOCKS).values(), ids=ODD_BLOCKS | NO_BLOCKS)
def test_avif_is_read_whatever_its_exif(data: bytes) -> None:
    assert off(decode.read(with_exif(IMAGE, "AVIF", data))) <= 4


def test_avif_whose_exif_is_damaged_keeps_the_turn_that_it_has_itself() -> None:
    turn = Image.Exif()
    turn[ORIENTATION], turn[0x010F] = 6, "x" * 200
    whole = encoded(SIDEWAYS, "AVIF", exif=turn.tobytes(), **AVIF)
    at = whole.index(b"x" * 200) - 40
    damaged = whole[:at] + bytes(40) + whole[at + 40 :]
    for data in (whole, damaged):
        assert off(decode.read(data)) <= 4


@pytest.mark.parametrize("data", (ODD_BLOCKS | NO_BLOCKS).values(), ids=ODD_BLOCKS | NO_BLOCKS)
def test_heic_is_read_whatever_its_exif(data: bytes) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
    pillow_heif.register_heif_opener()
    assert off(decode.read(with_exif(IMAGE, "HEIF", data))) <= 4


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_what_avif_and_heic_say_in_exif_is_kept(kind: str) -> None:
    if kind == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
        pillow_heif.register_heif_opener()
    block = Image.Exif()
    block[ORIENTATION], block[0x13B] = 6, "Ada"
    picture = decode.read(encoded(SIDEWAYS, kind, exif=block.tobytes(), **OPTIONS[kind]))
    assert off(picture) <= 4
    kept = Image.Exif()
    assert picture.metadata.exif is not None
    kept.load(picture.metadata.exif)
    assert dict(kept) == {0x13B: "Ada"}


def test_an_odd_entry_is_left_out_of_what_is_kept_and_no_other() -> None:
    entries = (0x13B, 2, 4, b"Ada\0"), (0x11A, 9, 1, struct.pack("<i", -72))
    picture = decode.read(with_exif(IMAGE, "JPEG", block(TURNED, *entries)))
    kept = Image.Exif()
    assert picture.metadata.exif is not None
    kept.load(picture.metadata.exif)
    assert dict(kept) == {0x13B: "Ada"}


# TIFF, whose EXIF is the picture's own directory


def tiff(*more: tuple[int, int, int, bytes], order: str = "<", after: int = 0) -> bytes:
    """SIDEWAYS as a TIFF, turned upright by a tag, with further entries as they stand."""
    pixels = SIDEWAYS.tobytes()
    bits = struct.pack(order + "3H", 8, 8, 8)
    tags = {256: (4, SIDEWAYS.width), 257: (4, SIDEWAYS.height), 259: (3, 1), 262: (3, 2)}
    tags |= {273: (4, 14), 277: (3, 3), 278: (4, SIDEWAYS.height), 279: (4, len(pixels))}
    tags |= {ORIENTATION: (3, 6)}
    rows = [
        (tag, kind, 1, struct.pack(order + ("H2x" if kind == 3 else "I"), value))
        for tag, (kind, value) in tags.items()
    ]
    rows += [(258, 3, 3, struct.pack(order + "I", 8)), *more]
    out = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 14 + len(pixels))
    out += bits + pixels + struct.pack(order + "H", len(rows))
    for row in sorted(rows):
        out += struct.pack(order + "HHI4s", *row)
    return out + struct.pack(order + "I", after)


FAR = b"\xff\xff\xff\x7f"
ODD_ENTRIES = {
    "a signed resolution": (0x11A, 9, 1, b"\xb8\xff\xff\xff"), "a text": (0x131, 2, 99, FAR),
    "a resolution of many": (0x11A, 3, 2, b"\1\0\2\0"), "groups": (0x8769, 4, 1, FAR),
    "a place": (0x8825, 4, 1, b"\xff\xff\0\0"), "XMP": (700, 1, 4, b"\xff\0\xff\0"),
    "a profile of numbers": (34675, 3, 2, b"\1\0\2\0"), "further directories": (330, 4, 9, FAR),
    "Photoshop's": (34377, 7, 9999, FAR), "Windows Media Photo's": (0xBC01, 1, 4, b"abcd"),
    "an unknown type": (0x10F, 99, 1, b"abcd"),
}  # fmt: skip


@pytest.mark.parametrize("entry", ODD_ENTRIES.values(), ids=ODD_ENTRIES)
@pytest.mark.parametrize("order", "<>")
def test_a_tiff_is_read_whatever_else_is_in_its_directory(
    entry: tuple[int, int, int, bytes], order: str
) -> None:
    picture = decode.read(tiff(entry, order=order))
    assert picture.notes == ("turned upright",)
    assert off(picture) == 0


@pytest.mark.parametrize("after", [0, 5, 8, 2**31])
def test_a_tiff_whose_next_directory_is_none_has_one_picture(after: int) -> None:
    assert off(decode.read(tiff(after=after))) == 0


def test_a_tiff_whose_next_directory_is_its_first_has_one_picture() -> None:
    at = len(tiff()) - 4 - 12 * 10 - 2
    picture = decode.read(tiff(after=at))
    assert off(picture) == 0
    assert picture.warnings == ()


# PNG


def large_text(kind: bytes, length: int) -> bytes:
    text = bytes(range(32, 127)) * (length // 95)
    packed = zlib.compress(text)
    body = {
        b"tEXt": b"workflow\0" + text,
        b"zTXt": b"workflow\0\0" + packed,
        b"iTXt": b"workflow\0\1\0\0\0" + packed,
    }
    return chunk(kind, body[kind])


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("length", [2_000_000, 90_000_000])
def test_a_png_with_much_text_is_read(kind: bytes, length: int) -> None:
    picture = decode.read(with_chunks(encoded(IMAGE, "PNG"), large_text(kind, length)))
    assert off(picture) == 0
    assert picture.warnings == ()


def test_text_after_the_pixels_costs_nothing_either() -> None:
    whole = encoded(IMAGE, "PNG")
    end = chunk(b"IEND", b"")
    assert whole.endswith(end)
    for more in (large_text(b"zTXt", 2_000_000), chunk(b"tEXt", b"a\0b", wrong=True)):
        for data in (whole[:-12] + more + end, whole[:-12] + more[:-5], whole + b"more"):
            assert off(decode.read(data)) == 0


SIDE_CHUNKS = {
    b"tEXt": b"Comment\0hello", b"zTXt": b"a\0\1no zlib", b"iTXt": b"a\0\1\0\0\0no zlib",
    b"eXIf": block(TURNED)[:12], b"gAMA": b"\0", b"cHRM": b"\0", b"sRGB": b"", b"pHYs": b"\0" * 3,
    b"tIME": b"", b"bKGD": b"\0", b"sBIT": b"", b"acTL": b"\0", b"fcTL": b"\0" * 3,
    b"fdAT": b"\0", b"iCCP": b"no zero", b"tRNS": b"\0", b"prVt": b"private",
}  # fmt: skip


@pytest.mark.parametrize("kind", SIDE_CHUNKS, ids=[kind.decode() for kind in SIDE_CHUNKS])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_png_is_read_whatever_a_side_chunk_holds(kind: bytes, wrong: bool) -> None:
    more = chunk(kind, SIDE_CHUNKS[kind], wrong=wrong)
    picture = decode.read(with_chunks(encoded(IMAGE, "PNG"), more))
    assert off(picture) == 0
    assert picture.alpha is None
    used = not any("profile" in warning for warning in picture.warnings)
    assert used == (kind != b"iCCP")


def test_a_wrong_checksum_is_no_reason_not_to_use_a_side_chunk() -> None:
    data = chunk(b"eXIf", block(TURNED), wrong=True)
    data += chunk(b"iCCP", b"p\0\0" + zlib.compress(profile(1.0, SRGB_TO_XYZ)), wrong=True)
    data += chunk(b"tRNS", struct.pack(">3H", *SIDEWAYS.getpixel((3, 3))), wrong=True)  # type: ignore[misc]
    picture = decode.read(with_chunks(encoded(SIDEWAYS, "PNG"), data))
    assert picture.notes == ("turned upright", "colours converted to sRGB")
    assert picture.alpha is not None
    assert (picture.alpha == 0).sum() == 1


def test_a_wrong_checksum_of_what_the_pixels_need_is_damage() -> None:
    whole = encoded(IMAGE.quantize(8), "PNG")
    at = whole.index(b"PLTE") + 20
    with pytest.raises(ImageError, match="image"):
        decode.read(whole[:at] + b"\xaa\x55" + whole[at + 2 :])


@pytest.mark.parametrize("text", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("mark", [b"", b"Exif\0\0"])
def test_exif_in_hexadecimal_is_read(text: bytes, mark: bytes) -> None:
    data = mark + block(TURNED)
    words = b"\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())
    key = b"Raw profile type exif\0"
    body = key + (b"\0" + zlib.compress(words) if text == b"zTXt" else words)
    assert off(decode.read(with_chunks(encoded(SIDEWAYS, "PNG"), chunk(text, body)))) == 0


@pytest.mark.parametrize("packed", [False, True])
def test_the_orientation_of_xmp_counts_where_exif_has_none(packed: bool) -> None:
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = b"\1\0\0\0" + zlib.compress(packet) if packed else b"\0\0\0\0" + packet
    more = chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text)
    assert off(decode.read(with_chunks(encoded(SIDEWAYS, "PNG"), more))) == 0
    # EXIF counts more.
    upright = chunk(b"eXIf", block((ORIENTATION, 3, 1, b"\1\0\0\0")))
    assert off(decode.read(with_chunks(encoded(IMAGE, "PNG"), more, upright))) == 0
    data = encoded(SIDEWAYS, "JPEG", xmp=packet, **JPEG)
    assert off(decode.read(data)) <= 4


# Colour profiles


LINEAR = profile(1.0, SRGB_TO_XYZ)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_of_3_mb_is_used(kind: str) -> None:
    large = LINEAR + np.random.default_rng(0).bytes(3_000_000)
    options = OPTIONS.get(kind, {})
    small, same = (
        decode.read(encoded(IMAGE, kind, icc_profile=icc, **options)) for icc in (LINEAR, large)
    )
    assert same.notes == ("colours converted to sRGB",)
    assert same.warnings == ()
    assert bool((same.colour == small.colour).all())


def test_a_profile_that_unpacks_to_too_much_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container, "MAX_BYTES", 2**20)
    packed = zlib.compress(LINEAR + bytes(2**21))
    more = chunk(b"iCCP", b"p\0\0" + packed)
    picture = decode.read(with_chunks(encoded(IMAGE, "PNG"), more))
    assert off(picture) == 0
    assert picture.warnings == ("its colour profile can't be used (over 1 MB)",)


def test_64_mb_are_the_most_that_metadata_may_unpack_to() -> None:
    bomb = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2**26 + 1), 9))
    picture = decode.read(with_chunks(encoded(IMAGE, "PNG"), bomb))
    assert picture.warnings == ("its colour profile can't be used (over 64 MB)",)
    assert off(picture) == 0


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def profile_parts(*parts: tuple[int, int, bytes]) -> bytes:
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, of]) + data) for number, of, data in parts
    )


def in_jpeg(more: bytes) -> bytes:
    whole = encoded(IMAGE, "JPEG", **JPEG)
    return whole[:2] + more + whole[2:]


@pytest.mark.parametrize(
    "parts",
    [
        [(1, 2, LINEAR[:100]), (2, 2, LINEAR[100:])],
        [(2, 2, LINEAR[100:]), (1, 2, LINEAR[:100])],
        [(1, 1, LINEAR), (1, 1, LINEAR)],
    ],
)
def test_the_parts_of_a_profile_are_put_together(parts: list[tuple[int, int, bytes]]) -> None:
    picture = decode.read(in_jpeg(profile_parts(*parts)))
    assert picture.notes == ("colours converted to sRGB",)


def test_a_profile_of_which_a_part_is_missing_is_not_used() -> None:
    picture = decode.read(in_jpeg(profile_parts((2, 2, LINEAR[100:]))))
    assert off(picture) <= 4
    (warning,) = picture.warnings
    assert warning.startswith("its colour profile can't be used (")


APPLICATIONS = {
    "JFIF, cut": (0xE0, b"JFIF\0"), "JFXX": (0xE0, b"JFXX\0\x10"), "MPF": (0xE2, b"MPF\0II*\0"),
    "MPF elsewhere": (0xE2, b"MPF\0" + b"II*\0\xff\xff\0\0"), "Adobe, cut": (0xEE, b"Adobe\0"),
    "Photoshop, cut": (0xED, b"Photoshop 3.0\x008BIM\4\4"), "EXIF, empty": (0xE1, b"Exif\0\0"),
    "an empty profile": (0xE2, b"ICC_PROFILE\0\1\1"), "a comment": (0xFE, bytes(range(256))),
    "none of the kind": (0xEA, b""), "FlashPix": (0xE2, b"FPXR\0"),
}  # fmt: skip


@pytest.mark.parametrize(("marker", "body"), APPLICATIONS.values(), ids=APPLICATIONS)
def test_a_jpeg_is_read_whatever_its_application_segments_hold(marker: int, body: bytes) -> None:
    picture = decode.read(in_jpeg(segment(marker, body) + b"\xff\xff"))
    assert off(picture) <= 4
    assert picture.warnings == ()


def test_a_map_of_highlights_is_no_second_picture() -> None:
    pictures = encoded(IMAGE, "MPO", save_all=True, append_images=[IMAGE], quality=100)
    assert decode.read(pictures).warnings == ("2 frames: only the first is used",)
    packet = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description hdrgm:Version="1.0"/>'
    with_map = pictures[:2] + segment(0xE1, packet) + pictures[2:]
    assert decode.read(with_map).warnings == ()


@pytest.mark.parametrize("damage", [lambda data: data, lambda data: data[: len(data) // 2]])
def test_taking_a_file_apart_leaves_pillow_the_same_pixels(
    damage: Callable[[bytes], bytes],
) -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        data = damage(encoded(IMAGE, kind, icc_profile=LINEAR))
        parts = container.split(data)
        assert parts.icc in (LINEAR, None)
        try:
            with Image.open(io.BytesIO(data)) as image:
                before = image.convert("RGB").tobytes()
        except OSError:
            with (
                pytest.raises(OSError, match=r"(?i)truncated|file|identify"),
                Image.open(io.BytesIO(parts.pixels)) as image,
            ):
                image.load()
        else:
            with Image.open(io.BytesIO(parts.pixels)) as image:
                assert image.convert("RGB").tobytes() == before
                assert "icc_profile" not in image.info


# Directories


def test_entries_that_say_they_are_endless_take_no_time() -> None:
    big = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(20) * 100
    assert exif.directory(big) is None
    entries = b"".join(struct.pack("<HHII", tag, 7, 2**30, 8) for tag in range(60_000))
    tags = exif.directory(b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries)
    assert tags is None
