"""What a build works on: its sources, its buildspec, and the variables that they and the project bring.

Runs in the server process; writes below the build's folder. Sources are zips in S3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import ClientError

from local_account.base.archives.s3_download import download
from local_account.base.arns import object_place
from local_account.base.clients import ServiceClients
from local_account.codebuild.buildspec import Buildspec
from local_account.codebuild.files import unzip
from local_account.codebuild.records import BuildRecord, ProjectSource


class PhaseError(Exception):
    """Why a phase failed: CodeBuild's code, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Sources:
    """The sources of one build: the primary one in ``src``, each other one in a folder of its identifier's name."""

    def __init__(self, build: BuildRecord, folder: Path, clients: ServiceClients) -> None:
        self.primary = folder / "src"
        self._build, self._folder, self._clients = build, folder, clients

    def fetch(self) -> None:
        """Put the files of all sources into their folders.

        Raises ClientError for an object that cannot be read, FilesError for one that is no usable zip.
        """
        for source in [self._build["source"], *self._build.get("secondarySources", [])]:
            name = source.get("sourceIdentifier", "")
            version = "" if name else self._build.get("sourceVersion", "")
            self._fetch(source, self._place(name) if name else self.primary, version)

    def _place(self, name: str) -> Path:
        return self._folder / "sources" / name

    def _fetch(self, source: ProjectSource, folder: Path, version: str) -> None:
        if source["type"] == "NO_SOURCE":
            return
        place = object_place(source["location"])
        archive = self._folder / "source.zip"
        s3 = self._clients("s3")
        if version and ":" not in version:
            download(s3, archive, {"Bucket": place.bucket, "Key": place.key, "VersionId": version})
        else:
            download(s3, archive, {"Bucket": place.bucket, "Key": place.key})
        unzip(archive, folder, f"s3://{place.bucket}/{place.key}")
        archive.unlink()

    def buildspec(self) -> str:
        """The text of the buildspec: the project's own, or a file of the primary source.

        Raises PhaseError for a file that the source lacks.
        """
        given = self._build["source"].get("buildspec") or "buildspec.yml"
        if "\n" in given:
            return given
        path = (self.primary / given).resolve()
        if not path.is_relative_to(self.primary.resolve()) or not path.is_file():
            raise PhaseError("YAML_FILE_ERROR", f"the source holds no {given}")
        return path.read_text(encoding="utf-8")

    def folders(self) -> Iterator[tuple[str, str]]:
        """The variables that say where the secondary sources lie, with their values."""
        for source in self._build.get("secondarySources", []):
            name = source["sourceIdentifier"]
            yield f"CODEBUILD_SRC_DIR_{name}", str(self._place(name))

    def variables(self, spec: Buildspec) -> dict[str, str]:
        """The variables of buildspec, project and call: a call's win over the project's, those over the buildspec's.

        Raises PhaseError for a parameter that cannot be read. Source: CodeBuild user guide, environment variables.
        """
        found = dict(spec.variables)
        parameters = dict(spec.parameters)
        for variable in self._build["environment"].get("environmentVariables", []):
            kept, other = (parameters, found) if variable.get("type") == "PARAMETER_STORE" else (found, parameters)
            kept[variable["name"]] = variable["value"]
            other.pop(variable["name"], None)
        for name, parameter in parameters.items():
            try:
                answer = self._clients("ssm").get_parameter(Name=parameter, WithDecryption=True)
            except ClientError as error:
                raise PhaseError("CLIENT_ERROR", f"parameter {parameter} cannot be read: {error}") from error
            found[name] = answer["Parameter"]["Value"]
        return found
