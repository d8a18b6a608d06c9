"""Runs in a sandbox: a router that speaks UPnP IGD and knows no leases, and refmesh's client; tells all as JSON.

miniupnpd always gives leases, so this router is ours: SSDP and SOAP, as far as miniupnpc asks (WANIPConnection:1).
"""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pyroute2 import IPRoute

from overlays.refmesh.core.igd import Request
from overlays.refmesh.driver.igd import IgdClient

HOST, PORT = "127.0.0.1", 40000
GROUP = ("239.255.255.250", 1900)
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = "urn:schemas-upnp-org:device:{}:1"
ROOT = f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>{DEVICE.format("InternetGatewayDevice")}</deviceType><deviceList><device>
<deviceType>{DEVICE.format("WANDevice")}</deviceType><deviceList><device>
<deviceType>{DEVICE.format("WANConnectionDevice")}</deviceType><serviceList><service>
<serviceType>{SERVICE}</serviceType><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL>
<SCPDURL>/scpd.xml</SCPDURL></service></serviceList></device></deviceList></device></deviceList></device></root>"""
ONLY_PERMANENT = """<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>725</errorCode>
<errorDescription>OnlyPermanentLeasesSupported</errorDescription></UPnPError></detail>"""


class Router:
    """The router's table of mappings, external port to internal address and port, and its two servers."""

    def __init__(self) -> None:
        self.table: dict[int, tuple[str, int]] = {}
        self.refused = 0
        self.gone = threading.Event()
        """Once set, no SOAP request is answered any more."""
        router = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, ROOT)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if router.gone.is_set():
                    threading.Event().wait()
                action = self.headers["SOAPAction"].strip('"').split("#")[1]
                status, inner = router.act(action, dict(re.findall(r"<(New\w+)>([^<]*)</", body)))
                name = f'u:{action}Response xmlns:u="{SERVICE}"' if status == 200 else "s:Fault"
                self._answer(
                    status,
                    f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><{name}>{inner}'
                    f"</{name.split(maxsplit=1)[0]}></s:Body></s:Envelope>",
                )

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer((HOST, 0), Handler)
        self._ssdp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ssdp.bind(GROUP)
        member = socket.inet_aton(GROUP[0]) + socket.inet_aton(HOST)
        self._ssdp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        for work in (self._http.serve_forever, self._discovery):
            threading.Thread(target=work, daemon=True).start()

    def act(self, action: str, fields: dict[str, str]) -> tuple[int, str]:
        """Do what a SOAP request asks; return HTTP status and the inside of the answer."""
        if action == "GetStatusInfo":
            return 200, "<NewConnectionStatus>Connected</NewConnectionStatus><NewUptime>1</NewUptime>"
        if action == "GetExternalIPAddress":
            return 200, "<NewExternalIPAddress>45.0.0.1</NewExternalIPAddress>"
        port = int(fields["NewExternalPort"])
        if action == "DeletePortMapping":
            del self.table[port]
        elif int(fields["NewLeaseDuration"]):
            self.refused += 1
            return 500, f"<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>{ONLY_PERMANENT}"
        else:
            self.table[port] = (fields["NewInternalClient"], int(fields["NewInternalPort"]))
        return 200, ""

    def _discovery(self) -> None:
        while True:
            data, source = self._ssdp.recvfrom(2048)
            wanted = re.search(rb"(?m)^ST: ?(\S+)", data)
            if wanted is None or wanted.group(1).decode() != DEVICE.format("InternetGatewayDevice"):
                continue
            location = f"http://{HOST}:{self._http.server_port}/root.xml"
            answer = f"HTTP/1.1 200 OK\r\nST: {wanted.group(1).decode()}\r\nUSN: uuid:1\r\nLOCATION: {location}\r\n\r\n"
            self._ssdp.sendto(answer.encode(), source)


def mapped() -> tuple[IgdClient, list[Any]]:
    """Return a client that has had a port mapped, and external host, port and lease."""
    answers: list[Any] = []
    client = IgdClient(lambda answer, _: answers.append([*(answer.external or ()), answer.lease_s]))
    client.ask([Request(HOST, PORT, PORT)])
    while not answers:
        select.select([client], [], [])
        client.on_ready(0.0)
    return client, answers[0]


def main() -> None:
    """Map and end twice; the second time the router has gone silent in between."""
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
    router = Router()
    told: dict[str, Any] = {}
    client, told["answer"] = mapped()
    told["refused"], told["during"] = router.refused, dict(router.table)
    client.close()
    told["after"] = dict(router.table)
    client, _ = mapped()
    router.gone.set()
    client.close()
    told["silent"] = dict(router.table)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
