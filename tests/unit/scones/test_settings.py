"""Stage files: what is accepted, and what a mistake in one says."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from scones.stage.connection import make_client
from scones.stage.names import Names
from scones.stage.settings import STAGES_DIR, Settings, SettingsError


def stage(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "trial.toml").write_text(text, encoding="utf-8")
    return Settings.load("trial", tmp_path)


@pytest.mark.parametrize("name", sorted(path.stem for path in STAGES_DIR.glob("*.toml")))
def test_every_stage_file_loads(name: str) -> None:
    assert Settings.load(name).stage == name


def test_only_the_stages_of_the_stand_in_account_have_an_endpoint_url() -> None:
    with_url = {p.stem for p in STAGES_DIR.glob("*.toml") if Settings.load(p.stem).endpoint_url}
    assert with_url == {"local", "rehearsal"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regoin = 'us-east-1'", "unknown key 'regoin'; known keys: .*region"),
        ("[pipeline]\nepoch = 3", "unknown key 'epoch'"),
        ("confidence_threshold = 93", "between 0 and 1, got 93"),
        ("confidence_threshold = 'high'", "confidence_threshold must be float, got 'high'"),
        ("[pipeline]\nepochs = true", "epochs must be int, got True"),
        ("[pipeline]\nepochs = -1", "epochs must not be negative, got -1"),
        ("[pipeline]\nlearning_rate = -0.1", "learning_rate must not be negative, got -0.1"),
        ("[pipeline]\nbatch_size = 0.5", "batch_size must be int, got 0.5"),
        ("[pipeline]\nfilter_instances = 0", "pipeline.filter_instances must lie between 1 and 100, got 0"),
        ("[pipeline]\ntraining_input_mode = 'Pipe'", "training_input_mode must be one of File, FastFile, got 'Pipe'"),
        ("[pipeline]\nrecipe = 'magic'", "recipe must be one of scratch, pretrained, got 'magic'"),
        ("[pipeline]\nmanaged_spot_training = 1", "managed_spot_training must be bool, got 1"),
        ("[pipeline]\nchampion_significance = 2.0", "champion_significance must lie between 0 and 1"),
        ("[pipeline]\nclasses = ['bicycle']", "at least two classes"),
        ("region = ", "not valid TOML"),
        ("mlflow = 5", "mlflow must be str, got 5"),
        ("mlflow = 'arn:aws:sagemaker:us-east-1:123:mlflow-app/app-1'", "mlflow .* must be arn:aws:sagemaker:REGION"),
        ("mlflow = 'arn:aws:s3:::bucket'", "mlflow .* must be arn:aws:sagemaker:REGION:ACCOUNT:mlflow-tracking-server"),
        ("mlflow = 'arn:aws-cn:sagemaker:cn-north-1:123456789012:mlflow-app/app-1'", "mlflow .* must be arn:aws:"),
        ("mlflow = 'https://'", "or the http.s. address of a server, got 'https://'"),
        ("mlflow = 'local'", "got 'local', which no job on AWS reaches"),
        ("mlflow = 'sqlite:///mlflow.db'", "which no job on AWS reaches"),
        ("mlflow = 'runs'\nendpoint_url = 'http://127.0.0.1:5055'", "local or sqlite:///PATH, got 'runs'"),
    ],
)
def test_a_mistake_in_a_stage_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        stage(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ("", ""),
        ("https://mlflow.example.org", "https://mlflow.example.org"),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/team-a",) * 2,
        ("arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:mlflow-app/app-A1B2",) * 2,
        ("local", "sqlite:///{home}/mlflow/mlflow.db"),
        ("sqlite:///here.db", "sqlite:///{cwd}/here.db"),
        ("sqlite:////there/mlflow.db", "sqlite:////there/mlflow.db"),
    ],
)
@pytest.mark.parametrize("how", ["stage", "environment"])
def test_mlflow_is_where_the_stage_or_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, reached: str, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCONES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", written if how == "environment" else "")
    text = f'mlflow = "{written if how == "stage" else "https://elsewhere"}"' if written else ""
    found = stage(tmp_path, f"endpoint_url = 'http://127.0.0.1:5055'\n{text}\n")
    assert found.tracking_uri == reached.format(home=tmp_path / "home", cwd=tmp_path)


@pytest.mark.parametrize(("name", "other"), [("trial-eu", "trial"), ("trial", "trial-eu"), ("delivery", "x")])
def test_a_stage_whose_resources_another_ones_roles_would_reach_is_refused(
    tmp_path: Path, name: str, other: str
) -> None:
    for each in (name, other):
        (tmp_path / f"{each}.toml").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="shares its beginning with"):
        Settings.load(name, tmp_path)


def test_an_unknown_stage_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no stage 'prod'; stages are: local, production, rehearsal, staging"):
        Settings.load("prod")


def test_the_environment_moves_the_stand_in_account_but_never_an_aws_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9999")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9998")
    assert Settings.load("local").endpoint_url == "http://127.0.0.1:9999"
    called = {}
    for name in ("local", "production"):
        settings = Settings.load(name)
        client = make_client(boto3.Session("id", "secret", region_name=settings.region), settings, "sts")
        called[name] = client.meta.endpoint_url
        client.close()
    assert called == {"local": "http://127.0.0.1:9999", "production": "https://sts.us-east-1.amazonaws.com"}


def test_names_of_two_stages_never_meet() -> None:
    def all_names(name: str) -> set[str]:
        names = Names.of(Settings.load(name), "123456789012")
        properties = {p: getattr(names, p) for p in dir(Names) if isinstance(getattr(Names, p), property)}
        shared = {"tags", *(name for name in properties if name.startswith("delivery"))}
        return {v for key, v in properties.items() if key not in shared and not key.endswith("_prefix")} | {
            names.function("classify_image")
        }

    assert not all_names("staging") & all_names("production")


def test_bucket_names_fit_s3() -> None:
    names = Names.of(Settings.load("production"), "123456789012")
    assert max(len(names.data_bucket), len(names.artifact_bucket)) <= 63
