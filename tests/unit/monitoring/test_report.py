"""The monitoring job writes a report whose numbers are right, whose page is safe, and writes all of it or nothing."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monitoring.page.thumbnails import thumbnail
from monitoring.report import main
from reporting.figures import BLUE, RED, class_colours
from reporting.wording import percent
from tests.places import ROOT

SAMPLE = ROOT / "tests" / "samples" / "capture.jsonl"
# Of six predictions nothing is drawn over time.
PLOTS = {"confidence_histogram.png", "class_distribution.png"}

# time, variant, probability of a bicycle; the confidences are 0.95 0.75 0.5 0.93 | 0.99 0.88
TRAFFIC = [
    ("2026-03-01T10:00:00Z", "blue", 0.95),
    ("2026-03-01T10:10:00Z", "blue", 0.25),
    ("2026-03-01T10:20:00Z", "green", 0.5),
    ("2026-03-01T10:30:00Z", "green", 0.07),
    ("2026-03-01T12:00:00Z", "blue", 0.99),
    ("2026-03-01T12:30:00Z", "blue", 0.12),
]


def record(event_id: str, time: str, bicycle: float, image: bytes | None = None) -> str:
    data = json.dumps([bicycle, round(1 - bicycle, 6)])
    capture: dict[str, Any] = {
        "endpointOutput": {
            "observedContentType": "application/json", "mode": "OUTPUT", "data": data, "encoding": "JSON",
        }
    }  # fmt: skip
    if image is not None:
        text = base64.b64encode(image).decode()
        capture["endpointInput"] = {
            "observedContentType": "image/png", "mode": "INPUT", "data": text, "encoding": "BASE64",
        }  # fmt: skip
    return json.dumps({"captureData": capture, "eventMetadata": {"eventId": event_id, "inferenceTime": time}})


def capture(root: Path, time: str, text: str, variant: str = "blue", name: str = "a.jsonl") -> None:
    folder = root / "vehicles" / variant / time[:13].replace("-", "/").replace("T", "/")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as out:
        out.write(text + "\n")


def run(tmp_path: Path, *more: str, start: str = "2026-03-01T10:00:00Z", end: str = "2026-03-01T14:00:00Z") -> int:
    message = tmp_path / "message"
    arguments = ["--captures", str(tmp_path / "captures"), "--output", str(tmp_path / "report"), "--start", start]
    arguments += ["--end", end, "--threshold", "0.93", "--classes", "bicycle,motorcycle"]
    return main([*arguments, "--message-file", str(message), *more])


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def numbers(tmp_path: Path) -> dict[str, Any]:
    text = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text, parse_constant=refuse_constant)
    return document


def page(tmp_path: Path) -> str:
    """The page, with plain spaces where no line ends before a percent sign."""
    return (tmp_path / "report" / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def png(size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "teal" if mode != "RGBA" else (0, 128, 128, 90)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    for number, (time, variant, bicycle) in enumerate(TRAFFIC):
        capture(tmp_path / "captures", time, record(f"event-{number}", time, bicycle, png()), variant)
    root = tmp_path / "captures"
    capture(root, TRAFFIC[0][0], record("event-0", *TRAFFIC[0][::2]))
    capture(root, TRAFFIC[0][0], record("before", "2026-03-01T09:59:59Z", 0.9))
    capture(root, TRAFFIC[0][0], '{"captureData":')
    return tmp_path


def test_a_model_of_drawn_images_is_called_so_and_one_of_photographs_needs_no_word(traffic: Path) -> None:
    assert run(traffic, "--data-origin", "drawn <vehicles>") == 0
    assert numbers(traffic)["verdict"].endswith("; the model was trained on drawn <vehicles>")
    assert "the model was trained on drawn &lt;vehicles&gt;." in page(traffic)
    assert run(traffic) == 0
    assert "trained on" not in page(traffic)


def test_every_number_is_the_one_computed_by_hand(traffic: Path) -> None:
    assert run(traffic, "--endpoint", "vehicles", "--least-confident", "2") == 0
    report = numbers(traffic)
    assert report["window"] == {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T14:00:00Z"}
    assert (report["endpoint"], report["threshold"]) == ("vehicles", 0.93)
    assert report["counts"] == {
        "records": 6,
        "malformed": 1,
        "duplicates": 1,
        "outside_window": 1,
        "files": 3,
        "misplaced": 0,
        "smoke_tests": 0,
        "shadow": 0,
        "other_versions": 0,
    }
    assert (report["first"], report["last"]) == ("2026-03-01T10:00:00Z", "2026-03-01T12:30:00Z")
    assert (report["below_threshold"], report["share_below_threshold"]) == (3, 0.5)
    assert report["confidence"] == pytest.approx(
        # Sorted: 0.50 0.75 0.88 0.93 0.95 0.99; a percentile p lies at position 5p, counted from 0.
        {
            "mean": 5.0 / 6, "median": 0.905, "min": 0.5, "max": 0.99,
            "p5": 0.5625, "p10": 0.625, "p25": 0.7825, "p75": 0.945, "p90": 0.97, "p95": 0.98,
        }
    )  # fmt: skip
    assert report["per_class"]["bicycle"] == pytest.approx(
        {
            "count": 3, "mean_confidence": 2.44 / 3, "below_threshold": 1,
            "share_below_threshold": 1 / 3, "share": 0.5,
        }
    )  # fmt: skip
    assert report["per_class"]["motorcycle"] == pytest.approx(
        {
            "count": 3, "mean_confidence": 2.56 / 3, "below_threshold": 2,
            "share_below_threshold": 2 / 3, "share": 0.5,
        }
    )  # fmt: skip
    blue, green = report["per_variant"]
    assert (blue["endpoint"], blue["variant"], blue["count"], blue["below_threshold"]) == ("vehicles", "blue", 4, 2)
    assert (green["variant"], green["count"], green["mean_confidence"]) == ("green", 2, pytest.approx(0.715))
    assert (green["first"], green["last"]) == ("2026-03-01T10:20:00Z", "2026-03-01T10:30:00Z")
    assert [(hour["hour"], hour["count"], hour["below_threshold"]) for hour in report["per_hour"]] == [
        ("2026-03-01T10:00:00Z", 4, 2),
        ("2026-03-01T12:00:00Z", 2, 1),
    ]
    assert report["per_hour"][0]["mean_confidence"] == pytest.approx(0.7825)
    assert report["per_hour"][0]["min_confidence"] == 0.5
    assert report["per_hour"][0]["per_class"] == {"bicycle": 2, "motorcycle": 2}
    assert report["gaps"] == [
        {"start": "2026-03-01T10:30:00Z", "end": "2026-03-01T12:00:00Z", "seconds": 5400.0},
        {"start": "2026-03-01T12:30:00Z", "end": "2026-03-01T14:00:00Z", "seconds": 5400.0},
    ]
    assert [(row["event_id"], row["predicted"], row["confidence"]) for row in report["least_confident"]] == [
        ("event-2", "bicycle", 0.5),
        ("event-1", "motorcycle", 0.75),
    ]
    (malformed,) = report["malformed"]["listed"]
    assert (malformed["file"], malformed["line"]) == ("vehicles/blue/2026/03/01/10/a.jsonl", 5)
    assert list(report["malformed"]["reasons"].values()) == [1]


def test_the_page_starts_with_the_verdict_and_shows_plots_images_and_malformed_lines(
    traffic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(traffic) == 0
    sentence = (
        "6 predictions between 2026-03-01 10:00:00 and 12:30:00 UTC; 3 (50 %) at or above the threshold 0.93; "
        "mean confidence 0.83; 1 malformed line; no baseline, so drift was not looked for"
    )
    assert capsys.readouterr().out.splitlines() == [sentence, str(traffic / "report" / "report.html")]
    html = page(traffic)
    assert f'<p class="verdict">{sentence}.</p>' in html
    assert html.count("<figure") == 2
    assert "6 predictions, too few to draw over time: mean confidence 0.833, from 0.500 to 0.990; 3 of 6 pass." in html
    assert html.count('<img src="data:image/png;base64,') == 12
    assert "vehicles/blue/2026/03/01/10/a.jsonl:5" in html
    assert {path.name for path in (traffic / "report").iterdir()} == {
        *PLOTS, "report.html", "report.json", "quarantine.jsonl",
    }  # fmt: skip
    for name in PLOTS:
        with Image.open(traffic / "report" / name) as image:
            assert image.format == "PNG"
            assert image.width > 600


class Links(HTMLParser):
    """Collects what a browser would fetch, the ids, and whether a script or an event handler slipped in."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.active += [tag] if tag in ("script", "iframe", "object", "embed", "link", "base", "form") else []
        for name, value in attrs:
            self.active += [name] if name.startswith("on") else []
            self.ids += [value or ""] if name == "id" else []
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                self.fetched.append(value or "")


def test_the_page_opens_offline_follows_the_colour_scheme_and_has_no_id_twice(traffic: Path) -> None:
    assert run(traffic) == 0
    html = page(traffic)
    links = Links()
    links.feed(html)
    assert links.active == []
    beside = {"../index.html", "report.json"}
    assert all(target.startswith(("data:image/png;base64,", "#")) or target in beside for target in links.fetched)
    assert {target[1:] for target in links.fetched if target.startswith("#")} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(links.ids)
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "fill: var(--ink)" in drawn
    assert "#1d232b" not in drawn


HOSTILE = "<script>alert('x')</script>\"&$title ${verdict} <img src=x onerror=alert(1)>"


def test_hostile_text_in_captures_is_shown_and_never_interpreted(tmp_path: Path) -> None:
    root = tmp_path / "captures"
    time = "2026-03-01T10:00:00Z"
    document = json.loads(record("a", time, 0.6, b"<svg onload=alert(1)>"))
    document["eventMetadata"]["inferenceId"] = HOSTILE
    document["captureData"]["endpointInput"]["observedContentType"] = HOSTILE
    capture(root, time, json.dumps(document), "<b onclick=alert(1)>")
    capture(root, time, record("b", "<script>alert(2)</script>", 0.6), "<i>", name="<u onload=alert(3)>.jsonl")
    assert run(tmp_path, "--endpoint", "vehicles", "--classes", "<s>$\\frac$</s>,{b}") == 0
    html = page(tmp_path)
    links = Links()
    links.feed(html)
    assert links.active == []
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;$title ${verdict} &lt;img" in html
    assert "&lt;b onclick=alert(1)&gt;" in html
    assert "&lt;u onload=alert(3)&gt;.jsonl:1" in html
    assert "&lt;s&gt;$\\frac$&lt;/s&gt;" in html
    assert "input is not an image" in html
    for tag in ("<script", "<b ", "<i>", "<u ", "<s>", "<svg onload"):
        assert tag not in html
    assert numbers(tmp_path)["least_confident"][0]["inference_id"] == HOSTILE


def test_an_empty_window_is_one_line_exit_1_and_writes_nothing(
    traffic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(traffic, start="2027-01-01T00:00:00Z", end="2027-01-02T00:00:00Z") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "no predictions from 2027-01-01T00:00:00+00:00 to 2027-01-02T00:00:00+00:00" in printed.err
    assert "--when-empty report" in printed.err
    assert not (traffic / "report").exists()
    assert (traffic / "message").read_text() == printed.err.strip()


def test_an_empty_window_that_is_to_be_reported_says_so_and_leaves_no_plots_of_an_earlier_report(traffic: Path) -> None:
    assert run(traffic) == 0
    assert run(traffic, "--when-empty", "report", start="2027-01-01T00:00:00Z", end="2027-01-02T00:00:00Z") == 0
    assert {path.name for path in (traffic / "report").iterdir()} == {"report.html", "report.json"}
    report = numbers(traffic)
    assert report["counts"]["records"] == 0
    assert (report["share_below_threshold"], report["confidence"]["mean"], report["first"]) == (None, None, None)
    assert report["per_class"]["bicycle"] == {
        "count": 0, "mean_confidence": None, "below_threshold": 0, "share_below_threshold": None, "share": None,
    }  # fmt: skip
    assert report["gaps"][0]["seconds"] == 86_400.0
    assert "No predictions between 2027-01-01 00:00:00 and 2027-01-02 00:00:00 UTC; 0 malformed lines;" in page(traffic)


def test_only_malformed_lines_are_named_in_the_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture(tmp_path / "captures", TRAFFIC[0][0], "{")
    assert run(tmp_path) == 1
    assert "1 malformed, the first at vehicles/blue/2026/03/01/10/a.jsonl:1: not JSON" in capsys.readouterr().err
    assert run(tmp_path, "--when-empty", "report") == 0
    quarantined = json.loads((tmp_path / "report" / "quarantine.jsonl").read_text())
    assert (quarantined["line"], quarantined["text"]) == (1, "{")


def test_a_missing_folder_is_one_line_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 1
    assert capsys.readouterr().err.startswith("report: expected a folder of captured traffic at ")


def test_a_failing_run_leaves_the_earlier_report_untouched(traffic: Path) -> None:
    assert run(traffic) == 0
    before = {path.name: path.read_bytes() for path in (traffic / "report").iterdir()}
    assert run(traffic, start="2027-01-01T00:00:00Z", end="2027-01-02T00:00:00Z") == 1
    assert {path.name: path.read_bytes() for path in (traffic / "report").iterdir()} == before


def test_an_output_that_cannot_be_written_is_one_line_and_exit_1(
    traffic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (traffic / "blocked").write_text("a file where the output folder should be")
    assert run(traffic, "--output", str(traffic / "blocked")) == 1
    assert re.fullmatch(r"report: .*File exists.*blocked.*\n", capsys.readouterr().err)


def test_no_temporary_folder_remains_when_a_file_cannot_be_put_in_place(traffic: Path) -> None:
    (traffic / "report" / "report.html").mkdir(parents=True)
    assert run(traffic) == 1
    assert not list((traffic / "report").glob(".partial-*"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--threshold", "1.5", "expected a number from 0 to 1, or"),
        ("--threshold", "nan", "expected a number from 0 to 1, or"),
        ("--start", "soon", "expected an ISO 8601 time"),
        ("--classes", "bicycle", "expected different labels"),
        ("--classes", "a,a", "expected different labels"),
        ("--least-confident", "-1", "expected"),
    ],
)
def test_a_wrong_argument_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, option, value)
    assert message in capsys.readouterr().err


def test_the_same_captures_give_the_same_files(traffic: Path) -> None:
    def written() -> dict[str, bytes]:
        assert run(traffic) == 0
        files = {path.name: path.read_bytes() for path in (traffic / "report").iterdir()}
        # But for the minute that they were written in.
        for name in ("report.html", "report.json"):
            files[name], times = re.subn(rb'\d{4}-\d\d-\d\d \d\d:\d\d UTC(?=</dd>|")', b"", files[name])
            assert times
        return files

    assert written() == written()


def test_the_sample_of_the_contract_makes_a_report_as_the_container_starts_it(tmp_path: Path) -> None:
    for text in SAMPLE.read_text().splitlines():
        capture(tmp_path / "captures", "2026-03-01T10:00:00Z", text)
    command = [sys.executable, "-m", "monitoring.report", "--captures", str(tmp_path / "captures")]
    command += [
        "--output",
        str(tmp_path / "report"),
        "--start",
        "2026-03-01T10:00:00Z",
        "--end",
        "2026-03-01T11:00:00Z",
    ]
    command += ["--threshold", "0.93", "--classes", "bicycle,motorcycle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 predictions between 2026-03-01 10:00:00 and 10:45:00 UTC; 2 (50 %) at or above")
    assert page(tmp_path).count('<img src="data:image/png;base64,') == 6
    assert page(tmp_path).count("no captured input") == 1


def test_a_thousand_predictions_at_one_moment_and_many_classes_are_drawn(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(40)]
    time = "2026-03-01T10:00:00Z"
    document = json.loads(record("x", time, 1.0))
    for number in range(1000):
        probabilities = [0.0] * 40
        probabilities[number % 40] = 1.0
        document["captureData"]["endpointOutput"]["data"] = json.dumps(probabilities)
        document["eventMetadata"]["eventId"] = f"event-{number}"
        capture(tmp_path / "captures", time, json.dumps(document))
    assert run(tmp_path, "--classes", ",".join(labels)) == 0
    assert "29 others" in page(tmp_path)
    assert numbers(tmp_path)["per_class"]["class 39"]["count"] == 25


def test_classes_beyond_the_colours_share_an_entry_of_the_legend(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(12)]
    for number in range(60):
        time = f"2026-03-01T10:{number:02}:00Z"
        document = json.loads(record("x", time, 1.0))
        document["captureData"]["endpointOutput"]["data"] = json.dumps([float(at == number % 12) for at in range(12)])
        document["eventMetadata"]["eventId"] = f"event-{number}"
        capture(tmp_path / "captures", time, json.dumps(document))
    assert run(tmp_path, "--classes", ",".join(labels)) == 0
    chart = page(tmp_path).partition("Confidence over time")[2].partition("</figure>")[0]
    legend = [label for label in re.findall(r">([^<>]+)</text>", chart) if "class" in label]
    assert legend == [*labels[:8], "other classes"] * 2, "once for a wide window, once for a narrow one"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 3, "0 %"), (3, 3, "100 %"), (14, 20, "70 %"), (1, 3, "33.3 %"), (1, 8, "12.5 %"),
        (99_999, 100_000, "> 99.9 %"), (1, 100_000, "< 0.1 %"),
    ],
)  # fmt: skip
def test_percentages_never_round_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert percent(part / whole) == text


def test_pictures_of_any_mode_and_size_become_small_thumbnails_and_anything_else_none() -> None:
    for data in (png(), png((900, 600)), png(mode="RGBA"), png(mode="L"), png(mode="P"), png(mode="1")):
        source = thumbnail(data)
        assert source is not None
        with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as image:
            assert max(image.size) <= 128
    assert [thumbnail(data) for data in (None, b"", b"<svg/>", png()[:60], png((6000, 6000), "1"))] == [None] * 5


def test_colours_follow_the_convention_whatever_the_order() -> None:
    assert class_colours(("motorcycle", "bicycle")) == {"motorcycle": RED, "bicycle": BLUE}
    assert class_colours(("cat", "dog")) == {"cat": BLUE, "dog": RED}
    colours = class_colours(("cat", "bicycle", "dog"))
    assert colours["bicycle"] == BLUE
    assert len(set(colours.values())) == 3
