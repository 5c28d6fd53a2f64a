"""Keys and values are those of transformers' own cache, and stay where they are."""

import torch
from transformers import DynamicCache

from st_llm_cli.model.growing_cache import STEP, GrowingCache


def states(number: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(number)
    keys, values = torch.randn(2, 1, 2, length, 4, generator=draws)
    return keys, values


def test_what_is_read_cropped_and_read_again_is_what_transformers_keeps() -> None:
    ours, theirs = GrowingCache(), DynamicCache()
    for number, length in enumerate([3, STEP, 1, 1, 0, 700, 1]):
        for layer in range(2):
            for cache in (ours, theirs):
                kept = cache.update(*states(number, length), layer)
            assert ours.layers[layer].keys.equal(theirs.layers[layer].keys)
            assert ours.layers[layer].values.equal(theirs.layers[layer].values)
            assert kept[0].equal(ours.layers[layer].keys)
        if number % 2:
            ours.crop(-2)
            theirs.crop(-2)
        assert ours.get_seq_length() == theirs.get_seq_length()
    assert ours.get_seq_length(1) == 3 + STEP - 2 + 2 - 2 + 0 + 700 - 2 + 1


def test_a_token_does_not_move_what_is_there() -> None:
    cache = GrowingCache()
    places = set()
    for number in range(1000):
        keys, _ = cache.update(*states(number, 1), 0)
        places.add(keys.data_ptr())
    assert len(places) <= 4, "room is made for hundreds of tokens at a time"


def test_room_grows_with_what_is_there_and_not_far_beyond() -> None:
    cache = GrowingCache()
    cache.update(*states(0, 5000), 0)
    cache.update(*states(1, 1), 0)
    assert cache.layers[0].rooms[0].shape[-2] <= 5000 * 1.5 + STEP
