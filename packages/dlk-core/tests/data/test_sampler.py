"""Which records make up which batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.sampler import EvalBatches, TrainBatches
from dlk.errors import DataError

SIZES = st.integers(0, 60)
BATCHES = st.integers(1, 7)
OPTIONS = st.fixed_dictionaries(
    {
        "window": st.integers(0, 4),
        "seed": st.integers(0, 3),
        "shuffle": st.booleans(),
        "drop_last": st.booleans(),
    }
)


def lengths(size):
    return np.random.default_rng(size).integers(1, 30, size)


def train(size, batch_size, epoch=0, **options):
    made = TrainBatches(size, batch_size, lengths=lengths(size), **options)
    made.set_epoch(epoch)
    return made


@given(size=SIZES, batch_size=BATCHES, options=OPTIONS, epoch=st.integers(0, 3))
def test_each_record_stands_once_in_an_epoch(size, batch_size, options, epoch):
    batches = train(size, batch_size, epoch, **options)
    given_batches = list(batches)
    found = [record for batch in given_batches for record in batch]
    assert len(found) == len(set(found))
    assert len(given_batches) == len(batches)
    if options["drop_last"]:
        assert len(found) == size // batch_size * batch_size
        assert all(len(batch) == batch_size for batch in given_batches)
    else:
        assert sorted(found) == list(range(size))
        assert sorted(map(len, given_batches), reverse=True)[:-1] == [batch_size] * (
            len(batches) - 1 if size else 0
        )


@given(size=SIZES, batch_size=BATCHES, options=OPTIONS)
def test_the_order_depends_on_seed_and_epoch_alone(size, batch_size, options):
    assert list(train(size, batch_size, 2, **options)) == list(
        train(size, batch_size, 2, **options)
    )
    again = train(size, batch_size, 2, **options)
    list(again)
    assert list(again) == list(train(size, batch_size, 2, **options))


@pytest.mark.parametrize("window", [0, 3])
def test_another_epoch_or_seed_is_another_order(window):
    orders = {
        str(list(train(50, 4, epoch, window=window, seed=seed)))
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(orders) == 9


def test_without_shuffling_records_come_in_order():
    assert list(train(5, 2, 7, window=3, shuffle=False)) == [[0, 1], [2, 3], [4]]


def test_a_window_brings_like_lengths_together_and_batches_at_random_places():
    size, batch_size = 800, 8
    sizes = lengths(size)

    def spread(batches):
        return np.mean([np.ptp(sizes[batch]) for batch in batches])

    plain = list(train(size, batch_size, window=0))
    windowed = list(train(size, batch_size, window=20))
    assert spread(windowed) < spread(plain) / 5
    one_window = list(train(160, batch_size, window=20))
    means = [lengths(160)[batch].mean() for batch in one_window]
    assert np.corrcoef(means, np.arange(20))[0, 1] == pytest.approx(0, abs=0.7)


def test_a_window_sorts_only_what_was_shuffled_into_it():
    inside = [
        {record for batch in train(40, 4, window=20, seed=seed) for record in batch}
        for seed in range(2)
    ]
    assert inside == [set(range(40))] * 2
    first, second = (train(40, 4, window=2, seed=seed) for seed in range(2))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


@given(size=SIZES, batch_size=BATCHES, world=st.integers(1, 4), options=OPTIONS)
def test_processes_share_an_epoch_and_take_equally_many_batches(size, batch_size, world, options):
    shares = [
        list(train(size, batch_size, 1, rank=rank, world_size=world, **options))
        for rank in range(world)
    ]
    assert len({len(share) for share in shares}) == 1
    for joint in zip(*shares, strict=True):
        assert len({len(batch) for batch in joint}) == 1
    counts = Counter(record for share in shares for batch in share for record in batch)
    joint_size = batch_size * world
    if options["drop_last"]:
        assert set(counts.values()) <= {1}
        assert counts.total() == size // joint_size * joint_size
    else:
        assert set(counts) == set(range(size))
        assert counts.total() - size < world


def test_windows_give_every_process_like_lengths():
    sizes = lengths(640)
    shares = [list(train(640, 8, window=10, rank=rank, world_size=2)) for rank in range(2)]
    gaps = [abs(int(sizes[a].max()) - int(sizes[b].max())) for a, b in zip(*shares, strict=True)]
    assert max(gaps) <= 2


@given(size=st.integers(1, 40), batch_size=BATCHES, options=OPTIONS, data=st.data())
def test_a_loaded_place_goes_on_with_the_next_batch(size, batch_size, options, data):
    whole = list(train(size, batch_size, 3, **options))
    done = data.draw(st.integers(0, max(0, len(whole) - 1)))
    batches = train(size, batch_size, **options)
    place = {"epoch": 3, "start": done}
    batches.load_state_dict(batches.state_dict() | place)
    batches.set_epoch(3)
    assert list(batches) == whole[done:]
    assert list(batches) == whole, "the next round starts at the start"


def test_a_place_at_the_end_of_an_epoch_is_the_start_of_the_next():
    batches = train(10, 4)
    batches.load_state_dict(batches.state_dict() | {"epoch": 3, "start": 3})
    assert (batches.epoch, batches.start) == (4, 0)
    assert list(batches) == list(train(10, 4, 4))


def test_choosing_another_epoch_leaves_the_loaded_place():
    batches = train(10, 4)
    batches.load_state_dict(batches.state_dict() | {"epoch": 3, "start": 2})
    batches.set_epoch(4)
    assert list(batches) == list(train(10, 4, 4))


@pytest.mark.parametrize(
    "change", [{"size": 11}, {"batch_size": 3}, {"seed": 1}, {"window": 2}, {"shuffle": False}]
)
def test_a_place_in_another_order_is_refused_in_the_middle_of_an_epoch_only(change):
    options = {"size": 10, "batch_size": 4}
    state = train(**options).state_dict()
    other = train(**{**options, **change})
    (name,) = change
    with pytest.raises(DataError, match=f"after batch 2 of epoch 3.*{name} "):
        other.load_state_dict(state | {"epoch": 3, "start": 2})
    other.load_state_dict(state | {"epoch": 3, "start": 3})
    assert (other.epoch, other.start) == (4, 0)
    other.load_state_dict(state | {"epoch": 3, "start": 0})
    assert (other.epoch, other.start) == (3, 0)


TOKENS = st.lists(st.integers(0, 40), max_size=60)
BUDGETS = st.integers(1, 120)
WORLDS = st.integers(1, 4)


def budget(tokens, max_tokens, epoch=0, **options):
    made = TrainBatches(len(tokens), 1, tokens=tokens, max_tokens=max_tokens, **options)
    made.set_epoch(epoch)
    return made


@given(
    tokens=TOKENS,
    max_tokens=BUDGETS,
    world=WORLDS,
    window=st.integers(1, 4),
    seed=st.integers(0, 2),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_a_budget_holds_in_every_process_and_each_record_stands_once(
    tokens, max_tokens, world, window, seed, shuffle, drop_last
):
    counts = set()
    options = {"window": window, "seed": seed, "shuffle": shuffle, "drop_last": drop_last}
    for epoch in range(3):
        made = [
            budget(tokens, max_tokens, epoch, rank=rank, world_size=world, **options)
            for rank in range(world)
        ]
        shares = [list(each) for each in made]
        counts |= {len(share) for share in shares} | {len(each) for each in made}
        for joint in zip(*shares, strict=True):
            assert len({len(batch) for batch in joint}) == 1
        for batch in (batch for share in shares for batch in share):
            padded = len(batch) * max(tokens[record] for record in batch)
            assert padded <= max_tokens or len(batch) == 1
        met = Counter(record for share in shares for batch in share for record in batch)
        if drop_last:
            assert set(met.values()) <= {1}
            assert met.total() == len(tokens) // world * world
        else:
            assert set(met) == set(range(len(tokens)))
            assert met.total() - len(tokens) < world
    assert len(counts) == 1, "the schedule counts on equally many batches in every epoch"


def test_a_budget_fills_batches_and_shuffles_records_and_batches():
    tokens = np.clip(np.random.default_rng(1).lognormal(3, 0.7, 4000), 2, 217).astype(int)
    orders = [list(budget(tokens, 1024, epoch, window=20)) for epoch in range(2)]
    for batches in orders:
        padded = sum(len(batch) * tokens[batch].max() for batch in batches)
        assert tokens.sum() / padded > 0.9
        assert padded / len(batches) > 0.9 * 1024
        longest = [tokens[batch].max() for batch in batches]
        assert np.corrcoef(longest, np.arange(len(batches)))[0, 1] == pytest.approx(0, abs=0.3)
    first, second = ({frozenset(batch) for batch in batches} for batches in orders)
    assert len(first & second) < len(first) / 10


def test_records_of_a_budget_meet_others_in_each_epoch_where_no_lengths_are_equal():
    tokens = np.random.default_rng(2).permutation(np.arange(1, 2001))
    met = [{frozenset(batch) for batch in budget(tokens, 4000, n, window=5)} for n in range(2)]
    long = [{batch for batch in each if max(tokens[list(batch)]) > 200} for each in met]
    alone = {frozenset([record]) for record in range(2000)}
    assert len(long[0] & long[1] - alone) < len(long[0]) / 10


def test_a_budget_leaves_no_record_out_for_good():
    met = set()
    for epoch in range(40):
        batches = budget(
            [1, 1, 2, 2, 30, 30, 30], 60, epoch, window=2, world_size=3, drop_last=True
        )
        met |= {record for batch in batches for record in batch}
    assert met == set(range(7))


def test_a_budget_in_order_takes_as_many_records_as_fit():
    tokens = [3, 3, 4, 1, 1, 20, 1]
    assert list(budget(tokens, 10, shuffle=False)) == [[0, 1], [2, 3], [4], [5], [6]]
    assert list(budget([1] * 300, 128, shuffle=False)) == [
        list(range(128)), list(range(128, 256)), list(range(256, 300)),
    ]  # fmt: skip


@given(tokens=TOKENS.filter(len), max_tokens=BUDGETS, data=st.data())
def test_a_place_in_batches_of_a_budget_goes_on_with_the_next_one(tokens, max_tokens, data):
    whole = list(budget(tokens, max_tokens, 3, window=2))
    done = data.draw(st.integers(0, len(whole) - 1))
    batches = budget(tokens, max_tokens, window=2)
    batches.load_state_dict(batches.state_dict() | {"epoch": 3, "start": done})
    batches.set_epoch(3)
    assert list(batches) == whole[done:]
    batches.load_state_dict(batches.state_dict() | {"epoch": 3, "start": len(whole)})
    assert (batches.epoch, batches.start) == (4, 0)


def test_a_place_among_other_lengths_or_another_budget_is_refused():
    tokens = [5, 3, 8, 2, 9, 4]
    state = budget(tokens, 16, window=2).state_dict() | {"epoch": 1, "start": 1}
    with pytest.raises(DataError, match="max_tokens 16 -> 20"):
        budget(tokens, 20, window=2).load_state_dict(state)
    with pytest.raises(DataError, match="lengths "):
        budget([*tokens[:-1], 5], 16, window=2).load_state_dict(state)


def test_a_budget_needs_tokens_and_a_window():
    with pytest.raises(ValueError, match="tokens of each of 3 records"):
        TrainBatches(3, 1, max_tokens=4, window=1)
    with pytest.raises(ValueError, match="needs a window"):
        budget([1, 2], 4)


ROWS = st.lists(st.integers(1, 5), max_size=15).map(
    lambda parts: [row for row, n in enumerate(parts) for _ in range(n)]
)


@given(rows=ROWS, batch_size=BATCHES, world=st.integers(1, 3))
def test_evaluation_keeps_the_records_of_a_row_together_and_gives_each_to_one_process(
    rows, batch_size, world
):
    shares = [
        EvalBatches(len(rows), batch_size, rows=rows, rank=rank, world_size=world)
        for rank in range(world)
    ]
    batches = [list(share) for share in shares]
    assert [len(share) for share in shares] == [len(each) for each in batches]
    found = sorted(record for share in batches for batch in share for record in batch)
    assert found == list(range(len(rows)))
    owner = Counter(
        row for share in batches for batch in share for row in {rows[record] for record in batch}
    )
    assert set(owner.values()) <= {1}
    for share in batches:
        flat = [record for batch in share for record in batch]
        assert flat == sorted(flat)
        for batch in share:
            assert len(batch) <= batch_size or len({rows[record] for record in batch}) == 1


@given(rows=ROWS, batch_size=BATCHES, world=st.integers(1, 3), window=st.integers(1, 9))
def test_evaluation_by_length_meets_each_row_once_and_whole(rows, batch_size, world, window):
    lengths = np.random.default_rng(len(rows)).integers(1, 9, len(rows))
    options = {"rows": rows, "lengths": lengths, "window": window}
    shares = [
        list(EvalBatches(len(rows), batch_size, rank=rank, world_size=world, **options))
        for rank in range(world)
    ]
    found = [record for share in shares for batch in share for record in batch]
    assert sorted(found) == list(range(len(rows)))
    for batch in (batch for share in shares for batch in share):
        of_batch = [rows[record] for record in batch]
        assert len(batch) <= batch_size or len(set(of_batch)) == 1
        for row in set(of_batch):
            assert [n for n in batch if rows[n] == row] == [
                n for n in range(len(rows)) if rows[n] == row
            ]


def test_evaluation_by_length_begins_each_window_with_its_longest_row():
    lengths = [1, 5, 3, 9, 2, 8]
    assert list(EvalBatches(6, 2, lengths=lengths, window=9)) == [[3, 5], [1, 2], [4, 0]]
    assert list(EvalBatches(6, 1, lengths=lengths, window=3)) == [[1], [2], [0], [3], [5], [4]]
    rows = [0, 0, 1, 2, 2, 3]
    assert list(EvalBatches(6, 2, rows=rows, lengths=lengths, window=9)) == [
        [3, 4], [5], [0, 1], [2],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="length of each of 6 records"):
        EvalBatches(6, 2, window=1)


def test_evaluation_fills_batches_with_as_many_rows_as_fit():
    assert list(EvalBatches(6, 3, rows=[0, 0, 1, 2, 2, 3])) == [[0, 1, 2], [3, 4, 5]]
    assert list(EvalBatches(5, 2)) == [[0, 1], [2, 3], [4]]
    assert list(EvalBatches(4, 2, rows=[0, 0, 0, 1])) == [[0, 1, 2], [3]]
    assert list(EvalBatches(0, 2)) == []


@pytest.mark.parametrize("made", [TrainBatches, EvalBatches])
def test_a_rank_outside_the_world_is_an_error(made):
    with pytest.raises(ValueError, match="rank lies in 0 to 1"):
        made(4, 2, rank=2, world_size=2)
