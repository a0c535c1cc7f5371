"""Code that is run to be graded, and the sandbox around it."""

import os
from pathlib import Path

import pytest

from orchestrator.labelling.code import CodeGrader, code_of
from orchestrator.labelling.queries import InOut
from orchestrator.labelling.sandbox import Limits, confinement, run_python
from tests.support.asks import item

DOUBLE = "Here you are:\n```python\ndef f(x):\n    return 2 * x\n```\nUse it like `f(2)`."


async def reward(answer, *tests, limits=None):
    return (await CodeGrader(limits or Limits()).grade(item(tests=tests), {"a": answer}))["a"]


async def needs(fence):
    if fence not in await confinement():
        pytest.skip(f"this kernel does not fence off {fence}")


async def test_the_reward_is_the_share_of_tests_passed():
    assert await reward(DOUBLE, "assert f(2) == 4", "assert f(-1) == -2") == 1.0
    assert await reward(DOUBLE, "assert f(2) == 4", "assert f(2) == 5") == 0.5


async def test_a_program_is_judged_by_what_it_prints():
    assert await reward("print(2 * int(input()))", InOut("21\n", "42\n"), InOut("1", "2")) == 1.0
    assert await reward("print(42)", InOut("21\n", "42\n"), InOut("1", "2")) == 0.5


async def test_tests_do_not_see_each_other():
    counting = "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)"
    assert await reward(counting, "assert f() == 1", "assert f() == 1") == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "def f(x) return",
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        "while True: pass",
        "I can't write code.",
        "1/0",
    ],
)
async def test_code_that_fails_or_leaves_early_passes_nothing(answer):
    assert await reward(answer, "pass", limits=Limits(cpu_s=1, wall_s=5)) == 0.0


def test_the_longest_block_is_the_code():
    assert code_of(DOUBLE) == "def f(x):\n    return 2 * x"
    assert code_of("```\nx = 1\n```\nor\n```python\nx = 1\ny = 2\n```") == "x = 1\ny = 2"
    assert code_of("x = 1") == "x = 1"
    assert code_of("```python\nunclosed = 1") == "unclosed = 1"


async def test_an_endless_loop_ends():
    assert (await run_python("while True: pass", limits=Limits(cpu_s=1))).code < 0
    assert (await run_python("import time\ntime.sleep(60)", limits=Limits(wall_s=0.5))).timed_out


async def test_memory_is_limited():
    ran = await run_python(
        "try:\n    x = bytearray(1 << 30)\nexcept MemoryError:\n    print('full')", limits=Limits(memory_mb=256)
    )
    assert ran.out == "full\n"


async def test_output_is_limited():
    ran = await run_python("while True: print('x' * 1000)", limits=Limits(output_bytes=5000))
    assert len(ran.out) == 5000
    assert not ran.timed_out


async def test_open_files_are_limited():
    ran = await run_python("fs = []\nwhile True: fs.append(open('/dev/null'))", limits=Limits(open_files=16))
    assert ran.code == 1


async def test_files_are_limited_in_size_and_gone_afterwards():
    ran = await run_python(
        "import os\nprint(os.getcwd())\nopen('a', 'w').write('here')\nprint(open('a').read(), flush=True)\n"
        "open('b', 'w').write('x' * (8 << 20))",
        limits=Limits(file_mb=1),
    )
    folder, written = ran.out.splitlines()
    assert (ran.code != 0, written) == (True, "here")
    assert not Path(folder).exists()  # noqa: ASYNC240


async def test_files_elsewhere_cannot_be_written(tmp_path):
    await needs("files")
    victim = tmp_path / "victim"
    victim.write_text("whole")
    for attack in (
        f"open({str(victim)!r}, 'w')",
        f"import os\nos.remove({str(victim)!r})",
        "open('/tmp/switchyard-escape', 'w')",
    ):
        assert (await run_python(attack)).code == 1
    assert victim.read_text() == "whole"


async def test_a_fork_bomb_does_not_go_off():
    await needs("processes")
    ran = await run_python("import os\nprint('before', flush=True)\nwhile True: os.fork()", limits=Limits(wall_s=5))
    assert (ran.out, ran.code) == ("before\n", 1)


async def test_nobody_outside_is_signalled():
    await needs("processes")
    ran = await run_python(f"import os\nos.kill({os.getpid()}, 0)")
    assert ran.code == 1


async def test_threads_are_allowed():
    ran = await run_python("import threading\nt = threading.Thread(target=print, args=('up',))\nt.start()\nt.join()")
    assert ran.out == "up\n"


async def test_there_is_no_network():
    await needs("network")
    ran = await run_python("import socket\nsocket.create_connection(('127.0.0.1', 1))")
    assert ran.code == 1


async def test_the_environment_is_not_inherited(monkeypatch):
    monkeypatch.setenv("EXAMPLE_API_KEY", "sk-secret")
    ran = await run_python("import os\nprint(os.environ.get('EXAMPLE_API_KEY'))")
    assert ran.out == "None\n"


async def test_other_processes_are_not_seen():
    await needs("files")
    assert (await run_python("import os\nprint(os.listdir('/proc'))")).out == "[]\n"
