"""Champion against challenger: the evaluation job asks the account's registry, on real images."""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from processing import evaluate, filter_cifar
from tests.colour_models import write_archive
from tests.local.conftest import RunningAccount
from tests.local.foreign_models import archive
from tests.local.sagemaker_requests import IMAGE, bucket
from tests.realdata import cifar_archive

VEHICLES = ["bicycle", "motorcycle"]
BICYCLE_ALWAYS = [[4, -4], [4, -4], [4, -4]]
MOTORCYCLE_ALWAYS = [[0, 9], [0, 9], [0, 9]]
REDDISH_IS_MOTORCYCLE = [[-8, 8], [4, -4], [4, -4]]


class Registry:
    """A model package group with archives in S3, and the challenger that is compared with its champion."""

    def __init__(self, account: RunningAccount, dataset: Path, folder: Path) -> None:
        self.account, self.dataset, self.folder = account, dataset, folder
        self.group = f"vehicles-{uuid.uuid4().hex[:8]}"
        self.bucket = bucket(account, self.group)
        account.client("sagemaker").create_model_package_group(ModelPackageGroupName=self.group)

    def register(self, archive: bytes, status: str = "Approved", image: str = IMAGE) -> str:
        key = f"{uuid.uuid4().hex}/model.tar.gz"
        self.account.client("s3").put_object(Bucket=self.bucket, Key=key, Body=archive)
        answer = self.account.client("sagemaker").create_model_package(
            ModelPackageGroupName=self.group,
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": f"s3://{self.bucket}/{key}"}],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
        return str(answer["ModelPackageArn"])

    def archive(self, weights: list[list[float]], classes: list[str] = VEHICLES) -> bytes:
        return write_archive(self.folder / uuid.uuid4().hex / "model.tar.gz", classes, weights).read_bytes()

    def evaluate(self, weights: list[list[float]], *more: str, group: str | None = None) -> int:
        model = self.folder / uuid.uuid4().hex
        write_archive(model / "model.tar.gz", VEHICLES, weights)
        places = ["--model", str(model), "--dataset", str(self.dataset), "--output", str(self.folder / "out")]
        return evaluate.main([*places, "--champion-group", group or self.group, *more])

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "out" / "evaluation.json").read_text())
        return document

    def right(self) -> list[bool]:
        """Which images the model that was evaluated last answers rightly."""
        with (self.folder / "out" / "predictions.csv").open() as stream:
            return [row["true"] == row["predicted"] for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("champion") / "dataset"
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def registry(account: RunningAccount, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The environment is the job's: it alone says where the account is."""
    environment = account.environment()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    return Registry(account, dataset, tmp_path)


def test_both_models_answer_the_same_images(registry: Registry) -> None:
    registry.register(registry.archive(MOTORCYCLE_ALWAYS))
    champion = registry.register(registry.archive(BICYCLE_ALWAYS))
    registry.register(registry.archive(MOTORCYCLE_ALWAYS), status="PendingManualApproval")
    assert registry.evaluate(BICYCLE_ALWAYS) == 0
    itself, champion_right = registry.document["champion"], registry.right()
    assert (itself["only_champion_right"], itself["only_challenger_right"], itself["p_value"]) == (0, 0, 1.0)
    assert registry.evaluate(REDDISH_IS_MOTORCYCLE) == 0
    pairs = list(zip(champion_right, registry.right(), strict=True))
    only_champion, only_challenger = pairs.count((True, False)), pairs.count((False, True))
    assert only_champion and only_challenger
    p_value = stats.binom.sf(only_champion - 1, only_champion + only_challenger, 0.5)
    assert registry.document["champion"] == {
        "model_package_arn": champion,
        "accuracy": sum(champion_right) / len(pairs),
        "only_champion_right": only_champion,
        "only_challenger_right": only_challenger,
        "p_value": pytest.approx(p_value),
        "reason": None,
    }
    assert registry.document["champion_gate"] == {"p_value_worse": {"value": pytest.approx(p_value)}}
    assert "the champion (version 2)" in (registry.folder / "out" / "evaluation.html").read_text()


def test_a_clearly_worse_challenger_has_a_small_p_value(registry: Registry) -> None:
    registry.dataset = shutil.copytree(registry.dataset, registry.folder / "dataset")
    rows = registry.dataset / "test.lst"
    bicycles_first = sorted(rows.read_text().splitlines(keepends=True), key=lambda row: row.split("\t")[1])
    rows.write_text("".join(bicycles_first[60:]))  # 40 bicycles, 100 motorcycles
    registry.register(registry.archive(MOTORCYCLE_ALWAYS))
    assert registry.evaluate(BICYCLE_ALWAYS) == 0
    assert registry.document["champion_gate"]["p_value_worse"]["value"] == pytest.approx(stats.binom.sf(99, 140, 0.5))
    assert registry.evaluate(MOTORCYCLE_ALWAYS) == 0
    assert registry.document["champion_gate"]["p_value_worse"]["value"] == 1.0


def test_without_an_approved_version_there_is_no_champion(registry: Registry) -> None:
    registry.register(registry.archive(BICYCLE_ALWAYS), status="Rejected")
    assert registry.evaluate(BICYCLE_ALWAYS) == 0
    assert registry.document["champion"] is None
    assert registry.document["champion_gate"] == {"p_value_worse": {"value": 1.0}}


def test_the_classes_may_stand_in_another_order(registry: Registry) -> None:
    swapped = [[b, a] for a, b in BICYCLE_ALWAYS]
    registry.register(registry.archive(swapped, classes=VEHICLES[::-1]))
    assert registry.evaluate(BICYCLE_ALWAYS) == 0
    champion = registry.document["champion"]
    assert (champion["only_champion_right"], champion["only_challenger_right"]) == (0, 0)


def test_a_champion_of_other_classes_is_named_and_not_compared(registry: Registry) -> None:
    arn = registry.register(registry.archive(BICYCLE_ALWAYS, classes=["bus", "tank"]))
    assert registry.evaluate(BICYCLE_ALWAYS) == 0
    champion = registry.document["champion"]
    assert (champion["model_package_arn"], champion["p_value"]) == (arn, None)
    assert champion["reason"] == "it knows bus, tank, not bicycle, motorcycle"
    assert registry.document["champion_gate"] == {"p_value_worse": {"value": 1.0}}


def built_in_archive() -> bytes:
    """What SageMaker's image classification leaves behind."""
    files = ("image-classification-0001.params", "image-classification-symbol.json", "model-shapes.json")
    return archive(None, **dict.fromkeys(files, "{}"))


def test_a_champion_that_only_its_own_container_can_run_is_named_and_not_compared(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    image = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
    arn = registry.register(built_in_archive(), image=image)
    assert registry.evaluate(BICYCLE_ALWAYS, "--accuracy-gate", "0.4") == 0
    reason = "only the container of the built-in algorithm image-classification can run it"
    champion = registry.document["champion"]
    assert (champion["model_package_arn"], champion["p_value"], champion["reason"]) == (arn, None, reason)
    assert registry.document["champion_gate"] == {"p_value_worse": {"value": 1.0}}
    said = f"not compared with the champion (version 1), because {reason}"
    assert said in capsys.readouterr().out
    page = (registry.folder / "out" / "evaluation.html").read_text()
    assert said in page and f"Not compared: {reason}." in page


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "NoSuchKey"),
        ("damaged", "truncated or not a tar archive"),
        ("not a number", ".png"),
        ("another's", "model.onnx is missing"),
    ],
)
def test_a_champion_that_cannot_be_evaluated_stops_the_job(
    registry: Registry, damage: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nan = float("nan")
    broken = {"damaged": b"no archive", "another's": built_in_archive()}
    arn = registry.register(broken.get(damage) or registry.archive([[nan, 0], [0, 0], [0, 0]]))
    if damage == "missing":
        s3 = registry.account.client("s3")
        (found,) = s3.list_objects_v2(Bucket=registry.bucket)["Contents"]
        s3.delete_object(Bucket=registry.bucket, Key=found["Key"])
    assert registry.evaluate(BICYCLE_ALWAYS) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"the champion {arn} cannot be evaluated" in error and reason in error
    assert not (registry.folder / "out").exists()
    assert registry.evaluate(BICYCLE_ALWAYS, "--champion-significance", "0") == 0
    assert registry.document["champion"] is None


def test_an_unknown_group_stops_the_job(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert registry.evaluate(BICYCLE_ALWAYS, group="no-such-group") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'no-such-group'" in error
