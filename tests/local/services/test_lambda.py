"""Lambda of the stand-in account: deployed zips run, fail, time out and crash as they do on AWS."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.foreign_functions import Workshop, make_zip
from tests.local.queues import Queue

ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


def error_of(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_the_deployed_code_answers(shop: Workshop) -> None:
    name = shop.function("def handler(event, context):\n    return {'twice': event['n'] * 2, 'text': 'é'}\n")
    payload, answer = shop.invoke(name, {"n": 21})
    assert payload == {"twice": 42, "text": "é"}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer


def test_an_empty_payload_is_an_empty_event(shop: Workshop) -> None:
    assert shop.invoke(shop.function(ECHO))[0] == {}


def test_the_context_tells_about_the_invocation(shop: Workshop) -> None:
    code = """
def handler(event, context):
    left = context.get_remaining_time_in_millis()
    return [context.function_name, context.function_version, context.invoked_function_arn, context.memory_limit_in_mb,
            context.log_group_name, context.aws_request_id, 0 < left <= 5000, "[$LATEST]" in context.log_stream_name]
"""
    name = shop.function(code, Timeout=5, MemorySize=256)
    payload, answer = shop.invoke(name)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert payload == [name, "$LATEST", shop.arn(name), "256", f"/aws/lambda/{name}", request_id, True, True]


def test_a_function_sees_its_environment_and_nothing_of_the_server(shop: Workshop) -> None:
    name = shop.function(
        "import os\ndef handler(event, context):\n    return dict(os.environ)\n",
        Environment={"Variables": {"MINE": "1"}},
    )
    environment, _ = shop.invoke(name)
    assert environment["MINE"] == "1"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert environment["_HANDLER"] == "main.handler"
    assert environment["AWS_ENDPOINT_URL"] == shop.account.endpoint_url
    foreign = {
        variable
        for variable in environment
        if not variable.startswith(("AWS_", "LAMBDA_", "LC_")) and variable not in {"MINE", "_HANDLER"}
    }
    assert foreign <= {"PATH", "LANG", "TZ"}
    assert set(os.environ) - foreign - set(environment)


@pytest.mark.parametrize("module", ["scones", "local_account", "moto", "numpy", "PIL"])
def test_packages_beside_the_account_cannot_be_imported(shop: Workshop, module: str) -> None:
    payload, answer = shop.invoke(shop.function(f"import {module}\n" + ECHO))
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert payload["errorMessage"] == f"Unable to import module 'main': No module named '{module}'"


def test_boto3_reaches_the_account(shop: Workshop) -> None:
    code = """
import boto3
def handler(event, context):
    return [role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]]
"""
    assert "foreign" in shop.invoke(shop.function(code, Timeout=20))[0]


def test_layers_are_found(shop: Workshop) -> None:
    client = shop.account.client("lambda")
    layers = [
        client.publish_layer_version(LayerName=name, Content={"ZipFile": make_zip({path: f"VALUE = '{name}'"})})
        for name, path in (
            ("flat", "python/in_flat.py"),
            ("deep", "python/lib/python3.12/site-packages/in_deep.py"),
        )
    ]
    name = shop.function(
        "import in_flat, in_deep\ndef handler(event, context):\n    return in_flat.VALUE + in_deep.VALUE\n",
        Layers=[layer["LayerVersionArn"] for layer in layers],
    )
    assert shop.invoke(name)[0] == "flatdeep"


POWERTOOLS = "arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python312-x86_64:27"
USES_POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics
metrics = Metrics(namespace="Shop", service="till")
logger = Logger(service="till")
@metrics.log_metrics
@logger.inject_lambda_context
def handler(event, context):
    for value in event["values"]:
        metrics.add_metric(name="Takings", unit="Count", value=value)
    logger.info("counted", till=context.function_name)
"""


def test_the_layer_of_powertools_holds_it_and_its_metrics_reach_cloudwatch(shop: Workshop) -> None:
    name = shop.function(USES_POWERTOOLS, Layers=[POWERTOOLS])
    _, answer = shop.invoke(name, {"values": [2, 3.5]}, LogType="Tail")
    assert "FunctionError" not in answer, base64.b64decode(answer["LogResult"]).decode()
    shop.invoke(name, {"values": [4]})
    lines = shop.log_of(f"/aws/lambda/{name}", '"counted"', times=2)
    logged = [json.loads(line) for line in lines if '"counted"' in line]
    assert [line["till"] for line in logged] == [name, name]
    assert metric_sum(shop, "Takings", {"service": "till"}, namespace="Shop") == 9.5
    configuration = shop.account.client("lambda").get_function_configuration(FunctionName=name)
    assert [layer["Arn"] for layer in configuration["Layers"]] == [POWERTOOLS]


@pytest.mark.parametrize(
    "line",
    [
        '{"_aws": {}}',
        '{"_aws": {"CloudWatchMetrics": [{"Namespace": "Shop", "Dimensions": [["x"]], "Metrics": [{"Name": "m"}]}]}}',
        '{"_aws": broken',
    ],
)
def test_a_line_that_only_looks_like_a_metric_stays_a_line(shop: Workshop, line: str) -> None:
    name = shop.function(f"def handler(event, context):\n    print({line!r})\n    return 1\n")
    assert shop.invoke(name)[0] == 1
    assert line in shop.log_of(f"/aws/lambda/{name}", "_aws")


def test_a_layer_of_another_account_is_refused(shop: Workshop) -> None:
    layer = "arn:aws:lambda:us-east-1:770693421928:layer:Klayers-p312-Pillow:4"
    with pytest.raises(ClientError, match=r"cannot fetch the layer .* of account 770693421928: publish its zip here"):
        shop.function(ECHO, Layers=[layer])


def test_a_worker_is_reused(shop: Workshop) -> None:
    name = shop.function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return count\n"
    )
    assert [shop.invoke(name)[0] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("class Odd(Exception): pass\ndef handler(e, c):\n    raise Odd('why')\n", "Odd", "why"),
        ("import nowhere\n", "Runtime.ImportModuleError", "Unable to import module 'main': No module named 'nowhere'"),
        ("x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'main'"),
        ("def handler(:\n", "Runtime.UserCodeSyntaxError",
         "Syntax error in module 'main': invalid syntax (main.py, line 1)"),
        ("1 / 0\n", "ZeroDivisionError", "division by zero"),
        ("def handler(e, c):\n    return {1}\n", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
        ("def handler(e, c):\n    return 'x' * 6291600\n", "Function.ResponseSizeTooLarge",
         "Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
    ],
)  # fmt: skip
def test_failures_of_the_function(shop: Workshop, code: str, error_type: str, message: str) -> None:
    payload, answer = shop.invoke(shop.function(code))
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == (error_type, message)


def test_an_exception_carries_its_trace(shop: Workshop) -> None:
    payload, answer = shop.invoke(
        shop.function("def inner():\n    return 1 / 0\ndef handler(e, c):\n    return inner()\n")
    )
    assert payload["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert payload["stackTrace"] == [
        '  File "/var/task/main.py", line 4, in handler\n    return inner()\n',
        '  File "/var/task/main.py", line 2, in inner\n    return 1 / 0\n',
    ]


def test_the_latest_version_is_not_deleted_alone(shop: Workshop) -> None:
    name = shop.function(ECHO)
    delete = shop.account.client("lambda").delete_function
    code, message = error_of(delete, FunctionName=name, Qualifier="$LATEST")
    assert (code, "$LATEST version cannot be deleted" in message) == ("InvalidParameterValueException", True)
    assert shop.invoke(name, {"still": "there"})[0] == {"still": "there"}


def test_bytes_are_text_in_the_payload(shop: Workshop) -> None:
    code = "import base64\ndef handler(e, c):\n    return {'image_data': base64.b64encode(b'hello')}\n"
    assert shop.invoke(shop.function(code))[0] == {"image_data": "aGVsbG8="}


def test_a_function_that_logs_in_json_writes_an_object_a_line(shop: Workshop) -> None:
    code = (
        "import logging\ndef handler(e, c):\n    logging.getLogger().warning('%s left', 3, extra={'kind': 'scone'})\n"
    )
    name = shop.function(code, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"})
    _, answer = shop.invoke(name, LogType="Tail")
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    (line,) = [json.loads(each) for each in lines if '"kind"' in each]
    assert (line["level"], line["message"], line["kind"]) == ("WARNING", "3 left", "scone")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("import sys; sys.exit(3)", "Runtime exited with error: exit status 3"),
        ("import os; os._exit(0)", "Runtime exited without providing a reason"),
        ("import os; os.abort()", "Runtime exited with error: signal: aborted"),
        ("import ctypes; ctypes.string_at(0)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_an_exit_error_and_the_next_call_works(shop: Workshop, statement: str, reason: str) -> None:
    name = shop.function(
        f"def handler(event, context):\n    if event.get('crash'):\n        {statement}\n    return 'fine'\n"
    )
    assert shop.invoke(name, {})[0] == "fine"
    payload, answer = shop.invoke(name, {"crash": True})
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"] == f"RequestId: {answer['ResponseMetadata']['RequestId']} Error: {reason}"
    assert shop.invoke(name, {})[0] == "fine"


def test_a_time_out_ends_the_worker_and_what_it_started(shop: Workshop, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
import subprocess, time
def handler(event, context):
    child = subprocess.Popen(["sleep", "60"])
    open({str(pid_file)!r}, "w").write(str(child.pid))
    time.sleep(60)
"""
    started = time.monotonic()
    payload, answer = shop.invoke(shop.function(code, Timeout=2))
    assert 2 <= time.monotonic() - started < 60, "the answer came before the limit, or only when the function was done"
    assert answer["FunctionError"] == "Unhandled"
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 2.00 seconds",
    }
    status = Path(f"/proc/{pid_file.read_text()}/status")
    deadline = started + 60
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < deadline, "what the function started goes on"
        time.sleep(0.05)


def test_the_log_has_the_lines_of_an_invocation(shop: Workshop) -> None:
    code = """
import logging
print("at import")
def handler(event, context):
    print("printed")
    logging.getLogger().setLevel("INFO")
    logging.info("logged %s", 1)
    import subprocess; subprocess.run(["echo", "by a child"])
    raise ValueError("bad")
"""
    name = shop.function(code)
    _, answer = shop.invoke(name, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    tail = base64.b64decode(answer["LogResult"]).decode().split("\n")
    messages = shop.log_of(f"/aws/lambda/{name}", "REPORT")
    assert messages == tail
    assert messages[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert messages[1:3] == ["at import", "printed"]
    level, _, logged_id, text = messages[3].split("\t")
    assert (level, logged_id, text) == ("[INFO]", request_id, "logged 1")
    assert messages[4] == "by a child"
    assert messages[5].startswith("[ERROR] ValueError: bad\rTraceback (most recent call last):\r")
    assert messages[6] == f"END RequestId: {request_id}"
    assert messages[7].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    assert 5 < int(messages[7].split("Max Memory Used: ")[1].split()[0]) < 100


def test_metrics_are_counted(shop: Workshop) -> None:
    name = shop.function("def handler(event, context):\n    return 1 / event['n']\n")
    shop.invoke(name, {"n": 1})
    shop.invoke(name, {"n": 0})
    sums = {metric: metric_sum(shop, metric, {"FunctionName": name}) for metric in ("Invocations", "Errors")}
    assert sums == {"Invocations": 2.0, "Errors": 1.0}


def metric_sum(shop: Workshop, metric: str, dimensions: dict[str, str], namespace: str = "AWS/Lambda") -> float:
    time.sleep(0.6)
    now = time.time()
    answer = shop.account.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - 120,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def test_eight_calls_run_at_once(shop: Workshop, tmp_path: Path) -> None:
    """Each waits for all others."""
    name = shop.function(
        "import os, time\n"
        "def handler(folder, context):\n"
        "    open(f'{folder}/{os.getpid()}', 'w').close()\n"
        "    while len(os.listdir(folder)) < 8:\n"
        "        time.sleep(0.02)\n"
        "    return os.getpid()\n",
        Timeout=60,
    )
    with ThreadPoolExecutor(8) as threads:
        workers = list(threads.map(lambda _: shop.invoke(name, str(tmp_path))[0], range(8)))
    assert sorted(map(str, workers)) == sorted(path.name for path in tmp_path.iterdir())


def test_a_burst_of_short_calls_starts_few_workers(shop: Workshop) -> None:
    """A start takes a second: as few as the calls can use meanwhile, however slow the machine is otherwise."""
    name = shop.function("import os, time\ntime.sleep(1)\ndef handler(event, context):\n    return os.getpid()\n")
    with ThreadPoolExecutor(8) as threads:
        workers = list(threads.map(lambda _: shop.invoke(name)[0], range(40)))
    assert len(set(workers)) < 8


def test_reserved_concurrency_throttles(shop: Workshop) -> None:
    name = shop.function(ECHO)
    client = shop.account.client("lambda")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert error_of(client.invoke, FunctionName=name) == ("TooManyRequestsException", "Rate Exceeded.")
    client.delete_function_concurrency(FunctionName=name)
    assert shop.invoke(name, 1)[0] == 1


def test_an_update_reaches_the_next_call(shop: Workshop) -> None:
    name = shop.function(ECHO)
    client = shop.account.client("lambda")
    assert shop.invoke(name, 1)[0] == 1
    new = "import os\ndef handler(event, context):\n    return os.environ.get('VALUE')\n"
    client.update_function_code(FunctionName=name, ZipFile=make_zip({"main.py": new}))
    assert shop.invoke(name, 1)[0] is None
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"VALUE": "2"}})
    assert shop.invoke(name, 1)[0] == "2"


def test_versions_and_aliases_keep_their_code(shop: Workshop) -> None:
    name = shop.function(
        "def handler(event, context):\n    return [1, context.invoked_function_arn, context.function_version]\n"
    )
    client = shop.account.client("lambda")
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    client.update_function_code(FunctionName=name, ZipFile=make_zip({"main.py": "def handler(e, c):\n    return 2\n"}))
    assert shop.invoke(name)[0] == 2
    payload, answer = shop.invoke(name, Qualifier="live")
    assert payload == [1, f"{shop.arn(name)}:live", version]
    assert answer["ExecutedVersion"] == version


def test_what_cannot_be_invoked_is_refused(shop: Workshop) -> None:
    client = shop.account.client("lambda")
    code, message = error_of(client.invoke, FunctionName="nobody")
    assert (code, "nobody" in message) == ("ResourceNotFoundException", True)
    node = shop.function(ECHO, Runtime="nodejs20.x")
    code, message = error_of(client.invoke, FunctionName=node)
    assert (code, "nodejs20.x" in message) == ("InvalidRuntimeException", True)
    echo = shop.function(ECHO)
    assert error_of(client.invoke, FunctionName=echo, Payload=b"{")[0] == "InvalidRequestContentException"
    assert error_of(client.invoke, FunctionName=echo, Payload=b"1" * 6_300_000)[0] == "RequestTooLargeException"
    assert client.invoke(FunctionName=echo, InvocationType="DryRun")["StatusCode"] == 204


@pytest.mark.parametrize("name", ["../out.py", "/tmp/out.py"])
def test_a_zip_that_would_write_elsewhere_is_refused(shop: Workshop, name: str) -> None:
    code = {"ZipFile": make_zip({"main.py": ECHO, name: "1"})}
    error, message = error_of(shop.function, code="", Code=code)
    assert (error, name in message) == ("InvalidParameterValueException", True)


@pytest.mark.parametrize("name", ["../up", "a/b", "a\nb", "n" * 65])
def test_a_name_that_aws_refuses_is_refused(shop: Workshop, name: str) -> None:
    request = {"Runtime": "python3.11", "Role": shop.role, "Handler": "main.handler"}
    code = {"ZipFile": make_zip({"main.py": ECHO})}
    with pytest.raises(ClientError) as raised:
        shop.account.client("lambda").create_function(FunctionName=name, Code=code, **request)
    assert raised.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("n" * 300,)])
def test_a_zip_that_cannot_be_unpacked_is_refused(shop: Workshop, names: tuple[str, ...]) -> None:
    code = {"ZipFile": make_zip(dict.fromkeys(names, "1"))}
    assert error_of(shop.function, code="", Code=code)[0] == "InvalidParameterValueException"


def test_bytes_that_are_no_zip_are_refused_and_an_update_changes_nothing(shop: Workshop) -> None:
    assert error_of(shop.function, code="", Code={"ZipFile": b"no zip"})[0] == "InvalidParameterValueException"
    name = shop.function(ECHO)
    client = shop.account.client("lambda")
    before = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    assert error_of(client.update_function_code, FunctionName=name, ZipFile=b"x")[0] == "InvalidParameterValueException"
    assert client.get_function_configuration(FunctionName=name)["CodeSha256"] == before
    assert shop.invoke(name, 1)[0] == 1


def test_missing_code_in_s3_is_refused(shop: Workshop) -> None:
    shop.account.client("s3").create_bucket(Bucket="foreign-code")
    code = {"S3Bucket": "foreign-code", "S3Key": "missing.zip"}
    assert error_of(shop.function, code="", Code=code)[0] == "InvalidParameterValueException"


def test_reserved_variables_are_refused(shop: Workshop) -> None:
    error, message = error_of(shop.function, code=ECHO, Environment={"Variables": {"AWS_REGION": "x"}})
    assert (error, message.endswith("request: AWS_REGION")) == ("InvalidParameterValueException", True)


def test_event_source_mappings_are_refused(shop: Workshop) -> None:
    client = shop.account.client("lambda")
    arn = "arn:aws:sqs:us-east-1:123456789012:queue"
    error = error_of(client.create_event_source_mapping, FunctionName=shop.function(ECHO), EventSourceArn=arn)
    assert error[0] == "InvalidParameterValueException"


def test_an_event_is_tried_three_times_then_reported(shop: Workshop, tmp_path: Path) -> None:
    failed = Queue(shop.account, "foreign-failed")
    dead = Queue(shop.account, "foreign-dead")
    tries = tmp_path / "tries"
    code = f"def handler(event, context):\n    open({str(tries)!r}, 'a').write('x')\n    raise KeyError('never')\n"
    name = shop.function(code, DeadLetterConfig={"TargetArn": dead.arn})
    client = shop.account.client("lambda")
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": failed.arn}}
    )
    _, answer = shop.invoke(name, {"a": 1}, InvocationType="Event")
    assert answer["StatusCode"] == 202
    record = json.loads(failed.take()[0]["Body"])
    assert tries.read_text() == "xxx"
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert (record["requestPayload"], record["responsePayload"]["errorType"]) == ({"a": 1}, "KeyError")
    (letter,) = dead.take()
    assert json.loads(letter["Body"]) == {"a": 1}
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "'never'"
    assert letter["MessageAttributes"]["ErrorCode"] == {"DataType": "Number", "StringValue": "200"}
    changed = client.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in changed


def test_an_event_without_retries_goes_to_the_destination_of_success(shop: Workshop) -> None:
    queue = Queue(shop.account, "foreign-succeeded")
    name = shop.function("def handler(event, context):\n    return 'done'\n")
    shop.account.client("lambda").put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": {"Destination": queue.arn}}
    )
    shop.invoke(name, {}, InvocationType="Event")
    record = json.loads(queue.take()[0]["Body"])
    assert (record["requestContext"]["condition"], record["responsePayload"]) == ("Success", "done")


def test_a_topic_invokes_its_subscriber(shop: Workshop, tmp_path: Path) -> None:
    got = tmp_path / "got"
    code = f"def handler(event, context):\n    open({str(got)!r}, 'w').write(event['Records'][0]['Sns']['Message'])\n"
    sns = shop.account.client("sns")
    topic = sns.create_topic(Name="foreign-topic")["TopicArn"]
    function = shop.function(code)
    shop.account.client("lambda").add_permission(
        FunctionName=function,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=shop.arn(function))
    sns.publish(TopicArn=topic, Message="hello")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (got.exists() and got.read_text()):
        time.sleep(0.05)
    assert got.read_text() == "hello"


def test_file_modes_of_a_zip_are_kept(shop: Workshop) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("tool.sh")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, "#!/bin/sh\necho ran\n")
        archive.writestr(
            "main.py",
            "import subprocess\ndef handler(e, c):\n    return subprocess.check_output('./tool.sh').decode()\n",
        )
    assert shop.invoke(shop.function("", Code={"ZipFile": buffer.getvalue()}))[0] == "ran\n"


def test_a_stack_deploys_and_updates_a_function(shop: Workshop) -> None:
    client = shop.account.client("cloudformation")
    layer = shop.account.client("lambda").publish_layer_version(
        LayerName="of-a-stack", Content={"ZipFile": make_zip({"python/in_stack.py": "VALUE = 3"})}
    )["LayerVersionArn"]
    properties: dict[str, Any] = {
        "FunctionName": "foreign-of-a-stack",
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Role": shop.role,
        "Timeout": 9,
        "Layers": [layer],
        "Environment": {"Variables": {"VALUE": "1"}},
        "Code": {
            "ZipFile": "import os, in_stack\ndef handler(e, c):\n    return [os.environ.get('VALUE'), in_stack.VALUE]\n"
        },
    }
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    client.create_stack(StackName="foreign-stack", TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName="foreign-stack", WaiterConfig={"Delay": 1})
    assert shop.invoke("foreign-of-a-stack")[0] == ["1", 3]
    del properties["Environment"], properties["Layers"]
    properties["Code"] = {"ZipFile": "import os\ndef handler(e, c):\n    return os.environ.get('VALUE')\n"}
    client.update_stack(StackName="foreign-stack", TemplateBody=json.dumps(template))
    client.get_waiter("stack_update_complete").wait(StackName="foreign-stack", WaiterConfig={"Delay": 1})
    assert shop.invoke("foreign-of-a-stack")[0] is None
    client.delete_stack(StackName="foreign-stack")
    client.get_waiter("stack_delete_complete").wait(StackName="foreign-stack", WaiterConfig={"Delay": 1})
    assert error_of(shop.invoke, function="foreign-of-a-stack")[0] == "ResourceNotFoundException"


def test_functions_survive_a_crash_of_the_account(fresh_account: Callable[..., Any]) -> None:
    account = fresh_account()
    shop = Workshop(account)
    client = account.client("lambda")
    layer = client.publish_layer_version(LayerName="kept", Content={"ZipFile": make_zip({"python/kept.py": "V = 1"})})
    code = "import kept\ndef handler(event, context):\n    return [kept.V, context.function_version]\n"
    name = shop.function(code, Layers=[layer["LayerVersionArn"]])
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert shop.invoke(name)[0] == [1, "$LATEST"]
    time.sleep(1.5)  # the account saves what changed within a second
    account.kill()
    shop = Workshop(fresh_account(account.state_dir))
    assert shop.invoke(name)[0] == [1, "$LATEST"]
    assert shop.invoke(name, Qualifier="live")[0] == [1, version]
    shop.account.client("lambda").create_alias(FunctionName=name, Name="second", FunctionVersion=version)
    assert shop.invoke(f"{name}:second")[0] == [1, version]


def test_an_import_that_gets_on_is_waited_for_and_one_that_stands_still_is_not(shop: Workshop) -> None:
    """AWS gives the import ten seconds of a processor that nobody else uses."""
    slow = (
        "import time\nends = time.monotonic() + 12\n"
        "while time.monotonic() < ends:\n    sum(range(100_000))\n    time.sleep(0.05)\n"
        "def handler(event, context):\n    return 'imported'\n"
    )
    still = "import time\ntime.sleep(3600)\ndef handler(event, context):\n    return 'imported'\n"
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda code: shop.invoke(shop.function(code)), (slow, still)))
    assert answers[0][0] == "imported"
    assert answers[1][1]["FunctionError"] == "Unhandled"
    assert "Task timed out" in answers[1][0]["errorMessage"]
