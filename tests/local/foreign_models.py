"""Model archives that know nothing of the project: scripts in SageMaker's script mode, made for one test each."""

from __future__ import annotations

import io
import tarfile
import time
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/service-role/endpoint"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/foreign:1"

MEAN = """
import json, os, time
import numpy

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.txt")) as weights:
        return float(weights.read())

def input_fn(body, content_type):
    if content_type != "application/octet-stream":
        raise ValueError(f"content type {content_type} is not served")
    return numpy.frombuffer(body, dtype=numpy.uint8)

def predict_fn(data, model):
    if data.size == 0:
        raise RuntimeError("nothing to average")
    if bytes(data[:5]) == b"sleep":
        time.sleep(0.5)
    if bytes(data[:3]) == b"die":
        os._exit(3)
    return {"mean": float(data.mean()), "model": model}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


def archive(script: str | None = MEAN, weights: str = "1", **files: str) -> bytes:
    """A model.tar.gz with ``code/inference.py`` and ``weights.txt``."""
    content = {"weights.txt": weights, **files}
    if script is not None:
        content["code/inference.py"] = script
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


class Deployer:
    """Puts archives, models, configurations and endpoints into an account."""

    def __init__(self, account: Any, prefix: str, *, bucket: bool = True) -> None:
        """``bucket``: make the bucket; without it, an account that was started again has it."""
        self.account = account
        self.sagemaker = account.client("sagemaker")
        self.prefix = prefix
        self.bucket = f"{prefix}-models"
        if bucket:
            account.client("s3").create_bucket(Bucket=self.bucket)

    def model(self, name: str, content: bytes | None, **environment: str) -> str:
        name = f"{self.prefix}-{name}"
        container: dict[str, Any] = {"Image": IMAGE, "Environment": environment}
        place = {"Bucket": self.bucket, "Key": f"{name}/model.tar.gz"}
        self.account.client("s3").put_object(**place, Body=content or b"")
        container["ModelDataUrl"] = f"s3://{self.bucket}/{name}/model.tar.gz"
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        if content is None:  # a model is only made on data that is there
            self.account.client("s3").delete_object(**place)
        return name

    def config(self, name: str, models: dict[str, str], capture: dict[str, Any] | None = None, **weights: float) -> str:
        """A configuration with one variant for each entry of ``models`` (variant to model)."""
        name = f"{self.prefix}-{name}"
        variants = [
            {
                "VariantName": variant,
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weights.get(variant, 1.0),
            }
            for variant, model in models.items()
        ]
        extra = {"DataCaptureConfig": capture} if capture else {}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **extra)
        return name

    def endpoint(self, name: str, config: str) -> str:
        name = f"{self.prefix}-{name}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def settled(self, name: str, timeout_s: float = 600) -> dict[str, Any]:
        """The endpoint's description once nothing is in progress."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            description: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            if description["EndpointStatus"] in {"InService", "Failed"}:
                return description
            time.sleep(0.05)
        raise TimeoutError(f"endpoint {name} is still {description['EndpointStatus']}")

    def serve(self, name: str, content: bytes | None = None, capture: dict[str, Any] | None = None) -> str:
        """An endpoint in service on one archive."""
        model = self.model(name, archive() if content is None else content)
        endpoint = self.endpoint(name, self.config(name, {"AllTraffic": model}, capture))
        assert self.settled(endpoint)["EndpointStatus"] == "InService"
        return endpoint

    def invoke(self, endpoint: str, body: bytes = b"\x02\x04", **options: Any) -> dict[str, Any]:
        options = {"ContentType": "application/octet-stream", **options}
        answer: dict[str, Any] = self.account.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint, Body=body, **options
        )
        return answer
