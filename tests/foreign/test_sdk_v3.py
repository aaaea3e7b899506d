"""Version 3 of the SageMaker SDK as its integration tests use it, in a shell that has the account's environment."""

from __future__ import annotations

import importlib.util
import json
import uuid
from pathlib import Path

import pytest

from tests.local.account.test_sdk_stays import run_python
from tests.local.conftest import RunningAccount

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("sagemaker") is None, reason="the SageMaker SDK is not installed"),
]
PROGRAM = """
import json, pathlib, sys
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.model_trainer import ModelTrainer

folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
session = Session()
bucket, role = session.default_bucket(), get_execution_role(session)
image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
processor = ScriptProcessor(
    role=role, image_uri=image, command=["python3"], instance_count=1, instance_type="ml.m5.large",
    base_job_name=f"{name}-p", sagemaker_session=session,
)
uri = f"s3://{bucket}/{name}/numbers"
output = ProcessingOutput(
    output_name="numbers",
    s3_output=ProcessingS3Output(s3_uri=uri, local_path="/opt/ml/processing/numbers", s3_upload_mode="EndOfJob"),
)
processor.run(code=str(folder / "process.py"), outputs=[output], arguments=["--count", "4"], wait=True, logs=False)
trainer = ModelTrainer(
    training_image=image, role=role, sagemaker_session=session, base_job_name=f"{name}-t",
    source_code=SourceCode(source_dir=str(folder / "source"), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1), hyperparameters={"factor": 10},
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=uri)], wait=True, logs=False)
job = session.sagemaker_client.list_training_jobs(NameContains=f"{name}-t")["TrainingJobSummaries"][0]
found = session.sagemaker_client.describe_training_job(TrainingJobName=job["TrainingJobName"])
print(json.dumps({"status": found["TrainingJobStatus"], "model": found["ModelArtifacts"]["S3ModelArtifacts"]}))
"""
PROCESS = """
import sys
with open("/opt/ml/processing/numbers/numbers.txt", "w") as file:
    file.write("\\n".join(str(number) for number in range(int(sys.argv[-1]))))
"""
TRAIN = """
import json, os, pathlib
numbers = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "numbers.txt").read_text().split()
factor = json.loads(os.environ["SM_HPS"])["factor"]
pathlib.Path(os.environ["SM_MODEL_DIR"], "sum").write_text(str(int(factor) * sum(map(int, numbers))))
"""


def test_a_processor_and_a_model_trainer_run(account: RunningAccount, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text(TRAIN)
    (tmp_path / "process.py").write_text(PROCESS)
    name = f"v3-{uuid.uuid4().hex[:8]}"
    given = f"import sys; sys.argv = ['program', {str(tmp_path)!r}, {name!r}]\n"
    found = json.loads(run_python(account, given + PROGRAM))
    assert found["status"] == "Completed"
    bucket, _, key = found["model"].removeprefix("s3://").partition("/")
    assert account.client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
