#!/usr/bin/env bash
# PyTorch 2.14.1 on a machine without a GPU: after FakeTensorMode was entered once, the first backward pass starts eight threads
# for devices that are not there, and processes forked after it cannot take gradients any more.
#
# The mode puts a device guard in CUDA's place that says it has eight devices. The autograd engine counts devices when it runs
# first, starts a thread for each, and marks the process as one whose forks are refused: "Unable to handle autograd's threading
# in combination with fork-based multiprocessing". Test suites that check models under fake CUDA tensors and fork elsewhere fail
# by the order of their tests. A backward pass on the CPU before the mode is entered keeps everything as it should be.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 numpy==2.2.6
cd "$folder"
cat > look.py <<'PY'
import multiprocessing, os, sys, torch
from torch._subclasses.fake_tensor import FakeTensorMode

def backward():
    torch.ones(2, requires_grad=True).sum().backward()

def forked():
    child = multiprocessing.get_context('fork').Process(target=backward)
    child.start()
    child.join()
    return child.exitcode

def threads():
    return len(os.listdir('/proc/self/task'))

assert not torch.cuda.is_available(), 'this is about machines without a GPU'
if 'before' in sys.argv:
    backward()
with FakeTensorMode():
    torch.empty(2)
before = threads()
backward()
print(threads() - before, forked())
PY
after=$("$folder/venv/bin/python" look.py 2> after.txt)
first=$("$folder/venv/bin/python" look.py before 2> first.txt)
echo "torch 2.14.1, threads started and exit code of a forked backward: mode first '$after', backward first '$first'"
grep -q "fork-based multiprocessing" after.txt
[ "$after" = "8 1" ] && [ "$first" = "0 0" ] || { echo 'this has changed'; exit 1; }
