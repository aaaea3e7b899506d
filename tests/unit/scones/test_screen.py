"""What reaches the terminal: nothing that it would obey, times in one form, reasons whole, a full disk in one line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from scones import screen
from scones.plain_text import PlainConsole, brief, one_form_of_times, plain, time_text, unsigned
from scones.runs.executions import ImageOutcome, StoredImage
from scones.runs.pipeline_runs import Run, RunStep

OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c\u2028\u2029\ud800-\udfff]"
)


def printed(*what: object) -> str:
    stream = io.StringIO()
    PlainConsole(file=stream, width=400, soft_wrap=True).print(*what, markup=False)
    return stream.getvalue()


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=[]), max_size=40))
def test_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    cells = screen.table("name", rows=[(text,)])
    by_hand = Table()
    by_hand.add_column(Text(text))
    for shown in (plain(text), printed(text), printed(Text(text)), printed(cells), printed(by_hand)):
        assert not OBEYED.search(shown)


def test_ordinary_text_is_left_as_it_is() -> None:
    for text in ("vélo 自行車 👩‍🚒\tnext", "a [bold]bracket[/bold]", "two\nlines"):
        assert plain(text) == text
    assert plain("a\x1b[31mb\u202egnp.exe") == r"a\x1b[31mb\u202egnp.exe"


def test_a_table_stays_straight_around_what_is_shown_instead() -> None:
    lines = printed(screen.table("key", "next", rows=[("\x1b]0;title\x07", "x"), ("short", "x")])).splitlines()
    assert len({line.rstrip().rfind("x") for line in lines[1:]}) == 1


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])))
def test_times_of_documents_have_one_form(moment: datetime) -> None:
    forms = [moment, moment.isoformat(), str(moment), moment.isoformat(timespec="microseconds")]
    if moment.year < 1000:
        return
    found = one_form_of_times({"list": forms, "nested": ({"at": moment},)})
    assert isinstance(found, dict)
    expected = time_text(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", expected)
    assert found["nested"][0]["at"] == expected
    assert set(found["list"]) == {expected}


def test_texts_that_only_begin_like_a_time_are_left_alone() -> None:
    for text in ("2026-01-31T12:00:00Z.png", "2026-01-31", "2026-99-31T12:00:00Z", "at 2026-01-31T12:00:00Z"):
        assert one_form_of_times(text) == text


def test_arns_become_names_and_the_signature_goes() -> None:
    assert brief("ann, arn:aws:iam::123456789012:user/team/ann") == "ann, ann"
    assert brief("arn:aws-cn:sagemaker:cn-north-1:1:model-package/group/7 failed") == "7 failed"
    assert unsigned("looks good [by ann, arn:aws:iam::1:user/ann]") == "looks good"


def test_a_reason_is_never_cut_off() -> None:
    reason = "word " * 200 + "end"
    outcome = ImageOutcome(StoredImage("b", "k.png"), "FAILED", None, None, reason, "arn")
    step = RunStep("Train", "Failed", None, None, reason, "TrainingJob", "", cached=False)
    assert "end" in printed(screen.outcomes_table([outcome]))
    assert "end" in printed(screen.steps_table([step]))


def test_two_members_tell_of_an_epoch_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = [f"epoch {epoch} of 2, train loss 0.{member}" for epoch in (1, 2) for member in (3, 4)]
    with screen.pipeline_view("training") as show:
        for progress in (*said, said[0]):
            step = RunStep("Train", "Executing", None, None, "", "TrainingJob", "", False, progress)
            show(Run("arn", "Executing", "", (step,)))
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert [re.findall(r"epoch \d", line)[0] for line in lines] == ["epoch 1", "epoch 2"]


WRITERS = [
    ["workflow", "definition", "--all", "--out", "OUT"],
    ["workflow", "show", "--out", "OUT"],
    ["build", "--out", "OUT"],
]


@pytest.mark.parametrize("arguments", WRITERS, ids=lambda a: " ".join(a[:2]))
def test_a_disk_that_takes_no_more_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    scones = Path(sys.executable).with_name("scones")
    command = " ".join([str(scones), *arguments]).replace("OUT", str(tmp_path / "out"))
    # No file may grow: what a full disk answers, for a process alone.
    said = subprocess.run(["bash", "-c", f"ulimit -f 0; exec {command}"], capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert len([line for line in said.stderr.splitlines() if "error:" in line]) == 1
    assert "make room" in said.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["cost"]], ids=" ".join)
def test_an_output_that_takes_no_more_is_one_line(arguments: list[str]) -> None:
    scones = Path(sys.executable).with_name("scones")
    with Path("/dev/full").open("wb") as full:
        said = subprocess.run([scones, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.strip().splitlines()[-1].startswith("error: the disk is full")
    assert "Traceback" not in said.stderr
    assert "Exception ignored" not in said.stderr


def test_json_prints_a_time_as_every_other_document_does(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_json({"at": datetime(2026, 1, 31, 12, tzinfo=UTC), "text": "2026-01-31T12:00:00.123456+00:00"})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-31T12:00:00.000Z", "text": "2026-01-31T12:00:00.123Z"}
