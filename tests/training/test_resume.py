"""Going on with a run: what it keeps is said, and other images are not taken in silence."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from make_it_real.training import checkpoint, resume
from make_it_real.training.folder import CHECKPOINT, MODEL
from make_it_real.weights import model_file
from tests.training.helpers import CPU, OPTIONS, bars, mir, pictures


@pytest.fixture
def begun(folder: Path, tmp_path: Path) -> Path:
    """A run of one step on five images of bars."""
    out = tmp_path / "run"
    words = [*OPTIONS, "--steps", 1, "--name", "mine", "--licence", "CC0-1.0"]
    result = mir("train", folder, "-o", out, *words)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", 64], "size: a run keeps what it was begun with, 12 (not 64)"),
        (["--channels", 3], "channels: a run keeps what it was begun with, 1 (not 3)"),
        (["--source", "white"], "source: a run keeps what it was begun with, mixture (not white)"),
        (["--objective", "ign"], "objective: a run keeps what it was begun with, adversarial"),
        (["--faces"], "faces: a run keeps what it was begun with, false (not true)"),
        (["--flip"], "flip: a run keeps what it was begun with, false (not true)"),
        (["--seed", 4], "seed: a run keeps what it was begun with, 0 (not 4)"),
        (["--set", "seed=4"], "seed: a run keeps what it was begun with, 0 (not 4)"),
        (["--set", "hold_out=2"], "hold_out: a run keeps what it was begun with, 0 (not 2)"),
        (["--set", "critic_widths=8,8"], "critic_widths: a run keeps what it was begun with, "),
        (["--batch", 18], "batch must be a multiple of 4"),
        (
            ["--set", "critic_every=0"],
            "f(z) is held, by held or critic_every 0, in runs --from a model",
        ),
        (["--overwrite"], "give one"),
    ],
    ids=str,
)
def test_what_a_run_can_not_change_is_refused(
    begun: Path, folder: Path, options: list[object], said: str
) -> None:
    before = {path: path.read_bytes() for path in begun.rglob("*.safetensors")}
    result = mir("train", folder, "-o", begun, "--resume", "--device", "cpu", *options)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert before == {path: path.read_bytes() for path in begun.rglob("*.safetensors")}


def test_what_a_run_has_may_be_said_again_and_the_batch_may_change(
    begun: Path, folder: Path
) -> None:
    words = ["--size", 12, "--channels", 1, "--source", "mixture", "--objective", "adversarial"]
    words += ["--seed", 0, "--no-faces", "--batch", 8, "--steps", 2, "--device", "cpu"]
    result = mir("train", folder, "-o", begun, "--resume", *words)
    assert result.exit_code == 0, result.output
    trainer = checkpoint.load(begun / CHECKPOINT, CPU)
    assert (trainer.step, trainer.config.batch) == (2, 8)
    # The name and licence that it was begun with.
    info = model_file.inspect(begun / MODEL)
    assert (info.name, info.licence) == ("mine", "CC0-1.0")
    fewer = mir("train", folder, "-o", begun, "--resume", "--steps", 1, "--device", "cpu")
    assert fewer.exit_code == 2
    assert "steps: the run has done 2 already" in fewer.stderr


def test_other_images_need_new_data(begun: Path, folder: Path) -> None:
    first = sorted(folder.iterdir())[0]
    with Image.open(first) as image:
        image.transpose(Image.Transpose.ROTATE_90).point(lambda level: level // 2).save(first)
    words = ["train", folder, "-o", begun, "--resume", "--steps", 2, "--device", "cpu"]
    refused = mir(*words)
    assert refused.exit_code == 2, refused.output
    assert "the run was begun on bars, 5 images; these are others of that name" in refused.stderr
    taken = mir(*words, "--new-data")
    assert taken.exit_code == 0, taken.output
    assert "new data: others of that name and number" in taken.stderr
    # They are the run's images from now on.
    assert mir(*words).exit_code == 0
    alone = mir("train", folder, "-o", begun / "other", "--new-data")
    assert (alone.exit_code, (begun / "other").exists()) == (2, False)


def test_images_are_told_apart_by_name_number_and_levels() -> None:
    images = pictures(40)
    about = resume.describe(images)
    assert len(about["levels"]) == resume.LEVELS
    assert resume.same_images(about, about)
    # Another decoder rounds differently, which is no other image.
    noise = torch.randint(-1, 2, images.pixels.shape, generator=torch.Generator().manual_seed(1))
    pixels = (images.pixels.int() + noise).clamp(0, 255).byte()
    assert resume.same_images(about, resume.describe(replace(images, pixels=pixels)))
    others = [
        replace(images, name="other"), images.take(slice(39)),
        replace(images, pixels=images.pixels.flip(0)),
    ]  # fmt: skip
    assert not any(resume.same_images(about, resume.describe(other)) for other in others)
    # Checkpoints from before say nothing of their images.
    assert resume.same_images({}, resume.describe(bars()))
