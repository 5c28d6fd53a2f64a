from st_llm_cli.training.data.order import BATCHES_PER_BUCKET, Buckets, Shuffle


def shuffle(num_records: int = 10, seed: int = 0) -> Shuffle:
    return Shuffle(seed, "0/clips", num_records)


def length_at(place: int) -> int:
    return (place * 37) % 101


def buckets(batch_size: int = 8) -> Buckets:
    return Buckets(0, "0/clips", batch_size, length_at)


def test_every_record_comes_once_in_every_epoch() -> None:
    turns = [shuffle(16).turn(place) for place in range(64)]
    for epoch in range(4):
        assert sorted(turn.record for turn in turns if turn.epoch == epoch) == list(range(16))


def test_epochs_differ_and_so_do_seeds() -> None:
    by_epoch = [[shuffle().turn(place).record for place in range(start, start + 10)] for start in (0, 10)]
    assert by_epoch[0] != by_epoch[1]
    assert by_epoch[0] != [shuffle(seed=1).turn(place).record for place in range(10)]


def test_every_place_comes_once() -> None:
    places = [place for number in range(2 * BATCHES_PER_BUCKET) for place in buckets().batch(number)]
    assert sorted(places) == list(range(2 * BATCHES_PER_BUCKET * 8))


def test_a_batch_is_the_same_whatever_was_asked_before() -> None:
    straight = buckets()
    before = [straight.batch(number) for number in range(40)]
    assert buckets().batch(37) == before[37]
    assert straight.batch(3) == before[3]


def test_rows_of_a_batch_are_about_equally_long_and_batches_come_in_no_order() -> None:
    batches = [
        [length_at(place) for place in buckets().batch(number)] for number in range(BATCHES_PER_BUCKET)
    ]
    assert all(max(lengths) - min(lengths) <= 10 for lengths in batches)
    firsts = [lengths[0] for lengths in batches]
    assert firsts != sorted(firsts)
