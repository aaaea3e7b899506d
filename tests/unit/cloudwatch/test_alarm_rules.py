"""Rules of composite alarms: any text is a rule or is refused, and a rule says what its words say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_account.cloudwatch.alarms.rules import AlarmRuleError, read_rule

STATES = {"a": "ALARM", "b": "OK", "c d": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ('OK("b") AND INSUFFICIENT_DATA("c d")', True),
        ("ALARM(b) OR ALARM(a) AND OK(a)", False),
        ("(ALARM(b) OR ALARM(a)) AND NOT OK(a)", True),
        ("NOT NOT FALSE", False),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a)", True),
        ("ALARM(nobody) OR TRUE", True),
        ("OK(nobody)", False),
    ],
)
def test_a_rule_says_what_its_words_say(rule: str, expected: bool) -> None:
    assert read_rule(rule).holds(STATES) is expected


@pytest.mark.parametrize(
    "text", ["", "ALARM", "ALARM()", "ALARM(a", "a", "NOT", "ALARM(a) OK(b)", "(" * 99, '"ALARM"(a)']
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(AlarmRuleError):
        read_rule(text)


@given(
    st.lists(st.sampled_from(["ALARM(", "OK(", "a", ")", "(", " AND ", " OR ", "NOT ", "TRUE", '"', ","]), max_size=12)
)
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    try:
        rule = read_rule("".join(parts))
    except AlarmRuleError:
        return
    assert rule.holds(STATES) in (True, False)
    assert {test.name for test in rule.tests()} <= {"a", *parts}
