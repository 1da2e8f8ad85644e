#!/usr/bin/env bash
# imagecorruptions 1.1.2 (2020, the last release), which MMDetection's `Corrupt` transform calls:
# - with setuptools 82 and later it cannot be imported (pkg_resources is gone). MMDetection catches the ImportError and says
#   'imagecorruptions is not installed', which it is;
# - with older ones `fog` fails with numpy 2 (np.float_) and `glass_blur` with scikit-image 0.23 and later (multichannel=):
#   13 of the 15 corruptions are left, and whoever means over "all" of them meets the error only at those two.
# Seen with setuptools 84.2.1, numpy 2.4.6, scikit-image 0.26.0, scipy 1.17.1.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q imagecorruptions==1.1.2 numpy==2.4.6 scikit-image==0.26.0 scipy==1.17.1 \
    opencv-python-headless setuptools==65.5.0
cat > "$folder/each.py" <<'PY'
import numpy as np
from imagecorruptions import corrupt, get_corruption_names

failing = {}
for name in get_corruption_names():
    try:
        corrupt(np.zeros((64, 64, 3), np.uint8), corruption_name=name, severity=1)
    except (AttributeError, TypeError) as error:
        failing[name] = str(error)
print(failing)
raise SystemExit(0 if sorted(failing) == ['fog', 'glass_blur'] else 'changed: others fail')
PY
"$folder/venv/bin/python" -W ignore "$folder/each.py"
"$folder/venv/bin/pip" install -q setuptools==84.2.1
said=$("$folder/venv/bin/python" -W ignore -c 'import imagecorruptions' 2>&1) && { echo 'changed: it can be imported'; exit 1; }
echo "${said##*$'\n'}"
grep -q "No module named 'pkg_resources'" <<< "$said" || { echo 'changed: it fails for another reason'; exit 1; }
