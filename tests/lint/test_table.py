"""Every module has its test, or a line in docs/tests.md that names one."""

from tests.lint import table


def test_every_module_has_its_test_or_a_line_in_the_table():
    assert table.complaints() == []


def test_a_module_without_test_and_line_is_named(monkeypatch):
    monkeypatch.setattr(table, "modules", lambda: [*table.table(), "mals/nowhere.py"])
    assert [complaint for complaint in table.complaints() if "mals/nowhere.py has no test tests/mals/test_nowhere.py" in complaint]
