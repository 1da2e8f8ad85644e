#!/usr/bin/env bash
# torch.load decides by the ending of a file's NAME: a checkpoint that it wrote itself, renamed to end in .safetensors,
# cannot be read by its path any more; through an open file, or under any other name, the same bytes load.
# Downloads of CLIP weights often end in .safetensors whatever is in them.
# Seen with torch 2.13.0 and safetensors 0.8.0: SafetensorError by path, {'a': tensor} by file object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 safetensors==0.8.0 'numpy<3'
"$folder/venv/bin/python" - "$folder" <<'PY'
import shutil
import sys

import safetensors
import torch

print('torch', torch.__version__, 'safetensors', safetensors.__version__)
plain, renamed = f'{sys.argv[1]}/weights.pth', f'{sys.argv[1]}/weights.safetensors'
torch.save({'a': torch.arange(3.0)}, plain)
shutil.copy(plain, renamed)
assert torch.equal(torch.load(plain, weights_only=True)['a'], torch.arange(3.0))
with open(renamed, 'rb') as file:
    assert torch.equal(torch.load(file, weights_only=True)['a'], torch.arange(3.0))
try:
    torch.load(renamed, weights_only=True)
except safetensors.SafetensorError as error:
    print('by its path:', type(error).__name__, error)
else:
    sys.exit('changed: torch.load now reads a checkpoint whatever its name')
PY
