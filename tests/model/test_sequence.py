import pytest
import torch

from st_llm_cli.model.config import VIDEO_TOKEN_ID
from st_llm_cli.model.sequence import Sequence, VideoTokens, join

VIDEO = VIDEO_TOKEN_ID
PAD = torch.full((2,), -1.0)


def embed(ids: torch.Tensor) -> torch.Tensor:
    """Each id as itself twice, so that embeddings can be read like ids."""
    return ids[..., None].expand(*ids.shape, 2).float()


def clip(*places: int, total: int) -> VideoTokens:
    """Tokens that are called 100 + their place, of which some are kept."""
    return VideoTokens(embed(100 + torch.arange(total)), torch.tensor(places, dtype=torch.long))


def put(ids: list[list[int]], video: list[VideoTokens], **options: object) -> Sequence:
    tensor = torch.tensor(ids)
    return join(tensor, embed(tensor), video, pad_embed=PAD, **options)  # type: ignore[arg-type]


def read(sequence: Sequence) -> list[list[float]]:
    rows: list[list[float]] = sequence.embeds[..., 0].tolist()
    return rows


def test_tokens_stand_where_the_placeholder_stood() -> None:
    joined = put([[1, VIDEO, 2, 3]], [clip(0, 1, 2, total=3)])
    assert read(joined) == [[1, 100, 101, 102, 2, 3]]
    assert joined.is_video.tolist() == [[False, True, True, True, False, False]]
    assert joined.attention_mask.tolist() == [[1, 1, 1, 1, 1, 1]]


def test_several_clips_in_one_row() -> None:
    joined = put([[VIDEO, 1, VIDEO, 2]], [clip(0, 1, total=2), clip(5, total=6)])
    assert read(joined) == [[100, 101, 1, 105, 2]]


def test_placeholder_at_the_end_and_text_alone() -> None:
    joined = put([[1, 2, VIDEO], [3, 4, 5]], [clip(0, total=1)])
    assert read(joined) == [[1, 2, 100], [3, 4, 5]]


def test_shorter_rows_are_filled_on_the_right() -> None:
    joined = put([[VIDEO, 1], [VIDEO, 2]], [clip(0, total=1), clip(0, 1, 2, total=3)])
    assert read(joined) == [[100, 1, -1, -1], [100, 101, 102, 2]]
    assert joined.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert joined.is_video.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_shorter_rows_are_filled_on_the_left_for_generation() -> None:
    joined = put([[VIDEO, 1], [VIDEO, 2]], [clip(0, total=1), clip(0, 1, 2, total=3)], padding_side="left")
    assert read(joined) == [[-1, -1, 100, 1], [100, 101, 102, 2]]
    assert joined.attention_mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("mask", [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]])
def test_padding_of_the_text_may_stand_anywhere(mask: list[int]) -> None:
    ids = [[9, 9, 9, 9, 9]]
    for place, value in zip([i for i, bit in enumerate(mask) if bit], [1, VIDEO, 2], strict=True):
        ids[0][place] = value
    joined = put(ids, [clip(0, 1, total=2)], attention_mask=torch.tensor([mask]))
    assert read(joined) == [[1, 100, 101, 2]]


def test_labels_move_with_their_text_and_video_has_none() -> None:
    labels = torch.tensor([[-100, -100, 5, 6], [-100, 7, 8, -100]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    ids = [[VIDEO, 4, 5, 6], [VIDEO, 7, 8, 0]]
    joined = put(ids, [clip(0, 1, total=2), clip(0, total=1)], attention_mask=mask, labels=labels)
    assert joined.labels.tolist() == [[-100, -100, -100, 5, 6], [-100, 7, 8, -100, -100]]


def test_compact_positions_close_the_gaps() -> None:
    joined = put([[1, VIDEO, 2]], [clip(1, 4, total=6)], positions="compact")
    assert joined.position_ids.tolist() == [[0, 1, 2, 3]]


def test_original_positions_leave_the_gaps() -> None:
    joined = put([[1, VIDEO, 2, VIDEO, 3]], [clip(1, 4, total=6), clip(0, total=2)], positions="original")
    assert joined.position_ids.tolist() == [[0, 2, 5, 7, 8, 10]]


def test_without_dropping_both_positions_are_the_same() -> None:
    ids, video = [[1, VIDEO, 2]], [clip(0, 1, 2, total=3)]
    compact, original = put(ids, video, positions="compact"), put(ids, video, positions="original")
    assert torch.equal(compact.position_ids, original.position_ids)


@pytest.mark.parametrize(("placeholders", "clips"), [(0, 1), (2, 1), (1, 2), (1, 0)])
def test_wrong_number_of_placeholders(placeholders: int, clips: int) -> None:
    said = f"{placeholders} video placeholders in the text, but {clips} clips"
    with pytest.raises(ValueError, match=said):
        put([[VIDEO] * placeholders + [1]], [clip(0, total=1)] * clips)


def test_cutting_keeps_every_part_in_step() -> None:
    joined = put([[1, VIDEO, 2]], [clip(0, 1, total=2)]).up_to(3)
    assert read(joined) == [[1, 100, 101]]
    for part in (joined.attention_mask, joined.position_ids, joined.labels, joined.is_video):
        assert part.shape == (1, 3)
