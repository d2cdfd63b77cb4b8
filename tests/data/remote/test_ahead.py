"""Reading ahead: every part is the right one, in bounded memory, whatever is asked for."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.remote import ahead as module
from mobilenetv2.data.remote.ahead import ReadAhead, grouped, joined, window
from mobilenetv2.data.remote.transports import Part
from mobilenetv2.errors import DataError

FILES = {name: random.Random(name).randbytes(200_000) for name in "ab"}


def content(part: Part) -> bytes:
    file, start, size = part
    return FILES[file][start : start + size]


class Server:
    """Transport that remembers which parts of files it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[Part]] = []
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, parts: Sequence[Part]) -> list[bytes | Exception]:
        self.gate.wait()
        self.asked.append([*parts])
        return [content(part) for part in parts]


parts_of_files = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 150_000), st.integers(0, 40_000)), max_size=40
)


@given(parts_of_files, st.integers(1, 100_000), st.integers(0, 50_000), st.randoms())
@settings(max_examples=60)
def test_what_is_taken_is_the_part_in_any_order(
    parts: list[Part], size: int, gap: int, chance: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", size)
        patch.setattr(module, "GAP", gap)
        plan = ReadAhead(parts, Server().fetch)
        order = [*parts]
        if chance.random() < 0.5:
            chance.shuffle(order)
        for part in order:
            assert plan.take(part) in (content(part), None)
        plan.close()
        assert plan.held == 0


@given(parts_of_files)
def test_joined_parts_hold_all_parts(parts: list[Part]) -> None:
    found = joined(parts)
    assert sorted(part for one in found for part in one.parts) == sorted({*parts})
    for one in found:
        for file, start, size in one.parts:
            assert file == one.file and one.start <= start
            assert start + size <= one.start + one.size
    assert sum(one.size for one in found) <= sum(one[2] + module.GAP for one in parts)
    assert [one for group in grouped(found) for one in group] == found


def spans(parts: list[Part]) -> list[Part]:
    return [(one.file, one.start, one.size) for one in joined(parts)]


def test_near_parts_are_one_request_and_far_ones_are_not() -> None:
    near = [("a", 0, 100), ("a", 612, 100), ("a", 100 + module.GAP + 612, 5)]
    assert spans(near) == [("a", 0, near[2][1] + 5)]
    far = [("a", 0, 100), ("a", 101 + module.GAP, 100), ("b", 0, 5)]
    assert spans(far) == far
    long = [("a", at, 2**20) for at in range(0, 2**23, 2**20)]
    assert [one[2] for one in spans(long)] == [module.LONGEST, module.LONGEST]


def test_parts_of_the_next_window_between_those_of_this_one_come_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WINDOW", 5_000)
    parts = [("a", at, 1000) for at in (0, 2000, 4000, 6000, 8000, 1000, 3000, 5000, 7000, 9000)]
    server = Server()
    plan = ReadAhead(parts, server.fetch)
    assert [plan.take(part) for part in parts] == [content(part) for part in parts]
    plan.close()
    assert sum(size for group in server.asked for _, _, size in group) == 10_000


def test_in_order_nearly_all_is_fetched_ahead_and_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WINDOW", 20_000)
    monkeypatch.setattr(module, "LONGEST", 8_000)
    parts = [("a", at, 1000) for at in range(0, 190_000, 1000)]
    server, most = Server(), 0
    plan = ReadAhead(parts, server.fetch)
    ready = 0
    for part in parts:
        data = plan.take(part)
        ready += data is not None
        assert data in (None, content(part))
        most = max(most, plan.held)
    plan.close()
    assert ready > 0.8 * len(parts)
    assert most <= 3 * 20_000
    assert max(sum(part[2] for part in group) for group in server.asked) <= 20_000


def test_a_part_that_is_coming_is_waited_for_and_not_read_twice() -> None:
    server = Server()
    server.gate.clear()
    parts = [("a", at, 10) for at in range(0, 1000, 100)]
    plan = ReadAhead(parts, server.fetch)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(plan.take, part) for part in parts[:4]]
        server.gate.set()
        assert [one.result() for one in found] == [content(part) for part in parts[:4]]
    assert len(server.asked) == 1
    plan.close()


def test_who_waits_when_it_ends_reads_by_himself() -> None:
    server = Server()
    server.gate.clear()
    plan = ReadAhead([("a", 0, 10)], server.fetch)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(plan.take, ("a", 0, 10))
        plan.close()
        assert found.result() is None
        server.gate.set()


def test_parts_that_nobody_takes_do_not_stop_the_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 5_000)
    monkeypatch.setattr(module, "BEHIND", 10)
    parts = [("a", at, 100) for at in range(0, 190_000, 100)]
    plan = ReadAhead(parts, Server().fetch)
    found = [plan.take(part) for part in parts[::3]]  # as if a cache held the others
    plan.close()
    assert all(data in (None, content(part)) for data, part in zip(found, parts[::3], strict=True))


def test_an_error_of_a_fetch_leaves_the_part_to_be_read_by_itself() -> None:
    def fail(parts: Sequence[Part]) -> list[bytes | Exception]:
        raise ValueError("no")

    def refuse(parts: Sequence[Part]) -> list[bytes | Exception]:
        return [DataError("no") for _ in parts]

    def cut(parts: Sequence[Part]) -> list[bytes | Exception]:
        return [content(part)[:5] for part in parts]

    part = ("a", 0, 10)
    for fetch, expected in ((fail, None), (refuse, None), (cut, content(part)[:5])):
        plan = ReadAhead([part], fetch)
        assert plan.take(part) == expected
        plan.close()


def test_a_part_may_come_again() -> None:
    part = ("b", 5, 50)
    plan = ReadAhead([part, part, ("b", 100, 1), part], Server().fetch)
    assert [plan.take(part) for _ in range(4)] == [content(part)] * 3 + [None]
    plan.close()


def test_a_window_is_bounded_by_bytes_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [("a", at, 10) for at in range(0, 1000, 10)]
    monkeypatch.setattr(module, "WINDOW", 35)
    assert window(parts, 0) == range(3) and window(parts, 99) == range(99, 100)
    monkeypatch.setattr(module, "WINDOW", 5)
    assert window(parts, 4) == range(4, 5)  # a single larger one
    monkeypatch.setattr(module, "WINDOW", 10**6)
    monkeypatch.setattr(module, "MOST_PARTS", 7)
    assert window(parts, 0) == range(7) and window(parts, 100) == range(100, 100)
