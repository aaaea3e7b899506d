"""A buildspec (version 0.2), read and checked as CodeBuild does: what it says that is not done here is refused.

Runs in the server process. Follows the build specification reference of the CodeBuild user guide. Refused, with a line
that says so: `run-as`, `proxy`, `batch`, secrets of Secrets Manager, `secondary-artifacts`, report formats other than
JUnit's and Cobertura's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

PHASES = ("install", "pre_build", "build", "post_build")
FORMATS = {"JUNITXML": "TEST", "COBERTURAXML": "CODE_COVERAGE"}


class BuildspecError(Exception):
    """A buildspec that CodeBuild would refuse, or that asks for what is not done here."""


@dataclass(frozen=True)
class Phase:
    """The commands of one phase, and what their failure means (``ABORT``, ``CONTINUE`` or empty)."""

    commands: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    """What `finally` lists: run whether the commands succeeded or not."""
    on_failure: str = ""


@dataclass(frozen=True)
class Files:
    """Which files artifacts or a report consist of."""

    patterns: tuple[str, ...]
    base: str = ""
    flat: bool = False
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportSpec:
    """Which files a report is made of, and their format."""

    files: Files
    format: str


@dataclass(frozen=True)
class Buildspec:
    """What a buildspec asks for."""

    shell: str
    python: str
    """The version that `runtime-versions` asks for, or empty."""
    variables: Mapping[str, str]
    parameters: Mapping[str, str]
    """Variable -> name of the parameter in Parameter Store."""
    exported: tuple[str, ...]
    phases: Mapping[str, Phase]
    artifacts: Files | None
    reports: Mapping[str, ReportSpec] = field(default_factory=dict)
    """Name or ARN of a report group -> what goes into it."""
    cache: tuple[str, ...] = ()


def parse(text: str) -> Buildspec:
    """Read a buildspec; raises BuildspecError with one line."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildspecError(f"the buildspec is not YAML: {' '.join(str(error).split())}") from error
    document = _mapping(document, "the buildspec", {"version", "env", "phases", "reports", "artifacts", "cache"})
    if str(document.get("version")) != "0.2":
        raise BuildspecError(f"version must be 0.2, got {document.get('version')!r}")
    env = _mapping(document.get("env"), "env", {"shell", "variables", "parameter-store", "exported-variables"})
    shell = env.get("shell", "sh")
    if shell not in ("sh", "bash"):
        raise BuildspecError(f"env/shell must be sh or bash, got {shell!r}")
    phases = _mapping(document.get("phases"), "phases", set(PHASES))
    if not phases:
        raise BuildspecError("phases must list at least one phase")
    return Buildspec(
        shell=str(shell),
        python=_python(phases.get("install")),
        variables=_texts(env.get("variables"), "env/variables"),
        parameters=_texts(env.get("parameter-store"), "env/parameter-store"),
        exported=_lines(env.get("exported-variables"), "env/exported-variables"),
        phases={name: _phase(name, phases[name]) for name in PHASES if name in phases},
        artifacts=_artifacts(document.get("artifacts")),
        reports=_reports(document.get("reports")),
        cache=_lines(_mapping(document.get("cache"), "cache", {"paths"}).get("paths"), "cache/paths"),
    )


def _phase(name: str, value: object) -> Phase:
    known = {"commands", "finally", "on-failure"} | ({"runtime-versions"} if name == "install" else set())
    members = _mapping(value, f"phases/{name}", known)
    on_failure = members.get("on-failure", "")
    if on_failure not in ("", "ABORT", "CONTINUE"):
        raise BuildspecError(f"phases/{name}/on-failure must be ABORT or CONTINUE here, got {on_failure!r}")
    commands = _lines(members.get("commands"), f"phases/{name}/commands")
    return Phase(commands, _lines(members.get("finally"), f"phases/{name}/finally"), str(on_failure))


def _python(install: object) -> str:
    versions = install.get("runtime-versions") if isinstance(install, Mapping) else None
    found = _texts(versions, "phases/install/runtime-versions")
    if others := sorted(found.keys() - {"python"}):
        raise BuildspecError(f"the only runtime here is python, phases/install/runtime-versions asks for {others[0]}")
    return found.get("python", "")


def _artifacts(value: object) -> Files | None:
    if value is None:
        return None
    members = _mapping(value, "artifacts", {"files", "name", "discard-paths", "base-directory", "exclude-paths"})
    return _files(members, "artifacts")


def _reports(value: object) -> dict[str, ReportSpec]:
    made = {}
    for name, each in _mapping(value, "reports", None).items():
        where = f"reports/{name}"
        members = _mapping(each, where, {"files", "base-directory", "discard-paths", "file-format"})
        kind = str(members.get("file-format", "JUNITXML"))
        if kind not in FORMATS:
            raise BuildspecError(f"{where}/file-format must be one of {', '.join(FORMATS)} here, got {kind!r}")
        made[str(name)] = ReportSpec(_files(members, where), kind)
    return made


def _files(members: Mapping[str, object], where: str) -> Files:
    patterns = _lines(members.get("files"), f"{where}/files")
    if not patterns:
        raise BuildspecError(f"{where}/files must list at least one file")
    return Files(
        patterns,
        str(members.get("base-directory", "")),
        str(members.get("discard-paths", "no")).lower() in ("yes", "true"),
        _lines(members.get("exclude-paths"), f"{where}/exclude-paths"),
    )


def _mapping(value: object, where: str, known: set[str] | None) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BuildspecError(f"{where} must be a mapping, got {value!r}")
    unknown = sorted(str(name) for name in value if known is not None and name not in known)
    if unknown:
        names = ", ".join(sorted(known or ()))
        raise BuildspecError(f"{where} has {unknown[0]!r}, which is unknown or not done here; known are: {names}")
    return value


def _texts(value: object, where: str) -> dict[str, str]:
    return {str(name): _text(item, f"{where}/{name}") for name, item in _mapping(value, where, None).items()}


def _lines(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    return tuple(_text(item, where) for item in items)


def _text(value: object, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise BuildspecError(f"{where} must hold text, got {value!r} (a colon in a command needs quotes)")
    return str(value)
