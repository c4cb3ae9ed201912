#!/bin/sh
# Makes one model again: trains and scores it, writes its folder, then its expected values. PYTHON is an
# interpreter that has zoo/requirements.txt, in an environment outside the repository.
set -eu
model="${1:?usage: zoo/make.sh MODEL, as in zoo/README.md}"
module="$(printf '%s' "$model" | tr - _)"
cd "$(dirname "$0")/.."
if [ ! -f "zoo/recipes/$module.py" ] || [ ! -f "zoo/expectations/$module.py" ]; then
    echo "zoo/make.sh: no recipe for $model in zoo/recipes" >&2
    exit 2
fi
export OMP_NUM_THREADS=1
"${PYTHON:-python3}" -m "zoo.recipes.$module"
"${PYTHON:-python3}" -m "zoo.expectations.$module"
