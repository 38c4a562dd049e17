"""What is written of a result: format, transparency, metadata, size."""

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from torch import Tensor
from typer.testing import CliRunner

from make_it_real.cli import app
from make_it_real.images import decode, encode
from make_it_real.images.alignment import Frame
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Framing, Whole, fit
from make_it_real.images.paste_back import put_back, restored
from make_it_real.images.pixels import LUMA, to_pixels
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file
from tests.images.imagefiles import (
    ADOBE_TO_XYZ,
    SRGB_TO_XYZ,
    SWAPPED_TO_XYZ,
    Array,
    encoded,
    profile,
    restful,
)  # fmt: skip

WIDTH, HEIGHT = 48, 32
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
COLOUR = np.stack([5 * X, 7 * Y, 250 - 2 * (X + Y)], -1).astype(np.uint8)
GREY = (10 + 3 * X + 3 * Y).astype(np.uint8)
ALPHA = (255 - 5 * X).astype(np.uint8)
PHOTO = Framing()
MNIST = Framing(-1.0, 0.714, 0.084)
WEBP = {"lossless": True, "exact": True}

Mir = Callable[..., list[Path]]


def caller(model: Path) -> Mir:
    def mir(*arguments: str) -> list[Path]:
        """``mir project``, which must succeed; the files that it says it wrote."""
        line = ["project", "-m", str(model), "-d", "cpu", *arguments]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, result.output
        return [Path(name) for name in result.stdout.splitlines()]

    return mir


@pytest.fixture
def mir(tiny_colour_f: IGN, tmp_path: Path) -> Mir:
    """``mir project`` on a colour model (32 pixels) that leaves every image as it is."""
    return caller(restful(tiny_colour_f, tmp_path / "rest.safetensors"))


@pytest.fixture
def grey_mir(tiny_f: IGN, tmp_path: Path) -> Mir:
    """The same on a grey model (28 pixels)."""
    return caller(restful(tiny_f, tmp_path / "grey.safetensors"))


def levels(path: Path) -> Array:
    """An image file's values as stored, (H, W) or (H, W, C)."""
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float64)


def srgb_of(path: Path) -> Array:
    """The colours of a file in sRGB, by Pillow and Little CMS alone, (H, W, 3) in 0–255."""
    with Image.open(path) as image:
        icc = image.info.get("icc_profile")
        plain = image.convert("L" if image.mode in ("L", "LA") else "RGB")
    if icc:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        done = ImageCms.profileToProfile(plain, source, target, intent, "RGB")
        assert done is not None
        plain = done
    return np.asarray(plain.convert("RGB")).astype(np.float64)


# Formats


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["a.png", "b.png", "c.png", "d.png", "e.png"]),
        (["--format", "png"], ["a.png", "b.png", "c.png", "d.png", "e.png"]),
        (["--format", "jpg"], ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]),
        (["--format", "webp"], ["a.webp", "b.webp", "c.webp", "d.webp", "e.webp"]),
        (["--format", "same"], ["a.jpg", "b.png", "c.webp", "d.png", "e.JPEG"]),
    ],
)
def test_results_have_the_format_asked_for(
    here: Path, mir: Mir, arguments: list[str], names: list[str]
) -> None:
    (here / "p").mkdir()
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.JPEG"):
        Image.fromarray(COLOUR).save(here / "p" / name)
    written = mir("p", "-o", "out", "--restore-size", *arguments)
    assert [path.name for path in written] == names
    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    for path in written:
        with Image.open(path) as image:
            assert image.format == kinds[path.suffix.lower()]
        lossy = path.suffix.lower().startswith(".jp") or path.stem in "ace"
        # Five levels a pixel and chroma at half resolution are a lot for a JPEG.
        assert np.abs(srgb_of(path) - COLOUR).mean() < (6 if lossy else 1.5)


def test_quality_is_that_of_jpeg_and_webp(here: Path, mir: Mir) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(here / "x.png")

    def size(name: str, *arguments: str) -> int:
        (written,) = mir("x.png", "--restore-size", "-o", name, *arguments)
        return written.stat().st_size

    assert size("20.jpg", "--quality", "20") < size("60.jpg", "--quality", "60")
    assert size("60b.jpg", "--quality", "60") < size("95.jpg") < size("100.jpg", "--quality", "100")
    assert size("20.webp", "--quality", "20") < size("90.webp", "--quality", "90")
    assert size("90b.webp", "--quality", "90") < size("lossless.webp")
    assert np.array_equal(levels(here / "lossless.webp"), noise)
    assert size("a.png", "--quality", "20") == size("b.png")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_level_changes_a_png_s_size_and_no_pixel(bits: int) -> None:
    rows = torch.linspace(-1, 1, 64)[None, :, None] * torch.linspace(0, 1, 96)
    image = (rows + 0.02 * torch.randn(3, 64, 96, generator=torch.Generator().manual_seed(0))) / 2
    made = {level: encode.encode(image, level=level, bits=bits) for level in (0, 1, 9, None)}
    for data in made.values():
        assert torch.equal(decode.read(data).colour, decode.read(made[0]).colour)
    assert len(made[0]) > len(made[1]) > len(made[9])
    assert made[None] == encode.encode(image, level=6, bits=bits)


@pytest.mark.parametrize("bits", [8, 16])
def test_large_pngs_are_packed_by_runs(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    image = torch.rand(3, 8, 512, generator=torch.Generator().manual_seed(0)).repeat(1, 8, 4)
    small = encode.encode(image, bits=bits)
    monkeypatch.setattr(encode, "LARGE", 1000)
    large = encode.encode(image, bits=bits)
    # What repeats at a distance is found by the search for it alone, which is left out.
    assert len(large) > 2 * len(small)
    assert torch.equal(decode.read(large).colour, decode.read(small).colour)
    assert encode.encode(image, level=6, bits=bits) == small


def test_a_png_level_is_an_option(here: Path, mir: Mir) -> None:
    Image.fromarray(COLOUR).save(here / "x.png")
    given = (here / "x.png").read_bytes()
    (stored,) = mir("x.png", "-o", "0.png", "--restore-size", "--png-level", "0")
    assert stored.stat().st_size > COLOUR.nbytes
    assert np.array_equal(levels(stored), COLOUR)
    (copied,) = mir("x.png", "-o", "same.png", "--restore-size")
    assert copied.read_bytes() == given


# Transparency


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_put_back(here: Path, mir: Mir, suffix: str, mode: str) -> None:
    bands = [GREY, ALPHA] if mode == "LA" else [*np.moveaxis(COLOUR, -1, 0), ALPHA]
    Image.merge(mode, [Image.fromarray(band) for band in bands]).save(here / "x.png")
    (written,) = mir("x.png", "--restore-size", "-o", f"out.{suffix}")
    found = levels(written)
    assert np.array_equal(found[..., -1], ALPHA)
    wanted = COLOUR if mode == "RGBA" else np.repeat(GREY[..., None], 3, -1)
    assert np.abs(np.broadcast_to(found[..., :-1], wanted.shape) - wanted)[ALPHA > 0].max() <= 1


def test_transparency_is_put_back_at_the_models_size_too(here: Path, mir: Mir) -> None:
    clear = np.zeros((64, 64), np.uint8)
    clear[:, 32:] = 255
    Image.merge("LA", [Image.new("L", (64, 64), 200), Image.fromarray(clear)]).save(here / "x.png")
    (written,) = mir("x.png", "--crop")
    alpha = levels(written)[..., -1]
    assert alpha.shape == (32, 32)
    assert (alpha[:, :14] == 0).all()
    assert (alpha[:, 18:] == 255).all()


def test_jpeg_has_no_transparency_and_is_laid_on_white(here: Path, mir: Mir) -> None:
    bands = [*np.moveaxis(np.full_like(COLOUR, (200, 40, 90)), -1, 0), ALPHA]
    Image.merge("RGBA", [Image.fromarray(band) for band in bands]).save(here / "x.png")
    (written,) = mir("x.png", "--restore-size", "-o", "out.jpg", "--quality", "100")
    share = ALPHA[..., None] / 255
    wanted = np.array([200, 40, 90]) * share + 255 * (1 - share)
    assert np.abs(levels(written) - wanted).max() <= 6


# Metadata


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.Base.Copyright] = "(c) Ada"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05"}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    # As one that was read from a file: Pillow can't write a new one's groups to a TIFF.
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    return loaded


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


KEEP = ["--keep-metadata"]
PHOTO_KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("jpg", "JPEG", {"quality": 100, "subsampling": 0}), ("png", "PNG", {}),
    ("webp", "WEBP", WEBP), ("tif", "TIFF", {}),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "kind", "options"), PHOTO_KINDS)
@pytest.mark.parametrize("out", ["png", "jpg", "webp"])
def test_metadata_is_kept_where_asked(
    here: Path, mir: Mir, suffix: str, kind: str, options: dict[str, Any], out: str
) -> None:
    exif = camera_exif()
    exif[ExifTags.Base.Orientation] = 6
    icc = profile(2.2, ADOBE_TO_XYZ)
    # Where a colour is barely within sRGB, one level of the wider space is several of sRGB's.
    stored = Image.fromarray(COLOUR // 4 + 100)
    data = encoded(stored, kind, exif=exif, icc_profile=icc, **options)
    (here / f"x.{suffix}").write_bytes(data)
    call = [f"x.{suffix}", "--restore-size", "--keep-metadata", "--quality", "100"]
    (written,) = mir(*call, "-o", f"out.{out}")
    if (suffix, out) == ("png", "png"):
        # f changed nothing, and the file itself says how to turn it.
        assert written.read_bytes() == data
        return
    with Image.open(written) as image:
        assert image.size == (HEIGHT, WIDTH)
        assert image.info["icc_profile"] == icc
        kept = image.getexif()
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    whole = dict(kept)
    for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        whole.pop(group)
    # TIFF's own tags (its size, its strips) say nothing about another file.
    assert whole == {ExifTags.Base.Artist: "Ada", ExifTags.Base.Copyright: "(c) Ada"}
    # Of TIFF, Pillow does that by itself.
    turned = np.rot90(srgb_of(here / f"x.{suffix}"), 0 if suffix == "tif" else -1)
    off = np.abs(srgb_of(written) - turned)
    # Chroma at half resolution is the price of the lossy two.
    assert off.max() <= 2 if out == "png" else off.mean() < 4


def test_colours_out_of_place_are_what_keeping_a_profile_prevents(here: Path, mir: Mir) -> None:
    icc = profile(1.8, SWAPPED_TO_XYZ)
    (here / "x.png").write_bytes(encoded(Image.fromarray(COLOUR), "PNG", icc_profile=icc))
    (plain,) = mir("x.png", "--restore-size", "-o", "plain.png")
    (kept,) = mir("x.png", "--restore-size", "-o", "kept.png", "--keep-metadata")
    assert np.abs(srgb_of(plain) - srgb_of(kept)).max() <= 2
    assert np.abs(srgb_of(plain) - COLOUR).max() > 50
    assert np.abs(levels(kept) - COLOUR).max() <= 3
    with Image.open(plain) as image:
        assert "icc_profile" not in image.info


def test_a_grey_profile_is_kept_with_grey_pixels_alone(here: Path, mir: Mir, grey_mir: Mir) -> None:
    icc = profile(1.8)
    (here / "x.png").write_bytes(encoded(Image.fromarray(GREY), "PNG", icc_profile=icc))
    (grey,) = grey_mir("x.png", "--restore-size", "-o", "grey.png", "--keep-metadata")
    with Image.open(grey) as image:
        assert (image.mode, image.info["icc_profile"]) == ("L", icc)
    assert np.abs(levels(grey) - GREY).max() <= 1
    # In another format, as an unchanged PNG would be copied.
    (colour,) = mir("x.png", "--restore-size", "-o", "colour.webp", "--keep-metadata")
    with Image.open(colour) as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
    assert np.abs(srgb_of(colour) - srgb_of(here / "x.png")).max() <= 2


@pytest.mark.parametrize("name", ["of Adobe's RGB", "of sRGB"])
def test_a_profile_of_colour_is_not_written_with_grey_pixels(
    here: Path, grey_mir: Mir, name: str
) -> None:
    icc = profile(2.2, ADOBE_TO_XYZ)
    if name == "of sRGB":
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (here / "x.png").write_bytes(encoded(Image.fromarray(COLOUR), "PNG", icc_profile=icc))
    (written,) = grey_mir("x.png", "--keep-metadata", "--crop")
    with Image.open(written) as image:
        assert image.mode == "L"
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("exif", [b"Exif\0\0damaged", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_is_left_out(here: Path, mir: Mir, exif: bytes) -> None:
    (here / "x.jpg").write_bytes(encoded(Image.fromarray(COLOUR), "JPEG", exif=exif))
    (written,) = mir("x.jpg", "--keep-metadata", "-o", "out.jpg")
    with Image.open(written) as image:
        assert not image.getexif()


# What is written can be read again


def large_profile(length: int) -> bytes:
    """A profile for RGB with a private tag of so many bytes that can't be packed."""
    more = {b"PRIV": b"data" + bytes(4) + np.random.default_rng(0).bytes(length)}
    return profile(2.2, ADOBE_TO_XYZ, more=more)


@pytest.mark.parametrize("out", ["png", "jpg", "webp"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_profile_of_3_mb_is_kept_and_read_again(
    here: Path, mir: Mir, out: str, padded: bool
) -> None:
    icc = profile(2.2, ADOBE_TO_XYZ) if padded else large_profile(3_000_000)
    stored = Image.fromarray(COLOUR // 4 + 100)
    data = icc + bytes(3_000_000) if padded else icc
    # No format of a result, or else the file would be copied as it is.
    (here / "x.tif").write_bytes(encoded(stored, "TIFF", icc_profile=data))
    (written,) = mir("x.tif", "--restore-size", "--keep-metadata", "-o", f"kept.{out}")
    again = decode.read(written)
    assert again.metadata.icc == icc
    first = decode.read(here / "x.tif")
    assert (again.colour - first.colour).abs().mean() < 2 / 255
    # What follows on a profile is left behind.
    assert (written.stat().st_size < 100_000) == padded
    mir(str(written), "-o", "again.png")


IMAGE = torch.linspace(-1, 1, 3 * 16 * 16).view(3, 16, 16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_profile_that_could_not_be_read_again_is_left_out(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    icc = large_profile(17_000_000 if kind == "JPEG" else 2000)
    monkeypatch.setattr(encode, "MAX_BYTES", 2000)
    assert encode.encode(IMAGE, kind, icc=icc) == encode.encode(IMAGE, kind)


def test_exif_is_left_out_where_a_jpeg_has_no_room_for_it() -> None:
    block = Image.Exif()
    block[ExifTags.Base.Artist] = "Ada"
    small = block.tobytes()
    block[ExifTags.Base.ImageDescription] = "x" * 70_000
    large = block.tobytes()
    assert decode.read(encode.encode(IMAGE, "JPEG", exif=small)).metadata.exif == small
    assert encode.encode(IMAGE, "JPEG", exif=large) == encode.encode(IMAGE, "JPEG")
    for kind in ("PNG", "WEBP"):
        assert decode.read(encode.encode(IMAGE, kind, exif=large)).metadata.exif == large


@pytest.mark.parametrize("name", ["sRGB IEC61966-2.1", "Linear"])
def test_colours_go_back_to_a_profile_by_its_curves_not_its_name(name: str) -> None:
    icc = profile(1.0, SRGB_TO_XYZ, name=name)
    # A ramp of grey, of which 8 linear bits keep the upper part.
    image = torch.linspace(0, 1, 256).view(1, 16, 16).expand(3, -1, -1)
    data = encode.encode(image, icc=icc)
    with Image.open(io.BytesIO(data)) as written:
        assert written.info["icc_profile"] == icc
        light = ((image[0, 0, 0] + 1) / 2 + 0.055) / 1.055
        assert abs(np.asarray(written)[0, 0, 0] - float(light**2.4) * 255) < 1
    read = decode.read(data).colour
    assert (read - (image + 1) / 2).abs().max() < 2 / 255


def everything(here: Path) -> None:
    """Files x.png, x.jpg and x.webp that hold all the metadata there is."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "private")
    for suffix, kind, options in PHOTO_KINDS[:3]:
        more = options | ({"pnginfo": text} if kind == "PNG" else {})
        more |= {"comment": b"private"} if kind == "JPEG" else {}
        icc = profile(2.2, ADOBE_TO_XYZ)
        data = encoded(Image.fromarray(COLOUR), kind, exif=camera_exif(), icc_profile=icc, **more)
        assert b"Ada" in data
        (here / f"x.{suffix}").write_bytes(data)


def chunks(data: bytes) -> list[str]:
    """The names of a PNG's or WebP's chunks, or of a JPEG's markers, in order."""
    names, at = [], 8
    if data.startswith(b"\x89PNG"):
        while at < len(data):
            names.append(data[at + 4 : at + 8].decode())
            at += 12 + int.from_bytes(data[at : at + 4], "big")
    elif data.startswith(b"RIFF"):
        at = 12
        while at < len(data):
            names.append(data[at : at + 4].decode())
            at += 8 + (size := int.from_bytes(data[at + 4 : at + 8], "little")) + size % 2
    else:
        at = 2
        while data[at + 1] != 0xDA:
            names.append(f"{data[at + 1]:X}")
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return names


@pytest.mark.parametrize("arguments", [[], ["--no-metadata"]])
def test_the_inputs_metadata_stay_behind_unless_asked_for(
    here: Path, mir: Mir, arguments: list[str]
) -> None:
    everything(here)
    for path in mir("x.png", "x.jpg", "x.webp", "--format", "same", "-o", "out", *arguments):
        data = path.read_bytes()
        assert b"Ada" not in data
        assert b"private" not in data
        with Image.open(path) as image:
            assert not image.getexif()
            assert "icc_profile" not in image.info


def test_a_png_says_how_it_was_made_by_default(here: Path, mir: Mir) -> None:
    everything(here)
    (written,) = mir("x.png", "-k", "3")
    with Image.open(written) as image:
        assert set(image.info) == {"Software", "model", "model-sha256", "steps"}
        assert (image.info["model"], image.info["steps"]) == ("rest", "3")


def test_no_metadata_leaves_nothing_but_pixels(here: Path, mir: Mir) -> None:
    everything(here)
    call = ["x.png", "x.jpg", "x.webp", "--format", "same", "-o", "out", "--no-metadata"]
    found = {path.suffix: chunks(path.read_bytes()) for path in mir(*call)}
    assert set(found[".png"]) == {"IHDR", "IDAT", "IEND"}
    assert found[".webp"] == ["VP8L"]
    # JFIF's header, and what decoding needs: tables, frame.
    assert set(found[".jpg"]) == {"E0", "DB", "C0", "C4"}
    assert found[".jpg"].count("E0") == 1


def test_metadata_can_not_be_kept_and_left_out(here: Path, mir: Mir) -> None:
    everything(here)
    line = ["project", "x.png", "--keep-metadata", "--no-metadata"]
    assert CliRunner().invoke(app, line).exit_code == 2


# Size


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (300, 10), (20, 13), (32, 32)])
@pytest.mark.parametrize("how", ["auto", "pad", "crop", "stretch"])
def test_padding_is_cut_off_again(here: Path, mir: Mir, size: tuple[int, int], how: str) -> None:
    Image.new("RGB", size, "#369").save(here / "x.png")
    (written,) = mir("x.png", "--fit", how, "--crop")
    with Image.open(written) as image:
        found = image.size
        assert np.abs(np.asarray(image).astype(int) - (0x33, 0x66, 0x99)).max() <= 1
    if how in ("crop", "stretch"):
        assert found == (32, 32)
    else:
        longer = max(size)
        assert found == tuple(max(1, round(32 * side / longer)) for side in size)


@pytest.mark.parametrize(
    ("size", "options", "wanted"),
    [((90, 60), [], (90, 60)), ((33, 9), [], (33, 9)), ((32, 32), [], (32, 32)),
     ((16, 8), [], (32, 16)), ((90, 60), ["--crop"], (32, 21)),
     ((90, 60), ["--scale", "2"], (64, 42)), ((16, 8), ["--restore-size"], (16, 8))],
)  # fmt: skip
def test_of_photographs_larger_than_the_model_all_is_written(
    here: Path, mir: Mir, size: tuple[int, int], options: list[str], wanted: tuple[int, int]
) -> None:
    Image.new("RGB", size, "#369").save(here / "x.png")
    (written,) = mir("x.png", *options)
    with Image.open(written) as image:
        assert image.size == wanted


def test_of_drawings_what_f_works_on_is_written_unless_told(here: Path, tiny_model: Path) -> None:
    Image.effect_noise((90, 60), 80).save(here / "x.png")
    for options, wanted in (([], (28, 28)), (["--restore-size"], (90, 60)), (["--crop"], (28, 28))):
        (written,) = caller(tiny_model)("x.png", "--fit", "stretch", *options)
        with Image.open(written) as image:
            assert image.size == wanted


# Copied where nothing was changed


def animated() -> bytes:
    frames = [Image.fromarray(COLOUR // n) for n in (1, 2)]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])


LATER = {"progressive": True, "quality": 80}
BARE_FILES: dict[str, Callable[[], bytes]] = {
    "plain.png": lambda: encoded(Image.fromarray(COLOUR), "PNG"),
    "palette.png": lambda: encoded(Image.fromarray(COLOUR).quantize(9), "PNG"),
    "clear.png": lambda: encoded(Image.fromarray(np.dstack([COLOUR, ALPHA])), "PNG"),
    "deep.png": lambda: encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
    "plain.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", quality=70),
    "progressive.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", **LATER),
    "cmyk.jpg": lambda: encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
    "restarts.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", restart_marker_rows=1),
    "lossy.webp": lambda: encoded(Image.fromarray(COLOUR), "WEBP", quality=60),
    "clear.webp": lambda: encoded(Image.fromarray(np.dstack([COLOUR, ALPHA])), "WEBP", **WEBP),
}
LADEN_FILES: dict[str, Callable[[], bytes]] = {
    "exif.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", exif=camera_exif()),
    "turned.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", exif=turned(6)),
    "comment.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", comment=b"private"),
    "profile.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG", icc_profile=profile(2.2)),
    "appended.jpg": lambda: encoded(Image.fromarray(COLOUR), "JPEG") + b"a film",
    "appended.png": lambda: encoded(Image.fromarray(COLOUR), "PNG") + b"more",
    "exif.webp": lambda: encoded(Image.fromarray(COLOUR), "WEBP", exif=camera_exif()),
    "text.png": lambda: encoded(Image.fromarray(COLOUR), "PNG", pnginfo=commented()),
}


def commented() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "private")
    return text


@pytest.mark.parametrize("name", [*BARE_FILES, *LADEN_FILES])
def test_what_is_unchanged_is_copied_where_it_may_be(here: Path, mir: Mir, name: str) -> None:
    data = {**BARE_FILES, **LADEN_FILES}[name]()
    (here / name).write_bytes(data)
    bare = name in BARE_FILES
    (plain,) = mir(name, "--format", "same", "-o", "plain")
    assert (plain.read_bytes() == data) == bare
    (nothing,) = mir(name, "--format", "same", "-o", "nothing", "--no-metadata")
    assert (nothing.read_bytes() == data) == bare
    assert encode.is_bare(nothing.read_bytes(), encode.format_of(data))
    if name != "profile.jpg":
        (kept,) = mir(name, "--format", "same", "-o", "kept", "--keep-metadata")
        assert kept.read_bytes() == data
    (crop,) = mir(name, "--format", "same", "-o", "crop", "--crop")
    assert crop.read_bytes() != data
    other = "x.webp" if name.endswith("png") else "x.png"
    (converted,) = mir(name, "-o", other)
    assert encode.format_of(converted.read_bytes()) == {"webp": "WEBP", "png": "PNG"}[other[2:]]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (lambda: encoded(Image.fromarray(COLOUR), "JPEG"), ["--quality", "95"]),
        (lambda: encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\0\0damaged"), KEEP),
        (animated, KEEP),
    ],
)
def test_what_a_copy_would_not_be_is_written_anew(
    here: Path, mir: Mir, data: Callable[[], bytes], options: list[str]
) -> None:
    given = data()
    name = f"x.{encode.format_of(given).lower()}"
    (here / name).write_bytes(given)
    (written,) = mir(name, "--format", "same", "-o", "out", *options)
    assert written.read_bytes() != given
    with Image.open(written) as image:
        assert getattr(image, "n_frames", 1) == 1
        assert image.getexif().get(ExifTags.Base.Orientation) is None


def test_what_f_changed_is_not_copied(here: Path, tiny_colour_f: IGN, tmp_path: Path) -> None:
    path = tmp_path / "change.safetensors"
    model_file.save(
        tiny_colour_f, model_file.ModelInfo("change", asdict(tiny_colour_f.config)), path
    )
    data = BARE_FILES["plain.png"]()
    (here / "x.png").write_bytes(data)
    (written,) = caller(path)("x.png", "-o", "out.png")
    assert written.read_bytes() != data
    assert levels(written).shape == COLOUR.shape
    line = ["project", "-m", str(path), "-d", "cpu", "x.png", "-o", "again.png", "--json"]
    assert json.loads(CliRunner().invoke(app, line).stdout)["status"] == "changed"


@pytest.mark.parametrize("size", [(90, 60), (7, 5), (64, 64), (300, 10)])
@pytest.mark.parametrize("how", ["auto", "pad", "crop", "stretch"])
def test_no_change_is_no_change(
    here: Path, mir: Mir, grey_mir: Mir, how: str, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(noise).save(here / "x.png")
    for name, call in (("colour.png", mir), ("grey.png", grey_mir)):
        (written,) = call("x.png", "--restore-size", "--fit", how, "-o", name)
        assert np.array_equal(levels(written), noise)


def of(array: Array) -> Picture:
    """A picture of levels (H, W) or (H, W, 3) in 0–255."""
    values = torch.from_numpy(array.astype(np.float32) / 255)
    return Picture(values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous())


def changed(picture: Picture, framing: Framing, how: Whole, change: Callable[..., None]) -> Array:
    """What comes of a change made to the fitted image, (C, H, W) minus the picture, in [0, 1]."""
    channels = 1 if framing.background is not None else 3
    fitted = fit(picture, 32, channels, framing, how=how)
    y = fitted.image.clone()
    change(y, fitted.image)
    image, alpha = restored(picture, [(fitted, y)])
    assert alpha is None
    result: Array = (image / 2 + 0.5 - picture.colour).numpy()
    return result


QUADRANTS = list(itertools.product((0, 1), (0, 1)))


@pytest.mark.parametrize("quadrant", QUADRANTS)
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (20, 14)])
@pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
def test_a_change_lands_where_it_was_made(
    how: Whole, size: tuple[int, int], quadrant: tuple[int, int]
) -> None:
    height, width = size
    picture = of(np.full((height, width, 3), (90, 100, 110)))
    # Where the picture (or its central square) lies in the model's 32 pixels, top, left, h, w.
    if how == "pad":
        h, w = (round(32 * side / max(size)) for side in size)
        within = ((32 - h) // 2, (32 - w) // 2, h, w)
    else:
        within = (0, 0, 32, 32)
    side = min(size) if how == "crop" else 0
    shown = ((height - side) // 2, (width - side) // 2, side, side) if side else (0, 0, *size)

    def part(area: tuple[int, int, int, int]) -> tuple[slice, slice]:
        """A quadrant of an area."""
        top, left, h, w = area
        return tuple(  # type: ignore[return-value]
            slice(start + length * q // 2, start + length * (q + 1) // 2)
            for start, length, q in ((top, h, quadrant[0]), (left, w, quadrant[1]))
        )

    def change(y: Tensor, x: Tensor) -> None:
        y[:, *part(within)] += 0.4

    found = changed(picture, PHOTO, how, change)
    wanted = np.zeros_like(found)
    wanted[:, *part(shown)] = 0.2
    # The resampling filter reaches two of the model's pixels beyond an edge.
    reach = [int(np.ceil(2.5 * s / m)) + 1 for s, m in zip(shown[2:], within[2:], strict=True)]
    edges = np.zeros(found.shape[1:], bool)
    for axis, (start, length) in enumerate(((shown[0], shown[2]), (shown[1], shown[3]))):
        middle = start + length // 2
        band = [slice(None), slice(None)]
        band[axis] = slice(max(0, middle - reach[axis]), middle + reach[axis])
        edges[tuple(band)] = True
    if size != (20, 14):
        assert np.abs(found - wanted)[:, ~edges].max() < 1e-3
    assert found[:, *part(shown)].mean() > 0.15
    total = 0.2 * (shown[2] // 2) * (shown[3] // 2)
    assert abs(found.mean(0).sum() - total) < 0.12 * total
    outside = np.ones(found.shape[1:], bool)
    outside[shown[0] : shown[0] + shown[2], shown[1] : shown[1] + shown[3]] = False
    assert (found[:, outside] == 0).all()


@pytest.mark.parametrize("size", [(200, 140), (1500, 1100)])
@pytest.mark.parametrize(("paper", "ink"), [(1.0, 0.1), (0.05, 0.9), (0.9, 0.5)])
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_change_of_what_is_drawn_lands_on_it(
    size: tuple[int, int], paper: float, ink: float, half: int, axis: int
) -> None:
    height, width = size
    drawn = np.full(size, paper * 255)
    top, left = height // 4, width // 3
    tall, wide = height // 3, width // 4
    drawn[top : top + tall, left : left + wide] = ink * 255
    # A hollow, so that the paper is found by a local median.
    line = max(5, height // 30)
    drawn[top + line : top + tall - line, left + line : left + wide - line] = paper * 255
    box = [(top, tall), (left, wide)]

    def change(y: Tensor, x: Tensor) -> None:
        """Take the ink away from one half of what is drawn."""
        ink = (x[0] > -0.5).nonzero()
        first, last = int(ink[:, axis].min()), int(ink[:, axis].max()) + 1
        middle = (first + last) // 2
        part = slice(first - 2, middle) if half == 0 else slice(middle, last + 2)
        y[0].swapaxes(0, axis)[part] = -1

    found = changed(of(drawn), MNIST, "auto", change)[0]
    # Ink taken away is paper: brighter where ink was darker.
    towards = np.sign(paper - ink)
    start, length = box[axis]
    inner = [slice(top, top + tall), slice(left, left + wide)]
    inner[axis] = (
        slice(start, start + length * 2 // 5)
        if half == 0
        else slice(start + length * 3 // 5, start + length)
    )
    strokes = np.abs(drawn / 255 - ink) < 0.01
    area = np.zeros(size, bool)
    area[tuple(inner)] = True
    assert (towards * found[area & strokes]).mean() > 0.3 * abs(paper - ink)
    other = np.roll(area, length * (3 if half == 0 else -3) // 5, axis)
    assert np.abs(found[other & strokes]).mean() < 0.05
    beyond = np.ones(size, bool)
    beyond[top - tall // 3 : top + tall * 4 // 3, left - wide // 3 : left + wide * 4 // 3] = False
    assert np.abs(found[beyond]).max() < 0.05


def test_ink_that_f_leaves_alone_is_left_alone(here: Path, tiny_f: IGN, tmp_path: Path) -> None:
    drawn = np.full((120, 90), 230, np.uint8)
    drawn[30:80, 40:50] = 20
    picture = of(drawn)
    fitted = fit(picture, 28, 1, MNIST)
    assert fitted.inverted
    image, _ = restored(picture, [(fitted, fitted.image)])
    assert torch.equal(to_pixels(image)[0], torch.from_numpy(drawn))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_grey_picture_gets_colour_and_keeps_its_luminance(mode: str) -> None:
    # All levels, black and white too, where there is no room for colour.
    ramp = np.tile(np.arange(256), (64, 1))
    picture = of(ramp if mode == "L" else np.repeat(ramp[..., None], 3, -1))
    generator = torch.Generator().manual_seed(0)

    def change(y: Tensor, x: Tensor) -> None:
        y.copy_(
            torch.rand(3, 4, 4, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
            * 2
            - 1
        )

    fitted = fit(picture, 32, 3, PHOTO, how="stretch")
    y = fitted.image.clone()
    change(y, fitted.image)
    image, _ = restored(picture, [(fitted, y)])
    pixels = to_pixels(image).double()
    luma = (pixels * torch.tensor(LUMA).double()[:, None, None]).sum(0)
    assert (luma - torch.from_numpy(ramp)).abs().max() <= 1
    chroma = pixels.amax(0) - pixels.amin(0)
    assert chroma[:, 60:200].mean() > 20


def test_a_colour_picture_takes_the_whole_change() -> None:
    colour = torch.tensor([0.2, 0.5, 0.6]).view(3, 1, 1).expand(3, 16, 16)
    change = torch.tensor([0.1, -0.2, 0.3]).view(3, 1, 1).expand(3, 8, 8)
    out = put_back(colour, [(change, Frame((0.5, 0.5)))])
    assert torch.allclose(out[:, 0, 0], torch.tensor([0.3, 0.3, 0.9]), atol=1e-5)


# Against a reference


def keys(t: Array) -> Array:
    """The cubic convolution kernel with a = −3/4, as torch resamples (Keys 1981, eq. 4)."""
    a, t = -0.75, np.abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    result: Array = np.where(t <= 1, near, np.where(t < 2, far, 0))
    return result


def reference(colour: Array, change: Array, frame: Frame) -> Array:
    """put_back in float64 and plain loops over the four neighbours of each axis.

    Neighbours in the padding are those at its edge.
    """
    size = change.shape[-1]
    weights, inside = [], []
    for length, scale, offset in zip(colour.shape[1:], frame.scale, frame.offset, strict=True):
        u = scale * (np.arange(length) + 0.5) + offset
        inside.append((u >= 0) & (u <= size))
        first = min(max(round(offset), 0), size - 1)
        last = min(max(round(offset + scale * length), first + 1), size) - 1
        matrix = np.zeros((length, size))
        for x, at in enumerate(np.clip(u - 0.5, first - 2, last + 2)):
            for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
                matrix[x, min(max(tap, first), last)] += keys(np.array(at - tap))
        weights.append(matrix)
    enlarged = np.einsum("ya,cab,xb->cyx", weights[0], change, weights[1])
    enlarged *= inside[0][:, None] & inside[1]
    result: Array = np.clip(colour + enlarged, 0, 1)
    return result


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (3, 1)])
def test_put_back_agrees_with_a_reference(
    seed: int, channels: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bands of a few rows, so that their seams are tested too.
    monkeypatch.setattr("make_it_real.images.paste_back.BAND_PIXELS", 200)
    random = np.random.default_rng(seed)
    height, width, size = (int(random.integers(*ends)) for ends in ((5, 60), (5, 60), (4, 17)))
    colour = random.uniform(0, 1, (channels[0], height, width))
    change = random.uniform(-0.4, 0.4, (channels[1], size, size))
    scale = random.uniform(0.3, 1.5, 2) * size / (height, width)
    offset = random.uniform(-0.3, 0.3, 2) * size
    frame = Frame((float(scale[0]), float(scale[1])), (float(offset[0]), float(offset[1])))
    parts = [(torch.from_numpy(change).float(), frame)]
    found = put_back(torch.from_numpy(colour).float(), parts)
    wanted = reference(colour, change, frame)
    # On the model's very border, float32 and float64 may fall to different sides.
    assert np.quantile(np.abs(found.numpy() - wanted), 0.995) < 1e-4
    assert np.abs(found.numpy() - wanted).mean() < 1e-3


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (1, 50), (33, 33)])
def test_a_frame_knows_which_of_its_pixels_show_the_picture(shape: tuple[int, int]) -> None:
    size = 16
    fitted = fit(of(np.full(shape, 255)), size, 1, Framing(-1.0, 0.7, 0.1), how="pad", invert=False)
    rows, columns = fitted.frame.shown(shape, size)
    bright = fitted.image[0] > 0
    wanted = torch.zeros(size, size, dtype=torch.bool)
    wanted[rows, columns] = True
    assert torch.equal(bright, wanted)
