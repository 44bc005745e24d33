"""A web server on loopback that goes wrong as a test lists, one request each, then serves its file."""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """`faults` are taken one a request from the front; `asked` keeps the Range header of each request."""

    body: bytes = b""
    ranges: bool = True
    faults: list[Callable[["Handler"], None]] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: "Handler") -> None:
        self.asked.append(handler.headers.get("Range"))
        (self.faults.pop(0) if self.faults else Handler.send_file)(handler)


class Handler(BaseHTTPRequestHandler):
    """Answers GET as its site says."""

    site: Site

    def do_GET(self) -> None:
        self.site.answer(self)

    def send_file(self, upto: int | None = None) -> None:
        wanted = self.headers.get("Range") if self.site.ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        body = self.site.body
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:upto])

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def serve(site: Site) -> ThreadingHTTPServer:
    """Start serving `site` on a free port; shut the returned server down when done."""
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}/toy.zip"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def stops_after(count: int) -> Callable[[Handler], None]:
    """Close the connection after `count` bytes of the body."""
    return lambda handler: handler.send_file(upto=count)


def resets_after(count: int) -> Callable[[Handler], None]:
    """Reset the connection (RST) after `count` bytes of the body."""

    def fault(handler: Handler) -> None:
        handler.send_file(upto=count)
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return fault


def answers(status: int) -> Callable[[Handler], None]:
    """Answer `status` without a body."""

    def fault(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return fault


def sends(body: bytes, kind: str = "application/zip") -> Callable[[Handler], None]:
    """Answer 200 with another body."""

    def fault(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return fault


def stays_silent(until: threading.Event) -> Callable[[Handler], None]:
    """Answer nothing until the test is over."""
    return lambda handler: (until.wait(10), None)[1]
