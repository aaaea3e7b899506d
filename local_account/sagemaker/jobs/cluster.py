"""The hosts of a job: how many, of which group, what each is called and which share of the data it gets.

Runs in the server process. A host is a process group with a folder of its own as ``/opt/ml``; it is called ``algo-1``,
``algo-2`` and so on, and has a loopback address of its own, which its name resolves to. Ports are shared by all hosts
that listen at every address (0.0.0.0). Authority for names and files: SageMaker developer guide, "How Amazon SageMaker
AI Provides Training Information" and "Train Using a Heterogeneous Cluster".
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from local_account.containers.container_view import ContainerView
from local_account.containers.namespaces import HostNames, namespace_command
from local_account.protocol.actions import ServiceError

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ResourceConfigOutputTypeDef, ResourceConfigTypeDef

GROUP = "homogeneousCluster"
MAX_HOSTS = 20
_Item = TypeVar("_Item")
_PORTS = range(7777, 32768)
_blocks = itertools.count()


class InstanceGroupFile(TypedDict):
    """The machines of one kind that a job runs on."""

    instance_group_name: str
    instance_type: str
    hosts: list[str]


class ResourceConfigFile(TypedDict):
    """``/opt/ml/input/config/resourceconfig.json``."""

    current_host: str
    current_instance_type: str
    current_group_name: str
    hosts: list[str]
    instance_groups: list[InstanceGroupFile]
    network_interface_name: str


@dataclass(frozen=True)
class HostGroup:
    """How many hosts of one instance type."""

    name: str
    instance_type: str
    count: int


@dataclass(frozen=True)
class Host:
    """One host; ``root`` is its ``/opt/ml``."""

    name: str
    group: str
    instance_type: str
    address: str
    root: Path

    @property
    def view(self) -> ContainerView:
        """What its container sees of its files."""
        return ContainerView(self.root)


@dataclass(frozen=True)
class Cluster:
    """All hosts of a job."""

    hosts: tuple[Host, ...]
    port: int
    """Where the first host may listen for the others; on AWS it is 7777 for every job, which one machine has once."""

    @classmethod
    def of(cls, groups: Sequence[HostGroup], folder: Path) -> Cluster:
        """Name the hosts of these groups, one after the other; their folders lie in ``folder``."""
        block = next(_blocks)
        kinds = [group for group in groups for _ in range(group.count)]
        return cls(
            tuple(
                Host(
                    f"algo-{i}", kind.name, kind.instance_type, f"127.{64 + block // 256 % 128}.{block % 256}.{i}",
                    folder / f"algo-{i}",
                )
                for i, kind in enumerate(kinds, start=1)
            ),
            _free_port(),
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Of all hosts, in order."""
        return [host.name for host in self.hosts]

    @property
    def several(self) -> bool:
        """Whether there is more than one host."""
        return len(self.hosts) > 1

    def host_names(self, host: Host) -> HostNames:
        """What ``host`` and its peers are called, and where they are."""
        return HostNames(host.name, {other.name: other.address for other in self.hosts})

    def groups(self) -> dict[str, list[Host]]:
        """The hosts of each group."""
        found: dict[str, list[Host]] = {}
        for host in self.hosts:
            found.setdefault(host.group, []).append(host)
        return found

    def resource_config(self, host: Host) -> ResourceConfigFile:
        """What ``host`` reads about itself and its peers."""
        return {
            "current_host": host.name,
            "current_instance_type": host.instance_type,
            "current_group_name": host.group,
            "hosts": self.names,
            "instance_groups": [
                {
                    "instance_group_name": name,
                    "instance_type": hosts[0].instance_type,
                    "hosts": [one.name for one in hosts],
                }
                for name, hosts in self.groups().items()
            ],
            "network_interface_name": "lo",
        }

    def receivers(self, groups: Sequence[str]) -> list[Host]:
        """The hosts that get a source of data: those of these groups, all where none are named."""
        return [host for host in self.hosts if not groups or host.group in groups]


@dataclass(frozen=True)
class Shard:
    """A host's part of the objects of a source: every ``count``-th, from its own place on."""

    index: int
    count: int

    @classmethod
    def of(cls, host: Host, receivers: Sequence[Host], distribution: str) -> Shard:
        """The part that a host gets: everything, unless the objects are sharded by key."""
        return cls(receivers.index(host), len(receivers)) if distribution == "ShardedByS3Key" else EVERYTHING

    def of_objects(self, objects: Sequence[_Item]) -> Sequence[_Item]:
        """The part of a list that is in the order of the keys."""
        return objects[self.index :: self.count]


EVERYTHING = Shard(0, 1)


def _free_port() -> int:
    """Below those that the system gives to whoever connects: nobody takes it until the first host listens there."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def groups_of(config: ResourceConfigOutputTypeDef | ResourceConfigTypeDef) -> list[HostGroup]:
    """The groups that a training job's ResourceConfig asks for."""
    if groups := config.get("InstanceGroups"):
        return [HostGroup(g["InstanceGroupName"], g["InstanceType"], g["InstanceCount"]) for g in groups]
    return [HostGroup(GROUP, config.get("InstanceType", ""), config.get("InstanceCount", 1))]


def check_count(count: int) -> None:
    """Refuse more instances than this machine is asked to be. Raises ServiceError."""
    if not 1 <= count <= MAX_HOSTS:
        raise ServiceError(f"The stand-in account runs a job on at most {MAX_HOSTS} instances, got {count}.")


def check_hosts(count: int, *, isolated: bool) -> None:
    """Refuse more hosts than this machine is asked to be, or several where they cannot have names.

    Raises ServiceError.
    """
    check_count(count)
    if count > 1 and namespace_command() is None:
        raise ServiceError(
            f"The stand-in account can give hosts names only on Linux with `unshare --mount`: expected one instance on "
            f"this system, got {count}."
        )
    if count > 1 and isolated:
        raise ServiceError(
            f"The stand-in account cannot keep several hosts from the network and together: expected one instance with "
            f"EnableNetworkIsolation, got {count}."
        )


def check_groups(config: ResourceConfigOutputTypeDef | ResourceConfigTypeDef) -> None:
    """Refuse groups beside a type and a count, and groups of the same name. Raises ServiceError."""
    groups = config.get("InstanceGroups", [])
    if groups and ("InstanceType" in config or config.get("InstanceCount")):
        raise ServiceError("ResourceConfig: expected InstanceType and InstanceCount, or InstanceGroups, not both.")
    names = [group["InstanceGroupName"] for group in groups]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ServiceError(f"ResourceConfig: the instance group {min(twice)!r} occurs twice.")
    if not groups and ("InstanceType" not in config or "InstanceCount" not in config):
        raise ServiceError("ResourceConfig: expected InstanceType and InstanceCount, or InstanceGroups.")
