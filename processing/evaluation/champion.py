"""Champion against challenger: the model that is approved now answers the same test images.

Runs in the evaluation job. Asks the model registry for the newest approved version of a group and fetches its model
archive from S3; the account and its address come from the environment, as everywhere with boto3.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from imaging.dataset import Example
from imaging.labels import LabelsError
from processing.dataset.archive import extract_archive
from processing.evaluation.answers import MODEL_ARCHIVE, served_probabilities
from processing.evaluation.scores import Floats, Labels, mcnemar_worse, top_answers
from reporting.documents.evaluation import Comparison
from reporting.job import JobError
from serving.inference import MODEL_FILE, ModelError, model_fn

if TYPE_CHECKING:
    import boto3
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import ModelPackageContainerDefinitionOutputTypeDef

CHUNK_BYTES = 1 << 20
# The repository of the container image; what this algorithm trains on AWS can be run by no code of ours.
BUILT_IN = "image-classification"


def compare_with_champion(
    group: str, classes: list[str], examples: list[Example], labels: Labels, challenger: Floats
) -> Comparison | None:
    """Both models on the same images; None where the group has no approved version.

    A champion that cannot be compared by its nature (other classes, a built-in algorithm) is named with the reason,
    which the job's log and the report's first sentence repeat. Raises JobError when there is a champion that cannot be
    read or evaluated: to pass without the comparison would let a worse model replace it unnoticed.
    """
    found = _newest_approved(group)
    if found is None:
        return None
    arn, container = found
    model_uri = container["ModelDataUrl"]
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / MODEL_ARCHIVE
        try:
            _download(model_uri, archive)
            folder = Path(scratch) / "model"
            extract_archive(archive, folder)
            if _repository(container) == BUILT_IN and not (folder / MODEL_FILE).is_file():
                return _not_compared(arn, f"only the container of the built-in algorithm {BUILT_IN} can run it")
            model = model_fn(str(folder))
            if set(model.classes) != set(classes):
                return _not_compared(arn, f"it knows {', '.join(model.classes)}, not {', '.join(classes)}")
            probabilities = served_probabilities(model, examples)
        except (JobError, ModelError, LabelsError) as error:
            raise JobError(
                f"the champion {arn} cannot be evaluated: {error}; restore {model_uri}, approve another version, "
                f"or evaluate without the comparison (--champion-significance 0)"
            ) from error
    # The same classes in another order: its columns in ours.
    columns = [model.classes.index(name) for name in classes]
    return compare(arn, labels, probabilities[:, columns], challenger)


def compare(arn: str, labels: Labels, champion: Floats, challenger: Floats) -> Comparison:
    """The comparison of two sets of probabilities float64 [N, classes] for the same images."""
    champion_right = top_answers(labels, champion)[1]
    challenger_right = top_answers(labels, challenger)[1]
    only_champion = int(np.sum(champion_right & ~challenger_right))
    only_challenger = int(np.sum(challenger_right & ~champion_right))
    return Comparison(
        model_package_arn=arn,
        accuracy=float(champion_right.mean()),
        only_champion_right=only_champion,
        only_challenger_right=only_challenger,
        p_value=mcnemar_worse(only_champion, only_challenger),
    )


def _not_compared(arn: str, reason: str) -> Comparison:
    return Comparison(model_package_arn=arn, reason=reason)


def _repository(container: ModelPackageContainerDefinitionOutputTypeDef) -> str:
    """``name`` of ``account.dkr.ecr.region.amazonaws.com/name:tag``."""
    return str(container.get("Image", "")).rsplit("/", 1)[-1].partition("@")[0].partition(":")[0]


def _newest_approved(group: str) -> tuple[str, ModelPackageContainerDefinitionOutputTypeDef] | None:
    """ARN and container of the newest approved version, which names its archive. Two calls. Raises JobError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        sagemaker: SageMakerClient = _session().client("sagemaker")
        # Pages, because a filtered list may begin with empty ones; the first hit ends it.
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        newest = next((package for page in pages for package in page["ModelPackageSummaryList"]), None)
        if newest is None:
            return None
        package = sagemaker.describe_model_package(ModelPackageName=newest["ModelPackageArn"])
    except (BotoCoreError, ClientError) as error:
        raise JobError(f"the model package group {group!r} cannot be asked for its champion: {error}") from error
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    if not containers or not containers[0].get("ModelDataUrl"):
        raise JobError(f"the champion {newest['ModelPackageArn']} names no ModelDataUrl: approve a version that does")
    return newest["ModelPackageArn"], containers[0]


def _download(uri: str, target: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise JobError(f"its model archive is {uri!r}, expected an s3:// address")
    try:
        s3: S3Client = _session().client("s3")
        body = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"]
        with target.open("wb") as stream:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                stream.write(chunk)
    except (BotoCoreError, ClientError) as error:
        raise JobError(f"its model archive cannot be fetched: {error}") from error


def _session() -> boto3.Session:
    import boto3

    # Processing containers name their region in AWS_REGION, which boto3 does not read.
    return boto3.Session(region_name=os.environ.get("AWS_REGION"))
