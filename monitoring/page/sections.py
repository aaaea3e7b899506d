"""The sections of the page that say what the report concludes: drift, quality, and the pictures to look at.

Runs in the monitoring container. Values in, HTML out; all text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from monitoring.page.thumbnails import thumbnail
from monitoring.page.wording import clock, count, table


def moved(family: Mapping[str, Any]) -> list[str]:
    """The channels of a family that its alarm is about."""
    return [name.replace("_", " ") for name, state in family["channels"].items() if state["moved"]]


def drift(document: Mapping[str, Any], figure: str) -> str:
    """Evidence, channels and violations; nothing where drift was not looked for."""
    found = document["drift"]
    if found is None:
        return ""
    baseline = found["baseline"]
    since = "since the version was deployed, " if found["since_deployment"] else ""
    text = (
        f"From {clock(found['start'])} to {clock(found['end'])} UTC ({since}{count(found['predictions'], 'prediction')}"
        f"), against {count(baseline['count'], 'prediction')} of the {baseline['origin']}. On healthy traffic, fewer "
        f"than {found['rate_per_month']:.1%} of months have an alarm."
    )
    learning = (
        ""
        if found["class_shares_learned"]
        else '<p class="note">How often each class is seen is still being learned from the first 7 days of traffic '
        f"(until {clock(found['learned_until'])} UTC): a change of the mix raises no alarm yet.</p>"
    )
    headers = ["channel", "evidence / threshold", "moved since", "PSI", "JS", "KS", "Wasserstein"]
    tables = "".join(
        f"<h3>{escape(family['family'].capitalize())}: {_state(family)}</h3>"
        + table(headers, _channels(family), text_columns=1)
        for family in found["families"]
        if family["channels"]
    )
    note = (
        '<p class="note">Only the evidence decides. The distances describe, and are large on few predictions of '
        "healthy traffic too; Wasserstein is in the channel's own unit.</p>"
    )
    return (
        f'<section><h2>Drift</h2><p class="note">{escape(text)}</p>{learning}{figure}{tables}{note}'
        f"{_violations(document)}</section>"
    )


def _state(family: Mapping[str, Any]) -> str:
    return f"alarm, since {clock(family['since'])} UTC" if family["alarm"] else "as expected"


def _channels(family: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, state in sorted(family["channels"].items(), key=lambda item: (-item[1]["moved"], -item[1]["level"])):
        distances = [state["distances"].get(key) for key in ("psi", "js", "ks", "wasserstein")]
        since = clock(family["since"])[:-3] if state["moved"] else ""
        numbers = ["" if value is None else f"{value:.3g}" for value in distances]
        rows.append([name.replace("_", " "), f"{state['level']:.2f}", since, *numbers])
    return rows


def _violations(document: Mapping[str, Any]) -> str:
    rows = [[v["feature_name"], v["description"]] for v in document["violations"]]
    if not rows:
        return ""
    return f"<h3>Violations</h3>{table(['feature', 'what was found'], rows, text_columns=2)}"


def quality(document: Mapping[str, Any], figures: str) -> str:
    """How right the model was, where that is known, and what its confidence says of the rest."""
    found = document["quality"]
    estimated = found["estimated_accuracy"]
    if estimated is None and not found["labelled"]:
        return ""
    facts = []
    if found["labelled"]:
        facts.append(
            f"{count(found['labelled'], 'prediction')} labelled: accuracy {_with_interval(found['accuracy'])}"
            + _weighed(found["accuracy"])
        )
    else:
        facts.append("No prediction of the window is labelled yet")
    if estimated:
        facts.append(f"expected accuracy of all predictions {_with_interval(estimated)}")
    for reason, number in found["ground_truth"]["unusable"].items():
        facts.append(f"{count(number, 'label')} cannot be used: {reason}")
    if found["unknown_ids"]:
        facts.append(f"{count(found['unknown_ids'], 'label')} of predictions that the window does not have")
    text = f"<p>{escape('; '.join(facts))}.</p>"
    caveat = f'<p class="note">{escape(estimated["caveat"])}</p>' if estimated else ""
    grid = f'<div class="plots">{figures}</div>' if figures else ""
    return f"<section><h2>Quality</h2>{text}{caveat}{grid}{_per_class(found)}</section>"


def _with_interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} (95 %: {low:.3f} to {high:.3f})"


def _weighed(accuracy: Mapping[str, Any]) -> str:
    weighed = accuracy["traffic"]
    if weighed is None:
        return ", of what was labelled, which may be mostly what did not pass"
    return f", weighed by what passes {weighed:.3f}"


def _per_class(found: Mapping[str, Any]) -> str:
    if not found["labelled"]:
        return ""
    rows = [
        [name, f"{row['labels']:,}", *(_number(value) for value in (row["precision"], row["recall"], row["f1"])),
         _number(found["auc"][name])]
        for name, row in found["per_class"].items()
    ]  # fmt: skip
    return table(["class", "labels", "precision", "recall", "F1", "AUC"], rows, text_columns=1)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def pictures(document: Mapping[str, Any], images: Mapping[int, bytes | None]) -> str:
    """The predictions to look at, each kind as cards."""
    kinds = [
        (
            "Least confident predictions",
            "Lowest confidence first; ✓ passes the threshold. Below each: the inference id, or else the event id.",
            document["least_confident"],
        ),
        ("Surest mistakes", "Labelled predictions that are wrong, the most confident first.", document["mistakes"]),
        (
            "Most unusual images",
            "Of the images that were looked at, those least like the usual ones, and how far from the median.",
            document["most_unusual"],
        ),
    ]
    return "".join(_cards(title, note, rows, images) for title, note, rows in kinds if rows)


def _cards(title: str, note: str, rows: Sequence[Mapping[str, Any]], images: Mapping[int, bytes | None]) -> str:
    cards = "".join(_card(row, images.get(row["row"])) for row in rows)
    return f'<section><h2>{title}</h2><p class="note">{note}</p><ul class="cards">{cards}</ul></section>'


def _card(row: Mapping[str, Any], data: bytes | None) -> str:
    source = thumbnail(data)
    missing = "no captured input" if data is None else "input is not an image"
    picture = f'<img src="{source}" alt="">' if source else f'<div class="missing">{missing}</div>'
    remark = ""
    if "true_label" in row:
        remark = f"<br>is a {escape(row['true_label'])}"
    elif "statistic" in row:
        remark = (
            f"<br>{escape(row['statistic'].replace('_', ' '))} {row['value']:.3g}, usually {row['usual']:.3g} "
            f"({row['deviations']:.1f} sd)"
        )
    return (
        f"<li>{picture}<p><strong>{escape(row['predicted'])}</strong> {row['confidence']:.3f}"
        f"{' ✓' if row['passes'] else ''}{remark}<br>{clock(row['time'])}</p>"
        f'<p class="id">{escape(row["inference_id"] or row["event_id"])}</p></li>'
    )
