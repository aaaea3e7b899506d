"""Zips, tar archives and a container's output that were made to do harm: refused with a reason, in little memory."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local_account.base.archives.tars import ArchiveError, extract_tar, pack_tar
from local_account.base.archives.zips import ZipError, ZipLimits, extract_zip, spelled_otherwise
from local_account.containers.container_view import ContainerView, LinkError

LIMITS = ZipLimits(10 * 2**20, 1000)
# What the child needs to start and to import, and room for a piece of a file: the attacks need hundreds of MiB.
MAX_CHILD_MIB = 150
UNPACK = """
import resource, sys
from pathlib import Path
from local_account.base.archives.tars import ArchiveError, extract_tar
from local_account.base.archives.zips import ZipError, ZipLimits, extract_zip
from processing.dataset.archive import extract_archive
from reporting.job import JobError

archive, folder = Path(sys.argv[1]), Path(sys.argv[2])
try:
    if archive.suffix == ".zip":
        with archive.open("rb") as file:
            extract_zip(file, folder, ZipLimits(2 * 2**30, 1000))
    else:
        (extract_archive if archive.name.startswith("of-a-job") else extract_tar)(archive, folder)
except (ArchiveError, JobError, ZipError) as error:
    print(error)
if sys.platform == "darwin":
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20)
else:  # there the peak of getrusage includes that of the process which this one was forked from
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 2**10)
"""


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def encrypted() -> bytes:
    """A zip whose member says that it is encrypted."""
    content = bytearray(zipped(("secret.txt", b"x")))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def linked() -> bytes:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def compressed_otherwise() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"x")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (encrypted, "'secret.txt' encrypted: make it without a password"),
        (linked, "the symbolic link 'link'"),
        (compressed_otherwise, "method 14"),
        (lambda: zipped(("a", b"1"), ("a", b"2")), "holds 'a' twice"),
        (lambda: zipped(("a", b"1"), ("a/b", b"2")), "'a' as a file and as a folder"),
        (lambda: zipped(("a/b", b"1"), ("a", b"2")), "'a' as a file and as a folder"),
        (lambda: zipped(("a/" + "é" * 128, b"1")), "a name of 256 bytes"),
        (lambda: zipped(("/".join(["a" * 200] * 30), b"1")), "which cannot be written: File name too long"),
        (lambda: zipped(("a\nb", b"1")), "control characters"),
        (lambda: zipped(("../a", b"1")), "leads out of its folder"),
        (lambda: zipped(("/a", b"1")), "leads out of its folder"),
        (lambda: zipped(("a", bytes(11 * 2**20))), "11,534,336 bytes unpacked, more than 10,485,760"),
        (lambda: zipped(*((str(number), b"") for number in range(1001))), "1,001 files, more than 1,000"),
        (lambda: b"PK\x05\x06", "not a zip that can be read"),
        (lambda: zipped(("a", b"text" * 99))[:-40], "not a zip that can be read"),
        (lambda: zipped(("a", b"text" * 99)).replace(b"PK\x03\x04", b"PK\x03\x05"), "not a zip that can be read"),
    ],
)
def test_a_zip_is_refused_with_the_reason(tmp_path: Path, make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ZipError) as caught:
        extract_zip(io.BytesIO(make()), tmp_path / "folder", LIMITS)
    assert reason in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["folder"])


def test_a_zip_is_unpacked_with_its_permissions(tmp_path: Path) -> None:
    script = zipfile.ZipInfo("bin/run")
    script.external_attr = 0o100755 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("empty")
        archive.writestr(script, "#!/bin/sh\n")
        archive.writestr("Text", "a")
    extract_zip(buffer, tmp_path, LIMITS)
    assert os.access(tmp_path / "bin" / "run", os.X_OK)
    assert (tmp_path / "empty").is_dir()
    assert (tmp_path / "Text").read_text() == "a"


def test_names_that_differ_in_case_only_are_two_or_are_refused(tmp_path: Path) -> None:
    try:
        extract_zip(io.BytesIO(zipped(("readme", b"1"), ("README", b"2"))), tmp_path, LIMITS)
    except ZipError as error:
        assert "differ in case" in str(error)
        assert spelled_otherwise(tmp_path / "README")
    else:
        assert (tmp_path / "readme").read_bytes() == b"1"
        assert (tmp_path / "README").read_bytes() == b"2"
        assert not spelled_otherwise(tmp_path / "README")


def padded_header(kind: bytes) -> bytes:
    """A gzip of a tar whose first member states a long name, or pax records, of 300 MiB; a few hundred kilobytes."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = kind, 300 * 2**20
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed:
        packed.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(300):
            packed.write(bytes(2**20))
    return buffer.getvalue()


def large_zip() -> bytes:
    """300 KB that unpack to 300 MiB."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(2**20))
    return buffer.getvalue()


def endless_sparse_map() -> bytes:
    """A sparse file of pax format 1.0 whose map has more entries than the memory has room for."""
    member = tarfile.TarInfo("sparse")
    member.size = 500 * 2**20
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse"}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packed:
        packed.write(member.tobuf(tarfile.PAX_FORMAT))
        packed.write(b"250000000\n")
        for _ in range(250):
            packed.write(b"0\n" * 2**20)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.zip", large_zip, ""),
        ("long-name.tar.gz", lambda: padded_header(tarfile.GNUTYPE_LONGNAME), "has a header of more than"),
        ("pax.tar.gz", lambda: padded_header(tarfile.XHDTYPE), "has a header of more than"),
        ("sparse.tar.gz", endless_sparse_map, "has a header of more than"),
        ("of-a-job.tar.gz", endless_sparse_map, "holds a header of more than"),
    ],
)
def test_a_small_archive_takes_little_memory(tmp_path: Path, name: str, make: Callable[[], bytes], said: str) -> None:
    (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-c", UNPACK, str(tmp_path / name), str(tmp_path / "folder")]
    *refusal, peak_mib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said in " ".join(refusal)
    assert int(peak_mib) < MAX_CHILD_MIB


def test_a_hard_link_leads_to_what_is_there_already(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.LNKTYPE, "later"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(ArchiveError, match="'link' links to 'later', which is not there before it"):
        extract_tar(tmp_path / "a.tar", tmp_path / "folder")


def test_a_file_and_a_folder_of_one_name_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("a", "a/b"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ArchiveError, match=r"a.tar cannot be extracted: 'a/b' is there twice|'a/b' is there twice"):
        extract_tar(tmp_path / "a.tar", tmp_path / "folder")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder beside something that is not the job's."""
    (tmp_path / "outside").write_text("the host's")
    root = tmp_path / "job"
    (root / "out" / "deep").mkdir(parents=True)
    (root / "model").mkdir()
    (root / "model" / "weights").write_text("w")
    (root / "out" / "deep" / "a").write_text("a")
    return root


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("deep/a", {"deep/a": "a", "link": "a"}),
        ("/opt/ml/model/weights", {"deep/a": "a", "link": "w"}),
        ("../model", {"deep/a": "a", "link/weights": "w"}),
        ("/opt/ml/out/../model/weights", {"deep/a": "a", "link": "w"}),
    ],
)
def test_a_link_is_what_the_container_sees(job: Path, target: str, seen: dict[str, str]) -> None:
    (job / "out" / "link").symlink_to(target)
    assert {name: path.read_text() for path, name in ContainerView(job).files(job / "out")} == seen


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nothing", "leads to nothing"),
        ("/opt/ml/nothing", "leads to nothing"),
        ("../../outside", "leads out of /opt/ml"),
        ("/etc/hostname", "leads to /etc/hostname, out of /opt/ml"),
        ("/opt/ml/../../etc/hostname", "leads out of /opt/ml"),
        ("link", "in a circle"),
        (".", "a folder that it lies in"),
        ("/opt/ml/out", "a folder that it lies in"),
    ],
)
def test_a_link_to_nothing_of_the_job_is_named(job: Path, target: str, reason: str) -> None:
    (job / "out" / "link").symlink_to(target)
    with pytest.raises(LinkError, match=reason) as caught:
        list(ContainerView(job).files(job / "out"))
    assert "the link /opt/ml/out/link" in str(caught.value)


def test_an_archive_of_a_folder_means_the_same_elsewhere(job: Path, tmp_path: Path) -> None:
    (job / "out" / "beside").symlink_to("deep/a")
    (job / "out" / "absolute").symlink_to("/opt/ml/model/weights")
    (job / "out" / "above").symlink_to("../model")
    (job / "out" / "empty").mkdir()
    pack_tar(ContainerView(job).members(job / "out"), tmp_path / "a.tar.gz")
    extract_tar(tmp_path / "a.tar.gz", tmp_path / "new")
    new = tmp_path / "new"
    assert (new / "beside").readlink() == Path("deep/a")
    assert not (new / "absolute").is_symlink()
    assert [(new / name).read_text() for name in ("beside", "absolute", "above/weights")] == ["a", "w", "w"]
    assert (new / "empty").is_dir()
