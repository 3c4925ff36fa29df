import pytest

from mals.errors import UserError
from mals.stages.captioning.mining import choose, mine, write_templates
from mals.stages.captioning.templates import generated, load_templates

CAPTIONS = [
    *(f"A {person} wears a {color} coat and black jeans." for person in ("man", "woman", "boy") for color in ("red", "blue", "green")),
    *(f"Carrying a bag, the {person} is dressed in a {color} skirt." for person in ("girl", "lady") for color in ("red", "white")),
    "a dog on the street",
]


def test_captions_of_one_shape_are_one_template_and_are_counted():
    counts, captions = mine(CAPTIONS)
    assert captions == 14
    assert counts == {"{person} wears {upper} and {lower}.": 9, "Carrying {carried}, {person} is dressed in {lower}.": 4}


def test_templates_of_real_captions_are_written_as_a_file_that_captioners_read(tmp_path):
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS))
    mined = write_templates(str(tmp_path / "captions.txt"), tmp_path / "t.txt")
    assert (mined.captions, mined.usable, mined.distinct, mined.clusters, mined.templates) == (14, 13, 2, 0, 2)
    assert load_templates(str(tmp_path / "t.txt")) == [
        "{person} wears {upper} and {lower}.",
        "Carrying {carried}, {person} is dressed in {lower}.",
    ]


def test_without_captions_the_templates_of_the_generator_are_written(tmp_path):
    assert write_templates(None, tmp_path / "t.txt").templates == 480
    assert load_templates(str(tmp_path / "t.txt")) == list(generated())


def test_clusters_keep_templates_of_different_shapes_and_are_the_same_each_time():
    first = [f"{{person}} wears {{upper}} and {{lower}} {word}." for word in ("today", "here", "there", "again", "alone", "now")]
    second = [
        f"Carrying {{carried}}, there is {{person}} {word} in {{clothes}}." for word in ("today", "here", "there", "again", "alone", "now")
    ]
    chosen = choose([*first, *second], 2, 1, seed=3)
    assert [text in first for text in chosen] == [True, False]
    assert chosen == choose([*first, *second], 2, 1, seed=3)
    assert len(choose([*first, *second], 2, 2, seed=3)) == 4
    assert choose(first, 6, 1, seed=0) == first


def test_captions_without_any_template_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "captions.txt").write_text("a dog\na cat\n")
    with pytest.raises(UserError, match=r"no caption of .* has a template"):
        write_templates(str(tmp_path / "captions.txt"), tmp_path / "t.txt")
    assert not (tmp_path / "t.txt").exists()
    with pytest.raises(UserError, match="there is no folder"):
        write_templates(None, tmp_path / "none" / "t.txt")
