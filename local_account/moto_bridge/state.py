"""What of moto survives a restart: one state file a service, written by ``snapshots``.

Runs in the server process. A file holds, for each account and region, the attributes of moto's backend; they are put
into the backend of the new process, whatever class our hooks gave it. Executions of state machines are reduced to what
can be asked about them; one that was running is ABORTED when it is read back.
"""

from __future__ import annotations

import datetime
import importlib
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, TypedDict, cast

from local_account.account import Account
from local_account.base.replacements import replace
from local_account.moto_bridge.late import prepare
from local_account.moto_bridge.state_pickle import (
    NEW_OBJECT,
    Reduce,
    Reduction,
    dumps,
    loads,
    reduce_private_key,
)
from local_account.stepfunctions.past import PastWorker

if TYPE_CHECKING:
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.sns.models import SNSBackend

    from local_account.stepfunctions.execution import AccountExecution

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
    "ecr": ("moto.ecr.models", "ecr_backends"),
    "glue": ("moto.glue.models", "glue_backends"),
    "secretsmanager": ("moto.secretsmanager.models", "secretsmanager_backends"),
    "kms": ("moto.kms.models", "kms_backends"),
    "dynamodb": ("moto.dynamodb.models", "dynamodb_backends"),
}
STOPPED_CAUSE = "The stand-in account was stopped while this execution was running."
_LIVE_ATTRIBUTES = ("exec_worker", "_cloud_watch_logging_session", "_activity_store", "input_data")


class KeptService(TypedDict):
    """What a state file holds: the attributes of each backend by account and region, and of the registry."""

    backends: dict[tuple[str, str], dict[str, object]]
    extra: dict[str, object]


def install(account: Account) -> None:
    """Load the last run's state into moto and have every change written."""
    _stop_tracking_instances()
    for name, (module, attribute) in BACKENDS.items():
        account.snapshots.register(
            name, partial(_dump, module, attribute), partial(_load, account, name, module, attribute)
        )


def _backends(module: str, attribute: str) -> BackendDict[BaseBackend]:
    found: BackendDict[BaseBackend] = getattr(importlib.import_module(module), attribute)
    return found


def _dump(module: str, attribute: str) -> bytes:
    backends = _backends(module, attribute)
    state = {(account, region): vars(backend) for account, region, backend in list(backends.iter_backends())}
    extra = {"bucket_accounts": backends.bucket_accounts} if hasattr(backends, "bucket_accounts") else {}
    return dumps({"backends": state, "extra": extra}, _reductions())


def _load(account: Account, name: str, module: str, attribute: str, content: bytes) -> None:
    prepare(name, account)
    backends = _backends(module, attribute)
    loaded = cast(KeptService, loads(content, str(account.snapshots.folder / name)))
    for (owner, region), attributes in loaded["backends"].items():
        backend = backends[owner][region]
        _keep_factories(attributes, vars(backend))
        vars(backend).update(attributes)
        if name == "sns":
            _give_backend(cast("SNSBackend", backend))
    for extra, value in loaded["extra"].items():
        setattr(backends, extra, value)
    if name == "states":
        _end_executions(backends)


def _give_backend(backend: SNSBackend) -> None:
    """The one that was kept with a topic is a copy, made before it was whole."""
    for topic in backend.topics.values():
        topic.sns_backend = backend


def _keep_factories(attributes: Mapping[str, object], fresh: Mapping[str, object]) -> None:
    """A lambda is not kept; the new backend has the same one."""
    for name, value in attributes.items():
        if isinstance(value, defaultdict) and value.default_factory is None:
            value.default_factory = getattr(fresh.get(name), "default_factory", None)


def _reductions() -> dict[type, Reduce]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from local_account.stepfunctions.execution import AccountExecution

    private_keys = (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)
    return {AccountExecution: _reduce_execution, **dict.fromkeys(private_keys, reduce_private_key)}


def _reduce_execution(execution: AccountExecution) -> Reduction:
    """What can be asked about an execution; of one that runs also where a redrive would go on."""
    state = {k: v for k, v in vars(execution).items() if k not in _LIVE_ATTRIBUTES}
    worker, env = execution.exec_worker, execution.live_environment()
    if env is not None:
        state["resume"] = env.resume_point()
        worker = PastWorker(env.event_manager.events())
    return NEW_OBJECT, (type(execution),), {**state, "exec_worker": worker}


def _end_executions(backends: BackendDict[BaseBackend]) -> None:
    """What was running has ended with the process that ran it."""
    from moto.stepfunctions.parser.api import ExecutionStatus

    from local_account.stepfunctions.backend import AccountBackend

    for _, _, backend in backends.iter_backends():
        if not isinstance(backend, AccountBackend):
            continue
        for execution in backend.all_executions():
            if execution.exec_status == ExecutionStatus.RUNNING:
                execution.exec_status = ExecutionStatus.ABORTED
                execution.cause = STOPPED_CAUSE
                execution.stop_date = datetime.datetime.now(tz=datetime.UTC)
        for run in backend.kept_map_runs.values():
            run.ended_with_its_process(STOPPED_CAUSE)


def _stop_tracking_instances() -> None:
    from moto.core.common_models import BaseModel

    def new(cls: type[BaseModel], *_arguments: object, **_members: object) -> BaseModel:
        return object.__new__(cls)

    replace(
        BaseModel,
        "__new__",
        new,
        why="it keeps a list of every object that was ever made, for a dashboard; a server that runs for days must not",
        upstream="007-forget-deleted-instances.md",
    )
