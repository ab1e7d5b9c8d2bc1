"""A small server on this machine that speaks the hub's protocol, and breaks when told to."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves `files` ("owner/repo/name" → bytes) as the hub does: a HEAD names the commit, size
    and SHA-256 and redirects to a second host, which serves the bytes, by Range where asked.

    `cut_after` ends the connection of the next GET after so many bytes (once), `corrupt` changes
    a byte on the way, `silent` answers nothing, `pause` waits before the bytes (seconds), and
    without `hashes` the answer names no SHA-256, as a poor mirror's.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, Range
        self.authorizations: set[str | None] = set()
        self.cut_after: int | None = None
        self.corrupt = False
        self.silent = False
        self.pause = 0.0
        self.hashes = True
        self.stopped = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def downloads(self) -> list[str | None]:
        """The Range of each GET of a file's bytes so far."""
        return [
            span for method, path, span in self.requests if (method, path[:5]) == ("GET", "/cdn/")
        ]

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.note()
            if hub.silent:
                hub.stopped.wait(20)
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path)
            key = "/".join(match.groups()) if match else ""
            if key in hub.files:
                data = hub.files[key]
                digest = hashlib.sha256(data).hexdigest()
                cdn = hub.endpoint.replace("127.0.0.1", "localhost")
                self.send_response(302)
                self.send_header("Location", f"{cdn}/cdn/{key}")
                self.send_header("X-Linked-Etag", f'"{digest if hub.hashes else digest[:40]}"')
                self.send_header("X-Linked-Size", str(len(data)))
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.note()
            data = hub.files.get(self.path.removeprefix("/cdn/"))
            if data is None:
                self.send_error(404)
                return
            time.sleep(hub.pause)
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            body = bytearray(data[start:])
            if hub.corrupt:
                body[-1] ^= 1
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if hub.cut_after is None:
                self.wfile.write(body)
            else:
                self.wfile.write(body[: hub.cut_after])
                hub.cut_after = None
                self.close_connection = True

        def note(self) -> None:
            hub.authorizations.add(self.headers.get("Authorization"))
            hub.requests.append((self.command, self.path, self.headers.get("Range")))

        def log_message(self, *_: object) -> None:
            """Quiet: pytest shows what matters."""

    return Handler
