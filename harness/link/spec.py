"""The link model as a specification: what happens to each frame of one direction, and when (pure).

`harness/link/userlink/way.c` says the same in C; tests feed both the same frames and want the same fates. The
pure-Python helper runs this very code. Times are whole ns on any clock that never goes back.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Final

from harness.link.frames import Counts, Frame, Stream
from harness.link.quantiles import QUANTILE_SHIFT
from harness.link.settings import LossKind, QueueKind, Settings

ETHERNET_HEADER_BYTES: Final = 14
OPPORTUNITY_BYTES: Final = 1500


class LinkDirection:
    """One direction: `arrive` with frames in order of time, `due` for those whose time has come."""

    def __init__(self, settings: Settings, seeds: tuple[int, ...], epoch: int = 0) -> None:
        self.settings = settings
        self.counts = Counts()
        self._loss, self._duplicate, self._corrupt, self._jitter, self._reorder = map(Stream, seeds)
        self._number = 0
        self._last_loss: bool | None = None
        self._last_reorder: bool | None = None
        self._last_jitter: int | None = None
        self._bad_state = False
        self._loss_index = self._jitter_index = 0
        self.epoch = epoch
        self._free_at = 0
        self._last_deliver = 0
        self._opportunity = -1
        self._opportunity_left = 0
        self._held: deque[tuple[int, int]] = deque()
        self._held_bytes = 0
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._first_above = self._drop_next = self._drop_count = self._last_drop_count = 0
        self._dropping = False
        self._line: list[Frame] = []

    def change(self, settings: Settings, now: int) -> None:
        """Apply new settings from `now` on; frames that have left the transmitter keep their times."""
        self.advance(now)
        if settings.queue_kind != QueueKind.CODEL:
            while self._waiting:
                self._serve(self._turn())
        if settings.rate_table != self.settings.rate_table:
            self._opportunity, self._opportunity_left = -1, 0
        if settings.loss_table != self.settings.loss_table:
            self._loss_index = 0
        if settings.jitter_table != self.settings.jitter_table:
            self._jitter_index = 0
        self._last_loss = self._last_jitter = self._last_reorder = None
        self.settings = settings

    def arrive(self, now: int, length: int, payload: bytes = b"") -> None:
        """Take in a frame of `length` bytes (Ethernet header included)."""
        self.advance(now)
        frame = Frame(0, self._number, now, length, payload=payload)
        self._number += 1
        self.counts.received += 1
        if length - _tag_bytes(payload) > self.settings.mtu + ETHERNET_HEADER_BYTES:
            self.counts.oversize_drops += 1
            return
        if self._is_lost():
            self.counts.lost += 1
            return
        twice = bool(self.settings.duplicate) and self._duplicate.chance(self.settings.duplicate)
        if (
            self.settings.corrupt
            and self._corrupt.chance(self.settings.corrupt)
            and frame.length > ETHERNET_HEADER_BYTES
        ):
            frame.flipped_bit = self._corrupt.draw() % ((frame.length - ETHERNET_HEADER_BYTES) * 8)
            self.counts.corrupted += 1
        self._enter(frame)
        if twice:
            self.counts.duplicated += 1
            self._enter(Frame(0, frame.number, now, length, frame.flipped_bit, payload))

    def advance(self, now: int) -> None:
        """Move virtual time on; needed with CoDel, where a frame's fate is known only when its turn comes."""
        while self._waiting and self._turn() <= now:
            self._serve(self._turn())

    def next_time(self) -> int | None:
        """Return when something happens next, None for never."""
        times = [self._line[0].deliver] if self._line else []
        if self._waiting:
            times.append(self._turn())
        return min(times, default=None)

    def due(self, now: int) -> Iterator[Frame]:
        """Yield the frames to be delivered at or before `now`, in order; they leave the model."""
        self.advance(now)
        while self._line and self._line[0].deliver <= now:
            self.counts.sent += 1
            yield heapq.heappop(self._line)

    def _is_lost(self) -> bool:
        s = self.settings
        if s.loss_kind == LossKind.BERNOULLI:
            # With correlation a frame repeats the fate of the one before it: the DAR(1) process.
            if s.loss_repeat and self._last_loss is not None and self._loss.chance(s.loss_repeat):
                return self._last_loss
            self._last_loss = self._loss.chance(s.loss)
            return self._last_loss
        if s.loss_kind == LossKind.GILBERT_ELLIOTT:
            if self._loss.chance(s.recover if self._bad_state else s.worsen):
                self._bad_state = not self._bad_state
            return self._loss.chance(s.loss_in_bad if self._bad_state else s.loss)
        if s.loss_kind == LossKind.TRACE:
            self._loss_index += 1
            return bool(s.loss_table[(self._loss_index - 1) % len(s.loss_table)])
        return False

    def _goes_ahead(self) -> bool:
        s = self.settings
        repeats = s.reorder_repeat and self._last_reorder is not None and self._reorder.chance(s.reorder_repeat)
        if not repeats:
            self._last_reorder = self._reorder.chance(s.reorder)
        return bool(self._last_reorder)

    def _offset(self) -> int:
        s = self.settings
        if not s.jitter_table:
            return 0
        if s.jitter_played:
            self._jitter_index += 1
            return s.jitter_table[(self._jitter_index - 1) % len(s.jitter_table)]
        if s.jitter_repeat and self._last_jitter is not None and self._jitter.chance(s.jitter_repeat):
            return self._last_jitter
        self._last_jitter = (s.jitter_table[self._jitter.draw() >> 52] * s.jitter) >> QUANTILE_SHIFT
        return self._last_jitter

    def _enter(self, frame: Frame) -> None:
        kind = self.settings.queue_kind
        if kind == QueueKind.NONE:
            self._depart(frame, frame.arrival)
        elif kind == QueueKind.DROPTAIL:
            while self._held and self._held[0][0] <= frame.arrival:
                self._held_bytes -= self._held.popleft()[1]
            if self._full(self._held_bytes, len(self._held), frame.length):
                self.counts.queue_drops += 1
                return
            depart = self._transmit(max(self._free_at, frame.arrival), frame.length)
            self._held.append((depart, frame.length))
            self._held_bytes += frame.length
            self._depart(frame, depart)
        elif self._full(self._waiting_bytes, len(self._waiting), frame.length):
            self.counts.queue_drops += 1
        else:
            self._waiting.append(frame)
            self._waiting_bytes += frame.length
            self.advance(frame.arrival)

    def _full(self, held_bytes: int, held_packets: int, length: int) -> bool:
        s = self.settings
        return bool(
            (s.limit_bytes and held_bytes + length > s.limit_bytes)
            or (s.limit_packets and held_packets + 1 > s.limit_packets)
        )

    def _transmit(self, start: int, length: int) -> int:
        if self.settings.rate_table:
            self._free_at = self._transmit_by_trace(start, length)
        else:
            self._free_at = start + length * 8_000_000_000 // self.settings.rate
        return self._free_at

    def _transmit_by_trace(self, start: int, length: int) -> int:
        table = self.settings.rate_table
        count, period = len(table), table[-1]

        def time_of(index: int) -> int:
            return self.epoch + index // count * period + table[index % count]

        need = max(length - ETHERNET_HEADER_BYTES, 1)
        if not self._opportunity_left or time_of(self._opportunity) < start:
            since = start - self.epoch
            cycle = (since - 1) // period if since > 0 else 0
            first = cycle * count + min(bisect_left(table, since - cycle * period), count - 1)
            # A used-up opportunity must not be used again by a frame that comes at the same instant.
            if not self._opportunity_left and first <= self._opportunity:
                first = self._opportunity + 1
            self._opportunity, self._opportunity_left = first, OPPORTUNITY_BYTES
        while need > self._opportunity_left:
            need -= self._opportunity_left
            self._opportunity += 1
            self._opportunity_left = OPPORTUNITY_BYTES
        self._opportunity_left -= need
        return time_of(self._opportunity)

    def _depart(self, frame: Frame, depart: int) -> None:
        s = self.settings
        delay = s.delay + self._offset()
        if s.reorder and self._goes_ahead():
            self.counts.reordered += 1
            delay = 0
        frame.deliver = depart + max(delay, 0)
        if not s.reorder:
            frame.deliver = max(frame.deliver, self._last_deliver)
        self._last_deliver = max(self._last_deliver, frame.deliver)
        heapq.heappush(self._line, frame)

    # CoDel, RFC 8289, section 5, in virtual time.

    def _turn(self) -> int:
        return max(self._free_at, self._waiting[0].arrival)

    def _serve(self, turn: int) -> None:
        frame = self._dequeue(turn)
        if frame is not None:
            self._depart(frame, self._transmit(turn, frame.length))

    def _control_law(self, time: int) -> int:
        return time + int(self.settings.codel_interval / math.sqrt(self._drop_count))

    def _do_dequeue(self, now: int) -> tuple[Frame | None, bool]:
        if not self._waiting:
            self._first_above = 0
            return None, False
        frame = self._waiting.popleft()
        self._waiting_bytes -= frame.length
        below = now - frame.arrival < self.settings.codel_target
        if below or self._waiting_bytes <= self.settings.mtu + ETHERNET_HEADER_BYTES:
            self._first_above = 0
            return frame, False
        if not self._first_above:
            self._first_above = now + self.settings.codel_interval
            return frame, False
        return frame, now >= self._first_above

    def _dequeue(self, now: int) -> Frame | None:
        frame, ok_to_drop = self._do_dequeue(now)
        if self._dropping:
            self._dropping = ok_to_drop
            while self._dropping and now >= self._drop_next:
                self.counts.queue_drops += 1
                self._drop_count += 1
                frame, ok_to_drop = self._do_dequeue(now)
                if ok_to_drop:
                    self._drop_next = self._control_law(self._drop_next)
                else:
                    self._dropping = False
        elif ok_to_drop:
            self.counts.queue_drops += 1
            frame, _ = self._do_dequeue(now)
            self._dropping = True
            delta = self._drop_count - self._last_drop_count
            recent = now - self._drop_next < 16 * self.settings.codel_interval
            self._drop_count = delta if delta > 1 and recent else 1
            self._drop_next = self._control_law(now)
            self._last_drop_count = self._drop_count
        return frame


def _tag_bytes(payload: bytes) -> int:
    """Return the bytes of VLAN tags, two at most, which do not count against the MTU (IEEE 802.3, clause 3.2.7)."""
    tags = 0
    while tags < 8 and payload[12 + tags : 14 + tags] in (b"\x81\x00", b"\x88\xa8"):
        tags += 4
    return tags
