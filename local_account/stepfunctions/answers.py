"""What Step Functions answers: executions described, listed, stopped, redriven, their history; definitions validated.

Runs in the server process. ``AccountResponses`` is where moto's dispatcher brings requests: a method is an action. The
answers of map runs are ``maps.answers``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import InvalidArn

from local_account.base.arns import read_arn
from local_account.base.replacements import extends
from local_account.stepfunctions.api.activity_answers import ActivityResponses
from local_account.stepfunctions.api.base import page_of
from local_account.stepfunctions.api.included import included
from local_account.stepfunctions.api.machine_answers import MachineResponses, machine_arn
from local_account.stepfunctions.api.machines import described_for_execution
from local_account.stepfunctions.api.trial_answers import TrialResponses
from local_account.stepfunctions.backend import faults
from local_account.stepfunctions.execution import AccountExecution, not_redrivable
from local_account.stepfunctions.maps import answers as map_answers

if TYPE_CHECKING:
    from moto.stepfunctions.parser.api import HistoryEvent

DIAGNOSTICS = 100  # what ValidateStateMachineDefinition answers at most
EXECUTION_DATA = ("input", "output", "parameters")
BILLED_STEP_MS = 100
BILLED_MEMORY_MB = 64
EXPRESS_ARN = "Invalid Arn: 'Resource type not valid in this context: express'"
_Listed = TypeVar("_Listed", AccountExecution, map_answers.FoundChild)
_CODE = re.compile(r"[A-Z_]+: ")


@extends
class AccountResponses(MachineResponses, ActivityResponses, TrialResponses):
    """The actions that are ours; all others are moto's. Every public method answers the action of its name."""

    def get_execution_history(self) -> ActionResult:
        """GetExecutionHistory, of executions and of map runs' children."""
        arn, backend = self._get_param("executionArn"), self.stepfunction_backend
        if (child := map_answers.find_child(backend.kept_map_runs, arn)) and child.run.kind != "EXPRESS":
            events = child.history()
        else:
            events = backend.describe_execution(standard_arn(arn)).history()
        events = sorted(events, key=lambda event: event["id"], reverse=bool(self._get_param("reverseOrder")))
        if self._get_param("includeExecutionData") is False:
            return page_of(self, "events", events, _without_data)
        return page_of(self, "events", events, dict)

    def describe_execution(self) -> ActionResult:
        """DescribeExecution, of executions and of map runs' children."""
        arn, backend = self._get_param("executionArn"), self.stepfunction_backend
        if child := map_answers.find_child(backend.kept_map_runs, arn):
            return ActionResult(included(self, map_answers.described(child)))
        return ActionResult(included(self, described(backend.describe_execution(standard_arn(arn)))))

    def list_executions(self) -> ActionResult:
        """ListExecutions, of a machine or of a map run; newest first. ValidationException."""
        backend = self.stepfunction_backend
        given = [name for name in ("stateMachineArn", "mapRunArn") if self._get_param(name)]
        if len(given) != 1:
            came = " and ".join(given) or "neither"
            raise AWSError(f"Must provide either a stateMachineArn or a mapRunArn, got {came}", "ValidationException")
        if arn := self._get_param("mapRunArn"):
            children = map_answers.children_of(map_answers.find_run(backend.kept_map_runs, arn))
            return page_of(self, "executions", _wanted(self, children), map_answers.listed)
        found = backend.executions_named(machine_arn(self))[::-1]
        return page_of(self, "executions", _wanted(self, found), _listed)

    def stop_execution(self) -> ActionResult:
        """StopExecution, of executions and of map runs' children."""
        arn, backend = self._get_param("executionArn"), self.stepfunction_backend
        if child := map_answers.find_child(backend.kept_map_runs, arn):
            backend.workflows.map_runs.stop_child(child)
            return ActionResult({"stopDate": child.child.stop_date})
        execution = backend.end_execution(standard_arn(arn), self._get_param("error"), self._get_param("cause"))
        return ActionResult({"stopDate": execution.stop_date})

    def start_sync_execution(self) -> ActionResult:
        """StartSyncExecution: an Express execution, run while the request waits."""
        backend, machine = self.stepfunction_backend, self._get_param("stateMachineArn")
        execution = backend.workflows.executions.start_and_wait(
            backend, machine, self._get_param("name"), self._get_param("input")
        )
        answer = {k: v for k, v in described(execution).items() if not k.startswith("redrive")}
        if execution.status == "TIMED_OUT":
            answer["error"] = execution.error
        # There is no ABORTED for these: step-functions/latest/apireference/API_StartSyncExecution.html
        answer["billingDetails"] = {
            "billedMemoryUsedInMB": BILLED_MEMORY_MB,
            "billedDurationInMilliseconds": math.ceil(execution.took_s * 1000 / BILLED_STEP_MS) * BILLED_STEP_MS,
        }
        return ActionResult(included(self, answer))

    def redrive_execution(self) -> ActionResult:
        """RedriveExecution: what succeeded is not run again, of a Distributed Map only the children that did not.

        Of a Parallel and of an inline Map all branches and items run again (AWS: only those that failed).
        """
        backend = self.stepfunction_backend
        execution = backend.describe_execution(standard_arn(self._get_param("executionArn")))
        date = backend.workflows.executions.redrive(execution, self._get_param("clientToken"))
        return ActionResult({"redriveDate": date})

    def describe_state_machine_for_execution(self) -> ActionResult:
        """DescribeStateMachineForExecution, but not of a map run's children."""
        arn, backend = self._get_param("executionArn"), self.stepfunction_backend
        if map_answers.find_child(backend.kept_map_runs, arn):
            raise InvalidArn("The stand-in account describes machines of executions, not of a map run's children")
        execution = backend.describe_execution(standard_arn(arn))
        answer = described_for_execution(execution.state_machine, execution.state_machine.update_date)
        return ActionResult(included(self, answer))

    def validate_state_machine_definition(self) -> ActionResult:
        """ValidateStateMachineDefinition, which moto does not have."""
        found = faults(self._get_param("definition"), self._get_param("type") or "STANDARD")
        most = self._get_int_param("maxResults") or DIAGNOSTICS
        answer = {"result": "FAIL" if found else "OK", "diagnostics": [_diagnostic(text) for text in found[:most]]}
        return ActionResult({**answer, "truncated": len(found) > most})

    def list_map_runs(self) -> ActionResult:
        """ListMapRuns of an execution; newest first."""
        arn, backend = self._get_param("executionArn"), self.stepfunction_backend
        if map_answers.find_child(backend.kept_map_runs, arn) is None:
            backend.describe_execution(arn)
        found = [run for run in backend.kept_map_runs.values() if run.execution_arn == arn][::-1]
        return page_of(self, "mapRuns", found, map_answers.listed_run)

    def describe_map_run(self) -> ActionResult:
        """DescribeMapRun."""
        run = map_answers.find_run(self.stepfunction_backend.kept_map_runs, self._get_param("mapRunArn"))
        return ActionResult(map_answers.described_run(run))

    def update_map_run(self) -> ActionResult:
        """UpdateMapRun, also while it runs."""
        backend = self.stepfunction_backend
        run = map_answers.find_run(backend.kept_map_runs, self._get_param("mapRunArn"))
        backend.workflows.map_runs.change(
            run,
            concurrency=self._get_param("maxConcurrency"),
            count=self._get_param("toleratedFailureCount"),
            percentage=self._get_param("toleratedFailurePercentage"),
        )
        return EmptyResult()


def described(execution: AccountExecution) -> dict[str, object]:
    """An execution as DescribeExecution has it."""
    status = execution.status  # read first: the rest is complete once it is final
    answer: dict[str, object] = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": execution.machine_arn,
        "name": execution.name,
        "status": status,
        "startDate": execution.start_date,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        **_redrive_details(execution),
    }
    answer |= _chosen(execution)
    if status != "RUNNING":
        told = {} if status == "TIMED_OUT" else {"error": execution.error, "cause": execution.cause}
        members = {"stopDate": execution.stop_date, **told}
        answer.update({name: value for name, value in members.items() if value is not None})
    if status == "SUCCEEDED":
        answer.update(output=execution.output, outputDetails={"included": True})
    return answer


def _chosen(execution: AccountExecution) -> dict[str, str]:
    """The version and the alias by which an execution was started."""
    members = {"stateMachineVersionArn": execution.version_arn, "stateMachineAliasArn": execution.alias_arn}
    return {name: arn for name, arn in members.items() if arn}


def _redrive_details(execution: AccountExecution) -> dict[str, object]:
    reason = not_redrivable(execution)
    answer: dict[str, object] = {
        "redriveCount": execution.redrive_count,
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
    }
    if reason:
        answer["redriveStatusReason"] = reason
    if execution.redrive_date:
        answer["redriveDate"] = execution.redrive_date
    return answer


def _wanted(request: AccountResponses, found: Sequence[_Listed]) -> list[_Listed]:
    """The executions of the status, and redriven or not, that the request wants."""
    status, redriven = request._get_param("statusFilter"), request._get_param("redriveFilter")
    return [
        each
        for each in found
        if status in (None, each.status) and redriven in (None, "REDRIVEN" if each.redrive_count else "NOT_REDRIVEN")
    ]


def _listed(execution: AccountExecution) -> dict[str, object]:
    status = execution.status
    item = {
        "executionArn": execution.execution_arn,
        "name": execution.name,
        "startDate": execution.start_date,
        "stateMachineArn": execution.machine_arn,
        "status": status,
        "redriveCount": execution.redrive_count,
        **_chosen(execution),
    }
    return item if status == "RUNNING" else {**item, "stopDate": execution.stop_date}


def standard_arn(arn: str) -> str:
    """The ARN, unless it is an Express execution's, of which AWS keeps nothing; InvalidArn."""
    named = read_arn(arn)
    if named and named.kind == "express":
        raise InvalidArn(EXPRESS_ARN)
    return arn


def _without_data(event: HistoryEvent) -> dict[str, object]:
    return {
        name: {k: v for k, v in value.items() if k not in EXECUTION_DATA} if isinstance(value, dict) else value
        for name, value in event.items()
    }


def _diagnostic(fault: str) -> dict[str, str]:
    code, _, message = fault.partition(": ") if _CODE.match(fault) else ("SCHEMA_VALIDATION_FAILED", "", fault)
    if "\n at [" in message:
        return {"severity": "ERROR", "code": code, "message": message, "location": message.rpartition("\n at ")[2]}
    message, at, location = message.rpartition(" at /")
    found = {"severity": "ERROR", "code": code, "message": message if at else location}
    return {**found, "location": f"/{location}"} if at else found
