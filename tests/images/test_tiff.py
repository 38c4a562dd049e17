"""Deep TIFFs, however their samples are laid out, and what can't be read in one line."""

import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from make_it_real.errors import ImageError
from make_it_real.images import decode, exif, tiff
from tests.images.imagefiles import SRGB_TO_XYZ, encoded, profile

Array = NDArray[Any]
HEIGHT, WIDTH = 21, 37
NUMBERS = np.random.default_rng(0).random((HEIGHT, WIDTH, 4))
NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773


def lzw(data: bytes) -> bytes:
    """TIFF's LZW without any phrase: codes of 9 bits, the table cleared before it grows."""
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in (*codes, 257))
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    return b"".join(
        bytes([len(part) - 1]) + part
        for part in (data[i : i + 128] for i in range(0, len(data), 128))
    )


PACKED: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    LZW: lzw,
    DEFLATE: zlib.compress,
    PACKBITS: packbits,
}


def predicted(block: Array, predictor: int) -> bytes:
    """A tile or strip (H, W, S) as it is before compression (TIFF 6.0, and its note 3)."""
    height, width, samples = block.shape
    if predictor == 2:
        whole = np.dtype(f"u{block.dtype.itemsize}").newbyteorder(block.dtype.byteorder)
        numbers = block.view(whole).copy()
        numbers[:, 1:] -= block.view(whole)[:, :-1]
        return numbers.tobytes()
    if predictor == 3:
        size = block.dtype.itemsize
        big = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(">")))
        planes = big.view(np.uint8).reshape(height, width * samples, size).swapaxes(1, 2)
        rows = np.ascontiguousarray(planes).reshape(height, -1, samples)
        rows[:, 1:] -= rows[:, :-1].copy()
        return rows.tobytes()
    return block.tobytes()


def file(
    values: Array, *, photometric: int | None = None, compression: int = NONE, predictor: int = 1,
    tile: int = 0, planar: bool = False, big: bool = False, extra: tuple[int, ...] = (),
    more: dict[int, tuple[int, tuple[int, ...]]] | None = None,
) -> bytes:  # fmt: skip
    """A TIFF of samples (H, W, S), in their own type and byte order."""
    height, width, samples = values.shape
    order = ">" if values.dtype.str[0] == ">" else "<"
    planes = np.split(values, samples, -1) if planar else [values]
    if tile:
        pad = [(0, -height % tile), (0, -width % tile), (0, 0)]
        blocks = [
            np.ascontiguousarray(padded[y : y + tile, x : x + tile])
            for padded in (np.pad(plane, pad) for plane in planes)
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    else:
        strips = [(plane, y) for plane in planes for y in range(0, height, 4)]
        blocks = [np.ascontiguousarray(plane[y : y + 4]) for plane, y in strips]
    data = [PACKED[compression](predicted(block, predictor)) for block in blocks]
    start = 16 if big else 8
    places = tuple(start + sum(map(len, data[:i])) for i in range(len(data)))
    lengths = tuple(map(len, data))
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    white = photometric if photometric is not None else 2 if samples > 2 else 1
    tags: dict[int, tuple[int, tuple[int, ...]]] = {256: (4, (width,)), 257: (4, (height,))}
    tags |= {259: (3, (compression,)), 262: (3, (white,))}
    tags |= {258: (3, (8 * values.dtype.itemsize,) * samples), 277: (3, (samples,))}
    tags |= {284: (3, (2 if planar else 1,)), 317: (3, (predictor,)), 339: (3, (kind,) * samples)}
    if tile:
        tags |= {322: (4, (tile,)), 323: (4, (tile,)), 324: (4, places), 325: (4, lengths)}
    else:
        tags |= {278: (4, (4,)), 273: (4, places), 279: (4, lengths)}
    if extra:
        tags[338] = (3, extra)
    return _written(b"".join(data), tags | (more or {}), order, big)


def _written(data: bytes, tags: dict[int, Any], order: str, big: bool) -> bytes:
    """The bytes of a file: head, data, directory, and values that have no room in it."""
    mark = {"<": b"II", ">": b"MM"}[order]
    pointer, count, room = ("Q", "Q", 8) if big else ("I", "H", 4)
    start = (16 if big else 8) + len(data)
    head = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), start)
    table, values = struct.pack(order + count, len(tags)), b""
    after = start + len(table) + len(tags) * (20 if big else 12) + room
    for tag, (kind, numbers) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(numbers)}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", *numbers)
        if len(raw) > room:
            values, raw = values + raw, struct.pack(order + pointer, after + len(values))
        table += struct.pack(f"{order}HH{pointer}{room}s", tag, kind, len(numbers), raw)
    return mark + head + data + table + bytes(room) + values


def numbers(dtype: str, samples: int) -> Array:
    """Samples of a type, over most of its range."""
    kind = np.dtype(dtype)
    scale = 1 if kind.kind == "f" else np.iinfo(kind).max
    return (NUMBERS[..., :samples] * scale).astype(kind)


LAYOUTS = list(itertools.product((NONE, LZW, DEFLATE, PACKBITS), (0, 16), (False, True)))


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<u4", "<i2", "<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_samples_are_read_as_they_are_stored(dtype: str, samples: int) -> None:
    values = numbers(dtype, samples)
    for (compression, tile, planar), big in itertools.product(LAYOUTS, (False, True)):
        predictors = (1, 2, 3) if compression in (LZW, DEFLATE) else (1,)
        for predictor in predictors if values.dtype.kind == "f" else predictors[:2]:
            data = file(
                values, compression=compression, tile=tile, planar=planar and samples > 1,
                predictor=predictor, big=big, extra=(2,) if samples == 4 else (),
            )  # fmt: skip
            tags = exif.directory(data)
            assert tags is not None
            layout = tiff.layout(tags)
            assert layout is not None
            read = tiff.read(tags, layout)
            assert np.array_equal(read.colour, values[..., :3])
            assert (read.alpha is None) == (samples < 4)
            if read.alpha is not None:
                assert np.array_equal(read.alpha, values[..., 3])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "<u2", ">u2", "<u4"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_deep_tiff_is_a_picture(dtype: str, samples: int) -> None:
    values = numbers(dtype, samples)
    full = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = samples in (2, 4)
    # Ranges are told by the peak.
    values[0, 0] = full
    picture = decode.read(file(values, extra=(2,) if alpha else ()))
    shown = values.astype(np.float64) / full
    read = picture.colour.permute(1, 2, 0).numpy()
    assert np.abs(read - shown[..., : samples - alpha]).max() < 1e-3
    assert (picture.alpha is None) != alpha
    if picture.alpha is not None:
        assert np.abs(picture.alpha.numpy() - shown[..., -1]).max() < 1e-3
    assert picture.notes == picture.warnings == ()


@pytest.mark.parametrize("peak", [1.0, 255.0, 65535.0])
def test_float_colours_are_scaled_by_their_range_as_float_grey_is(peak: float) -> None:
    grey = np.array([[0, 0.25, 1], [0.5, 0.75, np.nan]], np.float32)[..., None] * np.float32(peak)
    colour = np.concatenate([grey, grey / 2, grey / 4], -1)
    read = decode.read(file(colour)).colour
    assert np.allclose(read[0], decode.read(file(grey)).colour[0])
    assert np.allclose(
        read, [[[0, 0.25, 1], [0.5, 0.75, 0]]] * np.array([1, 0.5, 0.25])[:, None, None]
    )
    # Pillow's own file of grey is read the same.
    pillows = decode.read(encoded(Image.fromarray(grey[..., 0]), "TIFF"))
    assert np.allclose(pillows.colour[0], read[0])


def test_premultiplied_colours_are_divided_by_alpha() -> None:
    values = numbers("<f4", 4)
    values[..., 3] = values[..., 3] * 0.5 + 0.5
    stored = np.concatenate([values[..., :3] * values[..., 3:], values[..., 3:]], -1)
    picture = decode.read(file(stored, extra=(1,)))
    assert np.abs(picture.colour.permute(1, 2, 0).numpy() - values[..., :3]).max() < 1e-5
    assert picture.alpha is not None
    assert np.abs(picture.alpha.numpy() - values[..., 3]).max() < 1e-6


def test_samples_that_are_no_colours_are_left_out() -> None:
    values = np.concatenate([numbers("<f4", 4), numbers("<f4", 4)], -1)
    picture = decode.read(file(values, photometric=2, extra=(0, 0, 0, 0, 0)))
    assert np.allclose(picture.colour.permute(1, 2, 0), values[..., :3])
    assert picture.alpha is None


def test_zero_is_white_where_the_file_says_so() -> None:
    values = numbers("<u2", 1)
    picture = decode.read(file(values, photometric=0, compression=DEFLATE))
    assert np.allclose(picture.colour[0], 1 - values[..., 0] / 65535, atol=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_is_turned_upright(orientation: int) -> None:
    stored = numbers("<f4", 3)
    picture = decode.read(file(stored, more={274: (3, (orientation,))}))
    # As Pillow turns the same picture of 8 bits.
    eight = Image.fromarray((stored * 255).round().astype(np.uint8))
    block = Image.Exif()
    block[0x0112] = orientation
    same = decode.read(encoded(eight, "PNG", exif=block))
    assert picture.colour.shape == same.colour.shape
    assert (picture.colour - same.colour).abs().max() < 0.51 / 255


def test_a_linear_float_picture_keeps_its_shadows() -> None:
    levels = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1).repeat(3, -1)
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    icc = profile(1.0, SRGB_TO_XYZ, name="Linear sRGB")
    data = file(light.astype(np.float32), more={34675: (1, tuple(icc))})
    picture = decode.read(data)
    assert picture.notes == ("colours converted to sRGB",)
    assert np.abs(picture.colour.permute(1, 2, 0).numpy() - levels).max() < 0.1 / 255


def test_twelve_bits_of_grey_are_scaled_by_their_own_range() -> None:
    values = np.arange(4096).reshape(64, 64)
    pairs = values.reshape(64, 32, 2)
    packed = np.stack(
        [pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255],
        -1,
    )
    data = packed.astype(np.uint8).tobytes()
    tags = {256: (4, (64,)), 257: (4, (64,)), 258: (3, (12,)), 259: (3, (1,)), 262: (3, (1,))}
    tags |= {273: (4, (8,)), 277: (3, (1,)), 278: (4, (64,)), 279: (4, (len(data),))}
    picture = decode.read(_written(data, tags, "<", big=False))
    assert np.allclose(picture.colour[0], values / 4095, atol=1e-4)


# What can't be read


@pytest.mark.parametrize(
    "values", [numbers("<f4", 3), numbers("<u2", 4)], ids=["floats", "integers"]
)
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_a_cut_deep_tiff_is_refused(values: Array, compression: int) -> None:
    whole = file(values, compression=compression)
    tags = exif.directory(whole)
    assert tags is not None
    # The directory stands at the end: it comes first here, with the pixels cut off.
    entries = {tag: (kind, n, tags.raw(tag)) for tag, (kind, n, _) in tags.entries.items()}
    places = np.array(tags.integers(273)) + 10**6
    entries[273] = (4, len(places), places.astype("<u4").tobytes())
    with pytest.raises(ImageError, match=r"^damaged image \([^\n]+\)$"):
        decode.read(tiff.rewritten(tags, entries))


def test_the_limit_on_pixels_holds_before_anything_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = file(numbers("<f4", 3))
    monkeypatch.setattr(tiff, "read", lambda *args: pytest.fail("unpacked"))
    with pytest.raises(ImageError, match=r"37×21 pixels are more than the limit of 776 \(--max-p"):
        decode.read(data, max_pixels=776)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (file(numbers("<f4", 4), photometric=5), "of 4 × 32 bits with compression 1"),
        (file(numbers("<f4", 3)[:, :, :2], photometric=2), "of 2 × 32 bits with compression 1"),
        (
            file(numbers("<f4", 3), more={259: (3, (34887,))}),
            "of 3 × 32 bits with compression 34887",
        ),
    ],
)
def test_a_tiff_of_another_kind_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=rf"^can't read TIFFs {said}$"):
        decode.read(data)


def test_tiles_that_are_mostly_padding_are_not_unpacked() -> None:
    values = np.zeros((3, 3, 3), np.float32)
    data = file(values, tile=16, more={322: (4, (2**20,)), 323: (4, (2**20,))})
    with pytest.raises(ImageError, match=r"^[^\n]+$"):
        decode.read(data)
