"""The artifacts: reproducible, complete, and uploaded once."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scones.artifacts import build as artifacts
from scones.artifacts import layers
from scones.artifacts.build import ArtifactError

FILES = {
    "imaging/__init__.py": "",
    "imaging/decode.py": "PIXELS = 32\n",
    "imaging/tests/test_decode.py": "",
    "imaging/__pycache__/decode.cpython-311.pyc": "old",
    "monitoring/report.py": "",
    "reporting/templates/page.html": "<html></html>",
    "processing/filter_cifar.py": "",
    "reporting/job.py": "",
    "serving/inference.py": "",
    "training/train.py": "",
    "training/requirements.txt": "onnx\n",
    "lambdas/__init__.py": "",
    "lambdas/serialize_image.py": "def handler(event, context): return event\n",
    "lambdas/classify_image.py": "def handler(event, context): return event\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


class FakeS3:
    """Holds objects as S3 does, as far as the upload looks."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803  # boto3's names
        if (Bucket, Key) not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        return {}

    def put_object(self, Bucket: str, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803  # boto3's names
        self.objects[Bucket, Key] = Body


def test_the_same_files_give_the_same_bytes(repository: Path) -> None:
    first = artifacts.build({"flow": "{}"}, repository)
    for path in repository.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    (repository / "training/__pycache__").mkdir()
    (repository / "training/__pycache__/train.pyc").write_text("new")
    assert artifacts.build({"flow": "{}"}, repository) == first


def test_a_changed_file_changes_only_the_artifacts_it_is_in(repository: Path) -> None:
    before = artifacts.build({}, repository)
    (repository / "lambdas/classify_image.py").write_text("def handler(event, context): return None\n")
    after = artifacts.build({}, repository)
    assert after.functions["classify_image"].key != before.functions["classify_image"].key
    assert after.functions["serialize_image"] == before.functions["serialize_image"]
    assert after.source == before.source


def test_the_source_archive_holds_the_packages_and_trainings_requirements(repository: Path) -> None:
    archive = artifacts.source_archive(repository)
    assert re.fullmatch(r"source/[0-9a-f]{16}/source\.tar\.gz", archive.key)
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as opened:
        members = opened.getmembers()
        requirements = opened.extractfile("requirements.txt")
        assert requirements is not None and requirements.read() == b"onnx\n"
    names = [member.name for member in members]
    assert names == sorted(names)
    assert set(names) == {
        "imaging/__init__.py",
        "imaging/decode.py",
        "monitoring/report.py",
        "reporting/templates/page.html",
        "processing/filter_cifar.py",
        "reporting/job.py",
        "serving/inference.py",
        "training/train.py",
        "training/requirements.txt",
        "requirements.txt",
    }
    assert {(member.mtime, member.mode, member.uid) for member in members} == {(0, 0o644, 0)}


def test_a_function_zip_holds_its_handler_at_the_repository_path(repository: Path, tmp_path: Path) -> None:
    artifact = artifacts.function_zip("serialize_image", repository)
    assert re.fullmatch(r"lambdas/serialize_image-[0-9a-f]{16}\.zip", artifact.key)
    with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
        assert archive.namelist() == ["lambdas/__init__.py", "lambdas/serialize_image.py"]
        archive.extractall(tmp_path / "task")
    code = "import lambdas.serialize_image as m; print(m.__file__); assert m.handler(1, None) == 1"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "task", capture_output=True, text=True, check=True
    )
    assert Path(answer.stdout.strip()) == tmp_path / "task/lambdas/serialize_image.py"


def test_the_projects_own_functions_import_from_their_zips(tmp_path: Path) -> None:
    for handler in artifacts.handlers():
        task = tmp_path / handler
        with zipfile.ZipFile(io.BytesIO(artifacts.function_zip(handler).data)) as archive:
            archive.extractall(task)
        code = f"import lambdas.{handler} as m; assert callable(m.handler); print(m.__file__)"
        answer = subprocess.run([sys.executable, "-c", code], cwd=task, capture_output=True, text=True, check=True)
        assert answer.stdout.startswith(str(task))
    assert {"classify_batch", "classify_image", "filter_inferences", "serialize_image"} < set(artifacts.handlers())


def test_a_function_zip_holds_what_the_function_imports_and_is_small(repository: Path) -> None:
    (repository / "lambdas/shop").mkdir()
    (repository / "lambdas/shop/__init__.py").touch()
    (repository / "lambdas/shop/till.py").write_text("from lambdas.shop.coin import VALUE\n")
    (repository / "lambdas/shop/coin.py").write_text("VALUE = 3\n")
    (repository / "lambdas/shop/other.py").write_text("")
    (repository / "lambdas/serialize_image.py").write_text("from lambdas.shop.till import VALUE\n")
    with zipfile.ZipFile(io.BytesIO(artifacts.function_zip("serialize_image", repository).data)) as archive:
        assert archive.namelist() == [
            "lambdas/__init__.py",
            "lambdas/serialize_image.py",
            "lambdas/shop/__init__.py",
            "lambdas/shop/coin.py",
            "lambdas/shop/till.py",
        ]
    for handler in artifacts.handlers():
        assert len(artifacts.function_zip(handler).data) < 40_000, handler


def test_the_image_layer_holds_pillow_where_lambda_looks_for_it(tmp_path: Path) -> None:
    layer = layers.image_layer("installed")
    assert re.fullmatch(r"layers/pillow-installed-[0-9a-f]{16}\.zip", layer.key)
    with zipfile.ZipFile(io.BytesIO(layer.data)) as archive:
        archive.extractall(tmp_path)
    code = "import PIL.Image as m; print(m.__file__); m.new('RGB', (9, 9)).save('a.jpg')"
    environment = {"PYTHONPATH": str(tmp_path / "python")}
    command = [sys.executable, "-S", "-c", code]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(str(tmp_path / "python"))


def test_the_layer_of_lambdas_python_comes_from_a_wheel(tmp_path: Path) -> None:
    release = layers.REQUIREMENTS.read_text(encoding="utf-8").split("pillow==")[1].split()[0]
    wheel = tmp_path / f"pillow-{release}-cp312-cp312-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("PIL/Image.py", "")
        archive.writestr(f"pillow-{release}.dist-info/METADATA", "")
    with zipfile.ZipFile(io.BytesIO(layers.image_layer("python3.12", tmp_path).data)) as archive:
        assert archive.namelist() == ["python/PIL/Image.py"]


def test_an_upload_skips_what_is_there(repository: Path) -> None:
    s3 = FakeS3()
    built = artifacts.build({"flow": '{"StartAt": "A"}'}, repository)
    assert artifacts.upload(built.all(), s3, "bucket") == [artifact.key for artifact in built.all()]
    assert s3.objects["bucket", built.source.key] == built.source.data
    assert s3.objects["bucket", built.documents["flow"].key] == b'{"StartAt": "A"}'
    assert artifacts.upload(built.all(), s3, "bucket") == []


def test_artifacts_are_written_at_their_keys(repository: Path, tmp_path: Path) -> None:
    built = artifacts.build({}, repository)
    paths = artifacts.write(built, tmp_path / "out")
    assert (tmp_path / "out" / built.source.key) in paths
    assert (tmp_path / "out" / built.source.key).read_bytes() == built.source.data


def test_a_missing_package_is_named(repository: Path) -> None:
    (repository / "serving/inference.py").unlink()
    (repository / "serving").rmdir()
    with pytest.raises(ArtifactError, match="serving"):
        artifacts.source_archive(repository)
