"""Application Auto Scaling in stacks: what scales, and by which policies. Runs in the server process."""

from __future__ import annotations

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, ResourceError, as_text, only
from local_account.protocol.records import without

_SCALED = ("ServiceNamespace", "ResourceId", "ScalableDimension")


class ScalableTargetKind(Kind):
    """AWS::ApplicationAutoScaling::ScalableTarget: the least and the most instances of a variant."""

    replaced_by = frozenset(_SCALED)

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Register what scales."""
        if "ScheduledActions" in properties:
            raise ResourceError("The stand-in account does not implement the property /ScheduledActions")
        call(place, "application-autoscaling", "RegisterScalableTarget", properties)
        target = "|".join(as_text(properties[name]) for name in ("ResourceId", "ScalableDimension", "ServiceNamespace"))
        return Made(target, {"Id": target})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Register it with other bounds."""
        return self.create(place, new)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Leave what scaled as large as it is."""
        call_gone(place, "application-autoscaling", "DeregisterScalableTarget", only(properties, *_SCALED))


class ScalingPolicyKind(Kind):
    """AWS::ApplicationAutoScaling::ScalingPolicy; its target is named by its id or by its three members."""

    name = "PolicyName"
    replaced_by = frozenset({*_SCALED, "ScalingTargetId"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Put the policy."""
        answer = call(place, "application-autoscaling", "PutScalingPolicy", self._request(properties))
        return Made(str(answer["PolicyARN"]), {"Arn": answer["PolicyARN"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Put the policy again."""
        return self.create(place, new)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the policy."""
        request = only(self._request(properties), "PolicyName", *_SCALED)
        call_gone(place, "application-autoscaling", "DeleteScalingPolicy", request)

    @staticmethod
    def _request(properties: Properties) -> dict[str, object]:
        request = without(properties, "ScalingTargetId")
        if "ScalingTargetId" in properties:
            parts = as_text(properties["ScalingTargetId"]).split("|")
            if len(parts) != 3:
                raise ResourceError(f"Property ScalingTargetId should be a scalable target's id, got {'|'.join(parts)}")
            request |= dict(zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), parts, strict=True))
        return request
