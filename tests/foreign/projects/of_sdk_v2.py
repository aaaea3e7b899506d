"""A project on version 2 of the SageMaker SDK: an estimator, its endpoint, and a pipeline with a training step."""

import sys
from pathlib import Path

import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn
from sagemaker.workflow.parameters import ParameterFloat
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import TrainingStep


def estimator(session, role, scale):
    return SKLearn(
        entry_point="line_fit.py",
        source_dir=str(Path(__file__).parent),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=role,
        hyperparameters={"scale": scale},
        sagemaker_session=session,
    )


def main(role):
    session = sagemaker.Session()
    data = session.upload_string_as_file_body("1,2\n2,4\n", session.default_bucket(), "v2/line.csv")
    folder = data.rpartition("/")[0]
    fitted = estimator(session, role, 10)
    fitted.fit({"train": folder}, logs=False)
    predictor = fitted.deploy(1, "ml.m5.large", serializer=CSVSerializer(), deserializer=JSONDeserializer())
    print("endpoint answers", predictor.predict([1, 3]))
    predictor.delete_endpoint()

    in_pipeline = PipelineSession()
    scale = ParameterFloat(name="Scale", default_value=2.0)
    inputs = {"train": TrainingInput(folder)}
    step = TrainingStep(name="Fit", step_args=estimator(in_pipeline, role, scale).fit(inputs))
    pipeline = Pipeline(name="of-sdk-v2", parameters=[scale], steps=[step], sagemaker_session=in_pipeline)
    pipeline.upsert(role_arn=role)
    execution = pipeline.start(parameters={"Scale": 3.0})
    execution.wait(delay=1, max_attempts=300)
    print(
        "pipeline", execution.describe()["PipelineExecutionStatus"], [s["StepStatus"] for s in execution.list_steps()]
    )


main(sys.argv[1])
