"""What the optimised integrations add to a service's answer: SdkHttpMetadata and SdkResponseMetadata.

Runs in the server process. The headers of each service are those of recorded answers of AWS, in whose order they stand;
EventBridge adds none.
"""

from __future__ import annotations

import datetime
import uuid
import zlib
from collections.abc import Mapping
from email.utils import format_datetime

from local_account.stepfunctions.language.encoding import dumps

JSON = "application/x-amz-json-1.0"
KINDS = {"sns": "text/xml", "sagemaker": "application/x-amz-json-1.1"}
SNS_ANSWER_BYTES = 294  # of the XML around a message's id
_SERVICES = {"lambda", "sqs", "sns", "dynamodb", "states", "sagemaker"}


def with_metadata(service: str, answer: Mapping[str, object]) -> dict[str, object]:
    """The answer as a state sees it: with the metadata where the integration adds it, its members in order."""
    if service not in _SERVICES:
        return dict(answer)
    request = str(uuid.uuid4())
    headers = _headers(service, answer, request)
    metadata = {
        "AllHttpHeaders": {name: [value] for name, value in headers.items()},
        "HttpHeaders": {name: headers[name] for name in sorted(headers, key=str.lower)},
        "HttpStatusCode": 200,
    }
    told = {**answer, "SdkHttpMetadata": metadata, "SdkResponseMetadata": {"RequestId": request}}
    return {name: told[name] for name in sorted(told)}


def _headers(service: str, answer: Mapping[str, object], request: str) -> dict[str, str]:
    date = format_datetime(datetime.datetime.now(datetime.UTC), usegmt=True)
    if service == "lambda":
        return _function_headers(answer, request, date)
    size = str(SNS_ANSWER_BYTES if service == "sns" else len(dumps(answer).encode()))
    kind = KINDS.get(service, JSON)
    common = {"x-amzn-RequestId": request, "Content-Length": size, "Date": date, "Content-Type": kind}
    if service == "sns":
        return common
    if service == "dynamodb":
        checksum = str(zlib.crc32(dumps(answer).encode()))
        first = {"Server": "Server", "Connection": "keep-alive", "x-amzn-RequestId": request, "x-amz-crc32": checksum}
        return {**first, **{name: common[name] for name in ("Content-Length", "Date", "Content-Type")}}
    return {"x-amzn-RequestId": request, "connection": "keep-alive", **common}


def _function_headers(answer: Mapping[str, object], request: str, date: str) -> dict[str, str]:
    payload = answer.get("Payload")
    trace = f"root=1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]};parent={uuid.uuid4().hex[:16]};sampled=0"
    return {
        "X-Amz-Executed-Version": str(answer.get("ExecutedVersion", "$LATEST")),
        "x-amzn-Remapped-Content-Length": "0",
        "Connection": "keep-alive",
        "x-amzn-RequestId": request,
        "Content-Length": str(len(dumps(payload).encode())),
        "Date": date,
        "X-Amzn-Trace-Id": trace,
        "Content-Type": "application/json",
    }
