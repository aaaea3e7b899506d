"""Replays of archives: the events that an archive kept go to the rules of its bus once more.

Runs in the server process, in the thread of StartReplay; deliveries have their own. Source: EventBridge User Guide,
"Archiving and replaying events": only the rules that are asked for, if any are, and each event tells the replay.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from moto.core.utils import unix_time
from moto.events.models import Archive, Replay, ReplayState, events_backends

from local_account.base.arns import last_part
from local_account.base.replacements import replace

if TYPE_CHECKING:
    from moto.events.models import Rule


def install() -> None:
    """Let replays end: moto's archives keep what they replay."""
    replace(Replay, "replay_events", _replay, why="moto replays into the archive that it replays, which never ends")


def is_archive(arn: str) -> bool:
    """Whether this is the target by which moto keeps events in an archive."""
    return arn.endswith(":::")


def last_replayed(replay: Replay) -> dict[str, float]:
    """What a replay's description tells of the last event, where there was one."""
    time: float | None = vars(replay).get("last_replayed")
    return {} if time is None else {"EventLastReplayedTime": time}


def _replay(self: Replay, archive: Archive) -> None:
    bus = events_backends[self.account_id][self.region].describe_event_bus(last_part(self.destination["Arn"]))
    wanted = self.destination.get("FilterArns")
    rules = [rule for rule in bus.rules.values() if not wanted or rule.arn in wanted]
    begin, end = _seconds(self.event_start_time), _seconds(self.event_end_time)
    for event in [each for each in archive.events if begin <= float(each["ingestion-time"]) < end]:
        for rule in rules:
            if not _keeps(rule):
                rule.send_to_targets({**event, "replay-name": self.name})
        vars(self)["last_replayed"] = float(event["ingestion-time"])
    self.state = ReplayState.COMPLETED
    self.end_time = unix_time()


def _keeps(rule: Rule) -> bool:
    """Whether a rule is moto's own, which fills an archive."""
    return any(is_archive(target["Arn"]) for target in rule.targets)


def _seconds(time: object) -> float:
    """A time of a request, in seconds since 1970."""
    text = str(time)
    try:
        return float(text)
    except ValueError:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
