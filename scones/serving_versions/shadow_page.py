"""The comparison of `shadow_report` as a page, to look at and to pass on.

Runs on a laptop or in CodeBuild. Values in, text out. A further section is one more function here, registered with
`SECTIONS.add`.
"""

from __future__ import annotations

from reporting.page import Content, Page, Sections, Table, Text, render
from reporting.wording import UNKNOWN, clock, number, percent, percent_or_unknown
from scones.serving_versions.shadow_report import Compared, latency, verdict

SECTIONS: Sections[Compared] = Sections()


def render_page(compared: Compared) -> str:
    """The whole page."""
    report = compared.report
    return render(
        Page(
            title=f"Version {report.challenger_version} in the shadow of version {report.serving_version}",
            subtitle=f"Copies of all requests since {clock(report.since)} UTC",
            verdict=f"{verdict(report)}.",
            outcome="",
            notes=[],
            sections=SECTIONS.lay_out(compared, {}),
        )
    )


@SECTIONS.add("Answers")
def answers(compared: Compared) -> Content:
    """Both versions' figures side by side."""
    report = compared.report
    serving, challenger = report.serving, report.challenger
    headers = ["", f"version {report.serving_version}, serves", f"version {report.challenger_version}, gets copies"]
    rows = [
        ["mean confidence", number(serving.mean_confidence, 4), number(challenger.mean_confidence, 4)],
        [
            "below the threshold",
            percent_or_unknown(serving.share_below_threshold),
            percent_or_unknown(challenger.share_below_threshold),
        ],
        ["mean latency", latency(serving), latency(challenger)],
    ]
    both = f"{report.answered_by_both:,} of {report.requests:,} requests were answered by both"
    if report.agreement is not None:
        both += f"; the same class to {percent(report.agreement)}"
        both += f"; the largest difference of a probability is {number(report.largest_difference, 4)}"
    return Content(before=[Text(f"{both}."), Table(headers, rows)])


@SECTIONS.add("By class")
def by_class(compared: Compared) -> Content | None:
    """How many requests got which pair of answers."""
    if not compared.answers:
        return None
    report = compared.report
    rows = [
        [f"serving: {name}", *(f"{compared.answers[row, column]:,}" for column in range(len(report.classes)))]
        for row, name in enumerate(report.classes)
    ]
    return Content(before=[Table(["requests", *(f"challenger: {name}" for name in report.classes)], rows)])


@SECTIONS.add("Answered most differently")
def furthest(compared: Compared) -> Content | None:
    """The requests whose probabilities lie furthest apart."""
    if not compared.furthest:
        return None
    classes = compared.report.classes

    def said(label: int, probabilities: list[float]) -> str:
        name = classes[label] if label < len(classes) else UNKNOWN
        return f"{name} {max(probabilities):.3f}"

    rows = [
        [
            pair.request,
            said(pair.labels[0], pair.serving),
            said(pair.labels[1], pair.challenger),
            number(pair.difference),
        ]
        for pair in compared.furthest
    ]
    note = "By inference id, or the digest of the request where the caller sent none."
    return Content(
        before=[
            Text(note, soft=True),
            Table(["request", "serving", "challenger", "difference of a probability"], rows, text_columns=3),
        ]
    )
