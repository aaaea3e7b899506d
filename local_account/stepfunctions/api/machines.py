"""What a machine is to the API: described with the service's defaults, its revision, its versions, its logging.

Runs in the server process.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from moto.core.exceptions import AWSError
from moto.stepfunctions.models import StateMachine, StateMachineInstance, StateMachineVersion
from moto.stepfunctions.parser.asl.static_analyser.variable_references_static_analyser import (
    VariableReferencesStaticAnalyser,
)

from local_account.account import Account
from local_account.base.arns import last_part, own_arn, without_last
from local_account.stepfunctions.language.definition import members_of

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

OFF = {"level": "OFF", "includeExecutionData": False}


def described(machine: StateMachineInstance) -> dict[str, object]:
    """A machine, or a version of one, as DescribeStateMachine has it."""
    answer = {
        "creationDate": machine.creation_date,
        "status": "ACTIVE",
        "stateMachineArn": machine.arn,
        "type": machine.type,
        **_common(machine),
    }
    return answer if machine.description is None else {**answer, "description": machine.description}


def described_for_execution(machine: StateMachineInstance, update_date: object) -> dict[str, object]:
    """The machine that an execution ran, as DescribeStateMachineForExecution has it."""
    arn = str(getattr(machine, "source_arn", None) or machine.arn)
    return {"stateMachineArn": arn, "updateDate": update_date, **_common(machine)}


def _common(machine: StateMachineInstance) -> dict[str, object]:
    answer: dict[str, object] = {
        "definition": machine.definition,
        "encryptionConfiguration": machine.encryptionConfiguration,
        "loggingConfiguration": {**OFF, **(machine.loggingConfiguration or {})},
        "name": machine.name,
        "roleArn": machine.roleArn,
        "tracingConfiguration": machine.tracingConfiguration,
    }
    if revision := revision_of(machine):
        answer["revisionId"] = revision
    if references := variable_references(machine.definition):
        answer["variableReferences"] = references
    return answer


@lru_cache(maxsize=256)
def variable_references(definition: str) -> dict[str, list[str]]:
    """The variables that each state reads."""
    if "$" not in definition or "Assign" not in definition:
        return {}
    found = VariableReferencesStaticAnalyser.process_and_get(definition)
    return {state: sorted(str(name).removeprefix("$") for name in names) for state, names in found.items() if names}


def revision_of(machine: StateMachineInstance) -> str | None:
    """The revision; None of a machine that was never changed."""
    found = vars(machine).get("revision_id")
    return found if isinstance(found, str) else None


def revise(machine: StateMachine, before: Mapping[str, object]) -> None:
    """Give the machine a new revision where it is no longer as it was."""
    if contents(machine) != before:
        vars(machine)["revision_id"] = str(uuid.uuid4())


def contents(machine: StateMachine) -> dict[str, object]:
    """What makes a revision."""
    names = ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration", "encryptionConfiguration")
    return {name: vars(machine)[name] for name in names}


def publish(machine: StateMachine, description: str | None) -> StateMachineVersion:
    """The version of the machine as it is: the last one, where nothing has changed since."""
    last = machine.latest_version
    if last is not None and last.version in machine.versions and revision_of(last) == revision_of(machine):
        return last
    machine.publish(description)
    made = machine.versions[machine.latest_version_number]
    vars(made)["revision_id"] = revision_of(machine)
    return made


def check_revision(machine: StateMachine, revision: str | None) -> None:
    """ConflictException where the machine is at another revision."""
    current = revision_of(machine)
    if revision is not None and revision != current:
        raise AWSError(
            f"Failed to publish the State Machine version for revision {revision}. "
            f"The current State Machine revision is {current}.",
            "ConflictException",
        )


def version_named(machines: list[StateMachine], arn: str) -> tuple[StateMachine, int] | None:
    """The machine and the number of a version by its ARN; None where there is no such machine."""
    source, number = without_last(arn), last_part(arn)
    machine = next((each for each in machines if each.arn == source), None)
    return (machine, int(number)) if machine and number.isdigit() else None


def delete_version(machine: StateMachine, number: int) -> None:
    """Delete a version, which no alias may refer to; ConflictException."""
    version = machine.versions.get(number)
    if version is None:
        return
    named = [
        alias.name
        for alias in machine.aliases.values()
        if any(route["stateMachineVersionArn"] == version.arn for route in alias.routing_configuration)
    ]
    if named:
        raise AWSError(
            "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this "
            f"version: [{', '.join(named)}]",
            "ConflictException",
        )
    del machine.versions[number]


def check_logging(account: Account, configuration: object) -> None:
    """InvalidLoggingConfiguration for a log that cannot be written."""
    if configuration is None:
        return
    given = members_of(configuration)
    destinations = given.get("destinations")
    found = destinations if isinstance(destinations, list) else []
    if len(found) > 1 or (given.get("level", "OFF") != "OFF" and len(found) != 1):
        raise _bad_logging("Must specify exactly one Log Destination.")
    for destination in found:
        arn = str(members_of(members_of(destination).get("cloudWatchLogsLogGroup")).get("logGroupArn", ""))
        if not arn:
            raise _bad_logging("Must specify exactly one Log Destination.")
        _check_group(account, arn)


def _check_group(account: Account, arn: str) -> None:
    if not arn.endswith(":*"):
        raise _bad_logging("Log Destination must end with ':*'.")
    named = own_arn(arn, account.account_id, account.region)
    name = named.name.removesuffix(":*") if named and named.service == "logs" else arn
    logs = cast("CloudWatchLogsClient", account.client("logs"))
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    if all(group["logGroupName"] != name for group in groups):
        raise _bad_logging("Log Destination not found.")


def _bad_logging(words: str) -> AWSError:
    return AWSError(f"Invalid Logging Configuration: {words}", "InvalidLoggingConfiguration")


def check_encryption(configuration: object) -> None:
    """InvalidEncryptionConfiguration for a key that is missing, or that is too many."""
    if configuration is None:
        return
    given = members_of(configuration)
    own = given.get("type") == "CUSTOMER_MANAGED_KMS_KEY"
    if own and not given.get("kmsKeyId"):
        words = "kmsKeyId must be provided when the encryption type is CUSTOMER_MANAGED_KMS_KEY"
    elif not own and given.keys() & {"kmsKeyId", "kmsDataKeyReusePeriodSeconds"}:
        words = "kmsKeyId and kmsDataKeyReusePeriodSeconds can only be set for CUSTOMER_MANAGED_KMS_KEY"
    else:
        return
    raise AWSError(f"Invalid Encryption Configuration: '{words}'", "InvalidEncryptionConfiguration")
