"""The batch workflow: every image below a prefix, or in a manifest, in batches; results and a summary in S3.

    Defaults -> Settings -> ChooseSource -+-> ClassifyPrefix -+-> SummarizeBatch
                                          +-> ClassifyCsv ... +

One definition for all sources: an ItemReader's kind is fixed when a state machine is created, so each source has a
Distributed Map, and the input's ``source`` chooses. Their children are Express executions of one function each, which
does not fail for an image; only when the tolerated share of images fails does the execution fail.

Runs on a laptop or in CodeBuild and makes no AWS call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepfunctions.steps import Catch, Chain, Choice, ChoiceRule, Pass

from inference_workflow.faults import LAMBDA_SERVICE_ERRORS, PATIENT, THRESHOLD_UNAVAILABLE
from inference_workflow.sdk_extensions import ComputedFail, DistributedMapState, FunctionTask, Machine
from inference_workflow.workflow import as_text

if TYPE_CHECKING:
    from stepfunctions.steps.choice_rule import BaseRule
    from stepfunctions.steps.states import State

# What the input may overrule. The function sees to at most 100 rows in its answer, which a state can hold.
DEFAULTS = {"source": "", "batch_size": 50, "max_concurrency": 4, "tolerated_failure_percentage": 10}
BATCH_SIZE_LIMIT = 100
# Below the 300 s of an Express execution and above the function's own limit.
CHILD_TIMEOUT_SECONDS = 280
SUMMARY_TIMEOUT_SECONDS = 910
# Of the 262,144 bytes that a child's input may have.
BATCH_INPUT_BYTES = 200_000
BATCH_ERRORS = ["TOLERATED_FAILURES_EXCEEDED", "BATCH_INCOMPLETE"]

LIST_OBJECTS = "arn:aws:states:::s3:listObjectsV2"
GET_OBJECT = "arn:aws:states:::s3:getObject"
PUT_OBJECT = "arn:aws:states:::s3:putObject"

# Source in the input -> how its Map is called, what the input has to name, and how its items are read.
READERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "prefix": ("Prefix", "s3_prefix", {}),
    "csv": ("Csv", "s3_key", {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
    "json": ("Json", "s3_key", {"InputType": "JSON"}),
    "jsonl": ("Jsonl", "s3_key", {"InputType": "JSONL"}),
}


def batch_workflow() -> str:
    """The state machine as Amazon States Language JSON; the same text every time."""
    defaults = Pass("Defaults", result=DEFAULTS, result_path="$.defaults")
    settings = Pass(
        "Settings",
        parameters={
            "settings.$": "States.JsonMerge($.defaults, $, false)",
            "batch_id.$": "$$.Execution.Name",
            "started_at.$": "$$.Execution.StartTime",
        },
    )
    machine = Machine(
        Chain([defaults, settings, choose_source()]),
        comment="Classify many images; what became of each lies in S3.",
    )
    return as_text(machine)


def choose_source() -> Choice:
    """To the Map of the input's source, when the input names all that it needs."""
    failed = ComputedFail("BatchFailed", error_path="$.error.Error", cause_path="$.exception.json.errorMessage")
    read = Pass("ReadSummary", parameters={"json.$": "States.StringToJson($.error.Cause)"}, result_path="$.exception")
    read.next(failed)
    unsummarized = ComputedFail("SummaryFailed", error_path="$.error.Error", cause_path="$.error.Cause")
    complete = summarize("SummarizeBatch", {}, read, unsummarized)
    incomplete = summarize("SummarizeIncomplete", {"map_error.$": "$.map_error.Error"}, read, unsummarized)
    unreadable = ComputedFail("ItemsNotReadable", error="ItemsNotReadable", cause_path="$.map_error.Cause")

    choice = Choice("ChooseSource")
    for source, (_, place, _) in READERS.items():
        items = classify_items(source)
        items.next(complete)
        items.add_catch(
            Catch(error_equals=["States.ItemReaderFailed"], result_path="$.map_error", next_step=unreadable)
        )
        items.add_catch(Catch(error_equals=["States.ALL"], result_path="$.map_error", next_step=incomplete))
        choice.add_choice(ChoiceRule.And(_complete_input(source, place)), items)
    cause = (
        "expected source (one of " + ", ".join(READERS) + "), s3_bucket, and s3_prefix or the manifest's s3_key; "
        f"batch_size from 1 to {BATCH_SIZE_LIMIT}"
    )
    choice.default_choice(ComputedFail("InvalidInput", error="InvalidInput", cause=cause))
    return choice


def _complete_input(source: str, place: str) -> list[BaseRule]:
    texts = [f"$.settings.{name}" for name in ("s3_bucket", place)]
    return [
        ChoiceRule.StringEquals("$.settings.source", source),
        *[rule(path, True) for path in texts for rule in (ChoiceRule.IsPresent, ChoiceRule.IsString)],
        ChoiceRule.NumericGreaterThanEquals("$.settings.batch_size", 1),
        ChoiceRule.NumericLessThanEquals("$.settings.batch_size", BATCH_SIZE_LIMIT),
    ]


def classify_items(source: str) -> DistributedMapState:
    """The Distributed Map over the items of one kind of source."""
    name, _, config = READERS[source]
    return DistributedMapState(
        f"Classify{name}",
        label=f"Classify{name}",
        processor=classify_batch(name),
        execution_type="EXPRESS",
        item_reader=item_reader(config),
        item_batcher={
            "MaxItemsPerBatchPath": "$.settings.batch_size",
            "MaxInputBytesPerBatch": BATCH_INPUT_BYTES,
            "BatchInput": {
                "batch_id.$": "$.batch_id",
                "s3_bucket.$": "$.settings.s3_bucket",
                "execution_arn.$": "$$.Execution.Id",
            },
        },
        max_concurrency_path="$.settings.max_concurrency",
        tolerated_failure_percentage_path="$.settings.tolerated_failure_percentage",
        result_writer={
            "Resource": PUT_OBJECT,
            "Parameters": {"Bucket": "${DataBucketName}", "Prefix.$": "States.Format('batches/{}/map', $.batch_id)"},
        },
        result_path="$.map",
    )


def item_reader(config: dict[str, str]) -> dict[str, object]:
    """Objects below a prefix, or the lines of a manifest."""
    if not config:
        place = {"Bucket.$": "$.settings.s3_bucket", "Prefix.$": "$.settings.s3_prefix"}
        return {"Resource": LIST_OBJECTS, "Parameters": place}
    place = {"Bucket.$": "$.settings.s3_bucket", "Key.$": "$.settings.s3_key"}
    return {"Resource": GET_OBJECT, "ReaderConfig": config, "Parameters": place}


def classify_batch(name: str) -> FunctionTask:
    """What a child does; its name differs from Map to Map, as names are unique in a state machine."""
    return FunctionTask(
        f"Classify{name}Batch",
        parameters={"FunctionName": "${ClassifyBatchArn}", "Payload.$": "$"},
        timeout_seconds=CHILD_TIMEOUT_SECONDS,
        retry=[PATIENT.retry(*LAMBDA_SERVICE_ERRORS), PATIENT.retry(THRESHOLD_UNAVAILABLE)],
    )


def summarize(name: str, more: dict[str, str], on_failed_batch: State, on_error: State) -> FunctionTask:
    """Results and summary into S3; fails when too many images did."""
    payload = {
        "batch_id.$": "$.batch_id",
        "started_at.$": "$.started_at",
        "source.$": "$.settings.source",
        "s3_bucket.$": "$.settings.s3_bucket",
        "tolerated_failure_percentage.$": "$.settings.tolerated_failure_percentage",
        "results_bucket": "${DataBucketName}",
        **more,
    }
    state = FunctionTask(
        name,
        parameters={"FunctionName": "${SummarizeBatchArn}", "Payload": payload},
        timeout_seconds=SUMMARY_TIMEOUT_SECONDS,
        retry=[PATIENT.retry(*LAMBDA_SERVICE_ERRORS)],
    )
    state.add_catch(Catch(error_equals=BATCH_ERRORS, result_path="$.error", next_step=on_failed_batch))
    state.add_catch(Catch(error_equals=["States.ALL"], result_path="$.error", next_step=on_error))
    return state
