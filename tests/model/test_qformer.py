import pytest
import torch

from st_llm_cli.model.qformer import QFormer
from tests.micro import micro_model

FEATURES = [torch.randn(count, 5, 16, generator=torch.Generator().manual_seed(count)) for count in (2, 4)]


def qformer(*, reads_question: bool) -> QFormer:
    return micro_model(reads_question=reads_question)[0].qformer


@torch.no_grad()
def test_every_frame_is_asked_on_its_own() -> None:
    model = qformer(reads_question=False)
    together = model(FEATURES, None, None)
    assert [clip.shape for clip in together] == [(2, 3, 16), (4, 3, 16)]
    for clip, features in zip(together, FEATURES, strict=True):
        for frame, one in zip(clip, features, strict=True):
            (alone,) = model([one[None]], None, None)
            assert torch.allclose(frame, alone[0], atol=1e-5)


@torch.no_grad()
def test_every_clip_is_asked_its_own_question() -> None:
    model = qformer(reads_question=True)
    ids = torch.tensor([[4, 5, 6], [7, 8, 9]])
    first, second = model(FEATURES, ids, torch.ones_like(ids))
    (alone,) = model(FEATURES[1:], ids[1:], None)
    (other,) = model(FEATURES[1:], ids[:1], None)
    assert first.shape == (2, 3, 16)
    assert torch.allclose(second, alone, atol=1e-5)
    assert not torch.allclose(second, other, atol=1e-2)


@torch.no_grad()
def test_padding_of_the_question_changes_nothing() -> None:
    model = qformer(reads_question=True)
    (short,) = model(FEATURES[:1], torch.tensor([[4, 5]]), None)
    padded = torch.tensor([[4, 5, 0, 0]]), torch.tensor([[1, 1, 0, 0]])
    (long,) = model(FEATURES[:1], *padded)
    assert torch.allclose(short, long, atol=1e-5)


@torch.no_grad()
def test_it_is_transformers_own_model() -> None:
    model = qformer(reads_question=True)
    ids = torch.tensor([[4, 5, 6]])
    (ours,) = model([FEATURES[0][:1]], ids, None)
    theirs = model.model(
        input_ids=ids,
        attention_mask=torch.ones(1, 3 + 3),
        query_embeds=model.query_tokens,
        encoder_hidden_states=FEATURES[0][:1],
    )
    assert torch.allclose(ours, theirs.last_hidden_state[:, :3], atol=1e-6)


def test_question_that_is_not_given() -> None:
    with pytest.raises(ValueError, match="this Q-Former reads the question: give question_ids"):
        qformer(reads_question=True)(FEATURES, None, None)


@torch.no_grad()
def test_question_free_model_takes_no_notice_of_a_question() -> None:
    model = qformer(reads_question=False)
    ids = torch.tensor([[4, 5, 6], [7, 8, 9]])
    asked, silent = model(FEATURES, ids, None), model(FEATURES, None, None)
    assert all(torch.equal(one, other) for one, other in zip(asked, silent, strict=True))
