"""What an adapter written as YAML may say: an overlay for people who only want to test their daemon. Data alone.

Every text in it that is not a name, a regular expression or a choice is a Jinja2 template; the module
`written_adapter` says what templates know. docs/own-daemon.md is the page.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.model.family import Family
from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.words import Mode, Verdict
from harness.nat.oracle import Technique
from harness.overlay.endpoints import SERVICE_PORT
from harness.overlay.requirement import Requirement

Nodes = Literal["members", "server", "helpers", "all"]
Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Modes = Annotated[tuple[Mode, ...], BeforeValidator(_as_tuple, json_schema_input_type=Mode | tuple[Mode, ...])]


class WrittenProgram(_Strict):
    """A program that must be on the machine; the first one's version is the overlay's.

    `install` is the command that gets it, `debian` the package that carries it; `version` prints its version.
    """

    program: str
    install: str
    debian: str | None = None
    version: Argv | None = None
    version_pattern: str = Requirement.model_fields["version_pattern"].default


class _Repeated(_Strict):
    """What stands once for each node that `on` names, and there once for each member, or each other member (`each`).

    `modes` leaves it out in all other modes.
    """

    on: Nodes
    each: Literal["member", "peer"] | None = None
    modes: Modes = ()


class WrittenFile(_Repeated):
    """A file in the node's own folder."""

    path: str
    text: str
    mode: int = Field(default=0o600, ge=0, le=0o777)


class WrittenCommand(_Repeated):
    """A command in the node's own folder that runs to its end; a status other than 0 fails the trial."""

    run: Argv
    env: dict[str, str] = {}
    timeout_s: float = Field(default=20.0, gt=0)


class WrittenReadiness(_Strict):
    """One condition of readiness: a line of the log, an address on the node, or a command that says something.

    `log` is a regular expression, and so is `says`, which a command's output must match once it has ended with 0.
    """

    log: str | None = None
    address: str | None = None
    command: Argv | None = None
    says: str = ""

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(one is not None for one in (self.log, self.address, self.command)) != 1:
            raise ValueError("give one of `log`, `address` and `command`")
        if self.says and self.command is None:
            raise ValueError("`says` goes with `command`")
        return self


class WrittenService(_Repeated):
    """A daemon in the foreground, ready when all conditions are met; then `configure` runs, one after the other."""

    name: str
    run: Argv
    env: dict[str, str] = {}
    ready: tuple[WrittenReadiness, ...] = Field(min_length=1)
    configure: tuple[Argv, ...] = ()
    after: tuple[str, ...] = ()
    deadline_s: float = Field(default=15.0, gt=0)
    may_hang: str = ""


class WrittenInterface(_Strict):
    """Every member's interface: probes reach it there."""

    address: str = "{{ node.overlay }}"
    interface: str


class WrittenStreams(_Strict):
    """Every member's local ports, each of which leads to a service at another member."""

    listen_port: str | int = "{{ dst.listen_port }}"
    listen_address: str = "127.0.0.1"
    service_port: str | int = SERVICE_PORT
    service_address: str = "127.0.0.1"


class WrittenContents(_Strict):
    """The commands that put a file in at one member and get it out at another; see `ContentEndpoint`."""

    publish: Argv
    identifier: str = r"(\S+)\s*$"
    fetch: Argv
    env: dict[str, str] = {}


class WrittenOverlay(_Strict):
    """An adapter. `options` are what a scenario may say of it, each with its default.

    `technique`, `paths_behind`, `depends_on_server`, `asks_for_ports`, `asks_by`, `underlays` and `helpers` mean what
    they mean in an adapter's class.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,23}$")
    description: str
    layer: Literal["L2", "L3", "L7"]
    modes: Modes = Field(min_length=1)
    needs_server: bool = False
    helpers: int = Field(default=0, ge=0, le=16)
    network: IPv4Network | None = None
    underlays: tuple[Family, ...] = ("ipv4",)
    technique: Technique | None = None
    paths_behind: dict[Egress, tuple[Verdict, ...]] = {}
    depends_on_server: Literal[True] | None = None
    asks_for_ports: Literal[True] | None = None
    asks_by: tuple[PortMappingProtocol, ...] = ()
    options: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], bool | int | float | str] = {}
    programs: tuple[WrittenProgram, ...] = ()
    files: tuple[WrittenFile, ...] = ()
    prepare: tuple[WrittenCommand, ...] = ()
    services: tuple[WrittenService, ...] = ()
    setup: tuple[WrittenCommand, ...] = ()
    endpoints: WrittenInterface | None = None
    streams: WrittenStreams | None = None
    contents: WrittenContents | None = None

    @field_validator("modes")
    @classmethod
    def _no_baseline(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        if "underlay" in modes:
            raise ValueError("`underlay` is the baseline without an overlay")
        return modes

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.endpoints is None and self.streams is None and self.contents is None:
            raise ValueError("give `endpoints`, `streams` or `contents`: there is nothing that probes could reach")
        return self
