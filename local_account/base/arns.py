"""Amazon Resource Names and addresses of queues: the one place that takes them apart.

Used in the server process. Form: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html. Whoever acts on
a resource that an ARN names reads it with `own_arn`, which gives nothing for another account's or another region's; a
test holds that no other module splits one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

_ARN = re.compile(r"arn:(aws[\w-]*):([\w-]+):([\w-]*):(\d{12}|aws|):(.+)", re.DOTALL)
_FUNCTION = re.compile(
    r"(?:arn:[\w-]+:lambda:)?(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[^:]*)(?::(?P<qualifier>.*))?",
    re.DOTALL,
)
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

    @property
    def parts(self) -> list[str]:
        """What stands between the colons of the resource: ``stateMachine``, the name, a version or an alias."""
        return self.resource.split(":")

    @property
    def steps(self) -> list[str]:
        """What stands between the slashes of the resource: ``stack``, its name and its id."""
        return self.resource.split("/")

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


def machine_part(text: str) -> str:
    """The ARN of a state machine, from its own or from that of a version or an alias of it; another text as it is."""
    arn = read_arn(text)
    return str(replace(arn, resource=":".join(arn.parts[:2]))) if arn else text


def without_last(text: str) -> str:
    """What stands before the last ``:``, the resource whose version or alias this is; empty where there is none."""
    return text.rpartition(":")[0]


def name_of(text: str, service: str, kind: str) -> str:
    """The name in an ARN of this kind, ``arn:...:KIND/NAME``; any other text, such as a plain name, as it is.

    So an ARN of another service or kind is found under no name.
    """
    arn = read_arn(text)
    return arn.name if arn is not None and (arn.service, arn.kind) == (service, kind) else text


def arn_fields(text: str) -> list[str] | None:
    """The six fields of an ARN or of a policy's pattern of ARNs, wildcards and all; None for fewer."""
    fields = text.split(":", 5)
    return fields if len(fields) == 6 else None


@dataclass(frozen=True)
class ObjectPlace:
    """A bucket, and a key or a prefix in it; ``key`` is empty for the bucket itself."""

    bucket: str
    key: str


def object_place(text: str) -> ObjectPlace:
    """The bucket and the key of an object's ARN, of ``s3://BUCKET/KEY`` or of ``BUCKET/KEY``."""
    arn = read_arn(text)
    bucket, _, key = (arn.resource if arn else text.removeprefix("s3://")).partition("/")
    return ObjectPlace(bucket, key)


@dataclass(frozen=True)
class FunctionText:
    """What a FunctionName says; ``region``, ``account`` and ``qualifier`` are empty where it does not say them."""

    region: str
    account: str
    name: str
    qualifier: str

    def is_in(self, account: str, region: str) -> bool:
        """Whether it is of this account and region, as far as it says."""
        return self.account in {"", account} and self.region in {"", region}


def read_function_name(text: str) -> FunctionText:
    """A function's name, a part of its ARN or its ARN, each with or without a qualifier (lambda/latest/api)."""
    match = _FUNCTION.fullmatch(text)
    if match is None:
        return FunctionText("", "", text, "")
    return FunctionText(*(match[name] or "" for name in ("region", "account", "name", "qualifier")))


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
