#!/bin/bash
# One job with all GPUs of a node, one worker process per GPU; workers that die are replaced.
#
#   sbatch --gres=gpu:8 launchers/slurm/node.sh -m model=llama_7b method=wanda,sparsegpt 'seed=range(10)'
#
# Several nodes: submit it several times. The workers of all of them share the cells.
# Two minutes before its time is over the workers give their cells back and go on from the queue.
#SBATCH --job-name=calib_sweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=calib_sweep-%j.log

set -u
python -m calib_sweep "$@" hydra/launcher=accelerate &
workers=$!

out_of_time=
trap 'out_of_time=1; kill -TERM "$workers"' USR1
trap 'kill -TERM "$workers"' TERM
while wait "$workers"; code=$?; kill -0 "$workers" 2>/dev/null; do :; done # a signal ends the wait

# 130, or 138 at the same moment: told to end. Twenty times at most, should it never get anywhere.
if [ -n "$out_of_time" ] && [ "$code" -ge 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
