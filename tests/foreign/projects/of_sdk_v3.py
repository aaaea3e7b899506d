"""A project on version 3 of the SageMaker SDK: a model trainer, and a pipeline with a training step."""

import sys
import time
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.workflow.parameters import ParameterFloat
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import TrainingStep
from sagemaker.train.model_trainer import ModelTrainer

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def trainer(session, role, scale):
    return ModelTrainer(
        sagemaker_session=session,
        role=role,
        training_image=IMAGE,
        source_code=SourceCode(source_dir=str(Path(__file__).parent), entry_script="line_fit.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters={"scale": scale},
        base_job_name="of-sdk-v3",
    )


def main(role):
    session = Session()
    data = session.upload_string_as_file_body("1,2\n2,4\n", session.default_bucket(), "v3/line.csv")
    inputs = [InputData(channel_name="train", data_source=data.rpartition("/")[0])]
    fitted = trainer(session, role, 10)
    fitted.train(input_data_config=inputs, wait=True, logs=False)
    print("trainer", fitted._latest_training_job.training_job_status)

    in_pipeline = PipelineSession()
    scale = ParameterFloat(name="Scale", default_value=2.0)
    step = TrainingStep(name="Fit", step_args=trainer(in_pipeline, role, scale).train(input_data_config=inputs))
    pipeline = Pipeline(name="of-sdk-v3", parameters=[scale], steps=[step], sagemaker_session=in_pipeline)
    pipeline.upsert(role_arn=role)
    execution = pipeline.start(parameters={"Scale": 3.0})
    while execution.describe()["PipelineExecutionStatus"] == "Executing":
        time.sleep(0.2)
    print(
        "pipeline", execution.describe()["PipelineExecutionStatus"], [s["StepStatus"] for s in execution.list_steps()]
    )


main(sys.argv[1])
