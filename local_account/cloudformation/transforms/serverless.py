"""AWS::Serverless-2016-10-31: what AWS's own translator makes of a SAM template.

Runs in the server process. The translator is imported when the first template names it: it takes a second. What it
makes has to be of types that stacks know, so an ``AWS::Serverless::Api`` fails the stack by the name of its type.
Source: the translator itself (aws-sam-translator), and the SAM Developer Guide.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator, Mapping

import boto3

from local_account.cloudformation.language.errors import TransformError
from local_account.cloudformation.transforms.macros import Section, as_section

SERVERLESS = "AWS::Serverless-2016-10-31"
_APPLICATION = "AWS::Serverless::Application"
_log = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.Lock()  # the translator keeps the region, and its measurements, for the whole process


def translated(document: Section, values: Mapping[str, object], region: str) -> Section:
    """The template with functions, tables and state machines of CloudFormation's types in place of SAM's.

    Raises TransformError for what the translator refuses, and for an application of AWS's repository.
    """
    if name := next(_of_the_repository(document), None):
        raise _failed(f"Resource with id [{name}] is invalid. The stand-in account has no application repository.")
    with _ONE_AT_A_TIME:
        return as_section(_translate(document, values, region))


def _translate(document: Section, values: Mapping[str, object], region: str) -> object:
    # Imported here: it takes a second, and most templates do without it.
    from samtranslator.internal.managed_policies import get_bundled_managed_policy_map
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.utils.py27hash_fix import to_py27_compatible_template, undo_mark_unicode_str_in_template

    given = dict(values)
    try:
        to_py27_compatible_template(document, given)  # so that layers and versions get the names they get on AWS
        session = boto3.Session(region_name=region)
        translator = Translator(None, Parser(), boto_session=session)
        policies = functools.partial(get_bundled_managed_policy_map, "aws")
        made: object = translator.translate(document, given, get_managed_policy_map=policies)
        return undo_mark_unicode_str_in_template(made)
    except InvalidDocumentException as error:
        causes = sorted(cause.message for cause in error.causes)
        raise _failed(" ".join([error.message, *causes])) from error
    except Exception as error:  # of any kind: the translator trusts the forms of a template
        _log.exception("the SAM translator failed")
        raise _failed("Internal transform failure.") from error


def _of_the_repository(document: Section) -> Iterator[str]:
    """The names of applications that AWS would take from its repository."""
    resources = document.get("Resources")
    for name, resource in resources.items() if isinstance(resources, Mapping) else ():
        if isinstance(resource, Mapping) and resource.get("Type") == _APPLICATION:
            properties = resource.get("Properties")
            if isinstance(properties, Mapping) and isinstance(properties.get("Location"), Mapping):
                yield str(name)


def _failed(why: str) -> TransformError:
    return TransformError(f"Transform {SERVERLESS} failed with: {why}")
