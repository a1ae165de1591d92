"""Schemathesis finds nothing: every check, generated from the OpenAPI document, alone and in sequences.

No check is left out. `schemathesis_hooks.py` says what JSON Schema cannot: texts with a grammar of their own, the key
of a PUT's body, NUL at any depth. `schemathesis.toml` says that QUERY is answered, which OpenAPI 3.1 cannot.
"""

import os
import re
import subprocess
import sys

import httpx

CASES = 8


def test_schemathesis_finds_nothing(client: httpx.Client) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(client.base_url.join("/openapi.json"))),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"),
        # A stream has no end to wait for; `test_stream.py` listens to it.
        *("--exclude-path", "/events/-/stream"),
        *("--max-examples", str(CASES), "--seed", "1", "--generation-deterministic", "--no-color"),
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    report = done.stdout
    assert done.returncode == 0, report[-30000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated", report)
    assert generated is not None
    assert int(generated.group(1)) > 500
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in report
