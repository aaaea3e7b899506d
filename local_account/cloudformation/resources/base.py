"""How CloudFormation makes, changes and removes a resource: by the calls that any client of the account could make.

Runs in the server process. Properties are fitted to the call's input as botocore describes it (`values`). A stack's
role (RoleARN) makes the calls, and may lack a permission; AWS's handlers make more of them, to look at what they made.
"""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import Shape

from local_account.account import Account
from local_account.cloudformation.records import StackTag
from local_account.cloudformation.resources.values import Properties, ResourceError, fit_structure, only, rows

Answer = dict[str, object]
"""What a call answered."""
_GONE = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|ResourceNotFoundException")
_GONE_MESSAGE = re.compile(r"could not find|does not exist|not found", re.IGNORECASE)


# The account does not know which action an operation on budgets needs: of a stack with a role, these calls are the
# owner's all the same.
OWNERS = {"budgets"}


def _nobody(_physical_id: str) -> None:
    """Who need not be told that there is something to remove."""


@dataclass(frozen=True)
class StackPlace:
    """Where a resource stands: its account, stack and logical name; ``role`` is the stack's, or empty for the owner.

    A kind that takes more than one call to make tells ``begun`` the physical id once the first was made, so that what
    a later refusal leaves is removed. ``deadline`` is a time of ``time.monotonic``.
    """

    account: Account
    stack_name: str
    logical_id: str
    role: str = ""
    stack_id: str = ""
    capabilities: tuple[str, ...] = ()
    begun: Callable[[str], None] = _nobody
    deadline: float | None = None

    def pause(self, seconds: float) -> None:
        """Wait before another look at a resource that is not ready.

        Raises ResourceError when the account stops, or when the stack's time is over.
        """
        if self.account.stopping.wait(seconds):
            raise ResourceError("the account was stopped before the resource was ready")
        self.check_time()

    def check_time(self) -> None:
        """Raises ResourceError when the stack's time is over."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ResourceError("Stack creation time exceeded the specified timeout")

    def client(self, service: str) -> Any:
        """A client that calls as the stack's role, or as the owner."""
        return self.account.client(service, "" if service in OWNERS else self.role)

    def generated_name(self, longest: int = 64, lower: bool = False) -> str:
        """A name as CloudFormation makes one: stack, logical name, twelve random characters."""
        suffix = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        name = f"{f'{self.stack_name}-{self.logical_id}'[: longest - 13]}-{suffix}"
        return name.lower() if lower else name

    def name_of(self, properties: Properties, key: str, longest: int = 64, end: str = "") -> str:
        """The name that the properties give, or a generated one with this end."""
        return str(properties.get(key) or self.generated_name(longest - len(end)) + end)


@dataclass(frozen=True)
class Made:
    """A resource that exists: what ``Ref`` gives and what ``Fn::GetAtt`` may ask for."""

    physical_id: str
    attributes: Mapping[str, object]


class Kind:
    """One type of resource. Changing a property in ``replaced_by`` needs a new resource; ``name`` is the naming one."""

    name: str = ""
    replaced_by: frozenset[str] = frozenset()
    has_tags: bool = False
    """Whether ``create`` takes ``Tags``."""
    has_own_attributes: bool = False
    """Whether only the resource itself knows what ``Fn::GetAtt`` may ask for."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the resource.

        Raises ResourceError for properties that cannot be used, ClientError as the calls do.
        """
        raise NotImplementedError

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the resource from ``old`` to ``new``; only called where it needs no replacement.

        Raises as `create` does.
        """
        raise NotImplementedError

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the resource, if it still exists.

        Raises ClientError where it cannot be removed.
        """
        raise NotImplementedError

    def wait(self, place: StackPlace, properties: Properties) -> None:
        """Return once what was created or updated is ready for use.

        Raises ResourceError when it failed.
        """

    def tagged(self, properties: Properties, stack_tags: Sequence[StackTag]) -> Properties:
        """The properties with the tags of the stack, which go to whatever can have tags; its own ones count more."""
        if not self.has_tags or not stack_tags:
            return properties
        given = properties.get("Tags") or []
        own: list[Properties] = (
            [{"Key": key, "Value": value} for key, value in given.items()]
            if isinstance(given, Mapping)
            else rows({"Tags": given}, "Tags")
        )
        taken = {tag["Key"] for tag in own}
        return {**properties, "Tags": [*own, *(tag for tag in stack_tags if tag["Key"] not in taken)]}

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """Whether such a change takes a new resource ("Update requires: Replacement" in AWS's reference of types)."""
        return any(old.get(name) != new.get(name) for name in self.replaced_by | ({self.name} if self.name else set()))


def call(place: StackPlace, service: str, operation: str, properties: Properties) -> Answer:
    """Call an operation (``CreateTopic``) with properties in CloudFormation's spelling.

    Raises ResourceError for properties that it does not take, ClientError as the call does.
    """
    client = place.client(service)
    shape = client.meta.service_model.operation_model(operation).input_shape
    request = fit_structure(properties, shape, "")
    answer: Answer = getattr(client, xform_name(operation))(**request)
    return answer


def call_gone(place: StackPlace, service: str, operation: str, properties: Properties) -> None:
    """Call an operation that removes something; what is gone already is what was asked for.

    Raises as `call` does for everything else.
    """
    try:
        call(place, service, operation, properties)
    except ClientError as error:
        details = error.response["Error"]
        if not _GONE.search(details["Code"]) and not _GONE_MESSAGE.search(details.get("Message", "")):
            raise


class ApiKind(Kind):
    """A resource whose properties are the input of one call that makes it."""

    def __init__(
        self,
        service: str,
        create: str,
        delete: str,
        key: str,
        *,
        name: str = "",
        update: str = "",
        update_key: str = "",
        longest_name: int = 64,
        key_of: Callable[[str], str] = str,
        scope: str = "",
        has_tags: bool = False,
        physical_id: Callable[[Answer, Properties], str] | None = None,
        attributes: Callable[[Answer, Properties, Account], Answer] | None = None,
    ) -> None:
        self.service, self.name, self.has_tags = service, name, has_tags
        self._create, self._update, self._delete = create, update, delete
        self._key, self._update_key, self._longest_name = key, update_key or key, longest_name
        self._key_of = key_of  # from the physical id to what the service calls it
        self._scope = scope  # a further property by which the service finds the resource
        self._physical_id = physical_id or (lambda _answer, properties: str(properties[name]))
        self._attributes = attributes or (lambda _answer, _properties, _account: {})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the resource by its one call, under a generated name where the properties give none."""
        properties = dict(properties)
        if self.name:
            properties.setdefault(self.name, place.generated_name(self._longest_name))
        return self._made(place, call(place, self.service, self._create, properties), properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Send the properties that the changing call takes."""
        members = self._update_members(place)
        known = {n: v for n, v in new.items() if n in members or n[:1].lower() + n[1:] in members}
        answer = call(place, self.service, self._update, {**known, self._update_key: self._key_of(physical_id)})
        properties = {**new, **({self.name: new.get(self.name, physical_id)} if self.name else {})}
        made = self._made(place, answer, properties)
        return Made(physical_id, made.attributes)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the resource by its one call."""
        request = {self._key: self._key_of(physical_id), **only(properties, self._scope)}
        call_gone(place, self.service, self._delete, request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """Also where there is no call that changes it, or where it is to be found elsewhere."""
        scope_changed = bool(self._scope) and old.get(self._scope) != new.get(self._scope)
        return not self._update or scope_changed or super().needs_replacement(old, new)

    def _update_members(self, place: StackPlace) -> Mapping[str, Shape]:
        model = place.client(self.service).meta.service_model
        members: Mapping[str, Shape] = model.operation_model(self._update).input_shape.members
        return members

    def _made(self, place: StackPlace, answer: Answer, properties: Properties) -> Made:
        return Made(self._physical_id(answer, properties), self._attributes(answer, properties, place.account))
