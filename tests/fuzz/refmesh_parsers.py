"""Coverage-guided: whatever the bytes, a parser of refmesh returns, or raises what it says that it raises.

    make fuzz, or    python tests/fuzz/refmesh_parsers.py [libFuzzer's options, such as -max_total_time=600]

Needs atheris (`pip install -e .[fuzz]`), which watches which branches an input reaches and goes on from there.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["overlays.refmesh"]):
    from overlays.refmesh import credentials
    from overlays.refmesh.core import bulk, headers, offload, packets, switch
    from overlays.refmesh.core.access import Access, parse_rules
    from overlays.refmesh.errors import CredentialError, MalformedMessage
    from overlays.refmesh.wire import bodies, control, fields, stun

RULES = parse_rules([{"from": "a", "to": "b", "protocol": "tcp", "ports": "80"}, {"from": "b", "to": "a"}])
AUTHORITY = bytes(32)


def bodies_of(data: bytes) -> None:
    """Bodies of control frames."""
    for read in (bodies.read_hello, bodies.read_update, lambda body: bodies.read_punch(body, "to"), fields.load_object):
        with contextlib.suppress(MalformedMessage):
            read(data)
    with contextlib.suppress(MalformedMessage):
        control.read(data)
        control.unpack_endpoint(data)


def stun_of(data: bytes) -> None:
    """STUN."""
    if stun.is_stun(data):
        stun.read_request(data)
        with contextlib.suppress(MalformedMessage):
            stun.read_response(data)


def packets_of(data: bytes) -> None:
    """Inner packets and frames, and the rules that look at them."""
    headers.read(data)
    packets.trim(data)
    switch.senders(data)
    access = Access(RULES, ("a",), ("b",))
    for now in (0.0, 1.0):
        access.outbound(data, now)
        access.inbound(data, now)
    list(offload.merge([data, data]))


def chunks_of(data: bytes) -> None:
    """Rebuild opened chunks of the bulk framing, cut at whatever length the first octet says."""
    size = data[0] * 8 + 1 if data else 1
    for rebuilt in bulk.rebuild([data[i : i + size] for i in range(1, len(data), size)]):
        assert rebuilt.length == sum(map(len, rebuilt.buffers[1:]))


def texts_of(data: bytes) -> None:
    """Certificates and network documents."""
    text = data.decode("latin-1")
    for read in (lambda: credentials.verify(text, AUTHORITY, 0.0), lambda: credentials.verify_policy(text, AUTHORITY)):
        with contextlib.suppress(CredentialError):
            read()


PARSERS = (bodies_of, stun_of, packets_of, chunks_of, texts_of)


def one_input(data: bytes) -> None:
    """Give an input to the parser that its first octet says."""
    if data:
        PARSERS[data[0] % len(PARSERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
