"""Files of a model that repairs images of any size: their probe, card, folder and exports."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.errors import SourceError, WeightsError
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.models.ign import IGN
from make_it_real.models.unet import UNet
from make_it_real.weights import export, model_card, model_file, pretrained, verify

# N, height and width of images: none of them as in the export's own comparison.
SIZES = ((1, 9, 14), (2, 33, 50), (1, 72, 8 * 12))


def noise(n: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return (0.5 * torch.randn(n, 3, height, width, generator=generator)).clamp(-1, 1)


# --- the probe ---


@pytest.mark.parametrize("channels", [1, 3])
def test_the_probes_images_are_the_same_every_time(channels: int) -> None:
    given = verify.damaged(channels)
    assert given.shape == (4, channels, 32, 32)
    assert given.dtype == torch.uint8
    assert torch.equal(given, verify.damaged(channels))
    assert all(len(one.unique()) > 1 for one in given)


def test_repaired_is_f_of_8_bit_pixels(tiny_unet: IGN) -> None:
    given = verify.damaged(3)
    wanted = to_pixels(tiny_unet(to_images(given)))
    assert torch.equal(verify.repaired(tiny_unet, given), wanted)
    assert torch.equal(verify.repaired(tiny_unet.train(), given), wanted)
    assert tiny_unet.training


def test_a_saved_model_has_a_probe_pixel_by_pixel(tiny_restorer: Path) -> None:
    probe = model_file.inspect(tiny_restorer).probe
    assert set(probe) == {"images", "pixels", "tensors"}
    assert len(bytes.fromhex(probe["pixels"])) == 4 * 3 * 32 * 32
    found = verify.check(pretrained.load(tiny_restorer), tiny_restorer)
    assert (found["images"], found["difference"]) == (4, 0)


def test_the_images_in_the_file_count_not_those_made_today(
    tiny_restorer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random numbers and JPEG may differ on other machines and in later versions."""
    monkeypatch.setattr(verify, "damaged", lambda channels: 1 / 0)
    assert verify.check(pretrained.load(tiny_restorer), tiny_restorer)["difference"] == 0


def test_an_f_that_no_longer_removes_noise_is_noticed(tiny_restorer: Path) -> None:
    """Averaged to 8×8, as images made of z are compared, noise would hardly show."""
    info = model_file.inspect(tiny_restorer)
    for wrong, ok in ((2, True), (3, False)):
        pixels = [min(255, pixel + wrong) for pixel in bytes.fromhex(info.probe["pixels"])]
        stated = replace(info, probe={**info.probe, "pixels": bytes(pixels).hex()})
        model_file.describe(stated, tiny_restorer)
        f = pretrained.load(tiny_restorer)
        if ok:
            assert verify.check(f, tiny_restorer)["difference"] == wrong
        else:
            with pytest.raises(WeightsError, match="by 3 of 255 levels where 2 are allowed"):
                verify.check(f, tiny_restorer)
    left = replace(info, probe={**info.probe, "pixels": info.probe["images"]})
    model_file.describe(left, tiny_restorer)
    with pytest.raises(WeightsError, match="makes other images"):
        verify.check(pretrained.load(tiny_restorer), tiny_restorer)


@pytest.mark.parametrize(
    "broken",
    [
        {"images": "xyz"}, {"images": ""}, {"images": "00"}, {"images": 7}, {"pixels": "00"},
        {"pixels": None}, {"images": "00" * 3 * 32 * 32}, {"tensors": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_probe_is_an_error(tiny_restorer: Path, broken: dict[str, object]) -> None:
    info = model_file.inspect(tiny_restorer)
    model_file.describe(replace(info, probe={**info.probe, **broken}), tiny_restorer)
    with pytest.raises(WeightsError, match=r"damaged probe|not those it was saved with"):
        verify.check(pretrained.load(tiny_restorer), tiny_restorer)


def test_half_precision_gets_a_probe_of_its_own(tiny_unet: IGN, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    info = model_file.ModelInfo("half", asdict(tiny_unet.config))
    model_file.save(tiny_unet, info, path, half=True)
    with pytest.raises(WeightsError, match="no probe"):
        verify.check(pretrained.load(path), path)
    verify.add(pretrained.load(path), path)
    assert verify.check(pretrained.load(path), path)["difference"] == 0


# --- the card and the hub's folder ---


def test_the_card_says_what_it_is_and_offers_no_generate(tiny_restorer: Path) -> None:
    info = model_file.inspect(tiny_restorer)
    card = model_card.text(info, samples=True)
    assert "for pictures of any size: it repairs" in card
    assert "mir project photo.jpg -m restorer" in card
    assert "mir generate" not in card
    assert "- Licence: non-commercial research only" in card
    assert "- Repairs: noise 7, jpeg 2" in card
    assert "Damaged images, and what it makes of each below" in card
    assert "--size" not in model_card.training_command(info)
    assert model_card.resolution(info) == "3×H×W"
    hub = model_card.with_metadata(info, "me/restorer")
    assert "pipeline_tag: image-to-image" in hub
    assert "license: other" in hub


def test_a_folder_comes_back_with_before_and_after(tiny_restorer: Path, tmp_path: Path) -> None:
    f = pretrained.load(tiny_restorer)
    f.save_pretrained(tmp_path / "folder")
    again = pretrained.PretrainedIGN.from_pretrained(tmp_path / "folder")
    assert isinstance(again, pretrained.PretrainedUNet)
    x = noise(1, 20, 31)
    assert torch.equal(again(x), f(x))
    assert json.loads((tmp_path / "folder" / "config.json").read_bytes())["image_size"] == 0
    verify.check(again, tmp_path / "folder" / "model.safetensors")
    with Image.open(tmp_path / "folder" / "samples.png") as sheet:
        assert sheet.size == (4 * (4 * 32 + 2) - 2, 2 * (4 * 32 + 2) - 2)
        shown = torch.from_numpy(np.array(sheet))
    given = verify.damaged(3)
    for row, images in enumerate((given, verify.repaired(f, given))):
        cell = shown[row * 130 : row * 130 + 128 : 4, 130:258:4]
        assert torch.equal(cell, images[1].permute(1, 2, 0))


def test_it_makes_no_images_in_python_either(tiny_unet: IGN) -> None:
    from make_it_real import generate

    with pytest.raises(SourceError, match="repairs images and has none of its own to make"):
        generate(tiny_unet, [0])
    assert issubclass(SourceError, ValueError)


def test_makers_are_those_that_have_a_source() -> None:
    makers = model_file.makers()
    assert {"faces", "mnist", "fashion"} <= set(makers)
    assert "photos" not in makers


# --- exports ---


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("mixed", [True, False])
def test_exports_take_any_height_and_width(
    mixed: bool, kind: str, tiny_restorer: Path, any_size_model: Path, tmp_path: Path
) -> None:
    f = pretrained.load(tiny_restorer if mixed else any_size_model)
    path = tmp_path / f"f.{kind}"
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    assert export.FORMATS[kind](f, path) <= export.TOLERANCE
    if kind == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        n, channels, *_ = session.get_inputs()[0].shape
        assert (n, channels) == (1 if mixed else "n", 3)
    else:
        module = torch.export.load(path).module()
    for number, height, width in SIZES:
        x = noise(1 if mixed else number, height, width)
        # The gate closes over a part that f hardly changes.
        x[..., : width // 2] *= 0.01
        fx = f(x)
        if kind == "onnx":
            made = torch.from_numpy(session.run(["made"], {"images": x.numpy()})[0])
        else:
            made = module(x)
        torch.testing.assert_close(made, fx, atol=1e-4, rtol=0)


def test_an_onnx_file_convolves_a_block_with_deltas_once(
    tiny_restorer: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    f, path = pretrained.load(tiny_restorer), tmp_path / "f.onnx"
    assert isinstance(f, UNet)
    export.to_onnx(f, path)
    convs = [m for m in f.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    spared = [m for m in f.deltas.modules() if isinstance(m, torch.nn.Conv2d)]
    nodes = [n for n in onnx.load(path).graph.node if n.op_type in ("Conv", "ConvTranspose")]
    assert len(nodes) == len(convs) - len(spared)
