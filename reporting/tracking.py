"""A job's run in MLflow, where an address is set: parameters, figures, files. Nothing of it is needed otherwise.

Runs in containers. Reads ``MLFLOW_TRACKING_URI`` (the ARN of a SageMaker tracking server or MLflow App, an http
address, or sqlite:///...), ``MLFLOW_EXPERIMENT_NAME`` and ``SCONES_MLFLOW_ARTIFACTS``, the S3 prefix for the files of
servers that leave files to their clients. A job never fails for want of it: what goes wrong is one line of its log.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

ADDRESS, EXPERIMENT, FILES = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "SCONES_MLFLOW_ARTIFACTS"
RUN_FILE = "mlflow.json"
"""In a model archive: the run that trained it."""
REQUIREMENTS = Path(__file__).with_name("mlflow.txt")
INSTALL_SECONDS = 300
# MLflow's own patience with a server that does not answer is minutes (its environment variables' documentation).
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING", "GIT_PYTHON_REFRESH": "quiet"}
_METRICS_AT_ONCE = 500  # MLflow's REST API, LogBatch: at most 1,000
_PARAMETERS_AT_ONCE = 100  # the same

_UNNAMEABLE = re.compile(r"[^/\w.\- ]")  # in a metric's name (MLflow, Client.log_metric)


@dataclass(frozen=True)
class TrackedMetric:
    """A figure of a run; ``step`` is the epoch, 0 where there is none."""

    name: str
    value: float
    step: int = 0


class _Experiment(Protocol):
    experiment_id: str


class _RunInfo(Protocol):
    run_id: str


class _Run(Protocol):
    info: _RunInfo


class _Client(Protocol):
    """What is used of mlflow.MlflowClient."""

    def get_experiment_by_name(self, name: str) -> _Experiment | None: ...

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str: ...

    def create_run(self, experiment_id: str, *, tags: dict[str, str], run_name: str) -> _Run: ...

    def log_batch(self, run_id: str, metrics: Sequence[object] = (), params: Sequence[object] = ()) -> object: ...

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> object: ...

    def update_run(self, run_id: str, status: str) -> object: ...


class TrackedRun:
    """A run of MLflow, or nothing at all. The first call that fails says so in one line and ends the logging."""

    def __init__(self, client: _Client | None, run_id: str, address: str) -> None:
        self._client = client
        self.run_id = run_id
        self._address = address

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log what the job was told."""
        given = list(values.items())

        def log(client: _Client) -> None:
            entities = importlib.import_module("mlflow.entities")
            for at in range(0, len(given), _PARAMETERS_AT_ONCE):
                some = given[at : at + _PARAMETERS_AT_ONCE]
                client.log_batch(self.run_id, params=[entities.Param(name, str(value)) for name, value in some])

        self._attempt(log)

    def metrics(self, figures: Sequence[TrackedMetric]) -> None:
        """Log figures, with their epochs."""

        def log(client: _Client) -> None:
            entities, now = importlib.import_module("mlflow.entities"), int(time.time() * 1000)
            rows = [entities.Metric(_UNNAMEABLE.sub("_", each.name), each.value, now, each.step) for each in figures]
            for at in range(0, len(rows), _METRICS_AT_ONCE):
                client.log_batch(self.run_id, metrics=rows[at : at + _METRICS_AT_ONCE])

        self._attempt(log)

    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Log files below ``folder`` of the run."""

        def log(client: _Client) -> None:
            for path in paths:
                client.log_artifact(self.run_id, str(path), folder)

        self._attempt(log)

    def note(self, folder: Path) -> None:
        """Leave in a folder which run this is, for `trained_in`."""
        if self._client is not None:
            content = {"run_id": self.run_id, "address": self._address}
            (folder / RUN_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._attempt(lambda client: client.update_run(self.run_id, status=status))

    def _attempt(self, call: Callable[[_Client], object]) -> None:
        if self._client is None:
            return
        try:
            call(self._client)
        except Exception as error:  # whatever a server, a disk or a library says: the job is worth more
            self._client = None
            _say(self._address, error)


@contextmanager
def tracked_run(environment: Mapping[str, str], name: str, run_id: str = "") -> Iterator[TrackedRun]:
    """The job's run, a new one or that of ``run_id``; closed with what became of the job."""
    run = _begin(environment, name, run_id)
    try:
        yield run
    except Exception:
        run.end("FAILED")
        raise
    except BaseException:
        run.end("KILLED")
        raise
    run.end("FINISHED")


def trained_in(archive: Path, environment: Mapping[str, str]) -> str:
    """The run that trained a model archive; empty when it was logged elsewhere, or nothing is to be logged."""
    address = environment.get(ADDRESS, "")
    if not address or not archive.is_file():
        return ""
    try:
        with tarfile.open(archive) as opened:
            member = next((each for each in opened if each.name.removeprefix("./") == RUN_FILE), None)
            stream = opened.extractfile(member) if member else None
            content: dict[str, str] = json.load(stream) if stream else {}
        return str(content["run_id"]) if content.get("address") == address else ""
    except Exception as error:  # as in `TrackedRun`
        _say(address, error)
        return ""


def _begin(environment: Mapping[str, str], name: str, run_id: str) -> TrackedRun:
    address = environment.get(ADDRESS, "")
    if not address:
        return TrackedRun(None, "", "")
    try:
        client = _client(address)
        run_id = run_id or _new_run(client, environment, name)
    except Exception as error:  # as in `TrackedRun`
        _say(address, error)
        return TrackedRun(None, "", address)
    return TrackedRun(client, run_id, address)


def _new_run(client: _Client, environment: Mapping[str, str], name: str) -> str:
    experiment = environment.get(EXPERIMENT) or "Default"
    found = client.get_experiment_by_name(experiment)
    number = found.experiment_id if found else client.create_experiment(experiment, _files_of(environment))
    tags = {"mlflow.source.type": "JOB", "mlflow.source.name": name}
    return client.create_run(number, tags=tags, run_name=environment.get("TRAINING_JOB_NAME") or name).info.run_id


def _files_of(environment: Mapping[str, str]) -> str | None:
    """Where the files of a new experiment go: beside a database, to S3 for SageMaker's servers, else to the server."""
    address = environment[ADDRESS]
    if address.startswith("sqlite:///"):
        return Path(address.removeprefix("sqlite:///")).with_name("files").absolute().as_uri()
    return environment.get(FILES) or None if address.startswith("arn:") else None


def _client(address: str) -> _Client:
    """MLflow's client; installed first in a container that lacks it. Raises what goes wrong."""
    os.environ.update({name: value for name, value in {**_PATIENCE, **_QUIET}.items() if name not in os.environ})
    _install(address)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    mlflow = importlib.import_module("mlflow")
    mlflow.set_tracking_uri(address)  # the plugin for ARNs asks for it when it signs
    client: _Client = mlflow.MlflowClient(address)
    return client


def _install(address: str) -> None:
    """The locked client, where the image lacks it; a database on this machine needs all of MLflow."""
    needed = ["mlflow", *(["sagemaker_mlflow"] if address.startswith("arn:") else [])]
    if all(find_spec(name) for name in needed):
        return
    if address.startswith("sqlite:"):
        raise ModuleNotFoundError(
            "MLflow is not installed: python -m pip install -e '.[mlflow]' in the project's folder brings it"
        )
    # Digests for every package; their dependencies are in the file, and mlflow's server is none of them.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--requirement"]
    command = [sys.executable, "-m", "pip", "install", *options, str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode != 0:
        raise ModuleNotFoundError(
            f"MLflow cannot be installed: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
        )
    importlib.invalidate_caches()


def _say(address: str, error: Exception) -> None:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    print(f"mlflow: {address} cannot be logged to, the job goes on without: {reason}", file=sys.stderr, flush=True)
