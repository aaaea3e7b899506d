"""The console while the disk of its account is full: it reads on, and says of each change why it was not made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.console_stage import SURE, ConsoleStage, console_stage, until
from tests.local.console.test_console_pages import PAGES, failures, visitor
from tests.local.small_disk import fill, mounted

pytestmark = pytest.mark.slow
SIZE_MIB = 400


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsoleStage]:
    """A stage that serves, with nothing left of its disk."""
    with mounted(tmp_path / "disk", SIZE_MIB) as disk, console_stage(disk) as stage:
        for name, value in stage.environment.items():
            monkeypatch.setenv(name, value)
        filler = fill(disk)
        until(lambda: refuses(stage), "the account finds the disk full")
        yield stage
        filler.unlink()


def refuses(stage: ConsoleStage) -> bool:
    """Whether one more change is refused: what the account could still note in room of its own comes first."""
    try:
        stage.client("ssm").put_parameter(Name="/filling", Value="v" * 4000, Type="String", Overwrite=True)
    except ClientError as error:
        assert "No space left on device" in str(error)
        return True
    return False


def test_pages_are_read_and_changes_say_that_the_disk_is_full(crowded: ConsoleStage) -> None:
    guest = visitor()
    sent = guest.send(SURE, "bright.png")
    assert "No space left on device" in sent.text
    for page in PAGES:
        unread = [line for line in failures(guest.get(page)) if "never ran" not in line and "a baseline" not in line]
        assert unread == [], page
    changes = (
        ("threshold/do/set", {"threshold": "0.5", "reason": "x"}),
        ("registry/do/approve", {"version": "2", "reason": "x"}),
        ("reports/do/now", {"since": "1h"}),
    )
    for place, fields in changes:
        assert "No space left on device" in guest.post(place, **fields), place
    assert crowded.threshold()["default"] == 0.93
