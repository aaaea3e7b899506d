"""Expressions of pipeline definitions, durations and cache keys: pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from local_account.sagemaker.pipelines.cache import cache_key, duration_s
from local_account.sagemaker.pipelines.expressions import (
    ExpressionScope,
    PipelineExpressionError,
    check_condition,
    holds,
    parse_path,
    references,
    resolve,
)

JOB = {
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "other", "S3Output": {"S3Uri": "s3://b/other"}},
            {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
        ]
    },
    "FinalMetricDataList": [{"MetricName": "validation:loss", "Value": 0.25}],
    "Environment": {"A.B": "dotted"},
}
REPORT = {"metrics": {"accuracy": {"value": 0.91}, "passed": True, "top 5": [0.5, 0.6]}, "empty": None}
SCOPE = ExpressionScope(
    parameters={"Gate": 0.9, "Word": "hi", "Flag": True},
    execution={"PipelineExecutionId": "abc123"},
    properties={"Job": JOB}.__getitem__,
    property_file=lambda step, name: {("Job", "Report"): REPORT}[step, name],
    json_object=lambda uri: {"uri": uri},
)


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def json_get(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": get("Steps.Job.PropertyFiles.Report"), "Path": path}}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("plain", "plain"),
        (get("Parameters.Gate"), 0.9),
        (get("Execution.PipelineExecutionId"), "abc123"),
        (get("Steps.Job.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"), "s3://b/train"),
        (get("Steps.Job.ProcessingOutputConfig.Outputs[0].OutputName"), "other"),
        (get("Steps.Job.FinalMetricDataList['validation:loss'].Value"), 0.25),
        (get("Steps.Job.Environment['A.B']"), "dotted"),
        ({"a": [get("Parameters.Word"), 1]}, {"a": ["hi", 1]}),
        ({"Std:Join": {"On": "/", "Values": ["s3:", get("Parameters.Word"), 3, 0.5, True]}}, "s3:/hi/3/0.5/true"),
        (json_get("metrics.accuracy.value"), 0.91),
        (json_get("$.metrics.passed"), True),
        (json_get("metrics['top 5'][1]"), 0.6),
        ({"Std:JsonGet": {"S3Uri": {"Std:Join": {"On": "", "Values": ["s3://", "x"]}}, "Path": "uri"}}, "s3://x"),
    ],
)
def test_an_expression_becomes_its_value(expression: Any, expected: Any) -> None:
    assert resolve(expression, SCOPE) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (get("Steps.Job.ProcessingOutputConfig.Outputs['test']"), "'test' is missing"),
        (json_get("metrics.f1"), "'f1' is missing .*accuracy"),
        (json_get("metrics.accuracy"), "needs a text, a number or a boolean"),
        (json_get("empty"), "'empty' is missing"),
        ({"Std:Join": {"On": "", "Values": [["a"]]}}, "joins texts and numbers"),
        (get("Wrong.Place"), "must start with Parameters"),
        (get("Steps.Job.Outputs['train"), "is not a path"),
    ],
)
def test_an_expression_without_a_value_says_which(expression: Any, message: str) -> None:
    with pytest.raises(PipelineExpressionError, match=message):
        resolve(expression, SCOPE)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"Type": "Equals", "LeftValue": get("Parameters.Word"), "RightValue": "hi"}, True),
        ({"Type": "Equals", "LeftValue": 1, "RightValue": 1.0}, True),
        ({"Type": "GreaterThan", "LeftValue": json_get("metrics.accuracy.value"), "RightValue": 0.91}, False),
        ({"Type": "GreaterThanOrEqualTo", "LeftValue": json_get("metrics.accuracy.value"), "RightValue": 0.91}, True),
        ({"Type": "LessThan", "LeftValue": "a", "RightValue": "b"}, True),
        ({"Type": "LessThanOrEqualTo", "LeftValue": 2, "RightValue": 1}, False),
        ({"Type": "In", "QueryValue": "hi", "Values": ["ho", get("Parameters.Word")]}, True),
        ({"Type": "In", "QueryValue": 3, "Values": [1, 2]}, False),
        ({"Type": "Not", "Condition": {"Type": "Equals", "LeftValue": 1, "RightValue": 1}}, False),
        (
            {
                "Type": "Or",
                "Conditions": [
                    {"Type": "Equals", "LeftValue": 1, "RightValue": 2},
                    {"Type": "Equals", "LeftValue": True, "RightValue": get("Parameters.Flag")},
                ],
            },
            True,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    check_condition(condition)
    assert holds(condition, SCOPE) is expected


@pytest.mark.parametrize(("left", "right"), [("0.95", 0.9), (True, 1), (1, "1")])
def test_values_of_different_types_are_not_compared(left: Any, right: Any) -> None:
    with pytest.raises(PipelineExpressionError, match="of different types"):
        holds({"Type": "GreaterThan", "LeftValue": left, "RightValue": right}, SCOPE)


@pytest.mark.parametrize(
    "condition",
    [{}, [], {"Type": "Equals"}, {"Type": "Not", "Condition": {"Type": "Around"}}, {"Type": "Or", "Conditions": [{}]}],
)
def test_malformed_conditions_are_refused(condition: Any) -> None:
    with pytest.raises(PipelineExpressionError):
        check_condition(condition)


def test_references_are_found_wherever_they_are() -> None:
    nested = {"a": [{"b": {"Std:Join": {"On": "", "Values": [get("Parameters.X"), json_get("p")]}}}]}
    assert [(r.kind, r.name) for r in references(nested)] == [("Parameters", "X"), ("Steps", "Job")]


@pytest.mark.parametrize(
    "value",
    [
        {"Std:Upper": "x"},
        {"Std:Join": {"On": ","}},
        {"Std:Join": "text"},
        {"Std:JsonGet": {"Path": "a"}},
        {"Get": 5},
        {"Get": "Parameters.A", "Other": 1},
    ],
)
def test_malformed_expressions_are_refused(value: Any) -> None:
    with pytest.raises(PipelineExpressionError):
        list(references(value))


def test_paths_are_split_into_names_keys_and_positions() -> None:
    assert parse_path("""Outputs['a.b'].S3Output["c d"][2].Uri""") == ("Outputs", "a.b", "S3Output", "c d", 2, "Uri")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P7D", 604800), ("PT1H", 3600), ("30d", 2592000), ("T16m", 960), ("30dT5h", 2610000), ("P1Y", 31536000)],
)
def test_durations_as_aws_writes_them(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "7", "seven days", "P1X"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_s(text)


def test_the_cache_key_depends_on_what_decides_the_result() -> None:
    arguments = {"AppSpecification": {"ImageUri": "a"}, "RoleArn": "r1", "ProcessingInputs": []}
    key = cache_key("Processing", arguments)
    assert cache_key("Processing", {**arguments, "RoleArn": "r2", "StoppingCondition": {}}) == key
    assert cache_key("Processing", {**arguments, "Environment": {"A": "1"}}) != key
    assert cache_key("Condition", arguments) is None
