"""What a request says of a container's network and of the keys of its volumes: it is true here, or it is refused.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_account.account import Account
from local_account.containers.run import isolation_command
from local_account.protocol.kms_keys import KeyUnusableError, usable_key
from local_account.sagemaker.service import SageMakerError


def check_network(request: dict[str, Any]) -> None:
    """Refuse what this account cannot do with ``VpcConfig`` and ``EnableNetworkIsolation``. Raises SageMakerError."""
    if vpc := request.get("VpcConfig"):
        raise SageMakerError(
            f"The subnets {', '.join(vpc['Subnets'])} and security groups {', '.join(vpc['SecurityGroupIds'])} do not "
            "exist: the stand-in account has no networks of its own. Leave VpcConfig out."
        )
    if request.get("EnableNetworkIsolation") and isolation_command() is None:
        raise SageMakerError(
            "The stand-in account cannot keep a container from the network on this system, which would need Linux with "
            "`unshare --net`. Leave EnableNetworkIsolation out."
        )


def check_key(account: Account, where: Mapping[str, Any], member: str) -> None:
    """Refuse a key that is not there or cannot be used. Raises SageMakerError.

    What it encrypts on AWS, the disks of instances, is not there here.
    """
    if key_id := where.get(member):
        try:
            usable_key(account.account_id, account.region, key_id)
        except KeyUnusableError as error:
            raise SageMakerError(f"{member}: {error} ({error.code})") from error


def check_volume_keys(account: Account, request: Mapping[str, Any]) -> None:
    """Refuse a job whose disks could not be encrypted. Raises SageMakerError."""
    cluster = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    for resources in (cluster, request.get("ResourceConfig", {}), request.get("TransformResources", {})):
        check_key(account, resources, "VolumeKmsKeyId")
