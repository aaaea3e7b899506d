"""Keys, secrets and parameters: what is disabled or was deleted is of no use, and what a parameter may hold."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount


@pytest.fixture
def name() -> str:
    return f"kept-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"Value": "b", "AllowedPattern": "^a+$"}, "ParameterPatternMismatchException"),
        ({"Value": "b", "AllowedPattern": "("}, "InvalidAllowedPatternException"),
        ({"Value": "x" * 4097}, "ValidationException"),
        ({"Value": "x" * 8193, "Tier": "Advanced"}, "ValidationException"),
        ({"Value": "x", "Tier": "Advanced", "Policies": '[{"Type":"Expiration"}]'}, "ValidationException"),
    ],
)  # fmt: skip
def test_a_parameter_s_value_is_looked_at(
    account: RunningAccount, name: str, request_: dict[str, Any], code: str
) -> None:
    ssm = account.client("ssm")
    with pytest.raises(ClientError) as refused:
        ssm.put_parameter(Name=name, Type="String", **request_)
    assert refused.value.response["Error"]["Code"] == code
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name=name)


def test_a_parameter_s_pattern_and_tier_stay(account: RunningAccount, name: str) -> None:
    ssm = account.client("ssm")
    ssm.put_parameter(Name=name, Value="aa", Type="String", AllowedPattern="^a+$")
    with pytest.raises(ssm.exceptions.ParameterPatternMismatchException):
        ssm.put_parameter(Name=name, Value="b", Overwrite=True)
    assert ssm.put_parameter(Name=name, Value="aaa", Overwrite=True)["Version"] == 2
    large = f"{name}-large"
    made = ssm.put_parameter(Name=large, Value="x" * 5000, Type="String", Tier="Intelligent-Tiering")
    assert made["Tier"] == "Advanced"
    assert ssm.put_parameter(Name=large, Value="y" * 6000, Overwrite=True)["Tier"] == "Advanced"


def test_a_deleted_secret_tells_and_takes_nothing_until_it_is_restored(account: RunningAccount, name: str) -> None:
    secrets = account.client("secretsmanager")
    arn = secrets.create_secret(Name=name, SecretString="x")["ARN"]
    secrets.delete_secret(SecretId=name)
    for identifier in (name, arn):
        for call, more in (
            (secrets.get_secret_value, {}),
            (secrets.put_secret_value, {"SecretString": "y"}),
            (secrets.update_secret, {"SecretString": "y"}),
            (secrets.tag_resource, {"Tags": [{"Key": "a", "Value": "b"}]}),
        ):
            with pytest.raises(secrets.exceptions.InvalidRequestException, match="it was marked for deletion"):
                call(SecretId=identifier, **more)
    with pytest.raises(secrets.exceptions.InvalidRequestException, match="already scheduled for deletion"):
        secrets.create_secret(Name=name, SecretString="z")
    assert secrets.describe_secret(SecretId=name)["DeletedDate"]
    secrets.restore_secret(SecretId=name)
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "x"


def code_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """How a call is refused; empty where it is not."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    return "", ""


@pytest.fixture
def key(account: RunningAccount) -> str:
    return str(account.client("kms").create_key()["KeyMetadata"]["KeyId"])


def uses(account: RunningAccount, key: str, ciphertext: bytes) -> dict[str, tuple[str, str]]:
    """How each use of a key ends."""
    kms, other = account.client("kms"), account.client("kms").create_key()["KeyMetadata"]["KeyId"]
    return {
        "encrypt": code_of(kms.encrypt, KeyId=key, Plaintext=b"x"),
        "decrypt": code_of(kms.decrypt, CiphertextBlob=ciphertext),
        "data key": code_of(kms.generate_data_key, KeyId=f"alias/of-{key}", KeySpec="AES_256"),
        "from": code_of(kms.re_encrypt, CiphertextBlob=ciphertext, DestinationKeyId=other),
        "to": code_of(
            kms.re_encrypt, CiphertextBlob=kms.encrypt(KeyId=other, Plaintext=b"y")["CiphertextBlob"],
            DestinationKeyId=key,
        ),
        "rotation": code_of(kms.enable_key_rotation, KeyId=key),
    }  # fmt: skip


def test_a_disabled_key_is_of_no_use_until_it_is_enabled(account: RunningAccount, key: str) -> None:
    kms = account.client("kms")
    kms.create_alias(AliasName=f"alias/of-{key}", TargetKeyId=key)
    ciphertext = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert set(uses(account, key, ciphertext).values()) == {("", "")}
    kms.disable_key(KeyId=key)
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    assert set(uses(account, key, ciphertext).values()) == {("DisabledException", f"{arn} is disabled.")}
    assert code_of(kms.tag_resource, KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]) == ("", "")
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=ciphertext)["Plaintext"] == b"x"


def test_a_key_that_waits_to_be_deleted_can_only_be_looked_at_and_kept(account: RunningAccount, key: str) -> None:
    kms = account.client("kms")
    kms.create_alias(AliasName=f"alias/of-{key}", TargetKeyId=key)
    ciphertext = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert code_of(kms.cancel_key_deletion, KeyId=key)[0] == "KMSInvalidStateException"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    said = ("KMSInvalidStateException", f"{arn} is pending deletion.")
    assert set(uses(account, key, ciphertext).values()) == {said}
    for call, more in (
        (kms.enable_key, {}),
        (kms.disable_key, {}),
        (kms.schedule_key_deletion, {}),
        (kms.update_key_description, {"Description": "x"}),
        (kms.tag_resource, {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
    ):
        assert code_of(call, KeyId=key, **more) == said
    assert code_of(kms.create_alias, AliasName=f"alias/late-{key}", TargetKeyId=key) == said
    assert code_of(kms.get_key_policy, KeyId=key, PolicyName="default") == ("", "")
    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def test_what_another_key_encrypted_is_told_apart(account: RunningAccount, key: str) -> None:
    kms = account.client("kms")
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    ciphertext = kms.encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]
    assert code_of(kms.decrypt, CiphertextBlob=ciphertext, KeyId=key)[0] == "IncorrectKeyException"
    assert code_of(kms.decrypt, CiphertextBlob=b"no such thing")[0] == "InvalidCiphertextException"


def test_what_a_key_protects_is_out_of_reach_while_the_key_is(account: RunningAccount, key: str, name: str) -> None:
    kms, sqs, secrets = account.client("kms"), account.client("sqs"), account.client("secretsmanager")
    queue = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    secrets.create_secret(Name=name, SecretString="x", KmsKeyId=key)
    kms.disable_key(KeyId=key)
    assert code_of(sqs.send_message, QueueUrl=queue, MessageBody="y")[0] == "KmsDisabled"
    assert code_of(sqs.receive_message, QueueUrl=queue)[0] == "KmsDisabled"
    assert code_of(secrets.get_secret_value, SecretId=name)[0] == "DecryptionFailure"
    assert code_of(secrets.put_secret_value, SecretId=name, SecretString="y")[0] == "EncryptionFailure"
    assert code_of(secrets.create_secret, Name=f"{name}-2", SecretString="y", KmsKeyId="alias/none")[0] == (
        "EncryptionFailure"
    )
    kms.enable_key(KeyId=key)
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "x"
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "x"
