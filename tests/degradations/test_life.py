"""What is drawn for photographs: levels, kinds by weight, several in the order of a life."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from make_it_real.degradations import life
from make_it_real.degradations.kinds import DEGRADATIONS, PHOTOGRAPH_DAMAGE, Degradation, kept_out
from make_it_real.degradations.life import LIFE, RANGES, Range, damaged, rounded


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, side: int = 32) -> Tensor:
    coarse = torch.rand(n, 3, 4, 4, generator=seeded(1)) * 2 - 1
    return rounded(torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic"))


def spies(
    monkeypatch: pytest.MonkeyPatch, kinds: list[str]
) -> tuple[dict[str, list[float]], Mapping[str, Degradation]]:
    """Replace the table by kinds that leave images alone and note their levels, in turn."""
    seen: dict[str, list[float]] = {}

    def spy(kind: str) -> Callable[[Tensor, Tensor, torch.Generator], Tensor]:
        def damage(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
            seen.setdefault(kind, []).extend(levels.tolist())
            return images

        return damage

    table = {kind: Degradation(spy(kind), "", 1, DEGRADATIONS[kind].levels) for kind in kinds}
    monkeypatch.setattr(life, "DEGRADATIONS", table)
    return seen, table


def test_levels_go_from_mild_to_strong() -> None:
    u = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(Range(90, 10).levels(u), torch.tensor([90.0, 50.0, 10.0]))
    torch.testing.assert_close(Range(1, 5, bend=2).levels(u), torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(Range(4, 400, log=True).levels(u), torch.tensor([4.0, 40.0, 400.0]))


@pytest.mark.parametrize("kind", sorted(RANGES))
def test_ranges_are_of_known_kinds_and_of_levels_that_make_sense(kind: str) -> None:
    low, high = DEGRADATIONS[kind].valid
    assert all(low <= level <= high for level in (RANGES[kind].mild, RANGES[kind].strong))


@pytest.mark.parametrize("kind", ["jpeg", "jpeg-twice", "webp"])
def test_a_tenth_of_compressed_pictures_are_as_good_as_cameras_write_them(kind: str) -> None:
    """f can tell their texture from what strong compression leaves only if it sees both."""
    levels = RANGES[kind].levels(torch.linspace(0, 1, 1001))
    assert (levels > 85).float().mean() > 0.1
    assert (levels < 30).float().mean() > 0.2


def test_what_training_draws_holds_nothing_that_is_kept_out() -> None:
    apart = set(kept_out(3, any_size=True))
    assert not apart & set(PHOTOGRAPH_DAMAGE)
    assert not apart & {kind for stage in LIFE for kind in stage.kinds}
    assert {kind for stage in LIFE for kind in stage.kinds} <= set(DEGRADATIONS)
    # Each kind that is trained on has its place in a life.
    assert set(PHOTOGRAPH_DAMAGE) <= {kind for stage in LIFE for kind in stage.kinds}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_results_are_8_bit_and_the_same_for_a_seed(share: float) -> None:
    x = pictures(60)
    before = x.clone()
    y, again, other = (
        damaged(x, PHOTOGRAPH_DAMAGE, share, generator=seeded(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(y, again)
    assert not torch.equal(y, other)
    assert torch.equal(x, before)
    levels = (y + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert y.abs().max() <= 1
    if share == 0:
        assert (y != x).flatten(1).any(1).all()


def test_one_kind_an_image_drawn_by_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = spies(monkeypatch, ["noise", "jpeg", "thin"])
    damaged(
        torch.zeros(900, 3, 1, 1), {"noise": 2, "jpeg": 1, "thin": 0.001}, 0, generator=seeded()
    )
    assert len(seen["noise"]) + len(seen["jpeg"]) + len(seen.get("thin", [])) == 900
    assert len(seen["jpeg"]) == pytest.approx(300, abs=50)
    assert min(seen["jpeg"]) == pytest.approx(8, abs=2)
    assert max(seen["jpeg"]) == pytest.approx(95, abs=2)


def test_a_life_has_some_of_the_stages_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = spies(monkeypatch, ["jpeg", "blur", "noise", "poisson"])
    weights = {"jpeg": 5, "blur": 1, "noise": 3, "poisson": 1}
    damaged(torch.zeros(1000, 3, 1, 1), weights, 1, generator=seeded())
    assert list(seen) in (
        ["blur", "noise", "poisson", "jpeg"],
        ["blur", "poisson", "noise", "jpeg"],
    )
    counts = [len(seen["blur"]), len(seen["noise"]) + len(seen["poisson"]), len(seen["jpeg"])]
    assert counts == pytest.approx([300, 600, 800], abs=60)
    assert len(seen["poisson"]) == pytest.approx(150, abs=40)
    # The mild half of noise, all of compression.
    assert max(seen["noise"]) == pytest.approx((2 + 53 / 2) / 127.5, abs=0.01)
    assert min(seen["jpeg"]) < 12


def test_other_kinds_have_the_levels_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, table = spies(monkeypatch, ["fading"])
    damaged(torch.zeros(300, 3, 1, 1), {"fading": 1}, 0, generator=seeded())
    low, high = table["fading"].levels
    assert (min(seen["fading"]), max(seen["fading"])) == pytest.approx((low, high), abs=0.01)


def test_no_images_are_no_trouble() -> None:
    assert damaged(torch.zeros(0, 3, 8, 8), {"noise": 1}, 0.5, generator=seeded()).shape[0] == 0


def test_rounding_gives_the_values_of_8_bits() -> None:
    x = torch.linspace(-1.5, 1.5, 301)
    assert set(((rounded(x) + 1) * 127.5).round().int().tolist()) <= set(range(256))
    torch.testing.assert_close(rounded(x), x.clamp(-1, 1), atol=0.5 / 127.5 + 1e-6, rtol=0)
