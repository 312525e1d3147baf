"""What docs/mlflow.md tells newcomers to do does what it says."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ours, pytest.mark.since3, pytest.mark.full]  # trains and logs two models, which takes MLflow a while
ROOT = pathlib.Path(__file__).resolve().parents[2]
PURLIN = pathlib.Path(os.environ.get("PURLIN_BUILD", ROOT / "build")) / "bin" / "purlin"


def test_from_nothing_to_a_prediction(server, name, tmp_path):
    model = name("churn")
    text = (ROOT / "docs" / "mlflow.md").read_text().replace("churn", model)
    for number, script in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
        path = tmp_path / f"{number}.py"
        path.write_text(script)
        done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
    assert re.search(r"boosted +0\.\d+\n", done.stdout) and "[1 0]" in done.stdout, done.stdout
    environment = {**os.environ, "PURLIN_SERVER": os.environ["PURLIN_URL"], "PURLIN_TOKEN": os.environ["PURLIN_TOKEN"]}
    for command in re.findall(r"^    \$ (purlin (?:models deploy|tracking list-runs|registry list-models).*?)$", text, re.M):
        done = subprocess.run([str(PURLIN), *command.split()[1:]], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and model in done.stdout, (command, done.stdout, done.stderr)
    body = re.search(r"infer -H .*? -d '(\{.*?)'\n", text, re.S).group(1)
    answer = server.call("POST", f"/v2/models/{model}/infer", json=json.loads(body))
    assert answer.status_code == 200 and answer.json()["outputs"][0]["data"] == [1, 0], answer.text
