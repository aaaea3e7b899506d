"""Signatures of requests: who says to have signed, and whether the secret key says so, too.

Runs in the server process, on every request (50 to 100 microseconds). Signature Version 4 in the header
and in the address, and version 2 in the address of S3, which botocore still makes where no region is set. The bodies'
own digests, the chunks of a stream and the age of a signature are not checked: who cannot read the owner's files has
seen none of their requests. Authority: "Create a signed AWS API request", IAM User Guide; "Signing and authenticating
REST requests", S3 User Guide (version 2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from botocore.auth import HmacV1Auth
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_SAFE = "-_.~"


@dataclass(frozen=True)
class Claim:
    """What a request says of its signature. ``scope`` is empty for version 2."""

    access_key: str
    signature: str
    in_address: bool
    scope: tuple[str, ...] = ()
    signed_headers: tuple[str, ...] = ()
    moment: str = ""
    token: str = ""

    @property
    def service(self) -> str:
        """The signing name of the service that the request is for."""
        return self.scope[2].lower() if self.scope else "s3"


def claim_of(environ: WSGIEnvironment) -> Claim | None:
    """The claim of a request (WSGI); None for one that is not signed in a way that is known here."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    if authorization.startswith(_ALGORITHM):
        parts = (part.strip().partition("=") for part in authorization.removeprefix(_ALGORITHM).split(","))
        said = {name: value for name, _, value in parts}
        moment = environ.get("HTTP_X_AMZ_DATE", "")
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        return _version_4(said, "", moment, token)
    query = environ.get("QUERY_STRING", "")
    if "Signature=" not in query:
        return None
    said = dict(parse_qsl(query, keep_blank_values=True))
    token = said.get("X-Amz-Security-Token", said.get("x-amz-security-token", ""))
    if said.get("X-Amz-Algorithm") == _ALGORITHM:
        return _version_4(said, "X-Amz-", said.get("X-Amz-Date", ""), token)
    if "AWSAccessKeyId" in said and "Signature" in said:
        return Claim(said["AWSAccessKeyId"], said["Signature"], True, moment=said.get("Expires", ""), token=token)
    return None


def _version_4(said: dict[str, str], prefix: str, moment: str, token: str) -> Claim | None:
    """The claim of version 4; in an address its parts have a prefix."""
    access_key, *scope = said.get(f"{prefix}Credential", "").rsplit("/", 4)
    if len(scope) != 4 or scope[3] != "aws4_request":
        return None
    signed = tuple(said.get(f"{prefix}SignedHeaders", "").lower().split(";"))
    return Claim(access_key, said.get(f"{prefix}Signature", ""), bool(prefix), tuple(scope), signed, moment, token)


def is_signed_with(claim: Claim, secret_key: str, environ: WSGIEnvironment) -> bool:
    """Whether a request was signed with this secret key."""
    if not claim.scope:
        # Clients add a Content-Type to what they send to an address that was made without one.
        kinds = (_header(environ, "content-type"), "")
        made = (_version_2(claim, secret_key, environ, kind) for kind in kinds)
        return any(hmac.compare_digest(signature, claim.signature.encode()) for signature in made)
    key = _signing_key(secret_key, claim.scope)
    claimed = claim.signature.encode()
    return any(hmac.compare_digest(_sign(key, claim, text), claimed) for text in _canonical_requests(claim, environ))


def _sign(key: bytes, claim: Claim, canonical: str) -> bytes:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = "\n".join((_ALGORITHM, claim.moment, "/".join(claim.scope), digest))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest().encode()


@lru_cache(maxsize=1024)
def _signing_key(secret_key: str, scope: tuple[str, ...]) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_requests(claim: Claim, environ: WSGIEnvironment) -> Iterator[str]:
    """The texts that a client may have signed, the likeliest first: clients differ in what they encode how often."""
    path, query = _target(environ)
    headers = "".join(f"{name}:{_header(environ, name)}\n" for name in claim.signed_headers)
    rest = f"{headers}\n{';'.join(claim.signed_headers)}\n{_payload(claim, environ)}"
    method = environ["REQUEST_METHOD"]
    pairs = [part for part in query.split("&") if part and not part.startswith("X-Amz-Signature=")]
    encoded = quote(path, safe="/~")
    paths = (path, encoded) if claim.service == "s3" else (encoded, path)
    queries = (_sorted(pairs), _sorted([_encoded(part) for part in pairs]))
    for canonical_query in dict.fromkeys(queries):
        whole = quote(normalize_url_path(path), safe="/~")  # without empty parts, as botocore signs them
        for canonical_path in dict.fromkeys((*paths, quote(unquote(path), safe="/" + _SAFE), whole)):
            yield f"{method}\n{canonical_path}\n{canonical_query}\n{rest}"


def _target(environ: WSGIEnvironment) -> tuple[str, str]:
    """Path and query as the client sent them, encoded; a client that takes the account for its proxy sends more."""
    target: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or "/"
    if not target.startswith("/"):
        parts = urlsplit(target)
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path, query


def _sorted(pairs: list[str]) -> str:
    named = sorted((name, value) for name, _, value in (pair.partition("=") for pair in pairs))
    return "&".join(f"{name}={value}" for name, value in named)


def _encoded(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{quote(unquote(name), safe=_SAFE)}={quote(unquote(value), safe=_SAFE)}"


def _header(environ: WSGIEnvironment, name: str) -> str:
    key = name.upper().replace("-", "_")
    own = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    return " ".join(str(environ.get(own, "")).split())


def _payload(claim: Claim, environ: WSGIEnvironment) -> str:
    if stated := environ.get("HTTP_X_AMZ_CONTENT_SHA256"):
        return str(stated)
    if claim.in_address and claim.service == "s3":
        return _UNSIGNED
    stream = environ["wsgi.input"]
    digest = hashlib.sha256(stream.read()).hexdigest()
    stream.seek(0)
    return digest


def _version_2(claim: Claim, secret_key: str, environ: WSGIEnvironment, content_type: str) -> bytes:
    """The signature of an address by version 2, as botocore makes it."""
    signer = HmacV1Auth(Credentials(claim.access_key, secret_key))
    path, query = _target(environ)
    text = "\n".join(
        (
            str(environ["REQUEST_METHOD"]),
            _header(environ, "content-md5"),
            content_type,
            claim.moment,
            *([f"x-amz-security-token:{claim.token}"] if claim.token else []),
            str(signer.canonical_resource(urlsplit(f"{path}?{query}"))),
        )
    )
    return base64.b64encode(hmac.new(secret_key.encode(), text.encode(), hashlib.sha1).digest())
