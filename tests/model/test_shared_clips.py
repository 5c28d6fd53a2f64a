from typing import Any

import pytest
import torch

from st_llm_cli.model.config import VIDEO_TOKEN_ID, StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration

WIDTH = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


def model(*, reads_question: bool) -> StllmForConditionalGeneration:
    qformer = "instructblip_qformer" if reads_question else "blip_2_qformer"
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    vision = {"model_type": "instructblip_vision_model", "image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    return StllmForConditionalGeneration(
        StllmConfig(
            vision_config={**vision, **WIDTH, "initializer_range": 0.5},
            qformer_config={"model_type": qformer, "vocab_size": 20, **WIDTH, **no_dropout},
            text_config={"model_type": "llama", "vocab_size": 20, **WIDTH, "initializer_range": 0.5},
            num_queries=2,
            video_input="all",
            initializer_range=0.5,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def rows() -> dict[str, Any]:
    ids = torch.randint(2, 20, (3, 6), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :4] = -100
    ids[:, 0] = VIDEO_TOKEN_ID
    return {"input_ids": ids, "labels": labels}


FRAMES = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
OWNERS = torch.tensor([0, 1, 1])


def test_rows_that_share_a_clip_are_as_if_each_had_brought_it() -> None:
    one = model(reads_question=False)
    shared = one(**rows(), frames=FRAMES, clip_of_row=OWNERS)
    repeated = one(**rows(), frames=FRAMES[OWNERS])
    torch.testing.assert_close(shared.loss, repeated.loss)
    other_way = one(**rows(), frames=FRAMES, clip_of_row=torch.tensor([0, 0, 1]))
    assert abs(float((other_way.loss - shared.loss).detach())) > 1e-4


def test_each_row_that_shares_a_clip_keeps_its_own_question() -> None:
    one = model(reads_question=True)
    questions = torch.tensor([[2, 3], [4, 5], [6, 7]])
    shared = one(**rows(), frames=FRAMES, clip_of_row=OWNERS, question_ids=questions)
    repeated = one(**rows(), frames=FRAMES[OWNERS], question_ids=questions)
    torch.testing.assert_close(shared.loss, repeated.loss)


def test_rows_that_share_a_clip_share_its_mask_and_its_masked_video_loss() -> None:
    one = model(reads_question=False)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[1, :3] = True
    shared = one(**rows(), frames=FRAMES, clip_of_row=OWNERS, drop_mask=mask)
    repeated = one(**rows(), frames=FRAMES[OWNERS], drop_mask=mask[OWNERS])
    assert int(shared.video_tokens) == 2 * 6 - 3
    torch.testing.assert_close(shared.language_loss, repeated.language_loss)
    once = {name: values[:2] for name, values in rows().items()}
    each_clip_once = one(**once, frames=FRAMES, drop_mask=mask)
    torch.testing.assert_close(shared.masked_video_loss, each_clip_once.masked_video_loss)


def test_gradients_do_not_depend_on_sharing() -> None:
    one = model(reads_question=False)
    gradients = []
    for batch in ({"frames": FRAMES, "clip_of_row": OWNERS}, {"frames": FRAMES[OWNERS]}):
        one.zero_grad()
        one(**rows(), **batch).loss.backward()
        gradients.append([p.grad.clone() for p in one.language_model.parameters() if p.grad is not None])
    for shared, repeated in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, repeated, rtol=1e-4, atol=1e-6)


def test_a_language_model_with_a_window_reads_the_clip_once_a_row() -> None:
    one = model(reads_question=False)
    shared = one(**rows(), frames=FRAMES, clip_of_row=OWNERS)
    assert int(shared.video_tokens) == 2 * 6
    one.config.text_config.layer_types = ["sliding_attention"]
    spread = one(**rows(), frames=FRAMES, clip_of_row=OWNERS)
    assert int(spread.video_tokens) == 3 * 6
    torch.testing.assert_close(shared.loss, spread.loss)


def test_what_questions_begin_with_alike_is_read_once_too() -> None:
    one = model(reads_question=False)
    lengths = []
    decode = one.decode
    one.decode = lambda joined: (lengths.append(joined.embeds.shape[1]), decode(joined))[1]  # type: ignore[method-assign]
    batch = rows()
    apart = one(**batch, frames=FRAMES, clip_of_row=OWNERS)
    batch["input_ids"][:, 1:3] = torch.tensor([7, 8])
    alike = one(**batch, frames=FRAMES, clip_of_row=OWNERS)
    repeated = one(**batch, frames=FRAMES[OWNERS])
    assert lengths[:2] == [6 + 5 + 5, 6 + 2 + 3 + 3]
    assert float(apart.loss.detach()) != float(alike.loss.detach())
    torch.testing.assert_close(alike.loss, repeated.loss)


def test_an_answer_cannot_begin_right_behind_a_shared_clip() -> None:
    batch = rows()
    batch["labels"] = batch["input_ids"].clone()
    with pytest.raises(ValueError, match="right behind"):
        model(reads_question=False)(**batch, frames=FRAMES, clip_of_row=OWNERS)


def test_padding_is_the_share_of_positions_where_nothing_stands() -> None:
    one = model(reads_question=False)
    # Six video tokens and five of text, or ten behind the clip that is asked about twice.
    assert one(**rows(), frames=FRAMES, clip_of_row=OWNERS).padding == pytest.approx(5 / 32)
    assert one(**rows(), frames=FRAMES[OWNERS]).padding == 0
    mask = torch.ones(3, 6)
    mask[0, 4:] = 0
    assert one(**rows(), frames=FRAMES[OWNERS], attention_mask=mask).padding == pytest.approx(2 / 33)


def test_an_encoder_that_does_not_learn_stays_in_evaluation_mode() -> None:
    one = model(reads_question=False)
    one.vision_model.requires_grad_(False)
    one.train()
    assert not one.vision_model.training
    assert one.qformer.training and one.language_model.training
    one.vision_model.requires_grad_(True)
    one.train()
    assert one.vision_model.training
