"""Pictures filtered by two hosts of the stand-in account and merged, as the pipeline's steps ask for it."""

from __future__ import annotations

import io
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest

from imaging.dataset import load_split, read_manifest
from local_account.containers.namespaces import namespace_command
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import bucket, processing_arguments, wait_for_job
from tests.places import ROOT
from tests.unit.processing.test_own_pictures import class_folders

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(namespace_command() is None, reason="this system gives no private mount namespaces"),
]
SCRIPT = 'cd "$(mktemp -d)"; tar -xzf /opt/ml/processing/code/code.tar.gz; exec python3 -m "$@"'


def code_archive() -> bytes:
    """The packages of the two jobs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for package in ("imaging", "processing", "reporting"):
            tar.add(ROOT / package, package)
    return out.getvalue()


def run_job(account: RunningAccount, request: dict[str, Any], outputs: dict[str, str], *words: str) -> None:
    request["AppSpecification"]["ContainerEntrypoint"] = ["/bin/bash", "-ec", SCRIPT, "job"]
    request["AppSpecification"]["ContainerArguments"] = list(words)
    request["ProcessingOutputConfig"] = {
        "Outputs": [
            {
                "OutputName": name,
                "S3Output": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3UploadMode": "EndOfJob"},
            }
            for name, uri in outputs.items()
        ]
    }
    name = f"filter-{uuid.uuid4().hex[:12]}"
    account.client("sagemaker").create_processing_job(ProcessingJobName=name, **request)
    job = wait_for_job(account, "Processing", name)
    assert job["ProcessingJobStatus"] == "Completed", job


def test_two_hosts_filter_their_parts_and_one_merges_them(account: RunningAccount, tmp_path: Path) -> None:
    s3, name = account.client("s3"), bucket(account, f"photos-{uuid.uuid4().hex[:8]}")
    pictures = [path for path in class_folders(tmp_path / "in", count=60).rglob("*") if path.is_file()]
    for path in pictures:
        s3.upload_file(str(path), name, f"source/{path.relative_to(tmp_path / 'in').as_posix()}")
    s3.put_object(Bucket=name, Key="code/code.tar.gz", Body=code_archive())
    made = {"dataset": f"s3://{name}/run/dataset", "index": f"s3://{name}/run/index"}
    request = processing_arguments("", inputs={"source": f"s3://{name}/source/", "code": f"s3://{name}/code/"})
    request["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] = "ShardedByS3Key"
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    root = "/opt/ml/processing"
    places = ["--source", f"{root}/source", "--output", f"{root}/dataset", "--index", f"{root}/index"]
    run_job(account, request, made, "processing.shards.part", *places, "--image-size", "48")
    request = processing_arguments("", inputs={"parts": made["index"], "code": f"s3://{name}/code/"})
    options = ["--index", f"{root}/parts", "--output", f"{root}/dataset", "--instances", "2"]
    run_job(account, request, {"dataset": made["dataset"]}, "processing.shards.merge", *options)
    listed = s3.list_objects_v2(Bucket=name, Prefix="run/")["Contents"]
    for entry in listed:
        target = tmp_path / entry["Key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(name, entry["Key"], str(target))
    assert sorted(path.name for path in (tmp_path / "run/index").iterdir()) == ["algo-1.jsonl", "algo-2.jsonl"]
    manifest = read_manifest(tmp_path / "run/dataset")
    assert sum(sum(split.values()) for split in manifest.counts.values()) == len(pictures)
    images, _ = load_split(tmp_path / "run/dataset", "train")
    assert images.shape == (sum(manifest.counts["train"].values()), 48, 48, 3)
