#!/usr/bin/env bash
# gem_torch 1.0.1 (GEM, Bousselham et al., CVPR 2024) with open_clip 3.3.0, which pip installs beside it: wrong features,
# and no word about it.
#
# gem_torch hands tokens to the transformer blocks as (L, N, C). Blocks of open_clip 2.26 and later take (N, L, C), so those in
# front of GEM's own let the pictures of a batch attend to each other instead of the patches of a picture. The path that
# gem_torch leaves as trained shows it: its class token should be encode_image's answer. (Pin open_clip_torch<=2.23.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q gem_torch==1.0.1 torch==2.14.1 torchvision==0.29.1 open_clip_torch==3.3.0
cat > "$folder/compare.py" <<'PY'
import logging
from importlib.metadata import version

import open_clip
import torch
from gem.gem_wrapper import GEMWrapper

logging.disable(logging.WARNING)
torch.manual_seed(0)
model = open_clip.create_model('ViT-B-16').eval()
picture = torch.randn(1, 3, 224, 224)
with torch.no_grad():
    expected = model.encode_image(picture)
    _, ordinary = GEMWrapper(model, None).eval().model.visual(picture)
cosine = torch.nn.functional.cosine_similarity(expected, ordinary[:, 0]).item()
print(f'gem_torch {version("gem_torch")}, open_clip {version("open_clip_torch")}: '
      f'cosine between its untouched path and encode_image {cosine:.4f}')
print('right' if cosine > 0.9999 else 'wrong', file=open('verdict', 'w'))
PY
cd "$folder"
venv/bin/python compare.py; new=$(cat verdict)
venv/bin/pip install -q open_clip_torch==2.23.0
venv/bin/python compare.py; old=$(cat verdict)
[ "$old" = right ] && [ "$new" = wrong ] || { echo 'this has changed'; exit 1; }
