#!/usr/bin/env bash
# Two processes of jax.distributed on one machine fill one table, half of its chunks each.
#
#     examples/two_processes.sh --samples 4096 --out scores/
#     CUDA=1 examples/two_processes.sh --bundle ffhq --out scores/     each process has one GPU
#
# All arguments go to emojax score. PORT is that of process 0.
set -euo pipefail

hosts=(--distributed --hosts.coordinator "localhost:${PORT:-8476}" --hosts.processes 2)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
for process in 0 1; do
    [ -z "${CUDA:-}" ] || export CUDA_VISIBLE_DEVICES="$process"
    "${PYTHON:-python3}" -m emojax.score "$@" "${hosts[@]}" --hosts.process "$process" &
    pids+=("$!")
done
for pid in "${pids[@]}"; do
    wait "$pid"
done
trap - EXIT
