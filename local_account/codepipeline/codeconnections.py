"""AWS CodeConnections in the stand-in account: connections that stand for a Git repository on this machine.

Runs in the server process. On AWS a person completes a connection in the console, and it reaches GitHub or another
host. Here a tag says which repository it reaches; without the tag it stays PENDING and nothing can be read through it:

    aws codeconnections tag-resource --resource-arn ARN --tags Key=local-account:repository,Value=/path/to/repository
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.codepipeline.records import ConnectionRecord
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import without
from local_account.protocol.service import Service

if TYPE_CHECKING:
    from types_boto3_codeconnections.client import CodeConnectionsClient
    from types_boto3_codeconnections.type_defs import (
        CreateConnectionInputTypeDef,
        DeleteConnectionInputTypeDef,
        GetConnectionInputTypeDef,
        ListConnectionsInputTypeDef,
        ListTagsForResourceInputTypeDef,
        TagResourceInputTypeDef,
        UntagResourceInputTypeDef,
    )

REPOSITORY_TAG = "local-account:repository"


class CodeConnections(Service):
    """Connections; `archive` reads a branch of the repository behind one."""

    invalid_code = "InvalidInputException"

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codeconnections")

    @property
    def _all(self) -> dict[str, ConnectionRecord]:
        return self.table("connections", ConnectionRecord)

    @action("CreateConnection")
    def create(self, request: CreateConnectionInputTypeDef) -> Reply:
        """Make a connection, which reaches nothing until a tag says what.

        Raises ServiceError for one through a host, which the account has not.
        """
        if "HostArn" in request:
            raise ServiceError("The stand-in account has no hosts of connections.", self.invalid_code)
        arn = self.account.arn("codeconnections", f"connection/{uuid.uuid4()}")
        connection: ConnectionRecord = {
            "ConnectionName": request["ConnectionName"],
            "ConnectionArn": arn,
            "ProviderType": request.get("ProviderType", "GitHub"),
            "OwnerAccountId": self.account.account_id,
            "tags": {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
        }
        with self.lock:
            self._all[arn] = connection
        self.changed()
        return {"ConnectionArn": arn, "Tags": request.get("Tags", [])}

    @action("GetConnection")
    def get(self, request: GetConnectionInputTypeDef) -> Reply:
        """Tell of a connection.

        Raises ServiceError for an unknown one.
        """
        return {"Connection": self._shown(self._connection(request["ConnectionArn"]))}

    @action("ListConnections")
    def list(self, _request: ListConnectionsInputTypeDef) -> Reply:
        """List all connections."""
        return {"Connections": [self._shown(each) for each in self._all.values()]}

    @action("ListTagsForResource")
    def list_tags(self, request: ListTagsForResourceInputTypeDef) -> Reply:
        """List the tags of a connection.

        Raises ServiceError for an unknown one.
        """
        tags = self._connection(request["ResourceArn"])["tags"]
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    @action("DeleteConnection")
    def delete(self, request: DeleteConnectionInputTypeDef) -> None:
        """Remove a connection.

        Raises ServiceError for an unknown one.
        """
        with self.lock:
            self._connection(request["ConnectionArn"])
            del self._all[request["ConnectionArn"]]
        self.changed()

    @action("TagResource")
    def tag(self, request: TagResourceInputTypeDef) -> None:
        """Give a connection tags, among them the one that says which repository it reaches.

        Raises ServiceError for an unknown one.
        """
        with self.lock:
            tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
            self._connection(request["ResourceArn"])["tags"].update(tags)
        self.changed()

    @action("UntagResource")
    def untag(self, request: UntagResourceInputTypeDef) -> None:
        """Take tags of these keys from a connection.

        Raises ServiceError for an unknown one.
        """
        with self.lock:
            tags = self._connection(request["ResourceArn"])["tags"]
            for key in request["TagKeys"]:
                tags.pop(key, None)
        self.changed()

    def _connection(self, arn: str) -> ConnectionRecord:
        if arn not in self._all:
            raise ServiceError(f"Connection {arn} does not exist.", "ResourceNotFoundException")
        return self._all[arn]

    @staticmethod
    def _shown(connection: ConnectionRecord) -> Reply:
        status = "AVAILABLE" if REPOSITORY_TAG in connection["tags"] else "PENDING"
        return {**without(connection, "tags"), "ConnectionStatus": status}


class UnreachableError(Exception):
    """A connection through which nothing can be read; the message says what to do."""


def archive(client: CodeConnectionsClient, arn: str, branch: str, target: Path) -> dict[str, str]:
    """Write a zip of the branch behind a connection; its commit's id, message and author's date.

    Raises UnreachableError where there is no repository, or no such branch.
    """
    tags = {tag["Key"]: tag["Value"] for tag in client.list_tags_for_resource(ResourceArn=arn)["Tags"]}
    folder = tags.get(REPOSITORY_TAG)
    if folder is None:
        raise UnreachableError(
            f"Connection {arn} is PENDING: say which repository on this machine it reaches with `aws codeconnections"
            f" tag-resource --resource-arn {arn} --tags Key={REPOSITORY_TAG},Value=/path/to/repository`"
        )
    reference = f"refs/heads/{branch}"
    log = _git(folder, "log", "-1", "--format=%H%n%aI%n%s", reference, "--").decode("utf-8", "replace")
    commit, date, message = log.split("\n", 2)
    _git(folder, "archive", "--format=zip", f"--output={target.absolute()}", commit)
    return {"CommitId": commit, "AuthorDate": date, "CommitMessage": message.strip()}


def _git(folder: str, *arguments: str) -> bytes:
    try:
        finished = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False)
    except OSError as error:
        raise UnreachableError(f"git cannot be run: {error}") from error
    if finished.returncode:
        reason = " ".join(finished.stderr.decode("utf-8", "replace").split())
        raise UnreachableError(f"the repository {folder} cannot be read: {reason}")
    return finished.stdout
