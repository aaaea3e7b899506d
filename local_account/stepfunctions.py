"""Step Functions: moto's interpreter of the States Language, made to behave as Standard workflows do on AWS.

Runs in the server process. ``install`` turns the interpreter on and replaces what is wrong with it: see
``stepfunctions_definition`` (checks at creation), ``stepfunctions_executions`` (names, results, events, metrics) and
``stepfunctions_tasks`` (clients and errors of tasks). Refused, never pretended: Express workflows, StartSyncExecution,
TestState, RedriveExecution, Distributed Map, JSONata, and waiting (``.sync``) for jobs of other services.
Difference from AWS: roles are kept and not enforced; an execution that runs does not survive a restart of the account.
"""

from __future__ import annotations

import base64
import importlib
import logging
import pkgutil
from typing import Any

from local_account.account import Account
from local_account.stepfunctions_definition import problems
from local_account.stepfunctions_executions import hook_executions
from local_account.stepfunctions_programs import program_of
from local_account.stepfunctions_states import hook_states
from local_account.stepfunctions_tasks import hook_tasks
from local_account.telemetry import Telemetry

HISTORY_PAGE = 100
HISTORY_PAGE_LIMIT = 1000
EXECUTION_DATA = ("input", "output", "parameters")


def install(account: Account) -> None:
    """Make moto's Step Functions run. Called once, before the first request."""
    from moto.core.config import default_user_config
    from moto.stepfunctions import models
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    # It logs every state that fails as an error of the server, with the whole state machine.
    logging.getLogger("moto.stepfunctions.parser.asl.component.eval_component").setLevel(logging.CRITICAL)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    models.stepfunctions_backends = stepfunctions_parser_backends  # where CloudFormation puts its state machines
    _import_tasks()
    telemetry = Telemetry(account)
    telemetry.start()
    hook_states()
    hook_tasks(account)
    hook_executions(account, telemetry)
    _hook_definitions()
    _hook_answers()
    _hook_callbacks()


def _import_tasks() -> None:
    """Load every module of the interpreter's tasks now, so that each gets our clients."""
    from moto.stepfunctions.parser.asl.component.state import exec as tasks

    for module in pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}."):
        importlib.import_module(module.name)


def _hook_definitions() -> None:
    from moto.core.exceptions import AWSError
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    original_create = StepFunctionsParserBackend.create_state_machine

    def check(definition: str) -> None:
        """Replaces moto's check, whose errors reach clients without their code."""
        found = problems(definition)
        if not found:
            try:
                program_of(definition)
            except Exception as error:  # the parser reports what it does not accept in many ways
                found = [f"SCHEMA_VALIDATION_FAILED: {error}"]
        if found:
            raise AWSError(f"Invalid State Machine Definition: '{', '.join(found)}'", "InvalidDefinition")

    def create(backend: Any, name: str, definition: str, roleArn: str, **options: Any) -> Any:  # noqa: N803  # moto's
        if options.get("sm_type") == "EXPRESS":
            message = "The stand-in account runs STANDARD workflows only, not EXPRESS ones"
            raise AWSError(message, "StateMachineTypeNotSupported")
        existing = backend._revision_by_name(name)
        if existing is not None and existing.definition != definition:
            raise AWSError(f"State Machine Already Exists: '{existing.arn}'", "StateMachineAlreadyExists")
        return original_create(backend, name, definition, roleArn, **options)

    StepFunctionsParserBackend._validate_definition = staticmethod(check)
    StepFunctionsParserBackend.create_state_machine = create


def _hook_answers() -> None:
    from moto.core.responses import ActionResult
    from moto.stepfunctions.exceptions import InvalidToken
    from moto.stepfunctions.responses import StepFunctionResponse

    original_list = StepFunctionResponse.list_executions

    def get_execution_history(response: Any) -> Any:
        events = response.stepfunction_backend.get_execution_history(response._get_param("executionArn"))["events"]
        events = sorted(events, key=lambda event: event["id"], reverse=bool(response._get_param("reverseOrder")))
        if response._get_param("includeExecutionData") is False:
            events = [_without_data(event) for event in events]
        size = min(response._get_int_param("maxResults") or HISTORY_PAGE, HISTORY_PAGE_LIMIT)
        token = response._get_param("nextToken")
        try:
            start = int(base64.b64decode(token, validate=True)) if token else 0
        except ValueError as error:
            raise InvalidToken(f"Invalid Token: '{token}'") from error
        result: dict[str, Any] = {"events": events[start : start + size]}
        if start + size < len(events):
            result["nextToken"] = base64.b64encode(str(start + size).encode()).decode()
        return ActionResult(result)

    def describe_execution(response: Any) -> Any:
        arn = response._get_param("executionArn")
        execution = response.stepfunction_backend.describe_execution(arn)
        status = execution.status  # read first: the rest is complete once it is final
        answer = {
            "executionArn": arn,
            "stateMachineArn": execution.state_machine_arn,
            "name": execution.name,
            "status": status,
            "startDate": execution.start_date,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
        }
        if status != "RUNNING":
            members = {"stopDate": execution.stop_date, "error": execution.error, "cause": execution.cause}
            answer.update({name: value for name, value in members.items() if value is not None})
        if status == "SUCCEEDED":
            answer.update(output=execution.output, outputDetails={"included": True})
        return ActionResult(answer)

    def list_executions(response: Any) -> Any:
        """As moto's, which leaves out when executions timed out."""
        result = original_list(response)
        ended = {e.execution_arn: e.stop_date for e in _executions(response) if e.stop_date is not None}
        for item in result.result["executions"]:
            if item["executionArn"] in ended and item["status"] != "RUNNING":
                item["stopDate"] = ended[item["executionArn"]]
        return result

    def stop_execution(response: Any) -> Any:
        execution = response.stepfunction_backend.stop_execution(
            response._get_param("executionArn"), response._get_param("error"), response._get_param("cause")
        )
        return ActionResult({"stopDate": execution.stop_date})

    StepFunctionResponse.get_execution_history = get_execution_history
    StepFunctionResponse.describe_execution = describe_execution
    StepFunctionResponse.list_executions = list_executions
    StepFunctionResponse.stop_execution = stop_execution


def _executions(response: Any) -> list[Any]:
    machine = response.stepfunction_backend.describe_state_machine(response._get_param("stateMachineArn"))
    return list(machine.executions)


def _without_data(event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {k: v for k, v in value.items() if k not in EXECUTION_DATA} if isinstance(value, dict) else value
        for name, value in event.items()
    }


def _hook_callbacks() -> None:
    """SendTaskFailure: moto drops the cause and asks executions that have ended."""
    from moto.core.responses import EmptyResult
    from moto.stepfunctions.parser import models
    from moto.stepfunctions.parser.api import InvalidToken, TaskDoesNotExist, TaskTimedOut
    from moto.stepfunctions.responses import StepFunctionResponse

    def send_task_failure(backend: Any, task_token: str, error: str | None = None, cause: str | None = None) -> None:
        outcome = models.CallbackOutcomeFailure(callback_id=task_token, error=error, cause=cause)
        for execution in backend._get_executions(models.ExecutionStatus.RUNNING):
            try:
                if execution.exec_worker.env.callback_pool_manager.notify(callback_id=task_token, outcome=outcome):
                    return
            except models.CallbackConsumerTimeout as gone:
                raise TaskTimedOut from gone
            except models.CallbackNotifyConsumerError as gone:
                raise TaskDoesNotExist from gone
        raise InvalidToken

    def answer(response: Any) -> Any:
        response.stepfunction_backend.send_task_failure(
            response._get_param("taskToken"), response._get_param("error"), response._get_param("cause")
        )
        return EmptyResult()

    models.StepFunctionsParserBackend.send_task_failure = send_task_failure
    StepFunctionResponse.send_task_failure = answer
