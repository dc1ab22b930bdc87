"""A server of files on this machine that can do everything wrong that servers do."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

BODY = bytes(range(256)) * 997


@dataclass
class Site:
    """What the server says, and what it was asked."""

    body: bytes = BODY
    files: dict[str, bytes] = field(default_factory=dict)  # by path, instead of the body
    status: int = 200
    tag: str = '"one"'
    modified: str = ""
    cut: int = 0  # hang up after so many bytes of an answer
    cuts: int = 1000  # so many times
    silent: float = 0.0  # seconds of silence where it would hang up
    ranges: bool = True
    lying_range: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    location: str = ""
    length: bool = True
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    root: str = ""  # http://127.0.0.1:PORT
    address: str = ""  # of the body

    def ranges_asked(self) -> list[str]:
        return [headers.get("range", "") for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        wants = {name.lower(): value for name, value in self.headers.items()}
        site.asked.append((self.path, wants))
        if site.location and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.files.get(self.path, site.body)
        start, status = 0, site.status if not site.files or self.path in site.files else 404
        if status == 200 and site.ranges and "range" in wants and wants.get("if-range", site.tag) == site.tag:
            start, status = int(wants["range"].removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                status = 416
        self.send_response(status)
        content = body[start:] if status < 400 else b"<html>no</html>"
        if status == 206:
            at = start + site.lying_range
            self.send_header("Content-Range", f"bytes {at}-{len(body) - 1}/{len(body)}")
        for name, value in {"ETag": site.tag, "Last-Modified": site.modified, **site.headers}.items():
            if value:
                self.send_header(name, value)
        if site.length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            if site.cut and site.cuts > 0 and status < 300:
                site.cuts -= 1
                self.wfile.write(content[: site.cut])
                self.wfile.flush()
                time.sleep(site.silent)
            else:
                self.wfile.write(content)
        self.close_connection = True


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.root = f"http://127.0.0.1:{server.server_address[1]}"
    site.address = f"{site.root}/file.bin"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
