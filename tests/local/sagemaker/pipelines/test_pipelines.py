"""SageMaker Pipelines on the stand-in account: small foreign pipelines that really run."""

from __future__ import annotations

import io
import itertools
import json
import time
import uuid
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.roles import make_role
from tests.local.sagemaker_requests import (
    IMAGE,
    ROLE,
    bucket,
    processing_arguments,
    steps_of,
    training_arguments,
    wait_for_execution,
)
from tests.places import SAMPLES

PRINT = "print('ran')"


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"pipelines-{uuid.uuid4().hex[:8]}")
    account.client("s3").put_object(Bucket=name, Key="numbers/a.txt", Body=b"3\n4\n")
    return name


def definition(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> str:
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters or [], "Steps": list(steps)})


def processing(name: str, code: str = PRINT, /, **options: Any) -> dict[str, Any]:
    extra = {k: options.pop(k) for k in ("DependsOn", "CacheConfig", "RetryPolicies", "PropertyFiles") if k in options}
    return {"Name": name, "Type": "Processing", "Arguments": processing_arguments(code, **options), **extra}


def create(account: RunningAccount, text: str, **options: Any) -> str:
    name = f"pipeline-{uuid.uuid4().hex[:8]}"
    account.client("sagemaker").create_pipeline(
        PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken=uuid.uuid4().hex, **options
    )
    return name


def start(account: RunningAccount, name: str, **parameters: str) -> str:
    given = [{"Name": k, "Value": v} for k, v in parameters.items()]
    answer = account.client("sagemaker").start_pipeline_execution(PipelineName=name, PipelineParameters=given)
    return str(answer["PipelineExecutionArn"])


def run(account: RunningAccount, text: str, **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Create and run a pipeline to its end: the execution and its steps by name."""
    arn = start(account, create(account, text), **parameters)
    return wait_for_execution(account, arn), steps_of(account, arn)


def object_text(account: RunningAccount, bucket_name: str, key: str) -> str:
    return str(account.client("s3").get_object(Bucket=bucket_name, Key=key)["Body"].read().decode())


SUM = (
    "import json, pathlib; total = sum(map(int, open('/opt/ml/processing/numbers/a.txt')));"
    "pathlib.Path('/opt/ml/processing/out/sum.json').write_text(json.dumps({'result': {'sum of all': total}}))"
)


def sum_step(data: str) -> dict[str, Any]:
    step = processing(
        "Sum",
        SUM,
        inputs={"numbers": f"s3://{data}/numbers"},
        output_uri="replaced",
        PropertyFiles=[{"PropertyFileName": "Total", "OutputName": "out", "FilePath": "sum.json"}],
    )
    place = {"Std:Join": {"On": "/", "Values": [f"s3://{data}", {"Get": "Execution.PipelineExecutionId"}, "sum"]}}
    step["Arguments"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = place
    return step


def gate(*, passed: list[dict[str, Any]], missed: list[dict[str, Any]]) -> dict[str, Any]:
    total = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Sum.PropertyFiles.Total"}, "Path": "result['sum of all']"}}
    condition = {"Type": "GreaterThanOrEqualTo", "LeftValue": total, "RightValue": {"Get": "Parameters.Gate"}}
    arguments = {"Conditions": [condition], "IfSteps": passed, "ElseSteps": missed}
    return {"Name": "Check", "Type": "Condition", "Arguments": arguments}


FAIL = {
    "Name": "TooSmall",
    "Type": "Fail",
    "Arguments": {"ErrorMessage": {"Std:Join": {"On": " ", "Values": ["The sum misses", {"Get": "Parameters.Gate"}]}}},
}
GATE_PARAMETER = [{"Name": "Gate", "Type": "Float", "DefaultValue": 7.0}]


def test_a_step_reads_what_an_earlier_one_wrote(account: RunningAccount, data: str) -> None:
    copy = "import shutil; shutil.copy('/opt/ml/processing/sums/sum.json', '/opt/ml/processing/out/copy.json')"
    second = processing("Copy", copy, inputs={"sums": "replaced"}, output_uri=f"s3://{data}/copy")
    uri = {"Get": "Steps.Sum.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}
    second["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"] = uri
    execution, steps = run(account, definition(second, sum_step(data)))
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution
    assert json.loads(object_text(account, data, "copy/copy.json")) == {"result": {"sum of all": 7}}
    job = steps["Sum"]["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
    identifier = execution["PipelineExecutionArn"].rsplit("/", 1)[-1]
    assert job.startswith(f"pipelines-{identifier}-Sum-")
    assert steps["Sum"]["EndTime"] <= steps["Copy"]["StartTime"]


def test_a_met_gate_runs_its_steps_and_not_the_others(account: RunningAccount, data: str) -> None:
    text = definition(sum_step(data), gate(passed=[processing("Passed")], missed=[FAIL]), parameters=GATE_PARAMETER)
    execution, steps = run(account, text)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert set(steps) == {"Sum", "Check", "Passed"}


def test_a_missed_gate_fails_the_execution_with_the_fail_steps_message(account: RunningAccount, data: str) -> None:
    after = processing("After", DependsOn=["Passed"])
    text = definition(
        sum_step(data), gate(passed=[processing("Passed")], missed=[FAIL]), after, parameters=GATE_PARAMETER
    )
    execution, steps = run(account, text, Gate="7.5")
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "The sum misses 7.5"
    assert steps["TooSmall"]["FailureReason"] == "The sum misses 7.5"
    assert steps["TooSmall"]["Metadata"]["Fail"]["ErrorMessage"] == "The sum misses 7.5"
    assert set(steps) == {"Sum", "Check", "TooSmall"}


def test_independent_steps_run_at_the_same_time(account: RunningAccount, data: str) -> None:
    # Each waits for a file that the other one writes to S3: one after the other they would never end.
    meet = (
        "import boto3, time; s3, b = boto3.client('s3'), '{data}'; s3.put_object(Bucket=b, Key='{me}', Body=b'');"
        "[time.sleep(.05) for _ in iter(lambda: s3.list_objects_v2(Bucket=b, Prefix='{other}')['KeyCount'], 1)]"
    )
    one = processing("One", meet.format(data=data, me="m1", other="m2"))
    two = processing("Two", meet.format(data=data, me="m2", other="m1"))
    execution, steps = run(account, definition(one, two))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert max(s["StartTime"] for s in steps.values()) <= min(s["EndTime"] for s in steps.values())


def test_parallelism_of_one_runs_step_after_step(account: RunningAccount) -> None:
    name = create(account, definition(*(processing(f"Step{i}") for i in range(3))))
    answer = account.client("sagemaker").start_pipeline_execution(
        PipelineName=name, ParallelismConfiguration={"MaxParallelExecutionSteps": 1}
    )
    wait_for_execution(account, answer["PipelineExecutionArn"])
    steps = sorted(steps_of(account, answer["PipelineExecutionArn"]).values(), key=lambda s: s["StartTime"])
    assert [s["StepStatus"] for s in steps] == ["Succeeded"] * 3
    assert all(a["EndTime"] <= b["StartTime"] for a, b in itertools.pairwise(steps))


def test_a_job_that_raises_fails_its_step_with_the_reason(account: RunningAccount) -> None:
    broken = processing("Broken", "raise ValueError('no such column: price')")
    execution, steps = run(account, definition(broken, processing("Later", DependsOn=["Broken"])))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed"
    assert "ValueError: no such column: price" in steps["Broken"]["FailureReason"]
    assert set(steps) == {"Broken"}


def test_a_cached_step_does_not_run_again(account: RunningAccount, data: str) -> None:
    step = sum_step(data)
    step["CacheConfig"] = {"Enabled": True, "ExpireAfter": "PT1H"}
    last = gate(passed=[processing("Passed")], missed=[FAIL])
    name = create(account, definition(step, last, parameters=GATE_PARAMETER))
    first, second = start(account, name), ""
    assert wait_for_execution(account, first)["PipelineExecutionStatus"] == "Succeeded"
    for _ in range(2):  # a hit refers to the execution that did the work, not to another hit
        second = start(account, name)
        assert wait_for_execution(account, second)["PipelineExecutionStatus"] == "Succeeded"
    hit, original = steps_of(account, second)["Sum"], steps_of(account, first)["Sum"]
    assert hit["CacheHitResult"]["SourcePipelineExecutionArn"] == first
    assert hit["Metadata"] == original["Metadata"]
    assert "CacheHitResult" not in original
    assert "CacheHitResult" not in steps_of(account, second)["Passed"]


def test_changed_arguments_and_other_pipelines_miss_the_cache(account: RunningAccount) -> None:
    config = {"Enabled": True, "ExpireAfter": "P1D"}
    step = processing("Step", CacheConfig=config)
    step["Arguments"]["Environment"] = {"WORD": {"Get": "Parameters.Word"}}
    text = definition(step, parameters=[{"Name": "Word", "Type": "String", "DefaultValue": "a"}])
    names = [create(account, text), create(account, text)]
    arns = [start(account, names[0]), start(account, names[0], Word="b"), start(account, names[1])]
    for arn in arns:
        wait_for_execution(account, arn)
        assert "CacheHitResult" not in steps_of(account, arn)["Step"]


def test_an_internal_error_is_retried_as_the_policy_says(account: RunningAccount) -> None:
    policy = {
        "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"],
        "IntervalSeconds": 1,
        "BackoffRate": 1.0,
        "MaxAttempts": 2,
    }
    # no process can be started with a NUL in its arguments: a fault of the service, not of the algorithm
    impossible = processing("Impossible", "print('\0')", RetryPolicies=[policy])
    other = processing("Raises", "raise SystemExit(3)", RetryPolicies=[policy])
    execution, steps = run(account, definition(impossible, other))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps["Impossible"]["FailureReason"].startswith("InternalServerError")
    assert steps["Impossible"]["AttemptCount"] == 3
    assert steps["Raises"]["AttemptCount"] == 1


def test_stopping_ends_the_running_job_and_starts_nothing_more(account: RunningAccount) -> None:
    sagemaker = account.client("sagemaker")
    text = definition(processing("Slow", "import time; time.sleep(60)"), processing("Later", DependsOn=["Slow"]))
    arn = start(account, create(account, text))
    while "ProcessingJob" not in steps_of(account, arn).get("Slow", {}).get("Metadata", {}):
        time.sleep(0.05)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Stopped"
    steps = steps_of(account, arn)
    assert set(steps) == {"Slow"}
    assert steps["Slow"]["StepStatus"] == "Stopped"
    job = steps["Slow"]["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
    assert sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="its status is Stopped"):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)


def test_retrying_keeps_what_succeeded(account: RunningAccount, data: str) -> None:
    sagemaker = account.client("sagemaker")
    first = sum_step(data)
    second = processing("Second", PRINT, inputs={"late": f"s3://{data}/late-{uuid.uuid4().hex}/"}, DependsOn=["Sum"])
    arn = start(account, create(account, definition(first, second)))
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Failed"
    failed = steps_of(account, arn)
    assert "No S3 objects found under S3 URL" in failed["Second"]["FailureReason"]
    uri = second["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"]
    account.client("s3").put_object(Bucket=data, Key=f"{uri.split('/', 3)[3]}x.txt", Body=b"now it is there")
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    execution = wait_for_execution(account, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in execution
    retried = steps_of(account, arn)
    assert retried["Sum"]["Metadata"] == failed["Sum"]["Metadata"]
    with pytest.raises(ClientError, match="its status is Succeeded"):
        sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)


def test_training_model_and_registration(account: RunningAccount, data: str) -> None:
    sagemaker = account.client("sagemaker")
    files = {"fit.py": "import os; open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('1.5')"}
    train = {"Name": "Fit", "Type": "Training", "Arguments": training_arguments(data, files, "fit.py", account)}
    model_data = {"Get": "Steps.Fit.ModelArtifacts.S3ModelArtifacts"}
    group = f"foreign-{uuid.uuid4().hex[:8]}"
    register = {
        "Name": "Foreign-RegisterModel",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "InferenceSpecification": {"Containers": [{"Image": IMAGE, "ModelDataUrl": model_data}]},
            "ModelApprovalStatus": {"Get": "Parameters.Approval"},
            "CustomerMetadataProperties": {"fitted_by": {"Get": "Steps.Fit.TrainingJobName"}},
        },
    }
    container = {"Image": IMAGE, "ModelDataUrl": model_data}
    model = {
        "Name": "Make",
        "Type": "Model",
        "Arguments": {"ExecutionRoleArn": ROLE, "PrimaryContainer": container},
    }
    approval = {"Name": "Approval", "Type": "String", "DefaultValue": "PendingManualApproval"}
    execution, steps = run(account, definition(train, register, model, parameters=[approval]))
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    arn = steps["Foreign-RegisterModel"]["Metadata"]["RegisterModel"]["Arn"]
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["ModelPackageGroupName"] == group
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    job = steps["Fit"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[-1]
    assert package["CustomerMetadataProperties"] == {"fitted_by": job}
    uri = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert uri == f"s3://{data}/models/{job}/output/model.tar.gz"
    name = steps["Make"]["Metadata"]["Model"]["Arn"].rsplit("/", 1)[-1]
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"] == uri


def test_parameters_given_and_defaulted_are_listed(account: RunningAccount) -> None:
    sagemaker = account.client("sagemaker")
    parameters = [
        {"Name": "Count", "Type": "Integer", "DefaultValue": 3},
        {"Name": "Mode", "Type": "String", "EnumValues": ["fast", "slow"]},
    ]
    show = processing("Show", "import os; print(os.environ['COUNT'])")
    show["Arguments"]["Environment"] = {"COUNT": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Count"}]}}}
    name = create(account, definition(show, parameters=parameters))
    for given, message in [
        ({}, "Parameter 'Mode' has no default value"),
        ({"Mode": "odd"}, "must be one of"),
        ({"Mode": "fast", "Count": "many"}, "expects Integer, got 'many'"),
        ({"Mode": "fast", "Colour": "red"}, "no parameter 'Colour'"),
    ]:
        with pytest.raises(ClientError, match=message):
            start(account, name, **given)
    assert sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []
    arn = start(account, name, Mode="slow")
    assert wait_for_execution(account, arn)["PipelineExecutionStatus"] == "Succeeded"
    listed = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert {p["Name"]: p["Value"] for p in listed} == {"Count": "3", "Mode": "slow"}


def test_the_same_token_starts_one_execution(account: RunningAccount) -> None:
    sagemaker = account.client("sagemaker")
    name = create(account, definition(processing("Only")))
    token = uuid.uuid4().hex
    arns = {
        sagemaker.start_pipeline_execution(PipelineName=name, ClientRequestToken=token)["PipelineExecutionArn"]
        for _ in range(2)
    }
    assert len(arns) == 1
    wait_for_execution(account, arns.pop())
    assert len(sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 1


def test_update_from_s3_and_the_definition_of_an_execution(account: RunningAccount, data: str) -> None:
    sagemaker = account.client("sagemaker")
    old, new = definition(processing("Old")), definition(processing("New"))
    name = create(account, old)
    arn = start(account, name)
    account.client("s3").put_object(Bucket=data, Key="definition.json", Body=new.encode())
    location = {"Bucket": data, "ObjectKey": "definition.json"}
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinitionS3Location=location)
    assert sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"] == new
    shown = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert shown["PipelineDefinition"] == old
    wait_for_execution(account, arn)
    with pytest.raises(ClientError, match=r"definition .* cannot be read"):
        sagemaker.update_pipeline(PipelineName=name, PipelineDefinitionS3Location={**location, "ObjectKey": "no.json"})
    sagemaker.delete_pipeline(PipelineName=name)
    with pytest.raises(ClientError, match="does not exist") as refused:
        sagemaker.describe_pipeline(PipelineName=name)
    assert refused.value.response["Error"]["Code"] == "ResourceNotFound"


@pytest.mark.parametrize("sample", ["training_pipeline.json", "built_in_pipeline.json", "monitoring_pipeline.json"])
def test_definitions_that_the_sagemaker_sdk_wrote_are_accepted(account: RunningAccount, sample: str) -> None:
    text = (SAMPLES / sample).read_text()
    name = create(account, text)
    assert json.loads(account.client("sagemaker").describe_pipeline(PipelineName=name)["PipelineDefinition"])


NUMBER_AS_TEXT = {
    "AppSpecification": {"ImageUri": {"Get": "Parameters.Count"}},
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    "RoleArn": ROLE,
}


def _with(step: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**step, **changes}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "not valid JSON"),
        ("{}", "Version"),
        (definition(), "at least one step"),
        (definition(processing("A"), processing("A")), "'A': the name occurs twice"),
        (
            json.dumps(json.loads(definition(processing("A"))) | {"MlflowConfig": {}}),
            "MlflowConfig must be left out or null",
        ),
        (definition(_with(processing("Odd"), Type="Teleport")), "'Odd' has the type 'Teleport'"),
        (definition(processing("A", DependsOn=["Ghost"])), "'A': it refers to step 'Ghost'"),
        (definition(_with(processing("A"), ThenSteps=[])), "'A': a Processing step has no member 'ThenSteps'"),
        (definition(_with(processing("A"), CacheConfig={"Enabled": True})), "'A': CacheConfig needs ExpireAfter"),
        (
            definition(_with(processing("A"), CacheConfig={"Enabled": True, "ExpireAfter": "soon"})),
            "'A': CacheConfig.ExpireAfter: 'soon' is not a duration",
        ),
        (
            definition(processing("A", DependsOn=["F"]), {"Name": "F", "Type": "Fail", "Arguments": {}}),
            "'A': it depends on 'F', a Fail step",
        ),
        (
            definition({"Name": "C", "Type": "Condition", "Arguments": {"Conditions": [], "ThenSteps": []}}),
            "'C': Arguments has the unknown member 'ThenSteps'",
        ),
        (
            json.dumps(
                json.loads(definition(_with(processing("A"), Arguments=NUMBER_AS_TEXT)))
                | {"Parameters": [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]}
            ),
            "'A': Arguments.AppSpecification.ImageUri takes a text, and the parameter 'Count' is Integer",
        ),
        (
            definition(processing("A", DependsOn=["B"]), processing("B", DependsOn=["A"])),
            "'A', 'B' wait for each other",
        ),
        (definition(_with(FAIL, Name="F")), "'F': Parameters.Gate refers to a parameter"),
        (
            definition({"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Steps.F2.X"}}}),
            "'F': it refers to step 'F2'",
        ),
        (
            definition(
                processing("A"),
                {
                    "Name": "F",
                    "Type": "Fail",
                    "Arguments": {"ErrorMessage": {"Get": "Steps.A.ProcessingOutputs.X"}},
                },
            ),
            "'F': Steps.A.ProcessingOutputs.X: there is no property 'ProcessingOutputs'",
        ),
        (
            definition({"Name": "P", "Type": "Processing", "Arguments": {"Image": "x"}}),
            "definition. Unknown Argument member 'Image'.$",
        ),
        (definition({"Name": "P", "Type": "Processing", "Arguments": {"RoleArn": ROLE}}), "'P': Arguments lacks the"),
        (definition(gate(passed=[], missed=[FAIL])), "'Check': it refers to step 'Sum'"),
        (
            definition({"Name": "C", "Type": "Condition", "Arguments": {"Conditions": [{"Type": "Near"}]}}),
            "'C': unknown condition type 'Near'",
        ),
        (
            definition({"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": {"Std:Upper": "x"}}}),
            "'F': unknown function 'Std:Upper'",
        ),
    ],
)
def test_a_definition_that_cannot_run_is_refused(account: RunningAccount, text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        create(account, text)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_what_is_not_implemented_is_refused(account: RunningAccount) -> None:
    name = create(account, definition(processing("Only")))
    with pytest.raises(ClientError, match="does not implement StartPipelineExecution's Mlflow"):
        account.client("sagemaker").start_pipeline_execution(PipelineName=name, MlflowExperimentName="mine")


def test_an_execution_that_the_account_was_stopped_in_ends_failed(fresh_account: Any) -> None:
    before = fresh_account()
    arn = start(before, create(before, definition(processing("Slow", "import time; time.sleep(60)"))))
    while "ProcessingJob" not in steps_of(before, arn).get("Slow", {}).get("Metadata", {}):
        time.sleep(0.05)
    time.sleep(1.5)  # the state is written once a second
    before.kill()
    after = fresh_account(before.state_dir)
    execution = wait_for_execution(after, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "the account was stopped" in execution["FailureReason"]
    step = steps_of(after, arn)["Slow"]
    assert step["StepStatus"] == "Failed"
    job = step["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[-1]
    described = after.client("sagemaker").describe_processing_job(ProcessingJobName=job)
    assert described["FailureReason"].startswith("InternalServerError: the account was stopped")
    assert not (after.state_dir / "jobs").exists()


LAMBDA = """
def handler(event, context):
    return {"doubled": event["number"] * 2, "note": "from a function"}
"""


def test_a_lambda_step_hands_its_outputs_on(account: RunningAccount) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("code.py", LAMBDA)
    name = f"double-{uuid.uuid4().hex[:8]}"
    role = make_role(account, name)
    arn = account.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="code.handler",
        Code={"ZipFile": buffer.getvalue()},
    )["FunctionArn"]
    double = {
        "Name": "Double",
        "Type": "Lambda",
        "FunctionArn": arn,
        "Arguments": {"number": 21},
        "OutputParameters": [{"OutputName": "doubled", "OutputType": "Integer"}],
    }
    value = {"Get": "Steps.Double.OutputParameters['doubled']"}
    condition = {"Type": "Equals", "LeftValue": value, "RightValue": 42}
    check = {"Name": "Check", "Type": "Condition", "Arguments": {"Conditions": [condition], "ElseSteps": []}}
    execution, steps = run(account, definition(double, check))
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert steps["Check"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert steps["Double"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "doubled", "Value": "42"}]
    _, steps = run(
        account, definition(_with(double, OutputParameters=[{"OutputName": "tripled", "OutputType": "String"}]))
    )
    assert "lacks the outputs ['tripled']" in steps["Double"]["FailureReason"]
