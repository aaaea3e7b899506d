"""The action Search, over every kind of resource that the account keeps.

Runs in the server process. Of kinds that cannot be made here (feature groups, projects, hubs) there are none to find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import botocore.session

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.sagemaker.search.conditions import check, holds, property_shape, values_of
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import SearchRequestTypeDef

Resources = Callable[[], Iterable[Mapping[str, object]]]
_RECORDS = {"ExperimentTrial": "Trial", "ExperimentTrialComponent": "TrialComponent"}
"""What a resource is called in the answer, where it is called otherwise."""


class Search:
    """Looks through resources, which ``kinds`` gives by the names that a request calls them."""

    def __init__(self, sagemaker: SageMaker, kinds: Mapping[str, Resources]) -> None:
        self._sagemaker, self._kinds = sagemaker, kinds
        model = botocore.session.get_session().get_service_model("sagemaker")
        self._shapes = model.shape_for("SearchRecord").members

    @action("Search")
    def search(self, request: SearchRequestTypeDef) -> Reply:
        """Answers a page of what was found, the last modified first unless it is said otherwise."""
        kind = request["Resource"]
        record = _RECORDS.get(kind, kind)
        if record not in self._shapes:  # images of Studio, which a search does not tell
            return {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}
        shape = self._shapes[record]
        expression, sort_by = request.get("SearchExpression"), request.get("SortBy", "LastModifiedTime")
        if expression is not None:
            check(expression, shape)
        if "SortBy" in request:
            property_shape(sort_by, shape)
        known = [self._tagged(one, f"{record}Arn") for one in self._kinds.get(kind, list)()]
        found = [one for one in known if expression is None or holds(expression, one, shape)]
        found.sort(key=lambda one: _place(one, sort_by), reverse=request.get("SortOrder", "Descending") == "Descending")
        start, size = _offset(request.get("NextToken")), request.get("MaxResults", 100)
        page = [{record: {key: one[key] for key in one if key in shape.members}} for one in found[start : start + size]]
        more = {"NextToken": f"offset-{start + size}"} if start + size < len(found) else {}
        return {"Results": page, "TotalHits": {"Value": len(found), "Relation": "EqualTo"}, **more}

    def _tagged(self, resource: Mapping[str, object], arn_member: str) -> Mapping[str, object]:
        """A resource with its tags."""
        tags = self._sagemaker.tags.get(str(resource.get(arn_member)), {})
        return {**resource, **({"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {})}


def _place(resource: Mapping[str, object], name: str) -> tuple[int, float, str]:
    """Where a resource stands in the order; without the property first, of equal times in the order they were made."""
    value = next(values_of(name, resource), None)
    if value is None and name == "LastModifiedTime":
        value = resource.get("CreationTime")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def _offset(token: str | None) -> int:
    match = re.fullmatch(r"offset-(\d+)", token or "offset-0")
    if match is None:
        raise ServiceError(f"NextToken {token!r} is not one that this account gave out.")
    return int(match[1])
