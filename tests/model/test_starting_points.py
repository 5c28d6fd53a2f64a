import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from st_llm_cli.errors import CheckpointError
from st_llm_cli.model import weight_files
from st_llm_cli.model.answer import encode, generate
from st_llm_cli.model.checkpoint import Checkpoint, load_checkpoint
from st_llm_cli.model.conversion import ImportReport, write
from st_llm_cli.model.prompt import chat_prompt
from st_llm_cli.model.starting_points import plan_start
from tests.model.starting_files import (
    BERT,
    INSTRUCTBLIP,
    MINIGPT4,
    blip2_pth,
    eva_pth,
    instructblip_pth,
    minigpt4_pth,
    qwen3,
    released,
    stems,
    transformers_blip2,
    transformers_instructblip,
    vicuna,
)

CONVERSATION = "instructblip_vicuna0"
QA = "instructblip_vicuna0_btadapter"
FREE = "minigpt4_vicuna0_btadapter"


def start(destination: Path, source: Path, variant: str, **options: object) -> ImportReport:
    conversion = plan_start(source, variant, **options)  # type: ignore[arg-type]
    write(conversion, destination)
    return conversion.report


def refusal(source: Path, variant: str, **options: object) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        plan_start(source, variant, **options)  # type: ignore[arg-type]
    return raised.value


def written(folder: Path) -> dict[str, Tensor]:
    return {
        name: tensor for path in weight_files.paths(folder) for name, tensor in weight_files.tensors(path)
    }


def speak(folder: Path) -> tuple[Checkpoint, list[int]]:
    """Load a checkpoint and let it say four tokens about a clip of three frames."""
    loaded = load_checkpoint(str(folder), device="cpu", dtype="float32")
    config = loaded.model.config
    size = config.image_size
    frames = torch.randn(1, 3, 3, size, size, generator=torch.Generator().manual_seed(0))
    prompt = chat_prompt(config.prompt_format, "what moves left ?")
    video = encode(loaded.model, loaded.tokenizers, prompt, frames=frames)
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    return loaded, generate(loaded.model, loaded.tokenizers, prompt, video, stop=[], **options).ids


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InstructBLIP, EVA and Vicuna files."""
    folder = tmp_path_factory.mktemp("files")
    instructblip_pth(folder)
    eva_pth(folder)
    vicuna(folder / "vicuna")
    return folder


@pytest.fixture(scope="module")
def conversation(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportReport]:
    destination = tmp_path_factory.mktemp("started") / "conversation"
    return destination, start(destination, files / "instruct_blip_vicuna7b.pth", CONVERSATION, **given(files))


@pytest.fixture(scope="module")
def answering(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportReport]:
    destination = tmp_path_factory.mktemp("started") / "answering"
    return destination, start(destination, files / "instruct_blip_vicuna7b.pth", QA, **given(files))


def given(files: Path) -> dict[str, object]:
    return {
        "base": [files / "eva_vit_g.pth"],
        "language_model": files / "vicuna",
        "bert_tokenizer": BERT,
    }


def test_instructblip_tensors_arrive_bit_for_bit(conversation: tuple[Path, ImportReport]) -> None:
    ours, theirs = written(conversation[0]), released(INSTRUCTBLIP)
    vision = "model.stllm_model.visual_encoder"
    for name, key in {
        "vision_model.embeddings.class_embedding": f"{vision}.cls_token",
        "vision_model.encoder.layers.3.mlp.fc2.weight": f"{vision}.blocks.3.mlp.fc2.weight",
        "vision_model.post_layernorm.bias": "model.stllm_model.ln_vision.bias",
        "qformer.query_tokens": "model.stllm_model.query_tokens",
        "projection.weight": "model.stllm_model.llama_proj.weight",
        "language_model.model.layers.1.mlp.up_proj.weight": "model.layers.1.mlp.up_proj.weight",
        "language_model.model.norm.weight": "model.norm.weight",
    }.items():
        assert torch.equal(ours[name], theirs[key]), name
    q, k, v = ours["vision_model.encoder.layers.3.self_attn.qkv.bias"].chunk(3)
    assert torch.equal(q, theirs[f"{vision}.blocks.3.attn.q_bias"])
    assert torch.equal(v, theirs[f"{vision}.blocks.3.attn.v_bias"])
    assert not k.any()


def test_last_block_of_the_eva_file_is_left_out(conversation: tuple[Path, ImportReport]) -> None:
    folder, report = conversation
    assert json.loads((folder / "config.json").read_text())["vision_config"]["num_hidden_layers"] == 4
    assert report.ignored["blocks.4.mlp.fc1.bias"] == "last block, which the released model leaves out"
    assert report.ignored["norm.weight"] == "pre-training head, not part of ST-LLM"


def test_vocabulary_grows_by_the_padding_token(conversation: tuple[Path, ImportReport]) -> None:
    folder, report = conversation
    ours, theirs = written(folder), released(INSTRUCTBLIP)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        grown = ours[f"language_model.{name}"]
        assert grown.shape == (413, 48)
        assert torch.equal(grown[:412], theirs[name][:412])
        assert 0.005 < grown[412].std() < 0.05  # initializer_range 0.02
        assert report.new[f"language_model.{name}"] == ("the last 1 of 413 rows, for new tokens: random")
    config = json.loads((folder / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == 413
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, 2, 412)


def test_what_the_paper_adds_is_new_and_reported(conversation: tuple[Path, ImportReport]) -> None:
    folder, report = conversation
    ours = written(folder)
    new_parts = {name.split(".")[0] for name in report.new if "language_model" not in name}
    assert new_parts == {"global_local", "masked_video_decoder"}
    assert report.problems == []
    for name in ("up.weight", "up.bias", "down.bias"):
        assert not ours[f"global_local.{name}"].any()
    assert 0.01 < ours["global_local.down.weight"].std() < 0.03
    assert ours["masked_video_decoder.head.weight"].any()
    assert torch.equal(ours["masked_video_decoder.norm.weight"], torch.ones(48))


def test_global_local_starts_as_the_local_frames_alone(conversation: tuple[Path, ImportReport]) -> None:
    model, _, _ = load_checkpoint(str(conversation[0]))
    queries = torch.randn(1, 32, 8, 30)
    with torch.no_grad():
        (every,) = model.video_input(queries, "all")
        (tokens,) = model.video_input(queries)
    assert model.config.num_local_frames == 16
    assert torch.equal(tokens, every.view(32, 8, 48)[1::2].flatten(0, 1))


def test_same_start_every_time(files: Path, conversation: tuple[Path, ImportReport], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    start(tmp_path / "again", files / "instruct_blip_vicuna7b.pth", CONVERSATION, **given(files))
    first, again = written(conversation[0]), written(tmp_path / "again")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_speaks(conversation: tuple[Path, ImportReport]) -> None:
    loaded, ids = speak(conversation[0])
    assert len(ids) == 4
    assert loaded.tokenizers.question is not None


def test_spatial_blocks_start_as_copies_of_the_last_vision_blocks(
    answering: tuple[Path, ImportReport],
) -> None:
    ours = written(answering[0])
    copied = [name for name in ours if name.startswith("bt_adapter.spatial.")]
    assert len(copied) == 3 * 12
    for name in copied:
        _, _, layer, *rest = name.split(".")
        block = f"vision_model.encoder.layers.{int(layer) + 1}.{'.'.join(rest)}"
        assert torch.equal(ours[name], ours[block]), name
    assert torch.equal(ours["bt_adapter.cls_token"], ours["vision_model.embeddings.class_embedding"])


def test_temporal_layers_change_nothing_at_first(answering: tuple[Path, ImportReport]) -> None:
    folder, report = answering
    ours = written(folder)
    for layer in range(3):
        assert not ours[f"bt_adapter.temporal.{layer}.output.weight"].any()
        assert not ours[f"bt_adapter.temporal.{layer}.output.bias"].any()
        assert ours[f"bt_adapter.temporal.{layer}.attention.qkv.weight"].any()
        assert torch.equal(ours[f"bt_adapter.temporal.{layer}.norm.weight"], torch.ones(24))
    assert not ours["bt_adapter.time_embedding.weight"].any()
    assert ours["bt_adapter.time_embedding.weight"].shape == (64, 24)
    assert report.new["bt_adapter.cls_token"] == "copies of the last vision blocks, no change over time"


def test_a_fresh_bt_adapter_lets_frames_share_their_class_token_only(
    answering: tuple[Path, ImportReport],
) -> None:
    """Nothing passes from patch to patch over time, so the order of the frames cannot matter."""
    model, _, _ = load_checkpoint(str(answering[0]))
    clip = torch.randn(5, 3, 42, 42)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        (plain,) = model.encode_vision(clip[None])
        (shuffled,) = model.encode_vision(clip[order][None])
    assert plain.shape == (5, 10, 24)
    assert torch.allclose(plain[order], shuffled, atol=1e-5)
    speak(answering[0])


def test_type_to_store(files: Path, tmp_path: Path) -> None:
    start(
        tmp_path / "half",
        files / "instruct_blip_vicuna7b.pth",
        QA,
        dtype=torch.bfloat16,
        **given(files),
    )
    assert {tensor.dtype for tensor in written(tmp_path / "half").values()} == {torch.bfloat16}


def test_minigpt4_from_three_files_and_vicuna(tmp_path: Path) -> None:
    source = blip2_pth(tmp_path)
    base = [minigpt4_pth(tmp_path), eva_pth(tmp_path, MINIGPT4)]
    llm = vicuna(tmp_path / "vicuna", MINIGPT4)
    report = start(tmp_path / "ours", source, FREE, base=base, language_model=llm)

    ours = written(tmp_path / "ours")
    projection = stems(MINIGPT4, "llama_proj.")["llama_proj.weight"]
    assert torch.equal(ours["projection.weight"], projection)
    queries = stems(MINIGPT4, "query_tokens")["query_tokens"]
    assert torch.equal(ours["qformer.query_tokens"], queries)
    assert ours["language_model.lm_head.weight"].shape == (412, 48)  # no token is added
    text_half = "the Q-Former's text half, which a question-free one does without"
    assert report.ignored["Qformer.bert.encoder.layer.0.intermediate.dense.weight"] == text_half
    assert report.ignored["Qformer.bert.embeddings.word_embeddings.weight"] == text_half
    assert report.ignored["t5_proj.weight"] == "projection to another language model"
    assert not any(name.startswith("projection.") for name in report.new)
    loaded, ids = speak(tmp_path / "ours")
    assert loaded.model.config.prompt_format == "minigpt4"
    assert (loaded.model.config.bos_token_id, loaded.model.config.pad_token_id) == (1, 0)
    assert len(ids) == 4


def test_projection_that_no_file_has_is_new(tmp_path: Path) -> None:
    source = blip2_pth(tmp_path)
    llm = vicuna(tmp_path / "vicuna", MINIGPT4)
    report = start(tmp_path / "ours", source, FREE, base=[eva_pth(tmp_path, MINIGPT4)], language_model=llm)
    assert {name: how for name, how in report.new.items() if name.startswith("projection.")} == {
        "projection.weight": "random",
        "projection.bias": "random",
    }


def test_another_language_model_gets_a_new_projection(files: Path, tmp_path: Path) -> None:
    llm = qwen3(tmp_path / "qwen3")
    report = start(
        tmp_path / "ours",
        files / "instruct_blip_vicuna7b.pth",
        CONVERSATION,
        **{**given(files), "language_model": llm},
    )
    assert report.new["projection.weight"] == "random"
    assert report.ignored["llm_proj.weight"] == "made for another language model than one of 16 hidden units"
    ours = written(tmp_path / "ours")
    theirs = written(llm)
    embedding = "model.embed_tokens.weight"
    assert torch.equal(ours[f"language_model.{embedding}"], theirs[embedding])
    assert "language_model.lm_head.weight" not in ours  # tied
    loaded, ids = speak(tmp_path / "ours")
    assert len(ids) == 4
    assert loaded.model.config.text_config.model_type == "qwen3"
    head = loaded.model.get_output_embeddings()
    assert head.weight is loaded.model.get_input_embeddings().weight
    assert loaded.model.config.pad_token_id == loaded.tokenizers.language.pad_token_id


def test_language_model_without_a_padding_token_gets_one(files: Path, tmp_path: Path) -> None:
    llm = qwen3(tmp_path / "qwen3", pad=False)
    words = json.loads((llm / "config.json").read_text())["vocab_size"]
    report = start(
        tmp_path / "ours",
        files / "instruct_blip_vicuna7b.pth",
        CONVERSATION,
        **{**given(files), "language_model": llm},
    )
    loaded, _ = speak(tmp_path / "ours")
    grown = len(loaded.tokenizers.language) - words
    assert loaded.tokenizers.language.pad_token == "[PAD]"
    assert loaded.model.get_input_embeddings().num_embeddings == words + grown
    assert (grown > 0) == ("language_model.model.embed_tokens.weight" in report.new)


def test_same_hidden_size_keeps_the_projection(files: Path, tmp_path: Path) -> None:
    llm = qwen3(tmp_path / "qwen3", hidden_size=48)
    report = start(
        tmp_path / "ours",
        files / "instruct_blip_vicuna7b.pth",
        CONVERSATION,
        **{**given(files), "language_model": llm},
    )
    assert not any(name.startswith("projection.") for name in report.new)


def test_transformers_instructblip_brings_everything(tmp_path: Path) -> None:
    source = transformers_instructblip(tmp_path / "theirs")
    report = start(tmp_path / "ours", source, QA)
    theirs, ours = written(source), written(tmp_path / "ours")
    for name, tensor in theirs.items():
        if name == "query_tokens" or name.startswith("qformer."):
            found = ours[f"qformer.{name.replace('qformer.', 'model.')}"]
        else:
            found = ours[name.replace("language_projection.", "projection.")]
        assert torch.equal(found, tensor), name
    assert {name.split(".")[0] for name in report.new} == {"bt_adapter", "masked_video_decoder"}
    loaded, ids = speak(tmp_path / "ours")
    assert loaded.model.vision_model.post_layernorm.eps == 1e-5
    assert len(ids) == 4


def test_transformers_instructblip_with_another_language_model(tmp_path: Path) -> None:
    source, llm = transformers_instructblip(tmp_path / "theirs"), qwen3(tmp_path / "qwen3")
    report = start(tmp_path / "ours", source, CONVERSATION, language_model=llm)
    assert report.ignored["language_model.lm_head.weight"] == "the language model comes from another folder"
    assert not any(name.startswith("projection.") for name in report.new)  # 16 units both
    assert len(speak(tmp_path / "ours")[1]) == 4


def test_transformers_blip2(tmp_path: Path) -> None:
    source = transformers_blip2(tmp_path / "theirs")
    start(tmp_path / "ours", source, FREE)
    loaded, ids = speak(tmp_path / "ours")
    assert not loaded.model.config.reads_question
    assert len(ids) == 4


def test_blip2_cannot_become_a_variant_that_reads_the_question(tmp_path: Path) -> None:
    error = refusal(transformers_blip2(tmp_path / "theirs"), QA, bert_tokenizer=BERT)
    assert error.what.startswith("its Q-Former does not read the question")
    assert error.fix == "use `variant` minigpt4_vicuna0_btadapter or minigpt4_vicuna0_btadapter_mean"


def test_missing_language_model(files: Path) -> None:
    options = {**given(files), "language_model": None}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert error.what == "has no language model"
    assert error.fix == "give one as `language_model`"


def test_language_model_that_is_not_there(files: Path, tmp_path: Path) -> None:
    options = {**given(files), "language_model": tmp_path / "nothing"}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert (error.what, error.where) == ("no such file or folder", str(tmp_path / "nothing"))


def test_language_model_without_configuration(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files / "vicuna", tmp_path / "vicuna")
    (tmp_path / "vicuna" / "config.json").unlink()
    options = {**given(files), "language_model": tmp_path / "vicuna"}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert error.what.startswith("no configuration of a language model: ")
    assert error.fix == "give a folder with config.json, tokenizer and weights"


def test_language_model_without_a_layer(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files / "vicuna", tmp_path / "vicuna")
    weights = torch.load(tmp_path / "vicuna" / "pytorch_model.bin", weights_only=True)
    weights = {name: tensor for name, tensor in weights.items() if "layers.1." not in name}
    torch.save(weights, tmp_path / "vicuna" / "pytorch_model.bin")
    options = {**given(files), "language_model": tmp_path / "vicuna"}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert (
        "missing model.layers.1.mlp.up_proj.weight, here language_model.model.layers.1.mlp.up_proj.weight"
        in error.what
    )


def test_missing_vision_encoder(files: Path) -> None:
    options = {**given(files), "base": []}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert error.what.startswith(
        "the vision encoder is not whole: no visual_encoder.patch_embed.proj.weight, here vision_model."
    )
    assert error.fix == "give a file or folder that has it as `base`"


def test_missing_bert_tokenizer(files: Path) -> None:
    options = {**given(files), "bert_tokenizer": None}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    assert error.fix == "give `bert_tokenizer`, a folder with vocab.txt of bert-base-uncased"


def test_missing_half_of_a_bias_is_named(files: Path, tmp_path: Path) -> None:
    weights = torch.load(files / "eva_vit_g.pth", weights_only=True)
    del weights["blocks.2.attn.v_bias"]
    torch.save(weights, tmp_path / "eva.pth")
    options = {**given(files), "base": [tmp_path / "eva.pth"]}
    error = refusal(files / "instruct_blip_vicuna7b.pth", CONVERSATION, **options)
    bias = "vision_model.encoder.layers.2.self_attn.qkv.bias"
    assert error.what == f"1 tensors do not fit the model:\n  missing blocks.2.attn.v_bias, here {bias}\n"


def test_key_without_a_place_is_refused(files: Path, tmp_path: Path) -> None:
    content = torch.load(files / "instruct_blip_vicuna7b.pth", weights_only=True)
    content["model"]["Qformer.bert.extra"] = torch.ones(1)
    torch.save(content, tmp_path / "more.pth")
    shutil.copyfile(files / "arch.json", tmp_path / "arch.json")
    error = refusal(tmp_path / "more.pth", CONVERSATION, **given(files))
    assert error.what == "1 tensors do not fit the model:\n  unexpected Qformer.bert.extra\n"


def test_weights_of_no_known_kind(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}, tmp_path / "resnet.pth")
    error = refusal(tmp_path / "resnet.pth", CONVERSATION)
    assert error.what == "weights of no known kind: 2 tensors, such as conv1.weight, fc.bias"


def test_language_model_given_as_the_source(files: Path) -> None:
    assert refusal(files / "vicuna", CONVERSATION).what.startswith("weights of no known kind: ")


def test_checkpoint_of_ours_needs_no_import(conversation: tuple[Path, ImportReport]) -> None:
    error = refusal(conversation[0], CONVERSATION)
    assert (error.what, error.fix) == ("already a checkpoint of stllm", "use it as it is")
