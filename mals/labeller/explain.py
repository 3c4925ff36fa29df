"""The labels of one caption with the words that decided them, as `mals explain` shows them."""

from typing import Any

from mals.labeller.labeller import Labeller


def explain(caption: str, space: str = "market1501") -> dict[str, Any]:
    """The labels of one caption: `caption`, `space` (its name) and `attributes`, a list with one entry for each attribute of the space.

    An entry has `name`, `value` (0, 1, or -1 if unknown), `value_name`, `prompt` (None if unknown), `source` ("explicit", "implicit" or
    "unknown") and `evidence`: the words that decided, each with `text`, `start` and `end` in the caption.

    Raises:
        UserError: there is no such space, or its file has a mistake.

    Examples:
        >>> from mals.labeller.explain import explain
        >>> hat = explain("a boy with a red cap")["attributes"][3]
        >>> hat["name"], hat["value_name"], hat["source"], hat["evidence"]
        ('hat', 'yes', 'explicit', [{'text': 'cap', 'start': 17, 'end': 20}])
    """
    labeller = Labeller(space)
    labels = labeller.label([caption])
    evidence = labels.evidence[0]
    attributes = []
    for at, name in enumerate(labeller.space.names):
        value = int(labels.values[0, at])
        attributes.append(
            {
                "name": name,
                "value": value,
                "value_name": labeller.space.values[at][value] if value >= 0 else "unknown",
                "prompt": labeller.space.prompts[at][value] if value >= 0 else None,
                "source": str(labels.sources[0, at]),
                "evidence": [{"text": caption[start:end], "start": start, "end": end} for start, end in evidence[at]],
            }
        )
    return {"caption": caption, "space": labeller.space.name, "attributes": attributes}
