"""How CloudFormation makes, changes and removes a resource: by the calls that any client of the account could make.

Runs in the server process. Properties are fitted to the call's input as botocore describes it: "30" becomes 30, a
policy document becomes text, a list of tags a map where the service wants one. A property that the call does not know
fails the resource; nothing is left out silently. A stack's role (RoleARN) makes the calls, and may lack a permission;
AWS's handlers make more of them, to look at what they made.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from local_account.account import Account

Properties = Mapping[str, Any]
_GONE = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|ResourceNotFoundException")
_GONE_MESSAGE = re.compile(r"could not find|does not exist|not found", re.IGNORECASE)


# The account does not know which action an operation on budgets needs: of a stack with a role, these calls are the
# owner's all the same.
OWNERS = {"budgets"}


class ResourceError(Exception):
    """A resource that cannot be made as the template asks; the message is the reason in the stack's events."""


@dataclass(frozen=True)
class Place:
    """Where a resource stands: its account, stack and logical name; ``role`` is the stack's, or empty for the owner."""

    account: Account
    stack_name: str
    logical_id: str
    role: str = ""

    def client(self, service: str) -> Any:
        return self.account.client(service, "" if service in OWNERS else self.role)

    def generated_name(self, longest: int = 64, lower: bool = False) -> str:
        """A name as CloudFormation makes one: stack, logical name, twelve random characters."""
        suffix = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        name = f"{f'{self.stack_name}-{self.logical_id}'[: longest - 13]}-{suffix}"
        return name.lower() if lower else name


@dataclass(frozen=True)
class Made:
    """A resource that exists: what ``Ref`` gives and what ``Fn::GetAtt`` may ask for."""

    physical_id: str
    attributes: dict[str, Any]


class Kind:
    """One type of resource. Changing a property in ``replaced_by`` needs a new resource; ``name`` is the naming one."""

    name: str = ""
    replaced_by: frozenset[str] = frozenset()
    has_tags: bool = False
    """Whether ``create`` takes ``Tags``."""

    def create(self, place: Place, properties: Properties) -> Made:
        raise NotImplementedError

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        raise NotImplementedError

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        raise NotImplementedError

    def wait(self, place: Place, properties: Properties) -> None:
        """Return once what was created or updated is ready for use; raises ResourceError when it failed."""

    def tagged(self, properties: Properties, stack_tags: list[dict[str, str]]) -> Properties:
        """The properties with the tags of the stack, which go to whatever can have tags; its own ones count more."""
        if not self.has_tags or not stack_tags:
            return properties
        own = properties.get("Tags") or []
        own = [{"Key": k, "Value": v} for k, v in own.items()] if isinstance(own, Mapping) else own
        taken = {tag["Key"] for tag in own}
        return {**properties, "Tags": [*own, *(tag for tag in stack_tags if tag["Key"] not in taken)]}

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        return any(old.get(name) != new.get(name) for name in self.replaced_by | ({self.name} if self.name else set()))


def call(place: Place, service: str, operation: str, properties: Properties) -> dict[str, Any]:
    """Call an operation (``CreateTopic``) with properties in CloudFormation's spelling."""
    client = place.client(service)
    shape = client.meta.service_model.operation_model(operation).input_shape
    request = fit(dict(properties), shape, "")
    answer: dict[str, Any] = getattr(client, xform_name(operation))(**request)
    return answer


def call_gone(place: Place, service: str, operation: str, properties: Properties) -> None:
    """The same for removing: what is gone already is what was asked for."""
    try:
        call(place, service, operation, properties)
    except ClientError as error:
        details = error.response["Error"]
        if not _GONE.search(details["Code"]) and not _GONE_MESSAGE.search(details.get("Message", "")):
            raise


def fit(value: Any, shape: Any, where: str) -> Any:
    """The value as the shape wants it; raises ResourceError for a property that is unknown or of a wrong type."""
    try:
        return _fit(value, shape, where)
    except (TypeError, ValueError) as error:
        raise ResourceError(f"Property {where or '/'} should be a {shape.type_name}, got {value!r}") from error


def _fit(value: Any, shape: Any, where: str) -> Any:
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        return _fit_structure(value, shape, where)
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        return [fit(item, shape.member, f"{where}/{index}") for index, item in enumerate(items)]
    if kind == "map":
        if isinstance(value, list):  # tags
            value = {item["Key"]: item["Value"] for item in value}
        return {str(key): fit(item, shape.value, f"{where}/{key}") for key, item in value.items()}
    scalar = _SCALARS.get(kind)
    return scalar(value) if scalar else value


def _truth(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(value)
    return str(value).lower() == "true"


def _fit_structure(value: Any, shape: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(value)
    fitted = {}
    for name, item in value.items():
        candidates = (name, name[:1].lower() + name[1:])
        member = next((candidate for candidate in candidates if candidate in shape.members), None)
        if member is None:
            raise ResourceError(f"The stand-in account does not implement the property {where}/{name}")
        fitted[member] = fit(item, shape.members[member], f"{where}/{name}")
    return fitted


def as_text(value: Any) -> str:
    """A string property: documents are JSON, booleans are spelt as CloudFormation spells them."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "boolean": _truth,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "string": as_text,
}


def only(properties: Properties, *names: str) -> dict[str, Any]:
    return {name: properties[name] for name in names if name in properties}


def without(properties: Properties, *names: str) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in names}


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
        physical_id: Callable[[dict[str, Any], Properties], str] | None = None,
        attributes: Callable[[dict[str, Any], Properties, Account], dict[str, Any]] | None = None,
    ) -> None:
        self.service, self.name, self.has_tags = service, name, has_tags
        self._create, self._update, self._delete = create, update, delete
        self._key, self._update_key, self._longest_name = key, update_key or key, longest_name
        self._key_of = key_of  # from the physical id to what the service calls it
        self._scope = scope  # a further property by which the service finds the resource
        self._physical_id = physical_id or (lambda _answer, properties: str(properties[name]))
        self._attributes = attributes or (lambda _answer, _properties, _account: {})

    def create(self, place: Place, properties: Properties) -> Made:
        properties = dict(properties)
        if self.name:
            properties.setdefault(self.name, place.generated_name(self._longest_name))
        return self._made(place, call(place, self.service, self._create, properties), properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        members = self._update_members(place)
        known = {n: v for n, v in new.items() if n in members or n[:1].lower() + n[1:] in members}
        answer = call(place, self.service, self._update, {**known, self._update_key: self._key_of(physical_id)})
        properties = {**new, **({self.name: new.get(self.name, physical_id)} if self.name else {})}
        made = self._made(place, answer, properties)
        return Made(physical_id, made.attributes)

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        request = {self._key: self._key_of(physical_id), **only(properties, self._scope)}
        call_gone(place, self.service, self._delete, request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        scope_changed = bool(self._scope) and old.get(self._scope) != new.get(self._scope)
        return not self._update or scope_changed or super().needs_replacement(old, new)

    def _update_members(self, place: Place) -> Mapping[str, Any]:
        model = place.client(self.service).meta.service_model
        members: Mapping[str, Any] = model.operation_model(self._update).input_shape.members
        return members

    def _made(self, place: Place, answer: dict[str, Any], properties: Properties) -> Made:
        return Made(self._physical_id(answer, properties), self._attributes(answer, properties, place.account))
