"""mir app as a process: its address, its clients, its end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from typer.testing import CliRunner

from make_it_real.app.server import listen
from make_it_real.cli import app, page
from make_it_real.devices import fast_bf16
from tests.app.helpers import base64_of, photograph, pixels_of, text_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


@contextmanager
def running(*words: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server in a process of its own, and the address that it prints."""
    search = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "make_it_real", "app", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        # Whoever runs the tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def ask(url: str, name: str, fields: dict[str, Any]) -> Any:
    place = urlsplit(url).netloc
    with closing(http.client.HTTPConnection(place, timeout=300)) as connection:
        body = json.dumps(fields)
        connection.request("POST", f"/api/{name}", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return json.load(answer)


def leave(url: str, name: str, fields: dict[str, Any]) -> socket.socket:
    """Send a request, and do not wait for its answer: (the connection)."""
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname, place.port), timeout=300)
    body = json.dumps(fields).encode()
    head = f"POST /api/{name} HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def endless(model: Path) -> dict[str, Any]:
    """A request that takes minutes."""
    picture = base64_of(photograph(2400, 2000))
    return {"model": str(model), "picture": picture, "steps": 16, "details": True}


def test_200_requests_of_8_clients_all_have_their_own_answer(tiny_model: Path) -> None:
    with running("-m", tiny_model) as (_, url):

        def seed(number: int) -> Any:
            fields = {"model": str(tiny_model), "seeds": [number]}
            (image,) = ask(url, "seeds", fields)["images"]
            return image

        with ThreadPoolExecutor(8) as clients:
            images = list(clients.map(seed, range(200)))
        assert [one["seed"] for one in images] == list(range(200))
        assert len({one["image"] for one in images}) == 200
        # The same answers one by one.
        for number in (0, 99, 199):
            assert seed(number) == images[number]


def test_a_page_that_is_closed_takes_its_request_with_it(any_size_model: Path) -> None:
    with running("-m", any_size_model) as (_, url):
        leave(url, "real", endless(any_size_model)).close()
        small = {"model": str(any_size_model), "picture": base64_of(photograph())}
        answer = ask(url, "real", small)
        assert pixels_of(answer["image"]).shape == (3, 40, 60)


def test_ctrl_c_ends_it_in_the_middle_of_work(any_size_model: Path) -> None:
    with running("-m", any_size_model) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        with closing(leave(url, "real", endless(any_size_model))):
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert output == ""
        assert errors.strip() == "Ctrl-C ends it"


def test_dtype_is_that_of_the_images(tiny_model: Path) -> None:
    with running("-m", tiny_model, "-d", "cpu", "--dtype", "bfloat16") as (process, url):
        (image,) = ask(url, "seeds", {"model": str(tiny_model), "seeds": [0]})["images"]
        assert text_of(image["image"])["precision"] == "bfloat16"
        process.send_signal(signal.SIGINT)
        warned = "--dtype float32 is faster" in process.communicate(timeout=30)[1]
    assert warned is not fast_bf16(torch.device("cpu"))


def test_an_open_address_has_a_token(tiny_model: Path) -> None:
    with running("-m", tiny_model, "--host", "0.0.0.0") as (process, url):
        token = urlsplit(url).query.removeprefix("token=")
        assert len(token) > 20
        port = urlsplit(url).port
        statuses = []
        for path in ("/", f"/?token={token}"):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("GET", path)
                statuses.append(connection.getresponse().status)
        assert statuses == [403, 200]
        process.send_signal(signal.SIGINT)
        assert "not encrypted" in process.communicate(timeout=30)[1]


def test_a_port_that_is_taken_is_one_line() -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["app", "--no-browser", "--port", str(port)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"mir: can't listen at 127.0.0.1, port {port}: ")
    assert result.stderr.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "missing", lambda extra: ("uvicorn",) * (extra == "app"))
    result = CliRunner().invoke(app, ["app"])
    assert result.exit_code == 1
    assert result.stderr.startswith("mir: mir app needs an extra: pip install")
    assert "[app]" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [(["-m", "nothing"], 4), (["-d", "nothing"], 4), (["--token", ""], 2), (["--port", "x"], 2)],
)
def test_wrong_usage_ends_before_anything_is_served(words: list[str], code: int) -> None:
    result = CliRunner().invoke(app, ["app", "--no-browser", "--port", "0", *words])
    assert result.exit_code == code
    assert result.stdout == ""
