#!/usr/bin/env bash
# An MLflow server that several drivers may share: runs in PostgreSQL, artifacts in an S3-compatible store, no compose.
#   cluster/mlflow.sh up          starts PostgreSQL, MinIO and MLflow in containers; prints the address
#   cluster/mlflow.sh down        stops them; the data stay in the volumes sde-pg and sde-s3
# With a database and a bucket of your own nothing is started but MLflow:
#   DATABASE=postgresql://user:password@host/mlflow BUCKET=s3://bucket/mlflow cluster/mlflow.sh up
#
# It listens on 127.0.0.1 unless BIND says otherwise, and answers only to the names in HOSTS: for a cluster, set
# BIND=0.0.0.0 HOSTS=mlflow.internal:5000 (the name in the drivers' tracking_uri). MLflow itself asks nobody who they
# are: before you open it to a network, put it behind a proxy that does, or set MLFLOW_AUTH=1 for MLflow's own accounts
# (and change the admin's password).
set -euo pipefail

IMAGE=${IMAGE:-sde-ray:cpu} # of cluster/Dockerfile: MLflow, psycopg2 and boto3 are in it
BIND=${BIND:-127.0.0.1}
PORT=${PORT:-5000}
HOSTS=${HOSTS:-localhost:$PORT,127.0.0.1:$PORT}
SECRETS=${SECRETS:-$HOME/.sde-mlflow.env} # made once, readable by you alone
names=(sde-mlflow sde-s3 sde-pg)

secrets() {
  if [[ ! -f $SECRETS ]]; then
    (umask 077 && printf 'POSTGRES_PASSWORD=%s\nMINIO_ROOT_PASSWORD=%s\nMINIO_ROOT_USER=mlflow\n' \
      "$(openssl rand -hex 24)" "$(openssl rand -hex 24)" >"$SECRETS")
  fi
  # shellcheck source=/dev/null
  source "$SECRETS"
}

stores() {
  docker run --detach --name sde-pg --network sde --restart unless-stopped --volume sde-pg:/var/lib/postgresql/data \
    --env POSTGRES_USER=mlflow --env POSTGRES_DB=mlflow --env POSTGRES_PASSWORD postgres:17 >/dev/null
  docker run --detach --name sde-s3 --network sde --restart unless-stopped --volume sde-s3:/data \
    --env MINIO_ROOT_USER --env MINIO_ROOT_PASSWORD minio/minio:latest server /data >/dev/null
  until docker exec sde-pg pg_isready --quiet --username mlflow; do sleep 1; done
  docker run --rm --network sde --env MINIO_ROOT_USER --env MINIO_ROOT_PASSWORD --entrypoint sh minio/mc:latest -c \
    "until mc alias set s3 http://sde-s3:9000 \"\$MINIO_ROOT_USER\" \"\$MINIO_ROOT_PASSWORD\"; do sleep 1; done
     mc mb --ignore-existing s3/mlflow" >/dev/null
}

up() {
  docker network inspect sde >/dev/null 2>&1 || docker network create sde >/dev/null
  local -a s3=(--env AWS_ACCESS_KEY_ID --env AWS_SECRET_ACCESS_KEY)
  if [[ -z ${DATABASE:-} ]]; then
    secrets
    export POSTGRES_PASSWORD MINIO_ROOT_USER MINIO_ROOT_PASSWORD
    stores
    export DATABASE="postgresql://mlflow:$POSTGRES_PASSWORD@sde-pg/mlflow" BUCKET=s3://mlflow
    export AWS_ACCESS_KEY_ID=$MINIO_ROOT_USER AWS_SECRET_ACCESS_KEY=$MINIO_ROOT_PASSWORD
    export MLFLOW_S3_ENDPOINT_URL=http://sde-s3:9000
    s3+=(--env MLFLOW_S3_ENDPOINT_URL)
  fi
  local -a login=()
  [[ -n ${MLFLOW_AUTH:-} ]] && login=(--app-name basic-auth)
  # The server hands artifacts through, so that drivers need no key of the store. Secrets come by the environment:
  # arguments can be read by every user of the machine.
  export MLFLOW_BACKEND_STORE_URI=$DATABASE MLFLOW_ARTIFACTS_DESTINATION=${BUCKET:?a bucket for the artifacts}
  docker run --detach --name sde-mlflow --network sde --restart unless-stopped --publish "$BIND:$PORT:5000" \
    --env MLFLOW_BACKEND_STORE_URI --env MLFLOW_ARTIFACTS_DESTINATION "${s3[@]}" "$IMAGE" \
    mlflow server --host 0.0.0.0 --port 5000 --serve-artifacts --allowed-hosts "$HOSTS" "${login[@]}" >/dev/null
  echo "MLflow: http://$BIND:$PORT    in a sweep: mlflow: {tracking_uri: \"http://$BIND:$PORT\"}"
}

down() {
  for name in "${names[@]}"; do
    docker rm --force "$name" >/dev/null 2>&1 || true
  done
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) echo "Give up or down: $0 up" >&2 && exit 2 ;;
esac
