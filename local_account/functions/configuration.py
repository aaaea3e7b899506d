"""Functions as the account keeps them: moto's, with what it drops or leaves unchecked, and as state files hold them.

Runs in the server process. moto's model of a function knows no dead-letter target, takes any name and any variable, and
accepts a zip that cannot be unpacked; what runs functions here comes in through ``functions`` and ``events``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, cast

from moto.awslambda.models import LambdaFunction, LayerDataType
from moto.core.utils import utcnow
from moto.logs.models import logs_backends
from moto.moto_api._internal import mock_random

from local_account.base.arns import last_part, own_arn
from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.functions.code import CodeError
from local_account.functions.errors import FunctionError, client_error

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import (
        CreateFunctionRequestTypeDef,
        DeadLetterConfigTypeDef,
        LoggingConfigTypeDef,
        UpdateFunctionConfigurationRequestTypeDef,
    )

    from local_account.functions.api.function_urls import FunctionAddress
    from local_account.functions.events import EventQueue
    from local_account.functions.functions import Functions

_FUNCTION_NAME = re.compile(r"(arn:[\w-]+:lambda:[\w-]+:\d{12}:function:)?[a-zA-Z0-9_-]{1,64}")
LONGEST_NAME = 64
MOST_VARIABLES_BYTES = 4096  # of all environment variables, as JSON (lambda/latest/dg/gettingstarted-limits.html)
RESERVED_VARIABLES = {
    "_HANDLER",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
}


_CODE = ("code_bytes", "code_size", "code_sha_256", "code_digest", "code_or_config_updated")


@stored
@extends
class AccountFunction(LambdaFunction):
    """One version of a function. It is checked when it is made or changed, and runs in a worker process."""

    functions: ClassVar[Functions]
    events: ClassVar[EventQueue]
    dead_letter_config: DeadLetterConfigTypeDef | None = None
    logging_config: LoggingConfigTypeDef | None = None
    """As it was asked for; `logging` has the defaults as well."""
    revision_id = ""
    has_environment = False
    """Whether variables were asked for, even none."""
    published_from = ""
    """Of what a version was made, see `fingerprint`."""
    last_version = 0
    """The highest number that a version of the function ever had."""

    def __init__(self, account_id: str, spec: dict[str, object], region: str, version: str | int = 1) -> None:
        """``spec`` is the request of CreateFunction. Raises moto's LambdaClientError for what Lambda would refuse."""
        request = cast("CreateFunctionRequestTypeDef", spec)
        _check_name(str(request["FunctionName"]))
        _check_variables(request)
        with refusing():
            super().__init__(account_id, spec, region, version)
            _check(self)
        self.dead_letter_config = _checked_target(self, request.get("DeadLetterConfig"))
        self.logging_config = request.get("LoggingConfig")
        self.has_environment = "Environment" in request
        self.last_modified = _modified()
        self.revise()

    @property
    def unqualified_arn(self) -> str:
        """The ARN of the function, whatever the version."""
        return str(self.function_arn).removesuffix(f":{self.version}")

    @property
    def invoke_configs(self) -> dict[str, dict[str, object]]:
        """What becomes of asynchronous invocations, by version and alias; kept with the function."""
        if "kept_configs" not in vars(self):  # as moto keeps the one of the function
            before = self.event_invoke_config
            self.kept_configs: dict[str, dict[str, object]] = {"$LATEST": before[-1].config} if before else {}
        return self.kept_configs

    @property
    def addresses(self) -> dict[str, FunctionAddress]:
        """What is kept of the addresses of the function and of its aliases, by the alias's name."""
        found: dict[str, FunctionAddress] = vars(self).setdefault("kept_addresses", {})
        return found

    @property
    def provisioned(self) -> dict[str, dict[str, object]]:
        """The concurrency that is provided beforehand, by version and alias."""
        found: dict[str, dict[str, object]] = vars(self).setdefault("kept_provisioned", {})
        return found

    def revise(self) -> None:
        """Give the function another revision."""
        self.revision_id = str(mock_random.uuid4())

    def fingerprint(self) -> str:
        """What a version is made of: one that would be the same as the last is not made again."""
        parts = (
            self.code_sha_256, self.handler, self.run_time, self.memory_size, self.timeout, self.environment_vars,
            self.layers, self.role, self.logging, self.dead_letter_config, self.description, self.architectures,
        )  # fmt: skip
        return json.dumps(parts, sort_keys=True, default=str)

    @property
    def logging(self) -> LoggingConfigTypeDef:
        """Where and how the function logs."""
        asked: LoggingConfigTypeDef = self.logging_config or {}
        defaults: LoggingConfigTypeDef = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}"}
        if asked.get("LogFormat") == "JSON":
            defaults |= {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
        return {**defaults, **asked}

    def update_configuration(self, config_updates: dict[str, object]) -> dict[str, object]:
        """UpdateFunctionConfiguration, with the properties that moto leaves as they are."""
        request = cast("UpdateFunctionConfigurationRequestTypeDef", config_updates)
        _check_variables(request)
        target, before = _checked_target(self, request.get("DeadLetterConfig")), self.layers
        super().update_configuration(config_updates)
        if "Layers" in request:
            _check_layers(self, before)
        self.dead_letter_config = target if "DeadLetterConfig" in request else self.dead_letter_config
        self.logging_config = request.get("LoggingConfig", self.logging_config)
        self.tracing_config = request.get("TracingConfig", self.tracing_config)
        if "EphemeralStorage" in request:
            self.ephemeral_storage = request["EphemeralStorage"]["Size"]
        self.has_environment = self.has_environment or "Environment" in request
        self.last_modified = _modified()
        return self.get_configuration()

    def update_function_code(self, updated_spec: dict[str, object]) -> dict[str, object]:
        """UpdateFunctionCode: new code that cannot be run leaves the old in place."""
        before = {name: getattr(self, name) for name in _CODE if hasattr(self, name)} | {"code": dict(self.code)}
        try:
            with refusing():
                configuration = super().update_function_code(updated_spec)
                _check(self)
        except BaseException:
            vars(self).update(before)
            raise
        self.last_modified = _modified()
        return configuration

    def get_configuration(self, on_create: bool = False) -> dict[str, object]:
        """As GetFunctionConfiguration answers it."""
        configuration = super().get_configuration(on_create)
        configuration["LoggingConfig"] = self.logging
        if self.dead_letter_config:
            configuration["DeadLetterConfig"] = self.dead_letter_config
        return configuration

    def invoke(self, body: str | bytes, request_headers: object, response_headers: object) -> str:  # noqa: ARG002
        """What moto's SNS and CloudWatch Logs call: on AWS they invoke asynchronously."""
        content = body.encode() if isinstance(body, str) else body
        self.events.accept(self, self.function_arn, content or b"{}")
        return ""

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in super().__getstate__().items() if name != "logs_backend"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self.logs_backend = logs_backends[self.account_id][self.region]


def _checked_target(function: AccountFunction, given: DeadLetterConfigTypeDef | None) -> DeadLetterConfigTypeDef | None:
    """Raises moto's LambdaClientError where dead letters would go nowhere, or to somebody else's."""
    target = (given or {}).get("TargetArn")
    arn = own_arn(target, function.account_id, function.region)
    if target and (arn is None or arn.service not in {"sqs", "sns"}):
        message = (
            f"The provided target ARN {target} is invalid: expected a queue or a topic of this account and region."
        )
        raise client_error("InvalidParameterValueException", message, 400)
    return given if target else None  # an empty one takes the queue away


def _check_layers(function: AccountFunction, before: list[LayerDataType]) -> None:
    """Leave the layers as they were when they are too large for the code."""
    try:
        with refusing():
            function.functions.check_code(function)
    except BaseException:
        function.layers = before
        raise


def _check(function: AccountFunction) -> None:
    function.functions.check_code(function)
    function.functions.check_role(function)


@contextmanager
def refusing() -> Iterator[None]:
    """Code and roles that cannot be, as errors of Lambda's API."""
    try:
        yield
    except FunctionError as error:
        raise client_error(error.code, str(error), error.status) from error
    except ValueError as error:  # moto's way to report a missing object, which would become a 500
        raise client_error("InvalidParameterValueException", str(error.args[-1]), 400) from error
    except CodeError as error:
        raise client_error("InvalidParameterValueException", str(error), 400) from error


def _modified() -> str:
    return utcnow().strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _check_name(name: str) -> None:
    plain = last_part(name)
    if len(plain) > LONGEST_NAME and re.fullmatch(r"[\w-]+", plain, re.ASCII):
        message = (
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"have length less than or equal to {LONGEST_NAME}"
        )
        raise client_error("ValidationException", message, 400)
    if not _FUNCTION_NAME.fullmatch(name):
        message = (
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"satisfy regular expression pattern: {_FUNCTION_NAME.pattern}"
        )
        raise client_error("ValidationException", message, 400)


def _check_variables(request: CreateFunctionRequestTypeDef | UpdateFunctionConfigurationRequestTypeDef) -> None:
    variables: Mapping[str, str] = (request.get("Environment") or {}).get("Variables") or {}
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > MOST_VARIABLES_BYTES:
        message = (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
        raise client_error("InvalidParameterValueException", message, 400)
    reserved = sorted(RESERVED_VARIABLES & variables.keys())
    if reserved:
        message = (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
        raise client_error("InvalidParameterValueException", message, 400)
