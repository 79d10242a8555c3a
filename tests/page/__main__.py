# SPDX-License-Identifier: Apache-2.0
"""`make page`: the Cockpit page in any browser, with recorded documents, without Cockpit or root.

Serves `cockpit/` as it is installed, below Cockpit's own rules for what a page may load, and beside
it a cockpit.js that answers from a document instead of a host. Ctrl-C ends it.
"""

import json
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.page import words
from tests.page.documents import DOCUMENTS, RECORDED

PAGE = Path(__file__).resolve().parents[2] / "cockpit"
STAND_IN = Path(__file__).parent / "cockpit.js"
PORT = 8077

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
}

# What cockpit-bridge sends with every page.
_POLICY = (
    "default-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'self'; "
    "object-src 'none'; font-src 'self' data:; img-src 'self' data:; block-all-mixed-content"
)


def answer(path: str, page: str = "") -> tuple[bytes, str] | None:
    """What is at this path, and of which type; None where there is nothing.

    `page` is the address of the page that asks for it, which says in what language that is.
    """
    if path == "/base1/cockpit.js":
        return STAND_IN.read_bytes(), _TYPES[".js"]
    if path == "/favicon.ico":
        return b"", "image/x-icon"
    if path == "/manifests.js":
        return b"cockpit.manifests = { podman: {}, networkmanager: {} };", _TYPES[".js"]
    if path == "/documents":
        return json.dumps(list(DOCUMENTS)).encode(), _TYPES[".json"]
    if path == "/languages":
        return json.dumps(words.languages()).encode(), _TYPES[".json"]
    if path == "/podwatch/po.js":
        language = parse_qs(urlsplit(page).query).get("language", ["en"])[0]
        return words.script(language).encode(), _TYPES[".js"]
    if path == "/incidents":
        return (RECORDED / "incidents.json").read_bytes(), _TYPES[".json"]
    if path.startswith("/documents/"):
        make = DOCUMENTS.get(path.removeprefix("/documents/"))
        return None if make is None else (json.dumps(make()).encode(), _TYPES[".json"])
    file = PAGE / (path.removeprefix("/podwatch/") or "index.html")
    if path.startswith("/podwatch/") and file.parent == PAGE and file.is_file():
        return file.read_bytes(), _TYPES.get(file.suffix, "text/plain")
    return None


class Handler(BaseHTTPRequestHandler):
    """Answers a browser."""

    def do_GET(self) -> None:
        """Give out one file, or say that there is none."""
        path = self.path.partition("?")[0]
        if path == "/":
            self.send_response(302)
            self.send_header("Location", "/podwatch/")
            self.end_headers()
            return
        found = answer(path, self.headers.get("Referer", ""))
        if found is None:
            self.send_error(404)
            return
        body, kind = found
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of what went well."""


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C; the port may be given. Returns the exit status."""
    port = int(arguments[0]) if arguments else PORT
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        where = f"http://127.0.0.1:{server.server_port}/podwatch/"
        sys.stdout.write(f"the page: {where}?document=ok   (also: {', '.join(DOCUMENTS)})\n")
        sys.stdout.write("with &language=de, &access=no, &bus=no, &style=dark; Ctrl-C ends it\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
