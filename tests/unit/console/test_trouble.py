"""The console while its account is in trouble: every page says what is wrong, and none breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from console.account import ConsoleAccount
from console.application import application
from console.safety.secrets import ConsoleSecrets
from scones.stage.settings import Settings
from tests.asgi_client import Client
from tests.unit.console.scripted_account import ScriptedAccount, scripted_account

PORT = 8765
PAGES = ("now", "live", "runs", "registry", "threshold", "photos", "review", "reports")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAccount]:
    with scripted_account() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield made


@pytest.fixture
def guest() -> Client:
    secrets = ConsoleSecrets()
    client = Client(application(ConsoleAccount(Settings.load("local")), secrets, PORT), f"127.0.0.1:{PORT}")
    client.cookies[f"scones-console-{PORT}"] = secrets.session
    return client


def failures(text: str) -> list[str]:
    return re.findall(r'class="failure"[^>]*>(.*?)</p>', text, flags=re.DOTALL)


@pytest.mark.parametrize("page", ["registry", "review", "runs"])
def test_credentials_that_expire_are_named_and_asked_for_anew(
    account: ScriptedAccount, guest: Client, page: str
) -> None:
    account.trouble = "ExpiredTokenException"
    answer = guest.get(f"/{page}")
    assert answer.status_code == 200
    assert "ExpiredToken" in " ".join(failures(answer.text))
    assert account.asked["sts"] > 1, "the session was made anew"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("ResourceNotFound", "stage &#39;local&#39; is not deployed: run `scones deploy` first"), ("AccessDenied", "")],
)
def test_every_page_of_a_stage_in_trouble_says_so(
    account: ScriptedAccount, guest: Client, trouble: str, said: str
) -> None:
    account.trouble = trouble
    for page in PAGES:
        answer = guest.get(f"/{page}")
        told = failures(answer.text)
        assert told or "Not everything could be read" in answer.text, page
        assert not [line for line in told if said not in line or "fault of this console" in line], (page, told)
        assert "<b>way</b>" not in answer.text
