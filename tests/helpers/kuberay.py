"""KubeRay's API (ray.io/v1: RayCluster, RayJob) as JSON schemas, strict: an unknown field is a fault.

Names, types, limits and the release that a field came with are those of KubeRay's API reference, 1.7.0, on the levels
above a pod; what is in a pod is judged by the models of Kubernetes' own client (`model_faults`). The operator's own
definitions (`crds/` of its Helm chart, 1.3 MB each) come in no package and are not copied here. Where
`SDE_KUBERAY_CRDS` names a folder with them, `crd_schema` reads them, the same manifests go through them, and the
schemas of this page are compared with them, field by field:

    helm pull kuberay/kuberay-operator --untar --repo https://ray-project.github.io/kuberay-helm/
    SDE_KUBERAY_CRDS=kuberay-operator/crds pytest tests/cluster/test_kuberay_files.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
ANYTHING: Schema = {}  # objects of Kubernetes itself, or of options that no file of ours sets
POD: Schema = {"type": "object", "x-model": "V1PodTemplateSpec"}
CONTAINER_SECURITY: Schema = {"type": "object", "x-model": "V1SecurityContext"}
ENVIRONMENT_SOURCE: Schema = {"type": "object", "x-model": "V1EnvVarSource"}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _object(required: str = "", **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


AUTH_OPTIONS = _object(mode=_one_of("disabled", "token"), secretName=TEXT, enableK8sTokenAuth=FLAG)
CREDENTIAL = _object(value=TEXT, valueFrom=ENVIRONMENT_SOURCE)
GCS_FAULT_TOLERANCE = _object(
    redisAddress=TEXT,
    redisUsername=CREDENTIAL,
    redisPassword=CREDENTIAL,
    externalStorageNamespace=TEXT,
    backend=_one_of("redis", "rocksdb"),
    storage=ANYTHING,
)
AUTOSCALER = _object(
    resources=ANYTHING,
    image=TEXT,
    imagePullPolicy=TEXT,
    securityContext=CONTAINER_SECURITY,
    idleTimeoutSeconds=COUNT,
    upscalingMode=_one_of("Default", "Aggressive", "Conservative"),
    version=_one_of("v1", "v2"),
    env={"type": "array"},
    envFrom={"type": "array"},
    volumeMounts={"type": "array"},
    command={"type": "array", "items": TEXT},
    args={"type": "array", "items": TEXT},
)
HEAD = _object(
    "rayStartParams template",
    template=POD,
    headService=ANYTHING,
    enableIngress=FLAG,
    ingressOptions=ANYTHING,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    serviceType=TEXT,
)
WORKERS = _object(
    "groupName minReplicas maxReplicas rayStartParams template",
    suspend=FLAG,
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    priority=COUNT,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    template=POD,
    scaleStrategy=_object(workersToDelete={"type": "array", "items": TEXT}),
    numOfHosts=COUNT,
)
CLUSTER = _object(
    "headGroupSpec",
    upgradeStrategy=_object(type=_one_of("Recreate", "None")),
    authOptions=AUTH_OPTIONS,
    suspend=FLAG,
    managedBy=TEXT,
    autoscalerOptions=AUTOSCALER,
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=GCS_FAULT_TOLERANCE,
    historyServerOptions=ANYTHING,
    networkPolicy=ANYTHING,
    tlsOptions=_object(enabled=FLAG),
    headGroupSpec=HEAD,
    rayVersion=TEXT,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
JOB = _object(
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=POD,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=_object(backoffLimit=COUNT),
    managedBy=TEXT,
    deletionStrategy=ANYTHING,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=_one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus=NUMBER,
    entrypointNumGpus=NUMBER,
    ttlSecondsAfterFinished=COUNT,
    preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)
SCHEMAS: dict[str, Schema] = {"RayCluster": CLUSTER, "RayJob": JOB}

# The release that a field came with, for those that came with 1.5 or later (documentation of Ray on Kubernetes).
SINCE: dict[str, tuple[int, int, int]] = {
    "authOptions": (1, 5, 1),
    "secretName": (1, 6, 0),
    "preRunningDeadlineSeconds": (1, 6, 0),
    **dict.fromkeys(("historyServerOptions", "tlsOptions", "ingressOptions", "backend", "storage"), (1, 7, 0)),
}


def fields_of(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Every field of KubeRay's own that a spec sets, at any depth above a pod."""
    for key, inner in schema.get("properties", {}).items():
        if isinstance(value, Mapping) and key in value:
            yield key
            yield from fields_of(inner, value[key])
    if isinstance(value, list) and "items" in schema:
        for one in value:
            yield from fields_of(schema["items"], one)


def spec_faults(kind: str, spec: Mapping[str, Any], schemas: Mapping[str, Schema] = SCHEMAS) -> list[str]:
    """What the operator's schema has against a spec: unknown fields, wrong types, missing ones.

    Args:
        kind: RayCluster or RayJob.
        spec: The `spec` of a manifest, as YAML gives it.
        schemas: By kind; those of this page, or of `crd_schema`.

    Returns:
        One line a fault, with its path; none: the spec fits.
    """
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(schemas[kind]).iter_errors(spec)
    return [f"{error.json_path}: {error.message}" for error in errors]


def models_of(schema: Mapping[str, Any], value: Any, path: str = "$") -> Iterator[tuple[str, str, Any]]:
    """(path, model of Kubernetes' client, value) of each object of Kubernetes' own inside a spec."""
    if "x-model" in schema:
        yield path, schema["x-model"], value
    for key, inner in schema.get("properties", {}).items():
        if isinstance(value, Mapping) and key in value:
            yield from models_of(inner, value[key], f"{path}.{key}")
    if isinstance(value, list) and "items" in schema:
        for place, one in enumerate(value):
            yield from models_of(schema["items"], one, f"{path}[{place}]")


SIMPLE: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def model_faults(client: Any, value: Any, kind: str, path: str) -> Iterator[str]:
    """What the model of Kubernetes' client has against a value: unknown fields and wrong types, at any depth.

    Args:
        client: The module `kubernetes.client`.
        value: As YAML gives it.
        kind: A model (`V1PodSpec`), a simple type (`str`), `list[KIND]` or `dict(str, KIND)`.
        path: Where it is, for the message.
    """
    if match := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        if not isinstance(value, list):
            yield f"{path} is no list"
        else:
            for one in value:
                yield from model_faults(client, one, match[1], f"{path}[]")
    elif match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for key, inner in value.items():
            yield from model_faults(client, inner, match[1], f"{path}.{key}")
    elif kind in SIMPLE:
        if not isinstance(value, SIMPLE[kind]) or (kind != "bool" and isinstance(value, bool)):
            yield f"{path} is no {kind}: {value!r}"
    elif hasattr(client, kind):
        model = getattr(client, kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        for key, inner in value.items():
            if key not in names:
                yield f"{path}.{key} is unknown"
            else:
                yield from model_faults(client, inner, model.openapi_types[names[key]], f"{path}.{key}")


def crd_schema(file: Path) -> tuple[str, Schema]:
    """(kind, strict schema of its `spec`) of the operator's own definition: what it would drop is a fault.

    Kubernetes prunes the fields that a definition does not have, without a word; the schema here refuses them.
    """
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
    return crd["spec"]["names"]["kind"], _strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema and "type" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict = {"type": ["integer", "string"]}
    return strict
