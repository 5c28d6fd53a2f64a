from st_llm_cli.training.data.order import BATCHES_PER_BUCKET, Order, Turn


def order(num_records: int = 10, batch_size: int = 4, seed: int = 0) -> Order:
    return Order(seed, "0/clips", num_records, batch_size, length_of=lambda turn: turn.record % 7)


def turns(which: Order, batches: range) -> list[Turn]:
    return [which.turn(place) for number in batches for place in which.batch(number)]


def test_every_record_comes_once_in_every_epoch() -> None:
    shown = sorted(turns(order(16, 4), range(BATCHES_PER_BUCKET)), key=lambda turn: turn.epoch)
    for epoch in range(4):
        assert sorted(turn.record for turn in shown if turn.epoch == epoch) == list(range(16))


def test_epochs_differ_and_so_do_seeds() -> None:
    by_epoch = [[order().turn(place).record for place in range(start, start + 10)] for start in (0, 10)]
    assert by_epoch[0] != by_epoch[1]
    assert by_epoch[0] != [order(seed=1).turn(place).record for place in range(10)]


def test_a_batch_is_the_same_whatever_was_asked_before() -> None:
    straight = order()
    before = [straight.batch(number) for number in range(40)]
    assert order().batch(37) == before[37]
    assert order().turn(23) == straight.turn(23)


def test_rows_of_a_batch_are_about_equally_long() -> None:
    by_length = order(1000, 8)
    batches = [by_length.batch(number) for number in range(BATCHES_PER_BUCKET)]
    lengths = [[by_length.turn(place).record % 7 for place in batch] for batch in batches]
    assert all(max(each) - min(each) <= 1 for each in lengths)
    assert len({each[0] for each in lengths[:5]}) > 1, "batches do not come from short to long"
