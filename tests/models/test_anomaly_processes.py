"""The same scores in another process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_anomaly import pictures, tiny_model

HELPERS = Path(__file__).parents[1] / 'helpers'
SETTINGS = dict(adaptation=dict(kind='text', steps=2))
SCRIPT = f"""
import json, sys
sys.path.insert(0, {str(HELPERS)!r})
import torch
torch.set_num_threads(int(sys.argv[1]))
import denseclip
from tiny_anomaly import pictures, tiny_model
torch.manual_seed(123)
results = tiny_model(**{SETTINGS!r}).predict(pictures(3)[1:])
print(json.dumps([[r.pred_score, r.anomaly_map.data.flatten().tolist()] for r in results]))
"""


@pytest.mark.slow
def test_another_process_with_other_pictures_gives_the_same():
    here = tiny_model(**SETTINGS).predict(pictures(3))
    command = [sys.executable, '-c', SCRIPT, str(torch.get_num_threads())]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HELPERS.parents[1])
    expected = [[r.pred_score, r.anomaly_map.data.flatten().tolist()] for r in here[1:]]
    assert json.loads(there.stdout.splitlines()[-1]) == expected
