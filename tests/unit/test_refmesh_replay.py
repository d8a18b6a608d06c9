"""Every counter counts once, whatever the framing and the order: the bulk framing shares the window and its rules."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlays.refmesh.core import bulk, large
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.noise import TransportKeys
from overlays.refmesh.core.replay import ReplayWindow


def keypairs() -> tuple[Keypair, Keypair]:
    one, other = bytes(range(32)), bytes(range(1, 33))
    return (
        Keypair(TransportKeys(send=one, receive=other, local_index=1, remote_index=2, initiator=True), 0.0),
        Keypair(TransportKeys(send=other, receive=one, local_index=2, remote_index=1, initiator=False), 0.0),
    )


def chunks(count: int) -> tuple[list[bytes], Keypair]:
    """Chunks of one large packet, and who opens them."""
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 1, 77, 0x50, 0x10, 500, 0, 0)
    payload = random.Random(count).randbytes(500 * count)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    sender, receiver = keypairs()
    return bulk.seal(sender, memoryview(head + tcp + payload), 20, 40, 500), receiver


def test_a_chunk_is_not_accepted_again_between_a_first_and_a_last_that_look_like_a_run() -> None:
    sealed, receiver = chunks(6)
    assert len(bulk.unseal(receiver, sealed[:3])) == 3
    fresh = bulk.unseal(chunks(6)[1], [sealed[3], sealed[5]])
    assert bulk.unseal(receiver, [sealed[3], sealed[0], sealed[5]]) == fresh
    assert bulk.unseal(receiver, [sealed[3], sealed[0], sealed[5]]) == []
    # What was passed over on the way is still fresh, once.
    assert len(bulk.unseal(receiver, [sealed[4]])) == 1
    assert bulk.unseal(receiver, [sealed[4]]) == []


@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=12), max_size=12))
def test_whatever_the_order_each_chunk_comes_through_once(batches: list[list[int]]) -> None:
    sealed, receiver = chunks(12)
    through = [plain for batch in batches for plain in bulk.unseal(receiver, [sealed[i] for i in batch])]
    assert len(through) == len({i for batch in batches for i in batch}) == len(set(through))


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 3], [0, 2, 1, 3, 4], [3, 0, 5, 1, 7], [4, 3, 2, 1, 0]])
def test_the_row_way_takes_runs_alone(order: list[int]) -> None:
    sealed, receiver = chunks(8)
    data = memoryview(bytearray(b"".join(sealed[i] for i in order)))
    assert large.unseal(receiver, data, len(sealed[0]), chunks=True, prefix=0) is None
    assert receiver.window.highest == -1
    run = memoryview(bytearray(b"".join(sealed[2:7])))
    assert large.unseal(receiver, run, len(sealed[0]), chunks=True, prefix=0) is not None
    assert large.unseal(receiver, run, len(sealed[0]), chunks=True, prefix=0) is None
    overlapping = memoryview(bytearray(b"".join(sealed[3:8])))
    assert large.unseal(receiver, overlapping, len(sealed[0]), chunks=True, prefix=0) is None
    assert len(bulk.unseal(receiver, sealed)) == 3


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 128)), max_size=40))
def test_runs_and_single_counters_have_one_window(runs: list[tuple[int, int]]) -> None:
    whole, single = ReplayWindow(), ReplayWindow()
    for first, count in runs:
        counters = range(first, first + count)
        fresh = all(map(single.fresh, counters))
        if whole.accept_run(first, count):
            assert fresh
            assert all(single.accept(counter) for counter in counters)
        assert [whole.fresh(counter) for counter in counters] == [single.fresh(counter) for counter in counters]
