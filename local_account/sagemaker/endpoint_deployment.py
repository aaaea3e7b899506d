"""What an update of an endpoint asks for: its deployment policy, and what it keeps of the endpoint as it is.

Runs in the server process.
"""

from __future__ import annotations

from typing import Any

from local_account.sagemaker.service import Resource, SageMakerError


def traffic_weights(source: dict[str, Any]) -> dict[str, float]:
    return {variant["VariantName"]: float(variant["InitialVariantWeight"]) for variant in source["variants"]}


def retain_properties(endpoint: Resource, source: dict[str, Any], excluded: set[str]) -> None:
    """RetainAllVariantProperties: weights, instance counts and data capture stay as the endpoint has them now."""
    current = {variant["VariantName"]: variant for variant in endpoint["_source"]["variants"]}
    properties = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}
    for variant in source["variants"]:
        for kind, key in properties.items():
            if kind not in excluded and key in current.get(variant["VariantName"], {}):
                variant[key] = current[variant["VariantName"]][key]
    if "DataCaptureConfig" not in excluded:
        source["capture"] = endpoint["_source"]["capture"]


def check_deployment(request: dict[str, Any]) -> None:
    deployment = request.get("DeploymentConfig", {})
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    if routing.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE" or "RollingUpdatePolicy" in deployment:
        raise SageMakerError(
            f"The stand-in account does not shift traffic gradually yet: DeploymentConfig asks for "
            f"{routing.get('Type', 'a rolling update')}, it takes ALL_AT_ONCE or none."
        )
    if "AutoRollbackConfiguration" in deployment:
        raise SageMakerError("The stand-in account does not roll back on alarms yet: omit AutoRollbackConfiguration.")
