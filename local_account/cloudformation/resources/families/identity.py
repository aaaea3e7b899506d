"""IAM in stacks: roles and policies. Runs in the server process."""

from __future__ import annotations

import json

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, only, part, rows, texts
from local_account.protocol.records import without

HOLDERS = (("Roles", "Role", "RoleName"), ("Users", "User", "UserName"), ("Groups", "Group", "GroupName"))
"""Who may hold policies: the property, the word in the calls, and the name's member."""


class Role(Kind):
    """AWS::IAM::Role with its inline and attached policies."""

    has_tags = True
    name = "RoleName"
    replaced_by = frozenset({"Path"})
    _APART = ("Policies", "ManagedPolicyArns")

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the role, then put its inline policies and attach the managed ones."""
        name = place.name_of(properties, "RoleName")
        answer = call(place, "iam", "CreateRole", without(properties, *self._APART) | {"RoleName": name})
        role = part(answer, "Role")
        place.begun(name)
        self._set_policies(place, name, {}, properties)
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change trust, description, boundary and policies."""
        role: dict[str, object] = {"RoleName": physical_id}
        call(place, "iam", "UpdateAssumeRolePolicy", {**role, "PolicyDocument": new["AssumeRolePolicyDocument"]})
        call(place, "iam", "UpdateRole", role | only(new, "Description", "MaxSessionDuration"))
        if boundary := only(new, "PermissionsBoundary"):  # before the policies: who may change them may depend on it
            call(place, "iam", "PutRolePermissionsBoundary", role | boundary)
        elif old.get("PermissionsBoundary"):
            call(place, "iam", "DeleteRolePermissionsBoundary", role)
        self._set_policies(place, physical_id, old, new)
        found = place.account.client("iam", place.role).get_role(RoleName=physical_id)["Role"]
        return Made(physical_id, {"Arn": found["Arn"], "RoleId": found["RoleId"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the policies, without which a role can go, then the role."""
        self._set_policies(place, physical_id, properties, {})
        call_gone(place, "iam", "DeleteRole", {"RoleName": physical_id})

    @staticmethod
    def _set_policies(place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        role: dict[str, object] = {"RoleName": name}
        kept = {policy["PolicyName"] for policy in rows(new, "Policies")}
        for policy in rows(old, "Policies"):
            if policy["PolicyName"] not in kept:
                call_gone(place, "iam", "DeleteRolePolicy", role | only(policy, "PolicyName"))
        for policy in rows(new, "Policies"):
            call(place, "iam", "PutRolePolicy", role | dict(policy))
        before, after = set(texts(old, "ManagedPolicyArns")), set(texts(new, "ManagedPolicyArns"))
        for arn in sorted(before - after):
            call_gone(place, "iam", "DetachRolePolicy", role | {"PolicyArn": arn})
        for arn in sorted(after - before):
            call(place, "iam", "AttachRolePolicy", role | {"PolicyArn": arn})


class Policy(Kind):
    """AWS::IAM::Policy: an inline policy of the roles, users and groups that it names."""

    replaced_by = frozenset({"PolicyName"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Put the policy into everybody that it names."""
        policy = place.generated_name()
        place.begun(policy)
        return self.update(place, policy, {}, properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Put the policy into whom it names now, and remove it from whom it no longer names."""
        for holders, kind, key in HOLDERS:
            for holder in texts(new, holders):
                request = {key: holder, **only(new, "PolicyName", "PolicyDocument")}
                call(place, "iam", f"Put{kind}Policy", request)
            for holder in set(texts(old, holders)) - set(texts(new, holders)):
                call_gone(place, "iam", f"Delete{kind}Policy", {key: holder, **only(old, "PolicyName")})
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the policy from everybody that it names."""
        for holders, kind, key in HOLDERS:
            for holder in texts(properties, holders):
                call_gone(place, "iam", f"Delete{kind}Policy", {key: holder, **only(properties, "PolicyName")})


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy, attached to the roles, users and groups that it names."""

    name = "ManagedPolicyName"
    replaced_by = frozenset({"Description", "Path"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the policy, then attach it."""
        name = place.name_of(properties, "ManagedPolicyName", 128)
        request = {"PolicyName": name, **only(properties, "PolicyDocument", "Description", "Path")}
        arn = str(part(call(place, "iam", "CreatePolicy", request), "Policy")["Arn"])
        place.begun(arn)
        self._attach(place, arn, {}, properties)
        return Made(arn, {"PolicyArn": arn})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Make another document the default version, and change to whom the policy is attached."""
        if old["PolicyDocument"] != new["PolicyDocument"]:
            self._remove_other_versions(place, physical_id)
            document = json.dumps(new["PolicyDocument"])
            place.account.client("iam", place.role).create_policy_version(
                PolicyArn=physical_id, PolicyDocument=document, SetAsDefault=True
            )
        self._attach(place, physical_id, old, new)
        return Made(physical_id, {"PolicyArn": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Detach the policy and remove its versions, without which it can go."""
        self._attach(place, physical_id, properties, {})
        self._remove_other_versions(place, physical_id)
        call_gone(place, "iam", "DeletePolicy", {"PolicyArn": physical_id})

    @staticmethod
    def _remove_other_versions(place: StackPlace, arn: str) -> None:
        """A policy may have five versions, and only one when it is deleted."""
        iam = place.account.client("iam", place.role)
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])

    @staticmethod
    def _attach(place: StackPlace, arn: str, old: Properties, new: Properties) -> None:
        for holders, kind, key in HOLDERS:
            before, after = set(texts(old, holders)), set(texts(new, holders))
            for holder in sorted(before - after):
                call_gone(place, "iam", f"Detach{kind}Policy", {key: holder, "PolicyArn": arn})
            for holder in sorted(after - before):
                call(place, "iam", f"Attach{kind}Policy", {key: holder, "PolicyArn": arn})
