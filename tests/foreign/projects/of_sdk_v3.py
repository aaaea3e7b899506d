"""A project on version 3 of the SageMaker SDK: a pipeline that splits, trains, evaluates, decides, registers."""

import json
import sys
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

HERE, NAME, GROUP = Path(__file__).parent, "of-sdk-v3", "of-sdk-v3-models"
FOLDER = "/opt/ml/processing"
CACHE = CacheConfig(enable_caching=True, expire_after="1d")


def processor(session, role, image, instance_type):
    return ScriptProcessor(
        image_uri=image,
        command=["python3"],
        instance_type=instance_type,
        instance_count=1,
        base_job_name=NAME,
        sagemaker_session=session,
        role=role,
    )


def given(name, uri):
    place = ProcessingS3Input(s3_uri=uri, local_path=f"{FOLDER}/{name}", s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=place)


def made(name, bucket):
    place = ProcessingS3Output(
        s3_uri=f"s3://{bucket}/{NAME}/{name}", local_path=f"{FOLDER}/{name}", s3_upload_mode="EndOfJob"
    )
    return ProcessingOutput(output_name=name, s3_output=place)


def output_of(step, name):
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri


def build(session, role, bucket):
    data = ParameterString(name="Data", default_value=f"s3://{bucket}/{NAME}/raw")
    most = ParameterFloat(name="MostError", default_value=0.5)
    instance_type = ParameterString(name="InstanceType", default_value="ml.m5.large")
    image = image_uris.retrieve(
        "sklearn", session.boto_region_name, version="1.2-1", py_version="py3", instance_type="ml.m5.large"
    )

    split = ProcessingStep(
        name="Split",
        cache_config=CACHE,
        step_args=processor(session, role, image, instance_type).run(
            code=str(HERE / "line_split.py"),
            inputs=[given("raw", data)],
            outputs=[made("train", bucket), made("test", bucket)],
            arguments=["--held-back", "2"],
        ),
    )
    trainer = ModelTrainer(
        training_image=image,
        source_code=SourceCode(source_dir=str(HERE), entry_script="line_fit.py"),
        compute=Compute(instance_type=instance_type, instance_count=1),
        base_job_name=NAME,
        hyperparameters={"scale": 1.0},
        sagemaker_session=session,
        role=role,
        input_data_config=[InputData(channel_name="train", data_source=output_of(split, "train"))],
    )
    fit = TrainingStep(name="Fit", step_args=trainer.train(), cache_config=CACHE)
    archive = fit.properties.ModelArtifacts.S3ModelArtifacts
    report = PropertyFile(name="Report", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="Evaluate",
        property_files=[report],
        step_args=processor(session, role, image, instance_type).run(
            code=str(HERE / "line_test.py"),
            inputs=[given("model", archive), given("test", output_of(split, "test"))],
            outputs=[made("evaluation", bucket)],
        ),
    )
    builder = ModelBuilder(s3_model_data_url=archive, image_uri=image, sagemaker_session=session, role_arn=role)
    create = ModelStep(name="Create", step_args=builder.build())
    register = ModelStep(
        name="Register",
        step_args=builder.register(
            model_package_group_name=GROUP,
            content_types=["text/csv"],
            response_types=["application/json"],
            inference_instances=["ml.m5.large"],
            approval_status="PendingManualApproval",
        ),
    )
    error = JsonGet(step_name="Evaluate", property_file=report, json_path="regression_metrics.mae.value")
    refuse = FailStep(name="Refuse", error_message=Join(on=" ", values=["the error is above", most]))
    decide = ConditionStep(
        name="Decide",
        conditions=[ConditionLessThanOrEqualTo(left=error, right=most)],
        if_steps=[create, register],
        else_steps=[refuse],
    )
    steps = [split, fit, evaluate, decide]
    return Pipeline(name=NAME, parameters=[data, most, instance_type], steps=steps, sagemaker_session=session)


def run(pipeline, **parameters):
    execution = pipeline.start(parameters=parameters)
    try:
        execution.wait(delay=1, max_attempts=300)
    except Exception as error:  # the SDK's waiter raises when an execution fails
        print("the waiter says", type(error).__name__)
    found = execution.describe()
    statuses = {step["StepName"]: step["StepStatus"] for step in execution.list_steps()}
    reused = sorted(step["StepName"] for step in execution.list_steps() if "CacheHitResult" in step)
    said = {"status": found["PipelineExecutionStatus"], "steps": statuses, "reused": reused}
    print(json.dumps({**said, "reason": found.get("FailureReason", "")}))


def main():
    session, role = Session(), get_execution_role()
    bucket = session.default_bucket()
    rows = "".join(f"{x},{2 * x}\n" for x in range(1, 9))
    session.upload_string_as_file_body(rows, bucket, f"{NAME}/raw/line.csv")
    pipeline = build(PipelineSession(), role, bucket)
    pipeline.upsert(role_arn=role)
    run(pipeline)
    run(pipeline, MostError=-1.0)
    packages = session.sagemaker_client.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]
    print(json.dumps([package["ModelApprovalStatus"] for package in packages]))
    pipeline.delete()


if __name__ == "__main__":
    sys.exit(main())
