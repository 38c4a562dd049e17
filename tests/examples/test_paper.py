"""The script that reproduces the paper's experiments, with a small untrained model."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from make_it_real.evaluation import evaluate
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.models.ign import IGN
from tests.helpers import example

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def paper() -> ModuleType:
    return example("paper")


def test_the_page_holds_every_experiment(
    paper: ModuleType, tiny_f: IGN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "AT", (0, 1, 5))
    paper.draw_page(tiny_f, tmp_path / "p.webp")
    with Image.open(tmp_path / "p.webp") as page:
        # Generation, six kinds of damage, two ways, four sums and f^k.
        assert page.width == 16 * 30 * 2 + 16
        heights = [88 * 2, *[118 * 2] * 6, *[58 * 2] * 6, 238 * 2]
        assert page.height == 8 + sum(h + 44 for h in heights)
    shipped = ROOT / "examples" / "paper.webp"
    assert shipped.stat().st_size < 1_000_000


def test_the_numbers_are_printed(
    paper: ModuleType,
    tiny_f: IGN,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper, "AT", (0, 1, 5))
    paper.print_rest(tiny_f, DigitClassifier().eval())
    said = capsys.readouterr().out
    assert "256 seeds: " in said
    assert "read as the same digit at k = 300,000 as at k = 1" in said
    paper.print_plain_loop(tiny_f, 5, 2)
    assert "0 of 1,568 pixels differ in 8 bits" in capsys.readouterr().out


def test_rest_is_counted_by_when_it_came(paper: ModuleType) -> None:
    from make_it_real.inference.refinement import Refined, Rest

    rest = (Rest(3, "exact"), Rest(2000, "contraction"), None)
    done = Refined(torch.empty(3, 1, 4, 4), {}, rest, 5000, 9)
    assert [paper.at_rest(done, k) for k in (2, 3, 1999, 2000)] == [0, 1, 1, 2]


def test_classes_are_those_of_the_judge() -> None:
    net = DigitClassifier().eval()
    x = torch.zeros(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(evaluate.classes(net, x), net(x).argmax(1))
