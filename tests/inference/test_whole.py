"""Pictures of any size in folder jobs: their own size, depth, transparency, greys and files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from make_it_real.images import decode, deep
from make_it_real.images.framing import Framing
from make_it_real.images.pixels import interpolated, levels
from make_it_real.inference import plots, tiles, whole
from make_it_real.inference.batch import Model, Settings, run
from make_it_real.inference.planning import plan
from make_it_real.inference.projection import project
from make_it_real.inference.report import Result
from make_it_real.models.unet import UNet

MIDDLE = 128


def colour(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels (height, width, channels) of noise, but of mid-grey in the left half."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    pixels[:, : width // 2] = MIDDLE
    return pixels


def restored(f: UNet, *inputs: str, output: str = "out", **settings: Any) -> list[Result]:
    """The results of a job, in the folder ``output``."""
    jobs = plan(list(inputs), Path(output), format=settings.pop("format", None)).jobs
    return list(run(Model(f, Framing()), jobs, Settings(**settings)))


def one(f: UNet, pixels: NDArray[Any], **settings: Any) -> tuple[Result, NDArray[Any]]:
    """The result for a PNG of pixels, and its pixels as stored."""
    image = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(image).save("x.png")
    (result,) = restored(f, "x.png", **settings)
    assert result.status in ("changed", "unchanged"), result.reason
    with Image.open(result.output) as found:
        stored = np.asarray(found)
    return result, stored.reshape(*stored.shape[:2], -1)


def halved(pixels: NDArray[np.uint8], steps: int = 1) -> NDArray[Any]:
    """x / 2^steps in image units, in levels."""
    return np.asarray(((pixels / 127.5 - 1) / 2**steps + 1) * 127.5)


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (300, 11), (57, 64)])
def test_a_picture_keeps_its_size_and_gets_what_project_gives(
    here: Path, any_size_f: UNet, size: tuple[int, int]
) -> None:
    pixels = colour(*size)
    result, stored = one(any_size_f, pixels)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    wanted = levels(project(any_size_f, x))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(stored, wanted)
    assert result.status == "changed"
    assert result.changed_share == np.mean((stored != pixels).any(-1))


def test_what_f_leaves_alone_stays_and_the_rest_is_halved(here: Path, any_size_f: UNet) -> None:
    pixels = colour(60, 80)
    result, stored = one(any_size_f, pixels)
    assert np.array_equal(stored[:, :36], pixels[:, :36])
    assert np.abs(stored[:, 44:] - halved(pixels[:, 44:])).max() <= 0.501
    assert result.drift_before is None
    assert result.changed_share is not None
    assert 0.45 < result.changed_share < 0.55


@pytest.mark.parametrize("tile", [None, 64])
def test_steps_and_strength(here: Path, any_size_f: UNet, tile: int | None) -> None:
    pixels = colour(100, 200)
    _, twice = one(any_size_f, pixels, steps=2, tile=tile)
    assert np.abs(twice[:, 110:] - halved(pixels[:, 110:], 2)).max() <= 0.501
    result, weak = one(any_size_f, pixels, strength=0.5, tile=tile, drift=True, output="weak")
    wanted = pixels[:, 110:] + 0.5 * (halved(pixels[:, 110:]) - pixels[:, 110:])
    assert np.abs(weak[:, 110:] - wanted).max() <= 0.501
    assert result.drift_after is None
    x = pixels[:, 100:] / 127.5 - 1
    assert result.drift_before == pytest.approx(np.abs(x).mean() / 4, rel=0.1)
    none, _ = one(any_size_f, pixels, strength=0.0, output="none")
    assert (none.status, none.changed_share) == ("unchanged", 0.0)


def test_large_pictures_go_in_tiles(
    here: Path, any_size_f: UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = colour(150, 230)
    _, entire = one(any_size_f, pixels)
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", 10_000)
    monkeypatch.setattr(tiles, "SIDE", 64)
    shapes = []
    any_size_f.first.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    _, cut = one(any_size_f, pixels, output="tiles")
    assert len(shapes) == 12
    assert np.array_equal(cut, entire)


@pytest.mark.parametrize("size", [(7, 20), (20, 7), (1, 1)])
def test_a_picture_too_small_for_f_is_unchanged_and_the_reason_is_said(
    here: Path, any_size_f: UNet, size: tuple[int, int]
) -> None:
    result, _ = one(any_size_f, colour(*size))
    assert (result.status, result.reason) == ("unchanged", "a side has less than 8 pixels")
    assert Path(result.output).read_bytes() == Path("x.png").read_bytes()


def test_a_picture_that_f_leaves_alone_is_the_given_file(here: Path, any_size_f: UNet) -> None:
    Image.new("RGB", (50, 40), (MIDDLE,) * 3).save("x.png", compress_level=1)
    (result,) = restored(any_size_f, "x.png")
    assert (result.status, result.changed_share) == ("unchanged", 0.0)
    assert Path(result.output).read_bytes() == Path("x.png").read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_stays_grey(here: Path, any_size_f: UNet, channels: int) -> None:
    # An f with a mind of its own about colour.
    any_size_f.last.weight[:4] *= 0.5
    pixels = np.repeat(colour(40, 60, 1), channels, 2)
    _, stored = one(any_size_f, pixels)
    assert stored.shape == (40, 60, channels)
    assert (stored == stored[..., :1]).all()
    # The red channel's change is half of the others'.
    x = pixels[:, 36:] / 127.5 - 1
    assert np.abs(stored[:, 36:] - (x * (1 - 1.25 / 3) + 1) * 127.5).max() <= 0.501
    assert np.array_equal(stored[:, :26], pixels[:, :26])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_kept_as_it_is(here: Path, any_size_f: UNet, channels: int) -> None:
    pixels = colour(40, 60, channels)
    pixels[..., -1] = np.arange(60)
    _, stored = one(any_size_f, pixels)
    assert np.array_equal(stored[..., -1], pixels[..., -1])
    assert np.array_equal(stored[:, :26], pixels[:, :26])
    assert np.abs(stored[:, 36:, :-1] - halved(pixels[:, 36:, :-1])).max() <= 0.501


def deep_pixels(channels: int) -> NDArray[np.uint16]:
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 60, channels), np.uint16)
    # Levels near the middle that 8 bits do not tell apart.
    pixels[:, :30] = 2**15 + np.arange(30)[None, :, None]
    return pixels


def samples(path: str | Path) -> NDArray[Any]:
    """The pixels (H, W, C) of a PNG of 16 bits, in levels of 16 bits."""
    picture = decode.read(Path(path))
    assert picture.bits == 16
    parts = [picture.colour] if picture.alpha is None else [picture.colour, picture.alpha[None]]
    stored: NDArray[Any] = np.rint(torch.cat(parts).double().numpy() * 65535)
    return stored.transpose(1, 2, 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_stay_sixteen(here: Path, any_size_f: UNet, channels: int) -> None:
    pixels = deep_pixels(channels)
    info = PngInfo()
    Path("x.png").write_bytes(deep.to_png(pixels, info, None, None))
    assert np.array_equal(samples("x.png"), pixels)
    (result,) = restored(any_size_f, "x.png")
    stored = samples(result.output)
    assert np.array_equal(stored[:, :26], pixels[:, :26])
    part = slice(0, channels - 1 if channels in (2, 4) else channels)
    wanted = ((pixels[:, 36:, part] / 32767.5 - 1) / 2 + 1) * 32767.5
    assert np.abs(stored[:, 36:, part] - wanted).max() <= 0.51
    if channels in (2, 4):
        assert np.array_equal(stored[..., -1], pixels[..., -1])


def test_sixteen_bits_that_are_as_they_were_are_the_given_file(
    here: Path, any_size_f: UNet
) -> None:
    pixels = deep_pixels(3)[:, :30]
    Path("x.png").write_bytes(deep.to_png(pixels, PngInfo(), None, None))
    (result,) = restored(any_size_f, "x.png")
    assert result.status == "unchanged"
    assert Path(result.output).read_bytes() == Path("x.png").read_bytes()


def test_a_deep_png_has_its_text_exif_and_profile(here: Path) -> None:
    pixels = deep_pixels(3)
    info = PngInfo()
    info.add_text("model", "halves")
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Path("x.png").write_bytes(deep.to_png(pixels, info, exif.tobytes(), icc))
    with Image.open("x.png") as image:
        image.load()
        assert image.info["icc_profile"] == icc
        assert image.info["model"] == "halves"
        assert dict(image.getexif()) == {0x013B: "Ada"}
    assert np.array_equal(samples("x.png"), pixels)


def photograph(path: Path, pixels: NDArray[np.uint8], orientation: int = 1) -> bytes:
    """Write a JPEG with EXIF and a profile; returns its bytes."""
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    if orientation > 1:
        exif[0x0112] = orientation
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(path, "JPEG", quality=98, exif=exif, icc_profile=icc)
    return path.read_bytes()


def test_a_folder_of_results_can_replace_the_original_one(here: Path, any_size_f: UNet) -> None:
    Path("photos/sub").mkdir(parents=True)
    grey = np.full((40, 60, 3), MIDDLE, np.uint8)
    good = photograph(here / "photos/good.jpg", grey)
    lying = photograph(here / "photos/lying.JPEG", grey, orientation=6)
    bad = photograph(here / "photos/bad.jpg", colour(40, 60), orientation=6)
    results = restored(any_size_f, "photos", format="same", keep_metadata=True)
    assert [result.status for result in results] == ["changed", "unchanged", "unchanged"]
    assert (here / "out/good.jpg").read_bytes() == good
    assert (here / "out/lying.JPEG").read_bytes() == lying
    assert (here / "out/bad.jpg").read_bytes() != bad
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "bad.jpg", "good.jpg", "lying.JPEG",
    ]  # fmt: skip
    with Image.open("out/bad.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (40, 60))
        assert dict(image.getexif()) == {0x013B: "Ada"}
        assert image.info["icc_profile"]


@pytest.mark.parametrize("workers", [1, 3])
def test_bad_files_fail_alone_and_results_keep_their_order(
    here: Path, any_size_f: UNet, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = torch.set_num_threads
    monkeypatch.setattr(torch, "get_num_threads", lambda: workers)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: limit(1))
    Path("photos").mkdir()
    for i in range(6):
        Image.fromarray(colour(20 + i, 30, seed=i)).save(f"photos/{i}.png")
    Path("photos/2.png").write_bytes(b"text")
    results = restored(any_size_f, "photos")
    assert [Path(result.input).name for result in results] == [f"{i}.png" for i in range(6)]
    assert [result.status for result in results] == [*["changed"] * 2, "failed", *["changed"] * 3]


def test_an_f_that_fails_costs_one_picture(
    here: Path, any_size_f: UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos").mkdir()
    for i in range(3):
        Image.fromarray(colour(20 + i, 30)).save(f"photos/{i}.png")
    work = whole.restore

    def short_of_memory(f: UNet, picture: decode.Picture, *rest: Any, **more: Any) -> Any:
        if picture.colour.shape[1] == 21:
            raise MemoryError
        return work(f, picture, *rest, **more)

    monkeypatch.setattr(whole, "restore", short_of_memory)
    results = restored(any_size_f, "photos")
    assert [result.status for result in results] == ["changed", "failed", "changed"]


def test_a_heat_map_shows_where_f_changed_a_picture(here: Path, any_size_f: UNet) -> None:
    pixels = colour(40, 60)
    pixels[:, 30:45], pixels[:, 45:] = 0, 255
    one(any_size_f, pixels, heat=Path("maps"))
    with Image.open("maps/x.png") as image:
        assert image.size == (60, 40)
        found = np.asarray(image).astype(int)
    assert (np.ptp(found[:, :26], axis=-1) == 0).all()
    dark, bright = found[20, 36], found[20, 55]
    assert dark[0] > dark[2] + 100
    assert bright[2] > bright[0] + 100


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scale", [2, 3])
def test_a_picture_is_repaired_enlarged_and_repaired_again(
    here: Path, any_size_f: UNet, channels: int, scale: int
) -> None:
    pixels = colour(30, 41, channels)
    pixels[..., channels - 1] |= 64  # No pixel is wholly transparent.
    result, stored = one(any_size_f, pixels, scale=scale, heat=Path("maps"))
    assert (result.status, result.done) == ("changed", (f"enlarged {scale} times",))
    assert stored.shape == (30 * scale, 41 * scale, channels)
    picture = decode.read(Path("x.png"))
    x = picture.colour.expand(3, -1, -1)[None] * 2 - 1
    y = project(any_size_f, interpolated(project(any_size_f, x)[0], scale)[None])[0]
    wanted = levels(y[: min(channels, 3)]).permute(1, 2, 0).numpy()
    assert np.abs(stored[..., :3] - wanted).max() <= 1
    if picture.alpha is not None:
        larger = interpolated(picture.alpha[None] * 2 - 1, scale)[0]
        assert np.abs(stored[..., 3] - levels(larger).numpy()).max() <= 1
    with Image.open("maps/x.png") as image:
        assert image.size == (41 * scale, 30 * scale)


def test_what_f_leaves_alone_is_enlarged_smoothly(here: Path, any_size_f: UNet) -> None:
    pixels = np.full((20, 30, 3), MIDDLE, np.uint8)
    pixels[:, 10:] += 1
    result, stored = one(any_size_f, pixels, scale=2)
    assert (result.status, result.changed_share) == ("unchanged", 0.0)
    assert stored.shape == (40, 60, 3)
    assert set(np.unique(stored)) == {MIDDLE, MIDDLE + 1}


def test_a_picture_that_would_be_too_large_is_not_enlarged(here: Path, any_size_f: UNet) -> None:
    Image.fromarray(colour(20, 30)).save("x.png")
    (result,) = restored(any_size_f, "x.png", scale=3, max_pixels=5_399)
    assert result.status == "failed"
    assert result.reason == "90×60 pixels are more than the limit of 5,399 (--max-pixels)"
    (result,) = restored(any_size_f, "x.png", scale=3, max_pixels=5_400)
    assert result.status == "changed"


def test_heat_maps_of_a_folder_are_named_after_the_results(here: Path, any_size_f: UNet) -> None:
    Path("p").mkdir()
    Image.fromarray(colour(20, 30)).save("p/a.png")
    Image.fromarray(colour(20, 30)).save("p/a.jpg")
    restored(any_size_f, "p", format="same", heat=Path("maps"))
    assert sorted(path.name for path in Path("maps").iterdir()) == ["a.jpg.png", "a.png"]
    Path("q").mkdir()
    Image.fromarray(colour(20, 30)).save("q/a.png")
    restored(any_size_f, "p", "q", heat=Path("both"), output="new")
    found = sorted(str(path) for path in Path("both").rglob("*.png"))
    assert found == ["both/p/a.jpg.png", "both/p/a.png.png", "both/q/a.png"]


def test_heat_maps_of_large_pictures_are_reduced_and_keep_thin_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plots, "HEAT_SIDE", 32)
    given = torch.full((3, 50, 100), 0.5)
    image = given * 2 - 1
    image[:, :, 41] = 1.0
    shown = plots.heat_map(given, image)
    assert shown.shape == (3, 13, 25)
    assert (shown[:, :, 10] == torch.tensor([1.0, 0.1, -1.0])[:, None]).all()
    assert not shown[:, :, 11:].any()


def test_the_picture_itself_is_left_as_it_was(any_size_f: UNet) -> None:
    with io.BytesIO() as file:
        Image.fromarray(colour(64, 64)).save(file, "PNG")
        picture = decode.read(file.getvalue())
    before = picture.colour.clone()
    assert whole.restore(any_size_f, picture, 2, strength=0.5).outcome.changed
    assert torch.equal(picture.colour, before)
