#!/usr/bin/env bash
# A sweep on Slurm: Ray on every node of the job, the driver on the first. A job that was preempted or lost a node is
# put back into the queue and resumes; after its time limit, submit the same line again.
#   sbatch cluster/slurm.sh sweeps/paper.yaml --set storage_path=/shared/sde/runs
#SBATCH --job-name=sde-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# Nodes of a cluster are shared: a port and a token of this job's own keep other users' Rays and programs out.
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
# Since Slurm 22.05 srun does not inherit --cpus-per-task: without this, Ray and its trials share one core of a node.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p) # not `head`: a closed pipe would end this script
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d' ' -f1):$port
# Ray's sockets need a short path on a local disk, and a job that was put back into the queue a fresh one.
temp=/tmp/ray-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --port="$port" --temp-dir="$temp" --num-cpus="$SLURM_CPUS_PER_TASK" \
  --dashboard-host=127.0.0.1 --block &
for _ in $(seq 60); do
  ray status --address "$address" >/dev/null 2>&1 && break
  sleep 2
done
if ((SLURM_NNODES > 1)); then
  srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
    ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

# Slurm's warning before the time limit goes to the driver, which ends in order; the ledger keeps what is finished.
sde-ray run "$@" --address "$address" &
driver=$!
trap 'kill -TERM "$driver"' TERM
wait "$driver" || wait "$driver" # the first wait ends with the trap
