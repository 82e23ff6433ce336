"""What the runbook says is to be run, run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

RUNBOOK = Path(__file__).parents[2] / "deploy/RUNBOOK.md"


def test_what_reloads_a_pod_reloads_the_service(serve, tmp_path):
    """The pods' python asks the service of its own pod, here one on another port."""
    (script,) = re.findall(r"exec \"\$pod\" -- python -Ic '\n(.*?)'\n", RUNBOOK.read_text(), re.DOTALL)
    assert "127.0.0.1:8000" in script
    keys = tmp_path / "keys"
    keys.write_text("# the first\n\nmade-up\nanother\n")
    with serve(SATCLE_API_KEYS_FILE=str(keys)) as served:
        here = script.replace("http://127.0.0.1:8000", served.url)
        environment = {**os.environ, "SATCLE_API_KEYS_FILE": str(keys)}
        command = [sys.executable, "-Ic", here]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "earth-l30" in done.stdout
