"""What else a call needs when the data is encrypted with a customer's key: the services use the key as the caller.

Runs in the server process. Sources: S3 User Guide, "Using server-side encryption with AWS KMS keys"; SQS Developer
Guide, "Key management"; SNS Developer Guide, "Managing encryption keys". AWS's own keys (``alias/aws/...``) need no
permission.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from local_account.base.arns import last_part, object_place

if TYPE_CHECKING:
    from local_account.authority.documents import Documents
    from local_account.authority.resources import Demand

_S3_READS = {"s3:GetObject", "s3:GetObjectVersion"}
_SQS = {"sqs:SendMessage": ("kms:GenerateDataKey", "kms:Decrypt"), "sqs:ReceiveMessage": ("kms:Decrypt",)}
_SNS = {"sns:Publish": ("kms:GenerateDataKey", "kms:Decrypt")}


def key_demands(documents: Documents, demand: Demand) -> Iterator[Demand]:
    """The permissions on keys that an allowed demand brings with it."""
    from local_account.authority.resources import Demand

    service = demand.action.partition(":")[0]
    reader = _READERS.get(service)
    if reader is None:
        return
    for action, key in reader(documents, demand):
        arn = documents.key_arn(key) if key else None
        if arn is not None:
            context = {"kms:ViaService": f"{service}.{documents.region}.amazonaws.com", "aws:ViaAWSService": "true"}
            if service == "s3":
                context["kms:EncryptionContext:aws:s3:arn"] = _encryption_context(documents, demand.resource)
            yield Demand(action, arn, context)


def _encryption_context(documents: Documents, object_arn: str) -> str:
    """The object's ARN, or its bucket's where the bucket has a key (S3 User Guide, S3 Bucket Keys)."""
    from moto.s3.models import s3_backends

    name = object_place(object_arn).bucket
    bucket_arn = f"arn:aws:s3:::{name}"
    bucket = s3_backends[documents.account_id]["aws"].buckets.get(name)
    rule = bucket.encryption["Rule"] if bucket is not None and bucket.encryption else {}
    return bucket_arn if str(rule.get("BucketKeyEnabled")).lower() == "true" else object_arn


def _of_s3(documents: Documents, demand: Demand) -> Iterator[tuple[str, str | None]]:
    if demand.action not in _S3_READS and demand.action != "s3:PutObject":
        return
    from moto.s3.models import s3_backends

    place = object_place(demand.resource)
    bucket = s3_backends[documents.account_id]["aws"].buckets.get(place.bucket)
    if bucket is None:
        return
    if demand.action in _S3_READS:
        kept = bucket.keys.get(place.key)
        # What was removed from a bucket with versions leaves a marker, which nothing encrypts.
        if getattr(kept, "encryption", None) == "aws:kms":
            yield "kms:Decrypt", kept.kms_key_id
        return
    given = demand.context.get("s3:x-amz-server-side-encryption-aws-kms-key-id")
    algorithm = demand.context.get("s3:x-amz-server-side-encryption")
    if algorithm is None and bucket.encryption:
        default = bucket.encryption["Rule"]["ApplyServerSideEncryptionByDefault"]
        algorithm, given = default["SSEAlgorithm"], given or default.get("KMSMasterKeyID")
    if algorithm == "aws:kms":
        yield "kms:GenerateDataKey", str(given) if given else None


def _of_sqs(documents: Documents, demand: Demand) -> Iterator[tuple[str, str | None]]:
    from moto.sqs.models import sqs_backends

    queue = sqs_backends[documents.account_id][documents.region].queues.get(last_part(demand.resource))
    for action in _SQS.get(demand.action, ()):
        yield action, getattr(queue, "kms_master_key_id", None)


def _of_sns(documents: Documents, demand: Demand) -> Iterator[tuple[str, str | None]]:
    from moto.sns.models import sns_backends

    topic = sns_backends[documents.account_id][documents.region].topics.get(demand.resource)
    for action in _SNS.get(demand.action, ()):
        yield action, getattr(topic, "kms_master_key_id", None)


_READERS = {"s3": _of_s3, "sqs": _of_sqs, "sns": _of_sns}
