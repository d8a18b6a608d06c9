"""Several hosts as one: they are admitted, given trials block by block, and what a lost one ran is run again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import LabError, MissingPrerequisite, OverlaybenchError, StorageError
from harness.hosts.admission import Admitted, Own
from harness.hosts.admitting import Admitting, all_lacking
from harness.hosts.contract import HostFacts, OnStep
from harness.hosts.member import Member, heard_from, in_pieces, kept, with_earlier
from harness.hosts.opening import Opening
from harness.hosts.patience import silence_s
from harness.hosts.placement import Placement
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Lacking, Measured
from harness.machine.describe import code_digest, harness_commit
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.results.times import utc_now
from harness.trial.messages import Done, Job

# A trial is given up when it has lost its host so often: it may be what ends them.
MOST_LOSSES: Final = 20
LONGEST_PAUSE_S: Final = 30.0
_MEASURED_S: Final = 15.0
_LOG = logging.getLogger("overlaybench.hosts")


class Pool:
    """The hosts of one run; see `harness.hosts.contract.ManyHosts`.

    `released` is called when the run is over. `install` allows to install what a host lacks.
    """

    def __init__(
        self, members: Sequence[Member], *, released: Callable[[], None] = lambda: None, install: bool = False
    ) -> None:
        self._members = {member.name: member for member in members}
        self._released, self._install = released, install
        self._admitting: Admitting | None = None
        self._opening = Opening(self._members, self._require_same)
        self._placement = Placement({})
        self._again: list[tuple[Trial, asyncio.Future[None]]] = []
        self._reviving: dict[str, asyncio.Task[None]] = {}
        self._change: asyncio.Event | None = None
        self._down_since: float | None = None
        self._gone: BaseException | None = None
        self._ran_on: dict[str, str] = {}
        self._lost_times: Counter[str] = Counter()
        self._losses: list[dict[str, str]] = []
        self._measured: dict[str, Any] = {}

    @property
    def slots(self) -> int:
        """As many as all hosts take together."""
        return sum(member.slots for member in self._members.values())

    # Before the first trial.

    def lacking(self, overlays: Mapping[str, Overlay]) -> dict[str, str]:
        """Return what no host has, nor is to get; one that alone lacks something is refused."""
        question = Lacking(overlays=sorted(overlays), out_of_reach=self._install)
        return asyncio.run(all_lacking(list(self._members.values()), question))

    def require(self, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> None:
        """Admit the hosts: the same program and subjects, able to run the plan, with NATs and links that are right."""
        plan = self._opening.plan = list(in_pieces(trials))
        commit = harness_commit()
        own = Own(commit, code_digest(commit), platform.python_version())
        self._admitting = Admitting(own, overlays, install=self._install)
        asyncio.run(self._admitting.admit(list(self._members.values()), plan))
        admitted, refused = self._admitting.admitted, self._admitting.refused
        for name, why in refused.items():
            _LOG.warning("host %s takes no trial: %s", name, why)
        if not admitted:
            raise MissingPrerequisite(
                f"a host that can take trials ({'; '.join(f'{name}: {why}' for name, why in refused.items())})",
                "fix one of them, or leave out --hosts",
            )
        self._placement = Placement({name: self._members[name].slots for name in admitted})

    def resume(self, ran: Iterable[tuple[Trial, str]]) -> None:
        """See `ManyHosts`."""
        names = {one.facts.id: name for name, one in self._admitted.items()}
        self._placement.resume((trial, names.get(host, f"{host} of an earlier part")) for trial, host in ran)

    def describe(self) -> HostFacts:
        """Return the facts of the first host that was admitted: programs and commit are all others' too."""
        return next(iter(self._admitted.values())).facts

    def account(self) -> dict[str, Any]:
        """See `ManyHosts`."""
        found: dict[str, Any] = {"hosts": {one.facts.id: one.described() for one in self._admitted.values()}}
        if self._admitting is not None and self._admitting.refused:
            found["hosts_refused"] = dict(self._admitting.refused)
        if self._losses:
            found["hosts_lost"] = list(self._losses)
        return found

    @contextlib.contextmanager
    def measuring(self) -> Iterator[dict[str, Any]]:
        """Tell of each host, by its name, what became of its processors."""
        found: dict[str, Any] = {}
        yield found
        if self._measured:
            found["hosts"] = dict(self._measured)

    # While trials run.

    def choose(self, waiting: Iterable[Trial]) -> Trial | None:
        """Give a place to the first trial that can run, after those that lost theirs; HostLost: no host is left."""
        if self._gone is not None:
            raise self._gone
        self._serve_again()
        return self._placement.choose(waiting)

    def leave(self, trial: Trial) -> None:
        """Give its place back."""
        self._placement.leave(trial.id)
        self._serve_again()

    async def changed(self) -> None:
        """Wait until a host is back, or all are given up, which `choose` tells."""
        if self._change is None:
            self._change = asyncio.Event()
        if self._gone is None:
            self._change.clear()
            await self._change.wait()

    def ran_on(self, trial: Trial) -> HostFacts:
        """Return the facts of the trial's last host."""
        found = self._admitted.get(self._ran_on.get(trial.id, ""))
        return self.describe() if found is None else found.facts

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        """Run a trial where it has its place; what the job's deployment says is rendered anew there.

        Raises:
            HostLost: all hosts are lost and none comes back.
            StorageError: the folder cannot be written.
        """
        trial = job.trial
        while True:
            name = self._placement.host_of(trial.id)
            if name is None or name not in self._placement.up:  # it was lost, between the choice and now say
                name = await self._place_again(trial)
            self._ran_on[trial.id] = name
            heard, opened = heard_from(name, on_step), None
            try:
                await self._opening.reach(name)
                opened = self._opening.times(name)
                done, evidence = await self._members[name].run(trial.id, heard)
            except HostLost as lost:
                self._note_loss(name, trial, str(lost), opened)
            except StorageError as full:
                self._note_full(name, trial, str(full), opened)
            except LabError as refused:
                return Done(outcome="error", error=f"host {name}: {refused}")
            else:
                if done.cannot_write is None:
                    return kept(done, evidence, folder, name)
                self._note_full(name, trial, done.cannot_write, opened)
            if self._lost_times[trial.id] >= MOST_LOSSES:
                last = self._losses[-1]["why"]
                return Done(outcome="error", error=f"{MOST_LOSSES} times the host that ran it was lost; lately: {last}")

    async def close(self) -> None:
        """End everything that still runs, on all hosts at once."""
        tasks = list(self._reviving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._opening.close(), return_exceptions=True)
        self._reviving.clear()
        self._change = None
        await asyncio.gather(*map(self._close, self._admitted))
        for name in self._admitted:
            self._placement.back(name)  # it is tried anew by the next campaign
        self._down_since = self._gone = None

    def release(self) -> None:
        """Let the machines go."""
        self._released()

    @property
    def _admitted(self) -> Mapping[str, Admitted]:
        return {} if self._admitting is None else self._admitting.admitted

    async def _require_same(self, member: Member) -> None:
        if self._lost_times.total() == 0:
            return  # it was asked just now
        assert self._admitting is not None
        facts = await self._admitting.facts_of(member)
        if facts.id != self._admitted[member.name].facts.id:
            raise HostLost(f"host {member.name}: it is not what it was when the run began")

    async def _close(self, name: str) -> None:
        member = self._members[name]
        with contextlib.suppress(Exception):
            found = await asyncio.wait_for(member.ask(Measured()), _MEASURED_S)
            if found:
                self._measured[name] = with_earlier(found, self._measured.get(name, {}))
        await member.close()

    def _note_full(self, name: str, trial: Trial, why: str, opened: int | None) -> None:
        """Let others run what a host has no room for; it is asked again after a while.

        Raises:
            StorageError: there is no other.
        """
        if not self._placement.up - {name}:
            raise StorageError(f"host {name}: {why}")
        self._note_loss(name, trial, f"host {name}: {why}", opened, LONGEST_PAUSE_S)

    def _note_loss(self, name: str, trial: Trial, why: str, opened: int | None, pause_s: float = 0.0) -> None:
        """Give the trial's place up, and try to get the host back; the first trial that notices speaks for all.

        `opened` is for the how manieth time the host was open then, None when it could not be opened: a trial that
        ended with an earlier time tells nothing of this one.
        """
        self._placement.leave(trial.id)
        self._lost_times[trial.id] += 1
        self._losses.append({"host": name, "trial": trial.id, "at": utc_now(), "why": why})
        if name not in self._placement.up or opened not in (None, self._opening.times(name)):
            return
        _LOG.warning("%s; what it ran is run again", why)
        self._placement.down(name)
        self._opening.lost(name)
        if not self._placement.up:
            self._down_since = time.monotonic()
        task = self._reviving[name] = asyncio.create_task(self._revive(name, pause_s))
        task.add_done_callback(self._revived)
        if self._change is not None:
            self._change.set()  # what was to wait for this host may go elsewhere

    async def _revive(self, name: str, pause_s: float) -> None:
        """Try again and again, with longer and longer pauses, whatever it lacks meanwhile: room on its disk, say."""
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s + 0.5, LONGEST_PAUSE_S)
            try:
                await self._opening.reach(name)
                break
            except OverlaybenchError as error:
                if self._down_since is not None and time.monotonic() - self._down_since > 2 * silence_s():
                    self._fail_all(HostLost(f"all hosts are lost, and none comes back: {error}"))
        self._reviving.pop(name, None)
        self._placement.back(name)
        self._down_since = None
        _LOG.warning("host %s is back", name)
        self._serve_again()
        if self._change is not None:
            self._change.set()

    def _revived(self, task: asyncio.Task[None]) -> None:
        """End the run with a fault of the program, which nobody else would hear of."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fail_all(fault)

    async def _place_again(self, trial: Trial) -> str:
        self._placement.leave(trial.id)
        placed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._again.append((trial, placed))
        self._serve_again()
        try:
            await placed
        finally:
            self._again = [(one, future) for one, future in self._again if future is not placed]
        name = self._placement.host_of(trial.id)
        assert name is not None
        return name

    def _serve_again(self) -> None:
        for trial, placed in list(self._again):
            if not placed.done() and self._placement.place(trial) is not None:
                placed.set_result(None)
        self._again = [(trial, placed) for trial, placed in self._again if not placed.done()]

    def _fail_all(self, error: BaseException) -> None:
        """Tell those that wait for a place, and the campaign, which may have nothing in flight that could."""
        self._gone = error
        if self._change is not None:
            self._change.set()
        for _, placed in self._again:
            if not placed.done():
                placed.set_exception(error)
