"""Server of the playground. It accepts connections from this machine only.

- ``GET /`` returns the page, ``GET /models`` a description of the models.
- ``POST /fit?seed=N`` takes a drawing with one byte per pixel. The response is a stream of JSON
  lines: the first contains the ``target``, each of the others a ``View`` of the fit.
- ``POST /change?symmetry=NAME&seed=N`` takes the weights of a network as little-endian float32. The
  response is the ``View`` of the transformed network.

The response to an invalid request has the status 400 and contains one line of text.
"""

from __future__ import annotations

import errno
import json
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import numpy as np
import torch
from torch import Tensor

from dws.errors import UserError, describe
from dws.experiment import PretrainedModel
from dws.playground.drawing import to_digit
from dws.playground.session import Playground, View
from dws.runtime import one_thread

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}  # accepted host names of the server
PAGE = Path(__file__).with_name("page.html")
CANVAS = 280  # rows and columns of a drawing
HEADERS = {
    "Cache-Control": "no-store",
    # the page may send requests only to this server
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
}
MOST_BYTES = 2**20  # largest part of a body that is read
MOST_DIGITS = 19  # digits of 2^63 - 1


class _RefusedError(UserError):
    """A refused request whose response has a status other than 400."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """HTTP server that handles each request in a separate thread.

    Args:
        playground: Computes the responses.
        port: The port; 0 selects a free port.

    Raises:
        ValueError: If the port is in use.
    """

    allow_reuse_port = False
    daemon_threads = True  # running fits end with the command

    def __init__(self, playground: Playground, port: int) -> None:
        self.playground = playground
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise UserError(
                f"Port {port} of {HOST} is in use. Choose another port with --port; --port 0 "
                "selects a free one."
            ) from error

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    server: Server
    timeout = 60  # seconds after which the connection to an idle browser is closed

    def do_GET(self) -> None:
        """Send the page, or the description of the models."""
        self._answer({"/": self._page, "/models": self._models})

    def do_POST(self) -> None:
        """Fit a network, or transform one."""
        self._answer({"/fit": self._fit, "/change": self._change})

    def _answer(self, routes: Mapping[str, Callable[[], None]]) -> None:
        path = self.path.partition("?")[0]
        with suppress(ConnectionError):  # the page was closed or started another fit
            try:
                if not self._is_own():
                    raise _RefusedError(403, f"Only {self.server.address} may send requests.")
                if path not in routes:
                    raise _RefusedError(404, f"There is no {path} on this server.")
                routes[path]()
            except UserError as error:
                status = error.status if isinstance(error, _RefusedError) else 400
                self._send(status, "text/plain; charset=utf-8", f"{describe(error)}\n".encode())

    def _page(self) -> None:
        self._send(200, "text/html; charset=utf-8", PAGE.read_bytes())

    def _models(self) -> None:
        self._send(200, "application/json", _line(self.server.playground.describe()))

    def _fit(self) -> None:
        seed = self._seed()
        drawing = self._numbers("u1", CANVAS**2).view(CANVAS, CANVAS)
        image = to_digit(drawing)
        self._begin(200, "application/x-ndjson")

        def show(view: View) -> None:
            self.wfile.write(_line(asdict(view)))

        self.wfile.write(_line({"target": image.flatten().tolist()}))
        try:
            self.server.playground.fit(image, seed=seed, show=show)
        except UserError as error:  # the status has already been sent
            self.wfile.write(_line({"error": describe(error)}))

    def _change(self) -> None:
        playground = self.server.playground
        weights = self._numbers("<f4", playground.spec.num_params)
        view = playground.change(weights, symmetry=self._query("symmetry"), seed=self._seed())
        self._send(200, "application/json", _line(asdict(view)))

    def _is_own(self) -> bool:
        """Whether the request comes from a page of this server and not from another website."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        return host.partition(":")[0] in NAMES and origin in (None, f"http://{host}")

    def _query(self, name: str) -> str:
        return parse_qs(self.path.partition("?")[2]).get(name, [""])[0]

    def _seed(self) -> int:
        text = self._query("seed")[: MOST_DIGITS + 1]
        seed = _integer(text)
        if seed is None:
            raise UserError(f"The seed must be an integer from 0 to 2^63 - 1, but it is {text!r}.")
        return seed

    def _numbers(self, kind: str, count: int) -> Tensor:
        """Read the body of the request as ``count`` values of a NumPy data type."""
        dtype = np.dtype(kind)
        expected, size = count * dtype.itemsize, _integer(self.headers.get("Content-Length", ""))
        body = self.rfile.read(min(size or 0, MOST_BYTES))
        if len(body) != expected or size != expected:
            raise UserError(
                f"The body of {self.path} must have {expected} bytes ({count} values of "
                f"{dtype.name}), but it has {len(body) if size is None else size}."
            )
        return torch.from_numpy(np.frombuffer(body, dtype).astype(dtype.newbyteorder("=")))

    def _begin(self, status: int, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self._begin(status, kind, **{"Content-Length": str(len(content))})
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Disable the log of requests."""


def _integer(text: str) -> int | None:
    """Convert decimal digits to an integer below 2^63; None for any other text."""
    is_decimal = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    return int(text) if is_decimal and int(text) < 2**63 else None


def _line(content: Mapping[str, object]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def serve(models: Sequence[PretrainedModel], *, port: int, browser: bool) -> None:
    """Serve the page until the command is interrupted.

    Args:
        models: The models, see ``Playground``.
        port: The port; 0 selects a free port.
        browser: Whether to open the page in a browser.

    Raises:
        ValueError: If the port is in use, or the playground does not support the models.
    """
    with Server(Playground(models), port) as server, one_thread():
        print(f"dws: the playground is at {server.address}; Ctrl+C stops it", flush=True)
        if browser:  # a thread, because a text browser in the terminal would block
            Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.serve_forever()
