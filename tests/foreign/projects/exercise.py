"""The exercise of two vehicles as its notebooks go, on version 2 of the SageMaker SDK."""

import json
import pickle
import sys
import tarfile
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
import sagemaker
from PIL import Image
from sagemaker import image_uris
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model_monitor import DataCaptureConfig
from sagemaker.predictor import Predictor
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.serializers import IdentitySerializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

LABELS = {8: 0, 48: 1}
MANY = {"train": 80, "test": 20}


def save(archive, split, folder):
    """Pictures as files and their list, tab after tab, as the algorithm wants it."""
    with (archive / split).open("rb") as file:
        data = pickle.load(file, encoding="bytes")  # noqa: S301 - the exercise does
    lines = []
    (folder / split).mkdir(parents=True)
    for name, label, row in zip(data[b"filenames"], data[b"fine_labels"], data[b"data"], strict=True):
        if label in LABELS and len(lines) < MANY[split]:
            picture = np.dstack(
                (row[:1024].reshape(32, 32), row[1024:2048].reshape(32, 32), row[2048:].reshape(32, 32))
            )
            Image.fromarray(picture).save(folder / split / name.decode())
            lines.append(f"{len(lines)}\t{LABELS[label]}\t{name.decode()}")
    (folder / f"{split}.lst").write_text("\n".join(lines) + "\n")
    return len(lines)


def inputs(place):
    kinds = {
        "train": f"{place}/train/",
        "validation": f"{place}/test/",
        "train_lst": f"{place}/train.lst",
        "validation_lst": f"{place}/test.lst",
    }
    return {name: TrainingInput(s3_data=uri, content_type="application/x-image") for name, uri in kinds.items()}


def main(archive):
    session, role = sagemaker.Session(), sagemaker.get_execution_role()
    bucket, region = session.default_bucket(), session.boto_region_name
    place = f"s3://{bucket}/exercise"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        count = save(folder / "cifar-100-python", "train", folder)
        save(folder / "cifar-100-python", "test", folder)
        for split in ("train", "test"):
            S3Uploader.upload(str(folder / split), f"{place}/{split}")
            S3Uploader.upload(str(folder / f"{split}.lst"), place)
        pictures = [path.read_bytes() for path in sorted((folder / "test").iterdir())]

    algorithm = image_uris.retrieve(framework="image-classification", region=region, version="latest")
    model = Estimator(
        algorithm,
        role=role,
        instance_count=1,
        instance_type="ml.p3.2xlarge",
        output_path=f"{place}/models/image_model",
        sagemaker_session=session,
    )
    model.set_hyperparameters(
        image_shape="3,32,32", num_classes=2, num_training_samples=count, epochs=1, learning_rate=0.01
    )
    model.fit(inputs(place), logs=False)
    job = model.latest_training_job.name
    metrics = TrainingJobAnalytics(job, metric_names=["validation:accuracy"]).dataframe()
    print("metrics", len(metrics))
    again = Estimator.attach(job, sagemaker_session=session)
    print("attached", again.model_data == model.model_data, again.hyperparameters()["num_classes"])

    capture = DataCaptureConfig(enable_capture=True, sampling_percentage=100, destination_s3_uri=f"{place}/capture")
    deployed = model.deploy(initial_instance_count=1, instance_type="ml.m5.xlarge", data_capture_config=capture)
    endpoint = deployed.endpoint_name
    predictor = Predictor(endpoint, sagemaker_session=session)
    predictor.serializer = IdentitySerializer("image/png")
    for picture in pictures[:10]:
        answer = predictor.predict(picture, inference_id="exercise")
        shares = [float(x) for x in answer[1:-1].decode().split(",")]
        assert abs(sum(shares) - 1) < 1e-4, shares
    print("\nclasses", len(shares))
    records = read_captures(f"{place}/capture", 10)
    first = records[0]
    print("captured", len(records), first["captureData"]["endpointInput"]["observedContentType"])
    outputs = [json.loads(record["captureData"]["endpointOutput"]["data"]) for record in records]
    times = [record["eventMetadata"]["inferenceTime"] for record in records]
    assert all(len(output) == 2 for output in outputs)
    assert all(datetime.fromisoformat(at.replace("Z", "+00:00")) for at in times)
    print("invocations", invocations(endpoint))
    predictor.delete_endpoint()

    tuner = HyperparameterTuner(
        model,
        objective_metric_name="validation:accuracy",
        hyperparameter_ranges={"learning_rate": ContinuousParameter(0.001, 0.1)},
        max_jobs=2,
        max_parallel_jobs=1,
    )
    tuner.fit(inputs(place), wait=True)
    print("\ntuned", tuner.best_training_job() in set(tuner.analytics().dataframe()["TrainingJobName"]))
    transformer = model.transformer(1, "ml.m5.xlarge", output_path=f"{place}/answers", strategy="SingleRecord")
    transformer.transform(f"{place}/test/", content_type="application/x-image", wait=True, logs=False)
    answers = [uri for uri in S3Downloader.list(f"{place}/answers", sagemaker_session=session) if uri.endswith(".out")]
    print("\ntransformed", len(answers))


def read_captures(place, count):
    """Wait for the endpoint to write what it holds back."""
    while True:
        files = S3Downloader.list(place)
        lines = [line for uri in files for line in S3Downloader.read_file(uri).splitlines()]
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.5)


def invocations(endpoint):
    now = datetime.now().astimezone()
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]
    found = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=dimensions,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in found)


main(Path(sys.argv[1]))
