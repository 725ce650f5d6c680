#!/usr/bin/env bash
#SBATCH --job-name=emojax-score
#SBATCH --nodes=32
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --requeue
#
#     sbatch examples/slurm.sh s3://BUCKET/scores
#
# One process a node, which uses all of its GPUs. They know nothing of one another and share the
# table, so a node that is lost costs the chunk it was at, and --kill-on-bad-exit=0 leaves the
# others alone. Give the same job again to go on; with fewer or more nodes, if you like.
set -euo pipefail

out=${1:?give the address or folder of the table}
shift
export XDG_CACHE_HOME=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/emojax-cache # of the node, not of the network
srun --kill-on-bad-exit=0 emojax score --bundle "${BUNDLE:-ffhq}" --out "$out" \
    --samples 30000000 --chunk 4096 --bfloat16-from 8 "$@"
