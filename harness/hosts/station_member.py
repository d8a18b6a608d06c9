"""A host that is reached by a command which leads to its station: none for this machine, `ssh`, `ip netns exec` ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.hosts.contract import OnStep
from harness.hosts.patience import silence_s
from harness.hosts.station_client import HostLost, StationClient
from harness.hosts.station_messages import Question
from harness.trial.messages import Done

MODULE = "harness.hosts.station"


class StationMember:
    """A member of a pool behind a station of its own."""

    def __init__(self, name: str, slots: int, argv: Sequence[str], label: str) -> None:
        self.name, self.slots = name, slots
        self._silence_s = silence_s()
        options = ("--jobs", str(slots), f"--label={label}", "--silence-s", f"{self._silence_s:g}")
        self._argv = (*argv, *options)
        self._client: StationClient | None = None

    async def open(self) -> None:
        """Start the station again."""
        await self.close()
        self._client = await StationClient.start(self._argv, self.name, self._silence_s)

    async def ask(self, question: Question) -> dict[str, Any]:
        """Pass it on."""
        return await self._there.ask(question)

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        """Pass it on."""
        return await self._there.run(trial, on_step)

    async def close(self) -> None:
        """End the station."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def _there(self) -> StationClient:
        if self._client is None:
            raise HostLost(f"host {self.name}: it is closed")
        return self._client
