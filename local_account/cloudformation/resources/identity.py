"""IAM in stacks: roles and policies. Runs in the server process."""

from __future__ import annotations

import json
from typing import Any

from local_account.cloudformation.resources.base import Kind, Made, Place, Properties, call, call_gone, only, without


class Role(Kind):
    """AWS::IAM::Role with its inline and attached policies."""

    has_tags = True
    name = "RoleName"
    replaced_by = frozenset({"Path"})
    _APART = ("Policies", "ManagedPolicyArns")

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("RoleName") or place.generated_name()
        role = call(place, "iam", "CreateRole", without(properties, *self._APART) | {"RoleName": name})["Role"]
        self._set_policies(place, name, {}, properties)
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        role = {"RoleName": physical_id}
        trust = {"PolicyDocument": new["AssumeRolePolicyDocument"]}
        call(place, "iam", "UpdateAssumeRolePolicy", role | trust)
        call(place, "iam", "UpdateRole", role | only(new, "Description", "MaxSessionDuration"))
        if boundary := only(new, "PermissionsBoundary"):  # before the policies: who may change them may depend on it
            call(place, "iam", "PutRolePermissionsBoundary", role | boundary)
        elif old.get("PermissionsBoundary"):
            call(place, "iam", "DeleteRolePermissionsBoundary", role)
        self._set_policies(place, physical_id, old, new)
        found = place.client("iam").get_role(RoleName=physical_id)["Role"]
        return Made(physical_id, {"Arn": found["Arn"], "RoleId": found["RoleId"]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        self._set_policies(place, physical_id, properties, {})
        call_gone(place, "iam", "DeleteRole", {"RoleName": physical_id})

    @staticmethod
    def _set_policies(place: Place, name: str, old: Properties, new: Properties) -> None:
        role = {"RoleName": name}
        kept = {policy["PolicyName"] for policy in new.get("Policies", [])}
        for policy in old.get("Policies", []):
            if policy["PolicyName"] not in kept:
                call_gone(place, "iam", "DeleteRolePolicy", role | only(policy, "PolicyName"))
        for policy in new.get("Policies", []):
            call(place, "iam", "PutRolePolicy", role | dict(policy))
        before, after = set(old.get("ManagedPolicyArns", [])), set(new.get("ManagedPolicyArns", []))
        for arn in sorted(before - after):
            call_gone(place, "iam", "DetachRolePolicy", role | {"PolicyArn": arn})
        for arn in sorted(after - before):
            call(place, "iam", "AttachRolePolicy", role | {"PolicyArn": arn})


class Policy(Kind):
    """AWS::IAM::Policy: an inline policy of the roles, users and groups that it names."""

    _HOLDERS = (("Roles", "Role", "RoleName"), ("Users", "User", "UserName"), ("Groups", "Group", "GroupName"))
    replaced_by = frozenset({"PolicyName"})

    def create(self, place: Place, properties: Properties) -> Made:
        return self.update(place, place.generated_name(), {}, properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        for holders, kind, key in self._HOLDERS:
            for holder in new.get(holders, []):
                request = {key: holder, **only(new, "PolicyName", "PolicyDocument")}
                call(place, "iam", f"Put{kind}Policy", request)
            for holder in set(old.get(holders, [])) - set(new.get(holders, [])):
                call_gone(place, "iam", f"Delete{kind}Policy", {key: holder, **only(old, "PolicyName")})
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        for holders, kind, key in self._HOLDERS:
            for holder in properties.get(holders, []):
                call_gone(place, "iam", f"Delete{kind}Policy", {key: holder, **only(properties, "PolicyName")})


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy, attached to the roles that it names."""

    name = "ManagedPolicyName"
    replaced_by = frozenset({"Description", "Path"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("ManagedPolicyName") or place.generated_name(128)
        request = {"PolicyName": name, **only(properties, "PolicyDocument", "Description", "Path")}
        arn = call(place, "iam", "CreatePolicy", request)["Policy"]["Arn"]
        self._attach(place, arn, {}, properties)
        return Made(arn, {"PolicyArn": arn})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        if old["PolicyDocument"] != new["PolicyDocument"]:
            self._remove_other_versions(place, physical_id)
            document = json.dumps(new["PolicyDocument"])
            place.client("iam").create_policy_version(PolicyArn=physical_id, PolicyDocument=document, SetAsDefault=True)
        self._attach(place, physical_id, old, new)
        return Made(physical_id, {"PolicyArn": physical_id})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        self._attach(place, physical_id, properties, {})
        self._remove_other_versions(place, physical_id)
        call_gone(place, "iam", "DeletePolicy", {"PolicyArn": physical_id})

    @staticmethod
    def _remove_other_versions(place: Place, arn: str) -> None:
        """A policy may have five versions, and only one when it is deleted."""
        iam: Any = place.client("iam")
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])

    @staticmethod
    def _attach(place: Place, arn: str, old: Properties, new: Properties) -> None:
        before, after = set(old.get("Roles", [])), set(new.get("Roles", []))
        for role in sorted(before - after):
            call_gone(place, "iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
        for role in sorted(after - before):
            call(place, "iam", "AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})
