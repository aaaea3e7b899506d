"""Parts of the stand-in account that need no server: errors on the wire, templates, state files, children."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import botocore.parsers
import botocore.session
import psutil
import pytest

from local_account.base import reaper
from local_account.base.archives.tars import ArchiveError, extract_tar
from local_account.base.children import Children
from local_account.base.errors import REST_XML, AccountError, aws_error, protocol_of
from local_account.base.snapshots import Snapshots
from local_account.cloudformation.resources.values import ResourceError, fit
from local_account.functions.runtime_api import RuntimeApiServer
from local_account.functions.workers import Worker, WorkerPlan
from local_account.moto_bridge.state_pickle import StateRefusedError, dumps, loads
from local_account.moto_services.object_files import ObjectFiles

REQUESTS = {
    "json": {"HTTP_X_AMZ_TARGET": "T.A", "CONTENT_TYPE": "application/x-amz-json-1.1"},
    "query": {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"},
    "ec2": {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"},
    "smithy-rpc-v2-cbor": {"HTTP_SMITHY_PROTOCOL": "rpc-v2-cbor", "CONTENT_TYPE": "application/cbor"},
    "rest-json": {},
    "rest-xml": {},
}


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ssm", "GetParameter"),
        ("sns", "ListTopics"),
        ("ec2", "DescribeInstances"),
        ("cloudwatch", "ListMetrics"),
        ("lambda", "ListFunctions"),
        ("s3", "ListBuckets"),
        ("route53", "ListHostedZones"),
        ("cloudfront", "ListDistributions"),
    ],
)
@pytest.mark.parametrize("message", ["short", "a < b & 'c' ü", "long " * 100])
def test_botocores_own_parser_reads_our_errors(service: str, operation: str, message: str) -> None:
    model = botocore.session.get_session().get_service_model(service)
    protocol = model.metadata["protocol"]
    signing_name = model.signing_name
    answer = aws_error(REQUESTS[protocol], signing_name, "SomeCode", message, 418)
    response = {"body": answer.body, "headers": dict(answer.headers), "status_code": 418}
    response["headers"] = {name.lower(): value for name, value in answer.headers}
    parser = botocore.parsers.create_parser(protocol)
    parsed = parser.parse(response, model.operation_model(operation).output_shape)
    assert parsed["Error"]["Code"] == "SomeCode"
    assert parsed["Error"]["Message"] == message


def test_services_with_xml_bodies_are_the_ones_that_botocore_knows() -> None:
    session = botocore.session.get_session()
    for service in ("s3", "route53", "cloudfront", "lambda", "batch", "scheduler"):
        model = session.get_service_model(service)
        expected = "rest-xml" if model.signing_name in REST_XML else "rest-json"
        assert model.metadata["protocol"] == expected == protocol_of({}, model.signing_name)


# State files.


def test_moto_objects_survive_with_what_cannot_be_kept_made_anew() -> None:
    from moto.s3.utils import _VersionedKeyStore
    from moto.ssm.models import ParameterDict

    versions = _VersionedKeyStore()
    versions["key"] = "first"
    versions["key"] = "second"
    parameters = ParameterDict("123456789012", "us-east-1")
    value = {
        "versions": versions,
        "parameters": parameters,
        "lock": threading.Lock(),
        "condition": threading.Condition(),
        "thread": threading.Thread(),
        "default": defaultdict(list, {"a": [1]}),
        "callback": lambda: None,
    }
    back = loads(dumps(value, {}), "here")
    assert back["versions"].getlist("key") == ["first", "second"]
    assert type(back["parameters"]) is ParameterDict
    assert back["default"]["b"] == []
    assert back["thread"] is None
    assert back["callback"] is None
    with back["lock"], back["condition"]:
        pass


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize(
    "hostile",
    [
        pickle.dumps(Runs(os.system, "true")),
        pickle.dumps(Runs(eval, "1")),
        pickle.dumps(Runs(getattr, "", "join")),
        b"cmoto.core.utils\nos.system\n(S'true'\ntR.",
        b"\x80\x04\x8c\x10moto.core.models\x8c\x09os.system\x93.",
        b"clocal_account.state_pickle\nloads\n.",
        b"caccount_state\nos.system\n.",
        b"clocal_account.base.children\nsubprocess.Popen\n.",
        b"not a pickle",
        b"",
    ],
)
def test_a_state_file_may_name_nothing_else(hostile: bytes) -> None:
    with pytest.raises(AccountError, match="the state file here cannot be read"):
        loads(hostile, "here")


def test_a_state_file_cannot_have_a_constructor_run(tmp_path: Path) -> None:
    from moto.awslambda.models import LambdaFunction

    plan = Runs(WorkerPlan, "name", "1", tmp_path, {}, ("/bin/sh", "-c", f"touch {tmp_path}/ran"), 1.0)
    with pytest.raises(AccountError, match="has no place in a state file"):
        loads(pickle.dumps(Runs(Worker, plan, Runs(RuntimeApiServer), Runs(Children))), "here")
    made = loads(pickle.dumps(Runs(LambdaFunction, "123456789012", {"FunctionName": "made"}, "us-east-1")), "here")
    assert vars(made) == {}
    changed = b"cmoto.awslambda.models\nLambdaFunction\n(N}S'hash_of'\nI1\nstb."
    loads(changed, "here")
    assert not hasattr(LambdaFunction, "hash_of")
    assert not (tmp_path / "ran").exists()


def test_what_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(StateRefusedError, match="Popen"):
        dumps({"process": subprocess.Popen.__new__(subprocess.Popen)}, {})


def test_a_snapshot_is_whole_or_not_at_all(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    contents = [b"first"]

    def dump() -> bytes:
        if not contents:
            raise RuntimeError("dictionary changed size during iteration")
        return contents.pop()

    snapshots.register("service", dump, lambda _content: None)
    snapshots.mark_dirty("service")
    snapshots.write()
    snapshots.mark_dirty("service")
    snapshots.write()  # fails, and is due again
    assert (tmp_path / "service").read_bytes() == b"first"
    contents.append(b"second")
    snapshots.write()
    assert (tmp_path / "service").read_bytes() == b"second"
    loaded: list[bytes] = []
    Snapshots(tmp_path).register("service", dump, loaded.append)
    assert loaded == [b"second"]


def test_a_service_that_never_rests_is_written(tmp_path: Path) -> None:
    snapshots, items, stop = Snapshots(tmp_path), {str(number): number for number in range(100_000)}, threading.Event()

    def change() -> None:
        while not stop.is_set():
            items[threading.current_thread().name] = 1  # and gone again: it never rests, yet stays writable
            del items[threading.current_thread().name]

    def dump() -> bytes:
        return json.dumps({key: value for key, value in items.items() if value >= 0}).encode()

    snapshots.register("service", dump, lambda _content: None)
    snapshots.mark_dirty("service")
    writers = [threading.Thread(target=change) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        snapshots.write()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert (tmp_path / "service").is_file()
    assert snapshots.unsaved_s() == 0.0


def test_further_changes_wait_while_too_much_is_unwritten(tmp_path: Path) -> None:
    snapshots, written = Snapshots(tmp_path), threading.Event()

    def dump() -> bytes:
        written.wait(300)
        return b"kept"

    snapshots.register("service", dump, lambda _content: None)
    snapshots.mark_dirty("service")
    snapshots.mark_dirty("a service that keeps nothing")
    writer = threading.Thread(target=snapshots.write)
    writer.start()
    while not snapshots.is_behind():
        time.sleep(0.01)
    assert snapshots.loss_s() >= snapshots.unsaved_s() - 0.01
    held = threading.Thread(target=snapshots.hold_back)
    held.start()
    held.join(0.1)
    assert held.is_alive()
    written.set()
    held.join()
    writer.join()
    assert snapshots.unsaved_s() == 0.0
    assert not snapshots.is_behind()


def test_a_change_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    snapshots, begun, written = Snapshots(tmp_path, durable=True), threading.Event(), threading.Event()

    def dump() -> bytes:
        begun.set()
        written.wait(300)
        return b"kept"

    snapshots.register("service", dump, lambda _content: None)
    snapshots.mark_dirty("service")
    writer = threading.Thread(target=snapshots.write)
    writer.start()
    begun.wait(300)
    committed = threading.Thread(target=snapshots.commit, args=("service",))
    committed.start()
    committed.join(0.1)
    assert committed.is_alive()
    written.set()
    committed.join()
    writer.join()
    assert (tmp_path / "service").read_bytes() == b"kept"


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def _long_links(outside: Path) -> list[tarfile.TarInfo]:
    """The archive of CVE-2025-4517: links whose end is too far away for the system to be asked about it."""
    members, path, steps = [], "", "abcdefghijklmnop"
    for step in steps:
        members.append(_member(f"{path}{'d' * 247}", tarfile.DIRTYPE))
        members.append(_member(f"{path}{step}", tarfile.SYMTYPE, "d" * 247))
        path += "d" * 247 + "/"
    link = "/".join(steps) + "/" + "l" * 254
    members.append(_member(link, tarfile.SYMTYPE, "../" * len(steps)))
    members.append(_member("escape", tarfile.SYMTYPE, f"{link}/..{'/..' * 8}{outside}"))
    return [*members, _member("escape/written")]


@pytest.mark.parametrize(
    "members",
    [
        [_member("/absolute/../../outside/written")],
        [_member("../outside/written")],
        [_member("link", tarfile.SYMTYPE, "../outside"), _member("link/written")],
        [_member("link", tarfile.SYMTYPE, "."), _member("link/written")],
        [_member("link", tarfile.SYMTYPE, "written"), _member("link")],
        [_member("link", tarfile.LNKTYPE, "../outside/there")],
        [_member("device", tarfile.CHRTYPE)],
        [_member("pipe", tarfile.FIFOTYPE)],
        None,
    ],
)
def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path, members: list[tarfile.TarInfo] | None) -> None:
    outside, folder, archive = tmp_path / "outside", tmp_path / "folder", tmp_path / "archive.tar"
    outside.mkdir()
    (outside / "there").touch()
    with tarfile.open(archive, "w") as tar:
        for member in members or _long_links(outside):
            tar.addfile(member)
    with pytest.raises(ArchiveError, match=r"cannot be extracted|leads through"):
        extract_tar(archive, folder)
    assert [path.name for path in outside.iterdir()] == ["there"]


def test_links_inside_an_archive_are_kept(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        for member in (
            _member("a/file"),
            _member("a/link", tarfile.SYMTYPE, "file"),
            _member("b", tarfile.LNKTYPE, "a/file"),
        ):
            tar.addfile(member)
    extract_tar(archive, tmp_path / "folder")
    assert (tmp_path / "folder/a/link").readlink() == Path("file")
    assert (tmp_path / "folder/b").is_file()


def test_a_service_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    snapshots, failing = Snapshots(tmp_path / "services"), [True]

    def dump() -> bytes:
        if failing:
            raise OSError("the disk is full")
        return b"kept"

    snapshots.register("service", dump, lambda _: None)
    snapshots.mark_dirty("service")
    snapshots.write()
    failing.clear()
    snapshots.write()
    assert (tmp_path / "services" / "service").read_bytes() == b"kept"


def test_room_is_kept_before_the_first_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = Snapshots(tmp_path / "services")
    snapshots.keep_room()
    assert (tmp_path / "services/.reserve").stat().st_size > 0
    assert snapshots.trouble() == ""

    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    without = Snapshots(tmp_path / "others")
    without.keep_room()
    assert "No space left on device" in without.trouble(), "so that no change is acknowledged"


def test_objects_are_addressed_by_content_only(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    digest = files.write(b"content")
    assert files.write(b"content") == digest
    assert files.read(digest, 3, 2) == b"te"
    other = files.write(b"other")
    files.collect_garbage({digest})
    assert files.path(digest).is_file()
    assert not files.path(other).exists()
    with pytest.raises(ValueError, match="SHA-256"):
        files.path("../../etc/passwd")


# Children.


def test_a_child_and_its_own_children_end_together() -> None:
    children = Children()
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    process = children.start([sys.executable, "-c", code + "time.sleep(60)"], environment={})
    deadline = time.monotonic() + 300
    while not (tree := psutil.Process(process.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children.stop_all()
    assert process.returncode is not None
    _, alive = psutil.wait_procs(tree, timeout=300)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_the_sweep_ends_what_was_noted_and_nothing_that_took_its_number(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    noted = subprocess.Popen(sleeper, start_new_session=True)
    innocent = subprocess.Popen(sleeper, start_new_session=True)
    reaper.record(tmp_path, noted.pid)
    (tmp_path / str(innocent.pid)).write_text("1.5", encoding="ascii")  # another process had this number before
    try:
        assert reaper.sweep(tmp_path) == [noted.pid]
        assert noted.wait(300) < 0
        assert innocent.poll() is None
        assert list(tmp_path.iterdir()) == []
    finally:
        innocent.kill()
        innocent.wait()


def test_properties_are_fitted_to_the_call() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    shape = model.operation_model("CreateFunction").input_shape
    fitted = fit(
        {
            "FunctionName": "f",
            "Timeout": "30",
            "Publish": "true",
            "Tags": [{"Key": "k", "Value": 1}],
            "Environment": {"Variables": {"FLAG": True, "DOCUMENT": {"a": 1}}},
        },
        shape,
        "",
    )
    assert fitted == {
        "FunctionName": "f",
        "Timeout": 30,
        "Publish": True,
        "Tags": {"k": "1"},
        "Environment": {"Variables": {"FLAG": "true", "DOCUMENT": json.dumps({"a": 1})}},
    }
    with pytest.raises(ResourceError, match="/Environment/Colour"):
        fit({"Environment": {"Colour": "red"}}, shape, "")
    with pytest.raises(ResourceError, match="/Timeout should be a integer"):
        fit({"Timeout": "soon"}, shape, "")
