"""What a request says of a container's network and of the keys of its volumes: it is true here, or it is refused.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.containers.namespaces import isolation_command
from local_account.protocol.actions import ServiceError
from local_account.protocol.kms_keys import KeyUnusableError, usable_key

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateModelInputTypeDef,
        CreateTrainingJobRequestTypeDef,
        NetworkConfigUnionTypeDef,
    )

    _Networked = CreateModelInputTypeDef | CreateTrainingJobRequestTypeDef | NetworkConfigUnionTypeDef


def check_network(request: _Networked) -> None:
    """Refuse what this account cannot do with ``VpcConfig`` and ``EnableNetworkIsolation``. Raises ServiceError."""
    if vpc := request.get("VpcConfig"):
        raise ServiceError(
            f"The subnets {', '.join(vpc['Subnets'])} and security groups {', '.join(vpc['SecurityGroupIds'])} do not "
            "exist: the stand-in account has no networks of its own. Leave VpcConfig out."
        )
    if request.get("EnableNetworkIsolation") and isolation_command() is None:
        raise ServiceError(
            "The stand-in account cannot keep a container from the network on this system, which would need Linux with "
            "`unshare --net`. Leave EnableNetworkIsolation out."
        )


def check_key(account: Account, where: Mapping[str, object], member: str) -> None:
    """Refuse a key that is not there or cannot be used. Raises ServiceError.

    What it encrypts on AWS, the disks of instances, is not there here.
    """
    if key_id := where.get(member):
        try:
            usable_key(account.account_id, account.region, str(key_id))
        except KeyUnusableError as error:
            raise ServiceError(f"{member}: {error} ({error.code})") from error


def check_volume_keys(account: Account, request: Mapping[str, object]) -> None:
    """Refuse a job whose disks could not be encrypted. Raises ServiceError."""
    resources = request.get("ProcessingResources")
    cluster = resources.get("ClusterConfig") if isinstance(resources, dict) else None
    for machines in (cluster, request.get("ResourceConfig"), request.get("TransformResources")):
        if isinstance(machines, dict):
            check_key(account, machines, "VolumeKmsKeyId")
