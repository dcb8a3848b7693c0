"""Rows of many callers in one batch: the answers, who is joined with whom, and who is dropped."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from dlk.errors import DataError, RowError
from dlk.inference import Engine
from dlk.micro_batch import (
    RequestTimeoutError,
    ServerBusyError,
    ServerClosedError,
    _are_alike,
)
from dlk.server import Server

pytestmark = pytest.mark.once

SHORT, LONG = "the cat", " ".join(["the big old cat near my dog"] * 8)


class Gate:
    """Holds the model's thread inside of a batch, and tells what each batch was."""

    def __init__(self, monkeypatch):
        self.batches: list[list[int]] = []
        self.entered, self.opened = threading.Event(), threading.Event()
        self.opened.set()
        real = Engine.answer

        def answer(engine, rows):
            self.batches.append([len(row["input_ids"][0]) for row in rows])
            self.entered.set()
            assert self.opened.wait(20)
            return real(engine, rows)

        monkeypatch.setattr(Engine, "answer", answer)

    def hold(self):
        self.entered.clear()
        self.opened.clear()


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


@pytest.fixture
def server(trained):
    with Server(trained.bundle, micro_batch=True) as made:
        yield made


@pytest.fixture
def busy(server, gate):
    """A server whose model is at work on one row until the gate is opened."""
    gate.hold()
    first = server.submit({"sentence": SHORT})
    assert gate.entered.wait(20)
    return server, gate, first


def test_one_caller_gets_what_the_engine_gives(trained, server):
    alone = Server(trained.bundle)
    rows = [{"sentence": "the cat"}, {"sentence": None}, {"sentence": "some bread"}]
    assert server.fit(rows[0]) == alone.fit(rows[0])
    answers = server.fit(rows)
    assert [answer.get("label") for answer in answers] == ["animal", None, "food"]
    assert answers[1] == alone.fit(rows)[1]
    with pytest.raises(RowError, match="sentence"):
        server.fit(rows[1])
    assert server.fit([]) == []


def test_rows_that_wait_are_answered_together(busy):
    server, gate, first = busy
    others = [server.submit({"sentence": SHORT}) for _ in range(5)]
    gate.opened.set()
    answers = [each.result(20) for each in (first, *others)]
    assert gate.batches == [[2], [2] * 5]
    assert all(answer["label"] == "animal" for answer in answers)


def test_the_bits_are_those_of_the_same_batch_alone(busy, trained):
    server, gate, _ = busy
    rows = [{"sentence": f"the {word} near my dog"} for word in ("cat", "big", "lake", "milk")]
    waiting = [server.submit(row) for row in rows]
    gate.opened.set()
    assert [each.result(20) for each in waiting] == Server(trained.bundle).fit(rows)
    assert gate.batches[1:] == [[5] * 4]


def test_only_rows_of_like_length_are_joined_the_oldest_first(busy):
    server, gate, _ = busy
    waiting = [server.submit({"sentence": text}) for text in (LONG, SHORT, LONG, SHORT)]
    gate.opened.set()
    wait(waiting, 20)
    assert gate.batches[1:] == [[56, 56], [2, 2]]
    assert _are_alike(20, 38)
    assert not _are_alike(20, 39)


def test_a_batch_holds_so_many_records_and_tokens(trained, gate):
    for options, expected in (
        ({"batch_size": 3}, [[2], [2, 2, 2], [2, 2]]),
        ({"max_batch_tokens": 4}, [[2], [2, 2], [2, 2], [2]]),
    ):
        del gate.batches[:]
        gate.hold()
        with Server(trained.bundle, **options) as server:
            first = server.submit({"sentence": SHORT})
            assert gate.entered.wait(20)
            others = [server.submit({"sentence": SHORT}) for _ in range(5)]
            gate.opened.set()
            wait([first, *others], 20)
        assert gate.batches == expected


def test_many_threads_get_their_own_answers(trained, server):
    rows = [{"sentence": row["sentence"]} for row in trained.toy.rows("test")]
    requests = [
        [*rows[n % 20 : n % 20 + 1 + n % 4], *([{"sentence": 3}] if n % 7 == 0 else [])]
        for n in range(400)
    ]
    alone = Server(trained.bundle)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(server.fit, requests))
    for request, answer in zip(requests[:140], answers, strict=False):
        for mine, other in zip(answer, alone.fit(request), strict=True):
            assert mine.get("label") == other.get("label")
            assert mine.get("error") == other.get("error")
            assert mine.get("score") == pytest.approx(other.get("score"), abs=1e-6)
    assert server._batcher.waiting == 0


def test_a_row_that_breaks_the_forward_pass_fails_alone(busy, monkeypatch):
    from dlk.nn.layer.embedding.random import RandomEmbedding

    server, gate, first = busy
    bad = server.engine.prepare({"sentence": ["rice"]}).records["input_ids"][0][0]
    real = RandomEmbedding.forward

    def forward(self, x):
        if (x["input_ids"] == bad).any():
            raise FloatingPointError("the kernel refuses 17")
        return real(self, x)

    monkeypatch.setattr(RandomEmbedding, "forward", forward)
    waiting = [server.submit({"sentence": text}) for text in ("a cat", "my rice", "a dog")]
    gate.opened.set()
    assert first.result(20)["label"] == "animal"
    assert [waiting[n].result(20)["label"] for n in (0, 2)] == ["animal", "animal"]
    with pytest.raises(FloatingPointError, match="refuses 17"):
        waiting[1].result(20)


def test_what_a_model_throws_leaves_the_thread_alive(server, monkeypatch):
    real = Engine.answer

    def leave(engine, rows):
        monkeypatch.setattr(Engine, "answer", real)
        raise SystemExit(3)

    monkeypatch.setattr(Engine, "answer", leave)
    with pytest.raises(Exception, match="SystemExit"):
        server.fit({"sentence": SHORT})
    assert server.fit({"sentence": SHORT})["label"] == "animal"


def test_a_request_that_waits_too_long_is_dropped_before_it_costs(busy):
    server, gate, _ = busy
    late = server.submit({"sentence": SHORT}, timeout_s=0.01)
    patient = server.submit({"sentence": SHORT}, timeout_s=60)
    time.sleep(0.05)
    gate.opened.set()
    said = r"longer than its timeout_s of 0\.01 s and was dropped .*give it more time.*max_waiting"
    with pytest.raises(RequestTimeoutError, match=said):
        late.result(20)
    assert patient.result(20)["label"] == "animal"
    assert gate.batches == [[2], [2]]


@pytest.mark.parametrize(
    "timeout_s",
    [
        *(0, -1, -0.5, float("nan"), float("-inf"), -(10**400), Fraction(-1, 3), np.float32(-1)),
        *(Decimal("-0.5"), Decimal("NaN"), Decimal("sNaN"), np.float64("nan")),
    ],
)
def test_a_time_that_cannot_pass_is_refused(server, timeout_s):
    with pytest.raises(ValueError, match="timeout_s is more than 0 seconds, or None"):
        server.submit({"sentence": SHORT}, timeout_s=timeout_s)
    assert server._batcher.waiting == 0


@pytest.mark.parametrize("timeout_s", [True, np.True_, "1", [1], 1j])
def test_a_time_that_is_no_number_is_refused(server, timeout_s):
    for call in (lambda t: server.submit({"sentence": SHORT}, timeout_s=t), server.close):
        server.submit({"sentence": SHORT}).result(20)
        with pytest.raises(TypeError, match="timeout_s is a number of seconds, got"):
            call(timeout_s)


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), -(10**400), Decimal(-1)])
def test_a_patience_below_nothing_is_refused_and_closes_nothing(server, timeout_s):
    assert server.fit({"sentence": SHORT})["label"] == "animal"
    with pytest.raises(ValueError, match="timeout_s is at least 0 seconds"):
        server.close(timeout_s)
    assert server.fit({"sentence": SHORT})["label"] == "animal"


@pytest.mark.parametrize(
    "far",
    [
        *(float("inf"), 10**400, Fraction(10**400, 3), Fraction(121, 2), Decimal("1e999")),
        *(Decimal(60), np.float32(60), np.int64(60), np.uint8(60)),
    ],
)
def test_any_time_may_be_a_lot(server, far):
    assert server.submit({"sentence": SHORT}, timeout_s=far).result(20)["label"] == "animal"
    server.close(far)


def test_a_number_that_python_would_not_print_is_refused_as_any_other(server):
    with pytest.raises(ValueError, match=r"more than 0 seconds, or None: .* got -inf"):
        server.submit({"sentence": SHORT}, timeout_s=-(10**5000))


def test_a_time_is_read_once(busy):
    """What was checked counts, whatever its owner makes of it later."""

    class Growing(float):
        def __add__(self, other):
            raise AssertionError("it was read before")

        __radd__ = __add__

    server, gate, _ = busy
    late = server.submit({"sentence": SHORT}, timeout_s=Growing(0.01))
    fraction = server.submit({"sentence": SHORT}, timeout_s=Fraction(1, 100))
    time.sleep(0.05)
    gate.opened.set()
    for each in (late, fraction):
        with pytest.raises(RequestTimeoutError, match=r"its timeout_s of 0\.01 s"):
            each.result(20)


def test_a_cancelled_request_is_dropped_before_it_costs(busy):
    server, gate, first = busy
    gone, other = server.submit({"sentence": SHORT}), server.submit({"sentence": SHORT})
    assert gone.cancel()
    assert not first.cancel()  # it has begun
    gate.opened.set()
    assert other.result(20)["label"] == "animal"
    with pytest.raises(CancelledError):
        gone.result(20)
    assert gate.batches == [[2], [2]]
    assert server._batcher.waiting == 0


def test_rows_over_the_bound_are_refused_at_once(trained, gate):
    gate.hold()
    with Server(trained.bundle, max_waiting=3) as server:
        first = server.submit({"sentence": SHORT})
        assert gate.entered.wait(20)
        waiting = [server.submit([{"sentence": SHORT}] * 2)]
        with pytest.raises(ServerBusyError, match=r"2 rows wait already.*max_waiting"):
            server.submit([{"sentence": SHORT}] * 2)
        waiting.append(server.submit({"sentence": SHORT}))
        gate.opened.set()
        assert len(waiting[0].result(20)) == 2
        first.result(20)
        # one of more rows than may wait is taken where nothing waits
        waiting[1].result(20)
        assert len(server.submit([{"sentence": SHORT}] * 5).result(20)) == 5


def test_rows_that_are_refused_hold_no_place(trained):
    with Server(trained.bundle, max_waiting=2) as server:
        for _ in range(5):
            with pytest.raises(DataError, match="sentence"):
                server.submit({"text": SHORT})
            with pytest.raises(RowError):
                server.submit({"sentence": None}).result(20)
        assert server.submit({"sentence": SHORT}).result(20)["label"] == "animal"


def test_closing_answers_what_waits_and_refuses_the_rest(busy):
    server, gate, first = busy
    waiting = server.submit({"sentence": SHORT})
    closing = threading.Thread(target=server.close)
    closing.start()
    while not server._is_closed:
        time.sleep(0.001)
    with pytest.raises(ServerClosedError):
        server.submit({"sentence": SHORT})
    with pytest.raises(ServerClosedError):
        server.fit({"sentence": SHORT})
    gate.opened.set()
    closing.join(20)
    assert first.result(0)["label"] == waiting.result(0)["label"] == "animal"


def test_closing_with_no_patience_refuses_what_waits(busy):
    server, gate, first = busy
    waiting = server.submit({"sentence": SHORT})
    server.close(timeout_s=0)
    with pytest.raises(ServerClosedError, match="before the answer"):
        waiting.result(20)
    gate.opened.set()
    assert first.result(20)["label"] == "animal"


def test_a_server_that_nobody_holds_takes_its_thread_along(trained):
    server = Server(trained.bundle, micro_batch=True)
    server.fit({"sentence": SHORT})
    thread, gone = server._batcher._thread, weakref.ref(server)
    del server
    gc.collect()
    assert gone() is None
    thread.join(20)
    assert not thread.is_alive()


def test_rows_that_wait_are_answered_though_nobody_holds_the_server(trained, gate):
    gate.hold()
    first = (server := Server(trained.bundle)).submit({"sentence": SHORT})
    second = server.submit({"sentence": SHORT})
    del server
    gc.collect()
    gate.opened.set()
    assert first.result(20)["label"] == second.result(20)["label"] == "animal"


_APART = """
import os, sys, threading, torch
from dlk.inference import Prepared
from dlk.micro_batch import MicroBatcher

class Engine:
    batch_size = 1

    def prepare(self, columns):
        return Prepared(columns, 1, {"x": columns["x"], "_row": [0]}, {})

    def lengths_of(self, records):
        return [0]

    def answer(self, rows):
        entered.set()
        product = torch.rand(300, 300)
        for _ in range(int(rows[0]["x"][0])):
            product = torch.softmax(product @ product, 0)
        return [{"done": True}]

    def finish(self, prepared, answers):
        return [answers[0]]

entered = threading.Event()
batcher = MicroBatcher(Engine())
"""


def _apart(code):
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", _APART + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_process_that_ends_while_the_model_computes_ends_well():
    """PyTorch aborts a process whose interpreter went away below one of its threads."""
    done = _apart(
        "batcher.submit({'x': [300]})\nwaits = batcher.submit({'x': [10**9]})\n"
        "assert entered.wait(60)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_of_fork_gets_a_thread_and_locks_of_its_own():
    done = _apart(
        "assert batcher.submit({'x': [1]}).result(60)\n"
        "with batcher._changed:\n"  # as another thread of the parent may hold it
        "    child = os.fork()\n"
        "    if not child:\n"
        "        other = threading.Thread(target=lambda: batcher.submit({'x': [1]}).result(60))\n"
        "        other.start()\n"
        "        other.join(60)\n"
        "        os._exit(0 if not other.is_alive() else 3)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_model_runs_in_one_thread(server, monkeypatch):
    seen = set()
    real = torch.nn.Linear.forward

    def forward(self, x):
        seen.add(threading.current_thread().name)
        return real(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(server.fit, [{"sentence": SHORT}] * 40))
    assert seen == {"dlk-model"}
