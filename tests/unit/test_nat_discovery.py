"""The pure parts of discovery: messages, classification, comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LabError
from harness.model.nat import Mapping, PortAllocation, Refresh, parse_nat
from harness.nat import stun
from harness.nat.discovery import Allocation, classify_mapping
from harness.nat.lifetimes import bracket
from harness.nat.observation import Observation, differences
from harness.nat.packet import Endpoint

INSIDE = Endpoint("10.0.0.2", 5000)
endpoints = st.builds(Endpoint, st.ip_addresses().map(str), st.integers(0, 65535))
transactions = st.binary(min_size=12, max_size=12)


@given(transactions, endpoints, endpoints, endpoints)
def test_a_response_survives_its_encoding(tid: bytes, mapped: Endpoint, origin: Endpoint, other: Endpoint) -> None:
    response = stun.Response(tid, mapped, origin, other)
    assert stun.decode(response.encode()) == response


@given(transactions, st.booleans(), st.booleans(), st.integers(0, 65535))
def test_a_request_survives_its_encoding(tid: bytes, ip: bool, port: bool, response_port: int) -> None:
    request = stun.Request(tid, ip, port, response_port)
    assert stun.decode(request.encode()) == request


def test_the_xor_mapped_address_of_the_rfc_is_read() -> None:
    """RFC 5769 section 2.2, without its SOFTWARE, MESSAGE-INTEGRITY and FINGERPRINT."""
    message = bytes.fromhex("0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643")
    response = stun.decode(message)
    assert isinstance(response, stun.Response)
    assert response.mapped == Endpoint("192.0.2.1", 32853)


@given(st.binary(max_size=64))
def test_rubbish_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="STUN"):
        stun.decode(data)
        raise ValueError("a STUN message by chance")


def external(*ports: int) -> list[Endpoint]:
    return [Endpoint("45.45.1.1", port) for port in ports]


@pytest.mark.parametrize(
    ("seen", "mapping"),
    [
        ([INSIDE] * 4, Mapping.NONE),
        (external(1, 1, 1, 1), Mapping.EIM),
        (external(1, 1, 2, 2), Mapping.ADM),
        (external(1, 2, 3, 4), Mapping.APDM),
    ],
)
def test_mappings_are_classified(seen: list[Endpoint], mapping: Mapping) -> None:
    assert classify_mapping(INSIDE, seen) is mapping


@pytest.mark.parametrize("ports", [(1, 2, 1, 2), (1, 1, 1, 2), (1, 2, 3, 3), (1, 2, 2, 1)])
def test_what_fits_no_behaviour_is_an_error(ports: tuple[int, ...]) -> None:
    with pytest.raises(LabError, match="neither EIM nor ADM nor APDM"):
        classify_mapping(INSIDE, external(*ports))


@pytest.mark.parametrize(
    ("ports", "kind"),
    [
        (range(20000, 20024), PortAllocation.PRESERVING),
        ([*range(20000, 20010), 61000, *range(20011, 20024)], PortAllocation.PRESERVING),
        (range(30000, 30024), PortAllocation.SEQUENTIAL),
        (range(30000, 30096, 4), PortAllocation.SEQUENTIAL),
        (range(30096, 30000, -4), PortAllocation.SEQUENTIAL),
        ([30000 + n * n * 37 % 512 for n in range(24)], PortAllocation.BLOCK),
        ([1024 + n * n * 26959 % 64512 for n in range(24)], PortAllocation.RANDOM),
    ],
)
def test_allocations_are_classified(ports: list[int], kind: PortAllocation) -> None:
    pairs = [(20000 + n, Endpoint("45.45.1.1", port)) for n, port in enumerate(ports)]
    assert Allocation(pairs, len(pairs)).kind is kind


def test_a_lifetime_lies_between_alive_and_dead() -> None:
    assert bracket([1, 2, 3], [True, True, False]) == (2, 3)
    assert bracket([1, 2], [False, False]) == (0.0, 1)
    with pytest.raises(LabError, match="lived"):
        bracket([1, 2], [False, True])


def test_each_difference_names_its_axis_and_unseen_axes_name_none() -> None:
    declared = parse_nat({"alias": "symmetric", "udp_lifetime_s": 30})
    assert differences(declared, Observation()) == ()
    seen = Observation(mapping=Mapping.EIM, udp_lifetime_s=(10.0, 20.0), udp_refresh=Refresh.BOTH, session_cap=5)
    assert differences(declared, seen) == (
        "mapping: declared APDM, observed EIM",
        "udp_lifetime_s: declared 30, observed between 10.00 and 20.00",
        "session_cap: declared None, observed 5",
    )
