"""What is taken away from a stack: by a deletion, a rollback, or an update that left it out or replaced it.

Runs in the server process, in the thread of an operation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.record import KnownStack
from local_account.cloudformation.records import StackResource
from local_account.cloudformation.resources.base import StackPlace
from local_account.cloudformation.resources.kinds import kind_of
from local_account.cloudformation.resources.values import ResourceError
from local_account.cloudformation.stack_policy import StackPolicy
from local_account.cloudformation.template import parse

log = logging.getLogger(__name__)


@dataclass
class Course:
    """How one operation goes: until when, under which policy, and which resources it has made."""

    deadline: float | None = None
    policy: StackPolicy = field(default_factory=StackPolicy)
    made: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, minutes: int | None, policy: str = "") -> Course:
        """The course of an operation that may take so many minutes."""
        return cls(None if minutes is None else time.monotonic() + 60 * minutes, StackPolicy.read(policy))


class ShrinkingStack(KnownStack):
    """A stack and the steps by which its resources go."""

    def attempt(self, step: Callable[[], object]) -> str | None:
        """Run a step; the reason why it failed, or None."""
        try:
            step()
        except (ResourceError, InvalidTemplateError, ClientError, BotoCoreError) as error:
            return str(error)
        except Exception as error:  # a fault of ours ends the operation as any other failure does
            log.exception("stack %s", self.record["StackName"])
            return f"{type(error).__name__}: {error}"
        return None

    def _place(self, logical: str, course: Course, begun: Callable[[str], None] | None = None) -> StackPlace:
        name, role = self.record["StackName"], self.record.get("RoleARN", "")
        place = StackPlace(
            self.account,
            name,
            logical,
            role,
            self.record["StackId"],
            tuple(self.record["Capabilities"]),
            deadline=course.deadline,
        )
        place.check_time()
        return place if begun is None else replace(place, begun=begun)

    def clean_up(self, rolled_back: bool) -> None:
        """After an update: remove what was replaced and what the template left out; a failure does not undo it."""
        for logical, replaced in self.record.pop("Replaced", {}).items():
            self._remove_old(logical, replaced, not rolled_back and replaced.get("UpdateReplacePolicy") == "Retain")
        for logical, abandoned in self.record.pop("Abandoned", {}).items():
            self._remove_old(logical, abandoned, retained=False)
        wanted = self.current_scope(parse(self.record["Template"])).active_resources()
        for logical in [name for name in reversed(self.resources) if name not in wanted]:
            retained = not rolled_back and self.resources[logical]["DeletionPolicy"].startswith("Retain")
            self._remove_old(logical, self.resources.pop(logical), retained)

    def _remove_old(self, logical: str, resource: StackResource, retained: bool) -> None:
        if not resource["PhysicalResourceId"]:
            return
        if retained:
            self.event_of_old(logical, resource, "DELETE_SKIPPED")
            return
        self.event_of_old(logical, resource, "DELETE_IN_PROGRESS")
        reason = self.attempt(partial(self._delete, logical, resource))
        self.event_of_old(logical, resource, "DELETE_FAILED" if reason else "DELETE_COMPLETE", reason)

    def remove(self, names: list[str], retained: Collection[str] = (), made: Collection[str] = ()) -> str | None:
        """Delete resources in this order; why some could not be deleted, or None.

        ``retained`` stay whatever their policy says; of those that were just ``made``, fewer do.
        """
        failed = []
        for logical in names:
            resource = self.resources[logical]
            if not resource["PhysicalResourceId"]:
                self._forget(logical)
            elif logical in retained or self._stays(resource, logical in made):
                self.mark(logical, "DELETE_SKIPPED")
                self._forget(logical)
            elif not self._removed(logical, resource):
                failed.append(logical)
        return f"The following resource(s) failed to delete: [{', '.join(failed)}]. " if failed else None

    @staticmethod
    def _stays(resource: StackResource, just_made: bool) -> bool:
        policy = resource["DeletionPolicy"]
        return policy == "Retain" or (policy == "RetainExceptOnCreate" and not just_made)

    def _removed(self, logical: str, resource: StackResource) -> bool:
        self.mark(logical, "DELETE_IN_PROGRESS")
        reason = self.attempt(partial(self._delete, logical, resource))
        self.mark(logical, "DELETE_FAILED" if reason else "DELETE_COMPLETE", reason)
        if reason is None:
            self._forget(logical)
        return reason is None

    def _forget(self, logical: str) -> None:
        self.record.setdefault("Gone", {})[logical] = self.resources.pop(logical)

    def _delete(self, logical: str, resource: StackResource) -> None:
        kind = kind_of(resource["ResourceType"])
        place = self._place(logical, Course())
        kind.delete(place, resource["PhysicalResourceId"], resource["Properties"])
