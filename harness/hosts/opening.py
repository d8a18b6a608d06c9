"""The members of a pool, each opened when it gets its first trial and again when it was lost, by one at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from harness.errors import LabError, MissingPrerequisite
from harness.hosts.member import Member, hand_over
from harness.hosts.patience import DEFAULT_S, silence_s
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Plan


class Opening:
    """Which members are open, and for the how manieth time."""

    def __init__(self, members: Mapping[str, Member], check: Callable[[Member], Awaitable[None]]) -> None:
        """Make it; `check` looks at a member that has just been opened, and raises HostLost where it is not fit."""
        self._members, self._check = members, check
        self._opened: set[str] = set()
        self._times: Counter[str] = Counter()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self.plan: list[Plan] = []

    def times(self, name: str) -> int:
        """Return how often a member has been opened: what began before the last time has ended with it."""
        return self._times[name]

    def lost(self, name: str) -> None:
        """Note that a member must be opened again before its next trial."""
        self._opened.discard(name)

    async def reach(self, name: str) -> None:
        """Open a member that is not open; who comes while another opens it waits for that one.

        Raises:
            HostLost: it cannot be reached, or it is no longer what it was when it was admitted.
        """
        if name in self._opened:
            return
        if name not in self._under_way:
            task = self._under_way[name] = asyncio.create_task(self._open(name))
            task.add_done_callback(lambda ended: self._ended(name, ended))
        await asyncio.shield(self._under_way[name])

    async def close(self) -> None:
        """Let all be opened anew; those that are opened just now are given up."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._opened.clear()

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            task.exception()  # who waited for it may be gone, and then Python would complain of it

    async def _open(self, name: str) -> None:
        self._times[name] += 1
        patience_s = max(2 * silence_s(), DEFAULT_S + silence_s())  # its first word may take DEFAULT_S
        try:
            await asyncio.wait_for(self._ready(self._members[name]), patience_s)
        except HostLost:
            raise
        except TimeoutError:
            raise HostLost(f"host {name}: it was not ready within {patience_s:g} s") from None
        except (LabError, MissingPrerequisite) as error:
            raise HostLost(f"host {name}: {error}") from None
        self._opened.add(name)

    async def _ready(self, member: Member) -> None:
        await member.open()
        await hand_over(member, self.plan)
        await self._check(member)
