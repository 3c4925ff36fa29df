import numpy as np

from mals.stages.captioning.model import Request
from mals.stages.captioning.stand_in import StandIn

IMAGE = np.zeros((8, 4, 3), np.uint8)


def captioned(choice, source="a man in a red coat with a bag"):
    return StandIn().caption([Request(IMAGE, "", 0, source, choice)])[0]


def test_the_phrases_of_the_first_caption_fill_the_template():
    assert captioned("Carrying {carried}, {person} wears {clothes}.") == "Carrying a bag, a man wears a red coat."


def test_without_a_template_it_takes_the_first_of_the_generator():
    assert captioned("") == "A man wears a red coat, carrying a bag."


def test_a_style_example_is_made_a_template_first():
    assert captioned("Dressed in a green skirt, this lady carries a handbag.") == "Dressed in {lower}, a man carries a bag."
    assert captioned("Dressed in a green coat, this lady carries a handbag.") == "Dressed in a red coat, a man carries a bag."


def test_a_slot_without_a_phrase_stays_for_the_rules_to_refuse():
    assert captioned("{person} with {hair}.") == "A man with {hair}."


def test_without_a_caption_there_is_none():
    assert captioned("{person} in {clothes}.", source=" ") == ""
