"""The service against its own OpenAPI document: Schemathesis makes requests from it, good ones and bad ones, and holds
every answer against it. No 5xx, whatever comes.

How many it makes is bounded, and the same in every run.
"""

import os
import re
from ipaddress import ip_network
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks

from host_tools.server.endpoints import ENDPOINTS
from host_tools.server.openapi import document
from host_tools.server.tokens import OPERATOR_SCOPES, ROOT_SCOPES
from tests.server.bank import Bank

EXAMPLES = int(os.environ.get("JIAOZI_EXAMPLES", "15"))  # of each endpoint
OF_ROOT = {row.path for row in ENDPOINTS if row.scope in ROOT_SCOPES}

PATH_SHAPES = {"device": re.compile("[0-9a-f]{32}"), "account": re.compile("[1-9][0-9]{0,17}")}

addresses = ip_network("10.0.0.0/8").hosts()

schema = schemathesis.openapi.from_dict(document(ENDPOINTS))
load_all_checks()


@pytest.fixture(scope="module")
def known(bank: Bank) -> dict[str, str | int]:
    """Made before an example issues all the money that there can be."""
    device = bank.device("Ana", balance=500)
    return {"device": device.id.hex(), "account": bank.accounts["Ana"]}


@pytest.fixture
def headers(bank: Bank, known: dict[str, str | int]) -> dict[bool, dict[str, str]]:
    """The token that an endpoint needs, by whether it is the central bank's. Every test is a client of its own, of
    which the proxy tells, so that none meets the rate limits.
    """
    client = {"X-Forwarded-For": str(next(addresses))}
    texts = {True: bank.token(*ROOT_SCOPES), False: bank.token(*OPERATOR_SCOPES)}
    return {of_root: client | {"Authorization": f"Bearer {text}"} for of_root, text in texts.items()}


bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def check(case: Case, bank: Bank, headers: dict[bool, dict[str, str]]) -> None:
    # What a device must have signed is described by no schema: such bodies are of the right shape, and refused
    signed = case.operation.definition.raw.get("operationId") in ("upload", "take_redemption")
    left_out: list[Any] = [CHECKS.get_one("positive_data_acceptance")] if signed else []
    token = headers[case.path in OF_ROOT]
    case.call_and_validate(base_url=bank.service, headers=token, excluded_checks=left_out)


@schema.parametrize()
@bounded
def test_every_answer_is_as_the_document_says(case: Case, bank: Bank, headers: dict[bool, dict[str, str]]):
    check(case, bank, headers)


@schema.include(path_regex=r"\{(device|account)\}").parametrize()
@bounded
def test_so_it_is_for_devices_and_accounts_that_there_are(
    case: Case, bank: Bank, known: dict[str, str | int], headers: dict[bool, dict[str, str]]
):
    """An id of the right shape becomes that of a device or account of the bank's."""
    for name, value in known.items():
        given = case.path_parameters.get(name)
        if given is not None and PATH_SHAPES[name].fullmatch(str(given)):
            case.path_parameters[name] = value
    check(case, bank, headers)
