"""What C libraries print stays out of a command's output."""

import ctypes
import sys

from orchestrator.commands.quiet import c_output_to_stderr


def test_what_c_prints_goes_to_stderr_and_what_follows_to_stdout(capfd):
    with c_output_to_stderr():
        ctypes.CDLL(None).puts(b"a line of a library's")
    sys.stdout.write("a result\n")
    out, err = capfd.readouterr()
    assert out == "a result\n"
    assert err == "a line of a library's\n"
