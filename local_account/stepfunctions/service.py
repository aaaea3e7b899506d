"""Step Functions: moto's interpreter of the States Language, made to behave as Step Functions does.

Runs in the server process. ``install`` turns the interpreter on and replaces what is wrong with it: see
``language.definition`` (checks at creation), ``stepfunctions.states`` (evaluation), ``stepfunctions.executions``
(names, results, Express), ``maps.map_runs`` (Distributed Map), ``stepfunctions.redrive`` and
``stepfunctions.tasks`` (clients and errors of tasks). Refused, never pretended: TestState, and waiting (``.sync``) for
jobs of other services. Difference from AWS: roles are kept and not enforced; docs/local_account.md lists the others.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.answers import hook_answers
from local_account.stepfunctions.executions import Executions, hook_executions
from local_account.stepfunctions.language.definition import problems
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.maps.answers import hook_map_answers
from local_account.stepfunctions.maps.map_runs import MapRuns, hook_maps
from local_account.stepfunctions.redrive import hook_redrive
from local_account.stepfunctions.states import hook_states
from local_account.stepfunctions.tasks import hook_tasks

# What a role needs for the log of its machine (Developer Guide, logging to CloudWatch Logs).
LOG_DELIVERY = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)
DIAGNOSTICS = 100  # what ValidateStateMachineDefinition answers at most
_CODE = re.compile(r"[A-Z_]+: ")


@contextmanager
def _batch_unread() -> Iterator[None]:
    """Keep moto's Step Functions from importing its Batch and with that EC2: a third of the account's start.

    It needs the names of a job's states only, which are in a module of that package.
    """
    name = "moto.batch"
    if name in sys.modules:
        yield
        return
    (folder,) = importlib.import_module("moto").__path__
    package = ModuleType(name)
    package.__path__ = [f"{folder}/batch"]
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]


def install(account: Account) -> None:
    """Make moto's Step Functions run. Called once, before the first request."""
    from moto.core.config import default_user_config
    from moto.stepfunctions import models

    with _batch_unread():
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
    executions = Executions(account, telemetry)
    hook_executions(executions)
    hook_answers(executions)
    map_runs = MapRuns(account, telemetry)
    hook_maps(map_runs)
    hook_map_answers(map_runs)
    hook_redrive(executions)
    _hook_definitions(account)
    _hook_validation()
    _hook_callbacks()


def _import_tasks() -> None:
    """Load every module of the interpreter's tasks now, so that each gets our clients."""
    from moto.stepfunctions.parser.asl.component.state import exec as tasks

    for module in pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}."):
        importlib.import_module(module.name)


def faults(definition: str, kind: str) -> list[str]:
    """Everything for which the definition is refused."""
    found = problems(definition, kind)
    if not found:
        try:
            program_of(definition)
        except Exception as error:  # the parser reports what it does not accept in many ways
            found = [f"SCHEMA_VALIDATION_FAILED: {error}"]
    return found


def _hook_validation() -> None:
    """ValidateStateMachineDefinition, which moto does not have."""
    from moto.core.responses import ActionResult
    from moto.stepfunctions.responses import StepFunctionResponse

    def validate(response: Any) -> Any:
        found = faults(response._get_param("definition"), response._get_param("type") or "STANDARD")
        most = response._get_int_param("maxResults") or DIAGNOSTICS
        answer = {"result": "FAIL" if found else "OK", "diagnostics": [_diagnostic(text) for text in found[:most]]}
        return ActionResult({**answer, "truncated": len(found) > most})

    StepFunctionResponse.validate_state_machine_definition = validate


def _diagnostic(fault: str) -> dict[str, str]:
    code, _, message = fault.partition(": ") if _CODE.match(fault) else ("SCHEMA_VALIDATION_FAILED", "", fault)
    message, at, location = message.rpartition(" at /")
    found = {"severity": "ERROR", "code": code, "message": message if at else location}
    return {**found, "location": f"/{location}"} if at else found


def _hook_definitions(account: Account) -> None:
    from moto.core.exceptions import AWSError
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    original_create = StepFunctionsParserBackend.create_state_machine
    original_update = StepFunctionsParserBackend.update_state_machine

    def check(definition: str, kind: str = "STANDARD") -> None:
        """Replaces moto's check, whose errors reach clients without their code."""
        if found := faults(definition, kind):
            raise AWSError(f"Invalid State Machine Definition: '{', '.join(found)}'", "InvalidDefinition")

    def check_role(name: str, role: str, logs: Any) -> None:
        """Step Functions has to be able to assume the role, and to deliver logs with it."""
        authority = account.authority
        try:
            authority.demand_trust(role, "states.amazonaws.com", account.arn("states", f"stateMachine:{name}"))
        except AccessDeniedError as error:
            message = (
                "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
                f"assume the provided role. ({error.message})"
            )
            raise AWSError(message, "AccessDeniedException") from error
        if logs and logs.get("level", "OFF") != "OFF":
            missing = [action for action in LOG_DELIVERY if not authority.allows(role, f"logs:{action}", "*")]
            if missing:
                message = (
                    "The state machine IAM Role is not authorized to access the Log Destination (it lacks logs:"
                    f"{', logs:'.join(missing)} on *)"
                )
                raise AWSError(message, "AccessDeniedException")

    def create(backend: Any, name: str, definition: str, roleArn: str, **options: Any) -> Any:  # noqa: N803  # moto's
        kind = options.get("sm_type") or "STANDARD"
        check(definition, kind)
        check_role(name, roleArn, options.get("loggingConfiguration"))
        existing = backend._revision_by_name(name)
        if existing is not None and (existing.definition, existing.type) != (definition, kind):
            raise AWSError(f"State Machine Already Exists: '{existing.arn}'", "StateMachineAlreadyExists")
        return original_create(backend, name, definition, roleArn, **options)

    def update(backend: Any, arn: str, definition: str | None = None, *args: Any, **options: Any) -> Any:
        if definition is not None:
            check(definition, backend.describe_state_machine(arn).type)
        return original_update(backend, arn, definition, *args, **options)

    StepFunctionsParserBackend._validate_definition = staticmethod(lambda definition: None)  # noqa: ARG005  # done above
    StepFunctionsParserBackend.create_state_machine = create
    StepFunctionsParserBackend.update_state_machine = update


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
