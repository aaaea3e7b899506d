"""IAM users and groups in stacks, their keys, and the profiles of instances. Runs in the server process."""

from __future__ import annotations

from collections.abc import Callable

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, only, part, rows, texts
from local_account.protocol.records import without


class UserOrGroup(Kind):
    """AWS::IAM::User and AWS::IAM::Group, with their inline and attached policies."""

    replaced_by = frozenset({"Path"})
    _APART = ("Policies", "ManagedPolicyArns", "Groups", "LoginProfile")

    def __init__(self, kind: str) -> None:
        self._kind, self.name = kind, f"{kind}Name"
        self.has_tags = kind == "User"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the user or group, then give it what it may do and belong to."""
        name = place.name_of(properties, self.name)
        request = without(properties, *self._APART) | {self.name: name}
        made = part(call(place, "iam", f"Create{self._kind}", request), self._kind)
        place.begun(name)
        self._settle(place, name, {}, properties)
        return Made(name, {"Arn": made["Arn"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change what it may do and belong to."""
        boundary = only(new, "PermissionsBoundary")
        if boundary and boundary != only(old, "PermissionsBoundary"):
            call(place, "iam", "PutUserPermissionsBoundary", {self.name: physical_id, **boundary})
        elif old.get("PermissionsBoundary") and not boundary:
            call(place, "iam", "DeleteUserPermissionsBoundary", {self.name: physical_id})
        self._settle(place, physical_id, old, new)
        found = part(call(place, "iam", f"Get{self._kind}", {self.name: physical_id}), self._kind)
        return Made(physical_id, {"Arn": found["Arn"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Take everything from it, without which it can go, then remove it."""
        self._settle(place, physical_id, properties, {}, call_gone)
        call_gone(place, "iam", f"Delete{self._kind}", {self.name: physical_id})

    def _settle(
        self, place: StackPlace, name: str, old: Properties, new: Properties, send: Callable[..., object] = call
    ) -> None:
        named: dict[str, object] = {self.name: name}
        kept = {policy["PolicyName"] for policy in rows(new, "Policies")}
        for policy in rows(old, "Policies"):
            if policy["PolicyName"] not in kept:
                call_gone(place, "iam", f"Delete{self._kind}Policy", named | only(policy, "PolicyName"))
        for policy in rows(new, "Policies"):
            send(place, "iam", f"Put{self._kind}Policy", named | dict(policy))
        self._attach(place, named, set(texts(old, "ManagedPolicyArns")), set(texts(new, "ManagedPolicyArns")))
        for group in sorted(set(texts(old, "Groups")) - set(texts(new, "Groups"))):
            call_gone(place, "iam", "RemoveUserFromGroup", named | {"GroupName": group})
        for group in sorted(set(texts(new, "Groups")) - set(texts(old, "Groups"))):
            send(place, "iam", "AddUserToGroup", named | {"GroupName": group})
        self._set_password(place, named, old, new)

    def _attach(self, place: StackPlace, named: dict[str, object], before: set[str], after: set[str]) -> None:
        for arn in sorted(before - after):
            call_gone(place, "iam", f"Detach{self._kind}Policy", named | {"PolicyArn": arn})
        for arn in sorted(after - before):
            call(place, "iam", f"Attach{self._kind}Policy", named | {"PolicyArn": arn})

    @staticmethod
    def _set_password(place: StackPlace, named: dict[str, object], old: Properties, new: Properties) -> None:
        if "LoginProfile" in new and old.get("LoginProfile") != new["LoginProfile"]:
            operation = "UpdateLoginProfile" if "LoginProfile" in old else "CreateLoginProfile"
            call(place, "iam", operation, named | dict(part(new, "LoginProfile")))
        elif "LoginProfile" in old and "LoginProfile" not in new:
            call_gone(place, "iam", "DeleteLoginProfile", named)


class AccessKey(Kind):
    """AWS::IAM::AccessKey: its id is what ``Ref`` gives, its secret an attribute."""

    replaced_by = frozenset({"UserName", "Serial"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the key, and switch it off if the template says so."""
        key = part(call(place, "iam", "CreateAccessKey", only(properties, "UserName")), "AccessKey")
        key_id = str(key["AccessKeyId"])
        place.begun(key_id)
        if "Status" in properties:
            self._set_status(place, key_id, properties)
        return Made(key_id, {"SecretAccessKey": key["SecretAccessKey"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Switch the key on or off; its secret is not told again."""
        self._set_status(place, physical_id, {"Status": "Active", **new})
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the key."""
        request = only(properties, "UserName") | {"AccessKeyId": physical_id}
        call_gone(place, "iam", "DeleteAccessKey", request)

    @staticmethod
    def _set_status(place: StackPlace, key_id: str, properties: Properties) -> None:
        call(place, "iam", "UpdateAccessKey", only(properties, "UserName", "Status") | {"AccessKeyId": key_id})


class GroupMembers(Kind):
    """AWS::IAM::UserToGroupAddition."""

    replaced_by = frozenset({"GroupName"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Add the users to the group."""
        addition = place.generated_name()
        place.begun(addition)
        return self.update(place, addition, {}, properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Add who is new, and take out who is no longer there."""
        group = only(new, "GroupName")
        for user in sorted(set(texts(old, "Users")) - set(texts(new, "Users"))):
            call_gone(place, "iam", "RemoveUserFromGroup", group | {"UserName": user})
        for user in sorted(set(texts(new, "Users")) - set(texts(old, "Users"))):
            call(place, "iam", "AddUserToGroup", group | {"UserName": user})
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Take the users out of the group."""
        for user in texts(properties, "Users"):
            call_gone(place, "iam", "RemoveUserFromGroup", only(properties, "GroupName") | {"UserName": user})


class InstanceProfile(Kind):
    """AWS::IAM::InstanceProfile with its role."""

    name = "InstanceProfileName"
    replaced_by = frozenset({"Path"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the profile, then give it its role."""
        name = place.name_of(properties, self.name, 128)
        request = only(properties, "Path") | {self.name: name}
        made = part(call(place, "iam", "CreateInstanceProfile", request), "InstanceProfile")
        place.begun(name)
        self._set_roles(place, name, {}, properties)
        return Made(name, {"Arn": made["Arn"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change its role."""
        self._set_roles(place, physical_id, old, new)
        found = part(call(place, "iam", "GetInstanceProfile", {self.name: physical_id}), "InstanceProfile")
        return Made(physical_id, {"Arn": found["Arn"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Take the role out, without which the profile can go, then remove it."""
        self._set_roles(place, physical_id, properties, {})
        call_gone(place, "iam", "DeleteInstanceProfile", {self.name: physical_id})

    def _set_roles(self, place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        before, after = set(texts(old, "Roles")), set(texts(new, "Roles"))
        for role in sorted(before - after):
            call_gone(place, "iam", "RemoveRoleFromInstanceProfile", {self.name: name, "RoleName": role})
        for role in sorted(after - before):
            call(place, "iam", "AddRoleToInstanceProfile", {self.name: name, "RoleName": role})


PEOPLE: dict[str, Kind] = {
    "AWS::IAM::AccessKey": AccessKey(),
    "AWS::IAM::Group": UserOrGroup("Group"),
    "AWS::IAM::InstanceProfile": InstanceProfile(),
    "AWS::IAM::User": UserOrGroup("User"),
    "AWS::IAM::UserToGroupAddition": GroupMembers(),
}
