"""What of moto survives a restart: one state file a service, written by ``snapshots``.

Runs in the server process. A file holds, for each account and region, the attributes of moto's backend; they are put
into the backend of the new process, whatever class our hooks gave it. Executions of state machines are reduced to what
can be asked about them; one that was running is ABORTED when it is read back.
"""

from __future__ import annotations

import datetime
import importlib
from collections import defaultdict
from functools import partial
from typing import Any

from local_account.account import Account
from local_account.moto_bridge.state_pickle import NEW_OBJECT, dumps, loads, reduce_private_key
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.runs import resume_point

# Name of the state file -> where moto keeps that service's backends.
BACKENDS = {
    "s3": ("moto.s3.models", "s3_backends"),
    "iam": ("moto.iam.models", "iam_backends"),
    "sts": ("moto.sts.models", "sts_backends"),
    "ssm": ("moto.ssm.models", "ssm_backends"),
    "logs": ("moto.logs.models", "logs_backends"),
    "lambda": ("moto.awslambda.models", "lambda_backends"),
    "states": ("moto.stepfunctions.parser.models", "stepfunctions_parser_backends"),
    "events": ("moto.events.models", "events_backends"),
    "scheduler": ("moto.scheduler.models", "scheduler_backends"),
    "monitoring": ("moto.cloudwatch.models", "cloudwatch_backends"),
    "sqs": ("moto.sqs.models", "sqs_backends"),
    "sns": ("moto.sns.models", "sns_backends"),
    "budgets": ("moto.budgets.models", "budgets_backends"),
    "kms": ("moto.kms.models", "kms_backends"),
    "dynamodb": ("moto.dynamodb.models", "dynamodb_backends"),
}
STOPPED_CAUSE = "The stand-in account was stopped while this execution was running."
_LIVE_ATTRIBUTES = ("exec_worker", "_cloud_watch_logging_session", "_activity_store", "input_data")


def install(account: Account) -> None:
    """Load the last run's state into moto and have every change written."""
    _stop_tracking_instances()
    for name, (module, attribute) in BACKENDS.items():
        account.snapshots.register(
            name, partial(_dump, module, attribute), partial(_load, account, name, module, attribute)
        )


def _backends(module: str, attribute: str) -> Any:
    return getattr(importlib.import_module(module), attribute)


def _dump(module: str, attribute: str) -> bytes:
    backends = _backends(module, attribute)
    state = {(account, region): backend.__dict__ for account, region, backend in list(backends.iter_backends())}
    extra = {"bucket_accounts": backends.bucket_accounts} if hasattr(backends, "bucket_accounts") else {}
    return dumps({"backends": state, "extra": extra}, _reductions())


def _load(account: Account, name: str, module: str, attribute: str, content: bytes) -> None:
    backends = _backends(module, attribute)
    loaded = loads(content, str(account.snapshots.folder / name))
    for (owner, region), attributes in loaded["backends"].items():
        backend = backends[owner][region]
        _keep_factories(attributes, backend.__dict__)
        backend.__dict__.update(attributes)
        for topic in attributes["topics"].values() if name == "sns" else ():
            topic.sns_backend = backend  # the one that was kept with it is a copy, made before it was whole
    for extra, value in loaded["extra"].items():
        setattr(backends, extra, value)
    if name == "states":
        _resume(backends)


def _keep_factories(attributes: dict[str, Any], fresh: dict[str, Any]) -> None:
    """A lambda is not kept; the new backend has the same one."""
    for name, value in attributes.items():
        if isinstance(value, defaultdict) and value.default_factory is None:
            value.default_factory = getattr(fresh.get(name), "default_factory", None)


def _reductions() -> dict[type, Any]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from moto.stepfunctions.parser.backend.execution import Execution

    private_keys = (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)
    return {Execution: _reduce_execution} | dict.fromkeys(private_keys, reduce_private_key)


def _reduce_execution(execution: Any) -> Any:
    state = {k: v for k, v in execution.__dict__.items() if k not in _LIVE_ATTRIBUTES}
    worker = execution.exec_worker
    if not isinstance(worker, PastWorker):
        env = worker.env
        state["resume"] = resume_point(env)
        worker = PastWorker(list(env.event_manager._history_event_list))
    return NEW_OBJECT, (type(execution),), {**state, "exec_worker": worker}


def _resume(backends: Any) -> None:
    """Give executions back what was left out; those that were running have ended with the process that ran them."""
    from moto.stepfunctions.parser.api import ExecutionStatus

    for _, _, backend in backends.iter_backends():
        for execution in backend._get_executions():
            if execution.exec_status == ExecutionStatus.RUNNING:
                execution.exec_status = ExecutionStatus.ABORTED
                execution.cause = STOPPED_CAUSE
                execution.stop_date = datetime.datetime.now(tz=datetime.UTC)
        for run in backend.__dict__.get("map_runs", {}).values():
            run.ended_with_its_process(STOPPED_CAUSE)


def _stop_tracking_instances() -> None:
    """moto lists every object it ever made, for its own dashboard; a server that runs for days must not."""
    from moto.core.common_models import BaseModel

    BaseModel.__new__ = lambda cls, *_a, **_k: object.__new__(cls)
