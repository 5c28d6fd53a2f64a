import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from st_llm_cli.errors import CheckpointError, UsageError
from st_llm_cli.model.checkpoint import choose_device, listed, load_checkpoint, read_config
from st_llm_cli.model.locate import remedy
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from tests.micro import write_micro_checkpoint
from tests.parity.golden import variants

Weights = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_micro_checkpoint(tmp_path / "micro")


def change_weights(folder: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **settings: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))


def refusal(folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(str(folder))
    return raised.value


def test_weights_arrive_bit_for_bit(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    model, tokenizers, found = load_checkpoint(str(folder), device="cpu")
    loaded = model.state_dict()
    assert found == folder
    assert set(loaded) == set(stored)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
    assert not model.training
    assert tokenizers.question is None
    assert tokenizers.language.eos_token_id == model.config.eos_token_id


def test_the_last_vision_norm_keeps_its_own_eps(folder: Path) -> None:
    model, _, _ = load_checkpoint(str(folder))
    assert model.vision_model.post_layernorm.eps == 1e-5
    assert model.vision_model.encoder.layers[0].layer_norm1.eps == 1e-6


@pytest.mark.parametrize(
    ("asked", "stored", "loaded"),
    [
        ("auto", torch.float32, torch.float32),
        ("auto", torch.bfloat16, torch.bfloat16),
        ("auto", torch.float16, torch.float32),  # a CPU computes it slowly, or not at all
        ("float32", torch.bfloat16, torch.float32),
        ("bfloat16", torch.float32, torch.bfloat16),
        ("float16", torch.float32, torch.float16),
    ],
)
def test_types(tmp_path: Path, asked: str, stored: torch.dtype, loaded: torch.dtype) -> None:
    folder = write_micro_checkpoint(tmp_path / "first")
    StllmForConditionalGeneration.from_pretrained(folder, dtype=stored).save_pretrained(folder)
    model, _, _ = load_checkpoint(str(folder), device="cpu", dtype=asked)
    assert {parameter.dtype for parameter in model.parameters()} == {loaded}


def test_nothing_is_shown_while_loading(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(str(folder))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_settings_of_transformers_are_given_back(folder: Path) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_checkpoint(str(folder))
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_missing_tensor_is_listed(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("projection.bias"))
    error = refusal(folder)
    assert error.what == "1 tensors do not fit the configuration:\n  missing projection.bias\n"
    assert error.where == str(folder)
    assert error.fix == "take configuration and weights from the same checkpoint"


def test_unexpected_tensor_is_listed(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"projection.scale": torch.ones(1)}))
    assert "\n  unexpected projection.scale\n" in refusal(folder).what


def test_mis_shaped_tensor_is_listed(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"projection.bias": torch.ones(3)}))
    assert "\n  mis-shaped projection.bias: found [3], expected [32]\n" in refusal(folder).what


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    change_config(folder, num_queries=5)
    said = "mis-shaped qformer.query_tokens: found [1, 3, 32], expected [1, 5, 32]"
    assert said in refusal(folder).what


def test_weights_of_another_input_are_refused(folder: Path) -> None:
    change_config(folder, video_input="residual")
    assert "missing global_local.up.weight" in refusal(folder).what


def test_a_long_list_is_cut() -> None:
    assert listed([f"missing {i}" for i in range(50)], most=2) == (
        "\n  missing 0\n  missing 1\n  … and 48 more\n"
    )


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_damaged_weights(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    error = refusal(folder)
    assert error.what.startswith("damaged, cut short or no weight file: ")
    assert (error.where, error.fix) == (str(path), remedy(path))


def test_missing_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert refusal(folder).what == "1 of 2 shards are missing: model-00002-of-00002.safetensors"


def test_missing_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder).what == "no weights in this folder"


def test_missing_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert refusal(folder).what.startswith("no usable tokenizer: ")


def test_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert refusal(folder).what.startswith("not JSON: ")


def test_config_with_an_impossible_choice(folder: Path) -> None:
    change_config(folder, video_input="everything")
    error = refusal(folder)
    assert error.what == (
        "a configuration that cannot work: video_input is 'everything'; it can be 'all', 'mean', 'residual'"
    )
    assert error.where == str(folder / "config.json")


def test_config_of_which_no_model_can_be_made(folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change_config(folder, text_config={**text, "num_attention_heads": 5})
    assert refusal(folder).what == (
        "a configuration that cannot work: "
        "The hidden size (32) is not a multiple of the number of attention heads (5)."
    )


def test_config_with_a_language_model_that_is_not_supported(folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change_config(folder, text_config={**text, "logits_scaling": 2.0})
    assert refusal(folder).what == (
        "no model can be made of this configuration: language models with `logits_scaling` are not supported"
    )


def test_language_model_alone(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=9, **sizes)).save_pretrained(tmp_path)
    error = refusal(tmp_path)
    assert error.what == "a checkpoint of model type 'llama', not an ST-LLM"
    assert error.fix is not None
    assert "stllm models import" in error.fix


def test_released_format_names_the_command_that_imports_it() -> None:
    source = variants()[0]
    error = refusal(source)
    assert error.what == "a checkpoint of the released code, which has another format"
    assert error.fix == f"run `stllm models import {source} DEST --variant NAME` once, then use DEST"


def test_config_is_read_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert read_config(folder).num_queries == 3


def test_unknown_type_is_a_wrong_call(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"dtype: no type 'int8' \(one of auto, float32"):
        load_checkpoint(str(folder), dtype="int8")


def test_unknown_device_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match=r"device: no device 'gpu' \(auto, cpu, cuda, cuda:N or mps\)"):
        choose_device("gpu")


def test_absent_device_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"device: no cuda device here \(there is cpu\)"):
        choose_device("cuda")


def test_absent_number_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"no cuda:2 here \(there are 2, counted from 0\)"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (False, True, "mps"), (True, False, "cuda"), (False, False, "cpu")],
)
def test_auto_device(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)


def test_device_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_checkpoint(str(tmp_path / "nothing"), device="abacus")
