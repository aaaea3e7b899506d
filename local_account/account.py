"""The account: where its state lies, how its parts reach each other and the processes that it started.

Runs in the server process. One ``Account`` is made at the start and handed to every service's ``install(account)``;
what a service needs of another goes through it (an event to EventBridge, lines to CloudWatch Logs, a boto3 client of
the account itself), so that no service imports another one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
from botocore.client import BaseClient

from local_account.authority.authority import Authority
from local_account.authority.identity import new_session
from local_account.authority.owner import owner_keys
from local_account.base.children import Children
from local_account.base.client_environment import client_variables, make_client_folder
from local_account.base.clients import Keys, make_client
from local_account.base.clock import CLOCK
from local_account.base.images import ContainerImage
from local_account.base.snapshots import Snapshots

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_codebuild.client import CodeBuildClient
    from types_boto3_codeconnections.client import CodeConnectionsClient
    from types_boto3_iam.client import IAMClient
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.client import SageMakerClient
    from types_boto3_ssm.client import SSMClient

ACCOUNT_ID = "123456789012"  # moto's and AWS's own documentation account
REGION = "us-east-1"

EmitEvent = Callable[[str, str, Mapping[str, object], list[str]], None]
"""Sends an event: its source, its detail type, its detail and the ARNs of the resources that it is about."""


def _no_event_bus(source: str, detail_type: str, *_: object) -> None:
    raise RuntimeError(f"event {detail_type!r} of {source} was emitted before EventBridge was installed")


def _no_alarms() -> None:
    raise RuntimeError("alarms were to be evaluated before CloudWatch was installed")


@dataclass
class Account:
    """One account in one region. ``emit_event(source, detail_type, detail, resources)`` is set by EventBridge."""

    state_dir: Path
    port: int
    account_id: str = ACCOUNT_ID
    region: str = REGION
    images: Mapping[str, ContainerImage] = field(default_factory=dict)
    """What stands for container images, by the repository's name."""
    time_scale: float = 1.0
    """How many times as fast as stated the waits of deployments pass."""
    chaos: str = ""
    """Which of ``chaos.KINDS`` the account allows itself."""
    durable: bool = False
    """Whether a change is on disk before it is acknowledged."""
    emit_event: EmitEvent = _no_event_bus
    evaluate_alarms: Callable[[], None] = _no_alarms
    """Has every alarm look at the data that is there now; set by CloudWatch."""
    children: Children = field(default_factory=Children)
    snapshots: Snapshots = field(init=False)
    authority: Authority = field(init=False)
    """Asked before anything is done in the name of a role or of a service."""
    before_clock_moves: list[Callable[[], None]] = field(default_factory=list)
    """Each writes what it has gathered, at the time at which it was."""
    after_clock_moved: list[Callable[[], None]] = field(default_factory=list)
    """Each does what has become due; in this order."""
    stopping: threading.Event = field(default_factory=threading.Event)
    _moving: threading.Lock = field(default_factory=threading.Lock)
    _clients: dict[tuple[str, str], BaseClient] = field(default_factory=dict)
    _clients_lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.snapshots = Snapshots(self.state_dir / "services", durable=self.durable)
        self.authority = Authority(self.account_id, self.region)

    @property
    def endpoint_url(self) -> str:
        """Where the account answers."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client_folder(self) -> Path:
        """Files for the clients of this account, among them an ``aws`` that calls nothing else."""
        return make_client_folder(self.state_dir.absolute())

    @cached_property
    def owner(self) -> Keys:
        """The keys of the account's owner."""
        return owner_keys(self.state_dir.absolute())

    def secret_of(self, access_key: str) -> str | None:
        """The secret key of the owner, or of an IAM user, whose permissions are not enforced."""
        if access_key == self.owner.access_key:
            return self.owner.secret_key
        from moto.iam.models import iam_backends  # heavy, and only needed once the server runs

        kept = iam_backends[self.account_id]["aws"].access_keys.get(access_key)
        return str(kept.secret_access_key) if kept is not None and kept.status == "Active" else None

    @cached_property
    def _session(self) -> boto3.Session:
        """One for all clients, so that a service's model is read once; made late, without the user's AWS settings."""
        return boto3.Session(region_name=self.region)

    @property
    def python(self) -> str:
        """The interpreter that containers and functions run with."""
        return sys.executable

    def advance_clock(self, by: timedelta) -> None:
        """Move the account's time forward. What falls due several times meanwhile is done once, as after a sleep.

        Raises ValueError for a clock that cannot be moved, or not by this.
        """
        with self._moving:
            for write in self.before_clock_moves:
                write()
            CLOCK.advance(by)
            for catch_up in self.after_clock_moved:
                catch_up()

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of the account, in its region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def environment(self) -> dict[str, str]:
        """What a process of this account needs so that its AWS clients reach the account and nothing else."""
        return {
            **client_variables(self.endpoint_url, self.region, self.client_folder),
            "AWS_ACCESS_KEY_ID": self.owner.access_key,
            "AWS_SECRET_ACCESS_KEY": self.owner.secret_key,
        }

    @overload
    def client(self, service: Literal["cloudwatch"], role: str = "") -> CloudWatchClient: ...

    @overload
    def client(self, service: Literal["codebuild"], role: str = "") -> CodeBuildClient: ...

    @overload
    def client(self, service: Literal["codeconnections"], role: str = "") -> CodeConnectionsClient: ...

    @overload
    def client(self, service: Literal["iam"], role: str = "") -> IAMClient: ...

    @overload
    def client(self, service: Literal["s3"], role: str = "") -> S3Client: ...

    @overload
    def client(self, service: Literal["sagemaker"], role: str = "") -> SageMakerClient: ...

    @overload
    def client(self, service: Literal["ssm"], role: str = "") -> SSMClient: ...

    @overload
    def client(self, service: str, role: str = "") -> Any: ...  # botocore makes its class from the service's model

    def client(self, service: str, role: str = "") -> BaseClient:
        """A cached boto3 client of this account (making one takes 25 to 50 ms; clients are thread-safe).

        With the ARN of a role its calls are that role's, and are checked; without, they are the owner's.
        """
        with self._clients_lock:
            if (service, role) not in self._clients:
                credentials = new_session(role, "account") if role else None
                keys = credentials or self.owner
                self._clients[service, role] = make_client(self._session, service, self.endpoint_url, keys)
            return self._clients[service, role]

    def may_log(self, role: str, group: str, stream: str) -> bool:
        """Whether a role may write a stream of CloudWatch Logs."""
        resource = self.arn("logs", f"log-group:{group}:log-stream:{stream}")
        wanted = ("logs:CreateLogStream", "logs:PutLogEvents")
        return all(self.authority.allows(role, action, resource) for action in wanted)

    def put_log_lines(self, group: str, stream: str, lines: Iterable[str], role: str = "") -> None:
        """Append lines to a CloudWatch Logs stream; group and stream are made when they are missing.

        What runs as a role that may not write there leaves no log, as on AWS.
        """
        from moto.logs.models import logs_backends  # heavy, and only needed once the server runs

        if role and not self.may_log(role, group, stream):
            return

        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        if not events:
            return
        backend = logs_backends[self.account_id][self.region]
        with self._clients_lock:
            if group not in backend.groups:
                backend.create_log_group(group, {})
            if stream not in backend.groups[group].streams:
                backend.create_log_stream(group, stream)
            backend.put_log_events(group, stream, events)
        self.snapshots.mark_dirty("logs")
