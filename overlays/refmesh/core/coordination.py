"""HELLO and UPDATE: how nodes learn of each other. Both are JSON in control frames, inside the session with a server.

HELLO, node to server, repeated until answered and then every 20 s (which also keeps the NAT's mapping):

    {"seq": 7, "candidates": [["host", "192.168.1.2", 40000], ...], "direct": true, "hub": false,
     "epoch": "a1b2...", "rev": 12, "have": [[14, 16]], "quiet": false}

UPDATE, server to node, at once when something has changed, and as the answer to a HELLO:

    {"seq": 7, "epoch": "a1b2...", "from": 12, "to": 14, "you": ["203.0.113.5", 61000], "relay": 77, "hub": false,
     "entries": [{"certificate": "...", "candidates": [...], "relay": 78, "online": true, "direct": true, "hub": false,
                  "seen": ["203.0.113.6", 41000]},
                 {"policy": 4, "part": 0, "parts": 2, "text": "..."}]}

The directory is a log: each change has a revision, and an entry keeps only its newest. An UPDATE carries all changes
after `from` up to `to`. Whatever order UPDATEs come in, a node takes what they say, but nothing of a member that a
later one has told of; in a HELLO (`quiet`: it wants no answer) it says up to where it has everything (`rev`) and what
it has beyond (`have`). The server has at most `WINDOW` UPDATEs on the way to a member, sends on as they are
acknowledged, and sends those again that are not, in time. So a HELLO is answered by one UPDATE and what the window
leaves room for, a lost one costs a round trip, and a server that starts again (another `epoch`) is simply asked from 0.
Nothing in it is believed for being in it: certificates and policy are signed by the authority. `seen` is where the
server itself sees the member, which no member can choose: only there is it punched at.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from overlays.refmesh.wire.bodies import PolicyPart
from overlays.refmesh.wire.control import MAX_BODY

HELLO_INTERVAL_S = 20.0
HELLO_RETRY_S = (0.2, 0.4, 0.8, 1.6)
HELLO_LOST_AFTER = 5
OFFLINE_AFTER_S = 70.0
OVERTAKEN_S = 2.0
"""What says less than a HELLO that came up to so long before has been overtaken by it on the way."""
UPDATE_RETRY_S = 0.3
UPDATE_RETRY_MAX_S = 5.0
GATHER_S, GATHER_PER_MEMBER_S = 0.05, 0.005
"""UPDATEs of news to a member are so far apart: by the first, or by the second for each member if that is more. Where
fifty nodes start at once, one UPDATE tells of many, and the server sends 200 a second in all."""
WINDOW = 16
"""UPDATEs on the way to one member: some 19 KB, about what TCP begins with (RFC 6928)."""
MAX_SPANS = 16
"""Spans of revisions that a HELLO tells of; a node drops what would need more."""
MAX_CANDIDATES_TOLD = 12
"""Candidates of a member that a server passes on, and that a node tells it."""
_SLACK = 64
POLICY_PART = 900
"""Characters of a network document in one entry."""


class Log:
    """The server's directory as a log of entries with revisions."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, str]] = {}
        self._order: list[tuple[int, str]] = []
        """Revision and key of every change, in order; those that an entry has outlived are passed over."""
        self.revision = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: str, entry: dict[str, Any]) -> bool:
        """Add or replace an entry; False, and no new revision, when it says the same as before."""
        text = json.dumps(entry, separators=(",", ":"))
        if key in self._entries and self._entries[key][1] == text:
            return False
        self.revision += 1
        self._entries[key] = (self.revision, text)
        self._order.append((self.revision, key))
        if len(self._order) > 2 * len(self._entries) + _SLACK:
            self._order = [(revision, key) for revision, key in self._order if self._holds(revision, key)]
        return True

    def drop(self, key: str) -> None:
        """Remove an entry; those who have it keep it."""
        self._entries.pop(key, None)

    def batches(self, after: int, until: int) -> Iterator[tuple[int, int, str]]:
        """All above revision `after` up to `until`, as (from, to, entries as JSON) that each fit into a datagram.

        Only what is taken of it is made: a member's window has room for a few of many.
        """
        start, entries, size = after, list[str](), 0
        for place in range(bisect_right(self._order, after, key=itemgetter(0)), len(self._order)):
            revision, key = self._order[place]
            if revision > until:
                break
            if not self._holds(revision, key):
                continue
            text = self._entries[key][1]
            if entries and size + len(text) + 1 > MAX_BODY - 200:
                yield start, revision - 1, ",".join(entries)
                start, entries, size = revision - 1, [], 0
            entries.append(text)
            size += len(text) + 1
        if entries or start < until:
            yield start, until, ",".join(entries)

    def _holds(self, revision: int, key: str) -> bool:
        return self._entries.get(key, (0, ""))[0] == revision


class PolicyParts:
    """Puts a network document together again from its entries."""

    def __init__(self) -> None:
        self._whole = (0, 0)
        self._parts: dict[int, str] = {}

    def add(self, entry: PolicyPart) -> str | None:
        """Take one part; return the whole text with the last one."""
        if entry.version < self._whole[0]:
            return None  # overtaken by a part of a newer one
        if (entry.version, entry.parts) != self._whole:
            self._whole, self._parts = (entry.version, entry.parts), {}
        if entry.part < entry.parts:
            self._parts[entry.part] = entry.text
        return "".join(self._parts[i] for i in range(entry.parts)) if len(self._parts) == entry.parts else None


def policy_entries(version: int, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return a network document as log entries with their keys."""
    parts = [text[i : i + POLICY_PART] for i in range(0, len(text), POLICY_PART)]
    for i, part in enumerate(parts):
        yield f"policy {i}", {"policy": version, "part": i, "parts": len(parts), "text": part}
