"""The pure half of the overlay contract: what holds of every adapter's rendering. Starts nothing, writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, Final

from pydantic import ValidationError

from harness.errors import Problem
from harness.model.document import Document, problems_of
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import Deployment, HasOptions, Overlay, Requirement
from harness.overlay.support import helpers_of, kinds_of
from harness.scenario.load import load_topology

_UNKNOWN: Final = "no_such_option"
# linux/if.h: IFNAMSIZ, less the end of the text.
_LONGEST_INTERFACE: Final = 15


def rendered_trial(overlay: Overlay, mode: Mode, options: Mapping[str, Any] | None = None) -> Trial:
    """Return a trial with more than two members, as adapters must be able to render it."""
    source = load_topology("parties")
    params = source.complete({"helpers": helpers_of(overlay, mode)})
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay=overlay.name,
        mode=mode,
        options=dict(options or {}),
        topology=source.resolve(params),
        params=params,
        probes=Probes.model_validate({"path": {}}),
    )


def rendering_complaints(overlay: Overlay, mode: Mode, options: Mapping[str, Any] | None = None) -> list[str]:
    """Return what of the contract an adapter's rendering breaks, one sentence each."""
    trial = rendered_trial(overlay, mode, options)
    try:
        deployment = overlay.render(trial)
    except Exception as error:  # somebody else's code
        return [f"`render` raises {type(error).__name__}: {error}"]
    checks: tuple[Callable[[Overlay, Trial, Deployment], Iterator[str]], ...] = (
        _endpoints,
        _interfaces,
        _ports,
        _files,
        _services,
        _options,
    )
    return [text for check in checks for text in check(overlay, trial, deployment)]


def option_problems(overlay: Overlay, modes: Sequence[Mode], options: Mapping[str, Any], name: str) -> list[Problem]:
    """Return what an adapter says of options that a user gave it: those are wrong then, and not the adapter."""
    if isinstance(overlay, HasOptions):
        try:
            overlay.options.model_validate(dict(options))
        except ValidationError as error:
            found = problems_of(error, overlay.options, Document(name, {}))
            return [Problem(name, 0, f"--set {one.field}", one.text) for one in found]
        return []
    refused = []
    for mode in modes if options else ():
        with contextlib.suppress(Exception):  # somebody else's code; that it refuses what nobody gave is not the user's
            overlay.render(rendered_trial(overlay, mode))
            try:
                overlay.render(rendered_trial(overlay, mode, options))
            except ValueError as error:
                refused.append(Problem(name, 0, "--set", str(error)))
    return list(dict.fromkeys(refused))


def requirement_complaints(overlay: Overlay) -> list[str]:
    """Return what is wrong with what an adapter says of its programs, one sentence each."""
    requirements = overlay.requirements()
    found = [f"program {one.program}: `install` does not name {one.debian}" for one in requirements if _unnamed(one)]
    if requirements and not requirements[0].version_argv:
        found.append(
            f"program {requirements[0].program}: no `version_argv`; the first program's version is the overlay's"
        )
    return found


def _unnamed(one: Requirement) -> bool:
    return one.debian is not None and one.debian not in one.install


def _endpoints(overlay: Overlay, trial: Trial, deployment: Deployment) -> Iterator[str]:
    """Every pair of members has every kind of endpoint."""
    members = trial.topology.members
    if deployment.kinds != kinds_of(overlay):
        yield f"offers {_listed(deployment.kinds)} where it says {_listed(kinds_of(overlay))} (`kinds`)"
    if deployment.endpoints:
        if list(deployment.endpoints) != list(members):
            yield f"has interfaces at {_listed(deployment.endpoints)}, where the members are {_listed(members)}"
        addresses = [end.address for end in deployment.endpoints.values()]
        if len(set(addresses)) < len(addresses):
            yield f"gives one overlay address to several members: {_listed(map(str, addresses))}"
    pairs = sorted(permutations(members, 2))
    for kind, ways in (("streams", deployment.streams), ("contents", deployment.contents)):
        if ways and sorted((way.src, way.dst) for way in ways) != pairs:
            yield f"has no {kind} for exactly every ordered pair of members"


def _interfaces(_overlay: Overlay, _trial: Trial, deployment: Deployment) -> Iterator[str]:
    for member, end in deployment.endpoints.items():
        if len(end.interface or "") > _LONGEST_INTERFACE:
            yield f"names {member}'s interface {end.interface}: the kernel takes {_LONGEST_INTERFACE} characters"


def _ports(_overlay: Overlay, _trial: Trial, deployment: Deployment) -> Iterator[str]:
    taken = [(one.src, str(one.listen_address), one.listen_port) for one in deployment.streams]
    for src, address, port in sorted({one for one in taken if taken.count(one) > 1}):
        yield f"begins several streams of {src} at {address}:{port}"


def _files(_overlay: Overlay, trial: Trial, deployment: Deployment) -> Iterator[str]:
    places = [(file.node, file.path) for file in deployment.files]
    for node, path in sorted({one for one in places if places.count(one) > 1}):
        yield f"writes {node}'s file {path} more than once"
    for file in deployment.files:
        if file.node not in trial.topology.hosts:
            yield f"writes a file for {file.node}, which is no node"
        if file.path.startswith("/") or ".." in file.path.split("/"):
            yield f"writes {file.path}, which lies outside the node's folder"
        if "PRIVATE KEY" in file.text and file.mode & 0o077:
            yield f"writes the private key {file.path} so that others can read it (mode {file.mode:o})"


def _services(_overlay: Overlay, trial: Trial, deployment: Deployment) -> Iterator[str]:
    """Tell whether all services can be started in their order, and are ready by something."""
    names = [service.name for service in deployment.services]
    for name in sorted({one for one in names if names.count(one) > 1}):
        yield f"has several services named {name}"
    started: set[str] = set()
    while wave := {s.name for s in deployment.services if s.name not in started and set(s.after) <= started}:
        started |= wave
    for service in deployment.services:
        if service.name not in started:
            unknown = sorted(set(service.after) - set(names))
            why = f"which there is not: {_listed(unknown)}" if unknown else "and these wait for each other"
            yield f"service {service.name} waits for {_listed(service.after)}, {why}"
        if not service.ready:
            yield f"service {service.name} has no condition of readiness"
        if service.node not in trial.topology.hosts:
            yield f"service {service.name} runs on {service.node}, which is no node"
    for claim in deployment.claims:
        if claim.service is not None and claim.service not in names:
            yield f"claim {claim.name} is read from service {claim.service}, which there is not"


def _options(overlay: Overlay, trial: Trial, _deployment: Deployment) -> Iterator[str]:
    try:
        overlay.render(trial.model_copy(update={"options": {_UNKNOWN: 1}}))
    except ValueError as error:
        if _UNKNOWN not in str(error):
            yield f"refuses an unknown option without naming it: {error}"
    except Exception as error:  # somebody else's code
        yield f"an unknown option makes `render` raise {type(error).__name__} instead of ValueError: {error}"
    else:
        yield "ignores an unknown option; it must raise a ValueError that names it, or give the class `options`"


def _listed(words: Any) -> str:
    return ", ".join(sorted(words)) or "nothing"
