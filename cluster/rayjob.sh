#!/usr/bin/env bash
# The entrypoint of kuberay-job.yaml, in the image as `sde-rayjob`: `sde-ray run ARGUMENTS`, and what its end means to
# KubeRay. KubeRay answers every failed job with a new cluster, up to backoffLimit times, whatever its exit code. That
# is right when a node or the head was lost. It is wrong when sde-ray refused (exit code 2: a typo in the YAML, a full
# disk, a folder that not all nodes see): a new cluster meets the same. Such a job stops itself: its status is then
# STOPPED, which KubeRay neither retries nor counts as a success, and its log ends with the reason.
set -uo pipefail

sde-ray run "$@"
code=$?
((code == 2)) || exit "$code"

echo "Not tried again: the message above is about the sweep or its storage, not about the cluster. Mend it, then:" >&2
echo "  kubectl delete -f cluster/kuberay-job.yaml; kubectl apply -f cluster/kuberay-job.yaml" >&2
read_id='import json, os; print(json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"])'
job=$(python3 -c "$read_id") || exit "$code"
ray job stop --no-wait --address "${RAYJOB_DASHBOARD:-http://127.0.0.1:8265}" "$job" >/dev/null || exit "$code"
sleep 120 # the stop ends this process long before
exit "$code"
