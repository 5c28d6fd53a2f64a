"""The method: what reaches the language model, what is dropped, what is learnt."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
)

from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.st_llm import (
    GlobalLocal,
    StllmForConditionalGeneration,
    draw_drop_mask,
    draw_mask_ratio,
    local_frame_indices,
    masked_video_loss,
)
from tests.micro import micro_config, micro_frames, micro_model
from tests.parity.golden import golden_folder

VIDEO = VIDEO_TOKEN_ID
Model = StllmForConditionalGeneration


def recorded(name: str) -> list[dict[str, Any]]:
    lines = (golden_folder() / "sampling" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def model(**settings: Any) -> Model:
    return micro_model(**settings)[0]


def clips(*lengths: int) -> list[Tensor]:
    return [micro_frames(seed, length) for seed, length in enumerate(lengths)]


def batch(text: list[list[int]], answers: int = 3) -> dict[str, Tensor]:
    """Rows of ids, the last `answers` of each to be predicted, padded on the right."""
    length = max(map(len, text))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in text])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in text])
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(text):
        labels[i, len(row) - answers : len(row)] = ids[i, len(row) - answers : len(row)]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


TEXT = [[VIDEO, 4, 5, 6, 7, 8], [4, 9, VIDEO, 10, 11, 12, 13, 14]]


# ---------------------------------------- what reaches the language model


@pytest.mark.parametrize("case", [case for case in recorded("get_residual_index.jsonl")], ids=str)
def test_local_frames_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    local, total = case["args"]["sample_segments"], case["args"]["total_segments"]
    chosen = local_frame_indices(local, total, released=True)
    # Where the released formula leaves the clip, each frame is kept once.
    assert chosen == (list(range(total)) if case["out_of_range"] else case["result"])
    if total <= local:
        assert local_frame_indices(local, total) == list(range(total))
    else:
        assert local_frame_indices(local, total) == case["result"]


@pytest.mark.parametrize("num_frames", range(1, 40))
def test_local_frames_exist_and_rise(num_frames: int) -> None:
    chosen = local_frame_indices(8, num_frames)
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 0
    assert chosen[-1] < num_frames
    assert len(chosen) == min(8, num_frames)


def test_global_local_starts_as_the_local_frames_alone() -> None:
    part = StllmForConditionalGeneration(micro_config(video_input="residual")).global_local
    assert part is not None
    tokens = torch.randn(9, 3, 16)
    assert torch.equal(part(tokens, [1, 4, 7]), tokens[[1, 4, 7]])


def test_global_local_adds_what_all_frames_say() -> None:
    torch.manual_seed(0)
    part, tokens = GlobalLocal(16, 5), torch.randn(9, 3, 16)
    with torch.no_grad():
        shifted = part(tokens, [1, 4, 7])
        by_hand = torch.relu(tokens.mean(0) @ part.down.weight.T + part.down.bias)
        by_hand = by_hand @ part.up.weight.T + part.up.bias  # [queries, hidden]
    assert torch.allclose(shifted, tokens[[1, 4, 7]] + by_hand, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "tokens"), [("all", 15), ("mean", 3), ("residual", 6)])
def test_video_inputs(kind: str, tokens: int) -> None:
    one = model(video_input=kind, num_local_frames=2)
    (video,), counts = one.encode_video(frames=clips(5))
    assert video.shape == (tokens, 16)
    assert counts == [5]
    (every,), _ = one.encode_video(frames=clips(5), video_input="all")
    if kind == "mean":
        assert torch.allclose(video, every.view(5, 3, 16).mean(0), atol=1e-6)
    if kind == "all":
        assert torch.equal(video, every)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "residual"])
def test_single_pictures_are_left_as_they_are(kind: str) -> None:
    one = model(video_input=kind)
    (video,), _ = one.encode_video(frames=clips(1))
    (every,), _ = one.encode_video(frames=clips(1), video_input="all")
    assert torch.equal(video, every)


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"bt_adapter_depth": 1}, {"reads_question": True}])
def test_frames_features_and_queries_lead_to_the_same(settings: dict[str, Any]) -> None:
    one = model(**settings)
    ask = (torch.tensor([[4, 5], [6, 7]]), torch.tensor([[1, 1], [1, 0]]))
    features = one.encode_vision(clips(3, 2))
    queries = one.encode_queries(features, *ask)
    starts = [
        one.encode_video(clips(3, 2), None, None, *ask)[0],
        one.encode_video(None, features, None, *ask)[0],
        one.encode_video(None, None, queries)[0],
    ]
    for video in starts[1:]:
        assert all(torch.equal(a, b) for a, b in zip(video, starts[0], strict=True))


@pytest.mark.parametrize(
    "given", [(), ("frames", "features"), ("frames", "queries"), ("features", "queries")]
)
def test_exactly_one_start_is_given(given: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give exactly one of frames, features and queries"):
        model()(torch.tensor([[VIDEO, 4]]), **{name: clips(2) for name in given})


def test_wrong_number_of_placeholders() -> None:
    with pytest.raises(ValueError, match="2 video placeholders in the text, but 1 clips"):
        model()(torch.tensor([[VIDEO, VIDEO, 4]]), frames=clips(2))


# ---------------------------------------- dynamic masking


@pytest.mark.parametrize("case", recorded("mask_counts.jsonl"), ids=str)
def test_as_many_tokens_are_dropped_as_in_the_released_code(case: dict[str, Any]) -> None:
    num_tokens = case["args"]["num_tokens"]
    mask = draw_drop_mask(num_tokens, case["args"]["mask_rate"])
    assert mask.shape == (num_tokens,)
    assert int(mask.sum()) == case["n_masked"]


def test_every_token_is_dropped_as_often_as_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.stack([draw_drop_mask(20, 0.5, generator) for _ in range(2000)]).float().mean(0)
    assert (counts - 0.5).abs().max() < 0.05  # 4.5 standard deviations


@pytest.mark.parametrize("ratio", [1.0, 1.5, -0.1])
def test_ratio_that_leaves_nothing(ratio: float) -> None:
    with pytest.raises(ValueError, match="is not in \\[0, 1\\)"):
        draw_drop_mask(8, ratio)


def test_ratios_are_normal_and_clipped() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([draw_mask_ratio(generator) for _ in range(4000)])
    assert (drawn.min() >= 0.1) and (drawn.max() <= 0.7)
    assert abs(float(drawn.mean()) - 0.5) < 0.01
    assert 0.02 < float((drawn == 0.7).float().mean()) < 0.03  # beyond two standard deviations: 2.3 %
    assert draw_mask_ratio(torch.Generator().manual_seed(7)) == draw_mask_ratio(
        torch.Generator().manual_seed(7)
    )


def test_low_ratios_are_raised_to_the_lowest() -> None:
    assert draw_mask_ratio(mean=0.0, std=0.0, low=0.3, high=0.7) == 0.3


@torch.no_grad()
def test_kept_tokens_stay_in_order_and_dropped_ones_are_gone() -> None:
    one = model()
    (video,), _ = one.encode_video(frames=clips(4))
    mask = draw_drop_mask(12, 0.5, torch.Generator().manual_seed(0))
    joined = one.join(torch.tensor([[4, VIDEO, 5]]), [video], dropped=[mask])
    assert torch.equal(joined.embeds[joined.is_video], video[~mask])
    assert joined.embeds.shape[1] == 2 + 6


@pytest.mark.parametrize(("positions", "numbers"), [("compact", [0, 1, 2, 3]), ("original", [0, 2, 5, 7])])
@torch.no_grad()
def test_positions(positions: str, numbers: list[int]) -> None:
    one = model(positions=positions)
    mask = torch.tensor([True, False, True, True, False, True])
    joined = one.join(torch.tensor([[4, VIDEO, 5]]), [torch.randn(6, 16)], dropped=[mask])
    assert joined.position_ids.tolist() == [numbers]


@torch.no_grad()
def test_positions_matter_only_where_tokens_are_dropped() -> None:
    compact, original = model(positions="compact"), model(positions="original")
    given = batch(TEXT[:1])
    mask = torch.tensor([[True, False, False, True, False, True]])
    same = [one(**given, frames=clips(2)).loss for one in (compact, original)]
    other = [one(**given, frames=clips(2), drop_mask=mask).language_loss for one in (compact, original)]
    assert torch.allclose(*same, atol=1e-5)
    assert not torch.allclose(*other, atol=1e-3)


def test_ratio_drops_the_same_share_of_every_clip() -> None:
    output = model()(**batch(TEXT), frames=clips(4, 2), mask_ratio=0.5)
    assert int(output.video_tokens) == 12 // 2 + 6 // 2


def test_masks_of_another_number_of_tokens_are_refused() -> None:
    for mask in (torch.zeros(2, 11), torch.zeros(1, 12)):
        with pytest.raises(ValueError, match="as many tokens as it has"):
            model()(**batch(TEXT), frames=clips(4, 4), drop_mask=mask.bool())


def test_masks_that_leave_nothing_of_a_clip_are_refused() -> None:
    masks = [torch.zeros(12).bool(), torch.ones(12).bool()]
    with pytest.raises(ValueError, match="leaves nothing"):
        model()(**batch(TEXT), frames=clips(4, 4), drop_mask=masks)


def test_clips_may_stand_in_any_rows_while_tokens_are_dropped() -> None:
    one, masks = model(), [draw_drop_mask(12, 0.5), draw_drop_mask(6, 0.5)]
    text, plain = [[4, VIDEO, 5, VIDEO, 6, 7, 8]], [4, 9, 10, 11, 12]
    alone = one(**batch(text), frames=clips(4, 2), drop_mask=masks)
    after = one(**batch([plain, *text]), frames=clips(4, 2), drop_mask=masks)
    assert alone.masked_video_loss is not None
    torch.testing.assert_close(after.masked_video_loss, alone.masked_video_loss)


class LookUps(TorchDispatchMode):
    """Counts what picks out entries of tensors: on a GPU kernels, or waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += str(function).startswith(("aten.index.", "aten.index_put.", "aten._local_scalar"))
        return function(*args, **(kwargs or {}))


def test_more_clips_take_no_more_operations_to_drop_tokens_of() -> None:
    one, counts = model(), []
    for number in (2, 8):
        with LookUps() as look_ups:
            given = batch([TEXT[0]] * number)
            one(
                **given, frames=micro_frames(0, 4)[None].repeat(number, 1, 1, 1, 1), mask_ratio=0.5
            ).loss.backward()
        counts.append(look_ups.count)
    assert counts[0] == counts[1] > 0


def test_single_pictures_are_never_masked() -> None:
    output = model()(**batch(TEXT), frames=clips(1, 1), mask_ratio=0.5)
    assert int(output.video_tokens) == 6
    assert output.masked_video_loss is None


def test_generator_decides_what_is_dropped() -> None:
    one = model()
    losses = [
        one(**batch(TEXT), frames=clips(4, 4), mask_ratio=0.5, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(losses[0].loss, losses[1].loss)
    assert not torch.equal(losses[0].loss, losses[2].loss)


# ---------------------------------------- masked video modelling


def test_cosine_loss_is_two_minus_two_cosines() -> None:
    student, teacher = torch.randn(7, 16), torch.randn(7, 16)
    plain = (2 - 2 * cosine_similarity(student, teacher, dim=-1)).mean()
    assert torch.allclose(masked_video_loss(student, teacher), plain)
    unit = torch.nn.functional.normalize
    squares = (unit(student, dim=-1) - unit(teacher, dim=-1)).square().sum(-1).mean()
    assert torch.allclose(masked_video_loss(student, teacher), squares, atol=1e-5)


def test_squared_loss_is_that_of_the_paper() -> None:
    student, teacher = torch.randn(7, 16), torch.randn(7, 16)
    assert torch.allclose(masked_video_loss(student, teacher, "mse"), ((student - teacher) ** 2).mean())


def test_no_gradient_flows_into_the_teacher() -> None:
    student, teacher = torch.randn(7, 16, requires_grad=True), torch.randn(7, 16, requires_grad=True)
    masked_video_loss(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def hidden_states(one: Model, ids: Tensor, video: list[Tensor], dropped: list[Tensor] | None) -> list[Tensor]:
    """Hidden states of each row's video tokens, each row read alone and whole."""
    states = []
    for i, row in enumerate(ids):
        joined = one.join(row[None], [video[i]], dropped=None if dropped is None else [dropped[i]])
        output = one.language_model.model(inputs_embeds=joined.embeds)
        states.append(output.last_hidden_state[joined.is_video])
    return states


@pytest.mark.parametrize("loss", ["cosine", "mse"])
@pytest.mark.parametrize("decoder", [True, False])
@pytest.mark.parametrize("language", ["llama", "qwen3"])
def test_masked_video_loss_is_that_of_two_whole_passes(loss: str, decoder: bool, language: str) -> None:
    """The teacher is cut after the last video token, and rows are padded: neither may show."""
    one = model(masked_video_loss=loss, masked_video_decoder=decoder, language=language)
    given = batch(TEXT)
    masks = [
        draw_drop_mask(12, 0.4, torch.Generator().manual_seed(0)),
        draw_drop_mask(9, 0.4, torch.Generator().manual_seed(1)),
    ]
    rows = [torch.tensor(row) for row in TEXT]
    with torch.no_grad():
        video, _ = one.encode_video(frames=clips(4, 3))
        student = torch.cat(
            [
                h
                for r, v, m in zip(rows, video, masks, strict=True)
                for h in hidden_states(one, r[None], [v], [m])
            ]
        )
        teacher = torch.cat(
            [
                h[~m]
                for r, v, m in zip(rows, video, masks, strict=True)
                for h in hidden_states(one, r[None], [v], None)
            ]
        )
        if one.masked_video_decoder is not None:
            student = one.masked_video_decoder(student)
    plain = masked_video_loss(student, teacher, loss)

    length = max(len(mask) for mask in masks)
    assert length == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "_choose_dropped", lambda *given: masks)
        output = one(**given, frames=clips(4, 3))

    assert float(output.masked_video_loss) == pytest.approx(float(plain), rel=1e-5)
    assert output.loss.item() == pytest.approx(float(output.language_loss + output.masked_video_loss))


def test_weight_of_the_masked_video_loss() -> None:
    one = model(masked_video_weight=0.25)
    output = one(**batch(TEXT), frames=clips(4, 3), mask_ratio=0.5)
    assert output.loss.item() == pytest.approx(
        float(output.language_loss) + 0.25 * float(output.masked_video_loss)
    )


def test_masking_without_the_masked_video_loss() -> None:
    output = model()(**batch(TEXT), frames=clips(4, 3), mask_ratio=0.5, masked_video=False)
    assert output.masked_video_loss is None
    assert torch.equal(output.loss, output.language_loss)


def test_dropout_is_off_in_the_teacher_and_on_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    one = model().train()
    seen = []
    decode = one.decode

    def watch(joined: Any) -> Tensor:
        seen.append((torch.is_grad_enabled(), one.language_model.training))
        return decode(joined)

    one.vision_model.eval()
    monkeypatch.setattr(one, "decode", watch)
    one(**batch(TEXT), frames=clips(4, 3), mask_ratio=0.5)
    assert seen == [(True, True), (False, False)]
    assert all(module.training for module in one.language_model.modules())
    assert not one.vision_model.training


# ---------------------------------------- losses and logits


def test_padding_needs_no_mask_and_changes_nothing() -> None:
    one, given = model(), batch(TEXT)
    video, _ = one.encode_video(frames=clips(4, 3))
    joined = one.join(given["input_ids"], video, attention_mask=given["attention_mask"])
    lengths = joined.attention_mask.sum(dim=1).tolist()
    assert min(lengths) < max(lengths)
    masks = []
    decoder = one.language_model.get_decoder()
    decoder.register_forward_pre_hook(
        lambda _, args, options: masks.append(options["attention_mask"]), with_kwargs=True
    )
    hidden = one.decode(joined)
    for row, length in enumerate(lengths):
        alone = decoder(inputs_embeds=joined.embeds[row : row + 1, :length], attention_mask=None)
        assert torch.allclose(hidden[row, :length], alone.last_hidden_state[0], atol=1e-5)
    assert masks[0] is None


def full_logits(one: Model, given: dict[str, Tensor], frames: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits at every position, and the labels there."""
    video, _ = one.encode_video(frames=frames)
    joined = one.join(
        given["input_ids"], video, attention_mask=given["attention_mask"], labels=given["labels"]
    )
    output = one.language_model(inputs_embeds=joined.embeds, attention_mask=joined.attention_mask)
    return output.logits, joined.labels


@pytest.mark.parametrize("language", ["llama", "qwen3"])
def test_loss_and_gradients_are_those_of_logits_everywhere(language: str) -> None:
    one, given, frames = model(language=language), batch(TEXT), clips(4, 3)
    logits, labels = full_logits(one, given, frames)
    plain = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    expected = torch.autograd.grad(plain, list(one.parameters()), allow_unused=True)
    one.zero_grad()
    output = one(**given, frames=frames)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(plain.item(), rel=1e-6)
    for (name, parameter), gradient in zip(one.named_parameters(), expected, strict=True):
        assert (parameter.grad is None) == (gradient is None), name
        if gradient is not None:
            # Other kernels sum in another order: with a mask, as there, or without.
            assert torch.allclose(parameter.grad, gradient, atol=1e-5, rtol=1e-4), name
    head, embedding = one.get_output_embeddings(), one.get_input_embeddings()
    assert head.weight.grad.any()
    assert embedding.weight.grad.any()
    assert one.projection.weight.grad.any()


def test_loss_over_several_steps_is_divided_by_all_of_their_tokens() -> None:
    one = model()
    output, whole = (
        one(**batch(TEXT), frames=clips(4, 3)),
        one(**batch(TEXT), frames=clips(4, 3), num_items_in_batch=12),
    )
    assert whole.loss.item() == pytest.approx(output.loss.item() * 6 / 12)


@torch.no_grad()
def test_without_labels_the_next_tokens_logits_come_back() -> None:
    one, given, frames = model(), batch(TEXT), clips(4, 3)
    logits, _ = full_logits(one, given, frames)
    output = one(given["input_ids"], given["attention_mask"], frames=frames)
    ends = [12 + 5, 9 + 7]
    assert output.loss is None
    for row, end in enumerate(ends):
        assert torch.allclose(output.logits[row], logits[row, end - 1], atol=1e-5)


# ---------------------------------------- batches


@torch.no_grad()
@pytest.mark.parametrize(
    "settings", [{}, {"bt_adapter_depth": 1}, {"video_input": "residual", "num_local_frames": 2}]
)
def test_rows_of_a_batch_are_what_they_are_alone(settings: dict[str, Any]) -> None:
    one, frames = model(**settings), clips(4, 2)
    together = one(batch(TEXT)["input_ids"], batch(TEXT)["attention_mask"], frames=frames).logits
    for i, row in enumerate(TEXT):
        alone = one(torch.tensor([row]), frames=[frames[i]]).logits
        assert torch.allclose(together[i], alone[0], atol=1e-4)


def test_loss_of_a_batch_is_the_mean_over_its_tokens() -> None:
    one, frames = model(), clips(4, 2)
    together = one(**batch(TEXT), frames=frames).loss.item()
    alone = [one(**batch([row]), frames=[frames[i]]).loss.item() for i, row in enumerate(TEXT)]
    assert together == pytest.approx(sum(alone) / 2, rel=1e-5)


@pytest.mark.parametrize("language", ["llama", "qwen3"])
def test_answers_of_a_batch_are_those_of_its_rows(language: str) -> None:
    one, frames = model(language=language), clips(4, 2)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    given = batch(TEXT)
    with torch.no_grad():
        video, _ = one.encode_video(frames=frames)
    together = one.generate(given["input_ids"], video, given["attention_mask"], **options)
    for i, row in enumerate(TEXT):
        alone = one.generate(torch.tensor([row]), [video[i]], **options)
        assert together[i].tolist() == alone[0].tolist()
    assert together.shape == (2, 6)


@pytest.mark.parametrize("reads_question", [False, True])
def test_generate_takes_frames_features_queries_or_video_tokens(reads_question: bool) -> None:
    one, frames = model(reads_question=reads_question), clips(4, 2)
    given = {"input_ids": batch(TEXT)["input_ids"], "attention_mask": batch(TEXT)["attention_mask"]}
    asked: dict[str, Any] = {"question_ids": torch.tensor([[4, 5], [6, 7]])} if reads_question else {}
    options = {"max_new_tokens": 6, "do_sample": False}
    with torch.no_grad():
        features = one.encode_vision(frames)
        queries = one.encode_queries(features, **asked)
        video = one.video_input(queries)
    expected = one.generate(**given, video=video, **options)
    assert expected.unique().numel() > 2, "an answer that cannot tell"
    for clip in ({"frames": frames, **asked}, {"features": features, **asked}, {"queries": queries}):
        assert torch.equal(one.generate(**given, **clip, **options), expected)
    same_length = torch.stack(clips(4, 4))  # as a batch of transformers: [clips, frames, 3, height, width]
    listed = one.generate(**given, frames=list(same_length), **asked, **options)
    assert torch.equal(one.generate(**given, frames=same_length, **asked, **options), listed)


def test_generate_wants_each_clip_in_one_way() -> None:
    one, ids = model(), torch.tensor([TEXT[0]])
    with pytest.raises(ValueError, match="give exactly one of frames, features and queries"):
        one.generate(ids)
    with torch.no_grad():
        video, _ = one.encode_video(frames=clips(4))
    with pytest.raises(ValueError, match="not both"):
        one.generate(ids, video, frames=clips(4))


# ---------------------------------------- on disk


AUTO_CLASSES: tuple[Any, ...] = (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
)
SETTINGS: list[dict[str, Any]] = [
    {"language": "llama", "video_input": "residual", "masked_video_decoder": True},
    {"language": "qwen3", "reads_question": True},
    {"language": "llama", "bt_adapter_depth": 1, "video_input": "mean"},
    {"language": "qwen3", "bt_adapter_depth": 1, "reads_question": True, "masked_video_decoder": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_round_trips_are_bit_exact(tmp_path: Path, settings: dict[str, Any]) -> None:
    one = model(**settings)
    one.save_pretrained(tmp_path)
    for kind in (StllmForConditionalGeneration, *AUTO_CLASSES):
        again = kind.from_pretrained(tmp_path)
        assert type(again) is StllmForConditionalGeneration
        first, second = one.state_dict(), again.state_dict()
        assert set(first) == set(second)
        assert all(torch.equal(first[name], second[name]) for name in first)
        given = {"input_ids": torch.tensor([[VIDEO, 4, 5]]), "frames": clips(3)}
        if settings.get("reads_question"):
            given["question_ids"] = torch.tensor([[4, 5]])
        with torch.no_grad():
            # Loaded weights lie elsewhere in memory, which may choose another kernel: last bits can differ.
            assert torch.allclose(one(**given).logits, again.eval()(**given).logits, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_embeddings_stay_tied(tmp_path: Path, tied: bool) -> None:
    config = micro_config(language="qwen3")
    config.text_config.tie_word_embeddings = tied
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    one = StllmForConditionalGeneration(config)
    one.save_pretrained(tmp_path)
    again = StllmForConditionalGeneration.from_pretrained(tmp_path)
    for each in (one, again):
        shared = each.get_output_embeddings().weight is each.get_input_embeddings().weight
        assert shared == tied
    assert torch.equal(one.get_output_embeddings().weight, again.get_output_embeddings().weight)


def test_trains_after_a_round_trip(tmp_path: Path) -> None:
    model(masked_video_decoder=True).save_pretrained(tmp_path)
    again = StllmForConditionalGeneration.from_pretrained(tmp_path).train()
    again(**batch(TEXT), frames=clips(4, 3), mask_ratio=0.5).loss.backward()
    unused = [name for name, parameter in again.named_parameters() if parameter.grad is None]
    assert unused == []


@pytest.mark.parametrize("setting", ["final_logit_softcapping", "logits_scaling"])
def test_language_models_whose_head_cannot_be_applied_alone_are_refused(setting: str) -> None:
    config = micro_config()
    setattr(config.text_config, setting, 2.0)
    with pytest.raises(ValueError, match=f"language models with `{setting}` are not supported"):
        StllmForConditionalGeneration(config)
