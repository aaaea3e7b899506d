"""What the report's section about drift says in words and tables.

Runs in the monitoring container. Values in, blocks out.
"""

from __future__ import annotations

from reporting.documents.report import Channel, Drift, Family
from reporting.page import Block, Table, Text
from reporting.wording import UNKNOWN, clock, count, percent, percent_or_unknown

DISTANCES = {"psi": "PSI", "js": "JS", "ks": "KS", "wasserstein": "Wasserstein"}


def held_against(found: Drift) -> str:
    """From when to when, and against what."""
    since = "since the version was deployed, " if found.since_deployment else ""
    return (
        f"From {clock(found.start)} to {clock(found.end)} UTC ({since}{count(found.predictions, 'prediction')}), "
        f"against {count(found.baseline.count, 'prediction')} of the {found.baseline.origin}. On healthy traffic, "
        f"at most {percent(found.rate_per_month)} of months have an alarm."
    )


def class_share_blocks(found: Drift) -> list[Block]:
    """A row for each class, of many those that changed most, and until when no more than that is judged."""
    shares = list(found.class_shares.items())
    if len(shares) > Table.longest:  # what changed most comes first
        shares.sort(key=lambda of_class: -abs((of_class[1].window or 0.0) - of_class[1].baseline))
    rows = [
        [name, percent(row.baseline), f"{percent(row.lower)} to {percent(row.upper)}", percent_or_unknown(row.window)]
        for name, row in shares
    ]
    learned = "The daily rhythm of the first 7 days is held against too."
    if not found.class_shares_learned:
        learned = f"Smaller changes of the mix are not judged yet, but from {clock(found.learned_until)} UTC on."
    note = (
        "From the first hour on a share may lie within what is tolerated: its odds may change two and a half times. "
        f"{learned}"
    )
    return [Table(["class", "baseline", "tolerated", "window"], rows), Text(note, soft=True)]


def state_of(family: Family) -> str:
    """In one word what was judged, and what was not."""
    if family.alarm and family.since:
        return f"alarm, since {clock(family.since)} UTC"
    left = family.unjudged()
    if len(left) == len(family.channels):
        return "not judged yet"
    return "as expected, as far as judged" if left else "as expected"


def unjudged_words(channel: Channel) -> str:
    """Why nothing is said of a channel, and when it will be."""
    if not channel.values:
        return "not judged: nothing was captured"
    when = f" from about {clock(channel.judged_from)[:-3]}" if channel.judged_from else ""
    return f"not judged yet, {channel.values:,} of {channel.needed:,} values; will be{when}"


def channel_table(family: Family) -> Table:
    """A row for each channel, what moved first."""
    rows = []
    for name, channel in sorted(family.channels.items(), key=lambda item: (-item[1].moved, -item[1].highest)):
        distances = [channel.distances.get(key) for key in DISTANCES]
        numbers = ["" if value is None else f"{value:.3g}" for value in distances]
        rows.append([name.replace("_", " "), _word(channel, family), *_highest(channel), *numbers])
    headers = ["channel", "state", "highest evidence / threshold", "reached in the hour of", *DISTANCES.values()]
    return Table(headers, rows, text_columns=2)


def _word(channel: Channel, family: Family) -> str:
    if channel.moved and family.since:
        return f"moved, since {clock(family.since)[:-3]}"
    return "as expected" if channel.judged else unjudged_words(channel)


def _highest(channel: Channel) -> list[str]:
    return [f"{channel.highest:.2f}", clock(channel.highest_at)[:-3] if channel.highest_at else UNKNOWN]
