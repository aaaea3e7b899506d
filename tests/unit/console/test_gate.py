"""Attacks on the console: other hosts, other sites, other logins, forged changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.account import ConsoleAccount
from console.application import application
from console.safety.secrets import ConsoleSecrets
from scones.stage.settings import Settings
from tests.asgi_client import Client

PORT = 8765
PAGES = ("now", "live", "runs", "registry", "threshold", "photos", "review", "reports")


class Door:
    """A console whose account does not answer, and clients of it."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.secrets = ConsoleSecrets()
        self.app = application(ConsoleAccount(Settings.load("local"), read_only), self.secrets, PORT)

    def stranger(self) -> Client:
        return Client(self.app, f"127.0.0.1:{PORT}", follow=False)

    def guest(self) -> Client:
        client = self.stranger()
        assert client.get("/now", params={"key": self.secrets.key}).status_code == 303
        return client

    def form(self, **fields: str) -> dict[str, str]:
        return {"csrf": self.secrets.csrf, **fields}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing answers there
        yield Door()


@pytest.mark.parametrize(
    "path", ["/", "/now", "/now/events", "/static/style.css", "/static/live.js", "/reports/page/x"]
)
def test_nothing_is_shown_without_the_key(door: Door, path: str) -> None:
    answer = door.stranger().get(path)
    assert answer.status_code == 401
    assert "scones console" in answer.text
    assert door.secrets.key not in answer.text


@settings(max_examples=30)
@given(guess=st.text(min_size=0, max_size=60))
def test_a_guessed_key_opens_nothing(guess: str) -> None:
    door = Door()
    answer = door.stranger().get(f"/now?key={quote(guess, safe='')}")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_the_key_becomes_a_cookie_and_leaves_the_address(door: Door) -> None:
    answer = door.stranger().get(f"/registry?version=3&key={door.secrets.key}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/registry?version=3")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert door.secrets.key.lower() not in cookie
    assert answer.headers["referrer-policy"] == "same-origin"


def test_the_exchange_sends_nobody_elsewhere(door: Door) -> None:
    for path in ("//evil.example/", "///evil.example", "/\\evil.example"):
        answer = door.stranger().get(f"{path}?key={door.secrets.key}")
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil.example:{PORT}", ""]
)
def test_a_name_that_was_pointed_here_is_refused(door: Door, host: str) -> None:
    client = door.guest()
    assert client.get("/now", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{PORT}", ""]
)
def test_a_change_from_another_site_is_refused(door: Door, origin: str) -> None:
    answer = door.guest().post("/registry/do/approve", data=door.form(version="1"), headers={"origin": origin})
    assert answer.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_can_neither_frame_nor_fetch_pages(door: Door, site: str) -> None:
    client = door.guest()
    framed = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    fetched = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/now", headers=framed).status_code == 403
    assert client.get("/now", headers=fetched).status_code == 403
    assert client.post("/review/do/skip", data=door.form(), headers=link).status_code == 403
    assert client.get("/now", headers=link).status_code == 200


CHANGES = [
    "registry/do/approve", "registry/do/reject", "registry/do/rollback", "threshold/do/set", "threshold/do/back",
    "runs/do/start", "runs/do/stop", "runs/do/retry", "photos/do/review", "photos/send", "review/do/label",
    "review/do/skip", "review/do/undo", "review/do/release", "reports/do/now", "reports/do/simulate",
]  # fmt: skip


@pytest.mark.parametrize("place", CHANGES)
def test_every_change_needs_the_token_and_a_post(door: Door, place: str) -> None:
    client = door.guest()
    assert client.post(f"/{place}", data={"reason": "x"}).status_code == 403
    assert client.post(f"/{place}", data={"csrf": door.secrets.session}).status_code == 403
    assert client.post(f"/{place}", content=b"{}", headers={"content-type": "application/json"}).status_code == 403
    assert client.post(f"/{place}", content=b"x", headers={"x-csrf-token": "x"}).status_code == 403
    # What a form of another site may send without being asked first, even if it knew the token.
    told = f"csrf={door.secrets.csrf}".encode()
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        assert client.post(f"/{place}", content=told, headers={"content-type": kind}).status_code == 403
    assert client.get(f"/{place}", params={"csrf": door.secrets.csrf}).status_code in (404, 405)
    assert door.stranger().post(f"/{place}", data=door.form()).status_code == 401


@pytest.mark.parametrize("place", CHANGES)
def test_a_console_that_only_reads_changes_nothing(place: str) -> None:
    door = Door(read_only=True)
    client = door.guest()
    assert client.post(f"/{place}", data=door.form(reason="x")).status_code == 403
    assert client.post(f"/{place}", content=b"x", headers={"x-csrf-token": door.secrets.csrf}).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(door: Door, method: str) -> None:
    assert door.guest().request(method, "/now").status_code == 405


def test_a_form_that_does_not_end_is_refused(door: Door) -> None:
    answer = door.guest().post("/registry/do/approve", data={"csrf": "x", "reason": "y" * (1 << 21)})
    assert answer.status_code == 413
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert door.guest().post("/photos/send", content=b"y" * (65 << 20), headers=kind).status_code == 413


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_an_account_says_so_and_holds_no_script(door: Door, page: str) -> None:
    client = door.guest()
    answer = client.get(f"/{page}")
    assert answer.status_code == 200
    assert "no stand-in account answers on http://127.0.0.1:9" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(
        r"<script(?![^>]*src=)|\son[a-z]+=|javascript:|\sstyle=|https?://(?!127\.0\.0\.1)", answer.text
    )


HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


def test_what_an_address_says_is_shown_as_text(door: Door) -> None:
    client = door.guest()
    asked = ("registry?version=", "runs?run=", "live?range=", "threshold?threshold=", "photos?run=", "now?notice=", "")
    for place in asked:
        text = client.get(f"/{place}{quote(HOSTILE)}").text
        assert "<img src=x" not in text
        assert ">49" not in text


@settings(max_examples=30)
@given(back=st.text(max_size=80))
def test_a_change_leads_back_to_its_own_page(back: str) -> None:
    door = Door()
    answer = door.guest().post("/review/do/skip", data=door.form(image="x", back=back))
    assert re.match(r"/review\?(\S*&)?notice=[0-9a-f]{16}$", answer.headers["location"])


def test_no_file_of_this_machine_is_served(door: Door) -> None:
    client = door.guest()
    for path in ("../application.py", "..%2fapplication.py", "%2e%2e/%2e%2e/setup.py", "/etc/passwd"):
        assert client.get(f"/static/{path}").status_code == 404
