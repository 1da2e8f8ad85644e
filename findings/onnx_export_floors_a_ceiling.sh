#!/usr/bin/env bash
# torch.onnx.export(dynamo=True) writes `-(-h // 16)` of a free size, Python's way to divide and round up, as an ONNX Div
# of a negative number, which rounds towards zero where Python's // rounds down: the graph computes h // 16. It is equal
# where 16 divides h, so it shows at other sizes than the example's alone. (h + 15) // 16 is right.
# Seen with torch 2.14.1, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 'numpy<3'
cat > "$folder/ceiling.py" <<'PY'
import sys
import warnings

import numpy as np
import onnxruntime
import torch

warnings.simplefilter('ignore')


class Rows(torch.nn.Module):
    def forward(self, x):
        return x.new_ones(-(-x.shape[0] // 16)), x.new_ones((x.shape[0] + 15) // 16)


program = torch.onnx.export(Rows(), (torch.zeros(40),), dynamic_shapes=({0: 'h'},), dynamo=True, verbose=False)
program.save(sys.argv[1])
graph = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
found = {}
for h in (32, 33, 47):
    x = np.zeros(h, np.float32)
    found[h] = [len(part) for part in graph.run(None, {graph.get_inputs()[0].name: x})]
    print(h, 'PyTorch', [len(part) for part in Rows()(torch.from_numpy(x))], 'ONNX', found[h])
print('torch', torch.__version__)
sys.exit(0 if found == {32: [2, 2], 33: [2, 3], 47: [2, 3]} else 'changed')
PY
"$folder/venv/bin/python" "$folder/ceiling.py" "$folder/ceiling.onnx"
