"""A stand-in for captioners that follow instructions: it looks at no image and runs no model.

It puts the phrases of an earlier caption, as the labeller reads them, into the template that it is shown, so that the recipes with
templates run anywhere. Its captions say what the earlier one says. The column `captions` names it `stand-in: templates`.
"""

from collections.abc import Sequence

from mals.models import ResolvedModel
from mals.stages.captioning.model import Request
from mals.stages.captioning.slots import phrases, template
from mals.stages.captioning.templates import fill, generated

NAME = "stand-in: templates"
VERSION = "1"  # of its rules, raised when its captions change


class StandIn:
    """Fills templates. A style example is first made a template; without either the first template of the generator is used."""

    resolved = ResolvedModel(NAME, "", VERSION)

    def caption(self, requests: Sequence[Request]) -> list[str]:
        """See mals.stages.captioning.model.CaptionModel; a slot of which the caption says nothing stays, so that the rules refuse it."""
        return [self._fill(request) for request in requests]

    def _fill(self, request: Request) -> str:
        shape = request.choice or generated()[0]
        if "{" not in shape:  # a style example
            shape = template(shape) or generated()[0]
        return fill(shape, phrases(request.source)) if request.source.strip() else ""
