"""What the page's server refuses, and what no request can reach."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from make_it_real.app import site as sites
from make_it_real.app.server import is_loopback
from make_it_real.app.site import PAGE, Site
from tests.app.helpers import base64_of, drawing

BAD: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("real", {}, "picture: the bytes"),
    ("real", {"picture": "ä"}, "no base64"),
    ("real", {"picture": "AAAA"}, "not an image"),
    ("real", {"picture": ""}, "empty"),
    ("real", {"picture": base64_of(drawing()), "steps": 0}, "steps: from 1 to 16, not 0"),
    ("real", {"picture": base64_of(drawing()), "steps": 1.5}, "steps: a whole number"),
    ("real", {"picture": base64_of(drawing()), "steps": True}, "steps: a number"),
    ("real", {"picture": base64_of(drawing()), "steps": "2"}, "steps: a number"),
    ("real", {"picture": base64_of(drawing()), "drawn": 1}, "drawn: true or false"),
    ("real", {"picture": base64_of(drawing()), "model": "/etc/passwd"}, "model: one of"),
    ("real", {"picture": base64_of(drawing()), "model": ["mnist"]}, "model: one of"),
    ("seeds", {"model": "owner/name", "seeds": [1]}, "model: one of"),
    ("seeds", {"model": "photos", "seeds": [1]}, "repairs pictures"),
    ("seeds", {"model": "mnist", "seeds": []}, "1 to 64 seeds"),
    ("seeds", {"model": "mnist", "seeds": list(range(65))}, "1 to 64 seeds"),
    ("seeds", {"model": "mnist", "seeds": [-1]}, "seeds: from 0"),
    ("seeds", {"model": "mnist", "seeds": [2**63]}, "seeds: from 0"),
    ("mix", {"model": "mnist", "operands": [{"seed": 1}]}, "2 to 3 objects"),
    ("mix", {"model": "mnist", "operands": [{"seed": 1}, "/etc/passwd"]}, "a JSON object"),
    ("mix", {"model": "mnist", "operands": [{"seed": 1}, {}]}, "picture: the bytes"),
    ("mix", {"model": "mnist", "operands": [{"seed": 1}] * 2, "place": 1.1}, "place: from 0 to 1"),
    ("animation", {"model": "mnist", "operands": [{"seed": 1}] * 2, "frames": 61}, "frames: from"),
    ("damage", {"model": "mnist", "seed": 1, "kind": "rust"}, "kind: one of"),
    ("damage", {"model": "mnist", "seed": 1, "kind": "jpeg", "level": 0}, "level: from 1 to 95"),
    ("damage", {"model": "photos", "seed": 1}, "repairs pictures"),
)


@pytest.mark.parametrize(("name", "fields", "message"), BAD)
def test_a_bad_request_is_a_message(
    client: TestClient, name: str, fields: dict[str, Any], message: str
) -> None:
    answer = client.post(f"/api/{name}", json=fields)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object_is_a_message(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/real", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client: TestClient, number: str) -> None:
    body = f'{{"model": "mnist", "seed": 1, "kind": "noise", "level": {number}}}'
    answer = client.post("/api/damage", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "level: from" in answer.json()["error"]


def test_pictures_are_bounded_as_on_the_command_line(
    client: TestClient, huge_png: bytes, truncated_png: bytes
) -> None:
    for data, message in (
        (huge_png, "more than the limit of 1,000,000"),
        (truncated_png, "damaged"),
    ):
        for name, fields in (
            ("real", {"picture": base64_of(data)}),
            ("picture", {"picture": base64_of(data)}),
            ("damage", {"model": "mnist", "picture": base64_of(data)}),
            ("ends", {"model": "mnist", "operands": [{"picture": base64_of(data)}]}),
        ):
            answer = client.post(f"/api/{name}", json=fields)
            assert answer.status_code == 400
            assert message in answer.json()["error"]


def test_requests_are_bounded_in_bytes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MOST_BYTES", 1_000_000)
    answer = client.post("/api/real", json={"picture": "A" * 1_100_000})
    assert (answer.status_code, answer.json()["error"]) == (400, "more than 1 MB at once")


def test_an_error_of_our_own_is_a_message_too(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(sites.WORKS, "real", broken)
    client = TestClient(site.app(), base_url="http://127.0.0.1")
    answer = client.post("/api/real", json={})
    assert answer.status_code == 500
    assert answer.json() == {"error": "ZeroDivisionError at the server"}
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "/../../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/site.py", "//etc/passwd",
        "/page/index.html", "/site.py", "/api/../site.py", "/index.html/../../site.py",
        "/file=/etc/passwd", "/api", "/api/real/x",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 405)


def test_the_page_names_nothing_elsewhere() -> None:
    texts = {path.name: path.read_text("utf-8") for path in PAGE.iterdir()}
    assert {"index.html", "style.css", "main.js"} <= set(texts)
    for name, text in texts.items():
        known = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\(|@import|eval\(|innerHTML", known), name


def test_pages_come_with_headers_that_keep_others_out(client: TestClient) -> None:
    for path in ("/", "/main.js", "/api/about", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_only_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "[::1]:7860", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_no_other_site_is_answered(client: TestClient) -> None:
    cross = {"sec-fetch-site": "cross-site"}
    assert client.post("/api/seeds", json={}, headers=cross).status_code == 403
    assert client.get("/api/about", headers=cross).status_code == 403
    assert client.get("/", headers=cross).status_code == 200
    form = {"content-type": "text/plain"}
    body = b'{"model": "mnist", "seeds": [1]}'
    assert client.post("/api/seeds", content=body, headers=form).status_code == 400


def test_a_token_is_asked_for_everywhere(site: Site) -> None:
    def new() -> TestClient:
        return TestClient(site.app("s3cret"), base_url="http://10.0.0.1")

    for path in ("/", "/main.js", "/api/about", "/?token=", "/?token=wrong"):
        answer = new().get(path)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert new().post("/api/seeds", json={}).status_code == 403
    client = new()
    first = client.get("/?token=s3cret")
    assert first.status_code == 200
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=Strict" in first.headers["set-cookie"]
    assert client.get("/api/about").status_code == 200
    bearer = {"authorization": "Bearer s3cret"}
    assert new().get("/api/about", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("::1", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.2", False), ("example", False),
    ],
)  # fmt: skip
def test_loopback(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


def test_the_page_is_whole(client: TestClient) -> None:
    page = client.get("/").text
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert client.get(f"/{name}").status_code == 200, name
    for path in Path(PAGE).glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text("utf-8")):
            assert (PAGE / name).is_file(), name
