"""Asking the members of a pool, before the first trial, whether they may take any."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import LabError, OverlaybenchError
from harness.hosts.admission import Admitted, Own, not_ours, remedies, unlike
from harness.hosts.contract import HostFacts
from harness.hosts.member import Member, hand_over
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import STANDING, Calibrate, Facts, Install, Lacking, Plan
from harness.overlay.contract import Overlay

_LOG = logging.getLogger("overlaybench.hosts")

# A member, and what it is.
_Looked = tuple[Member, HostFacts]
_Result = TypeVar("_Result")


class Admitting:
    """What came of it: the hosts that were admitted, by name, and why others were not.

    Programs are installed on hosts only where the user allowed it (`install`).
    """

    def __init__(self, own: Own, overlays: Mapping[str, Overlay], *, install: bool = False) -> None:
        self._own, self._overlays, self._install = own, sorted(overlays), install
        self._remedies = remedies(overlays)
        self.admitted: dict[str, Admitted] = {}
        self.refused: dict[str, str] = {}
        self._standing: dict[str, str | None] = {}
        self._stands_for: dict[str, str] = {}

    async def admit(self, members: Sequence[Member], plan: Sequence[Plan]) -> None:
        """Ask all at once what they are, and each machine that runs our program whether it can run the plan.

        A machine with several members is asked by one of them after the other, until one can; the others are refused.
        Of the machines that can, the most that are alike are admitted, as far as they measure right; the first that are
        named where several are as many. Where none of them does, it is the next ones' turn.
        """
        try:
            await self._admit(members, plan)
        finally:
            await asyncio.gather(*(member.close() for member in members), return_exceptions=True)

    async def _admit(self, members: Sequence[Member], plan: Sequence[Plan]) -> None:
        looked = await _together(self._first_look(member) for member in members)
        ours = [(member, facts) for member, facts in zip(members, looked, strict=True) if facts is not None]
        machines = self._by_machine(ours)
        fit = await _together(self._first_fit(candidates, plan) for candidates in machines)
        for group in sorted(self._alike([one for one in fit if one is not None]), key=len, reverse=True):
            first = next(iter(self.admitted.values()), None)
            if first is not None:
                self.refused |= {member.name: "; ".join(self._unlike(facts, first.facts)) for member, facts in group}
                continue
            found = await _together(self._second_look(member) for member, _ in group)
            for (member, facts), calibration in zip(group, found, strict=True):
                if calibration is not None:
                    self.admitted[member.name] = Admitted(facts, calibration)
        for name, chosen in self._stands_for.items():
            if chosen not in self.admitted:
                self.refused[name] = f"it is the same machine as {chosen}, which was asked in its place and is refused"

    async def facts_of(self, member: Member) -> HostFacts:
        """Return what a member is; it is called as the pool calls it.

        Raises:
            HostLost: it was lost meanwhile.
            LabError: it tells what a host of this program does not tell.
        """
        try:
            said = await member.ask(Facts(overlays=self._overlays))
        except HostLost:
            raise
        except LabError as error:  # a host of our program answers this one whatever it lacks
            text = f"it does not say what it is, as a host at another commit than {self._own.commit} may not ({error})"
            raise LabError(text) from None
        where = said.pop(STANDING, None)
        self._standing[member.name] = where if isinstance(where, str) else None
        try:
            told = HostFacts.model_validate(said)
        except ValidationError:  # a host of some other day's program
            commit = str(said.get("commit"))[:80]
            text = f"its facts are of another program: overlaybench there is at commit {commit}, here at"
            raise LabError(f"{text} {self._own.commit}") from None
        return told.model_copy(update={"name": member.name})

    def _unlike(self, facts: HostFacts, first: HostFacts) -> list[str]:
        return unlike(facts, first, self._remedies)

    def _by_machine(self, members: Sequence[_Looked]) -> list[list[_Looked]]:
        """Return the members on each machine; one that does not say where it is has a machine of its own."""
        found: dict[tuple[str | None, str], list[_Looked]] = {}
        for member, facts in members:
            machine = self._standing[member.name]
            found.setdefault((machine, member.name if machine is None else ""), []).append((member, facts))
        return list(found.values())

    def _alike(self, members: Sequence[_Looked]) -> list[list[_Looked]]:
        """Return the groups of members that measure alike, in the order of their first ones."""
        groups: list[list[_Looked]] = []
        for member, facts in members:
            group = next((group for group in groups if not self._unlike(facts, group[0][1])), None)
            if group is None:
                groups.append(group := [])
            group.append((member, facts))
        return groups

    async def _first_look(self, member: Member) -> HostFacts | None:
        """Return the facts of a host of our program."""
        try:
            await member.open()
            facts = await self.facts_of(member)
        except OverlaybenchError as error:
            self.refused[member.name] = str(error)
            return None
        if wrong := not_ours(facts, self._own):
            self.refused[member.name] = "; ".join(wrong)
            return None
        return facts

    async def _first_fit(self, candidates: Sequence[_Looked], plan: Sequence[Plan]) -> _Looked | None:
        """Return the first member on a machine that can run the plan, asked one at a time.

        Two would install there at once, and would load it at once later, each believing that it is alone.
        """
        for number, (member, facts) in enumerate(candidates):
            fit = await self._fit(member, facts, plan)
            if fit is not None:
                same = f"it is the same machine as {member.name}, which would be measured twice at once"
                others = [other.name for other, _ in candidates[number + 1 :]]
                self.refused |= dict.fromkeys(others, same)
                self._stands_for |= dict.fromkeys(others, member.name)
                return member, fit
        return None

    async def _fit(self, member: Member, facts: HostFacts, plan: Sequence[Plan]) -> HostFacts | None:
        """Return the facts of a host that can run the plan, when it has what it lacked."""
        try:
            if self._install and await self._has_installed(member):
                facts = await self.facts_of(member)
            await hand_over(member, plan)
        except OverlaybenchError as error:
            self.refused[member.name] = str(error)
            return None
        return facts

    async def _has_installed(self, member: Member) -> bool:
        """Have a host get what it lacks, and tell whether it lacked anything.

        Raises:
            LabError: it cannot get all of it.
        """
        lacking = await member.ask(Lacking(overlays=self._overlays))
        if not lacking:
            return False
        names = sorted(lacking)
        _LOG.warning("host %s lacks programs of %s, which are installed there", member.name, ", ".join(names))
        failed = (await member.ask(Install(overlays=names))).get("failed")
        if isinstance(failed, dict) and failed:
            said = "; ".join(f"{what}: {why}" for what, why in failed.items())
            raise LabError(f"what it lacks could not be installed there ({said})")
        return True

    async def _second_look(self, member: Member) -> dict[str, Any] | None:
        try:
            calibration = await member.ask(Calibrate())
        except OverlaybenchError as error:
            self.refused[member.name] = str(error)
            return None
        if calibration.get("ok"):
            return calibration
        wrong = [str(one["wrong"]) for one in calibration.values() if isinstance(one, dict) and one.get("wrong")]
        self.refused[member.name] = f"its calibration failed: {'; '.join(wrong)}"
        return None


async def _together(works: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Return what all come to; where one of them raises, the others have ended, and use no member, by then."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_lacking(members: Sequence[Member], question: Lacking) -> dict[str, str]:
    """Return what every member that answers lacks: by overlay, what the first of them said."""

    async def one(member: Member) -> dict[str, Any] | None:
        try:
            await member.open()
            return await member.ask(question)
        except OverlaybenchError:
            return None  # it is refused later, and told why
        finally:
            await member.close()

    said = [found for found in await _together(map(one, members)) if found is not None]
    return {name: str(why) for name, why in said[0].items() if all(name in one for one in said)} if said else {}
