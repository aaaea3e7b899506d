"""Experiments, trials and trial components as what they have in common: records that are known by their names.

Runs in the server process; state: a table for each kind. The words of errors are those that AWS answers and the
SageMaker SDK looks for ("already exists").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_account.base.arns import name_of
from local_account.protocol.actions import Reply, ServiceError
from local_account.protocol.records import chosen
from local_account.protocol.service import now
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import TagTypeDef

Record = dict[str, object]


@dataclass(frozen=True)
class NamedKind:
    """``word`` begins the members' names, ``part`` the ARN's resource."""

    word: str
    part: str
    table: str


EXPERIMENT = NamedKind("Experiment", "experiment", "experiments")
TRIAL = NamedKind("Trial", "experiment-trial", "experiment-trials")
COMPONENT = NamedKind("TrialComponent", "experiment-trial-component", "experiment-trial-components")


class NamedRecords:
    """The records of one kind."""

    def __init__(self, sagemaker: SageMaker, kind: NamedKind) -> None:
        self._sagemaker, self._kind = sagemaker, kind
        self._name, self._arn = f"{kind.word}Name", f"{kind.word}Arn"

    @property
    def records(self) -> dict[str, Record]:
        """By name."""
        return self._sagemaker.table(self._kind.table, dict[str, object])

    def arn(self, name: str) -> str:
        """The ARN of the resource of a name, whether it is there or not."""
        return self._sagemaker.arn(f"{self._kind.part}/{name.lower()}")

    def create(self, request: Mapping[str, object], tags: Sequence[TagTypeDef] | None, **more: object) -> Reply:
        """Keep what a request says. Raises ServiceError for a name that is taken."""
        name, made = str(request[self._name]), now()
        with self._sagemaker.lock:
            if name in self.records:
                raise ServiceError(
                    f"{self._kind.word} names must be unique within an AWS account and region. {self._kind.word} with "
                    f"name ({name}) already exists."
                )
            kept = {key: value for key, value in request.items() if key != "Tags"}
            own = {self._arn: self.arn(name), "CreationTime": made, "LastModifiedTime": made}
            self.records[name] = {"DisplayName": name, "CreatedBy": {}, "LastModifiedBy": {}, **kept, **own, **more}
            set_tags(self._sagemaker, self.arn(name), tags)
            self._sagemaker.changed()
        return {self._arn: self.arn(name)}

    def find(self, name_or_arn: str) -> Record:
        """The record of a name or an ARN. Raises ServiceError where there is none."""
        name = name_of(name_or_arn, "sagemaker", self._kind.part)
        record = self.records.get(name)
        if record is None:
            raise ServiceError(f"{self._kind.word} '{self.arn(name)}' does not exist.", "ResourceNotFound")
        return record

    def update(self, request: Mapping[str, object], change: Callable[[Record], None] | None = None) -> Reply:
        """Replace the members that a request names. Raises ServiceError for an unknown name."""
        with self._sagemaker.lock:
            record = self.find(str(request[self._name]))
            given = {key: value for key, value in request.items() if not key.endswith("ToRemove")}
            merged = {key: _merged(record.get(key), value) for key, value in given.items()}
            record |= {**merged, self._name: record[self._name], "LastModifiedTime": now()}
            if change:
                change(record)
            self._sagemaker.changed()
        return {self._arn: record[self._arn]}

    def remove(self, name: str, hindrance: Callable[[str], str]) -> Reply:
        """Forget a record, unless ``hindrance`` says what stands in the way. Raises ServiceError."""
        with self._sagemaker.lock:
            record = self.find(name)
            own = str(record[self._name])
            if why := hindrance(own):
                raise ServiceError(f"{self._kind.word} '{self.arn(own)}' cannot be deleted: {why}.")
            del self.records[own]
            drop_tags(self._sagemaker, self.arn(own))
            self._sagemaker.changed()
        return {self._arn: self.arn(own)}

    def page(self, found: Iterator[Record] | Sequence[Record], request: Mapping[str, object]) -> Reply:
        """Answer a page of summaries, the newest first."""
        word, names = self._kind.word, [self._name, self._arn, "DisplayName", "CreationTime", "LastModifiedTime"]
        source = f"{word}Source"
        shown = [{**one, source: one["Source"]} if "Source" in one else one for one in found]
        fields = [*names, source, "CreatedBy", "LastModifiedBy", "Status", "StartTime", "EndTime"]
        told = [*names, source] if word != "TrialComponent" else fields
        return listing(shown, request, key=f"{word}Summaries", fields=told, name_field=self._name)


def _merged(before: object, given: object) -> object:
    """Maps get the new entries, everything else the new value."""
    return {**before, **given} if isinstance(before, dict) and isinstance(given, dict) else given


def shown(record: Record, *names: str) -> Record:
    """A record without the account's own members, or only some of its members."""
    return chosen(record, names) if names else {key: value for key, value in record.items() if not key.startswith("_")}
