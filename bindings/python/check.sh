#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests the package from the source and from the wheel: check.sh DIRECTORY-OF-THE-ENVIRONMENT
set -eu

cd "$(dirname "$0")/../.."
python=$PWD/$1/bin/python
PATH=$PWD/$1/bin:$PATH
export PATH HOTSTUFF_LIBRARY="$PWD/target/release/libhotstuff.so"
export PYTHONPATH="$PWD/bindings/python/src:$PWD/examples-python"

cd bindings/python
ruff check --quiet --no-cache . ../../examples-python
ruff format --quiet --no-cache --check src generate_abi.py hatch_build.py tests ../../examples-python
MYPYPATH=../../examples-python mypy --strict --no-error-summary \
    --cache-dir ../../target/mypy src/hotstuff ../../examples-python/hotstuff_kv
"$python" -m pytest -q -p no:cacheprovider tests
cd ../..

# The C program's tests: one replica is in Python; of four, two are in Python and two in C.
"$python" examples-c/test_kv.py --kv examples-python/kv.py --kv target/examples-c/kv \
    CommandLine Protocol Sessions Validators FourReplicas JoiningAndLeaving UnderFire

# The wheel in an empty environment: no compiler, no other package, no repository.
auditwheel show dist/hotstuff-*.whl | grep "$(basename dist/hotstuff-*.whl .whl | cut -d- -f5)" >/dev/null
unset HOTSTUFF_LIBRARY PYTHONPATH
empty=target/python-empty
rm -rf "$empty"
"$python" -m venv "$empty"
"$empty/bin/pip" --disable-pip-version-check --quiet install --no-index dist/hotstuff-*.whl
"$empty/bin/python" examples-python/counter.py
"$empty/bin/hotstuff-kv" --version
"$empty/bin/hotstuff" 2>&1 | grep -q "pip install 'hotstuff\[tool\]'"
