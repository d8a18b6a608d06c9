"""OpenZiti: services that are dialled by name through routers, over connections that both ends open to them.

The public node runs the controller (`ziti edge quickstart`) and an edge router, each on port 443 of an address of its
own, as its makers have it for networks that let little out. The router that `quickstart` brings along listens at every
address, so it cannot be there, and carries nothing. A member offers one service, which it alone may host, and dials
those of the others at local ports (`ziti tunnel host`, `ziti tunnel proxy`). `relay` is all there is: routers carry
everything, and do not see what, because the ends encrypt between themselves by default.

It is one program, built from the newest version that we found the module proxy to serve whole (1.1.15, October 2024).
A newer one of its makers' in PATH is taken instead: the commands are those that both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    CommandSays,
    Deployment,
    EndpointKind,
    GoBuild,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import check_options, server_of
from overlays.go_pins import pinned_version
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.stun_server import add_second, stun_addresses
from overlays.ways_out import TLS_PORT, by_tcp

PROGRAM = "ziti"
_MODULE = "github.com/openziti/ziti"
_FOLDER = Path(__file__).parent / "go" / "ziti"
ROUTER = "edge"
# Of the router that nobody is told to use.
_IDLE_PORT = 3022
# `quickstart` makes RSA keys of 4096 bits, for several authorities and nodes: a minute on a busy machine.
DEADLINE_S = 90.0
_LISTENING = "listener established to tls:"
# Whatever the program remembers (its certificates, who is logged in) stays in the node's folder.
_ENV = {"HOME": ".", "ZITI_CONFIG_DIR": "config"}


class OpenZiti:
    """Controller and router on the public node; on every member one process that hosts and one that dials."""

    name = "openziti"
    modes: frozenset[Mode] = frozenset({"relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True

    def requirements(self) -> Sequence[Requirement]:
        """One program; the linker tells it its version, as in its makers' builds."""
        version = {f"{_MODULE}/common/version.Version": pinned_version(_FOLDER, _MODULE)}
        return (
            Requirement(
                program=PROGRAM,
                install=f"overlaybench install {self.name}",
                go=GoBuild(module=str(_FOLDER), package=f"{_MODULE}/ziti", strings=version, memory_mib=1100),
                version_argv=(PROGRAM, "version"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Let the controller make everything else: identities, services, who may host and dial them.

        Raises:
            ValueError: an option; there is none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        both = stun_addresses(trial)
        return Deployment(
            prepare=(add_second(trial, both),),
            services=(
                _controller(server, *both, members),
                _router(server, both[0]),
                *(_host(member, both[1]) for member in members),
                *(_proxy(member, members) for member in members),
            ),
            streams=streams_between(members),
            claims=tuple(ClaimSource(name=f"host-{m}", node=m, service=f"ziti-host-{m}") for m in members),
        )

    def technique(self, mode: Mode) -> str | None:  # noqa: ARG002 - the same in all
        """No path is ever direct."""
        return None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: controller and router are both on TCP port 443."""
        return by_tcp(egress, trial, TLS_PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:  # noqa: ARG002
        """Say `relayed`: a hosted service is reached through the router at which it is hosted, and in no other way."""
        return "relayed" if _LISTENING in evidence.get(f"host-{dst}", "") else None


def setup_script(controller: IPv4Address, router: IPv4Address, members: Sequence[str]) -> str:
    """Return what the controller is told once: the router, an identity and a service a member, and who may do what.

    Members may use the one router and no other, and all may dial all. `-a member` gives an identity the attribute that
    the policies name; `-a EC` gives it a key that is made at once; an RSA key of 4096 bits, the default, takes seconds
    and changes nothing that is measured. A controller that was restarted knows all of it.
    """
    lines = [
        "set -e",
        _login(controller),
        "[ ! -e set-up ] || exit 0",
        f"ziti edge create edge-router {ROUTER} -o {ROUTER}.jwt",
        f"ziti create config router edge --routerName {ROUTER} --tunnelerMode none --output {ROUTER}.yaml",
        f"sed -i 's/tls:0\\.0\\.0\\.0:/tls:{router}:/' {ROUTER}.yaml",
        f"ziti router enroll {ROUTER}.yaml --jwt {ROUTER}.jwt",
        "ziti edge delete edge-router-policy all-endpoints-public-routers",
        "ziti edge delete service-edge-router-policy all-routers-all-services",
    ]
    for member in members:
        host = f'{{"protocol":"tcp","address":"127.0.0.1","port":{SERVICE_PORT}}}'
        lines += [
            f"ziti edge create identity {member} -o {member}.jwt -a member",
            f"ziti edge enroll {member}.jwt -o ../{member}/identity.json -a EC",
            f"ziti edge create config host-{member} host.v1 '{host}'",
            f"ziti edge create service to-{member} --configs host-{member}",
            f"ziti edge create service-policy bind-{member} Bind --semantic AnyOf"
            f" --identity-roles @{member} --service-roles @to-{member}",
        ]
    lines += [
        "ziti edge create service-policy dial Dial --semantic AnyOf --identity-roles '#member' --service-roles '#all'",
        f"ziti edge create edge-router-policy all --identity-roles '#all' --edge-router-roles @{ROUTER}",
        f"ziti edge create service-edge-router-policy all --service-roles '#all' --edge-router-roles @{ROUTER}",
        "touch set-up",
    ]
    return "\n".join(lines)


def _login(controller: IPv4Address) -> str:
    return f"ziti edge login https://{controller}:{TLS_PORT} -u admin -p admin -y"


def _online(controller: IPv4Address, query: str) -> CommandSays:
    """Return the condition that routers of a query, in the controller's words, are online."""
    # A readiness command is run without the service's environment, and is given up after ten seconds.
    asking = f"{_login(controller)} >/dev/null && ziti edge list edge-routers '{query}' -j"
    environment = ("env", *(f"{name}={value}" for name, value in _ENV.items()), "timeout", "8")
    return CommandSays(argv=(*environment, "sh", "-c", asking), pattern=r'"isOnline":\s*true')


def _controller(server: str, controller: IPv4Address, router: IPv4Address, members: Sequence[str]) -> Service:
    """Ready once its own router is online, which is the last thing that it does."""
    argv = (
        *(PROGRAM, "edge", "quickstart", "--home", "quickstart", "-u", "admin", "-p", "admin"),
        *("--ctrl-address", str(controller), "--ctrl-port", str(TLS_PORT)),
        *("--router-address", str(controller), "--router-port", str(_IDLE_PORT)),
    )
    environment = {
        **_ENV,
        # Both, or it listens twice.
        **dict.fromkeys(("ZITI_CTRL_BIND_ADDRESS", "ZITI_CTRL_EDGE_BIND_ADDRESS"), str(controller)),
        **dict.fromkeys(("ZITI_CTRL_EDGE_IP_OVERRIDE", "ZITI_ROUTER_IP_OVERRIDE"), str(controller)),
    }
    told = {
        "ZITI_HOME": ".",
        **{f"ZITI_CTRL_{part}ADVERTISED_ADDRESS": str(controller) for part in ("", "EDGE_")},
        **{f"ZITI_CTRL_{part}ADVERTISED_PORT": str(TLS_PORT) for part in ("", "EDGE_")},
        **dict.fromkeys(("ZITI_ROUTER_ADVERTISED_ADDRESS", "ZITI_ROUTER_IP_OVERRIDE"), str(router)),
        **dict.fromkeys(("ZITI_ROUTER_PORT", "ZITI_ROUTER_LISTENER_BIND_PORT"), str(TLS_PORT)),
    }
    script = setup_script(controller, router, members)
    return Service(
        name="ziti-controller",
        node=server,
        argv=argv,
        env=environment,
        ready=(_online(controller, "true"),),
        configure=(
            ("mkdir", "-p", *(f"../{member}" for member in members)),
            ("env", *(f"{name}={value}" for name, value in told.items()), "sh", "-c", script),
        ),
        deadline_s=DEADLINE_S,
    )


def _router(server: str, controller: IPv4Address) -> Service:
    """Ready once it is online: a host that comes earlier gets no terminator, and is not found."""
    return Service(
        name="ziti-router",
        node=server,
        argv=(PROGRAM, "router", "run", f"{ROUTER}.yaml"),
        env=_ENV,
        ready=(_online(controller, f'name="{ROUTER}"'),),
        after=("ziti-controller",),
        deadline_s=DEADLINE_S,
    )


def _host(member: str, router: IPv4Address) -> Service:
    return Service(
        name=f"ziti-host-{member}",
        node=member,
        argv=(PROGRAM, "tunnel", "host", "-i", "identity.json", "-v"),
        env=_ENV,
        ready=(LogLine(pattern=rf"{_LISTENING}{router}:{TLS_PORT}"),),
        after=("ziti-router",),
        deadline_s=DEADLINE_S,
    )


def _proxy(member: str, members: Sequence[str]) -> Service:
    """Ready once it listens at every port."""
    ports = {other: listen_port(members, other) for other in members if other != member}
    return Service(
        name=f"ziti-proxy-{member}",
        node=member,
        argv=(PROGRAM, "tunnel", "proxy", "-i", "identity.json", *(f"to-{other}:{ports[other]}" for other in ports)),
        env=_ENV,
        ready=tuple(CommandSays(argv=("ss", "-Hltn", f"sport = :{port}"), pattern="LISTEN") for port in ports.values()),
        after=tuple(f"ziti-host-{other}" for other in members),
        deadline_s=DEADLINE_S,
    )
