"""Persons and near-duplicates as pages show them, over a run by the real stages."""

from pathlib import Path

import pytest

from mals.errors import UserError
from mals.look import persons, views
from mals.look.folder_source import FolderSource
from mals.look.run_source import RunSource
from tests.mals.look.person_run import OUTLIER, person_run
from tests.mals.look.serving import ask, serving
from tests.small import cells


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunSource:
    return RunSource(person_run(tmp_path_factory.mktemp("persons") / "run").store.url)


def test_the_person_with_the_least_agreement_comes_first(source: RunSource) -> None:
    result = persons.listed(source, "agreement", 0)
    assert result.total == 10 and len(result.persons) == 10
    first = result.persons[0]
    assert (first.name, first.row, first.images, first.kept, first.rows) == ("person 1", 7, 3, 2, (7, 9, 11))
    assert first.numbers["identity_agreement"] == 0 and all(person.numbers["identity_agreement"] == 1 for person in result.persons[1:])
    assert [person.row for person in persons.listed(source, "plan", 0).persons] == [1 + 6 * number for number in range(10)]
    assert persons.listed(source, "plan", 1).persons == []
    with pytest.raises(UserError, match="there is no order"):
        persons.listed(source, "size", 0)


def test_the_image_of_another_person_differs_in_every_label(source: RunSource) -> None:
    name, rows = persons.person_of(source, 9)
    assert (name, rows) == ("person 1", [7, 9, 11])
    labels, shares = persons.label_agreement(source, rows)
    assert shares == {OUTLIER: 0.0, 9: 1.0, 11: 1.0}
    assert len(labels) == len(source.attributes) and all(line.others == [OUTLIER] for line in labels)
    assert all(line.counts[line.value] == 2 for line in labels)
    with pytest.raises(UserError, match="has no person"):
        persons.person_of(source, 2)


def test_the_pages_of_persons_answer(source: RunSource, tmp_path: Path) -> None:
    with serving(source) as address:
        page = ask(f"{address}/persons?order=agreement").text
        assert "<strong>10</strong> persons" in page and page.index("person 1<") < page.index("person 0<") and "/person/7" in page
        one = ask(f"{address}/person/9").text
        assert "<strong>3</strong> images, 2 kept" in one and "other person" in one and "labels in common" in one
        assert ask(f"{address}/person/2").code == 409 and "has no person" in ask(f"{address}/person/2").text
        assert 'href="/person/9"' in ask(f"{address}/image/9").text
    bare = RunSource(cells.small_run(tmp_path / "run", 20, without=("person",)).store.url)
    assert "persons" not in dict(views.screens(bare))


def test_a_folder_of_images_has_no_persons(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(cells.small_jpeg("a", 16, 32))
    assert [name for name, _ in views.screens(FolderSource(str(tmp_path)))] == ["overview", "images", "captions"]
