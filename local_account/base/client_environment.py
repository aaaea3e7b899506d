"""What a program needs so that its AWS clients reach the account and nothing else: variables, an ``aws``, a folder.

Used by the server for what it starts and by ``scones account env`` for a user's shell; writes ``<state>/client``.
Setting ``AWS_ENDPOINT_URL`` alone is not enough: AWS clients have other variables and files that lead past it, version
1 of the aws CLI sends some services to AWS unless its command line names an endpoint
(``awscli/customizations/overridesslcommonname.py``), and a proxy sees whatever is not excepted from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = "client"
_MARK = ".stand-in-account"
_CERTIFICATES = "no-certificates.pem"
_LOOPBACK = ("127.0.0.1", "localhost")

# What a user may keep: how much the aws CLI prints, and how often it tries.
_HARMLESS = {"AWS_PAGER", "AWS_DEFAULT_OUTPUT", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"}
# What leads past AWS_ENDPOINT_URL or to other credentials, in botocore, both versions of the aws CLI and AWS's other
# SDKs (SDKs and Tools Reference Guide, settings). Beside these every other AWS_ variable of the shell is taken out.
_LEADS_AWAY = (
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_CSM_ENABLED",
    "AWS_DATA_PATH",
    "AWS_DEFAULTS_MODE",
    "AWS_DEFAULT_PROFILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "BOTO_CONFIG",
)

# Version 1 of the CLI obeys an endpoint on its command line only (a later --endpoint-url of the user's wins), and the
# rules of some services name AWS whatever the endpoint is (`signin`), or make a name of it that only a resolver knows
# (`s3control`). So the account is its proxy, too: what is for another host reaches the account and is refused there.
_AWS = f"""#!/bin/sh
# The next aws on PATH, with every service at $AWS_ENDPOINT_URL and no way past it.
if [ -n "$AWS_ENDPOINT_URL" ]; then
    set -- --endpoint-url "$AWS_ENDPOINT_URL" "$@"
    export http_proxy="$AWS_ENDPOINT_URL" HTTP_PROXY="$AWS_ENDPOINT_URL"
    export https_proxy="$AWS_ENDPOINT_URL" HTTPS_PROXY="$AWS_ENDPOINT_URL"
    unset no_proxy NO_PROXY
fi
set -f
IFS=:
for folder in $PATH; do
    if [ -x "$folder/aws" ] && [ ! -e "$folder/{_MARK}" ]; then
        unset IFS
        exec "$folder/aws" "$@"
    fi
done
echo "aws: the aws CLI is not on PATH" >&2
exit 127
"""

# A certificate authority whose key is gone. The account is reached without TLS, so an AWS client that trusts nobody
# else can begin no conversation with AWS: a second wall, for ways that nobody has thought of.
_NOBODY = """\
-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIBATAKBggqhkjOPQQDAjA+MTwwOgYDVQQDDDNub2JvZHk6
IHRoZSBzdGFuZC1pbiBhY2NvdW50IGlzIHJlYWNoZWQgd2l0aG91dCBUTFMwIBcN
MjYwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMD4xPDA6BgNVBAMMM25vYm9k
eTogdGhlIHN0YW5kLWluIGFjY291bnQgaXMgcmVhY2hlZCB3aXRob3V0IFRMUzBZ
MBMGByqGSM49AgEGCCqGSM49AwEHA0IABBQnp1jExEfXmJPhFNU74OocqkJjkZ+x
khQZRuHq4jxeInWDYrrrrZ4VkdamG3JqMEULKA37u9zHPOqZqbnbBNGjFjAUMBIG
A1UdEwEB/wQIMAYBAf8CAQAwCgYIKoZIzj0EAwIDSAAwRQIgZfvCaXzbzVRBc/dX
FOTN9X+QxxDwP0/WA4WuyLnBLRQCIQCruy9Z3ewwPwzxo1K1z0lMChqnVF3TB7Xi
zrx9xaO+wQ==
-----END CERTIFICATE-----
"""


def client_variables(endpoint_url: str, region: str, folder: Path) -> dict[str, str]:
    """The variables of every process of the account but its credentials; ``folder`` is `make_client_folder`'s."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_CA_BUNDLE": str(folder / _CERTIFICATES),
        "AWS_EC2_METADATA_DISABLED": "true",
        # StartSyncExecution would go to sync-127.0.0.1, a host that no resolver knows.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        # The rules of these make addresses of AWS, or refuse the account's.
        "AWS_ENDPOINT_DISCOVERY_ENABLED": "false",
        "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS": "true",
        "AWS_USE_FIPS_ENDPOINT": "false",
        "AWS_USE_DUALSTACK_ENDPOINT": "false",
    }


def shell_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What a user's shell needs beside `client_variables`, given what it has."""
    exceptions = no_proxy(environ)
    return {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": exceptions,
        "no_proxy": exceptions,
    }


def taken_out(environ: Iterable[str], kept: Iterable[str]) -> list[str]:
    """The variables to unset in a shell that has ``environ`` and gets ``kept``, in order."""
    of_aws = {name for name in environ if name.startswith("AWS_") and not name.startswith("AWS_CLI_")}
    return sorted((of_aws | set(_LEADS_AWAY)) - _HARMLESS - set(kept))


def no_proxy(environ: Mapping[str, str]) -> str:
    """``NO_PROXY`` with this machine in it."""
    stated = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    named = [name.strip() for name in stated.split(",") if name.strip()]
    return ",".join([*named, *(name for name in _LOOPBACK if name not in named)])


def programs(folder: Path) -> Path:
    """Where the ``aws`` lies that belongs at the front of PATH."""
    return folder / "bin"


def with_programs(folder: Path, path: str) -> str:
    """A PATH on which the account's ``aws`` comes first; another account's goes."""
    others = [part for part in path.split(os.pathsep) if part and not Path(part, _MARK).exists()]
    return os.pathsep.join([str(programs(folder)), *others])


def make_client_folder(state_dir: Path) -> Path:
    """``<state>/client``, with its files as this version has them."""
    folder = state_dir / FOLDER
    programs(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    write_client_file(programs(folder) / _MARK, "")
    write_client_file(programs(folder) / "aws", _AWS, 0o700)
    write_client_file(folder / _CERTIFICATES, _NOBODY)
    return folder


def write_client_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file whole, unless it says so already: a program may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_file() and path.read_text(encoding="ascii") == text:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="ascii")
    partial.chmod(mode)
    partial.replace(path)
