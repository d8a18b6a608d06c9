"""A libtorrent session, and the events that its alerts make. The only file that knows libtorrent.

A member has a session for every content, on a port of its own, as if each were a client by itself. For libtorrent 2.1
stops telling its listening port once its peers have told it that it is behind a NAT, and peer exchange (BEP 11) passes
on no peer whose port is unknown: only a session's first torrent would find its peers.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

from overlays.bittorrent.messages import Source, shares

try:
    lt: Any = importlib.import_module("libtorrent")
except ImportError:  # the adapter is loaded on machines that lack it
    lt = None

_ALERT_MS = 200


def session_settings(address: str, port: int, *, tcp: bool) -> dict[str, Any]:
    """libtorrent's defaults but for: no DHT, which would be the public one, and peers that are tried at once and again.

    Routers are asked for the port, by UPnP and NAT-PMP, as by default.
    """
    return {
        "listen_interfaces": f"{address}:{port}",
        "enable_dht": False,
        **dict.fromkeys(("enable_incoming_tcp", "enable_outgoing_tcp"), tcp),
        # Peers behind one NAT share an address.
        "allow_multiple_connections_per_ip": True,
        # Or else a seed leaves the introducer, which wants nothing from it, before it is told of anybody.
        "close_redundant_connections": False,
        "peer_connect_timeout": 5,
        "min_reconnect_time": 2,
        "unchoke_interval": 1,
    }


class Introduced:
    """A torrent whose peers are told of each other."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def want(self) -> None:
        """Want all of it from now on."""
        self._handle.unset_flags(lt.torrent_flags.upload_mode)
        self._handle.prioritize_files([4])


class Swarm:
    """A session that listens at `address:port`.

    Raises:
        OSError: it cannot.
    """

    def __init__(self, address: str, port: int, *, tcp: bool) -> None:
        category = lt.alert.category_t
        mask = category.error_notification | category.status_notification | category.storage_notification
        self._session = lt.session({**session_settings(address, port, tcp=tcp), "alert_mask": mask})
        self._listening, self._finished, self._flushed = threading.Event(), threading.Event(), threading.Event()
        self._ended = threading.Event()
        self._refused = ""
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._listening.wait()
        if self._refused:
            self.close()
            raise OSError(self._refused)

    def seed(self, path: Path, encoded: bytes, introducer: tuple[str, int]) -> None:
        """Offer a file that is there whole."""
        parameters = lt.load_torrent_buffer(encoded)
        parameters.save_path = str(path.parent)
        parameters.flags |= lt.torrent_flags.seed_mode
        self._add(parameters).connect_peer(introducer)

    def get(self, content: str, folder: Path, introducer: tuple[str, int]) -> tuple[Path, list[Source]]:
        """Get a content whole.

        Returns:
            The file, and which peers gave how much of it.
        """
        parameters = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{content}")
        parameters.save_path = str(folder)
        handle = self._add(parameters)
        handle.connect_peer(introducer)
        self._finished.wait()
        peers = [
            Source(peer.ip[0], peer.total_download, bool(peer.flags & lt.peer_info.holepunched))
            for peer in handle.get_peer_info()
        ]
        handle.flush_cache()
        self._flushed.wait()
        (got,) = [found for found in folder.iterdir() if found.is_file()]
        return got, shares(peers)

    def introduce(self, encoded: bytes, folder: Path) -> Introduced:
        """Be a peer of a torrent that neither has nor wants anything of it."""
        parameters = lt.load_torrent_buffer(encoded)
        parameters.save_path = str(folder)
        parameters.flags |= lt.torrent_flags.upload_mode
        parameters.file_priorities = [0]  # a torrent of ours has one file
        return Introduced(self._add(parameters))

    def close(self) -> None:
        """End the session."""
        self._ended.set()
        self._watcher.join()

    def _add(self, parameters: Any) -> Any:
        parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        return self._session.add_torrent(parameters)

    def _watch(self) -> None:
        events = {
            lt.listen_succeeded_alert: self._listening,
            lt.listen_failed_alert: self._listening,
            lt.torrent_finished_alert: self._finished,
            lt.cache_flushed_alert: self._flushed,
        }
        while not self._ended.is_set():
            self._session.wait_for_alert(_ALERT_MS)
            for alert in self._session.pop_alerts():
                if alert.category() & lt.alert.category_t.error_notification:
                    print(f"bittorrent: {alert.message()}", flush=True)
                if isinstance(alert, lt.listen_failed_alert):
                    self._refused = alert.message()
                if type(alert) in events:
                    events[type(alert)].set()


def describe(path: Path) -> tuple[str, bytes]:
    """Return the info-hash of a file, in hex (version 1, BEP 3), and its torrent."""
    torrent = lt.create_torrent(lt.list_files(str(path)), 0, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, str(path.parent))
    encoded = lt.bencode(torrent.generate())
    return info_hash(encoded), encoded


def info_hash(encoded: bytes) -> str:
    """Return the info-hash of a torrent, in hex.

    Raises:
        RuntimeError: it is no torrent.
    """
    return str(lt.load_torrent_buffer(encoded).info_hashes.v1)
