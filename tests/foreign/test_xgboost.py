"""AWS's abalone example in its shape: process, train, evaluate, decide, then create, transform and register, or fail.

The data are drawn here, with the columns of the abalone data set. XGBoost comes with the extra `xgboost`.
"""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest

from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import (
    ROLE,
    archive,
    bucket,
    channel,
    run_training,
    steps_of,
    wait_for_execution,
    wait_for_job,
)

pytest.importorskip("xgboost")
pytestmark = pytest.mark.slow

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:1.0-1-cpu-py3"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:0.23-1-cpu-py3"
PREPROCESS = """
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

columns = ["sex", "length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight"]
base = "/opt/ml/processing"
frame = pd.read_csv(f"{base}/input/abalone-dataset.csv", header=None, names=[*columns, "rings"])
y = frame.pop("rings")
numbers = Pipeline([("imputer", SimpleImputer(strategy="median")), ("scaler", StandardScaler())])
kinds = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
transformer = ColumnTransformer([("num", numbers, columns[1:]), ("cat", kinds, ["sex"])])
table = np.concatenate((y.to_numpy().reshape(-1, 1), transformer.fit_transform(frame)), axis=1)
np.random.default_rng(0).shuffle(table)
train, validation, test = np.split(table, [int(0.7 * len(table)), int(0.85 * len(table))])
for name, part in (("train", train), ("validation", validation), ("test", test)):
    pd.DataFrame(part).to_csv(f"{base}/{name}/{name}.csv", header=False, index=False)
pd.DataFrame(test[:, 1:]).to_csv(f"{base}/batch/batch.csv", header=False, index=False)
"""
EVALUATE = """
import json, pathlib, pickle, tarfile
import numpy as np
import pandas as pd
import xgboost
from sklearn.metrics import mean_squared_error

with tarfile.open("/opt/ml/processing/model/model.tar.gz") as tar:
    tar.extractall(path="/opt/ml/processing/unpacked", filter="data")
model = pickle.load(open("/opt/ml/processing/unpacked/xgboost-model", "rb"))
frame = pd.read_csv("/opt/ml/processing/test/test.csv", header=None)
y = frame.iloc[:, 0].to_numpy()
predictions = model.predict(xgboost.DMatrix(frame.iloc[:, 1:].values))
mse = {"value": float(mean_squared_error(y, predictions)), "standard_deviation": float(np.std(y - predictions))}
report = {"regression_metrics": {"mse": mse}}
pathlib.Path("/opt/ml/processing/evaluation/evaluation.json").write_text(json.dumps(report))
"""


def rows() -> str:
    """600 shells: their rings follow from their weight and length, with some noise."""
    draw, lines = random.Random(7), []
    for _ in range(600):
        length = draw.uniform(0.1, 0.8)
        weight = length**3 * draw.uniform(3.5, 4.5)
        parts = [length, length * 0.8, length * 0.3, weight, weight * 0.45, weight * 0.2, weight * 0.28]
        rings = round(3 + 14 * length + draw.gauss(0, 1))
        lines.append(",".join([draw.choice("MFI"), *(f"{part:.4f}" for part in parts), str(rings)]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name, s3 = bucket(account, f"sagemaker-abalone-{uuid.uuid4().hex[:8]}"), account.client("s3")
    files = {"abalone-dataset.csv": rows(), "code/preprocessing.py": PREPROCESS, "code/evaluation.py": EVALUATE}
    for key, text in files.items():
        s3.put_object(Bucket=name, Key=key, Body=text.encode())
    return name


def processing(name: str, data: str, script: str, inputs: dict[str, Any], outputs: list[str]) -> Any:
    """A processing step as SKLearnProcessor and ScriptProcessor write it."""
    image = SKLEARN if script == "preprocessing.py" else XGBOOST
    given = {**inputs, "code": (f"s3://{data}/code/{script}", "/opt/ml/processing/input/code")}
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": image,
                "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{script}"],
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
            },
            "ProcessingInputs": [
                {
                    "InputName": key,
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": path,
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                }
                for key, (uri, path) in given.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": key,
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": f"s3://{data}/{name}/{key}",
                            "LocalPath": f"/opt/ml/processing/{key}",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                    for key in outputs
                ]
            },
        },
    }


def output(key: str) -> dict[str, str]:
    return {"Get": f"Steps.AbaloneProcess.ProcessingOutputConfig.Outputs['{key}'].S3Output.S3Uri"}


ARTIFACT = {"Get": "Steps.AbaloneTrain.ModelArtifacts.S3ModelArtifacts"}
HYPERPARAMETERS = {"objective": "reg:linear", "num_round": "40", "max_depth": "4", "eta": "0.2", "subsample": "0.7"}


def training_request(data: str) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": XGBOOST},
        "OutputDataConfig": {"S3OutputPath": f"s3://{data}/models"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30},
        "RoleArn": ROLE,
        "HyperParameters": HYPERPARAMETERS,
    }


def pipeline(data: str) -> str:
    process = processing(
        "AbaloneProcess", data, "preprocessing.py",
        {"input-1": ({"Get": "Parameters.InputData"}, "/opt/ml/processing/input")},
        ["train", "validation", "test", "batch"],
    )  # fmt: skip
    channels = [
        {
            "ChannelName": name,
            "ContentType": "text/csv",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix", "S3Uri": output(name), "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name in ("train", "validation")
    ]  # fmt: skip
    train = {
        "Name": "AbaloneTrain",
        "Type": "Training",
        "Arguments": training_request(data) | {"InputDataConfig": channels},
    }
    evaluate = processing(
        "AbaloneEval", data, "evaluation.py",
        {"input-1": (ARTIFACT, "/opt/ml/processing/model"), "input-2": (output("test"), "/opt/ml/processing/test")},
        ["evaluation"],
    )  # fmt: skip
    evaluate["PropertyFiles"] = [
        {"PropertyFileName": "EvaluationReport", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    container = {"Image": XGBOOST, "ModelDataUrl": ARTIFACT}
    create = {
        "Name": "AbaloneCreateModel",
        "Type": "Model",
        "Arguments": {"ExecutionRoleArn": ROLE, "PrimaryContainer": {**container, "Environment": {}}},
    }
    transform = {
        "Name": "AbaloneTransform",
        "Type": "Transform",
        "Arguments": {
            "ModelName": {"Get": "Steps.AbaloneCreateModel.ModelName"},
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": output("batch")}},
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": f"s3://{data}/AbaloneTransform", "AssembleWith": "Line"},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge"},
        },
    }
    register = {
        "Name": "AbaloneRegisterModel",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": f"{data}-group",
            "ModelMetrics": {
                "ModelQuality": {
                    "Statistics": {
                        "ContentType": "application/json", "S3Uri": f"s3://{data}/AbaloneEval/evaluation/evaluation.json",
                    }
                }
            },
            "InferenceSpecification": {
                "Containers": [container],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.t2.medium"],
                "SupportedTransformInstanceTypes": ["ml.m5.large"],
            },
            "ModelApprovalStatus": "PendingManualApproval",
        },
    }  # fmt: skip
    fail = {
        "Name": "AbaloneMSEFail",
        "Type": "Fail",
        "Arguments": {
            "ErrorMessage": {
                "Std:Join": {"On": " ", "Values": ["Execution failed due to MSE >", {"Get": "Parameters.Threshold"}]}
            }
        },
    }
    found = {
        "Std:JsonGet": {
            "PropertyFile": {"Get": "Steps.AbaloneEval.PropertyFiles.EvaluationReport"},
            "Path": "regression_metrics.mse.value",
        }
    }
    condition = {
        "Name": "AbaloneMSECond",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {"Type": "LessThanOrEqualTo", "LeftValue": found, "RightValue": {"Get": "Parameters.Threshold"}}
            ],
            "IfSteps": [register, create, transform],
            "ElseSteps": [fail],
        },
    }
    parameters = [
        {"Name": "InputData", "Type": "String", "DefaultValue": f"s3://{data}/abalone-dataset.csv"},
        {"Name": "Threshold", "Type": "Float", "DefaultValue": 6.0},
    ]
    steps = [process, train, evaluate, condition]
    document = {"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters, "Steps": steps}
    return json.dumps(document)


@pytest.fixture(scope="module")
def pipeline_name(account: RunningAccount, data: str) -> str:
    account.client("sagemaker").create_pipeline(
        PipelineName=f"{data}-pipeline", PipelineDefinition=pipeline(data), RoleArn=ROLE
    )
    return f"{data}-pipeline"


def test_the_pipeline_runs_all_seven_steps(account: RunningAccount, data: str, pipeline_name: str) -> None:
    sagemaker, s3 = account.client("sagemaker"), account.client("s3")
    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline_name)["PipelineExecutionArn"]
    execution = wait_for_execution(account, arn)
    steps = steps_of(account, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert len(steps) == 7
    job = sagemaker.describe_training_job(
        TrainingJobName=steps["AbaloneTrain"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[-1]
    )
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert 0 < metrics["validation:rmse"] < 2.4
    answered = s3.get_object(Bucket=data, Key="AbaloneTransform/batch.csv.out")["Body"].read().decode().splitlines()
    assert len(answered) == 90
    assert all(2 < float(line) < 20 for line in answered)
    package = sagemaker.list_model_packages(ModelPackageGroupName=f"{data}-group")["ModelPackageSummaryList"][0]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_pipeline_fails_with_its_own_words(account: RunningAccount, pipeline_name: str) -> None:
    arn = account.client("sagemaker").start_pipeline_execution(
        PipelineName=pipeline_name, PipelineParameters=[{"Name": "Threshold", "Value": "0.001"}]
    )["PipelineExecutionArn"]
    execution = wait_for_execution(account, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Execution failed due to MSE > 0.001"


SCRIPT = """
import argparse, os
import numpy as np
import xgboost

def model_fn(model_dir):
    booster = xgboost.Booster()
    booster.load_model(os.path.join(model_dir, "model.json"))
    return booster

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_round", type=int)
    rounds = parser.parse_known_args()[0].num_round
    table = np.genfromtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "numbers.csv"), delimiter=",")
    booster = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(table[:, 1:], label=table[:, 0]), rounds)
    booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"))
"""


def test_a_script_may_leave_the_serving_to_the_image(account: RunningAccount, data: str) -> None:
    sagemaker, s3, name = account.client("sagemaker"), account.client("s3"), f"script-{uuid.uuid4().hex[:8]}"
    s3.put_object(Bucket=data, Key="numbers/numbers.csv", Body="".join(f"{2 * x},{x}\n" for x in range(50)).encode())
    s3.put_object(Bucket=data, Key="script/sourcedir.tar.gz", Body=archive({"train.py": SCRIPT}))
    parameters = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": f"s3://{data}/script/sourcedir.tar.gz",
        "num_round": 50,
    }
    request = training_request(data) | {
        "HyperParameters": {key: json.dumps(value) for key, value in parameters.items()},
        "InputDataConfig": [channel("train", f"s3://{data}/numbers")],
    }
    job = run_training(account, name, request)
    assert job["TrainingJobStatus"] == "Completed", job
    environment = {
        "SAGEMAKER_PROGRAM": "train.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": parameters["sagemaker_submit_directory"],
    }
    container = {
        "Image": XGBOOST, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"], "Environment": environment,
    }  # fmt: skip
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    s3.put_object(Bucket=data, Key=f"{name}/in.csv", Body=b"10\n20\n")
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/{name}/in.csv"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{data}/{name}/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    assert wait_for_job(account, "Transform", name)["TransformJobStatus"] == "Completed"
    answered = s3.get_object(Bucket=data, Key=f"{name}/out/in.csv.out")["Body"].read().decode().splitlines()
    assert [round(float(line)) for line in answered] == [20, 40]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_round": "many"}, "num_round must be a positive integer, got 'many'"),
        ({"objective": "reg:nothing"}, "XGBoost training failed with exception"),
    ],
)
def test_what_the_algorithm_cannot_train_fails_by_name(
    account: RunningAccount, data: str, changes: dict[str, str], message: str
) -> None:
    account.client("s3").put_object(Bucket=data, Key="small/a.csv", Body=b"1,2\n2,4\n")
    source = channel("train", f"s3://{data}/small") | {"ContentType": "text/csv"}
    request = training_request(data) | {"HyperParameters": HYPERPARAMETERS | changes, "InputDataConfig": [source]}
    job = run_training(account, f"refused-{uuid.uuid4().hex[:8]}", request)
    assert job["TrainingJobStatus"] == "Failed"
    assert message in job["FailureReason"]
