"""Any pipeline definition and any search expression: it is taken, or refused in words, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import botocore.session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_account.protocol.actions import ServiceError
from local_account.sagemaker.pipelines.definition import DefinitionError, parse
from local_account.sagemaker.search.conditions import check, holds
from tests.places import SAMPLES

SAMPLE_NAMES = ("training_pipeline.json", "monitoring_pipeline.json", "built_in_pipeline.json")
DEFINITIONS = [json.loads((SAMPLES / name).read_text(encoding="utf-8")) for name in SAMPLE_NAMES]
EXPRESSIONS = (
    {"Get": "Steps.Nobody.Arn"},
    {"Get": "Parameters."},
    {"Get": 5},
    {"Std:Join": {"On": "/", "Values": 3}},
    {"Std:JsonGet": {}},
    {"Std:Other": []},
)
SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=4)
ODD = (
    SCALARS
    | st.sampled_from(EXPRESSIONS)
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(st.text(max_size=3), SCALARS)
)
KINDS = st.sampled_from(("Processing", "Callback", "Tuning", "Lambda", "Condition", "Fail", "EMR", "Model", "Nothing"))


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where in a document something could be replaced."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


PLACES = [places(document)[1:] for document in DEFINITIONS]


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """A definition that runs, with one to three of its values replaced, moved or taken out."""
    number = draw(st.integers(0, len(DEFINITIONS) - 1))
    document = copy.deepcopy(DEFINITIONS[number])
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(PLACES[number]))
        held: Any = document
        try:
            for key in above:
                held = held[key]
            held[last] = held[last]
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
        what = draw(st.sampled_from(("odd", "kind", "out")))
        if what == "out":
            del held[last]
        else:
            held[last] = draw(ODD) if what == "odd" else draw(KINDS)
    return document


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed() | ODD)
def test_a_definition_is_read_or_refused(document: Any) -> None:
    try:
        text = json.dumps(document)
        assert parse(text).steps
    except DefinitionError as error:
        assert str(error)


NAMES = st.sampled_from(
    (
        *("TrainingJobName", "CreationTime", "Metrics.loss", "Tags.a", "Tags", "HyperParameters.x", "InputDataConfig"),
        *(
            "InputDataConfig.DataSource.S3DataSource.S3Uri",
            "FinalMetricDataList",
            "Nope",
            "TrainingJobName.x",
            "",
            "..",
        ),
    )
)
OPERATORS = st.sampled_from(
    (
        *("Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo", "Contains"),
        *("Exists", "NotExists", "In"),
    )
)
VALUES = st.sampled_from(("5", "-1e3", "nan", "2026-01-01T00:00:00Z", "yesterday", "a,b", "", "x" * 50))
FILTERS = st.fixed_dictionaries({"Name": NAMES}, optional={"Operator": OPERATORS, "Value": VALUES})
NESTED = st.fixed_dictionaries({"NestedPropertyName": NAMES, "Filters": st.lists(FILTERS, min_size=1, max_size=2)})
JOINED = st.sampled_from(("And", "Or"))
FLAT = st.fixed_dictionaries(
    {}, optional={"Filters": st.lists(FILTERS, max_size=2), "NestedFilters": st.lists(NESTED, max_size=1)}
)
SEARCHES = st.recursive(
    FLAT,
    lambda inner: st.fixed_dictionaries(
        {"Operator": JOINED}, optional={"SubExpressions": st.lists(inner, max_size=2), "Filters": st.lists(FILTERS)}
    ),
    max_leaves=3,
)
JOB = {
    "TrainingJobName": "a",
    "CreationTime": 1767225600.5,
    "HyperParameters": {"x": "5", "y": "many"},
    "Tags": [{"Key": "a", "Value": "b"}],
    "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.5}],
    "InputDataConfig": [{"ChannelName": "c", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/k"}}}],
}
SHAPE = botocore.session.get_session().get_service_model("sagemaker").shape_for("TrainingJob")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(SEARCHES)
def test_a_search_expression_holds_or_is_refused(expression: Any) -> None:
    try:
        check(expression, SHAPE)
        assert holds(expression, JOB, SHAPE) in {True, False}
    except ServiceError as error:
        assert str(error)
