#!/bin/bash
# One job with all GPUs of a node, one worker process per GPU; workers that die are replaced.
#
#   sbatch --gres=gpu:8 launchers/slurm/node.sh -m model=llama_7b method=wanda,sparsegpt 'seed=range(10)'
#
# Several nodes: submit it several times. The workers of all of them share the cells.
#SBATCH --job-name=calib_sweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=1-00:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=calib_sweep-%j.log

set -eu
exec python -m calib_sweep "$@" hydra/launcher=accelerate
