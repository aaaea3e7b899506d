"""Who may invoke a function: AddPermission, RemovePermission, GetPolicy, for the function, a version or an alias.

Runs in the server process. The statements of all qualifiers are kept with the function, told apart by their resource;
`authority` reads them there. Source: lambda/latest/dg/access-control-resource-based.html.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from local_account.base.arns import read_arn
from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done
from local_account.functions.api.names import LATEST, check_revision
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaAlias
    from moto.core.common_types import TYPE_RESPONSE

    from local_account.functions.configuration import AccountFunction

Statement = dict[str, object]
_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[\w.-]+\.amazonaws\.com(\.cn)?")
# A request's member -> the operator and the key of the condition that it becomes.
_CONDITIONS = {
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
    "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
    "SourceArn": ("ArnLike", "AWS:SourceArn"),
    "SourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
}


@extends
class PolicyAnswers(ApiAnswers):
    """Answers about the policies of functions."""

    def add_permission(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """AddPermission; raises moto's LambdaClientError for what Lambda does not take."""
        named, request = self.named(), self.request
        if named.qualifier == LATEST:
            message = "We currently do not support adding policies for $LATEST."
            raise client_error("InvalidParameterValueException", message, 400)
        self.latest()
        if named.qualifier:
            self.check_qualifier(named.qualifier)
        principal = _principal(str(request["Principal"]))
        check_revision(request.get("RevisionId"), self.policy_subject().revision_id, "GetPolicy")
        resource, name = self.policy_resource(), str(request["StatementId"])
        if any(each.get("Sid") == name for each in self.policy_statements()):
            message = (
                f"The statement id ({name}) provided already exists. Please provide a new statement id, or remove the "
                "existing statement."
            )
            raise client_error("ResourceConflictException", message, 409)
        made = _statement(request, principal, resource)
        self.latest().policy.statements.append(made)
        self.policy_subject().revision_id = _new_revision()
        return answered({"Statement": _text(made)}, 201)

    def remove_permission(self) -> TYPE_RESPONSE:
        """RemovePermission; raises moto's LambdaClientError for a statement that is not there."""
        name = unquote(self.path.rsplit("/", 1)[-1])
        self.require_function()
        statements = self.policy_statements()
        if not statements:
            raise client_error("ResourceNotFoundException", "No policy is associated with the given resource.", 404)
        found = next((each for each in statements if each.get("Sid") == name), None)
        if found is None:
            message = f"Statement {name} is not found in resource policy."
            raise client_error("ResourceNotFoundException", message, 404)
        check_revision(self.asked("RevisionId"), self.policy_subject().revision_id, "GetPolicy")
        self.latest().policy.statements.remove(found)
        self.policy_subject().revision_id = _new_revision()
        return done()

    def get_policy(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """GetPolicy; raises moto's LambdaClientError where there is none."""
        if not self.kept.has(self.named().name) or not (statements := self.policy_statements()):
            raise client_error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
        return answered({"Policy": _text(policy), "RevisionId": self.policy_subject().revision_id})

    def policy_resource(self) -> str:
        """The ARN that the policy is of."""
        return self.named().under(self.latest().unqualified_arn)

    def policy_statements(self) -> list[Statement]:
        """The statements about what is meant."""
        resource, statements = self.policy_resource(), self.latest().policy.statements
        return [each for each in statements if str(each["Resource"]).removesuffix(f":{LATEST}") == resource]

    def policy_subject(self) -> AccountFunction | LambdaAlias:
        """What the policy is of, whose revision it moves on."""
        named = self.named()
        aliases = self.kept.aliases_of(named.name)
        return aliases[str(named.qualifier)] if named.qualifier in aliases else self.function()

    def require_function(self) -> None:
        """Raises moto's LambdaClientError without the function."""
        named = self.named()
        if not self.kept.has(named.name):
            arn = named.under(f"arn:aws:lambda:{self.region}:{self.current_account}:function:{named.name}")
            raise client_error("ResourceNotFoundException", f"No policy found for: {arn}", 404)


def _new_revision() -> str:
    from moto.moto_api._internal import mock_random

    return str(mock_random.uuid4())


def _principal(principal: str) -> str | dict[str, str]:
    """Raises moto's LambdaClientError for what is nobody."""
    if principal == "*":
        return principal
    if _ACCOUNT.fullmatch(principal):
        return {"AWS": f"arn:aws:iam::{principal}:root"}
    if _SERVICE.fullmatch(principal):
        return {"Service": principal}
    arn = read_arn(principal)
    if arn and arn.service in {"iam", "sts"} and _ACCOUNT.fullmatch(arn.account):
        return {"AWS": principal}
    message = "The provided principal was invalid. Please check the principal and try again."
    raise client_error("InvalidParameterValueException", message, 400)


def _statement(request: Mapping[str, object], principal: str | dict[str, str], resource: str) -> Statement:
    made: Statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": request["Action"],
        "Resource": resource,
    }
    conditions: dict[str, dict[str, object]] = {}
    for member, (operator, key) in _CONDITIONS.items():
        if member in request:
            conditions.setdefault(operator, {})[key] = request[member]
    return made | ({"Condition": conditions} if conditions else {})


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))
