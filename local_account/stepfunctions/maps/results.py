"""What a Distributed Map's children came to: the state's result, or files in S3 (ResultWriter).

Runs in the server process. Writes ``manifest.json`` and one file a status below the prefix and the run's id, in the
format of step-functions/latest/dg/input-output-resultwriter.html (AWS starts a further file after 5 GB).
"""

from __future__ import annotations

import json
from typing import TypedDict, cast

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.base.arns import last_part
from local_account.stepfunctions.language.documents import ResultWriter, WriterConfig
from local_account.stepfunctions.language.encoding import dumps, time_text
from local_account.stepfunctions.language.failures import failure
from local_account.stepfunctions.maps.items import MapFields
from local_account.stepfunctions.maps.records import Child, MapRun

FILES = {"SUCCEEDED": {"SUCCEEDED"}, "FAILED": {"FAILED", "TIMED_OUT", "ABORTED"}, "PENDING": {"PENDING"}}


class ResultFolder(TypedDict, total=False):
    """Where in S3 the files go."""

    Bucket: str
    Prefix: str


def record_of(run: MapRun, child: Child) -> dict[str, object]:
    """A child as the result files have it."""
    if child.status == "PENDING":
        return {"Input": child.data, "InputDetails": {"Included": True}, "Status": "PENDING"}
    answer: dict[str, object] = {
        "ExecutionArn": run.arn_of(child),
        "Input": child.data,
        "InputDetails": {"Included": True},
        "Name": child.name,
        "RedriveCount": child.redrive_count,
        "StartDate": time_text(child.start_date) if child.start_date else None,
        "StateMachineArn": run.machine_arn,
        "Status": child.status,
        "StopDate": time_text(child.stop_date) if child.stop_date else None,
    }
    if child.status == "SUCCEEDED":
        answer |= {"Output": child.output, "OutputDetails": {"Included": True}, "RedriveStatus": "NOT_REDRIVABLE"}
        answer["RedriveStatusReason"] = "Execution is SUCCEEDED and cannot be redriven"
    else:
        answer |= {"Cause": child.cause, "Error": child.error, "RedriveStatus": "REDRIVABLE_BY_MAP_RUN"}
    return {name: answer[name] for name in sorted(answer) if answer[name] is not None}


def transformed(run: MapRun, children: list[Child], transformation: str) -> list[object]:
    """The children's results; those that failed keep their record whatever the transformation."""
    results: list[object] = []
    for child in children:
        if transformation == "NONE" or child.status != "SUCCEEDED":
            results.append(record_of(run, child))
            continue
        output = json.loads(child.output or "null")
        results += output if transformation == "FLATTEN" and isinstance(output, list) else [output]
    return results


def destination_of(fields: MapFields, writer: ResultWriter) -> ResultFolder | None:
    """Bucket and prefix of the files; None when none are asked for."""
    if "Resource" not in writer:
        return None
    jsonata = fields.spec.language == "JSONata"
    template = writer.get("Arguments", {}) if jsonata else writer.get("Parameters", {})
    return cast(ResultFolder, fields.value(f"ResultWriter/{'Arguments' if jsonata else 'Parameters'}", template))


def write_results(
    account: Account, run: MapRun, fields: MapFields, writer: ResultWriter, destination: ResultFolder | None
) -> dict[str, str] | None:
    """Write the files that the state asks for; where the manifest is, or None. States.ResultWriterFailed."""
    if destination is None:
        return None
    config: WriterConfig = writer.get("WriterConfig") or {}
    lines = config.get("OutputType", "JSON") == "JSONL"
    bucket = destination["Bucket"]
    folders = (str(destination.get("Prefix", "")).strip("/"), last_part(run.arn))
    prefix = "/".join(folder for folder in folders if folder)
    s3 = account.client("s3", fields.env.aws_execution_details.role_arn)
    files: dict[str, list[dict[str, object]]] = {}
    try:
        for name, statuses in FILES.items():
            children = [child for child in run.children if child.status in statuses]
            files[name] = []
            if children:
                results = transformed(run, children, config.get("Transformation", "NONE"))
                text = "".join(f"{dumps(result)}\n" for result in results) if lines else dumps(results)
                key = f"{prefix}/{name}_0.{'jsonl' if lines else 'json'}"
                s3.put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="application/json")
                files[name].append({"Key": key, "Size": len(text.encode())})
        manifest = {"DestinationBucket": bucket, "MapRunArn": run.arn, "ResultFiles": files}
        key = f"{prefix}/manifest.json"
        s3.put_object(Bucket=bucket, Key=key, Body=dumps(manifest).encode(), ContentType="application/json")
    except (ClientError, BotoCoreError) as error:
        cause = f"The results could not be written to s3://{bucket}/{prefix}: {error}"
        raise failure(fields.env, "States.ResultWriterFailed", cause) from error
    run.results_written = sum(child.status != "PENDING" for child in run.children)
    return {"Bucket": bucket, "Key": key}


def output_of(run: MapRun, writer: ResultWriter, written: dict[str, str] | None) -> object:
    """The result of the state: where the files are, or the results themselves."""
    if written is not None:
        return {"MapRunArn": run.arn, "ResultWriterDetails": written}
    config: WriterConfig = writer.get("WriterConfig", WriterConfig(Transformation="COMPACT"))
    return transformed(run, run.children, config.get("Transformation", "NONE"))
