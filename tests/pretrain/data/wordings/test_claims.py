"""What a text claims: what its words say, and not what it is silent about."""

from mals.labeller.labeller import Labeller
from pretrain.data.wordings.claims import claims_of, contradict

LABELLER = Labeller()


def named(text):
    space = LABELLER.space
    return {space.names[at]: space.values[at][value] for at, value in claims_of(LABELLER, text).items()}


def test_silence_is_no_claim_and_the_other_colors_of_a_half_are():
    claims = named("a woman in a red coat without a bag")
    assert claims["upper_red"] == "yes" and claims["upper_blue"] == "no" and claims["bag"] == "no" and claims["gender"] == "woman"
    assert "hat" not in claims and "lower_black" not in claims


def test_a_contradiction_is_another_value_of_the_same_attribute():
    one, two, three = (claims_of(LABELLER, f"a person {words}") for words in ("in a red coat", "in a blue coat", "with a hat"))
    assert contradict(one, two) and contradict(two, one) and not contradict(one, three) and not contradict(one, one)
