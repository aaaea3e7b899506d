"""Folders of code that stand for container images: what the account reads of them, and how it refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_account.base.errors import AccountError
from local_account.base.images import IMAGE_FILE, packaged_images, parse_images, read_folder

TEXT = """
train = ["python3", "-m", "train"]
serve = "serve.py"
[metrics]
loss = 'loss=(.*)'
[environment]
COLOUR = "red"
"""


def image(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / IMAGE_FILE).write_text(text)
    (folder / name / "serve.py").write_text("")


def test_a_folder_says_what_its_images_are(tmp_path: Path) -> None:
    image(tmp_path, "first", TEXT)
    image(tmp_path, "second", f'repository = "other"\nneeds = "no_such_module"\n{TEXT}')
    found = parse_images(json.dumps(read_folder(tmp_path)))
    assert set(found) == {"first", "other"}
    assert found["first"].train == ("python3", "-m", "train")
    assert found["first"].metrics == {"loss": "loss=(.*)"}
    assert found["first"].serving_environment()["COLOUR"] == "red"
    assert (found["first"].missing(), found["other"].missing()) == ("", "no_such_module")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('serve = "serve.py"', "lacks 'train'"),
        ("train = [", "image.toml: "),
        (TEXT.replace("serve.py", "nothing.py"), "there is no nothing.py"),
        (f'colour = "red"\n{TEXT}', "has the members"),
    ],
)
def test_a_folder_that_holds_no_image_is_refused(tmp_path: Path, text: str, message: str) -> None:
    image(tmp_path, "first", text)
    with pytest.raises(AccountError, match=message):
        parse_images(json.dumps(read_folder(tmp_path)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AccountError, match=r"expected a folder with NAME/image.toml"):
        read_folder(tmp_path)


def test_the_account_brings_an_image_whose_metrics_are_patterns() -> None:
    assert "#011validation-rmse:" in packaged_images()["sagemaker-xgboost"].metrics["validation:rmse"]
