"""One canary for each part of moto that we replace or override: a version of moto that moves one fails here by name."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

PARTS = "moto.stepfunctions.parser.asl.component"
SERVICE = f"{PARTS}.state.exec.state_task"
ITERATION = f"{PARTS}.state.exec.state_map.iteration"
EVENT = ["self", "event_id", "source_event_id", "event_type", "timestamp", "event_details"]

# module, attribute, the parameters that our replacement takes
REPLACED = [
    ("moto.awslambda.responses", "LambdaResponse.invoke", ["self"]),
    ("moto.awslambda.responses", "LambdaResponse.call_action", ["self"]),
    (
        "moto.awslambda.models",
        "LambdaBackend.invoke",
        ["self", "function_name", "qualifier", "body", "headers", "response_headers"],
    ),
    ("moto.awslambda.models", "LambdaBackend.create_event_source_mapping", ["self", "spec"]),
    ("moto.awslambda.models", "LambdaBackend.delete_function", ["self", "function_name", "qualifier"]),
    ("moto.awslambda.models", "LambdaBackend.put_function_event_invoke_config", ["self", "function_name", "config"]),
    ("moto.awslambda.models", "LambdaFunction.__init__", ["self", "account_id", "spec", "region", "version"]),
    ("moto.awslambda.models", "LambdaFunction.invoke", ["self", "body", "request_headers", "response_headers"]),
    ("moto.awslambda.models", "LambdaFunction.update_configuration", ["self", "config_updates"]),
    ("moto.awslambda.models", "LambdaFunction.update_function_code", ["self", "updated_spec"]),
    ("moto.awslambda.models", "LambdaBackend.layers_versions_by_arn", ["self", "layer_version_arn"]),
    ("moto.awslambda.models", "LambdaFunction.get_configuration", ["self", "on_create"]),
    ("moto.cloudwatch.models", "CloudWatchBackend.put_metric_data", ["self", "namespace", "metric_data"]),
    (
        "moto.cloudwatch.models",
        "CloudWatchBackend.get_metric_statistics",
        ["self", "namespace", "metric_name", "start_time", "end_time", "period", "stats", "dimensions", "unit"],
    ),
    ("moto.cloudwatch.models", "CloudWatchBackend.get_all_metrics", ["self"]),
    (
        "moto.stepfunctions.parser.asl.utils.boto_client",
        "boto_client_for",
        ["region", "service", "state_credentials"],
    ),
    (f"{SERVICE}.state_task_lambda", "StateTaskLambda._from_error", ["self", "env", "ex"]),
    (
        f"{SERVICE}.lambda_eval_utils",
        "execute_lambda_function_integration",
        ["env", "parameters", "region", "state_credentials"],
    ),
    (f"{SERVICE}.service.state_task_service_lambda", "StateTaskServiceLambda._from_error", ["self", "env", "ex"]),
    (
        f"{SERVICE}.service.state_task_service_lambda",
        "StateTaskServiceLambda._error_cause_from_client_error",
        ["client_error"],
    ),
    (
        f"{SERVICE}.service.state_task_service_aws_sdk",
        "StateTaskServiceAwsSdk._eval_service_task",
        ["self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"],
    ),
    (
        "moto.stepfunctions.parser.models",
        "StepFunctionsParserBackend.start_execution",
        ["self", "state_machine_arn", "name", "execution_input", "trace_header"],
    ),
    ("moto.stepfunctions.parser.models", "StepFunctionsParserBackend.stop_execution", ["self", "execution_arn"]),
    ("moto.stepfunctions.parser.models", "StepFunctionsParserBackend._validate_definition", ["definition"]),
    ("moto.stepfunctions.parser.models", "StepFunctionsParserBackend._revision_by_name", ["self", "name"]),
    (
        "moto.stepfunctions.parser.models",
        "StepFunctionsParserBackend.send_task_failure",
        ["self", "task_token", "error", "cause"],
    ),
    ("moto.stepfunctions.parser.asl.parse.asl_parser", "AmazonStateLanguageParser.parse", ["definition"]),
    (
        "moto.stepfunctions.parser.models",
        "StepFunctionsParserBackend._get_executions",
        ["self", "execution_status"],
    ),
    ("moto.stepfunctions.models", "StepFunctionBackend.describe_execution", ["self", "execution_arn"]),
    ("moto.stepfunctions.models", "StepFunctionBackend._validate_execution_arn", ["self", "execution_arn"]),
    (
        "moto.stepfunctions.parser.asl.eval.event.event_manager",
        "EventManager.add_event",
        ["self", "context", "event_type", "event_details", "timestamp", "update_source_event_id"],
    ),
    ("moto.stepfunctions.parser.asl.eval.event.event_manager", "EventManager._publish_history_event", EVENT),
    (
        "moto.stepfunctions.parser.asl.eval.environment",
        "Environment.open_inner_frame",
        ["self", "event_history_context"],
    ),
    (
        "moto.stepfunctions.parser.asl.eval.environment",
        "Environment.set_stop",
        ["self", "stop_date", "cause", "error"],
    ),
    (f"{PARTS}.eval_component", "EvalComponent._log_exception", ["self", "exception"]),
    (f"{PARTS}.program.program", "Program.eval", ["self", "env"]),
    (f"{PARTS}.common.string.string_expression", "StringJSONata._eval_body", ["self", "env"]),
    (f"{PARTS}.common.string.string_expression", "StringVariableSample._eval_body", ["self", "env"]),
    (f"{PARTS}.common.error_name.error_equals_decl", "ErrorEqualsDecl._eval_body", ["self", "env"]),
    (f"{PARTS}.common.assign.assign_decl", "AssignDecl._eval_body", ["self", "env"]),
    (f"{PARTS}.state.state", "CommonStateField._eval_body", ["self", "env"]),
    (f"{PARTS}.state.exec.execute_state", "ExecutionState._evaluate_with_timeout", ["self", "env"]),
    (f"{PARTS}.state.exec.execute_state", "ExecutionState._eval_state_output", ["self", "env"]),
    (f"{PARTS}.state.exec.execute_state", "ExecutionState._construct_error_output_value", ["failure_event"]),
    (f"{PARTS}.state.choice.state_choice", "StateChoice._eval_state", ["self", "env"]),
    (f"{PARTS}.state.choice.comparison.comparison", "ConditionStringJSONata._eval_body", ["self", "env"]),
    (f"{PARTS}.state.exec.state_map.state_map", "StateMap._eval_execution", ["self", "env"]),
    (f"{ITERATION}.inline_iteration_component", "InlineIterationComponent._eval_body", ["self", "env"]),
    (f"{ITERATION}.iteration_worker", "IterationWorker._eval_pool", ["self", "job", "worker_frame"]),
    (f"{ITERATION}.iteration_worker", "IterationWorker._eval_job", ["self", "env", "job"]),
    (f"{PARTS}.state.exec.state_parallel.branch_worker", "BranchWorker.start", ["self"]),
    (f"{PARTS}.state.exec.state_parallel.branch_worker", "BranchWorker._thread_routine", ["self"]),
    (
        f"{SERVICE}.service.state_task_service",
        "StateTaskService._normalise_parameters",
        ["self", "parameters", "boto_service_name", "service_action_name"],
    ),
    (
        f"{SERVICE}.service.state_task_service",
        "StateTaskService._normalise_response",
        ["self", "response", "boto_service_name", "service_action_name"],
    ),
    (
        "moto.stepfunctions.parser.asl.eval.event.logging",
        "CloudWatchLoggingSession.publish_history_log",
        ["self", "history_log"],
    ),
    ("moto.stepfunctions.parser.quotas", "is_within_size_quota", ["value"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.get_execution_history", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.describe_execution", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.list_executions", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.stop_execution", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.send_task_failure", ["self"]),
]

PRESENT = [
    ("moto.core.config", "default_user_config"),
    ("moto.stepfunctions.models", "stepfunctions_backends"),
    ("moto.stepfunctions.parser.models", "stepfunctions_parser_backends"),
    ("moto.stepfunctions.parser.quotas", "MAX_STATE_SIZE_UTF8_BYTES"),
    ("moto.stepfunctions.parser.quotas", "to_json_str"),
    ("moto.stepfunctions.parser.asl.utils.json_path", "parse"),
    ("moto.stepfunctions.parser.utils", "TMP_THREADS"),
    (f"{PARTS}.common.path.result_path", "parse"),
    (f"{SERVICE}.service.state_task_service_aws_sdk", "_SERVICE_ERROR_NAMES"),
    ("moto.stepfunctions.parser.models", "CallbackOutcomeFailure"),
    ("moto.stepfunctions.parser.models", "CallbackConsumerTimeout"),
]


def find(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("module", "path", "parameters"), REPLACED)
def test_moto_still_has_what_we_replace(module: str, path: str, parameters: list[str]) -> None:
    assert list(inspect.signature(inspect.unwrap(find(module, path))).parameters) == parameters


@pytest.mark.parametrize(("module", "name"), PRESENT)
def test_moto_still_has_what_we_set(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_a_function_still_holds_what_workers_are_made_of() -> None:
    source = inspect.getsource(find("moto.awslambda.models", "LambdaFunction"))
    used = ("code_bytes", "code_digest", "environment_vars", "event_invoke_config", "function_arn", "function_name")
    used += (
        "handler",
        "layers",
        "memory_size",
        "package_type",
        "reserved_concurrency",
        "run_time",
        "timeout",
        "version",
    )
    assert [name for name in used if f"self.{name}" not in source] == []


def test_functions_are_still_stored_as_we_save_them() -> None:
    storage = find("moto.awslambda.models", "LambdaStorage")("us-east-1", "123456789012")
    assert {"_functions", "_arns", "_aliases"} <= vars(storage).keys()
    assert "_arns" in vars(find("moto.awslambda.models", "LayerStorage")())


def test_an_execution_still_holds_what_we_set() -> None:
    source = inspect.getsource(find("moto.stepfunctions.parser.backend.execution", "Execution"))
    used = ("cause", "error", "exec_status", "exec_worker", "output", "start_date", "state_machine", "stop_date")
    used += ("input_data", "input_details", "output_details", "_activity_store", "execution_input", "sm_type")
    assert [name for name in (*used, "_cloud_watch_logging_session") if f"self.{name}" not in source] == []


def test_the_interpreter_keeps_nothing_in_a_parsed_definition() -> None:
    """Executions share the parsed definition; a state that stored something in itself would leak between them."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    definition = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
    program = AmazonStateLanguageParser.parse(definition)[0]
    assert vars(program).keys() == {"query_language", "start_at", "states", "timeout_seconds", "comment", "version"}
