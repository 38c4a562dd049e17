"""The restorer of photographs: what a step draws, its terms, that it learns, and a run of it."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import softplus

from make_it_real.data import graphics
from make_it_real.degradations.life import rounded
from make_it_real.images import decode
from make_it_real.models.ign import IGNConfig
from make_it_real.models.unet import UNet
from make_it_real.training import checkpoint, photographs, recipe
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import distance_charbonnier, loss_gate, weighted_sum
from make_it_real.training.photographs import PhotographObjective
from make_it_real.training.trainer import Trainer, train
from make_it_real.weights import model_card, model_file, pretrained
from tests.training.helpers import CPU, JUDGED, RESTORER, copied, mir, resumed, same_state, scenes


def begun(model: IGNConfig = RESTORER, **changes: Any) -> Trainer[PhotographObjective]:
    settings: dict[str, Any] = {
        "steps": 60, "decay_steps": 20, "warm_up": 5, "batch": 12, "crop": 24, "lr": 4e-3,
        "clean": 0.25, "bf16": False, "damage": {"noise": 3, "salt-and-pepper": 1},
    }  # fmt: skip
    config = PhotographConfig(**settings | changes)
    return Trainer(PhotographObjective(model, config, CPU))


# --- A step's draw ---


def test_a_draw_has_clean_crops_and_damaged_ones_of_8_bits() -> None:
    trainer = begun(life=0.0)
    (draw,) = trainer.draw(scenes(), 3)
    assert (draw.step, tuple(draw.x.shape)) == (3, (3, 3, 24, 24))
    assert tuple(draw.Ax.shape) == tuple(draw.y.shape) == (9, 3, 24, 24)
    for images in (draw.x, draw.y, draw.Ax):
        torch.testing.assert_close(rounded(images), images)
    assert (draw.Ax != draw.y).flatten(1).any(1).all()


def test_crops_off_the_grid_show_what_their_originals_show(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def noted(x: Tensor, *arguments: object, generator: torch.Generator) -> Tensor:
        sides.extend([x.shape[-1]] * len(x))
        return x.clone()

    monkeypatch.setattr(photographs, "damaged", noted)
    trainer = begun(batch=200, off_grid=0.5, clean=0.0)
    (draw,) = trainer.draw(scenes(), 0)
    # Damage that does nothing: each crop is what it was, wherever it was cut out.
    assert torch.equal(draw.Ax, draw.y)
    assert sides.count(40) == pytest.approx(100, abs=25)
    assert set(sides) == {24, 40}


def test_grey_crops_are_grey_before_the_damage() -> None:
    (draw,) = begun(grey=1.0, clean=0.5).draw(scenes(), 0)
    for images in (draw.x, draw.y):
        assert torch.equal(images[:, 0], images[:, 2])
    assert not torch.equal(draw.Ax[:, 0], draw.Ax[:, 2])


def test_a_share_of_the_crops_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "drawn", lambda crop, generator: torch.full_like(crop, 255))
    (draw,) = begun(batch=200, graphics=0.3).draw(scenes(), 0)
    white = torch.cat([(each == 1).flatten(1).all(1) for each in (draw.x, draw.y)])
    assert white.float().mean() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize(("batch", "clean", "kept"), [(4, 0.0, 0), (3, 0.9, 2), (10, 0.11, 1)])
def test_at_least_one_crop_is_damaged(batch: int, clean: float, kept: int) -> None:
    (draw,) = begun(batch=batch, clean=clean).draw(scenes(), 0)
    assert (len(draw.x), len(draw.Ax)) == (kept, batch - kept)


# --- The loss ---


@pytest.mark.parametrize("smooth", [0.03, 0.001])
def test_the_terms_are_repair_and_rest_and_rest_of_what_was_repaired(smooth: float) -> None:
    trainer = begun(smooth=smooth)
    objective = trainer.objective
    for parameter in objective.f.parameters():
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=trainer.generator))
    (draw,) = trainer.draw(scenes(), 0)
    terms = objective.losses(draw)
    f = objective.f
    s = rounded(f(draw.Ax).detach())[::4]
    torch.testing.assert_close(terms["rec"], distance_charbonnier(f(draw.x), draw.x, smooth))
    torch.testing.assert_close(terms["restore"], distance_charbonnier(f(draw.Ax), draw.y))
    torch.testing.assert_close(terms["idem"], (f(s) - s).abs().mean())
    lambdas = objective.config.lambdas
    wanted = lambdas.rec * terms["rec"] + lambdas.restore * terms["restore"]
    wanted = wanted + lambdas.idem * terms["idem"]
    torch.testing.assert_close(weighted_sum(terms, vars(lambdas)), wanted)


def test_idempotence_trains_the_outer_f_alone_and_costs_nothing_where_it_weighs_nothing() -> None:
    trainer = begun()
    objective = trainer.objective
    # f changes what it is given first, and then leaves everything as it is.
    calls: list[Tensor] = []
    gain = torch.ones((), requires_grad=True)

    def f(images: Tensor) -> Tensor:
        calls.append(images)
        return images * gain if len(calls) == 1 else images

    objective.compiled = {"f": f}
    (draw,) = trainer.draw(scenes(), 0)
    assert objective.losses(draw)["idem"].requires_grad is False
    calls.clear()
    without = begun(lambdas={"rec": 1.0, "restore": 1.0, "idem": 0.0}).objective
    without.compiled = {"f": f}
    assert without.losses(draw).keys() == {"restore", "rec"}
    assert len(calls) == 1


def test_a_learned_gate_has_terms_of_its_own() -> None:
    objective = begun(JUDGED).objective
    f = objective.f
    assert isinstance(f, UNet)
    generator = torch.Generator().manual_seed(0)
    for parameter in f.parameters():
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    # For the gate to be open for all that is given.
    f.get_parameter("last.bias").data[12:] += 2.0
    (draw,) = begun(JUDGED).draw(scenes(), 0)
    terms = objective.losses(draw)
    given, truth = torch.cat([draw.x, draw.Ax]), torch.cat([draw.x, draw.y])
    proposed, logits = f.split(f(given))
    torch.testing.assert_close(terms["restore"], distance_charbonnier(proposed[3:], draw.y))
    before, after = (
        f.around((images - truth).square().mean(1, keepdim=True)) for images in (given, proposed)
    )
    torch.testing.assert_close(terms["gate"], loss_gate(logits, before, after))
    # What f makes of every fourth damaged crop is given to it again, and the gate is to be closed.
    s = rounded(f.eval()(draw.Ax[::4]))
    _, again = f.train().split(f(s))
    torch.testing.assert_close(terms["idem"], softplus(again).mean())


def test_a_gate_that_was_closed_is_not_asked_to_stay_closed() -> None:
    objective = begun(JUDGED).objective
    objective.f.get_parameter("last.bias").data[12:] = -3.0
    (draw,) = begun(JUDGED).draw(scenes(), 0)
    terms = objective.losses(draw)
    assert terms["idem"] == 0
    assert terms["gate"] > 0


def test_a_gate_learns_what_is_damaged() -> None:
    trainer, images = begun(JUDGED, steps=200, lr=8e-3, damage={"salt-and-pepper": 1}), scenes()
    (held,) = trainer.draw(images, 0)
    for _ in train(trainer, images):
        pass
    f = trainer.objective.shipped
    assert isinstance(f, UNet)
    with torch.no_grad():
        clean, damaged = (f.train().split(f(x))[1].mean() for x in (held.x, held.Ax))
        assert damaged > clean + 1
        assert torch.equal(f.eval()(held.x), held.x)


def test_gradients_are_clipped_and_the_rate_rises_and_falls() -> None:
    trainer = begun(clip=1e-3, steps=10, decay_steps=4, warm_up=4, lr=1.0)
    rates = []
    for _ in train(trainer, scenes()):
        rates.append(trainer.lr)
        gradients = [p.grad.norm() for p in trainer.objective.f.parameters() if p.grad is not None]
        assert float(torch.stack(gradients).norm()) <= 1e-3 * 1.001
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_a_short_training_repairs_some_of_the_damage() -> None:
    trainer, images = begun(steps=150), scenes()
    (held,) = trainer.draw(images, 0)
    for _ in train(trainer, images):
        pass
    f = trainer.objective.shipped.eval()
    with torch.no_grad():
        before = distance_charbonnier(held.Ax, held.y)
        assert float(distance_charbonnier(f(held.Ax), held.y)) < 0.8 * float(before)
        assert float(distance_charbonnier(f(held.x), held.x)) < 0.3 * float(before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hold_out": 5}, "hold_out must be 0"), ({"crop": 8}, "crop must be at least 16"),
        ({"clean": 1.5}, "clean is a share, from 0 to 1"),
        ({"graphics": -0.1}, "graphics is a share, from 0 to 1"),
        ({"clip": 0.0}, "clip and smooth must be over 0"),
        ({"smooth": 0.0}, "clip and smooth must be over 0"),
        ({"damage": {"banding": 1}}, "kept out of training on purpose: banding"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PhotographConfig(**changes)


# --- Checkpoints ---


def test_a_run_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    trainer = begun(steps=6)
    again = resumed(trainer, scenes(), tmp_path / "c.safetensors")
    assert isinstance(again.objective, PhotographObjective)
    assert same_state(trainer, again)


def test_batches_drawn_ahead_change_nothing() -> None:
    plain, ahead, images = begun(steps=4), begun(steps=4), scenes()
    for trainer, early in ((plain, False), (ahead, True)):
        for _ in train(trainer, images, ahead=early):
            pass
    assert same_state(plain, ahead)


# --- mir train ---

WORDS = [
    "--objective", "photographs", "--batch", 6, "--set", "crop=24", "--set", "decay_steps=10",
    "--damage", "noise,jpeg=2", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network in place of the default and of the recipe's."""
    found = replace(recipe.load("photos"), model=RESTORER)
    monkeypatch.setattr(recipe, "load", lambda name: found)
    monkeypatch.setattr(recipe, "choose", lambda size, channels: None)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of four photographs, one of them grey and one in a folder inside."""
    folder = tmp_path / "album"
    (folder / "old").mkdir(parents=True)
    for i, picture in enumerate(scenes().pictures):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        image = image.crop((0, 0, 70 - 4 * i, 52)).convert("L" if i == 2 else "RGB")
        image.save(folder / ("old" if i == 3 else "") / f"{i}.png")
    return folder


@pytest.mark.usefixtures("small")
def test_mir_train_writes_a_model_that_repairs_and_goes_on_with_its_run(
    album: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = mir("train", album, "-o", out, *WORDS, "--steps", 25, "--licence", "CC0-1.0")
    assert first.exit_code == 0, first.output
    assert "4 photographs in crops of 24×24" in first.stderr
    assert f"mir project PHOTO -m {out}" in first.stderr
    assert sorted(os.listdir(out)) == [
        "checkpoint.safetensors", "log.jsonl", "model.safetensors", "samples",
    ]  # fmt: skip
    (line,) = (json.loads(text) for text in (out / "log.jsonl").read_text().splitlines())
    assert {"lr", "rec", "restore", "idem", "images_per_second"} <= line.keys()
    # Damaged, repaired and original of four pictures, two a row.
    sheet = decode.read(out / "samples" / "000025.png").colour
    assert sheet.shape == (3, 2 * 54 - 2, 6 * 54 - 2)

    info = model_file.inspect(out / "model.safetensors")
    assert (info.steps, info.data, info.licence) == (25, "album, 4 images", "CC0-1.0")
    assert info.objective == "restoration of photographs"
    assert info.calibration["n"] == 4
    f = pretrained.load(out / "model.safetensors")
    trainer = checkpoint.load(out / "checkpoint.safetensors", CPU)
    assert all(
        torch.equal(value, copied(trainer.objective.f_ema)[name])
        for name, value in copied(f).items()
    )
    assert model_card.training_command(info).startswith(
        "mir train DATA -o RUN --objective photographs --steps 25 "
    )
    more = mir("train", album, "-o", out, "--resume", "--steps", 27, "--device", "cpu", "-q")
    assert more.exit_code == 0, more.output
    assert model_file.inspect(out / "model.safetensors").steps == 27
    resumed = checkpoint.load(out / "checkpoint.safetensors", CPU)
    assert (resumed.step, resumed.config.batch) == (27, 6)


@pytest.mark.usefixtures("small")
def test_a_run_may_start_from_a_model_for_photographs(album: Path, tmp_path: Path) -> None:
    first = mir("train", album, "-o", tmp_path / "a", *WORDS, "--steps", 2)
    assert first.exit_code == 0, first.output
    second = mir(
        "train", album, "-o", tmp_path / "b", "--from", tmp_path / "a", "--steps", 1, "--lr", 0,
        "--set", "crop=24", "-d", "cpu",
    )  # fmt: skip
    assert second.exit_code == 0, second.output
    assert "f starts from a, sha256 " in second.stderr
    path = "model.safetensors"
    before, after = (copied(pretrained.load(tmp_path / name / path)) for name in ("a", "b"))
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--faces"], "--faces: photographs"), (["--source", "white"], "has no z"),
        (["--channels", 1], "--channels"), (["--set", "hold_out=4"], "hold_out must be 0"),
        (["--set", "gamma=2"], "no setting gamma of the objective photographs"),
        (["--damage", "half-tone"], "kept out of training on purpose"),
        (["--size", 30], "at least 40 are needed"), (["--from", "mnist"], "a model of one size"),
        (["--set", "crop=200"], "at least two photographs are needed; 0 can be used"),
    ],
    ids=str,
)  # fmt: skip
def test_what_photographs_have_no_use_for_is_refused_in_one_line(
    album: Path, tmp_path: Path, options: list[object], said: str
) -> None:
    result = mir("train", album, "-o", tmp_path / "run", *WORDS, *options)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
def test_a_resumed_run_keeps_its_side_and_its_pictures(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = mir("train", album, "-o", out, *WORDS, "--steps", 1, "--size", 45)
    assert first.exit_code == 0, first.output
    go_on = ["train", album, "-o", out, "--resume", "--steps", 2, "-d", "cpu"]
    other = mir(*go_on, "--size", 50)
    assert other.exit_code == 2
    assert "size: a run keeps what it was begun with, 45" in other.stderr
    (album / "0.png").unlink()
    fewer = mir(*go_on)
    assert fewer.exit_code == 2
    assert "--new-data goes on with them" in fewer.stderr
    assert mir(*go_on, "--new-data").exit_code == 0
