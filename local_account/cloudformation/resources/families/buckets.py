"""S3 in stacks: buckets with their settings, and bucket policies. Runs in the server process."""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import ClientError

from local_account.base.arns import last_part
from local_account.base.wire.s3_names import is_bucket
from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, ResourceError, as_mapping, as_text, part, rows
from local_account.protocol.records import without


class Bucket(Kind):
    """AWS::S3::Bucket: one call makes it, one more for each setting."""

    has_tags = True
    name = "BucketName"
    replaced_by = frozenset({"ObjectLockEnabled"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the bucket in the account's region, then its settings.

        Raises ResourceError for a name that S3 does not take, and for a property that is not implemented.
        """
        self._check(properties)
        name = str(properties.get("BucketName") or place.generated_name(63, lower=True))
        if not is_bucket(name):
            raise ResourceError(f"The specified bucket is not valid. (Service: S3, Code: InvalidBucketName, {name!r})")
        region = place.account.region
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        call(place, "s3", "CreateBucket", {"Bucket": name, **where})
        place.begun(name)
        return self.update(place, name, {}, properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Set what differs, and take away what the template no longer has.

        Raises ResourceError for a setting that cannot be taken away.
        """
        self._check(new)
        if old.get("NotificationConfiguration") != new.get("NotificationConfiguration"):
            _demand_destinations(place, new)
        for setting, (operation, member, convert, remove) in _SETTINGS.items():
            if old.get(setting) == new.get(setting):
                continue
            if setting in new:
                call(place, "s3", operation, {"Bucket": physical_id, member: convert(new[setting])})
            elif remove:
                call(place, "s3", remove, {"Bucket": physical_id})
            else:
                raise ResourceError(f"Property {setting} cannot be taken away from bucket {physical_id}")
        domain = f"{physical_id}.s3.{place.account.region}.amazonaws.com"
        return Made(
            physical_id,
            {
                "Arn": f"arn:aws:s3:::{physical_id}",
                "DomainName": f"{physical_id}.s3.amazonaws.com",
                "RegionalDomainName": domain,
            },
        )

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the bucket; S3 refuses one that holds objects."""
        call_gone(place, "s3", "DeleteBucket", {"Bucket": physical_id})

    @staticmethod
    def _check(properties: Properties) -> None:
        if unknown := sorted(properties.keys() - _SETTINGS.keys() - {"BucketName", "ObjectLockEnabled"}):
            raise ResourceError(f"The stand-in account does not implement the property /{unknown[0]}")
        if properties.get("ObjectLockEnabled"):
            raise ResourceError("The stand-in account does not implement the property /ObjectLockEnabled")


class BucketPolicy(Kind):
    """AWS::S3::BucketPolicy."""

    replaced_by = frozenset({"Bucket"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give the bucket its policy; the resource goes by the bucket's name."""
        return self.update(place, str(properties["Bucket"]), {}, properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Replace the bucket's policy."""
        call(place, "s3", "PutBucketPolicy", {"Bucket": physical_id, "Policy": new["PolicyDocument"]})
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Take the policy from the bucket."""
        call_gone(place, "s3", "DeleteBucketPolicy", {"Bucket": physical_id})


def _encryption(value: object) -> dict[str, object]:
    rules = []
    for rule in rows(as_mapping(value, "BucketEncryption"), "ServerSideEncryptionConfiguration", required=True):
        default = {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
        rules.append(without(rule, "ServerSideEncryptionByDefault") | default)
    return {"Rules": rules}


def _lifecycle(value: object) -> dict[str, object]:
    return {
        "Rules": [
            _lifecycle_rule(rule) for rule in rows(as_mapping(value, "LifecycleConfiguration"), "Rules", required=True)
        ]
    }


def _lifecycle_rule(rule: Properties) -> dict[str, object]:
    moved: tuple[str, ...] = (
        "Id",
        "Prefix",
        "TagFilters",
        "ExpirationInDays",
        "ExpirationDate",
        "ExpiredObjectDeleteMarker",
    )
    moved += ("Transitions", "NoncurrentVersionExpirationInDays")
    made = without(rule, *moved)
    _demand_positive(rule, "ExpirationInDays", "Expiration")
    _demand_positive(rule, "NoncurrentVersionExpirationInDays", "NoncurrentVersionExpiration")
    tags = rows(rule, "TagFilters")
    if "Id" in rule:
        made["ID"] = rule["Id"]
    if len(tags) + ("Prefix" in rule) > 1:
        made["Filter"] = {"And": {"Prefix": rule.get("Prefix", ""), "Tags": tags}}
    else:
        made["Filter"] = {"Tag": tags[0]} if tags else {"Prefix": rule.get("Prefix", "")}
    marker = "ExpiredObjectDeleteMarker"
    names = {"ExpirationInDays": "Days", "ExpirationDate": "Date", marker: marker}
    if expiration := {names[name]: rule[name] for name in names if name in rule}:
        made["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in rule:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    if "Transitions" in rule:
        names = {"TransitionInDays": "Days", "TransitionDate": "Date", "StorageClass": "StorageClass"}
        made["Transitions"] = [{names[k]: v for k, v in each.items()} for each in rows(rule, "Transitions")]
    return made


def _demand_positive(rule: Properties, name: str, action: str) -> None:
    """Raises ResourceError for days that S3 refuses."""
    days = as_text(rule.get(name, 1))
    if not days.isdigit() or int(days) < 1:
        raise ResourceError(f"'Days' for {action} action must be a positive integer")


def _demand_destinations(place: StackPlace, properties: Properties) -> None:
    """Raises ResourceError for a function, queue or topic to be notified that is not there, as S3 does."""
    value = as_mapping(properties.get("NotificationConfiguration", {}), "NotificationConfiguration")
    account = place.account
    try:
        for each in rows(value, "LambdaConfigurations"):
            account.client("lambda").get_function_configuration(FunctionName=as_text(each["Function"]))
        for each in rows(value, "QueueConfigurations"):
            account.client("sqs").get_queue_url(QueueName=last_part(as_text(each["Queue"])))
        for each in rows(value, "TopicConfigurations"):
            account.client("sns").get_topic_attributes(TopicArn=as_text(each["Topic"]))
    except ClientError as error:
        raise ResourceError(f"Unable to validate the following destination configurations: {error}") from error


def _notification(given: object) -> dict[str, object]:
    names = {
        "LambdaConfigurations": ("LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        "QueueConfigurations": ("QueueConfigurations", "Queue", "QueueArn"),
        "TopicConfigurations": ("TopicConfigurations", "Topic", "TopicArn"),
    }
    value = as_mapping(given, "NotificationConfiguration")
    made: dict[str, object] = {}
    bridge = as_mapping(
        value.get("EventBridgeConfiguration", {"EventBridgeEnabled": False}), "EventBridgeConfiguration"
    )
    if as_text(bridge.get("EventBridgeEnabled", True)) == "true":
        made["EventBridgeConfiguration"] = {}
    for name, (member, target, arn) in names.items():
        entries = []
        for each in rows(value, name):
            entry: dict[str, object] = {arn: each[target], "Events": [each["Event"]]}
            if "Filter" in each:
                entry["Filter"] = {"Key": {"FilterRules": part(part(each, "Filter"), "S3Key")["Rules"]}}
            entries.append(entry)
        if entries:
            made[member] = entries
    return made


def _cors(value: object) -> dict[str, object]:
    names = {"MaxAge": "MaxAgeSeconds", "ExposedHeaders": "ExposeHeaders", "Id": "ID"}
    return {
        "CORSRules": [
            {names.get(k, k): v for k, v in rule.items()}
            for rule in rows(as_mapping(value, "CorsConfiguration"), "CorsRules", required=True)
        ]
    }


def _same(value: object) -> object:
    return value


# Property -> the call that sets it, the call's member, how the value is spelt there, and the call that takes it away.
_SETTINGS: dict[str, tuple[str, str, Callable[[object], object], str]] = {
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock",
        "PublicAccessBlockConfiguration",
        _same,
        "DeletePublicAccessBlock",
    ),
    "OwnershipControls": ("PutBucketOwnershipControls", "OwnershipControls", _same, "DeleteBucketOwnershipControls"),
    "BucketEncryption": (
        "PutBucketEncryption",
        "ServerSideEncryptionConfiguration",
        _encryption,
        "DeleteBucketEncryption",
    ),
    "VersioningConfiguration": ("PutBucketVersioning", "VersioningConfiguration", _same, ""),
    "LifecycleConfiguration": (
        "PutBucketLifecycleConfiguration",
        "LifecycleConfiguration",
        _lifecycle,
        "DeleteBucketLifecycle",
    ),
    "CorsConfiguration": ("PutBucketCors", "CORSConfiguration", _cors, "DeleteBucketCors"),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration",
        "NotificationConfiguration",
        _notification,
        "",
    ),
    "Tags": ("PutBucketTagging", "Tagging", lambda tags: {"TagSet": tags}, "DeleteBucketTagging"),
}
