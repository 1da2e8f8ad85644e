#!/usr/bin/env bash
# Train on the processes of one or several machines with torchrun.
#   tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# Several machines: start it on each with NNODES, NODE_RANK and MASTER_ADDR set.
set -euo pipefail
if [ "$#" -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1
PROCESSES=$2
shift 2
exec torchrun \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${MASTER_PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
