"""The page that lists the reports below a prefix: ``index.html``, and ``index.json`` from which it is made.

Runs in the monitoring container, at the end of `monitoring.report`. Of two jobs that end at the same moment, one may
be missing in the list until it is written again; its report is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from monitoring.job_inputs.places import Prefix
from monitoring.page.wording import clock

TEMPLATE = Path(__file__).with_name("index.html")
# Hourly reports of six weeks.
LISTED = 1000


def note_report(report_uri: str, document: Mapping[str, Any]) -> None:
    """Add a report to the list of those beside it. Raises JobError."""
    parent, _, name = report_uri.rstrip("/").rpartition("/")
    prefix = Prefix(parent)
    alarms = [family["family"] for family in (document["drift"] or {"families": []})["families"] if family["alarm"]]
    records = document["counts"]["records"]
    entry = {"name": name, "verdict": document["verdict"], "alarms": alarms, "records": records, **document["window"]}
    known = [each for each in _known(prefix) if each["name"] != name]
    listed = sorted([entry, *known], key=lambda each: (each["end"], each["start"]), reverse=True)[:LISTED]
    prefix.write("index.json", json.dumps(listed, indent=1).encode(), "application/json")
    prefix.write("index.html", render(listed).encode("utf-8", "replace"), "text/html; charset=utf-8")


def render(listed: list[dict[str, Any]]) -> str:
    """The page; the newest report first."""
    rows = "".join(
        f'<li{" class=alarm" if each["alarms"] else ""}><a href="{quote(each["name"])}/report.html">'
        f"{escape(clock(each['start']))} to {escape(clock(each['end']))} UTC</a><p>{escape(each['verdict'])}.</p></li>"
        for each in listed
    )
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(rows=rows)


def _known(prefix: Prefix) -> list[dict[str, Any]]:
    """What was listed so far; a list that is none is begun anew."""
    try:
        listed = json.loads(prefix.read("index.json") or b"[]")
        return [each for each in listed if {"name", "verdict", "alarms", "start", "end"} <= each.keys()]
    except (ValueError, TypeError, AttributeError):
        return []
