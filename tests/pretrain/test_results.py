"""Results as records and as JSON."""

import json
from dataclasses import replace

from pretrain.results import (
    AttributeScores,
    Evaluation,
    IdentificationScores,
    Measurement,
    RetrievalScores,
    SelectionResult,
    evaluations_in,
)

RETRIEVAL = RetrievalScores(
    R1=0.5, R5=0.75, R10=1.0, mAP=0.4, mINP=0.2, unmatched=1, captions=8, images=4, identities=2, protocol="by text"
)
ATTRIBUTES = AttributeScores(
    mA=0.6,
    accuracy=0.5,
    precision=0.5,
    recall=0.5,
    f1=0.5,
    images=4,
    space="own",
    protocol="by prompts",
    per_attribute={"hat": {"mA": None, "positives": 0}},
)

IDENTIFICATION = IdentificationScores(
    R1=0.5, R5=0.75, R10=1.0, mAP=0.4, mINP=0.2, unmatched=0, queries=8, images=4, identities=2, protocol="by image"
)


def test_an_evaluation_is_the_same_after_json_and_lacks_what_was_not_measured() -> None:
    for evaluation in (
        Evaluation(RETRIEVAL, ATTRIBUTES, {"own protocol": {"score": 0.5}}, 2),
        Evaluation(RETRIEVAL),
        Evaluation(attributes=ATTRIBUTES),
        Evaluation(identification=IDENTIFICATION),
    ):
        tree = json.loads(json.dumps(evaluation.to_json()))
        assert Evaluation.from_json(tree) == evaluation
        assert ("retrieval" in tree, "more" in tree) == (evaluation.retrieval is not None, bool(evaluation.more))
        assert ("identification" in tree) == (evaluation.identification is not None)


def test_what_does_not_count_is_said_in_sentences() -> None:
    assert Evaluation(RETRIEVAL, identification=replace(IDENTIFICATION, unmatched=1_200), unreadable=3).left_out == [
        "1 captions have no image of their person in the gallery and were left out",
        "1,200 queries have no image of their person by another camera and were left out",
        "3 images could not be read and were left out",
    ]
    assert Evaluation(identification=IDENTIFICATION).left_out == []


def test_evaluations_are_read_from_any_depth_with_the_names_around_them() -> None:
    selected = Measurement(12, 2.0, "val", {"R1": 0.5})
    tuned = SelectionResult("Mine", ("a", "b"), "val", selected, None, Evaluation(RETRIEVAL)).to_json()
    assert Measurement.from_json(tuned["selected"]) == selected
    tree = {"sets": [{"name": "One", **Evaluation(attributes=ATTRIBUTES).to_json()}, tuned], "split": "dev"}
    (first, one), (second, two) = evaluations_in(tree)
    assert (first, one.attributes) == ({"name": "One", "split": "dev"}, ATTRIBUTES)
    assert (second["name"], second["split"], second["data"], two.retrieval) == ("Mine", "test", ["a", "b"], RETRIEVAL)
    assert list(evaluations_in({"retrieval": {"R1": 1}, "other": [1, "text"]})) == []
