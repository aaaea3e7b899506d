"""Selective execution: some steps run, and what they need comes from an earlier execution.

Pure, over records. Authority: SageMaker developer guide, "Selective execution of pipeline steps".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.sagemaker.pipelines.definition import Definition
from local_account.sagemaker.records import ExecutionRecord, StepRecord

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import SelectiveExecutionConfigUnionTypeDef


def selected_steps(
    config: SelectiveExecutionConfigUnionTypeDef,
    definition: Definition,
    executions: Mapping[str, ExecutionRecord],
    pipeline_arn: str,
) -> dict[str, StepRecord]:
    """The records of the steps whose results are taken; the others of the selected run.

    Raises ServiceError for a step that is not there, and where the results of another one are missing.
    """
    selected = [one["StepName"] for one in config["SelectedSteps"]]
    if unknown := [name for name in selected if name not in definition.steps]:
        known = ", ".join(definition.steps)
        raise ServiceError(f"SelectedSteps: the pipeline has no step {unknown[0]!r}; it has: {known}.")
    needed = {need for name in selected for need in definition.steps[name].needs} - set(selected)
    if not needed:
        return {}
    source = _source(config, executions, pipeline_arn, sorted(needed))
    taken: dict[str, StepRecord] = {}
    for name in (one for one in definition.steps if one in needed):
        earlier = source["Steps"].get(name)
        if earlier is None or earlier["StepStatus"] != "Succeeded":
            raise ServiceError(
                f"SelectedSteps: step {name!r}, whose results are needed, did not succeed in "
                f"{source['PipelineExecutionArn']}."
            )
        record: StepRecord = json.loads(json.dumps(earlier))
        record["SelectiveExecutionResult"] = {"SourcePipelineExecutionArn": source["PipelineExecutionArn"]}
        taken[name] = record
    return taken


def _source(
    config: SelectiveExecutionConfigUnionTypeDef,
    executions: Mapping[str, ExecutionRecord],
    pipeline_arn: str,
    needed: list[str],
) -> ExecutionRecord:
    arn = config.get("SourcePipelineExecutionArn")
    if arn is None:
        raise ServiceError(
            f"SelectiveExecutionConfig: SourcePipelineExecutionArn is needed for the results of {', '.join(needed)}."
        )
    source = executions.get(arn)
    if source is None or source["PipelineArn"] != pipeline_arn:
        raise ServiceError(f"Pipeline execution with ARN {arn} does not exist in {pipeline_arn}.", "ResourceNotFound")
    if source["PipelineExecutionStatus"] in {"Executing", "Stopping"}:
        raise ServiceError(f"Pipeline execution with ARN {arn} still runs: select steps after one that has ended.")
    return source
