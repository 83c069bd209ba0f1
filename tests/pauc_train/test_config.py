"""Settings: sources of values, and errors that say what to do."""

from pathlib import Path

import pytest

from nemd_toolkit.errors import InputError
from pauc_train.methods import METHODS
from pauc_train.methods.pclv2 import METHOD as PCL
from pauc_train.recipe import load_config, parse_setting, recipe_for


def test_defaults_are_pcls():
    config = PCL.config()
    assert (config.arch, config.epochs, config.batch_size, config.learning_rate) == (
        "resnet50", 200, 256, 0.03,
    )  # fmt: skip
    assert (config.embedding_dim, config.queue_size, config.key_momentum) == (128, 16384, 0.999)
    assert (config.temperature, config.clusters) == (0.2, (25000, 50000, 100000))
    assert (config.instance_weight, config.prototype_weight) == (1, 1)
    assert (config.warmup_epochs, config.weight_decay, config.sgd_momentum) == (20, 1e-4, 0.9)


def test_overrides_beat_the_methods_table_which_beats_the_recipe(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("epochs = 7\nalpha = 1\nbeta = 1\n[pauc]\nalpha = 2\nbeta = 2\n")
    config = load_config("pauc", recipe, {"beta": 3})
    assert (config.epochs, config.alpha, config.beta) == (7, 2.0, 3.0)
    assert "alpha" not in load_config("pcl", recipe).plain()


RECIPES = sorted(path.stem for path in Path("pauc_train/recipes").glob("*.toml"))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("method", METHODS)
def test_packaged_recipes_are_valid(name, method):
    assert recipe_for(f"{name}:x") == name
    assert load_config(method, name).epochs > 0


def test_data_without_a_recipe_gets_none():
    assert recipe_for("cifar:x") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat = 1", "did you mean learning_rate"),
        ("zzz = 1", "known are"),
        ("[pauc]\nalhpa = 1", "did you mean alpha"),
        ("epochs = 1.5", "epochs: expected a whole number, got 1.5"),
        ("epochs = true", "whole number"),
        ("alpha = 'x'", "alpha: expected a number"),
        ("clusters = 5", "a list of whole numbers"),
        ("clusters = [2.5]", "a list of whole numbers"),
        ("clusters = []", "clusters"),
        ("clusters = [1]", "at least 2"),
        ("head = 'big'", "one of linear, mlp"),
        ("arch = 'resnet9'", "resnet18"),
        ("views = 'cats'", "digits"),
        ("epochs = 0", "at least 1"),
        ("temperature = 0", "more than 0"),
        ("temperature = nan", "more than 0"),
        ("warmup_epochs = -1", "at least 0"),
        ("key_momentum = 1.1", "0…1"),
        ("epochs", "expected TOML"),
        ("batch_size = 1", "at least 2"),
        ("threads = 257", "at most 256"),
        ("epochs = 100000000000000000000", "at most"),
        ("image_size = 10000", "at most 8192"),
        ("clusters = [10, 20000000]", "at most 10000000"),
        ("learning_rate = inf", "finite"),
        ("alpha = nan", "alpha: expected a finite number, got nan"),
        ("weight_decay = inf", "finite"),
        ("prototype_weight = -1", "prototype_weight: expected a finite number, at least 0"),
        ("[paus]\nalpha = 1", "did you mean pauc"),
        ("optimizer = 'adam'", "one of sgd, lars, adamw"),
        ("compile = 1", "true or false"),
        ("milestones = [0.5, 1.5]", "at most 1"),
        ("instance_weight = inf", "finite"),
        ("beta = 1" + "0" * 400, "finite"),
        ("align_power = 0", "more than 0"),
        ("uniform_t = -1", "more than 0"),
    ],
)
def test_bad_recipes_are_refused_in_one_sentence(tmp_path, text, words):
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config("moco", recipe)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        load_config("moco", tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_set_wants_key_and_value(text):
    with pytest.raises(InputError, match="key=value"):
        parse_setting(text)


def test_an_override_that_the_method_lacks_is_refused_though_a_recipe_may_hold_it(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("alpha = 2")
    assert "alpha" not in load_config("moco", recipe).plain()
    with pytest.raises(InputError, match="alpha: moco has no such setting"):
        load_config("moco", recipe, {"alpha": 2.0})


def test_plain_settings_rebuild_the_config():
    config = load_config("pauc", "digits")
    assert load_config("pauc", None, config.plain()) == config
