"""The bodies of HELLO, UPDATE and PUNCH as values: what is not as it should be never gets past here.

What they mean is told in `core/coordination.py` and `core/punching.py`. Unknown fields are left alone, for those who
come after us. One candidate or entry that makes no sense is left out, and the others count; all else makes the whole
message a MalformedMessage.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire import control, fields
from overlays.refmesh.wire.control import Endpoint
from overlays.refmesh.wire.fields import U32, U63

MAX_CERTIFICATE = 4096
MAX_CANDIDATES, MAX_ENTRIES, MAX_PARTS, MAX_PORTS = 64, 512, 256, 16
_MAX_KIND, _MAX_EPOCH, _MAX_PART = 20, 64, 4096

Candidate = tuple[str, str, int]
"""Kind, host and port."""


class Hello(NamedTuple):
    """What a node tells a server."""

    seq: int
    candidates: list[Candidate]
    direct: bool
    hub: bool
    epoch: str
    rev: int
    have: list[tuple[int, int]]
    quiet: bool


class Member(NamedTuple):
    """An entry of an UPDATE about a member."""

    certificate: str
    candidates: list[Candidate]
    relay: int
    online: bool
    direct: bool
    seen: Endpoint | None


class PolicyPart(NamedTuple):
    """An entry of an UPDATE with a part of the network document."""

    version: int
    part: int
    parts: int
    text: str


class Update(NamedTuple):
    """What a server tells a node."""

    seq: int
    epoch: str
    start: int
    end: int
    you: Endpoint | None
    hub: bool
    entries: list[Member | PolicyPart]


class Punch(NamedTuple):
    """What one node tells another through a server; `other` is the relay number of the one or the other."""

    other: int
    n: int
    ask: bool
    dependent: bool
    host: str
    ports: list[int]

    def told(self, sender: int) -> dict[str, Any]:
        """Return the message as a server passes it on, from the member with this relay number."""
        return {"from": sender} | {field: getattr(self, field) for field in ("n", "ask", "dependent", "host", "ports")}


def read_hello(data: bytes) -> Hello:
    """Return the body of a HELLO."""
    body = fields.load_object(data)
    return Hello(
        seq=fields.number(body, "seq", 0, U63),
        candidates=_candidates(body),
        direct=fields.flag(body, "direct"),
        hub=fields.flag(body, "hub"),
        epoch=fields.text(body, "epoch", _MAX_EPOCH),
        rev=fields.number(body, "rev", 0, U63),
        have=_spans(body) if "have" in body else [],
        quiet="quiet" in body and fields.flag(body, "quiet"),
    )


def read_update(data: bytes) -> Update:
    """Return the body of an UPDATE."""
    body = fields.load_object(data)
    you = fields.take(body, "you")
    start, end = fields.number(body, "from", 0, U63), fields.number(body, "to", 0, U63)
    if start > end:
        raise MalformedMessage("an UPDATE that goes backwards")
    return Update(
        seq=fields.number(body, "seq", 0, U63),
        epoch=fields.text(body, "epoch", _MAX_EPOCH),
        start=start,
        end=end,
        you=None if you is None or (isinstance(you, list) and you[:1] == ["tls"]) else control.valid_endpoint(you),
        hub=fields.flag(body, "hub"),
        entries=[entry for entry in map(_entry, fields.items(body, "entries", MAX_ENTRIES)) if entry is not None],
    )


def read_punch(data: bytes, other: str) -> Punch:
    """Return the body of a PUNCH; `other` is `to` where a server reads it and `from` where a node does."""
    body = fields.load_object(data)
    host, ports = fields.text(body, "host", 50), fields.items(body, "ports", MAX_PORTS)
    if host or ports:
        for port in ports or [1]:
            host, _ = control.valid_candidate((host, port))
    return Punch(
        other=fields.number(body, other, 1, U32),
        n=fields.number(body, "n", 0, U32),
        ask=fields.flag(body, "ask"),
        dependent=fields.flag(body, "dependent"),
        host=host,
        ports=ports,
    )


def _candidates(body: dict[str, Any]) -> list[Candidate]:
    found = []
    for value in fields.items(body, "candidates", MAX_CANDIDATES):
        try:
            kind, host, port = value
            if type(kind) is str and len(kind) <= _MAX_KIND:
                found.append((kind, *control.valid_candidate((host, port))))
        except (MalformedMessage, ValueError, TypeError):
            continue
    return found


def _spans(body: dict[str, Any]) -> list[tuple[int, int]]:
    found = []
    for value in fields.items(body, "have", MAX_CANDIDATES):
        if type(value) is not list or [type(end) for end in value] != [int, int] or not 0 <= value[0] < value[1] <= U63:
            raise MalformedMessage("have is no list of spans")
        found.append((value[0], value[1]))
    return found


def _entry(value: Any) -> Member | PolicyPart | None:
    if type(value) is not dict:
        return None
    try:
        if "policy" in value:
            return PolicyPart(
                version=fields.number(value, "policy", 0, U63),
                part=fields.number(value, "part", 0, MAX_PARTS - 1),
                parts=fields.number(value, "parts", 1, MAX_PARTS),
                text=fields.text(value, "text", _MAX_PART),
            )
        return Member(
            certificate=fields.text(value, "certificate", MAX_CERTIFICATE),
            candidates=_candidates(value),
            relay=fields.number(value, "relay", 1, U32),
            online=fields.flag(value, "online"),
            direct=fields.flag(value, "direct"),
            seen=control.valid_candidate(value["seen"]) if value.get("seen") is not None else None,
        )
    except MalformedMessage:
        return None
