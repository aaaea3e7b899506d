"""Prints what the account implements: ``python -m local_account.server.catalogue [--write docs/local_account.md]``.

Installs all services of an account in an empty folder, without serving, and asks them. ``--write`` puts the lists into
the page between the lines that mark them, the operations by name into ``operations.md`` beside it, and what becomes of
members of requests into ``members.md``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.cloudformation.resources.kinds import KINDS
from local_account.protocol.members import table_of
from local_account.protocol.service import Service
from local_account.server.application import MOTO_MODULES
from local_account.server.member_pages import members_page
from local_account.server.replaced import between_marks, tell

if TYPE_CHECKING:
    from moto.backends import SERVICE_NAMES

    from local_account.server.application import Application

SERVICES_MARK = "services, printed by `python -m local_account.server.catalogue`"
TYPES_MARK = "types of resource, printed by `python -m local_account.server.catalogue`"
WIDTH = 140


@dataclass(frozen=True)
class CatalogueEntry:
    """A row of the table: some services, who does their work in which room, and what runs."""

    title: str
    names: Sequence[str]
    """As requests are signed for them."""
    by: str
    room: str
    runs: str


ENTRIES = (
    CatalogueEntry(
        "S3", ["s3"], "moto, bytes in files", "moto_services",
        "objects, versions, multipart, ranges, checksums, presigned addresses, notifications, encryption with keys",
    ),
    CatalogueEntry(
        "IAM, STS", ["iam", "sts"], "moto stores, we decide", "authority",
        "each call of a role is checked against its policies, see Permissions",
    ),
    CatalogueEntry(
        "KMS, SSM", ["kms", "ssm"], "moto", "moto_services",
        "keys encrypt and sign while they are enabled, also for S3 and SageMaker; parameters are checked and read back",
    ),
    CatalogueEntry(
        "Secrets Manager", ["secretsmanager"], "moto", "moto_services",
        "stored, in versions, and read back; nothing rotates",
    ),
    CatalogueEntry(
        "ECR", ["ecr"], "moto", "moto_services",
        "repositories, their tags and policies are stored and read back; images are neither pushed nor pulled",
    ),
    CatalogueEntry(
        "CloudWatch Logs", ["logs"], "moto, patterns and queries our own", "logs",
        "groups, streams, events, metric filters, subscriptions, Insights; jobs, functions and endpoints write here",
    ),
    CatalogueEntry(
        "CloudFormation", ["cloudformation"], "ours", "cloudformation",
        "stacks and change sets; every resource is made through the account's own API, with the stack's role"
        " (`RoleARN`) where it has one, save keys and budgets",
    ),
    CatalogueEntry(
        "Lambda", ["lambda"], "moto stores, we run", "functions",
        "zips in warm worker processes over the Lambda Runtime API, layers (also that of Powertools), asynchronous"
        " retries, messages of queues, metrics in the embedded format",
    ),
    CatalogueEntry(
        "Step Functions", ["states"], "moto's interpreter, extended", "stepfunctions",
        "Standard and Express workflows, JSONPath and JSONata, Distributed Map, redrive",
    ),
    CatalogueEntry(
        "EventBridge, Scheduler", ["events", "scheduler"], "moto stores, we deliver", "events",
        "rules, schedules, events of the services",
    ),
    CatalogueEntry(
        "CloudWatch", ["monitoring"], "moto stores, we evaluate", "cloudwatch",
        "metrics, alarms that react and act, also on percentiles and metric math",
    ),
    CatalogueEntry(
        "Application Auto Scaling", ["application-autoscaling"], "ours", "autoscaling",
        "target tracking of the instances of endpoint variants",
    ),
    CatalogueEntry(
        "SNS, SQS", ["sns", "sqs"], "moto; the metrics of queues are ours", "cloudwatch",
        "topics, queues, delivery from topic to queue and from queue to function",
    ),
    CatalogueEntry(
        "Budgets", ["budgets"], "moto, with changes in place", "moto_services",
        "stored and read back; nothing costs anything here, so none alarms",
    ),
    CatalogueEntry(
        "Glue", ["glue"], "moto", "moto_services",
        "databases and tables of the catalogue, stored and read back; nothing here runs a crawler or a job",
    ),
    CatalogueEntry(
        "DynamoDB", ["dynamodb"], "moto, one call at a time", "moto_services",
        "tables, items, conditions, transactions",
    ),
    CatalogueEntry(
        "CodePipeline, CodeConnections", ["codepipeline", "codeconnections"], "ours", "codepipeline",
        "pipelines of source, build, approval and deployment ([delivery.md](delivery.md))",
    ),
    CatalogueEntry(
        "CodeBuild", ["codebuild"], "ours", "codebuild",
        "builds that really run the phases of their buildspec, caches, reports",
    ),
    CatalogueEntry(
        "SageMaker, SageMaker Metrics", ["sagemaker", "sagemaker-metrics"], "ours", "sagemaker",
        "processing, training, tuning and batch transform jobs, pipelines, registry, experiments, search, endpoints"
        " with data capture, gradual updates, shadow and serverless variants",
    ),
)  # fmt: skip


def services_table(operations: dict[str, list[str]]) -> str:
    """The services in Markdown, with how many of their operations are answered."""
    rows = ["| service | by | in | operations | what runs |", "| --- | --- | --- | --- | --- |"]
    for entry in ENTRIES:
        counts = ", ".join(str(len(operations[name])) for name in entry.names)
        room = f"`{entry.room}/`" if entry.room else ""
        rows.append(f"| {entry.title} | {entry.by} | {room} | {counts} | {entry.runs} |")
    return "\n".join(rows) + "\n"


def types_list() -> str:
    """The types of resource that a stack may hold, by service, wrapped."""
    parts = sorted(kind.split("::")[1:] for kind in KINDS)
    grouped = [(service, [kind for _, kind in found]) for service, found in groupby(parts, lambda part: part[0])]
    named = [f"`AWS::{service}::{_alternatives(kinds)}`" for service, kinds in grouped]
    return wrapped(f"{name}{'.' if name == named[-1] else ','}" for name in named)


def _alternatives(kinds: Sequence[str]) -> str:
    return kinds[0] if len(kinds) == 1 else "{" + ",".join(kinds) + "}"


def operations_page(operations: dict[str, list[str]]) -> str:
    """Every operation by name."""
    lines = [
        "# Operations of the stand-in account",
        "",
        "Printed by `python -m local_account.server.catalogue`: what is answered; every other operation is refused by",
        "name. [members.md](members.md) says what becomes of the members of requests.",
    ]
    for entry in ENTRIES:
        for name in entry.names:
            listed = wrapped(f"`{operation}`" for operation in sorted(operations[name]))
            lines += ["", f"## {name}, {entry.by}", "", listed.rstrip("\n")]
    return "\n".join(lines) + "\n"


def wrapped(words: Iterable[str]) -> str:
    """Words in lines of at most WIDTH characters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines) + "\n"


def operations_of(application: Application) -> dict[str, list[str]]:
    """The operations that each service answers, by the name that requests are signed with."""
    own = {name: sorted(service.actions) for name, service in application.own.items() if isinstance(service, Service)}
    return own | {signed: _answered(signed, name) for signed, name in MOTO_MODULES.items()}


def _answered(signed: str, name: SERVICE_NAMES) -> list[str]:
    """Those that there is code for, and that the service's table of members does not leave out."""
    table = table_of(signed)
    return [each for each in motos_operations(name) if table is None or each in table.acts]


def _family(one: type) -> list[type]:
    """A class and all that derive from it."""
    below: list[type] = one.__subclasses__()
    return [one, *(each for derived in below for each in _family(derived))]


def motos_operations(name: SERVICE_NAMES) -> list[str]:
    """The operations of a service, by moto's name, that moto's class of its answers or one of ours has methods for."""
    from moto.core.responses import BaseResponse
    from moto.core.utils import camelcase_to_underscores, get_service_model

    responses = importlib.import_module(f"moto.{'awslambda' if name == 'lambda' else name}.responses")
    theirs = [
        found
        for _, found in inspect.getmembers(responses, inspect.isclass)
        if issubclass(found, BaseResponse) and found.__module__ == responses.__name__
    ]
    classes = [each for one in theirs for each in _family(one)]  # also those that `answered_by` named
    operations = get_service_model(name).operation_names
    return [each for each in operations if any(hasattr(c, camelcase_to_underscores(each)) for c in classes)]


def write_catalogue(application: Application, page: Path | None) -> None:
    """Print the lists, or write them."""
    operations = operations_of(application)
    if page is None:
        print(services_table(operations), types_list(), operations_page(operations), members_page(), sep="\n")
        return
    text = between_marks(page.read_text(encoding="utf-8"), SERVICES_MARK, services_table(operations))
    page.write_text(between_marks(text, TYPES_MARK, types_list()), encoding="utf-8")
    page.with_name("operations.md").write_text(operations_page(operations), encoding="utf-8")
    page.with_name("members.md").write_text(members_page(), encoding="utf-8")


if __name__ == "__main__":
    tell("local_account.server.catalogue", __doc__, write_catalogue)
