"""The released code's behaviour, recorded with small random weights, number for number."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from st_llm_cli.model.answer import RELEASED_MAX_LENGTH, encode, generate
from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.official import import_released
from st_llm_cli.model.prompt import Prompt, answer_ids, chat_prompt, choice_prompt, question_ids
from st_llm_cli.model.released_names import our_name
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from st_llm_cli.model.tokenizers import Tokenizers, load_tokenizers
from tests.parity.golden import assert_close, case_id, cases, read_case, variant_name, variants

TRAINING = cases("train")
INFERENCE = [case for case in cases("infer") if "beam" not in case.name]  # beams are informative only

Loaded = tuple[StllmForConditionalGeneration, Tokenizers]


def test_recordings_are_found() -> None:
    assert variants(), "no tiny_* variant found"
    assert TRAINING
    assert INFERENCE


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Each recorded checkpoint, imported once."""
    folders = {}
    for source in variants():
        destination = tmp_path_factory.mktemp("imported") / source.name
        arch = json.loads((source / "arch.json").read_text())
        report = import_released(
            source, destination, variant_name(arch), bert_tokenizer=source / "bert_tokenizer"
        )
        assert not report.problems
        folders[source] = destination
    return folders


def load(folder: Path) -> Loaded:
    model = StllmForConditionalGeneration.from_pretrained(folder).eval()
    model.config.compat = "released"
    return model, load_tokenizers(folder, model.config)


@pytest.mark.parametrize("path", TRAINING, ids=case_id)
def test_training_step(path: Path, imported: dict[Path, Path]) -> None:
    case, recorded = read_case(path)
    model, tokenizers = load(imported[path.parent])
    batch = training_batch(case, model, tokenizers)
    mask = recorded.get("mask")

    check_streams(model, batch, recorded)
    model.zero_grad()
    output = model(**batch, frames=recorded["frames"], drop_mask=mask)
    output.loss.backward()

    assert float(output.language_loss) == pytest.approx(case["lm_loss"], rel=1e-5)
    if case.get("mvm_loss") is not None:
        assert float(output.masked_video_loss) == pytest.approx(case["mvm_loss"], rel=1e-5)
    else:
        assert output.masked_video_loss is None
    assert output.loss.item() == pytest.approx(case["total_loss"], rel=1e-5)
    check_gradients(model, case)


def training_batch(
    case: dict[str, Any], model: StllmForConditionalGeneration, tokenizers: Tokenizers
) -> dict[str, Tensor]:
    in_turn = model.config.prompt_format == "minigpt4"
    rows, labels, questions = [], [], []
    for instruction, answer in zip(case["instruction_input"], case["answer"], strict=True):
        before, after = instruction.split("<ImageHere>")
        asked = after.split("Human: ")[1].split(" ###")[0] if not in_turn else ""
        prompt = Prompt(before, after, opens_with_bos=in_turn, question=asked)
        ids = prompt.ids(tokenizers.language, model.config)
        said = answer_ids(tokenizers.language, model.config, answer)
        rows.append(torch.tensor(ids + said))
        labels.append(torch.tensor([-100] * len(ids) + said))
        questions.append(asked)
    batch = {
        "input_ids": pad_sequence(rows, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        "attention_mask": pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True),
    }
    if tokenizers.question is not None:
        ids, mask = question_ids(tokenizers.question, model.config, questions)
        batch |= {"question_ids": ids, "question_mask": mask}
    return batch


@torch.no_grad()
def check_streams(
    model: StllmForConditionalGeneration, batch: dict[str, Tensor], recorded: dict[str, Tensor]
) -> None:
    """Every tensor on the way, for the masked and for the whole sequence."""
    frames = recorded["frames"]
    if frames.shape[1] == 3 and model.bt_adapter is not None:
        frames = frames.transpose(1, 2)  # the released code takes the three frames for three colours
    features = model.encode_vision(frames)
    assert_close(torch.cat(features), recorded["vision_output"], "vision_output")
    queries = model.encode_queries(features, batch.get("question_ids"), batch.get("question_mask"))
    assert_close(torch.cat(queries), recorded["qformer_output"], "qformer_output")
    assert_close(model.projection(torch.cat(queries)), recorded["llama_proj_output"], "llama_proj_output")
    video = model.video_input(queries)
    masks = recorded.get("mask")
    dropped = None if masks is None else [mask.bool() for mask in masks]
    check_sequence(model, batch, video, dropped, recorded, prefix="")
    if "unmask_inputs_embeds" in recorded:
        check_sequence(model, batch, video, None, recorded, prefix="unmask_")


def check_sequence(
    model: StllmForConditionalGeneration,
    batch: dict[str, Tensor],
    video: list[Tensor],
    dropped: list[Tensor] | None,
    recorded: dict[str, Tensor],
    prefix: str,
) -> None:
    joined = model.join(
        batch["input_ids"],
        video,
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
        dropped=dropped,
    )
    # Their rows are longer where no row has both the longest prompt and the longest answer: padding only.
    theirs = recorded[f"{prefix}inputs_embeds"]
    more = theirs.shape[1] - joined.embeds.shape[1]
    mask = pad(joined.attention_mask, (0, more))
    # What fills the padding is nobody's: theirs, so that all behind it can be compared too.
    embeds = torch.where(mask.bool()[..., None], pad(joined.embeds, (0, 0, 0, more)), theirs)
    assert_close(embeds, theirs, f"{prefix}inputs_embeds")
    assert torch.equal(mask, recorded[f"{prefix}attention_mask"].to(mask.dtype))
    hidden = model.language_model.get_decoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    assert_close(hidden, recorded[f"{prefix}last_hidden_state"], f"{prefix}last_hidden_state")
    valid = joined.attention_mask.bool()
    own = hidden[:, : valid.shape[1]]
    assert_close(model.decode(joined)[valid], own[valid], f"{prefix}hidden states without that padding")
    if not prefix:
        assert torch.equal(pad(joined.labels, (0, more), value=-100), recorded["labels"])
        logits = model.get_output_embeddings()(hidden[:, -4:])
        assert_close(logits, recorded["logits_last4"], "logits_last4", atol=1e-4)


def check_gradients(model: StllmForConditionalGeneration, case: dict[str, Any]) -> None:
    parameters = dict(model.named_parameters())
    for key, norm in case["grad_norms"].items():
        name = our_name(key, reads_question=model.config.reads_question)
        assert name is not None, key
        name, _, half = name.partition(":")
        gradient = parameters[name].grad
        assert gradient is not None, f"{key}: no gradient"
        if half:
            third = len(gradient) // 3
            gradient = gradient[:third] if half == "q" else gradient[2 * third :]
        # Where one frame stands alone, attention has nothing to choose: what is there is rounding.
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-3, abs=1e-8), key
    for key in case["requires_grad_but_no_grad"]:
        name = our_name(key, reads_question=model.config.reads_question)
        assert name is not None
        assert parameters[name].grad is None, key


@pytest.mark.parametrize("path", INFERENCE, ids=case_id)
def test_answer(path: Path, imported: dict[Path, Path]) -> None:
    case, recorded = read_case(path)
    model, tokenizers = load(imported[path.parent])
    if case["flow"].startswith("Chat"):
        check_chat(model, tokenizers, case, recorded)
    else:
        check_choice(model, tokenizers, case, recorded)


def check_chat(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    case: dict[str, Any],
    recorded: dict[str, Tensor],
) -> None:
    history: list[tuple[str, str]] = []
    for turn in case["turns"]:
        question = turn["user"]
        asked = f"###Human: {question} ###Assistant: " if case["prompt_wrapped"] else question
        prompt = chat_prompt(
            model.config.prompt_format, asked, system=case["system"], history=history, released=True
        )
        read = Prompt(prompt.before, prompt.after, prompt.opens_with_bos, question=case["qformer_text"])
        video = encode(model, tokenizers, read, frames=recorded["frames"])
        if turn is case["turns"][-1] and "inputs_embeds" in recorded and case.get("tensors"):
            check_prompt(
                model, tokenizers, prompt, video, recorded, keep=case["max_length"] - case["max_new_tokens"]
            )
        options = turn["generate_kwargs"]
        reply = generate(
            model,
            tokenizers,
            prompt,
            video,
            stop=case["stop_ids"],
            max_length=case["max_length"],
            max_new_tokens=options["max_new_tokens"],
            repetition_penalty=options["repetition_penalty"],
        )
        assert case["max_length"] in (70, RELEASED_MAX_LENGTH)
        assert reply.ids == turn["generated_ids"]
        assert reply.text == turn["text"]
        history.append((question, reply.text))


def check_choice(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    case: dict[str, Any],
    recorded: dict[str, Tensor],
) -> None:
    prompt = choice_prompt(
        case["question"],
        system=case["system"],
        system_in_question=case["system_llm"],
        question_end=case["question_prompt"],
        answer_start=case["answer_prompt"],
        video_in_own_turn=not case["ask_simple"],
    )
    # The released script means to respect the configured video input but always takes all tokens.
    kind = "all" if case["all_token"] else None
    video = encode(model, tokenizers, prompt, frames=recorded["frames"], video_input=kind)
    check_prompt(model, tokenizers, prompt, video, recorded)
    reply = generate(model, tokenizers, prompt, video, stop=[], max_new_tokens=case["max_new_tokens"])
    assert reply.ids == case["generated_ids"]
    assert reply.text == case["text"]
    assert (case["return_prompt"] + reply.text).split("\n")[0] == case["prediction"]


@torch.no_grad()
def check_prompt(
    model: StllmForConditionalGeneration,
    tokenizers: Tokenizers,
    prompt: Prompt,
    video: list[Tensor],
    recorded: dict[str, Tensor],
    keep: int = 10_000,
) -> None:
    if "video_embeds" in recorded:
        assert_close(video[0][None], recorded["video_embeds"], "video_embeds")
    ids = prompt.ids(tokenizers.language, model.config)
    assert ids.count(VIDEO_TOKEN_ID) == 1
    joined = model.join(torch.tensor([ids]), video)
    assert_close(joined.embeds[:, -keep:], recorded["inputs_embeds"], "inputs_embeds")
    hidden = model.language_model.get_decoder()(inputs_embeds=joined.embeds[:, -keep:]).last_hidden_state
    assert_close(hidden, recorded["last_hidden_state"], "last_hidden_state")
    logits = model.get_output_embeddings()(hidden[:, -4:])
    assert_close(logits, recorded["logits_last4"], "logits_last4", atol=1e-4)
