"""Recipes: each is whole, and what is none is said in one line."""

from dataclasses import asdict

import pytest

from make_it_real.errors import SettingsError
from make_it_real.training import recipe
from make_it_real.weights import model_file


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_makes_a_bundled_model(name: str) -> None:
    found = recipe.load(name)
    bundled = model_file.inspect(model_file.resolve(name))
    assert found.licence == bundled.licence
    wanted = asdict(found.model)
    # The digits' z had another source when the weights that ship were trained.
    ignored = {"source"} if name == "mnist" else set()
    for field, value in bundled.config.items():
        if field not in ignored:
            assert wanted[field] == (tuple(value) if isinstance(value, list) else value), field
    for stage in found.stages:
        assert stage.steps > stage.decay_steps > 0


def test_a_recipe_is_chosen_by_the_images() -> None:
    digits = recipe.choose(28, 1)
    assert digits is not None
    assert digits.name == "mnist"
    assert recipe.choose(28, 3) is None
    assert recipe.choose(30, 1) is None


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(SettingsError, match="no recipe 'mnits': there are fashion, mnist"):
        recipe.load("mnits")
    fields = {"data": "x", "licence": "", "model": {"image_size": 28, "channels": 1}}
    for stages in ([{"objective": "none"}], [{"objective": "adversarial", "stepz": 3}]):
        with pytest.raises(SettingsError, match="the recipe x: "):
            recipe.parse("x", {**fields, "stages": stages})
