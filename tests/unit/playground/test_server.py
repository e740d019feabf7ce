"""Requests to the server of the playground."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from dws.errors import UserError
from dws.playground.server import Server
from dws.playground.session import Playground, View


@pytest.fixture(scope="module")
def server(playground: Playground) -> Iterator[Server]:
    with Server(playground, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.status, response.read().decode()
    connection.close()
    return content


def fit(server: Server, drawing: torch.Tensor, seed: int) -> list[dict[str, Any]]:
    status, text = ask(server, "POST", f"/fit?seed={seed}", drawing.numpy().tobytes())
    assert status == 200
    return [json.loads(line) for line in text.splitlines()]


def test_page_may_send_requests_only_to_its_server(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", "/")
    response = connection.getresponse()
    policy = response.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "connect-src 'self'"} <= set(policy.split("; "))
    assert b"<title>dws playground</title>" in response.read()


def test_models_are_described(server: Server) -> None:
    content = json.loads(ask(server, "GET", "/models")[1])
    assert [each["title"] for each in content["models"]] == ["MLP", "DWSNet", "SignDWSNet"]
    assert content["widths"] == [2, 32, 32, 1]


def test_concurrent_fits_match_separate_fits(server: Server, drawings: torch.Tensor) -> None:
    alone = [fit(server, drawings[digit], digit)[-1] for digit in (2, 5)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda digit: fit(server, drawings[digit], digit)[-1], (2, 5)))
    assert [each["weights"] for each in together] == [each["weights"] for each in alone]


def test_change_applies_the_symmetry_to_the_weights(server: Server) -> None:
    weights = torch.randn(1185, generator=torch.Generator().manual_seed(0)) / 20
    path = "/change?symmetry=sign_flip&seed=1"
    status, text = ask(server, "POST", path, weights.numpy().tobytes())
    changed = torch.tensor(json.loads(text)["weights"])
    assert status == 200
    assert torch.equal(changed.abs(), weights.abs())
    assert not torch.equal(changed, weights)


def test_fit_ends_when_the_connection_is_closed(
    server: Server, drawings: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    steps: list[int] = []
    original = server.playground.fit

    def fit(image: torch.Tensor, *, seed: int, show: Callable[[View], None]) -> None:
        def slowly(view: View) -> None:  # a closed connection is noticed after a few lines
            steps.append(view.step or 0)
            time.sleep(0.05)
            show(view)

        try:
            original(image, seed=seed, show=slowly)
        finally:
            ended.set()

    monkeypatch.setattr(server.playground, "fit", fit)
    body = drawings[1].numpy().tobytes()
    head = f"POST /fit?seed=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while b'"probabilities"' not in received:  # the fit has begun
            received += connection.recv(1024)
    assert ended.wait(60)
    assert max(steps) < 1000


MALFORMED = {
    "no seed": ("POST", "/fit", bytes([9]) * 78400, {}, 400, "seed"),
    "a wrong seed": ("POST", "/fit?seed=-1", bytes([9]) * 78400, {}, 400, "'-1'"),
    "a very long seed": ("POST", f"/fit?seed={'9' * 5000}", bytes([9]) * 78400, {}, 400, "seed"),
    "a very long length": (
        "POST", "/fit?seed=1", b"", {"Content-Length": "9" * 5000}, 400, "it has 0",
    ),
    "an empty drawing": ("POST", "/fit?seed=1", bytes(78400), {}, 400, "drawing is empty"),
    "a short drawing": ("POST", "/fit?seed=1", bytes(3), {}, 400, "it has 3"),
    "a long drawing": ("POST", "/fit?seed=1", bytes(90000), {}, 400, "it has 90000"),
    "no body": ("POST", "/change?symmetry=permutation&seed=1", None, {}, 400, "it has 0"),
    "another symmetry": ("POST", "/change?symmetry=x&seed=1", bytes(4740), {}, 400, "'x'"),
    "infinite weights": (
        "POST", "/change?symmetry=permutation&seed=1", b"\x00\x00\x80\x7f" * 1185, {}, 400,
        "not finite",
    ),
    "another path": ("GET", "/etc/passwd", None, {}, 404, "/etc/passwd"),
    "a wrong method": ("GET", "/fit?seed=1", None, {}, 404, "/fit"),
    "another site": ("GET", "/models", None, {"Host": "example.org"}, 403, "127.0.0.1"),
    "a page of another site": (
        "POST", "/fit?seed=1", bytes(78400), {"Origin": "http://example.org"}, 403, "127.0.0.1",
    ),
    "a broken host": ("GET", "/models", None, {"Host": "[::1"}, 403, "127.0.0.1"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_invalid_requests_are_rejected_in_one_line(
    case: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    method, path, body, headers, expected, reason = MALFORMED[case]
    status, text = ask(server, method, path, body, **headers)
    assert status == expected
    (line,) = text.splitlines()
    assert reason in line
    assert capsys.readouterr().err == ""


def test_error_during_a_fit_is_the_last_line(
    server: Server, drawings: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise UserError("The fit became infinite.")

    monkeypatch.setattr(server.playground, "fit", fails)
    assert fit(server, drawings[0], 0)[-1] == {"error": "The fit became infinite."}


def test_port_in_use_is_reported(server: Server, playground: Playground) -> None:
    with pytest.raises(ValueError, match=f"Port {server.server_port} .* --port"):
        Server(playground, server.server_port)
