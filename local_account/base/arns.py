"""Amazon Resource Names and addresses of queues: the one place that takes them apart.

Used in the server process. Form: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html. Whoever acts on
a resource that an ARN names reads it with `own_arn`, which gives nothing for another account's or another region's; a
test holds that no other module splits one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_ARN = re.compile(r"arn:(aws[\w-]*):([\w-]+):([\w-]*):(\d{12}|aws|):(.+)", re.DOTALL)
_QUEUE_PATH = re.compile(r"/(?:queue/[\w-]+/)?(\d{12})/([\w-]{1,75}(?:\.fifo)?)/?")


@dataclass(frozen=True)
class Arn:
    """The parts of an ARN; ``region`` and ``account`` may be empty, as in those of S3 and IAM."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @property
    def kind(self) -> str:
        """What stands before the resource's first ``/`` or ``:``; the whole where there is none."""
        return re.split("[:/]", self.resource, maxsplit=1)[0]

    @property
    def name(self) -> str:
        """What stands behind the resource's first ``/`` or ``:``; the whole where there is none."""
        return re.split("[:/]", self.resource, maxsplit=1)[-1]

    @property
    def last(self) -> str:
        """What stands behind the resource's last ``/`` or ``:``."""
        return re.split("[:/]", self.resource)[-1]

    def is_in(self, account: str, region: str) -> bool:
        """Whether it names something of this account in this region, or of no account and region at all."""
        return self.account in {"", account} and self.region in {"", region}

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"


class ArnError(ValueError):
    """A text that is no ARN."""


def parse_arn(text: str) -> Arn:
    """The parts of an ARN; raises ArnError for any other text."""
    match = _ARN.fullmatch(text)
    if match is None:
        raise ArnError(f"expected an ARN, arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, got {text!r}")
    return Arn(*match.groups())


def read_arn(text: object) -> Arn | None:
    """The parts of an ARN; None for anything else."""
    match = _ARN.fullmatch(text) if isinstance(text, str) else None
    return Arn(*match.groups()) if match else None


def own_arn(text: object, account: str, region: str) -> Arn | None:
    """The parts of an ARN of this account in this region; None for anything else."""
    arn = read_arn(text)
    return arn if arn is not None and arn.is_in(account, region) else None


def last_part(text: str) -> str:
    """The name at the end of an ARN, of an address or of a path; a plain name as it is."""
    return re.split("[:/]", text)[-1]


@dataclass(frozen=True)
class QueueAddress:
    """Whose queue a QueueUrl names."""

    account: str
    name: str


def read_queue_url(text: object) -> QueueAddress | None:
    """The account and the name in a QueueUrl; None for anything else."""
    if not isinstance(text, str):
        return None
    match = _QUEUE_PATH.fullmatch(urlsplit(text).path)
    return QueueAddress(*match.groups()) if match else None
