"""`stllm models`: import, show and list, and what is said when something is wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from st_llm_cli.model.variants import VARIANTS
from tests.cli.conftest import Stllm
from tests.micro import write_micro_checkpoint
from tests.model.hub import REPOSITORY, serve_hub
from tests.parity.golden import golden_folder

SOURCE = golden_folder() / "tiny_instructblip_vicuna0"
VARIANT = ("--variant", "instructblip_vicuna0", "--bert-tokenizer", SOURCE / "bert_tokenizer")


def error_of(stllm: Stllm, *arguments: str | Path, code: int = 1) -> str:
    ran = stllm("models", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran
    assert "Traceback" not in ran.err
    assert ran.err.startswith("stllm: error: ")
    return ran.err.removeprefix("stllm: error: ").rstrip("\n")


def copy_of_source(folder: Path, *, without: str = "") -> Path:
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("case_*", without))
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


def test_import_says_what_became_of_every_tensor(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("models", "import", SOURCE, tmp_path / "ours", *VARIANT)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        str(tmp_path / "ours"),
        f"    180 tensors from {SOURCE}",
        "      3 left out: computed anew",
        "      1 left out: computed for each clip",
        "      1 left out: same tensor as model.embed_tokens.weight",
        f"See it:     stllm models show {tmp_path / 'ours'}",
        f"Talk to it: stllm describe VIDEO --model {tmp_path / 'ours'}",
    ]
    assert "importing weight files: 2/2" in ran.err


def test_import_for_machines(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("models", "import", SOURCE, tmp_path / "ours", *VARIANT, "--json")
    said = json.loads(ran.out)
    assert said["checkpoint"] == str(tmp_path / "ours")
    assert said["loaded"] == said["taken"][str(SOURCE)] == 180
    assert said["new"] == {}
    assert len(said["ignored"]) == 5


def test_import_in_another_type(stllm: Stllm, tmp_path: Path) -> None:
    stllm("models", "import", SOURCE, tmp_path / "ours", *VARIANT, "--dtype", "bfloat16")
    shown = json.loads(stllm("models", "show", tmp_path / "ours", "--json").out)
    assert shown["dtype"] == "bfloat16"
    assert shown["num_bytes"] == 2 * shown["parameters"]


def test_import_with_a_base(stllm: Stllm, tmp_path: Path) -> None:
    stllm("models", "import", SOURCE, tmp_path / "first", *VARIANT)
    source = copy_of_source(tmp_path / "trained", without="*.bin*")
    torch.save(trained_part(), source / "pytorch_model.bin")
    ran = stllm("models", "import", source, tmp_path / "ours", *VARIANT, "--base", tmp_path / "first")
    assert ran.code == 0
    assert f"tensors from {tmp_path / 'first'}" in ran.out


def trained_part() -> dict[str, torch.Tensor]:
    from st_llm_cli.model import weight_files

    frozen = ("visual_encoder", "Qformer", "ln_vision", "query_tokens")
    return {
        name: tensor.clone()
        for path in weight_files.paths(SOURCE)
        for name, tensor in weight_files.tensors(path)
        if not any(part in name for part in frozen)
    }


def test_import_of_a_starting_point_says_what_is_new(stllm: Stllm, tmp_path: Path) -> None:
    from tests.model.starting_files import eva_pth, instructblip_pth, vicuna

    source, base, llm = instructblip_pth(tmp_path), eva_pth(tmp_path), vicuna(tmp_path / "vicuna")
    ran = stllm(
        "models", "import", source, tmp_path / "ours", *VARIANT, "--base", base, "--language-model", llm
    )
    assert ran.code == 0
    assert f"tensors from {base}" in ran.out
    assert "    4 new in global_local: as ST-LLM starts it: random down, zero up" in ran.out
    assert "    2 new in language_model: the last 1 of 413 rows, for new tokens: random" in ran.out
    assert "Train it:" in ran.out
    assert "Talk to it:" not in ran.out


def test_released_checkpoint_has_its_own_language_model(stllm: Stllm, tmp_path: Path) -> None:
    options = [*VARIANT, "--language-model", tmp_path]
    said = error_of(stllm, "import", SOURCE, tmp_path / "ours", *options, code=2)
    assert said == "--language-model: a released ST-LLM checkpoint has its own language model (leave it out)"


def test_unknown_variant(stllm: Stllm, tmp_path: Path) -> None:
    options = ("--variant", "instructblip_vicuna")
    said = error_of(stllm, "import", SOURCE, tmp_path / "ours", *options, code=2)
    assert said.startswith(
        "--variant: no variant 'instructblip_vicuna'; did you mean 'instructblip_vicuna0'?"
    )
    assert all(name in said for name in VARIANTS)


def test_wrong_variant(stllm: Stllm, tmp_path: Path) -> None:
    options = ("--variant", "instructblip_vicuna0_btadapter", *VARIANT[2:])
    said = error_of(stllm, "import", SOURCE, tmp_path / "ours", *options)
    assert said == (
        f"{SOURCE}: not of variant instructblip_vicuna0_btadapter: 66 tensors do not fit the model "
        "(use --variant instructblip_vicuna0)"
    )
    assert not (tmp_path / "ours").exists()


def test_missing_variant(stllm: Stllm, tmp_path: Path) -> None:
    ran = stllm("models", "import", SOURCE, tmp_path / "ours")
    assert ran.code == 2
    assert "--variant" in ran.err


def test_unknown_type(stllm: Stllm, tmp_path: Path) -> None:
    said = error_of(stllm, "import", SOURCE, tmp_path / "ours", *VARIANT, "--dtype", "fp8", code=2)
    assert said == "--dtype: no type 'fp8' (one of auto, float32, bfloat16, float16)"


def test_missing_bert_tokenizer(stllm: Stllm, tmp_path: Path) -> None:
    said = error_of(stllm, "import", SOURCE, tmp_path / "ours", *VARIANT[:2])
    assert said == (
        f"{SOURCE}: this variant reads the question with a BERT vocabulary that such a checkpoint lacks "
        "(give --bert-tokenizer, a folder with vocab.txt of bert-base-uncased)"
    )


def test_source_that_is_not_there(stllm: Stllm, tmp_path: Path) -> None:
    said = error_of(stllm, "import", tmp_path / "nothing", tmp_path / "ours", *VARIANT)
    assert said == f"{tmp_path}/nothing: no such file or folder (check the path)"


def test_missing_shard(stllm: Stllm, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path / "source", without="*00001-of*")
    said = error_of(stllm, "import", source, tmp_path / "ours", *VARIANT)
    assert said == (
        f"{source}: 1 of 2 shards are missing: pytorch_model-00001-of-00002.bin "
        "(download them again, or copy the whole folder)"
    )


def test_truncated_shard(stllm: Stllm, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path / "source")
    path = source / "pytorch_model-00002-of-00002.bin"
    path.write_bytes(path.read_bytes()[:100_000])
    said = error_of(stllm, "import", source, tmp_path / "ours", *VARIANT)
    assert said.startswith(f"{path}: damaged, cut short or no weight file: ")
    assert said.endswith("(copy or download it again, or take another checkpoint)")


def test_code_in_a_weight_file(stllm: Stllm, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, (f"touch {tmp_path}/trace",)

    torch.save({"model": Code()}, tmp_path / "model.pth")
    said = error_of(stllm, "import", tmp_path / "model.pth", tmp_path / "ours", *VARIANT)
    assert "asks to run code when it is read" in said
    assert not (tmp_path / "trace").exists()


def test_broken_index(stllm: Stllm, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path / "source")
    (source / "pytorch_model.bin.index.json").write_text("{'weight_map'")
    said = error_of(stllm, "import", source, tmp_path / "ours", *VARIANT)
    assert said.startswith(f"{source}/pytorch_model.bin.index.json: not JSON: ")


def test_destination_that_exists(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    said = error_of(stllm, "import", SOURCE, micro, *VARIANT)
    assert said == f"{micro}: already holds a checkpoint (name a new folder)"


def test_show(stllm: Stllm, micro: Path) -> None:
    ran = stllm("models", "show", micro)
    assert ran.code == 0
    assert ran.err == ""
    said = ran.out
    for line in (
        "  stored as       float32",
        "  frames          4, 28x28 pixels",
        "  video input     all",
        "  tokens          12 per clip, 3 per frame",
        "  Q-Former        does not read the question",
        "  BT-Adapter      no",
        "  prompt format   plain",
    ):
        assert line in said.splitlines(), said


def test_show_counts_what_is_in_the_files(stllm: Stllm, micro: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(micro / "model.safetensors")
    shown = json.loads(stllm("models", "show", micro, "--json").out)
    assert shown["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert shown["num_bytes"] == 4 * shown["parameters"]
    parts = {part["name"]: part["parameters"] for part in shown["parts"]}
    assert parts["projection"] == 32 * 32 + 32
    assert sum(parts.values()) == shown["parameters"]


def test_show_of_an_imported_model(stllm: Stllm, tmp_path: Path) -> None:
    stllm("models", "import", SOURCE, tmp_path / "ours", *VARIANT)
    shown = json.loads(stllm("models", "show", tmp_path / "ours", "--json").out)
    assert shown["video_input"] == "residual"
    assert (shown["num_frames"], shown["num_local_frames"], shown["tokens_per_clip"]) == (64, 4, 32)
    assert shown["reads_question"]
    assert not shown["bt_adapter"]
    assert (shown["language_model"], shown["vocabulary"], shown["context"]) == ("llama", 413, 2048)


def test_show_of_a_run(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    shutil.copytree(micro, tmp_path / "run" / "checkpoints" / "video-2")
    ran = stllm("models", "show", tmp_path / "run")
    assert ran.out.startswith(str(tmp_path / "run" / "checkpoints" / "video-2"))


def test_show_of_a_damaged_checkpoint(stllm: Stllm, tmp_path: Path, micro: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(micro, folder)
    (folder / "model.safetensors").write_bytes((micro / "model.safetensors").read_bytes()[:5000])
    said = error_of(stllm, "show", folder)
    assert said.startswith(f"{folder}/model.safetensors: damaged, cut short or no weight file: ")


def test_show_of_something_else(stllm: Stllm, tmp_path: Path) -> None:
    said = error_of(stllm, "show", tmp_path)
    assert said.startswith(f"{tmp_path}: no checkpoint: neither config.json nor a run's checkpoints")


def test_show_of_a_released_folder(stllm: Stllm) -> None:
    said = error_of(stllm, "show", SOURCE)
    assert f"run `stllm models import {SOURCE} DEST --variant NAME` once" in said


def test_show_of_an_unknown_name(stllm: Stllm) -> None:
    said = error_of(stllm, "show", "tinny")
    assert said.startswith("no model 'tinny'; did you mean 'tiny'?")
    assert "stllm models list" in said


def test_show_of_a_hub_id(tmp_path: Path, micro: Path) -> None:
    """In a process of its own, since the address of the Hub is read once."""
    with serve_hub(micro) as endpoint:
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-m", "st_llm_cli", "models", "show", REPOSITORY, "--json"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["tokens_per_clip"] == 12


def test_import_of_a_hub_id(tmp_path: Path) -> None:
    with serve_hub(SOURCE) as endpoint:
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
        }
        command = [sys.executable, "-m", "st_llm_cli", "models", "import", REPOSITORY, tmp_path / "ours"]
        subprocess.run([*command, *VARIANT], env=environment, capture_output=True, check=True)
    assert (tmp_path / "ours" / "config.json").exists()


def test_new_writes_a_checkpoint_of_the_sizes_asked_for(stllm: Stllm, tmp_path: Path) -> None:
    small = [f"model.new.{part}.hidden_dim=32" for part in ("vision", "qformer", "language")]
    options = [argument for setting in small for argument in ("--set", setting)]
    ran = stllm("models", "new", "wide", tmp_path / "new", *options)
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'new'}\n"), ran
    said = json.loads(stllm("models", "show", tmp_path / "new", "--json").out)
    assert (said["num_frames"], said["tokens_per_frame"], said["image_size"]) == (16, 32, 224)


def test_new_needs_a_recipe_that_makes_a_model(stllm: Stllm, tmp_path: Path) -> None:
    settings = ("--set", "model.new=null", "--set", "model.checkpoint=tiny")
    said = error_of(stllm, "new", "wide", tmp_path / "new", *settings)
    assert said.startswith("model: starts from 'tiny': there is nothing to make (name a recipe with")


def test_list(stllm: Stllm) -> None:
    ran = stllm("models", "list")
    assert ran.code == 0
    for name, variant in VARIANTS.items():
        assert any(name in line and variant.about in line for line in ran.out.splitlines())


def test_list_for_machines(stllm: Stllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from st_llm_cli.model import locate

    monkeypatch.setitem(locate.BUNDLED, "tiny", write_micro_checkpoint(tmp_path / "tiny"))
    said = json.loads(stllm("models", "list", "--json").out)
    assert said["bundled"] == [{"name": "tiny", "folder": str(tmp_path / "tiny")}]
    assert [variant["name"] for variant in said["variants"]] == list(VARIANTS)


def test_list_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from st_llm_cli.cli.main import app\n"
        "app(['models', 'list'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
