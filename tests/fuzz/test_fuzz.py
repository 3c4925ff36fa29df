import pytest

from tests.fuzz import KINDS, run


@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_inputs_of_a_kind_are_taken_or_refused_and_nothing_else(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    run(kind, 2000)
    assert capfd.readouterr() == ("", "")
