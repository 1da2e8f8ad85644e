"""One side of a comparison in a process of its own: it loads a model and runs it whenever it is told to.

Requests come as lines on standard input, answers go as lines of JSON to standard output; what the models print goes to
standard error. The module needs PyTorch and NumPy alone: a peer's interpreter may have nothing else of the suite.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_STATUS = Path('/proc/self/status')


def memory(key: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Load, then answer ``run`` and ``end``."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)

    def say(**what: Any) -> None:
        answers.write(json.dumps(what) + '\n')
        answers.flush()

    request = json.loads(sys.stdin.readline())
    sys.path[:0] = [path for path in request['path'] if path]
    import numpy as np
    import torch

    torch.set_num_threads(request['threads'])
    torch.manual_seed(0)
    build = getattr(importlib.import_module(request['module']), request['function'])
    with torch.no_grad():
        run = build(request)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what loading has freed is not there for the first run to take
        before = memory('VmRSS')
        Path('/proc/self/clear_refs').write_text('5')
        answer = run()
        extra = max(memory('VmHWM') - before, 0)
        values = answer.detach().cpu().numpy()
        np.save(request['labels'], values.astype(np.int32 if values.dtype.kind in 'iub' else np.float32))
        say(extra=extra)
        for line in sys.stdin:
            if line.strip() != 'run':
                break
            start = time.process_time()
            run()
            say(cpu=time.process_time() - start)


if __name__ == '__main__':
    main()
