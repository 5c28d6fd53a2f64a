import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from st_llm_cli.errors import CheckpointError, UsageError
from st_llm_cli.model import conversion as converting
from st_llm_cli.model import weight_files
from st_llm_cli.model.checkpoint import load_checkpoint
from st_llm_cli.model.official import FROZEN, import_released
from st_llm_cli.model.released_names import PREFIX, our_name
from tests.parity.golden import golden_folder

QA = "instructblip_vicuna0"
SOURCE = golden_folder() / "tiny_instructblip_vicuna0"
BERT = SOURCE / "bert_tokenizer"
MINIGPT4 = golden_folder() / "tiny_minigpt4_vicuna0_btadapter"
Weights = dict[str, Tensor]


def released_weights(source: Path = SOURCE) -> Weights:
    return {
        name: tensor.clone()
        for path in weight_files.paths(source)
        for name, tensor in weight_files.tensors(path)
    }


def written_weights(folder: Path) -> Weights:
    return {
        name: tensor for path in weight_files.paths(folder) for name, tensor in weight_files.tensors(path)
    }


def copy_without_weights(folder: Path, source: Path = SOURCE) -> Path:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("pytorch_model*", "case_*"))
    folder.chmod(0o755)
    return folder


def with_weights(folder: Path, weights: Weights, source: Path = SOURCE) -> Path:
    copy_without_weights(folder, source)
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def is_frozen(key: str, *, reads_question: bool = True) -> bool:
    name = our_name(key, reads_question=reads_question) or "Qformer position_ids"
    return name.split(".")[0] in FROZEN or "position_ids" in key


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The tensors of the recorded checkpoint, as the import of its shards writes them."""
    folder = tmp_path_factory.mktemp("imported") / "model"
    import_released(SOURCE, folder, QA, bert_tokenizer=BERT)
    return written_weights(folder)


def assert_same(weights: Weights, others: Weights) -> None:
    assert set(weights) == set(others)
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def refusal(source: Path, destination: Path, variant: str = QA, **options: object) -> CheckpointError:
    given: dict[str, object] = {"bert_tokenizer": BERT, **options}
    with pytest.raises(CheckpointError) as raised:
        import_released(source, destination, variant, **given)  # type: ignore[arg-type]
    assert not destination.exists()
    assert list(destination.parent.glob(f".{destination.name}*")) == []
    return raised.value


def test_values_are_those_of_the_released_file(imported: Weights) -> None:
    theirs = released_weights()
    assert torch.equal(imported["projection.weight"], theirs[f"{PREFIX}llama_proj.weight"])
    assert torch.equal(imported["language_model.lm_head.weight"], theirs["lm_head.weight"])
    block = f"{PREFIX}visual_encoder.blocks.2.attn"
    q, k, v = imported["vision_model.encoder.layers.2.self_attn.qkv.bias"].chunk(3)
    assert torch.equal(q, theirs[f"{block}.q_bias"])
    assert torch.equal(v, theirs[f"{block}.v_bias"])
    assert not k.any()


def test_single_bin(tmp_path: Path, imported: Weights) -> None:
    source = with_weights(tmp_path / "single", released_weights())
    report = import_released(source, tmp_path / "ours", QA, bert_tokenizer=BERT)
    assert_same(written_weights(tmp_path / "ours"), imported)
    assert report.taken == {str(source): report.loaded}


def test_safetensors(tmp_path: Path, imported: Weights) -> None:
    source = copy_without_weights(tmp_path / "safe")
    # The alias of the embedding cannot be in such a file, as it shares the memory.
    weights = {name: tensor for name, tensor in released_weights().items() if "stllm_model.embed" not in name}
    save_file(weights, source / "model.safetensors")
    import_released(source, tmp_path / "ours", QA, bert_tokenizer=BERT)
    assert_same(written_weights(tmp_path / "ours"), imported)


def test_result_loads_and_knows_its_settings(tmp_path: Path) -> None:
    import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT)
    model, tokenizers, _ = load_checkpoint(str(tmp_path / "ours"))
    config = model.config
    assert (config.video_input, config.num_local_frames, config.num_frames) == ("residual", 4, 64)
    assert config.prompt_format == "instructblip"
    assert config.architectures == ["StllmForConditionalGeneration"]
    assert tokenizers.question.convert_tokens_to_ids("[DEC]") == config.qformer_config.vocab_size - 1
    assert tokenizers.language.convert_tokens_to_ids("[PAD]") == config.pad_token_id


def test_type_to_store(tmp_path: Path, imported: Weights) -> None:
    import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT, dtype=torch.bfloat16)
    weights = written_weights(tmp_path / "ours")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert_same(weights, {name: tensor.bfloat16() for name, tensor in imported.items()})
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["dtype"] == "bfloat16"


def test_mixed_types_are_stored_as_found(tmp_path: Path) -> None:
    weights = {
        name: tensor.half() if name.startswith(("model.layers", "model.embed", "lm_head")) else tensor
        for name, tensor in released_weights().items()
    }
    import_released(with_weights(tmp_path / "mixed", weights), tmp_path / "ours", QA, bert_tokenizer=BERT)
    written = written_weights(tmp_path / "ours")
    assert written["language_model.lm_head.weight"].dtype == torch.float16
    assert written["qformer.query_tokens"].dtype == torch.float32


def test_large_checkpoints_are_written_in_several_files(
    tmp_path: Path, imported: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "SHARD_BYTES", 100_000)
    import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT)
    files = weight_files.paths(tmp_path / "ours")
    assert len(files) > 5
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert max(path.stat().st_size for path in files) < 120_000
    assert_same(written_weights(tmp_path / "ours"), imported)
    load_checkpoint(str(tmp_path / "ours"))


def without_frozen(tmp_path: Path) -> Path:
    """As saved without DeepSpeed."""
    kept = {name: tensor for name, tensor in released_weights().items() if not is_frozen(name)}
    return with_weights(tmp_path / "trained_only", kept)


def test_frozen_parts_that_were_not_saved_are_asked_for(tmp_path: Path) -> None:
    error = refusal(without_frozen(tmp_path), tmp_path / "ours")
    lacks = "visual_encoder.patch_embed.proj.weight, here vision_model.embeddings.patch_embedding.weight"
    assert error.what == f"the vision encoder is missing: no {lacks}"
    assert error.fix == "give a file or folder that has it as `base`"


def test_frozen_parts_are_taken_from_another_released_checkpoint(tmp_path: Path, imported: Weights) -> None:
    source = without_frozen(tmp_path)
    report = import_released(source, tmp_path / "ours", QA, bert_tokenizer=BERT, base=[SOURCE])
    assert_same(written_weights(tmp_path / "ours"), imported)
    assert set(report.taken) == {str(source), str(SOURCE)}
    assert report.ignored["model.norm.weight"] == "not needed"


def test_frozen_parts_are_taken_from_a_checkpoint_of_ours(tmp_path: Path, imported: Weights) -> None:
    import_released(SOURCE, tmp_path / "base", QA, bert_tokenizer=BERT)
    source = without_frozen(tmp_path)
    import_released(source, tmp_path / "ours", QA, bert_tokenizer=BERT, base=[tmp_path / "base"])
    assert_same(written_weights(tmp_path / "ours"), imported)


def test_frozen_parts_are_taken_from_two_lavis_files(tmp_path: Path, imported: Weights) -> None:
    weights = released_weights()
    frozen = {name.removeprefix(PREFIX): weights[name] for name in weights if is_frozen(name)}
    vision = {name: tensor for name, tensor in frozen.items() if name.startswith("visual_encoder.")}
    rest = {name: tensor for name, tensor in frozen.items() if name not in vision}
    torch.save({"model": vision}, tmp_path / "vision.pth")
    torch.save({"model": rest}, tmp_path / "qformer.pth")
    base = [tmp_path / "vision.pth", tmp_path / "qformer.pth"]
    import_released(without_frozen(tmp_path), tmp_path / "ours", QA, bert_tokenizer=BERT, base=base)
    assert_same(written_weights(tmp_path / "ours"), imported)


def test_trained_parts_are_not_taken_from_a_base(tmp_path: Path) -> None:
    weights = released_weights()
    del weights["model.norm.weight"]
    error = refusal(with_weights(tmp_path / "part", weights), tmp_path / "ours", base=[SOURCE])
    assert "missing model.norm.weight, here language_model.model.norm.weight\n" in error.what


BIAS = "vision_model.encoder.layers.1.self_attn.qkv.bias"


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (float("nan"), None, "1 of its 96 numbers are NaN or infinite, as after a training that went astray"),
        (float("-inf"), None, "1 of its 96 numbers are NaN or infinite"),
        (7e4, torch.float16, "1 of its 96 numbers are too large for float16"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(
    tmp_path: Path, value: float, dtype: torch.dtype | None, words: str
) -> None:
    weights = released_weights()
    key = "model.norm.weight"
    weights[key] = weights[key].float().clone()
    weights[key][3] = value
    source = with_weights(tmp_path / "source", weights)
    with pytest.raises(CheckpointError) as caught:
        import_released(source, tmp_path / "ours", QA, bert_tokenizer=BERT, dtype=dtype)
    size = weights[key].numel()
    assert caught.value.what.startswith(f"{key}: {words.replace('96', str(size))}")
    assert caught.value.where is not None and caught.value.where.startswith(str(source))
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("half", ["q", "v"])
def test_missing_half_of_a_bias_is_named(tmp_path: Path, half: str) -> None:
    weights = released_weights()
    key = f"{PREFIX}visual_encoder.blocks.1.attn.{half}_bias"
    del weights[key]
    error = refusal(with_weights(tmp_path / "part", weights), tmp_path / "ours")
    assert error.what == f"1 tensors do not fit the model:\n  missing {key}, here {BIAS}\n"
    assert error.fix is not None
    assert "`base`" in error.fix


def test_both_halves_missing_are_one_bias(tmp_path: Path) -> None:
    weights = released_weights()
    for half in "qv":
        del weights[f"{PREFIX}visual_encoder.blocks.1.attn.{half}_bias"]
    error = refusal(with_weights(tmp_path / "part", weights), tmp_path / "ours")
    both = f"{PREFIX}visual_encoder.blocks.1.attn.q_bias and {PREFIX}visual_encoder.blocks.1.attn.v_bias"
    assert f"missing {both}, here {BIAS}\n" in error.what


def test_unknown_key_is_refused(tmp_path: Path) -> None:
    weights = released_weights() | {f"{PREFIX}extra.weight": torch.ones(1)}
    error = refusal(with_weights(tmp_path / "more", weights), tmp_path / "ours")
    assert f"unexpected {PREFIX}extra.weight" in error.what


def test_mis_shaped_tensor_is_refused(tmp_path: Path) -> None:
    weights = released_weights() | {"model.norm.weight": torch.ones(47)}
    error = refusal(with_weights(tmp_path / "odd", weights), tmp_path / "ours")
    assert "mis-shaped model.norm.weight: found [47], expected [48]" in error.what


def test_variant_that_the_tensors_are_not_of(tmp_path: Path) -> None:
    error = refusal(SOURCE, tmp_path / "ours", "instructblip_vicuna0_btadapter")
    assert error.what.startswith("not of variant instructblip_vicuna0_btadapter: ")
    assert error.fix == "use `variant` instructblip_vicuna0"


def test_variant_with_another_qformer(tmp_path: Path) -> None:
    error = refusal(MINIGPT4, tmp_path / "ours", QA)
    assert error.fix == "use `variant` minigpt4_vicuna0_btadapter"


def test_unknown_variant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no variant 'instructblip'; did you mean 'instructblip_vicuna0"):
        import_released(SOURCE, tmp_path / "ours", "instructblip")


def test_missing_bert_tokenizer(tmp_path: Path) -> None:
    error = refusal(SOURCE, tmp_path / "ours", bert_tokenizer=None)
    assert error.what == "this variant reads the question with a BERT vocabulary that such a checkpoint lacks"
    assert error.fix == "give `bert_tokenizer`, a folder with vocab.txt of bert-base-uncased"


def test_bert_tokenizer_of_another_size(tmp_path: Path) -> None:
    shutil.copytree(BERT, tmp_path / "bert")
    tmp_path.joinpath("bert").chmod(0o755)
    vocabulary = tmp_path / "bert" / "vocab.txt"
    words = vocabulary.read_text()
    vocabulary.unlink()
    vocabulary.write_text(words + "giraffe\n")
    error = refusal(SOURCE, tmp_path / "ours", bert_tokenizer=tmp_path / "bert")
    assert error.what == "302 tokens, but the Q-Former knows 301"
    assert error.fix == "use the vocabulary the Q-Former was trained with: bert-base-uncased"


def test_bert_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(SOURCE, tmp_path / "ours", bert_tokenizer=tmp_path / "nothing")
    assert error.what.startswith("no usable tokenizer: ")
    assert error.where == str(tmp_path / "nothing")


def test_missing_language_tokenizer(tmp_path: Path) -> None:
    source = with_weights(tmp_path / "bare", released_weights())
    for path in [*source.glob("tokenizer*"), source / "special_tokens_map.json"]:
        path.unlink()
    error = refusal(source, tmp_path / "ours")
    assert error.what == "no tokenizer: neither tokenizer.model nor tokenizer.json"


def test_language_tokenizer_of_another_size(tmp_path: Path) -> None:
    weights = released_weights()
    for name in ("model.embed_tokens.weight", f"{PREFIX}embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat([weights[name], weights[name][:2]])
    source = with_weights(tmp_path / "grown", weights)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").unlink()
    (source / "config.json").write_text(json.dumps({**config, "vocab_size": 415}))
    error = refusal(source, tmp_path / "ours")
    assert error.what == "the tokenizer has 413 tokens, but the language model knows 415"


def test_missing_config(tmp_path: Path) -> None:
    source = with_weights(tmp_path / "bare", released_weights())
    (source / "config.json").unlink()
    error = refusal(source, tmp_path / "ours")
    assert (error.what, error.where) == ("no such file", str(source / "config.json"))


def test_missing_shard(tmp_path: Path) -> None:
    source = tmp_path / "released"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("*-00002-*", "case_*"))
    error = refusal(source, tmp_path / "ours")
    assert error.what == "1 of 2 shards are missing: pytorch_model-00002-of-00002.bin"


def test_damaged_shard(tmp_path: Path) -> None:
    source = copy_without_weights(tmp_path / "cut")
    content = (SOURCE / "pytorch_model-00001-of-00002.bin").read_bytes()
    (source / "pytorch_model.bin").write_bytes(content[: len(content) // 2])
    assert refusal(source, tmp_path / "ours").what.startswith("damaged, cut short or no weight file")


def test_code_in_a_shard_is_refused(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, (f"touch {tmp_path}/trace",)

    source = copy_without_weights(tmp_path / "evil")
    torch.save({**released_weights(), "x": Code()}, source / "pytorch_model.bin")
    assert "asks to run code" in refusal(source, tmp_path / "ours").what
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("config.json", "already holds a checkpoint"), ("notes.txt", "is not empty")],
)
def test_taken_destination_is_refused_before_any_work(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / name).write_text("mine")
    with pytest.raises(CheckpointError, match=rf"ours: {said} \(name a new folder\)"):
        import_released(tmp_path / "source that is not there", tmp_path / "ours", QA)
    assert (tmp_path / "ours" / name).read_text() == "mine"


def test_empty_destination_is_used(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT)
    assert (tmp_path / "ours" / "config.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    written = 0

    def fill_up(shard: Weights, path: Path, metadata: dict[str, str]) -> None:
        nonlocal written
        if written == after:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        written += 1
        save_file(shard, path, metadata=metadata)

    monkeypatch.setattr(converting, "SHARD_BYTES", 100_000)
    monkeypatch.setattr(converting, "save_file", fill_up)
    error = refusal(SOURCE, tmp_path / "ours")
    assert error.what == "cannot be written: No space left on device"
    assert error.fix == "make room, or name another place"


def test_disk_that_is_too_small_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    error = refusal(SOURCE, tmp_path / "ours")
    assert error.what == "the checkpoint needs 0.4 MB, and 0.0 MB are free"


def test_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(converting, "save_tokenizers", interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from st_llm_cli.model import conversion
from st_llm_cli.model.official import import_released
conversion.save_tokenizers = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
source, bert, destination, variant = sys.argv[1:]
import_released(Path(source), Path(destination), variant, bert_tokenizer=Path(bert))
"""


def test_killed_import_leaves_no_checkpoint(tmp_path: Path) -> None:
    arguments = [SOURCE, BERT, tmp_path / "ours", QA]
    ran = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not (tmp_path / "ours").exists()
    assert list(tmp_path.glob("**/config.json")) == []
    import_released(SOURCE, tmp_path / "ours", QA, bert_tokenizer=BERT)  # a second try is not in its way
    assert load_file(next((tmp_path / "ours").glob("*.safetensors")))
