#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kv from the repository: `examples-python/kv.py run 0.conf`. With the wheel: `hotstuff-kv`.

The package and the library of the repository are used unless they are installed.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent

sys.path[:0] = [str(HERE), str(ROOT / "bindings" / "python" / "src")]
os.environ.setdefault("HOTSTUFF_LIBRARY", str(ROOT / "target" / "release" / "libhotstuff.so"))

from hotstuff_kv.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
