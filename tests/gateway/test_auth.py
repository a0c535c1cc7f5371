"""Keys: where they come from, how they are sent, and what is never said about them."""

from __future__ import annotations

import hashlib

import pytest

from orchestrator.errors import ConfigError, Forbidden, Unauthorized
from orchestrator.gateway.auth import KeyRing, require_loopback
from orchestrator.types import ANONYMOUS, Caller
from tests.support.gateway import HELLO, client_of, make_context

KEYS = KeyRing.load({"SWITCHYARD_API_KEYS": "sk-one, sk-two,"})


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", f"Bearer {key}".encode())]


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer sk-one"),
        (b"authorization", b"bearer  sk-one "),
        (b"x-api-key", b"sk-one"),
        (b"api-key", b"sk-one"),
    ],
)
def test_a_key_may_come_in_any_of_three_headers(header):
    assert KEYS.authenticate([header]).key_id.startswith("key-")


def test_keys_have_different_callers():
    assert KEYS.authenticate(bearer("sk-one")) != KEYS.authenticate(bearer("sk-two"))


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"Bearer ")], bearer("sk-three"), [(b"x-api-key", b"\xff")]]
)
def test_anything_else_is_unauthorized(headers):
    with pytest.raises(Unauthorized):
        KEYS.authenticate(headers)


def test_rights_are_those_that_the_key_has_now(tmp_path):
    file = tmp_path / "keys.txt"
    file.write_text("alice:sk-1 experts=a\n")
    keys = KeyRing.load({}, file)
    (before, now), gone = (Caller("alice", experts, admin=False) for experts in (None, frozenset("a"))), Caller("bob")
    assert (keys.renewed(before), keys.renewed(now), keys.renewed(gone)) == (now, now, None)
    assert KeyRing().renewed(before) == before


def test_without_keys_authorization_is_ignored():
    assert KeyRing.load({}).authenticate(bearer("anything")) == ANONYMOUS


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"null", b"http://127.0.0.1.evil.example", b"http://[", b"\xff"]
)
def test_without_keys_foreign_web_pages_are_refused(origin):
    with pytest.raises(Forbidden):
        KeyRing().authenticate([(b"origin", origin)])


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"http://127.0.0.1:8700", b"http://[::1]:8700"])
def test_without_keys_pages_of_this_machine_are_served(origin):
    assert KeyRing().authenticate([(b"origin", origin)]) == ANONYMOUS


def test_a_file_of_keys(tmp_path):
    file = tmp_path / "keys"
    digest = hashlib.sha256(b"sk-hashed").hexdigest()
    file.write_text(
        f"# who may\nsk-bare\nalice:sk-alice:with:colons\nbob:sha256:{digest}  # hashed\n\nroot:sk-root admin\n"
    )
    keys = KeyRing.load({}, file)
    callers = {
        key: keys.authenticate(bearer(key)) for key in ("sk-bare", "sk-alice:with:colons", "sk-hashed", "sk-root")
    }
    assert [caller.key_id for caller in callers.values()][1:] == ["alice", "bob", "root"]
    assert [caller.admin for caller in callers.values()] == [False, False, False, True]


def test_a_file_limits_what_keys_may_use(tmp_path):
    file = tmp_path / "keys"
    file.write_text("shop:sk-1 policies=auto,panel/jury experts=a,b\nops:sk-2 experts=a admin\n")
    keys = KeyRing.load({}, file)
    assert keys.authenticate(bearer("sk-1")) == Caller(
        "shop", experts=frozenset({"a", "b"}), policies=frozenset({"auto", "panel/jury"}), admin=False
    )
    assert keys.authenticate(bearer("sk-2")) == Caller("ops", experts=frozenset({"a"}), admin=True)


def test_keys_of_the_environment_are_the_operators_own():
    assert KEYS.authenticate(bearer("sk-one")).admin


@pytest.mark.parametrize(
    "line",
    [
        "alice:",
        "a:sk-secret owner",
        "a:sk-secret expert=a",
        "a:sk-secret experts=",
        "a:sk-secret policies",
        "a:sk-secret experts=a experts=b",
        "a:sk-secret admin=no",
        "bob:sha256:zz",
        "bob:sha256:abcd",
        "sha256:abcd",
    ],
)
def test_a_bad_line_is_named_without_its_key(tmp_path, line):
    file = tmp_path / "keys"
    file.write_text(f"sk-good\n{line}\n")
    with pytest.raises(ConfigError, match="line 2") as caught:
        KeyRing.load({}, file)
    assert "secret" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        KeyRing.load({}, tmp_path / "nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_only_loopback_without_keys(host):
    with pytest.raises(ConfigError, match="SWITCHYARD_API_KEYS"):
        require_loopback(host, KeyRing())
    require_loopback(host, KEYS)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    require_loopback(host, KeyRing())


def test_keys_are_not_kept():
    assert "sk-one" not in repr(vars(KEYS))


async def test_unauthorized_over_http_echoes_nothing():
    async with client_of(make_context(keys=KEYS)) as client:
        headers = {"authorization": "Bearer sk-wrong"}
        response = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert "sk-wrong" not in response.text


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/openapi.json", 200), ("/metrics", 401)]
)
async def test_what_needs_a_key(path, status):
    async with client_of(make_context(keys=KEYS)) as client:
        assert (await client.get(path)).status_code == status
