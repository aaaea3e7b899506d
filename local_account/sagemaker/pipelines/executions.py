"""Executions of pipelines: start, stop, retry, describe and list them and their steps.

Runs in the server process; state: the tables ``pipeline-executions`` (by ARN) and ``request-tokens``.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from typing import TYPE_CHECKING

from local_account.protocol.actions import Json, Reply, ServiceError, action
from local_account.protocol.records import change, chosen
from local_account.protocol.service import now
from local_account.sagemaker.pipelines.callbacks import Callbacks
from local_account.sagemaker.pipelines.definition import Definition, DefinitionError, parse
from local_account.sagemaker.pipelines.events import emit_execution
from local_account.sagemaker.pipelines.runs import ACCOUNT_STOPPED, PipelineRun
from local_account.sagemaker.pipelines.selection import selected_steps
from local_account.sagemaker.pipelines.versions import VersionRecord, version_of
from local_account.sagemaker.records import ExecutionRecord, PipelineRecord, StepRecord
from local_account.sagemaker.service import SageMaker, listing

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        DescribePipelineDefinitionForExecutionRequestTypeDef,
        DescribePipelineExecutionRequestTypeDef,
        ListPipelineExecutionsRequestTypeDef,
        ListPipelineExecutionStepsRequestTypeDef,
        ListPipelineParametersForExecutionRequestTypeDef,
        RetryPipelineExecutionRequestTypeDef,
        StartPipelineExecutionRequestTypeDef,
        StopPipelineExecutionRequestTypeDef,
    )

_EXECUTION_MEMBERS = [
    "PipelineArn",
    "PipelineExecutionArn",
    "PipelineExecutionDisplayName",
    "PipelineExecutionStatus",
    "PipelineExecutionDescription",
    "FailureReason",
    "CreationTime",
    "LastModifiedTime",
    "CreatedBy",
    "LastModifiedBy",
    "ParallelismConfiguration",
    "PipelineVersionId",
    "RoleArn",
    "PipelineExperimentConfig",
    "SelectiveExecutionConfig",
]
_GIVEN = ("ParallelismConfiguration", "PipelineExecutionDescription", "RoleArn", "SelectiveExecutionConfig")
_STEP_MEMBERS = [
    "StepName",
    "StepDisplayName",
    "StepDescription",
    "StartTime",
    "EndTime",
    "StepStatus",
    "CacheHitResult",
    "SelectiveExecutionResult",
    "FailureReason",
    "Metadata",
    "AttemptCount",
]


class PipelineExecutions:
    """The actions on executions."""

    def __init__(self, sagemaker: SageMaker, pipeline: Callable[[str], PipelineRecord]) -> None:
        self.sagemaker = sagemaker
        self._pipeline = pipeline
        self.callbacks = Callbacks()
        self._running: dict[str, PipelineRun] = {}
        self._fail_interrupted()

    def _fail_interrupted(self) -> None:
        for record in self.sagemaker.pipeline_executions.values():
            if record["PipelineExecutionStatus"] in ("Executing", "Stopping"):
                record.update(
                    {"PipelineExecutionStatus": "Failed", "FailureReason": ACCOUNT_STOPPED, "LastModifiedTime": now()}
                )
                for step in record["Steps"].values():
                    if step["StepStatus"] in ("Starting", "Executing", "Stopping"):
                        step.update({"StepStatus": "Failed", "FailureReason": ACCOUNT_STOPPED, "EndTime": now()})
                self.sagemaker.changed()

    def execution(self, arn: str) -> ExecutionRecord:
        """An execution by its ARN.

        Raises ServiceError when there is none.
        """
        execution = self.sagemaker.pipeline_executions.get(arn)
        if execution is None:
            raise ServiceError(f"Pipeline execution with ARN {arn} does not exist.", "ResourceNotFound")
        return execution

    @action("StartPipelineExecution")
    def start(self, request: StartPipelineExecutionRequestTypeDef) -> Reply:
        """The execution runs in the background; the same ClientRequestToken starts no second one."""
        pipeline = self._pipeline(request["PipelineName"])
        given = request.get("PipelineParameters", [])
        version = version_of(self.sagemaker, pipeline, request.get("PipelineVersionId"))
        definition = checked_definition(version["PipelineDefinition"])
        try:
            values = definition.values(given)
        except DefinitionError as error:
            raise ServiceError(str(error)) from error
        selected = self._selected(request, definition, pipeline["PipelineArn"])
        token = f"StartPipelineExecution:{pipeline['PipelineName']}:{request['ClientRequestToken']}"
        with self.sagemaker.lock:
            known = self.sagemaker.request_tokens.get(token)
            if known:
                return {"PipelineExecutionArn": known["Arn"]}
            record = self._new_execution(pipeline, version, request, values)
            record["Steps"] = selected
            self.sagemaker.request_tokens[token] = {"Arn": record["PipelineExecutionArn"]}
            pipeline["LastRunTime"] = record["CreationTime"]
            self.sagemaker.changed()
        emit_execution(self.sagemaker, record, None)
        self._run(record, definition)
        return {"PipelineExecutionArn": record["PipelineExecutionArn"]}

    def _selected(
        self, request: StartPipelineExecutionRequestTypeDef, definition: Definition, pipeline_arn: str
    ) -> dict[str, StepRecord]:
        """The steps whose results a selective execution takes from another one."""
        if "SelectiveExecutionConfig" not in request:
            return {}
        config, executions = request["SelectiveExecutionConfig"], self.sagemaker.pipeline_executions
        return selected_steps(config, definition, executions, pipeline_arn)

    def _new_execution(
        self,
        pipeline: PipelineRecord,
        version: VersionRecord,
        request: StartPipelineExecutionRequestTypeDef,
        values: dict[str, Json],
    ) -> ExecutionRecord:
        alphabet = string.ascii_lowercase + string.digits
        identifier = "".join(secrets.choice(alphabet) for _ in range(12))
        created = now()
        record: ExecutionRecord = {
            "PipelineArn": pipeline["PipelineArn"],
            "PipelineExecutionArn": f"{pipeline['PipelineArn']}/execution/{identifier}",
            "PipelineExecutionDisplayName": request.get(
                "PipelineExecutionDisplayName", f"execution-{int(created * 1000)}"
            ),
            "PipelineExecutionStatus": "Executing",
            "CreationTime": created,
            "LastModifiedTime": created,
            "CreatedBy": {},
            "LastModifiedBy": {},
            "PipelineVersionId": version["PipelineVersionId"],
            "Definition": version["PipelineDefinition"],
            "Parameters": list(request.get("PipelineParameters", [])),
            "Values": values,
            "Steps": {},
        }
        change(record, chosen(pipeline, ("ParallelismConfiguration",)))
        change(record, chosen(request, _GIVEN))
        self.sagemaker.pipeline_executions[record["PipelineExecutionArn"]] = record
        version["LastExecutionPipelineExecutionArn"] = record["PipelineExecutionArn"]
        return record

    def _run(self, record: ExecutionRecord, definition: Definition) -> None:
        arn = record["PipelineExecutionArn"]
        run = PipelineRun(self.sagemaker, record, definition, self.callbacks)
        self._running[arn] = run
        run.start(lambda: (self._running.pop(arn, None), None)[1])

    @action("StopPipelineExecution")
    def stop(self, request: StopPipelineExecutionRequestTypeDef) -> Reply:
        """The execution starts no further step and stops the jobs that run."""
        arn = request["PipelineExecutionArn"]
        record = self.execution(arn)
        run = self._running.get(arn)
        if record["PipelineExecutionStatus"] != "Executing" or run is None:
            status = record["PipelineExecutionStatus"]
            raise ServiceError(f"Pipeline execution with ARN {arn} cannot be stopped: its status is {status}.")
        run.request_stop()
        return {"PipelineExecutionArn": arn}

    @action("RetryPipelineExecution")
    def retry(self, request: RetryPipelineExecutionRequestTypeDef) -> Reply:
        """An execution that failed or was stopped goes on; steps that succeeded are not run again."""
        arn = request["PipelineExecutionArn"]
        token = f"RetryPipelineExecution:{request['ClientRequestToken']}"
        with self.sagemaker.lock:
            record = self.execution(arn)
            if self.sagemaker.request_tokens.get(token) == {"Arn": arn}:
                return {"PipelineExecutionArn": arn}
            before = record["PipelineExecutionStatus"]
            if before not in ("Failed", "Stopped") or arn in self._running:
                raise ServiceError(f"Pipeline execution with ARN {arn} cannot be retried: its status is {before}.")
            record["Steps"] = {n: s for n, s in record["Steps"].items() if s["StepStatus"] == "Succeeded"}
            record.update({"PipelineExecutionStatus": "Executing", "LastModifiedTime": now()})
            record.pop("FailureReason", None)
            if "ParallelismConfiguration" in request:
                record["ParallelismConfiguration"] = request["ParallelismConfiguration"]
            self.sagemaker.request_tokens[token] = {"Arn": arn}
            self.sagemaker.changed()
        emit_execution(self.sagemaker, record, before)
        self._run(record, checked_definition(record["Definition"]))
        return {"PipelineExecutionArn": arn}

    @action("DescribePipelineExecution")
    def describe_execution(self, request: DescribePipelineExecutionRequestTypeDef) -> Reply:
        """Answers the execution as it is now."""
        record = self.execution(request["PipelineExecutionArn"])
        return chosen(record, _EXECUTION_MEMBERS)

    @action("ListPipelineExecutions")
    def list_executions(self, request: ListPipelineExecutionsRequestTypeDef) -> Reply:
        """Answers a page of a pipeline's executions, the newest first."""
        arn = self._pipeline(request["PipelineName"])["PipelineArn"]
        summaries = [
            {
                **record,
                "StartTime": record["CreationTime"],
                **({"PipelineExecutionFailureReason": record["FailureReason"]} if "FailureReason" in record else {}),
            }
            for record in self.sagemaker.pipeline_executions.values()
            if record["PipelineArn"] == arn
        ]
        fields = [
            "PipelineExecutionArn", "StartTime", "PipelineExecutionStatus", "PipelineExecutionDescription",
            "PipelineExecutionDisplayName", "PipelineExecutionFailureReason",
        ]  # fmt: skip
        return listing(
            summaries, request, key="PipelineExecutionSummaries", fields=fields, name_field="PipelineExecutionArn"
        )

    @action("ListPipelineExecutionSteps")
    def list_steps(self, request: ListPipelineExecutionStepsRequestTypeDef) -> Reply:
        """Answers a page of the steps that began, the newest first."""
        record = self.execution(request.get("PipelineExecutionArn", ""))
        steps = [{**step, "CreationTime": step["StartTime"]} for step in record["Steps"].values()]
        return listing(steps, request, key="PipelineExecutionSteps", fields=_STEP_MEMBERS, name_field="StepName")

    @action("ListPipelineParametersForExecution")
    def list_parameters(self, request: ListPipelineParametersForExecutionRequestTypeDef) -> Reply:
        """Answers a page of the parameters with their values, defaults included."""
        record = self.execution(request["PipelineExecutionArn"])
        given = {p["Name"]: p.get("Value", "") for p in record["Parameters"]}
        shown = [
            {"Name": name, "Value": given.get(name, str(value)), "CreationTime": 0}
            for name, value in record["Values"].items()
        ]
        return listing(
            shown,
            request,
            key="PipelineParameters",
            fields=["Name", "Value"],
            name_field="Name",
            default_order="Ascending",
        )

    @action("DescribePipelineDefinitionForExecution")
    def describe_definition(self, request: DescribePipelineDefinitionForExecutionRequestTypeDef) -> Reply:
        """Answers the definition that the execution began with."""
        record = self.execution(request["PipelineExecutionArn"])
        return {"PipelineDefinition": record["Definition"], "CreationTime": record["CreationTime"]}


def checked_definition(text: str) -> Definition:
    """Parse a definition; raises ServiceError."""
    try:
        return parse(text)
    except DefinitionError as error:
        raise ServiceError(f"Unable to parse pipeline definition. {error}") from error
