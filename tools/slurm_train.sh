#!/usr/bin/env bash
# Train through Slurm, on GPUs or, with GPUS=0, on TASKS CPU processes:
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in mmdetection3d; TASKS is 2 by default.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options]" >&2; exit 2; }
gpus=${GPUS:-8}
if [ "$gpus" -eq 0 ]; then
    resources=(--ntasks="${TASKS:-2}")
else
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    resources=(--gres=gpu:"$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
fi
# shellcheck disable=SC2086
exec srun -p "$1" --job-name="$2" "${resources[@]}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}"
