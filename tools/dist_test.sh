#!/usr/bin/env bash
# Evaluate on the processes of one or several machines with torchrun.
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
# A model whose config names all its weights has no checkpoint: write - for it.
# Several machines: start it on each with NNODES, NODE_RANK and MASTER_ADDR set.
set -euo pipefail
if [ "$#" -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT|- PROCESSES [options of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
shift 3
if [ "$CHECKPOINT" != - ]; then
    set -- "$CHECKPOINT" "$@"
fi
exec torchrun \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${MASTER_PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$@" --launcher pytorch
