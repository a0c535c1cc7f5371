"""Live reload: editing the file under load adds, changes and removes experts, and drops no request."""

import asyncio
import itertools
import json

import pytest

from orchestrator.engines.local import LocalEngine
from orchestrator.engines.registry import ENGINES
from orchestrator.errors import ConfigError, ExpertError, UnknownModel
from orchestrator.fleet.snapshot import make_places
from orchestrator.service import running
from tests.support.engine import FakeEngine
from tests.support.queries import chat_query
from tests.support.service import openai_expert, service_of, text_of, write_config
from tests.support.upstream import running_upstream

A, B = ({"name": name, "backend": "echo"} for name in ("a", "b"))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the file watcher gives no event
            await asyncio.sleep(0.01)


async def test_an_edit_is_noticed_and_the_expert_answers(tmp_path):
    async with service_of(tmp_path, A) as service:
        watcher = asyncio.create_task(service.watch())
        write_config(tmp_path, A, B)
        await until(lambda: "b" in service.fleet.specs)
        reply = await service.pipeline.answer(chat_query("Hello", model="b"))
        assert await text_of(reply) == "Hello"
        watcher.cancel()


async def test_an_edit_of_what_the_file_links_to_is_noticed(tmp_path):
    """Kubernetes shows a ConfigMap as a link into a folder that is itself a link, which it replaces."""
    for version, experts in (("v1", [A]), ("v2", [A, B])):
        (tmp_path / version).mkdir()
        write_config(tmp_path / version, *experts)
    (tmp_path / "data").symlink_to("v1")
    config = tmp_path / "experts.yaml"
    config.symlink_to("data/experts.yaml")
    async with running(config) as service:
        watcher = asyncio.create_task(service.watch())
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(tmp_path / "data")
        await until(lambda: "b" in service.fleet.specs)
        write_config(tmp_path / "v2", B)
        await until(lambda: "a" not in service.fleet.specs)
        watcher.cancel()


async def test_a_bad_edit_is_refused_with_its_reason_and_the_old_fleet_stays(tmp_path, caplog):
    async with service_of(tmp_path, A) as service:
        path = write_config(tmp_path, A, {"name": "b", "backend": "no-such"})
        await service.reload()
        assert list(service.fleet.specs) == ["a"]
        assert "no-such" in service.reload_error
        assert "no-such" in caplog.text
        path.write_text("{")
        await service.reload()
        assert await text_of(await service.pipeline.answer(chat_query("Hello"))) == "Hello"
        write_config(tmp_path, A, B)
        await service.reload()
        assert service.reload_error is None
        assert list(service.fleet.specs) == ["a", "b"]


async def test_a_removed_expert_finishes_what_it_began(tmp_path):
    async with running_upstream(pause_s=0.05) as upstream:
        leaving = openai_expert("leaving", upstream.base_url)
        async with service_of(tmp_path, leaving, A) as service:
            reply = await service.pipeline.answer(chat_query(model="leaving", stream=True))
            write_config(tmp_path, A)
            await service.reload()
            assert await text_of(reply) == upstream.message["content"]
            with pytest.raises(UnknownModel):
                await service.pipeline.answer(chat_query(model="leaving"))


async def test_no_request_is_dropped_while_experts_come_change_and_go(tmp_path):
    async with running_upstream(delay_s=0.01) as upstream:
        steady = openai_expert("steady", upstream.base_url)
        fleets = [
            (steady, A),
            (steady, A, B),
            ({**steady, "price": {"input": 1.0, "output": 1.0}}, B),
            (openai_expert("steady", upstream.base_url, limits={"concurrency": 3}), A),
        ]
        async with service_of(tmp_path, *fleets[0]) as service:
            stop, answered = asyncio.Event(), itertools.count()

            async def ask_on():
                while not stop.is_set():
                    for stream in (False, True):
                        assert await text_of(await service.pipeline.answer(chat_query("Hello", stream=stream)))
                        next(answered)

            asking = [asyncio.create_task(ask_on()) for _ in range(8)]
            for fleet in fleets * 5:
                write_config(tmp_path, *fleet)
                await service.reload()
                assert service.reload_error is None
                await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*asking)
            assert next(answered) > 100
            assert all(status.leases == 0 for status in service.scheduler.status())


async def test_an_expert_that_changes_is_asked_by_its_new_settings(tmp_path):
    async with running_upstream() as upstream:
        async with service_of(tmp_path, openai_expert("x", upstream.base_url)) as service:
            changed = openai_expert("x", upstream.base_url, parameters={"set": {"temperature": 0}})
            write_config(tmp_path, changed)
            await service.reload()
            await service.pipeline.answer(chat_query(model="x"))
        assert upstream.requests[-1].body["temperature"] == 0


async def test_the_default_ledger_lies_beside_the_yaml(tmp_path):
    async with service_of(tmp_path, A) as service:
        await service.pipeline.answer(chat_query())
    assert (tmp_path / ".switchyard" / "ledger.db").exists()
    assert json.loads((tmp_path / "experts.yaml").read_text())["version"] == 1


def onnx_expert(folder):
    """An embedding expert whose files are no ONNX model and no tokenizer."""
    (folder / "m.onnx").write_bytes(b"damaged")
    (folder / "t.json").write_text("{}")
    return {"name": "vectors", "backend": "onnx", "model": {"path": "m.onnx"}, "tokenizer": {"path": "t.json"}}


READ = {"routers": {"default": {"type": "skills"}}}


async def test_a_damaged_encoder_is_a_config_error_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"routers\.default: the encoder's file .*m\.onnx can't be read"):
        async with service_of(tmp_path, A, onnx_expert(tmp_path), **READ):
            pass


async def test_whatever_a_new_file_brings_the_watch_goes_on(tmp_path, caplog):
    async with service_of(tmp_path, A) as service:
        watcher = asyncio.create_task(service.watch())
        write_config(tmp_path, A, onnx_expert(tmp_path), **READ)
        await until(lambda: "m.onnx can't be read" in (service.reload_error or ""))
        path = write_config(tmp_path, A, memory={"budget_gb": 1})
        path.write_text(
            path.read_text().replace('"budget_gb": 1', '"budget_gb": 1e308')
        )  # bytes that no float can count
        await until(lambda: "OverflowError" in (service.reload_error or ""))
        assert "Traceback" in caplog.text
        write_config(tmp_path, A, B)
        await until(lambda: "b" in service.fleet.specs)
        assert service.reload_error is None
        watcher.cancel()


async def test_only_what_a_reload_does_not_change_is_said_to_need_a_restart(tmp_path, caplog):
    async with service_of(tmp_path, A) as service:
        write_config(tmp_path, A, gateway={"max_body_mb": 1, "request_timeout_s": 9})
        await service.reload()
        assert "started again" not in caplog.text
        write_config(tmp_path, A, gateway={"port": 1}, ledger={"keep_text": False})
        await service.reload()
        assert "the change of 'gateway.port' takes effect when the gateway is started again" in caplog.text
        assert "the change of 'ledger' takes effect" in caplog.text


async def test_the_log_names_every_setting_that_a_reload_changes(tmp_path, caplog):
    caplog.set_level("INFO")
    async with service_of(tmp_path, A, memory={"budget_gb": 0.5}) as service:
        write_config(tmp_path, A, memory={"budget_gb": 0.9}, batches={"patience_s": 9}, gateway={"port": 1})
        await service.reload()
        assert "reloaded experts.yaml: set batches.patience_s, memory.budget_gb\n" in caplog.text
        write_config(
            tmp_path, A, memory={"budget_gb": 0.9}, batches={"patience_s": 9}, routers={"r": {"type": "skills"}}
        )
        await service.reload()
        assert "reloaded experts.yaml: changed router r\n" in caplog.text
        local = {"name": "local", "backend": "command", "command": "serve {port}"}
        write_config(tmp_path, A, local)
        await service.reload()
        write_config(tmp_path, A, local, placement={"local": ["10.0.0.1"]})
        await service.reload()
        assert "reloaded experts.yaml: set placement.local\n" in caplog.text
        await service.reload()
        assert "reloaded experts.yaml: nothing that is read again changed\n" in caplog.text


async def test_the_providers_keys_are_for_no_server_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", "sk-provider")
    remote = openai_expert("remote", "http://127.0.0.1:1/v1", api_key_env="PROVIDER_KEY")
    local = {"name": "local", "backend": "command", "command": "serve {port}"}
    async with service_of(tmp_path, remote, local) as service:
        place = next(place for place in make_places(service.fleet.config, tmp_path) if place.expert == "local")
        assert place.command().not_inherited == {"PROVIDER_KEY"}


async def test_the_scheduler_is_told_who_can_sleep_and_what_to_read_ahead(tmp_path):
    (tmp_path / "w").mkdir()
    common = {"backend": "vllm", "model": {"path": "w"}}
    light = {"name": "light", **common, "residency": {"memory_gb": 9, "sleep": 1}}
    deep = {"name": "deep", **common, "residency": {"memory_gb": 9, "sleep": 2, "asleep_gb": 2}}
    never = {"name": "never", **common}
    async with service_of(tmp_path, light, deep, never, A, memory={"asleep_gb": 9}) as service:
        places = {place.expert: place for place in make_places(service.fleet.config, tmp_path)}
        assert [places[name].asleep_bytes for name in ("light", "deep", "never", "a")] == [9e9, 2e9, None, None]
        assert [places[name].on_device for name in ("light", "a")] == [True, False]
        assert places["light"].command().files == (tmp_path / "w",)


async def test_an_evicted_server_sleeps_while_the_file_leaves_it_memory_to_do_so(tmp_path, monkeypatch):
    engine = FakeEngine(hold=False)
    monkeypatch.setitem(ENGINES, "fake", lambda: engine)
    experts = [
        {"name": name, "backend": "vllm", "model": "m", "residency": {"memory_gb": 0.6, "asleep_gb": 0.1, "sleep": 1}}
        for name in ("x", "y")
    ]
    config = write_config(tmp_path, *experts, memory={"budget_gb": 1, "asleep_gb": 1})
    async with running(config, engine="fake") as service:
        for name in ("x", "y"):
            await service.scheduler.warm(name)
        assert [status.state for status in service.scheduler.status()] == ["asleep", "ready"]
        write_config(tmp_path, *experts, memory={"budget_gb": 1, "asleep_gb": 0})
        await service.reload()
        await service.scheduler.warm("x")
        assert [launch.name for launch in engine.launches] == ["x", "y", "x"]


def pinned(name):
    return {
        "name": name,
        "backend": "command",
        "command": "serve {port}",
        "residency": {"pin": True, "memory_gb": 0.001},
    }


async def test_pinned_experts_are_loaded_before_anybody_asks_and_new_ones_after_a_reload(tmp_path, monkeypatch):
    engine = FakeEngine()
    monkeypatch.setitem(ENGINES, "fake", lambda: engine)
    poet = {"name": "poet", "backend": "persona", "base": "first", "system": "In verse."}
    unpinned = {"name": "lazy", "backend": "command", "command": "serve {port}"}
    config = write_config(tmp_path, pinned("first"), poet, unpinned)
    async with running(config, engine="fake") as service:
        service.pinned.warm(service.fleet.config)
        (await engine.launched("first")).succeed().finish()
        write_config(tmp_path, pinned("first"), poet, unpinned, pinned("second"))
        await service.reload()
        (await engine.launched("second")).succeed().finish()
    assert [launch.name for launch in engine.launches] == ["first", "second"]


async def test_a_pinned_expert_that_can_not_be_loaded_is_logged_and_the_others_are(tmp_path, monkeypatch, caplog):
    engine = FakeEngine()
    monkeypatch.setitem(ENGINES, "fake", lambda: engine)
    async with running(write_config(tmp_path, pinned("bad"), pinned("good")), engine="fake") as service:
        service.pinned.warm(service.fleet.config)
        (await engine.launched("bad")).fail(ExpertError("bad", "not_loaded", "its server exited with code 1"))
        (await engine.launched("good")).succeed().finish()
        await until(lambda: "the pinned bad could not be loaded: its server exited with code 1" in caplog.text)
        assert [status.state for status in service.scheduler.status()] == ["cold", "ready"]


async def test_a_service_that_ends_while_it_loads_pinned_experts_says_nothing_of_it(tmp_path, monkeypatch, caplog):
    engine = FakeEngine()
    monkeypatch.setitem(ENGINES, "fake", lambda: engine)
    async with running(write_config(tmp_path, pinned("slow")), engine="fake") as service:
        service.pinned.warm(service.fleet.config)
        await engine.launched("slow")
    assert "could not be loaded" not in caplog.text


class BrokenEngine(LocalEngine):
    async def close(self):
        raise RuntimeError("the engine can't be closed")


async def test_the_ledger_is_written_whatever_else_fails_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "broken", BrokenEngine)
    query, config = chat_query(), write_config(tmp_path, A)
    with pytest.raises(RuntimeError, match="the engine can't be closed"):
        async with running(config, engine="broken") as service:
            await service.pipeline.answer(query)
    async with running(config) as service:
        assert await service.ledger.decision(query.id) is not None
