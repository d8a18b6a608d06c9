"""An adapter written as YAML, as an overlay like all others: its templates rendered for a trial's nodes. Pure.

What templates know: `mode`, `options`, `members`, `helpers` and `server` (nodes), `folder` (of the adapter's file),
`token` (fresh for every trial, the same everywhere in it); what stands once a node knows `node`, and with `each` also
`member` or `peer`; `streams` and `contents` know `src` and `dst`. A node has a `name`, which is also its text, an
`address` in the underlay, an `overlay` address where the adapter has a `network`, and a `number`; of a member also
`listen_port`, the local port that leads to it everywhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from harness.errors import ScenarioError
from harness.model.document import Document, Location, problems_of
from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    Command,
    CommandSays,
    ContentEndpoint,
    Deployment,
    EndpointKind,
    File,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    OverlayOptions,
    Requirement,
    Service,
    StreamEndpoint,
)
from harness.overlay.endpoints import FIRST_LISTEN_PORT
from harness.overlay.written import WrittenOverlay
from harness.overlay.written_templates import environment

Made = TypeVar("Made", bound=BaseModel)
Context = Mapping[str, Any]


class WrittenNode:
    """A node as templates see it."""

    def __init__(self, name: str, number: int, **known: object) -> None:
        self.name, self.number = name, number
        self.__dict__.update(known)

    def __str__(self) -> str:
        return self.name


# What Jinja calls such an object.
_NODE = f"'{WrittenNode.__module__}.{WrittenNode.__name__} object'"


class WrittenAdapter:
    """See `harness.overlay.contract.Overlay`; optional parts of the contract are there where the file has them."""

    def __init__(self, written: WrittenOverlay, document: Document, folder: Path) -> None:
        self.name: str = written.name
        self.modes: frozenset[Mode] = frozenset(written.modes)
        self.layer: Layer = written.layer
        self.needs_server: bool = written.needs_server
        self.underlays = frozenset(written.underlays)
        self.kinds: frozenset[EndpointKind] = frozenset(_kinds(written))
        fields: dict[str, Any] = {name: (type(value), value) for name, value in written.options.items()}
        self.options: type[OverlayOptions] = create_model("Options", __base__=OverlayOptions, **fields)
        if written.helpers:
            self.helpers = lambda _mode: written.helpers
        if written.network is not None:
            self.network = written.network
        if written.technique is not None:
            self.technique = self._technique
        if written.paths_behind:
            self.paths_behind = self._paths_behind
        if written.asks_by:
            self.asks_by = lambda _options: frozenset(written.asks_by)
        for promise in ("depends_on_server", "asks_for_ports"):
            if getattr(written, promise):
                setattr(self, promise, True)
        self._written, self._document, self._folder = written, document, folder

    def requirements(self) -> Sequence[Requirement]:
        """Return the programs that the file names."""
        return tuple(
            self._made(
                Requirement,
                ("programs", number),
                program=self._text(one.program, ("programs", number, "program"), {}),
                install=one.install,
                debian=one.debian,
                version_argv=self._argv(one.version or (), ("programs", number, "version"), {}),
                version_pattern=one.version_pattern,
            )
            for number, one in enumerate(self._written.programs)
        )

    def render(self, trial: Trial) -> Deployment:
        """Render the whole file for one trial.

        Raises:
            ScenarioError: a template cannot be rendered, or makes something that cannot be; with its line.
            ValueError: an option is unknown or of another type.
        """
        written, base = self._written, self._base(trial)
        members = base["members"]
        pairs = [{**base, "src": src, "dst": dst} for src, dst in permutations(members, 2)]
        return Deployment(
            files=tuple(
                self._made(
                    File,
                    where,
                    node=at["node"].name,
                    path=self._text(one.path, (*where, "path"), at),
                    text=self._text(one.text, (*where, "text"), at),
                    mode=one.mode,
                )
                for one, where, at in self._repeated("files", written.files, base)
            ),
            prepare=tuple(self._commands("prepare", base)),
            services=tuple(self._services(base)),
            setup=tuple(self._commands("setup", base)),
            endpoints={} if written.endpoints is None else {one.name: self._interface(one, base) for one in members},
            streams=() if written.streams is None else tuple(map(self._stream, pairs)),
            contents=() if written.contents is None else tuple(map(self._content, pairs)),
        )

    def _technique(self, mode: Mode) -> str | None:
        return self._written.technique if mode in SEEKING_DIRECT else None

    def _paths_behind(self, egress: Egress, _trial: Trial) -> tuple[Verdict, ...]:
        return self._written.paths_behind.get(egress, ("none",))

    def _base(self, trial: Trial) -> dict[str, Any]:
        topology, written = trial.topology, self._written
        server = [topology.server] if written.needs_server and topology.server is not None else []
        nodes = [*server, *(name for name in topology.members if name not in server), *topology.helpers]
        known: dict[str, dict[str, object]] = {name: {} for name in nodes}
        for name in nodes:
            family = next((one for one in topology.families(name) if one in self.underlays), None)
            if family is not None:
                known[name]["address"] = topology.address_in(name, family)
        if written.network is not None:
            if len(nodes) > written.network.num_addresses - 2:
                text = f"{len(nodes)} nodes do not fit into {written.network}"
                raise ScenarioError([self._document.problem(("network",), text)])
            for name, address in zip(nodes, written.network.hosts(), strict=False):
                known[name]["overlay"] = address
        for number, name in enumerate(topology.members):
            known[name] |= {"listen_port": FIRST_LISTEN_PORT + number, "number": number}
        made = {name: WrittenNode(name, **{"number": n, **known[name]}) for n, name in enumerate(nodes)}  # type: ignore[arg-type]
        base: dict[str, Any] = {
            "mode": trial.mode,
            "options": self._options(trial),
            "members": [made[name] for name in topology.members],
            "helpers": [made[name] for name in topology.helpers],
            "token": secrets.token_hex(16),
        }
        return {**base, "server": made[server[0]]} if server else base

    def _options(self, trial: Trial) -> dict[str, Any]:
        try:
            return self.options.model_validate(trial.options).model_dump()
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            known = ", ".join(self._written.options) or "none"
            raise ValueError(f"{self.name} takes the options {known}: {wrong}") from None

    def _repeated(self, section: str, entries: Sequence[Any], base: Context) -> Iterator[tuple[Any, Location, Context]]:
        """Yield each entry once for every node, and every other node, that it is for."""
        server = [base["server"]] if "server" in base else []
        public = [one for one in (*server, *base["helpers"]) if one not in base["members"]]
        places = {
            "members": base["members"],
            "server": server,
            "helpers": base["helpers"],
            "all": [*public, *base["members"]],
        }
        for number, entry in enumerate(entries):
            if entry.modes and base["mode"] not in entry.modes:
                continue
            for node in places[entry.on]:
                at, where = {**base, "node": node}, (section, number)
                if entry.each is None:
                    yield entry, where, at
                    continue
                others = [one for one in base["members"] if entry.each == "member" or one is not node]
                yield from ((entry, where, {**at, entry.each: other}) for other in others)

    def _commands(self, section: str, base: Context) -> Iterator[Command]:
        for one, where, at in self._repeated(section, getattr(self._written, section), base):
            yield self._made(
                Command,
                where,
                node=at["node"].name,
                argv=self._argv(one.run, (*where, "run"), at),
                env=self._env(one.env, (*where, "env"), at),
                timeout_s=one.timeout_s,
            )

    def _services(self, base: Context) -> Iterator[Service]:
        for one, where, at in self._repeated("services", self._written.services, base):
            yield self._made(
                Service,
                where,
                name=self._text(one.name, (*where, "name"), at),
                node=at["node"].name,
                argv=self._argv(one.run, (*where, "run"), at),
                env=self._env(one.env, (*where, "env"), at),
                ready=tuple(self._ready(condition, (*where, "ready", n), at) for n, condition in enumerate(one.ready)),
                configure=tuple(self._argv(argv, (*where, "configure", n), at) for n, argv in enumerate(one.configure)),
                after=self._argv(one.after, (*where, "after"), at),
                deadline_s=one.deadline_s,
                may_hang=one.may_hang,
            )

    def _ready(self, one: Any, where: Location, at: Context) -> LogLine | InterfaceAddress | CommandSays:
        if one.log is not None:
            return self._made(LogLine, where, pattern=one.log)
        if one.address is not None:
            return self._made(InterfaceAddress, where, address=self._text(one.address, (*where, "address"), at))
        return self._made(CommandSays, where, argv=self._argv(one.command, (*where, "command"), at), pattern=one.says)

    def _interface(self, node: WrittenNode, base: Context) -> IpEndpoint:
        said, at = self._written.endpoints, {**base, "node": node}
        assert said is not None
        rendered = {name: self._text(getattr(said, name), ("endpoints", name), at) for name in ("address", "interface")}
        return self._made(IpEndpoint, ("endpoints",), **rendered)

    def _stream(self, at: Context) -> StreamEndpoint:
        said = self._written.streams
        assert said is not None
        rendered = {key: self._text(str(value), ("streams", key), at) for key, value in said.model_dump().items()}
        return self._made(StreamEndpoint, ("streams",), src=at["src"].name, dst=at["dst"].name, **rendered)

    def _content(self, at: Context) -> ContentEndpoint:
        said = self._written.contents
        assert said is not None
        return self._made(
            ContentEndpoint,
            ("contents",),
            src=at["src"].name,
            dst=at["dst"].name,
            publish=self._argv(said.publish, ("contents", "publish"), at),
            identifier=said.identifier,
            fetch=self._argv(said.fetch, ("contents", "fetch"), at),
            env=self._env(said.env, ("contents", "env"), at),
        )

    def _argv(self, words: Sequence[str], where: Location, at: Context) -> tuple[str, ...]:
        return tuple(self._text(word, (*where, number), at) for number, word in enumerate(words))

    def _env(self, env: Mapping[str, str], where: Location, at: Context) -> dict[str, str]:
        return {name: self._text(value, (*where, name), at) for name, value in env.items()}

    def _text(self, template: str, where: Location, at: Context) -> str:
        try:
            return environment().from_string(template).render({**at, "folder": str(self._folder)})
        except Exception as error:  # whatever a template's own expressions raise
            said = str(error).replace(_NODE, "a node")
            raise ScenarioError([self._document.problem(where, f"cannot be rendered: {said}")]) from error

    def _made(self, model: type[Made], where: Location, /, **fields: Any) -> Made:
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            raise ScenarioError(list(problems_of(error, model, self._document, where))) from error


def _kinds(written: WrittenOverlay) -> Iterator[EndpointKind]:
    if written.endpoints is not None:
        yield "interface"
    if written.streams is not None:
        yield "stream"
    if written.contents is not None:
        yield "content"
