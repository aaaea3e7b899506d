"""Resources of other accounts and regions are refused in the service's words, and ARNs are read in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_account.base.arns import ArnError, own_arn, parse_arn, read_arn, read_queue_url
from local_account.protocol.foreign import Home, foreign_error

HOME = Home("123456789012", "us-east-1")


@pytest.mark.parametrize(
    ("service", "operation", "members", "code"),
    [
        ("lambda", "DeleteFunction", {"FunctionName": "arn:aws:lambda:us-east-1:999999999999:function:f"},
         "AccessDeniedException"),
        ("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:f"},
         "ResourceNotFoundException"),
        ("lambda", "GetFunction", {"FunctionName": "999999999999:function:f"}, "AccessDeniedException"),
        ("lambda", "Invoke", {"FunctionName": "eu-west-1:123456789012:function:f"}, "ResourceNotFoundException"),
        ("sqs", "SendMessage", {"QueueUrl": "http://127.0.0.1:5055/999999999999/q"},
         "AWS.SimpleQueueService.NonExistentQueue"),
        ("ecr", "DeleteRepository", {"registryId": "999999999999", "repositoryName": "r"},
         "RepositoryNotFoundException"),
        ("glue", "GetTable", {"CatalogId": "999999999999", "Name": "t"}, "AccessDeniedException"),
        ("kms", "DisableKey", {"KeyId": "arn:aws:kms:eu-west-1:123456789012:key/k"}, "NotFoundException"),
        ("events", "PutEvents", {"Entries": [{"EventBusName": "arn:aws:events:us-east-1:999999999999:event-bus/b"}]},
         "AccessDeniedException"),
        ("sagemaker", "StartPipelineExecution", {"PipelineName": "arn:aws:sagemaker:us-east-1:999999999999:pipeline/p"},
         "AccessDeniedException"),
    ],
)  # fmt: skip
def test_a_resource_elsewhere_is_refused(service: str, operation: str, members: dict[str, object], code: str) -> None:
    error = foreign_error(service, operation, members, HOME)
    assert error is not None
    assert error.code == code


@pytest.mark.parametrize(
    ("service", "members"),
    [
        ("lambda", {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"}),
        ("lambda", {"Layers": ["arn:aws:lambda:us-east-1:017000801446:layer:l:1"]}),
        ("sqs", {"QueueUrl": "http://127.0.0.1:5055/123456789012/q"}),
        ("iam", {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
    ],
)
def test_what_is_ours_or_may_be_anybodys_passes(service: str, members: dict[str, object]) -> None:
    assert foreign_error(service, "Any", members, HOME) is None


FOREIGN_ROLE = "arn:aws:iam::999999999999:role/r"


@pytest.mark.parametrize(
    ("service", "members", "code"),
    [
        ("states", {"roleArn": FOREIGN_ROLE}, "AccessDeniedException"),
        ("lambda", {"Role": FOREIGN_ROLE}, "AccessDeniedException"),
        ("scheduler", {"Target": {"RoleArn": FOREIGN_ROLE}}, "AccessDeniedException"),
        ("events", {"Targets": [{"Id": "1"}, {"Id": "2", "RoleArn": FOREIGN_ROLE}]}, "AccessDeniedException"),
        ("sagemaker", {"RoleArn": FOREIGN_ROLE}, "ValidationException"),
    ],
)
def test_no_service_takes_a_role_of_another_account(service: str, members: dict[str, object], code: str) -> None:
    error = foreign_error(service, "Any", members, HOME)
    assert error is not None
    assert (error.code, error.message) == (code, "Cross-account pass role is not allowed.")


@pytest.mark.parametrize(
    ("service", "members"),
    [
        ("states", {"roleArn": "arn:aws:iam::123456789012:role/r"}),
        ("sts", {"RoleArn": FOREIGN_ROLE}),
        ("codepipeline", {"pipeline": {"stages": [{"actions": [{"roleArn": FOREIGN_ROLE}]}]}}),
        ("events", {"Targets": "no list"}),
    ],
)
def test_an_own_role_passes_and_so_does_one_that_is_only_named(service: str, members: dict[str, object]) -> None:
    assert foreign_error(service, "Any", members, HOME) is None


@given(st.text())
def test_any_text_is_an_arn_or_none(text: str) -> None:
    arn = read_arn(text)
    assert arn is None or str(arn) == text


def test_the_parts_of_arns_and_addresses() -> None:
    arn = parse_arn("arn:aws:events:us-east-1:123456789012:rule/bus/name")
    assert (arn.service, arn.kind, arn.name, arn.last) == ("events", "rule", "bus/name", "name")
    assert own_arn(str(arn), "123456789012", "eu-west-1") is None
    address = read_queue_url("https://sqs.us-east-1.amazonaws.com/123456789012/q.fifo")
    assert address is not None
    assert (address.account, address.name) == ("123456789012", "q.fifo")
    with pytest.raises(ArnError, match="expected an ARN"):
        parse_arn("bucket")
