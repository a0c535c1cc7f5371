"""Who asks: API keys, kept as SHA-256 digests only.

    keys = KeyRing.load(os.environ, config.gateway.keys_file)
    caller = keys.authenticate([(b"authorization", b"Bearer sk-1234")])

Keys come from `SWITCHYARD_API_KEYS` (comma-separated; these may do everything) and from a file with one key a line, which is
read at start:

    sk-1234                                                     # everything but /admin
    alice:sk-5678 admin                                         # a name for the ledger; /admin too
    shop:sha256:HEX policies=auto,panel/jury experts=a,b        # kept as a digest; limited

`policies` are the policies and panels that the key may call, `experts` the only ones that may answer it, whether called by
name, by a policy or in a panel; each limits nothing where it is not given. A name that nobody has allows nothing. `#` begins a
comment. A client sends its key as `Authorization: Bearer`, `x-api-key` or `api-key`. Without any key everybody on this machine
is `ANONYMOUS`, except for web pages from elsewhere. Not here: where limits are enforced (`orchestrator/fleet/snapshot.py`,
`orchestrator/routing/feasibility.py`), and budgets.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import ConfigError, Forbidden, Unauthorized
from orchestrator.types import ANONYMOUS, Caller

Headers = Iterable[tuple[bytes, bytes]]
VARIABLE = "SWITCHYARD_API_KEYS"
_KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key"})
_GRANTS = {"admin", "policies", "experts"}


class KeyRing:
    """SHA-256 digest -> caller. The lookup is by digest, so its time says nothing about any key."""

    def __init__(self, callers: Mapping[bytes, Caller] | None = None) -> None:
        self._callers = dict(callers or {})

    def __bool__(self) -> bool:
        return bool(self._callers)

    @classmethod
    def load(cls, environ: Mapping[str, str], keys_file: Path | None = None) -> KeyRing:
        """Read both sources. Raises `ConfigError` that names the line and never the key."""
        callers: dict[bytes, Caller] = {}
        for key in environ.get(VARIABLE, "").split(","):
            if key.strip():
                digest = _digest(key.strip().encode())
                callers[digest] = Caller(key_id=_anonymous_id(digest), admin=True)
        if keys_file is not None:
            callers |= dict(_read(keys_file))
        return cls(callers)

    def authenticate(self, headers: Headers) -> Caller:
        """Raises `Unauthorized` without a valid key, `Forbidden` for a foreign web page where no keys are configured."""
        if not self._callers:
            _refuse_foreign_pages(headers)
            return ANONYMOUS
        key = _presented(headers)
        if not key:
            raise Unauthorized("You didn't provide an API key: send it as `Authorization: Bearer KEY`.")
        caller = self._callers.get(_digest(key))
        if caller is None:
            raise Unauthorized("Incorrect API key provided.")
        return caller

    def renewed(self, caller: Caller) -> Caller | None:
        """Whoever asked once, with the rights of their key as they are now; None when there is no such key any more.

        Where no keys are configured, nobody is limited, and all stay as they were.
        """
        found = [each for each in self._callers.values() if each.key_id == caller.key_id]
        return caller if caller in found or not self._callers else next(iter(found), None)


def require_loopback(host: str, keys: KeyRing) -> None:
    """Raises `ConfigError` when `host` can be reached from other machines and no key protects it."""
    if not keys and not is_loopback(host):
        raise ConfigError(
            f"gateway.host is {host!r}, which other machines can reach, and no API key is configured: "
            f"set {VARIABLE} or gateway.keys_file, or bind 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _presented(headers: Headers) -> bytes:
    for name, value in headers:
        if name in _KEY_HEADERS:
            key = value.strip()
            return key[7:].strip() if name == b"authorization" and key[:7].lower() == b"bearer " else key
    return b""


def _refuse_foreign_pages(headers: Headers) -> None:
    """A page of another site, open in a browser on this machine, can post here: its `Origin` gives it away."""
    for name, value in headers:
        if name == b"origin" and not is_loopback(_host(value.decode("latin-1"))):
            raise Forbidden("Web pages of other sites may not use this gateway while it has no API keys.")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:  # no URL
        return ""


def _read(path: Path) -> Iterable[tuple[bytes, Caller]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"gateway.keys_file {str(path)!r} can't be read: {exc}") from exc
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if words:
            try:
                yield _parse(words)
            except ValueError as exc:
                raise ConfigError(f"gateway.keys_file {str(path)!r}, line {number}: {exc}") from exc


def _parse(words: list[str]) -> tuple[bytes, Caller]:
    grants = dict(word.partition("=")[::2] for word in words[1:])
    if len(grants) < len(words) - 1 or not grants.keys() <= _GRANTS or grants.get("admin"):
        raise ValueError("expected KEY, NAME:KEY or NAME:sha256:HEX, then any of admin, policies=A,B and experts=A,B")
    name, _, key = words[0].rpartition(":")
    if name == "sha256":
        raise ValueError("a digest needs a name: NAME:sha256:HEX")
    if name.endswith(":sha256"):
        name, digest = name.removesuffix(":sha256"), bytes.fromhex(key)
        if len(digest) != hashlib.sha256().digest_size:
            raise ValueError("a SHA-256 digest has 64 hexadecimal digits")
    else:
        name, _, key = words[0].partition(":") if name else ("", "", words[0])
        digest = _digest(key.encode())
    if not key:
        raise ValueError("the key is empty")
    experts, policies = _names(grants, "experts"), _names(grants, "policies")
    return digest, Caller(name or _anonymous_id(digest), experts, policies, admin="admin" in grants)


def _names(grants: Mapping[str, str], what: str) -> frozenset[str] | None:
    """None where nothing is said, which is no limit."""
    if what not in grants:
        return None
    names = frozenset(filter(None, grants[what].split(",")))
    if not names:
        raise ValueError(f"{what}= needs at least one name")
    return names


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _anonymous_id(digest: bytes) -> str:
    """A name for a key that was given none; eight hexadecimal digits of its digest reveal nothing of it."""
    return f"key-{digest[:4].hex()}"
