"""Steps of pipelines that wait for others: callbacks and tunings; versions, selective executions and experiments."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.sagemaker.pipelines.test_pipelines import (
    create,
    definition,
    object_text,
    processing,
    run,
    start,
    sum_step,
)
from tests.local.sagemaker_requests import ROLE, bucket, steps_of, training_arguments, wait_for_execution


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"pipeline-steps-{uuid.uuid4().hex[:8]}")
    account.client("s3").put_object(Bucket=name, Key="numbers/a.txt", Body=b"3\n4\n")
    return name


@pytest.fixture(scope="module")
def queue(account: RunningAccount) -> str:
    return str(account.client("sqs").create_queue(QueueName=f"callbacks-{uuid.uuid4().hex[:8]}")["QueueUrl"])


def message(account: RunningAccount, queue: str) -> dict[str, Any]:
    """The next message of a queue."""
    sqs = account.client("sqs")
    while True:
        for found in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=found["ReceiptHandle"])
            body: dict[str, Any] = json.loads(found["Body"])
            return body


def callback(queue: str) -> dict[str, Any]:
    return {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"question": "how many", "of": {"Get": "Parameters.What"}},
        "OutputParameters": [{"OutputName": "count", "OutputType": "Integer"}],
    }


WHAT = [{"Name": "What", "Type": "String", "DefaultValue": "rings"}]


def test_a_callback_waits_for_its_token(account: RunningAccount, data: str, queue: str) -> None:
    sagemaker = account.client("sagemaker")
    write = "import os; open('/opt/ml/processing/out/count', 'w').write(os.environ['COUNT'])"
    after = processing("Write", write, output_uri=f"s3://{data}/answer")
    after["Arguments"]["Environment"] = {
        "COUNT": {"Std:Join": {"On": "", "Values": [{"Get": "Steps.Ask.OutputParameters['count']"}]}}
    }
    arn = start(account, create(account, definition(callback(queue), after, parameters=WHAT)))
    sent = message(account, queue)
    assert sent["pipelineExecutionArn"] == arn
    assert sent["arguments"] == {"question": "how many", "of": "rings"}
    told = {"CallbackToken": sent["token"], "SqsQueueUrl": queue}
    assert steps_of(account, arn)["Ask"]["Metadata"]["Callback"] == told
    for outputs, message_part in (
        ([], "the step has count, got none"),
        ([{"Name": "count", "Value": "many"}], "count must be of type Integer, got 'many'"),
    ):
        with pytest.raises(ClientError, match=message_part):
            sagemaker.send_pipeline_execution_step_success(CallbackToken=sent["token"], OutputParameters=outputs)
    answered = sagemaker.send_pipeline_execution_step_success(
        CallbackToken=sent["token"], OutputParameters=[{"Name": "count", "Value": "12"}]
    )
    assert answered["PipelineExecutionArn"] == arn
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Succeeded"
    assert object_text(account, data, "answer/count") == "12"
    with pytest.raises(sagemaker.exceptions.ResourceNotFound, match="no step waits for it"):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken=sent["token"], FailureReason="too late")


def test_a_callback_fails_as_it_is_told_and_hears_of_a_stop(account: RunningAccount, queue: str) -> None:
    sagemaker, name = account.client("sagemaker"), create(account, definition(callback(queue), parameters=WHAT))
    arn = start(account, name)
    token = message(account, queue)["token"]
    sagemaker.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="nobody knows")
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Failed"
    assert steps_of(account, arn)["Ask"]["FailureReason"] == "nobody knows"
    arn = start(account, name)
    token = message(account, queue)["token"]
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    again = message(account, queue)
    assert (again["token"], again["status"]) == (token, "Stopping")
    sagemaker.send_pipeline_execution_step_failure(CallbackToken=token)
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Stopped"


def test_a_tuning_step_leads_to_its_best_model(account: RunningAccount, data: str) -> None:
    code = (
        "import os\nx = os.environ['SM_HP_X']\nprint(f'score={x}')\n"
        "open(os.environ['SM_MODEL_DIR'] + '/x', 'w').write(x)\n"
    )
    training = training_arguments(data, {"train.py": code}, "train.py", account)
    specification = training["AlgorithmSpecification"] | {
        "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9]+)"}]
    }
    tuning = {
        "Name": "Tune",
        "Type": "Tuning",
        "Arguments": {
            "HyperParameterTuningJobConfig": {
                "Strategy": "Grid",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"},
                "ResourceLimits": {"MaxParallelTrainingJobs": 2},
                "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "x", "Values": ["5", "3"]}]},
            },
            "TrainingJobDefinition": {
                "StaticHyperParameters": training["HyperParameters"],
                "AlgorithmSpecification": specification,
                **{k: training[k] for k in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")},
            },
        },
    }
    show = "import os; open('/opt/ml/processing/out/best', 'w').write(os.environ['BEST'])"
    after = processing("Show", show, output_uri=f"s3://{data}/tuned")
    after["Arguments"]["Environment"] = {
        "BEST": {
            "Std:Join": {
                "On": " ",
                "Values": [
                    {"Get": "Steps.Tune.BestTrainingJob.TrainingJobName"},
                    {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"},
                    {"Get": "Steps.Tune.TrainingJobSummaries[0].TunedHyperParameters['x']"},
                ],
            }
        }
    }
    execution, steps = run(account, definition(tuning, after))
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert ":hyper-parameter-tuning-job/" in steps["Tune"]["Metadata"]["TuningJob"]["Arn"]
    best, first, value = object_text(account, data, "tuned/best").split()
    assert (best, value) == (first, "3")


def test_selected_steps_run_on_the_results_of_another_execution(account: RunningAccount, data: str) -> None:
    sagemaker = account.client("sagemaker")
    copy = "import shutil; shutil.copy('/opt/ml/processing/sums/sum.json', '/opt/ml/processing/out/copy.json')"
    second = processing("Copy", copy, inputs={"sums": "replaced"}, output_uri=f"s3://{data}/copies")
    uri = {"Get": "Steps.Sum.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    second["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"] = uri
    name = create(account, definition(sum_step(data), second, processing("Else")))
    source = start(account, name)
    assert wait_for_execution(account, source)["PipelineExecutionStatus"] == "Succeeded"
    select = {"SelectedSteps": [{"StepName": "Copy"}], "SourcePipelineExecutionArn": source}
    arn = sagemaker.start_pipeline_execution(PipelineName=name, SelectiveExecutionConfig=select)["PipelineExecutionArn"]
    execution = wait_for_execution(account, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert execution["SelectiveExecutionConfig"] == select
    steps = steps_of(account, arn)
    assert set(steps) == {"Sum", "Copy"}
    assert steps["Sum"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert "SelectiveExecutionResult" not in steps["Copy"]
    for changed, message_part in (
        ({"SelectedSteps": [{"StepName": "Nobody"}]}, "no step 'Nobody'; it has: Sum"),
        ({"SelectedSteps": [{"StepName": "Copy"}]}, "SourcePipelineExecutionArn is needed for the results of Sum"),
        (select | {"SourcePipelineExecutionArn": f"{source[:-3]}xyz"}, "does not exist"),
    ):
        with pytest.raises(ClientError, match=message_part):
            sagemaker.start_pipeline_execution(PipelineName=name, SelectiveExecutionConfig=changed)


def test_every_definition_is_a_version(account: RunningAccount) -> None:
    sagemaker, name = account.client("sagemaker"), create(account, definition(processing("One")))
    answer = sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition(processing("Two")))
    assert answer["PipelineVersionId"] == 2
    sagemaker.update_pipeline(PipelineName=name, PipelineDescription="the same definition")
    sagemaker.update_pipeline_version(
        PipelineArn=answer["PipelineArn"], PipelineVersionId=1, PipelineVersionDisplayName="the-first"
    )
    arn = sagemaker.start_pipeline_execution(PipelineName=name, PipelineVersionId=1)["PipelineExecutionArn"]
    assert wait_for_execution(account, arn)["PipelineVersionId"] == 1
    assert set(steps_of(account, arn)) == {"One"}
    listed = sagemaker.list_pipeline_versions(PipelineName=name)["PipelineVersionSummaries"]
    assert [one["PipelineVersionId"] for one in listed] == [2, 1]
    assert listed[1]["PipelineVersionDisplayName"] == "the-first"
    assert listed[1]["LastExecutionPipelineExecutionArn"] == arn
    first = sagemaker.describe_pipeline(PipelineName=name, PipelineVersionId=1)
    assert json.loads(first["PipelineDefinition"])["Steps"][0]["Name"] == "One"
    with pytest.raises(sagemaker.exceptions.ResourceNotFound, match="Pipeline version '9'"):
        sagemaker.describe_pipeline(PipelineName=name, PipelineVersionId=9)


def test_an_execution_is_a_trial_of_its_pipeline_s_experiment(account: RunningAccount) -> None:
    document = json.loads(definition(processing("Only")))
    document["PipelineExperimentConfig"] = {
        "ExperimentName": {"Get": "Execution.PipelineName"},
        "TrialName": {"Get": "Execution.PipelineExecutionId"},
    }
    name = create(account, json.dumps(document))
    arn = start(account, name)
    execution = wait_for_execution(account, arn)
    named = {"ExperimentName": name, "TrialName": arn.rsplit("/", 1)[-1]}
    assert execution["PipelineExperimentConfig"] == named
    (component,) = account.client("sagemaker").list_trial_components(TrialName=named["TrialName"])[
        "TrialComponentSummaries"
    ]
    job = steps_of(account, arn)["Only"]["Metadata"]["ProcessingJob"]["Arn"]
    assert component["TrialComponentSource"] == {"SourceArn": job, "SourceType": "SageMakerProcessingJob"}


def changed(step: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {**step, "Arguments": step["Arguments"] | arguments}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"Name": "Check", "Type": "ClarifyCheck", "Arguments": {}},
            "'ClarifyCheck' .its checks are images of AWS's own.; the stand-in account runs: Processing",
        ),
        ({"Name": "Cluster", "Type": "EMR", "Arguments": {}}, "there are no EMR clusters"),
        ({"Name": "Ask", "Type": "Callback", "Arguments": {}}, "a Callback step needs SqsQueueUrl"),
        (changed(processing("P"), Colour="red"), "Unknown Argument member 'Colour'"),
        (
            changed(
                processing("P"),
                ProcessingResources={
                    "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.tiny", "VolumeSizeInGB": 1}
                },
            ),
            "Model Validation failed: Value 'ml.tiny' for 'ProcessingInstanceType' failed to satisfy enum value set",
        ),
    ],
)
def test_what_no_pipeline_can_hold_is_refused(account: RunningAccount, step: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=f"Unable to parse pipeline definition. .*{message}"):
        account.client("sagemaker").create_pipeline(
            PipelineName=f"refused-{time.time_ns()}",
            PipelineDefinition=definition(step),
            RoleArn=ROLE,
            ClientRequestToken=uuid.uuid4().hex,
        )
