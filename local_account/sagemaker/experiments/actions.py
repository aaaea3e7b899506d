"""The actions on experiments and trials, and which trial components belong to which trial.

Runs in the server process; state: the tables ``experiments``, ``experiment-trials`` and ``trial-members`` (the
components of each trial, with the time of the association).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import now
from local_account.sagemaker.experiments.named import COMPONENT, EXPERIMENT, TRIAL, NamedRecords, Record, shown
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AssociateTrialComponentRequestTypeDef,
        CreateExperimentRequestTypeDef,
        CreateTrialRequestTypeDef,
        DeleteExperimentRequestTypeDef,
        DeleteTrialRequestTypeDef,
        DescribeExperimentRequestTypeDef,
        DescribeTrialRequestTypeDef,
        DisassociateTrialComponentRequestTypeDef,
        ListExperimentsRequestTypeDef,
        ListTrialsRequestTypeDef,
        UpdateExperimentRequestTypeDef,
        UpdateTrialRequestTypeDef,
    )


class Experiments:
    """The actions on experiments and trials."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker
        self.experiments = NamedRecords(sagemaker, EXPERIMENT)
        self.trials = NamedRecords(sagemaker, TRIAL)
        self.components = NamedRecords(sagemaker, COMPONENT)

    @property
    def members(self) -> dict[str, dict[str, float]]:
        """The components of each trial, by name, with the time of their association."""
        return self._sagemaker.table("trial-members", dict[str, float])

    def trials_of(self, component: str) -> list[Record]:
        """The trials that a component belongs to."""
        return [self.trials.records[name] for name, members in self.members.items() if component in members]

    @action("CreateExperiment")
    def create_experiment(self, request: CreateExperimentRequestTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken."""
        return self.experiments.create(request, request.get("Tags"))

    @action("DescribeExperiment")
    def describe_experiment(self, request: DescribeExperimentRequestTypeDef) -> Reply:
        """Answers the experiment."""
        return shown(self.experiments.find(request["ExperimentName"]))

    @action("UpdateExperiment")
    def update_experiment(self, request: UpdateExperimentRequestTypeDef) -> Reply:
        """Members that the request does not name stay."""
        return self.experiments.update(request)

    @action("DeleteExperiment")
    def delete_experiment(self, request: DeleteExperimentRequestTypeDef) -> Reply:
        """Raises ServiceError while the experiment has trials."""
        return self.experiments.remove(request["ExperimentName"], self._trials_in)

    def _trials_in(self, experiment: str) -> str:
        found = [name for name, one in self.trials.records.items() if one["ExperimentName"] == experiment]
        return f"delete its trials first ({', '.join(found)})" if found else ""

    @action("ListExperiments")
    def list_experiments(self, request: ListExperimentsRequestTypeDef) -> Reply:
        """Answers a page of experiments, the newest first."""
        return self.experiments.page(list(self.experiments.records.values()), request)

    @action("CreateTrial")
    def create_trial(self, request: CreateTrialRequestTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken, and for an experiment that is not there."""
        experiment = self.experiments.find(request["ExperimentName"])["ExperimentName"]
        return self.trials.create(request, request.get("Tags"), ExperimentName=experiment)

    @action("DescribeTrial")
    def describe_trial(self, request: DescribeTrialRequestTypeDef) -> Reply:
        """Answers the trial."""
        return shown(self.trials.find(request["TrialName"]))

    @action("UpdateTrial")
    def update_trial(self, request: UpdateTrialRequestTypeDef) -> Reply:
        """Members that the request does not name stay."""
        return self.trials.update(request)

    @action("DeleteTrial")
    def delete_trial(self, request: DeleteTrialRequestTypeDef) -> Reply:
        """Raises ServiceError while the trial has components."""
        answer = self.trials.remove(request["TrialName"], self._components_in)
        self.members.pop(request["TrialName"], None)
        return answer

    def _components_in(self, trial: str) -> str:
        found = self.members.get(trial, {})
        return f"disassociate its trial components first ({', '.join(found)})" if found else ""

    @action("ListTrials")
    def list_trials(self, request: ListTrialsRequestTypeDef) -> Reply:
        """Answers a page of trials, of an experiment or with a component, the newest first."""
        found = list(self.trials.records.values())
        if "ExperimentName" in request:
            wanted = self.experiments.find(request["ExperimentName"])["ExperimentName"]
            found = [one for one in found if one["ExperimentName"] == wanted]
        if "TrialComponentName" in request:
            component = str(self.components.find(request["TrialComponentName"])["TrialComponentName"])
            found = [one for one in found if component in self.members.get(str(one["TrialName"]), {})]
        return self.trials.page(found, request)

    @action("AssociateTrialComponent")
    def associate(self, request: AssociateTrialComponentRequestTypeDef) -> Reply:
        """A component may belong to several trials; once in a trial, it stays where it is."""
        trial, component = self._pair(request)
        with self._sagemaker.lock:
            self.members.setdefault(str(trial["TrialName"]), {}).setdefault(str(component["TrialComponentName"]), now())
            self._sagemaker.changed()
        return {"TrialArn": trial["TrialArn"], "TrialComponentArn": component["TrialComponentArn"]}

    @action("DisassociateTrialComponent")
    def disassociate(self, request: DisassociateTrialComponentRequestTypeDef) -> Reply:
        """Raises ServiceError for a component that the trial does not have."""
        trial, component = self._pair(request)
        name = str(component["TrialComponentName"])
        with self._sagemaker.lock:
            if self.members.get(str(trial["TrialName"]), {}).pop(name, None) is None:
                raise ServiceError(
                    f"TrialComponent '{component['TrialComponentArn']}' is not associated with Trial "
                    f"'{trial['TrialArn']}'.",
                    "ResourceNotFound",
                )
            self._sagemaker.changed()
        return {"TrialArn": trial["TrialArn"], "TrialComponentArn": component["TrialComponentArn"]}

    def _pair(
        self, request: AssociateTrialComponentRequestTypeDef | DisassociateTrialComponentRequestTypeDef
    ) -> tuple[Record, Record]:
        return self.trials.find(request["TrialName"]), self.components.find(request["TrialComponentName"])
