"""Ports of simulated sockets over a day: a node opens and closes more of them than there are ports."""

from __future__ import annotations

import pytest

from overlays.refmesh.simulation.sockets import NODE_PORT, Sockets

A_DAY = 60_000


def test_a_socket_that_is_kept_keeps_its_port_for_itself() -> None:
    sockets = Sockets()
    kept = sockets.open(1)
    for number in range(2, A_DAY):
        assert sockets.open(number) not in (kept, NODE_PORT)
        sockets.close(number)
    assert (sockets.port_of(1), sockets.number_at(kept)) == (kept, 1)
    assert (sockets.port_of(0), sockets.number_at(NODE_PORT)) == (NODE_PORT, 0)


def test_a_closed_socket_has_no_port_and_its_port_is_free() -> None:
    sockets = Sockets()
    port = sockets.open(7)
    sockets.close(7)
    sockets.close(7)
    assert sockets.port_of(7) is None
    assert sockets.number_at(port) is None
    assert sockets.open(7) == port


def test_all_ports_can_be_had_and_no_more() -> None:
    sockets = Sockets()
    ports = {sockets.open(2 * number + 2) for number in range(19_991)}  # each second number: the scatter overlaps
    assert len(ports) == 19_991
    assert all(20_000 <= port < NODE_PORT for port in ports)
    with pytest.raises(OSError, match="all 19991 ports"):
        sockets.open(3)
