"""Encoders that the user gives: the branch's weights in them, and loud where they do not fit."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import nemd_toolkit as nt
from nemd_toolkit.embedding_export import embed_to_file
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.encoding import prepare_pass
from nemd_toolkit.errors import InputError, PartlyLoaded
from nemd_toolkit.images import open_images
from tests.encoders.test_peers import random_weights

pytestmark = pytest.mark.filterwarnings("ignore", "error::nemd_toolkit.errors.PartlyLoaded")


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def tiny(seed=0, width=6):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, width, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip


def rows_of(net):
    images = open_images("digits", "test")
    with torch.inference_mode():
        return unit(net(images.batch(torch.arange(images.count))))


def embedded(path, encoder, **options):
    return nt.embed(path, "digits", transform="none", split="test", encoder=encoder, **options)


class TestLoading:
    def test_a_module_gets_the_weights_and_stays_as_it_was(self, tmp_path):
        torch.save(tiny(1).state_dict(), tmp_path / "a.pt")
        net = tiny(0)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        state = torch.random.get_rng_state()
        found = embedded(tmp_path / "a.pt", net)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        torch.testing.assert_close(found.vectors, rows_of(tiny(1)), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("prefix", ["", "module.", "model.encoder.", "learner.net."])
    def test_prefixes_are_taken_off(self, tmp_path, prefix):
        state = {f"{prefix}{k}": v for k, v in tiny(1).state_dict().items()}
        torch.save(state, tmp_path / "a.pt")
        found = embedded(tmp_path / "a.pt", tiny(0))
        torch.testing.assert_close(found.vectors, rows_of(tiny(1)), rtol=0, atol=1e-6)

    def test_a_function_is_used_as_it_is_and_that_is_said(self, tmp_path):
        torch.save(tiny(1).state_dict(), tmp_path / "a.pt")
        net = tiny(2)
        found = embedded(tmp_path / "a.pt", net.forward)
        torch.testing.assert_close(found.vectors, rows_of(net), rtol=0, atol=1e-6)
        assert "weights were not loaded" in found.notes[1]

    def test_missing_weights_are_loud_and_counted(self, tmp_path):
        state = tiny(1).state_dict()
        del state["3.bias"], state["1.running_var"], state["1.num_batches_tracked"]
        torch.save(state, tmp_path / "a.pt")
        with pytest.warns(PartlyLoaded, match="only 6 of the encoder's 8 tensors"):
            found = embedded(tmp_path / "a.pt", tiny(0))
        assert "the others are random (1.running_var, 3.bias)" in found.notes[1]
        assert found.notes[1].startswith("WARNING: only 6")

    def test_a_smaller_encoder_than_the_weights_are_for_is_loud(self, tmp_path):
        large = nn.Sequential(tiny(0), nn.Linear(6, 3)).state_dict()
        torch.save(large | {"0.6.weight": torch.ones(2), "head.bias": torch.ones(3)},
                   tmp_path / "a.pt")  # fmt: skip
        with pytest.warns(PartlyLoaded, match=r"1 of the checkpoint's .* \(0.6.weight\)"):
            found = embedded(tmp_path / "a.pt", nn.Sequential(tiny(0)))
        assert "3 others were left out (1.weight, 1.bias, head.bias)" in found.notes[1]

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ({"w": torch.ones(2)}, "expected names such as 0.weight, .* got w, and none in common"),
            (tiny(0, width=7).state_dict(),
             r"3.weight to be float32 of shape \(6, 5, 3, 3\).* \(7, 5, 3, 3\).*1 more differ"),
            ({"0.bias": torch.ones(5, dtype=torch.int8)}, "0.bias to be float32 .* got int8"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused(self, tmp_path, state, words):
        torch.save(state, tmp_path / "a.pt")
        with pytest.raises(InputError, match=words):
            embedded(tmp_path / "a.pt", tiny(0))

    def test_two_encoders_in_a_file_are_branches(self, tmp_path):
        both = {"student": tiny(1).state_dict(), "ema": tiny(2).state_dict()}
        torch.save(both, tmp_path / "a.pt")
        with pytest.raises(InputError, match="fits student, ema alike, got none; .*--branch"):
            embedded(tmp_path / "a.pt", tiny(0))
        with pytest.raises(InputError, match="one of the branches student, ema, got 'teacher'"):
            embedded(tmp_path / "a.pt", tiny(0), branch="teacher")
        found = embedded(tmp_path / "a.pt", tiny(0), branch="ema")
        torch.testing.assert_close(found.vectors, rows_of(tiny(2)), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("encoder", "words"),
        [
            (lambda x: x.mean(), r"expected rows \(b, d\) for 256 images of 1 x 8 x 8, got \(\)"),
            (lambda x: x[0, 0, 0, 99], "one that fails on them .IndexError"),
            (lambda x: None, "got NoneType"),
        ],
    )
    def test_what_an_encoder_gives_is_checked(self, tmp_path, encoder, words):
        torch.save(tiny(1).state_dict(), tmp_path / "a.pt")
        with pytest.raises(InputError, match=words):
            embedded(tmp_path / "a.pt", encoder)

    def test_heads_of_the_checkpoint_follow_the_encoder(self, peers, tmp_path):
        model = peers.torchvision.models.resnet18(num_classes=6)
        query, key = (random_weights(model, seed).state_dict() for seed in (0, 1))
        state = {f"module.encoder_q.{k}": v.clone() for k, v in query.items()}
        state |= {f"module.encoder_k.{k}": v for k, v in key.items()}
        torch.save({"state_dict": state}, tmp_path / "moco.pt")
        options = {"transform": "none", "split": "test"}
        for words in ({"layer": "projector"}, {"branch": "query"}):
            own = nt.embed(tmp_path / "moco.pt", "digits", **options | words)
            given = nt.embed(
                tmp_path / "moco.pt", "digits", encoder="torchvision:resnet18", **options | words
            )
            torch.testing.assert_close(given.vectors, own.vectors, rtol=0, atol=1e-5)
        with pytest.raises(InputError, match="features of width 512 for the head, got 192"):
            nt.embed(tmp_path / "moco.pt", "digits", "projector", split="test",
                     encoder=lambda x: x.flatten(1)[:, :192], transform="none")  # fmt: skip


class TestCache:
    def test_another_encoder_is_another_entry_and_a_callable_is_none(self, tmp_path, monkeypatch):
        torch.save(tiny(1).state_dict(), tmp_path / "a.pt")
        monkeypatch.chdir(tmp_path)
        for text in ("tiny(0)", "tiny(4)", "tiny(4)"):
            (tmp_path / "nets_of_cache.py").write_text(
                "from tests.test_encoder_choice import tiny\n"
                f"def one():\n    return {text}\n"
                "def two():\n    return tiny()\n"
            )
            embedded("a.pt", "nets_of_cache:one", cache=tmp_path / "c")
        assert len(list((tmp_path / "c").iterdir())) == 2
        embedded("a.pt", "nets_of_cache:two", cache=tmp_path / "c")
        assert len(list((tmp_path / "c").iterdir())) == 3
        embedded("a.pt", tiny(0), cache=tmp_path / "c")
        embedded("a.pt", tiny(0).forward, cache=tmp_path / "c")
        assert len(list((tmp_path / "c").iterdir())) == 3
        ready = prepare_pass("a.pt", "digits", encoder=tiny(0))
        with pytest.raises(InputError, match="encoder by name"):
            embed_to_file(ready, tmp_path / "e.npy")

    def test_the_layout_is_part_of_the_key(self, tmp_path):
        torch.save(build_resnet("resnet8-tiny", channels=1).state_dict(), tmp_path / "a.pt")
        known, any_kind = (
            prepare_pass(tmp_path / "a.pt", "digits", layout=layout).key
            for layout in (None, "state-dict")
        )
        assert (known["layout"], any_kind["layout"]) == ("resnet", "state-dict")


class TestCommandLine:
    @pytest.fixture
    def weights(self, tmp_path, monkeypatch):
        """A file of weights, and beside it a module with functions that make networks."""
        torch.save(tiny(1).state_dict(), tmp_path / "a.pt")
        (tmp_path / "my_nets.py").write_text(
            "from tests.test_encoder_choice import tiny\n"
            "def small():\n    return tiny()\n"
            "def number():\n    return 3\n"
            "def broken():\n    raise KeyError('oh')\n"
            "value = 3\n"
        )
        (tmp_path / "my_syntax.py").write_text("def :\n")
        yield tmp_path / "a.pt"
        sys.modules.pop("my_nets", None)

    def words(self, weights, encoder):
        return ("analyze", weights, "--data", "digits", "--split", "test", "--prototypes", "5",
                "--encoder", encoder)  # fmt: skip

    def test_a_function_of_the_users_is_imported_from_here(self, nemd, weights):
        before = list(sys.path)
        code, out, err = nemd(*self.words(weights, "my_nets:small"), "--json")
        assert (code, err) == (0, "")
        assert sys.path == before
        provenance = json.loads(out)["provenance"]
        assert provenance["encoder"] == "my_nets:small"
        assert (provenance["branch"], provenance["default_branch"]) == ("encoder", True)
        assert provenance["command"].endswith("--encoder my_nets:small")

    @pytest.mark.parametrize(
        ("encoder", "words"),
        [
            ("my_nets:number", "got one that returns int"),
            ("my_nets:broken", "fails when called without arguments (KeyError: 'oh')"),
            ("my_nets:value", "no function value in my_nets"),
            ("my_nets:none", "no function none in my_nets"),
            ("no_such_module:f", "cannot be imported (ModuleNotFoundError"),
            ("my_syntax:f", "cannot be imported (SyntaxError"),
            (
                "resnet50",
                "timm:NAME, torchvision:NAME, transformers:DIR or package.module:function",
            ),
            (":f", "timm:NAME"),
            ("timm:", "timm:NAME"),
            ("transformers:none", "expected a folder with config.json, got none"),
        ],
    )
    def test_a_bad_encoder_is_one_sentence(self, nemd, weights, encoder, words):
        code, out, err = nemd(*self.words(weights, encoder))
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("encoder", "words"),
        [
            ("timm:convnext_ato", "a model of timm such as convnext_atto"),
            ("timm:hf-hub:somebody/model", "expected a model of timm, got hf-hub:somebody/model"),
            ("torchvision:resnet19", "a model of torchvision such as resnet1"),
            ("torchvision:squeezenet1_0", "ends in a linear layer"),
            ("timm:resnet10t", "none in common; choose the encoder"),
        ],
    )
    def test_a_library_that_cannot_help_is_one_sentence(self, nemd, peers, weights, encoder, words):
        code, out, err = nemd(*self.words(weights, encoder))
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
    def test_a_missing_library_is_one_sentence(self, nemd, weights, monkeypatch, library):
        (weights.parent / "config.json").write_text("{}")
        monkeypatch.setitem(sys.modules, library, None)
        code, out, err = nemd(*self.words(weights, f"{library}:{weights.parent}"))
        assert (code, out) == (2, "")
        assert f"pip install 'nemd-toolkit[{library}]'" in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("library", ["timm", "torchvision"])
    def test_a_torchvision_of_another_torch_is_one_sentence(
        self, nemd, weights, monkeypatch, library
    ):
        def broken(name):
            raise RuntimeError("operator torchvision::nms does not exist")

        monkeypatch.setattr("nemd_toolkit.encoder_choice.libraries.import_module", broken)
        code, out, err = nemd(*self.words(weights, f"{library}:resnet18"))
        assert (code, out) == (2, "")
        assert f"expected a torchvision built for torch {torch.__version__}" in err
        assert err.count("\n") == 1

    def test_partly_loaded_is_loud_everywhere_and_quiet_does_not_hide_it(self, nemd, weights):
        state = tiny(1).state_dict()
        del state["0.weight"], state["3.bias"]
        torch.save(state, weights)
        said = "WARNING: only 6 of the encoder's 8 tensors were in the checkpoint"
        code, out, err = nemd(*self.words(weights, "my_nets:small"), "--out", "r", "--quiet")
        assert (code, out) == (0, "")
        assert said in err
        assert err.count("\n") == 1
        notes = json.loads(Path("r/report.json").read_text())["provenance"]["notes"]
        assert any(said in note for note in notes)
        assert "only 6 of the encoder" in Path("r/report.html").read_text()
        words = ("embed", weights, "--data", "digits", "--encoder", "my_nets:small")
        code, out, err = nemd(*words, "--out", "e.npy")
        assert said in out
        assert said in err
