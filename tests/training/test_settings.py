"""Settings as text: typed, checked against the objective's own, and those that are not as usual."""

from dataclasses import replace

import pytest

from make_it_real.models.ign import IGNConfig
from make_it_real.training.config import (
    AdversarialConfig,
    IGNTrainingConfig,
    default_config,
    with_settings,
)
from make_it_real.training.lambdas import AdversarialLambdas, IGNLambdas
from make_it_real.training.networks import default_model, paper_model
from make_it_real.training.settings import list_nondefault, parse_settings, setting_types


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=5", {"steps": 5}), ("lr=1e-3", {"lr": 1e-3}), ("flip=true", {"flip": True}),
        ("compile=none", {"compile": None}), ("compile=false", {"compile": False}),
        ("critic_widths=8,16", {"critic_widths": (8, 16)}),
        ("damage=noise=7,mask", {"damage": {"noise": 7.0, "mask": 1.0}}),
        ("lambdas.restore=25", {"lambdas": {"restore": 25.0}}),
    ],
)  # fmt: skip
def test_a_value_has_the_type_of_its_setting(text: str, value: dict[str, object]) -> None:
    parsed = parse_settings("adversarial", [text])
    assert parsed == value
    assert [type(v) for v in parsed.values()] == [type(v) for v in value.values()]


@pytest.mark.parametrize(
    "text",
    ["steps=many", "steps=1.5", "flip=yes", "compile=1", "critic_widths=8,", "damage=noise=", "lr"],
)
def test_a_value_of_another_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text.partition('=')[0]}: .* is no value for it"):
        parse_settings("adversarial", [text])


@pytest.mark.parametrize("objective", ["adversarial", "ign"])
@pytest.mark.parametrize("name", ["colour", "lambdas", "lambdas.colour", "start", "objective", ""])
def test_a_name_that_is_none_is_told_with_all_that_there_are(objective: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"no setting {name} of the objective") as caught:
        parse_settings(objective, [f"{name}=1"])
    for known in setting_types(objective):
        assert known in str(caught.value)


def test_the_objectives_have_their_own() -> None:
    ign, adversarial = setting_types("ign").keys(), setting_types("adversarial").keys()
    assert ign - adversarial == {"norm", "clamp", "tight_rec", "lambdas.tight"}
    assert adversarial >= {"damage", "lambdas.real", "hold_out", "accumulate"}


def test_of_lambdas_those_that_are_named_are_replaced() -> None:
    settings = parse_settings("adversarial", ["lambdas.rec=3", "lambdas.idem=2"])
    wanted = AdversarialLambdas(rec=3, idem=2, restore=25)
    assert default_config(default_model(64, 3), **settings).lambdas == wanted
    paper = with_settings(IGNTrainingConfig(), parse_settings("ign", ["lambdas.rec=3"]))
    assert paper.lambdas == IGNLambdas(rec=3)


@pytest.mark.parametrize("size", [28, 64])
def test_what_differs_is_what_was_changed_and_read_again_gives_the_same(size: int) -> None:
    model = default_model(size, 3)
    assert list_nondefault(default_config(model), model) == []
    config = default_config(model, steps=5, damage={"mask": 1.0}, lambdas={"rec": 2.0})
    config = replace(config, start="a model")
    assert list_nondefault(config, model) == ["steps", "damage", "lambdas.rec"]
    repair = default_config(model, critic_every=0)
    assert list_nondefault(repair, model) == ["critic_every"]
    paper = IGNTrainingConfig(clamp=2.0)
    assert list_nondefault(paper, paper_model(28, 1)) == ["clamp"]
    assert list_nondefault(paper, paper_model(28, 1, norm="group")) == ["clamp", "norm"]
    assert list_nondefault(AdversarialConfig(gamma=9.0), IGNConfig()) == ["gamma", "source"]
