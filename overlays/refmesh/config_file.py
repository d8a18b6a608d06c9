"""Reads a configuration file; every problem is named with file, line and field, all of them in one go."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from overlays.refmesh import keys
from overlays.refmesh.config import (
    LAYERS,
    MAPPING_PROTOCOLS,
    MODES,
    Address,
    NodeConfig,
    PeerEntry,
    ServerConfig,
    ServerEntry,
)
from overlays.refmesh.errors import ConfigError
from overlays.refmesh.yaml_file import LOADER, compose

T = TypeVar("T")


class _Section:
    """One mapping of the file; what is not taken out of it is unknown, and an error."""

    def __init__(self, file: str, node: yaml.Node, where: str, problems: list[str]) -> None:
        self.file, self.where, self.problems, self.line = file, where, problems, node.start_mark.line + 1
        self._values: dict[str, tuple[int, yaml.Node]] = {}
        self._known: list[str] = []
        if not isinstance(node, yaml.MappingNode):
            self.problem(self.line, where or "file", "must be a mapping of field: value")
            return
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(
                    key.start_mark.line + 1, where or "file", "a field must be named by a word, not a list or mapping"
                )
                continue
            if key.value in self._values:
                self.problem(key.start_mark.line + 1, self._path(key.value), "is given twice")
            self._values[str(key.value)] = (key.start_mark.line + 1, value)

    def problem(self, line: int, field: str, text: str) -> None:
        self.problems.append(f"{self.file}:{line}: {field}: {text}")

    def _path(self, field: str) -> str:
        return f"{self.where}.{field}" if self.where else field

    def has(self, field: str) -> bool:
        return field in self._values

    def take(self, field: str, parse: Callable[[Any], T], default: T, *, required: bool = False) -> T:
        self._known.append(field)
        if field not in self._values:
            if required:
                self.problem(self.line, self._path(field), "is missing")
            return default
        line, node = self._values[field]
        try:
            loader = LOADER("")
            value = loader.construct_object(node, deep=True)
            return parse(value)
        except (ValueError, TypeError, OSError, yaml.YAMLError) as error:
            self.problem(line, self._path(field), str(error))
            return default

    def sections(self, field: str) -> list[_Section]:
        self._known.append(field)
        if field not in self._values:
            return []
        line, node = self._values[field]
        if not isinstance(node, yaml.SequenceNode):
            self.problem(line, self._path(field), "must be a list")
            return []
        return [
            _Section(self.file, item, f"{self._path(field)}[{i}]", self.problems) for i, item in enumerate(node.value)
        ]

    def close(self) -> None:
        for field, (line, _) in self._values.items():
            if field not in self._known:
                self.problem(line, self._path(field), f"unknown field{_hint(field, self._known)}")


def _hint(word: str, known: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415 - only mistakes need it

    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be text, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _number(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {value!r}")
        return value

    return parse


def _choice(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r}{_hint(str(value), choices)}")
        return str(value)

    return parse


def _protocols(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return MAPPING_PROTOCOLS if value else ()
    if not isinstance(value, list):
        raise ValueError(f"must be true, false or a list of {', '.join(MAPPING_PROTOCOLS)}, not {value!r}")
    return tuple(map(_choice(*MAPPING_PROTOCOLS), value))


def _key(value: Any) -> bytes:
    return keys.decode(_text(value))


def parse_address(value: Any) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT`; ValueError otherwise. HOST may be a name."""
    host, colon, port = _text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"must be HOST:PORT, not {value!r}")
    return Address(host, int(port))


def _networks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of addresses with prefix length, not {value!r}")
    for item in value:
        ipaddress.ip_interface(_text(item))
    return tuple(value)


def _private_key(section: _Section, folder: Path) -> bytes:
    if section.has("private_key_file"):
        return section.take("private_key_file", lambda value: read_key(folder / _text(value)), bytes(32))
    section.take("private_key_file", _text, "")
    return section.take("private_key", _key, bytes(32), required=True)


def read_key(path: Path) -> bytes:
    """Return the key in a file that its owner alone can read. ValueError or OSError when it is none."""
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ValueError(f"{path} can be read by others; run: chmod 600 {path}")
    return keys.decode(path.read_text().strip())


def load_node(path: Path) -> NodeConfig:
    """Read the configuration of a node; ConfigError lists all that is wrong with it."""
    section, problems = _open(path)
    folder = path.parent
    servers = []
    for entry in section.sections("servers"):
        endpoint = entry.take("endpoint", parse_address, Address("", 0), required=True)
        servers.append(
            ServerEntry(
                name=entry.take("name", _text, "", required=True),
                public_key=entry.take("public_key", _key, b"", required=True),
                endpoint=endpoint,
                stun=entry.take("stun", parse_address, None),
                tls=entry.take("tls", parse_address, None),
            )
        )
        entry.close()
    peers = []
    for entry in section.sections("peers"):
        peers.append(
            PeerEntry(
                public_key=entry.take("public_key", _key, b"", required=True),
                allowed_ips=entry.take("allowed_ips", _networks, (), required=True),
                endpoint=entry.take("endpoint", parse_address, None),
                preshared_key=entry.take("preshared_key", _key, None),
                persistent_keepalive_s=entry.take("persistent_keepalive_s", _number(0, 65535), 0),
            )
        )
        entry.close()
    config = NodeConfig(
        file=str(path),
        private_key=_private_key(section, folder),
        mode=section.take("mode", _choice(*MODES), "mesh"),
        layer=section.take("layer", _choice(*LAYERS), "l3"),
        authority=section.take("authority", _key, None),
        certificate=section.take("certificate", _text, None),
        join_key=section.take("join_key", _text, None),
        policy=section.take("policy", _text, None),
        addresses=section.take("addresses", _networks, ()),
        servers=tuple(servers),
        peers=tuple(peers),
        listen_port=section.take("listen_port", _number(0, 65535), 0),
        interface=section.take("interface", _interface, NodeConfig.interface),
        mtu=section.take("mtu", _number(576, 65000), NodeConfig.mtu),
        fwmark=section.take("fwmark", _number(0, 2**32 - 1), 0),
        framing=section.take("framing", _choice("auto", "wireguard"), "auto"),
        port_mapping=section.take("port_mapping", _protocols, MAPPING_PROTOCOLS),
        status_socket=section.take("status_socket", lambda value: folder / _text(value), None),
        state_dir=section.take("state_dir", lambda value: folder / _text(value), None),
        log_level=section.take("log_level", _choice("debug", "info", "warning"), "info"),
    )
    member = config.certificate or config.join_key
    if member and config.authority is None:
        section.problem(section.line, "authority", "is missing: a certificate is worth nothing without it")
    if not member and not config.addresses:
        section.problem(
            section.line, "certificate", "is missing (or join_key; or addresses, for a plain WireGuard node)"
        )
    if config.certificate and config.join_key:
        section.problem(section.line, "join_key", "is given as well as certificate; give one of them")
    if member and config.mode in ("relay", "hub") and not config.servers:
        section.problem(section.line, "servers", f"is missing: mode {config.mode} needs a server")
    return _close(config, section, problems)


def load_server(path: Path) -> ServerConfig:
    """Read the configuration of a server; ConfigError lists all that is wrong with it."""
    section, problems = _open(path)
    folder = path.parent
    config = ServerConfig(
        file=str(path),
        private_key=_private_key(section, folder),
        authority=section.take("authority", _key, bytes(32), required=True),
        certificate=section.take("certificate", _text, "", required=True),
        policy=section.take("policy", _text, None),
        policy_file=section.take("policy_file", lambda value: folder / _text(value), None),
        listen=section.take("listen", _listen, ServerConfig.listen),
        stun_port=section.take("stun_port", _number(0, 65535), ServerConfig.stun_port),
        tls_port=section.take("tls_port", _number(0, 65535), 0),
        relay=section.take("relay", _flag, True),
        hub=section.take("hub", _flag, False),
        interface=section.take("interface", _interface, ""),
        mtu=section.take("mtu", _number(576, 65000), ServerConfig.mtu),
        status_socket=section.take("status_socket", lambda value: folder / _text(value), None),
        state_dir=section.take("state_dir", lambda value: folder / _text(value), None),
        log_level=section.take("log_level", _choice("debug", "info", "warning"), "info"),
    )
    return _close(config, section, problems)


def _interface(value: Any) -> str:
    name = _text(value)
    if len(name) > 15 or "/" in name or any(c.isspace() for c in name):
        raise ValueError(f"an interface name has at most 15 characters, no space and no slash: {name!r}")
    return name


def _listen(value: Any) -> Address:
    host, colon, port = _text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"must be ADDRESS:PORT or :PORT, not {value!r}")
    if host:
        ipaddress.ip_address(host)
    return Address(host, int(port))


def _open(path: Path) -> tuple[_Section, list[str]]:
    root = compose(path)
    if root is None:
        raise ConfigError([f"{path}:1: file: is empty"])
    problems: list[str] = []
    return _Section(str(path), root, "", problems), problems


def _close(config: T, section: _Section, problems: list[str]) -> T:
    section.close()
    if problems:
        raise ConfigError(problems)
    return config
