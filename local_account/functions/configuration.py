"""What moto's model of a function drops or leaves unchecked: dead-letter targets, variables, the zip itself.

Runs in the server process; ``awslambda`` installs it.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from typing import Any
from weakref import WeakValueDictionary

from local_account.functions.code import CodeError
from local_account.functions.errors import FunctionError, client_error
from local_account.functions.functions import Functions
from local_account.functions.layers import foreign_account, published_layer

DROPPED_PROPERTIES = {"DeadLetterConfig", "EphemeralStorage", "Layers", "TracingConfig"}
# What a property becomes when a stack's update leaves it out.
PROPERTY_DEFAULTS: dict[str, Any] = {
    "DeadLetterConfig": None,
    "Description": "",
    "Environment": {"Variables": {}},
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
}
_FUNCTION_NAME = re.compile(r"(arn:[\w-]+:lambda:[\w-]+:\d{12}:function:)?[a-zA-Z0-9_-]{1,64}")
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


def hook_configuration(functions: Functions) -> None:
    """Complete moto's functions. Called once, before the first request."""
    _hook_attributes(functions)
    _hook_code(functions)
    _hook_layers(functions)
    _hook_backend(functions)
    _hook_cloudformation()
    _hook_state()


def _hook_attributes(functions: Functions) -> None:
    from moto.awslambda.models import LambdaFunction
    from moto.core.utils import utcnow

    original_init, original_update = LambdaFunction.__init__, LambdaFunction.update_configuration
    original_get = LambdaFunction.get_configuration

    def init(function: Any, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        _check_name(str(spec["FunctionName"]))
        _check_variables(spec)
        original_init(function, account_id, spec, region, version)
        function.dead_letter_config = spec.get("DeadLetterConfig")

    def update(function: Any, updates: dict[str, Any]) -> dict[str, Any]:
        _check_variables(updates)
        before = function.layers
        original_update(function, updates)
        if "Layers" in updates:
            try:
                functions.check_code(function)
            except CodeError as error:
                function.layers = before
                raise client_error("InvalidParameterValueException", str(error), 400) from error
        function.dead_letter_config = updates.get("DeadLetterConfig", getattr(function, "dead_letter_config", None))
        function.tracing_config = updates.get("TracingConfig", function.tracing_config)
        if "EphemeralStorage" in updates:
            function.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        function.last_modified = utcnow().strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        configuration: dict[str, Any] = function.get_configuration()
        return configuration

    def get_configuration(function: Any, on_create: bool = False) -> dict[str, Any]:
        configuration: dict[str, Any] = original_get(function, on_create)
        if getattr(function, "dead_letter_config", None):
            configuration["DeadLetterConfig"] = function.dead_letter_config
        return configuration

    def layers(function: Any, arns: list[str]) -> list[dict[str, Any]]:
        """As moto's, which knows this account's layers only."""
        found: list[dict[str, Any]] = []
        for arn in arns:
            owner = foreign_account(arn, function.account_id)
            if owner and published_layer(arn) is None:
                message = (
                    f"The stand-in account cannot fetch the layer {arn} of account {owner}: publish its zip here with "
                    "PublishLayerVersion"
                )
                raise client_error("InvalidParameterValueException", message, 400)
            found += [{"Arn": arn, "CodeSize": 0}] if owner else original_layers(function, [arn])
        return found

    original_layers = LambdaFunction._get_layers_data
    LambdaFunction._get_layers_data = layers
    LambdaFunction.__init__ = init
    LambdaFunction.update_configuration = update
    LambdaFunction.get_configuration = get_configuration


def _hook_code(functions: Functions) -> None:
    from moto.awslambda.models import LambdaFunction

    original_code = LambdaFunction._set_function_code

    def set_code(function: Any, spec: dict[str, Any]) -> None:
        names = ("code", "code_bytes", "code_size", "code_sha_256", "code_digest")
        before = {name: getattr(function, name) for name in names if hasattr(function, name)}
        if "code" in before:
            before["code"] = dict(before["code"])
        try:
            original_code(function, spec)
            functions.check_code(function)
            functions.check_role(function)
        except FunctionError as error:
            vars(function).update(before)
            raise client_error(error.code, str(error), error.status) from error
        except ValueError as error:  # moto's way to report a missing object, which would become a 500
            vars(function).update(before)
            raise client_error("InvalidParameterValueException", str(error.args[-1]), 400) from error
        except CodeError as error:
            vars(function).update(before)
            raise client_error("InvalidParameterValueException", str(error), 400) from error

    LambdaFunction._set_function_code = set_code


def _hook_layers(functions: Functions) -> None:
    """Look into a layer's zip when it is published, not when a function first asks for it."""
    from moto.awslambda.models import LayerVersion

    original_init = LayerVersion.__init__

    def init(layer: Any, spec: dict[str, Any], account_id: str, region: str) -> None:
        original_init(layer, spec, account_id, region)
        try:
            functions.check_layer(layer)
        except CodeError as error:
            raise client_error("InvalidParameterValueException", str(error), 400) from error

    LayerVersion.__init__ = init


def _hook_backend(functions: Functions) -> None:
    from moto.awslambda.models import LambdaBackend

    original_delete, original_put = LambdaBackend.delete_function, LambdaBackend.put_function_event_invoke_config

    def delete(backend: Any, function_name: str, qualifier: str | None = None) -> None:
        function = backend.get_function(function_name, qualifier)
        original_delete(backend, function_name, qualifier)
        functions.forget(function.function_name)

    def put_event_invoke_config(backend: Any, function_name: str, config: dict[str, Any]) -> Any:
        """As moto's, but a second configuration replaces the first instead of hiding behind it."""
        backend.get_function(function_name).event_invoke_config = []
        return original_put(backend, function_name, config)

    LambdaBackend.put_function_event_invoke_config = put_event_invoke_config
    LambdaBackend.delete_function = delete


def _hook_cloudformation() -> None:
    """moto's CloudFormation drops most properties of a function, and cannot update inline code."""
    from moto.awslambda.models import LambdaFunction

    original_create = LambdaFunction.create_from_cloudformation_json
    original_update = LambdaFunction.update_from_cloudformation_json

    def create(
        _cls: type, /, resource_name: str, cloudformation_json: dict[str, Any], *place: str, **options: Any
    ) -> Any:
        function = original_create(resource_name, cloudformation_json, *place, **options)
        properties = cloudformation_json["Properties"]
        function.update_configuration({name: properties[name] for name in DROPPED_PROPERTIES & properties.keys()})
        function.tags = _tags(properties)
        return function

    def update(
        _cls: type,
        /,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        *place: str,
        **options: Any,
    ) -> Any:
        properties = {**PROPERTY_DEFAULTS, **cloudformation_json["Properties"]}
        code = dict(properties["Code"])
        if "ZipFile" in code:
            code["ZipFile"] = base64.b64encode(LambdaFunction._create_zipfile_from_plaintext_code(code["ZipFile"]))
        original_resource.tags = _tags(properties)
        complete = {"Properties": {**properties, "Code": code}}
        return original_update(original_resource, new_resource_name, complete, *place, **options)

    LambdaFunction.create_from_cloudformation_json = classmethod(create)
    LambdaFunction.update_from_cloudformation_json = classmethod(update)


def _hook_state() -> None:
    """Let functions and layers be saved: moto indexes them by weak references and ties each to the logs."""
    from moto.awslambda.models import LambdaFunction, LambdaStorage, LayerStorage
    from moto.logs.models import logs_backends

    def without_index(storage: Any) -> dict[str, Any]:
        return {name: value for name, value in vars(storage).items() if name != "_arns"}

    def restore_functions(storage: Any, state: dict[str, Any]) -> None:
        vars(storage).update(state)
        storage._aliases = defaultdict(dict, state["_aliases"])
        kept = (function for group in storage._functions.values() for function in (group["latest"], *group["versions"]))
        storage._arns = WeakValueDictionary({function.function_arn: function for function in kept if function})

    def restore_layers(storage: Any, state: dict[str, Any]) -> None:
        vars(storage).update(state, _arns=WeakValueDictionary())

    def without_logs(function: Any) -> dict[str, Any]:
        return {name: value for name, value in original_state(function).items() if name != "logs_backend"}

    def restore_function(function: Any, state: dict[str, Any]) -> None:
        vars(function).update(state, logs_backend=logs_backends[state["account_id"]][state["region"]])

    original_state = LambdaFunction.__getstate__
    LambdaStorage.__getstate__, LambdaStorage.__setstate__ = without_index, restore_functions
    LayerStorage.__getstate__, LayerStorage.__setstate__ = without_index, restore_layers
    LambdaFunction.__getstate__, LambdaFunction.__setstate__ = without_logs, restore_function


def _tags(properties: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: str(tag["Value"]) for tag in properties.get("Tags") or []}


def _check_name(name: str) -> None:
    if not _FUNCTION_NAME.fullmatch(name):
        message = (
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"satisfy regular expression pattern: {_FUNCTION_NAME.pattern}"
        )
        raise client_error("ValidationException", message, 400)


def _check_variables(spec: dict[str, Any]) -> None:
    reserved = sorted(RESERVED_VARIABLES & set((spec.get("Environment") or {}).get("Variables") or {}))
    if reserved:
        message = (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
        raise client_error("InvalidParameterValueException", message, 400)
