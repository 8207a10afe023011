#!/bin/bash
# The same command in every task of a job array: the tasks share the cells of the sweep.
#
#   sbatch launchers/slurm/workers.sh -m model=llama_7b method=wanda,sparsegpt 'seed=range(10)'
#   sbatch --array=0-31 --partition=gpu launchers/slurm/workers.sh -m experiment=paper
#
# Each task is a worker that takes cells nobody holds until none is left, so tasks may start when they
# like, be preempted, or be added by a second sbatch. Submit from the folder that holds results/.
# Two minutes before its time is over a task gives its cell back and goes on from the queue.
# As with hydra.launcher.detach=true nothing has to stay running on the login node.
#SBATCH --job-name=calib_sweep
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=calib_sweep-%A_%a.log

set -u
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"
python -m calib_sweep "$@" &
worker=$!

out_of_time=
trap 'out_of_time=1; kill -TERM "$worker"' USR1
trap 'kill -TERM "$worker"' TERM
while wait "$worker"; code=$?; kill -0 "$worker" 2>/dev/null; do :; done # a signal ends the wait

# 130, or 138 at the same moment: told to end. Twenty times at most, should it never get anywhere.
if [ -n "$out_of_time" ] && [ "$code" -ge 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
