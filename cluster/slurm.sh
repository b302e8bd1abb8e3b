#!/usr/bin/env bash
# A sweep on Slurm: Ray on every node of the job, the driver on the first. Submit the same line again to resume.
#   sbatch cluster/slurm.sh sweeps/paper.yaml --set storage=/shared/sde/runs
#SBATCH --job-name=sde-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d' ' -f1):6379

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &
for _ in $(seq 60); do
  ray status --address "$address" >/dev/null 2>&1 && break
  sleep 2
done
if (( SLURM_NNODES > 1 )); then
  srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
    ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &
fi

# Slurm's warning before the time limit goes to the driver, which ends in order; the ledger keeps what is finished.
sde-ray run "$@" --set resources.address="$address" &
driver=$!
trap 'kill -TERM "$driver"' TERM
wait "$driver" || wait "$driver"  # the first wait ends with the trap
