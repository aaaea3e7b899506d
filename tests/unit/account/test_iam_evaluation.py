"""The stand-in account's evaluation of policies against tables of the IAM User Guide.

"Policy evaluation logic", "IAM JSON policy elements: Condition operators", "Multivalued context keys", "Policy
variables": what the guide's tables and examples say is what these cases say.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_account.authority.conditions import RequestContext, arn_matches, holds
from local_account.authority.evaluation import Policies, decide, decide_for_service
from local_account.authority.policies import Principal, compiled

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/one"
CALLER = Principal(SESSION, ACCOUNT, ROLE)
OBJECT = "arn:aws:s3:::bucket/key"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any = "s3:GetObject", resource: Any = OBJECT, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = OBJECT, **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


ALLOWING, DENYING, SILENT = policy(allow()), policy(deny()), policy(allow("s3:PutObject"))
TO_ROLE = {"Principal": {"AWS": ROLE}}
TO_SESSION = {"Principal": {"AWS": SESSION}}
TO_ACCOUNT = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
TO_ANYONE = {"Principal": "*"}
IDENTITY = "because no identity-based policy allows the s3:GetObject action"
BOUNDARY = "because no permissions boundary allows the s3:GetObject action"
SESSION_POLICY = "because no session policy allows the s3:GetObject action"


@pytest.mark.parametrize(
    ("policies", "refusal"),
    [
        # Identity-based policies alone: everything is denied that nothing allows, and a deny wins.
        (Policies([ALLOWING]), ""),
        (Policies([]), IDENTITY),
        (Policies([SILENT]), IDENTITY),
        (Policies([SILENT, ALLOWING]), ""),
        (Policies([ALLOWING, DENYING]), "with an explicit deny in an identity-based policy"),
        # With a boundary: what both allow.
        (Policies([ALLOWING], boundary=ALLOWING), ""),
        (Policies([ALLOWING], boundary=SILENT), BOUNDARY),
        (Policies([SILENT], boundary=ALLOWING), IDENTITY),
        (Policies([ALLOWING], boundary=DENYING), "with an explicit deny in a permissions boundary"),
        # With a session policy: what both allow.
        (Policies([ALLOWING], session=ALLOWING), ""),
        (Policies([ALLOWING], session=SILENT), SESSION_POLICY),
        # A resource's policy allows by itself in its account, to the role within the boundary, to the session without.
        (Policies([], resource=policy(allow(**TO_ROLE))), ""),
        (Policies([], resource=policy(allow(**TO_ANYONE))), ""),
        (Policies([], resource=policy(allow(**TO_SESSION))), ""),
        (Policies([], boundary=SILENT, resource=policy(allow(**TO_ROLE))), BOUNDARY),
        (Policies([], boundary=SILENT, resource=policy(allow(**TO_SESSION))), ""),
        (Policies([], session=SILENT, resource=policy(allow(**TO_ROLE))), SESSION_POLICY),
        # The account as principal hands the decision to the account's own policies.
        (Policies([], resource=policy(allow(**TO_ACCOUNT))), IDENTITY),
        (Policies([ALLOWING], resource=policy(allow(**TO_ACCOUNT))), ""),
        # A deny of the resource's policy ends it, whomever it names.
        (Policies([ALLOWING], resource=policy(deny(**TO_ANYONE))), "with an explicit deny in a resource-based policy"),
        (Policies([ALLOWING], resource=policy(deny(**TO_ACCOUNT))), "with an explicit deny in a resource-based policy"),
        (Policies([ALLOWING], resource=policy(deny(Principal={"AWS": "arn:aws:iam::1:role/other"}))), ""),
        # Keys and trust policies: without them the account's policies have no say.
        (
            Policies([ALLOWING], resource=policy(), resource_must_allow=True),
            "because no resource-based policy allows the s3:GetObject action",
        ),
        (Policies([ALLOWING], resource=policy(allow(**TO_ACCOUNT)), resource_must_allow=True), ""),
        (Policies([], resource=policy(allow(**TO_ACCOUNT)), resource_must_allow=True), IDENTITY),
        (Policies([], resource=policy(allow(**TO_ROLE)), resource_must_allow=True), ""),
    ],
)
def test_policies_decide_together(policies: Policies, refusal: str) -> None:
    decision = decide(CALLER, "s3:GetObject", OBJECT, RequestContext(), policies)
    assert (decision.allowed, decision.reason) == (not refusal, refusal)


@pytest.mark.parametrize(
    ("statement", "action", "resource", "speaks"),
    [
        (allow("s3:Get*"), "s3:GetObject", OBJECT, True),
        (allow("S3:getobject"), "s3:GetObject", OBJECT, True),
        (allow("s3:GetObject?"), "s3:GetObject", OBJECT, False),
        (allow(["s3:PutObject", "s3:GetObject"]), "s3:GetObject", OBJECT, True),
        (allow("s3:GetObject"), "s3:GetObjectVersion", OBJECT, False),
        ({"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}, "s3:GetObject", OBJECT, True),
        ({"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}, "s3:GetObject", OBJECT, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::bucket/*"}, "s3:GetObject", OBJECT, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::other/*"}, "s3:GetObject", OBJECT, True),
        (allow("*", "arn:aws:s3:::bucket/${aws:username}/*"), "s3:GetObject", "arn:aws:s3:::bucket/ann/x", True),
        (allow("*", "arn:aws:s3:::bucket/${aws:username}/*"), "s3:GetObject", "arn:aws:s3:::bucket/eve/x", False),
        (allow("*", "arn:aws:s3:::bucket/${aws:missing}/*"), "s3:GetObject", "arn:aws:s3:::bucket//x", False),
        (allow("*", "arn:aws:s3:::bucket/${aws:missing, 'all'}/*"), "s3:GetObject", "arn:aws:s3:::bucket/all/x", True),
        (allow("*", "arn:aws:s3:::bucket/${*}"), "s3:GetObject", "arn:aws:s3:::bucket/*", True),
        (allow("*", "arn:aws:s3:::bucket/${*}"), "s3:GetObject", OBJECT, False),
        (allow("*", "arn:aws:s3:::bucket/${aws:star}"), "s3:GetObject", OBJECT, False),
    ],
)
def test_what_a_statement_is_about(statement: dict[str, Any], action: str, resource: str, speaks: bool) -> None:
    (one,) = compiled(policy(statement))
    assert one.speaks_of(action, resource, RequestContext({"aws:username": "ann", "aws:star": "*"})) is speaks


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        ("*", "arn:aws:sqs:us-east-1:1:q", True),
        ("arn:aws:sqs:us-east-1:1:q*", "arn:aws:sqs:us-east-1:1:queue", True),
        ("arn:aws:sqs:*:1:q", "arn:aws:sqs:us-east-1:1:q", True),
        ("arn:aws:sqs:*:q", "arn:aws:sqs:us-east-1:1:q", False),  # a wildcard stays between its colons
        ("arn:aws:sqs:us-*:q", "arn:aws:sqs:us-east-1:1:q", False),
        ("arn:aws:logs:r:1:log-group:g:*", "arn:aws:logs:r:1:log-group:g:log-stream:s", True),
        ("arn:aws:logs:r:1:log-group:g:*", "arn:aws:logs:r:1:log-group:gg:log-stream:s", False),
        ("arn:aws:s3:::b/a?c", "arn:aws:s3:::b/abc", True),
        ("arn:aws:s3:::b/a.c", "arn:aws:s3:::b/abc", False),
    ],
)
def test_arns_match_part_by_part(pattern: str, arn: str, matches: bool) -> None:
    assert arn_matches(pattern, arn) is matches


CONTEXT = RequestContext(
    {
        "aws:SourceIp": "10.1.2.3",
        "aws:SecureTransport": "true",
        "aws:CurrentTime": "2026-11-21T12:00:00+00:00",
        "s3:prefix": "home/ann",
        "s3:max-keys": "10",
        "aws:SourceArn": "arn:aws:events:r:1:rule/approval",
        "aws:TagKeys": ["stage", "owner"],
        "aws:Lazy": lambda: "value",
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"s3:prefix": "home/ann"}}, True),
        ({"StringEquals": {"S3:Prefix": "home/ann"}}, True),  # names of keys are not case-sensitive
        ({"StringEquals": {"s3:prefix": "home/*"}}, False),
        ({"StringEquals": {"s3:prefix": ["x", "home/ann"]}}, True),
        ({"StringLike": {"s3:prefix": "home/*"}}, True),
        ({"StringNotLike": {"s3:prefix": "home/*"}}, False),
        ({"StringNotEquals": {"s3:prefix": ["x", "home/ann"]}}, False),
        ({"StringNotEquals": {"s3:prefix": ["x", "y"]}}, True),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "HOME/ANN"}}, True),
        ({"StringEquals": {"s3:prefix": "home/ann", "s3:max-keys": "11"}}, False),  # all keys have to hold
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, False),
        ({"NumericGreaterThan": {"s3:prefix": "1"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"Bool": {"aws:SecureTransport": True}}, True),
        ({"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "10.1.0.0/16"]}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.1.0.0/16"}}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}}, True),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:events:r:2:rule/*"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-11-21T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2026-11-21T00:00:00Z"}}, False),
        ({"StringEquals": {"aws:Lazy": "value"}}, True),
        # Missing keys.
        ({"StringEquals": {"aws:missing": "x"}}, False),
        ({"StringNotEquals": {"aws:missing": "x"}}, True),
        ({"StringEqualsIfExists": {"aws:missing": "x"}}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "x"}}, False),
        ({"Null": {"aws:missing": "true"}}, True),
        ({"Null": {"s3:prefix": "true"}}, False),
        ({"Null": {"s3:prefix": "false"}}, True),
        # Sets.
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["stage", "owner", "team"]}}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}}, False),
        ({"ForAllValues:StringEquals": {"aws:missing": ["stage"]}}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["stage"]}}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}, False),
        ({"ForAnyValue:StringEquals": {"aws:missing": ["stage"]}}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["stage"]}}, True),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["stage"]}}, False),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    assert holds(condition, CONTEXT, unknown=False) is expected


@pytest.mark.parametrize(
    "condition", [{"StringAlmost": {"s3:prefix": "x"}}, {"StringEquals": "x"}, ["StringEquals"], "StringEquals"]
)
def test_an_unknown_operator_is_never_in_the_callers_favour(condition: Any) -> None:
    unknown = {"Condition": condition}
    allowed = decide(CALLER, "s3:GetObject", OBJECT, CONTEXT, Policies([policy(allow(**unknown))]))
    denied = decide(CALLER, "s3:GetObject", OBJECT, CONTEXT, Policies([ALLOWING, policy(deny(**unknown))]))
    assert not allowed.allowed
    assert denied.reason == "with an explicit deny in an identity-based policy"


FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Principal": {"Service": "events.amazonaws.com"}}, True),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, False),
        ({"Principal": TO_ACCOUNT["Principal"]}, False),
        (
            {
                "Principal": {"Service": "events.amazonaws.com"},
                "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:events:r:1:rule/approval"}},
            },
            True,
        ),
        (
            {
                "Principal": {"Service": "events.amazonaws.com"},
                "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:events:r:1:rule/other"}},
            },
            False,
        ),
    ],
)
def test_services_need_the_resources_own_policy(statement: dict[str, Any], expected: bool) -> None:
    document = policy({"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": FUNCTION, **statement})
    service = Principal("events.amazonaws.com", ACCOUNT)
    assert decide_for_service(service, "lambda:InvokeFunction", FUNCTION, CONTEXT, document).allowed is expected
