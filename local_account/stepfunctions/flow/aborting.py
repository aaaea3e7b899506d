"""What an error in one branch or iteration does to those beside it: they end, and the history says so.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local_account.stepfunctions.environment import ExecutionEnvironment, ExecutionHistory
from local_account.stepfunctions.language.encoding import now

ABORTED = {"Task", "Wait", "Map", "Parallel"}  # types of states that have an event for it


def silence(env: ExecutionEnvironment) -> None:
    """Take an environment and its frames out of the history: what is still at work there is no longer heard."""
    env.event_manager = ExecutionHistory(None, kept=False)
    for frame in list(env.frames):
        silence(frame)
    env.set_stop(stop_date=now(), error=None, cause=None)


def end_iterations(
    name: str, active: Mapping[int, ExecutionEnvironment], failed: ExecutionEnvironment, told: bool
) -> None:
    """End the iterations of a Map that are still at work, and say so in the history where ``told``."""
    if told:
        _note_task(failed)
    for index, env in sorted(active.items()):
        silence(env)
        if told:
            details = {"mapIterationAbortedEventDetails": {"name": name, "index": index}}
            failed.add_event("MapIterationAborted", details, update_source_event_id=False)
            _note_aborted(env, failed)


def end_branches(active: Iterable[ExecutionEnvironment], failed: ExecutionEnvironment, told: bool) -> None:
    """End the branches of a Parallel that are still at work, and say so in the history where ``told``."""
    if told:
        _note_task(failed)
    for env in active:
        silence(env)
        if told:
            _note_aborted(env, failed)


def _note_task(failed: ExecutionEnvironment) -> None:
    """A Task that has failed leaves its state by an event of its own; of other types none was recorded."""
    if failed.current_type == "Task":
        failed.add_event("TaskStateAborted", update_source_event_id=False)


def _note_aborted(env: ExecutionEnvironment, failed: ExecutionEnvironment) -> None:
    if env.current_type in ABORTED:
        failed.add_event(f"{env.current_type}StateAborted", update_source_event_id=False)
