#!/bin/sh
# Publishes the deltas of a plan as an array of jobs, each of which makes its share:
#
#   sbatch --array=1-8 slurm.sh plan.json [OPTION OF registry-ext publish]...
#
# A job that is killed and queued again makes what is missing.
#SBATCH --job-name=deltas
#SBATCH --requeue
set -eu
plan=${1:?the plan is missing: sbatch --array=1-N slurm.sh plan.json}
shift
exec registry-ext publish --plan "$plan" --job "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@"
