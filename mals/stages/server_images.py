"""Stage `generate` through a server that makes images by the protocol of OpenAI (`/v1/images/generations`).

It has the columns of the stage with a pipeline, null where only the server knows. Its images are not promised to be the same bytes again.
"""

import base64
import binascii
from typing import Any

import pyarrow as pa

from mals.config import Generate as Settings
from mals.errors import UserError
from mals.grid.stage import Resources, Used, error_message, output_batch
from mals.images import BadImage, Pixels, decode_image
from mals.stages.generated_images import ADDS, QUALITY, columns_of
from mals.stages.openai import SEEDS
from mals.stages.server import Server
from mals.stages.server_replies import Cause, Problem, RequestFailed

MOST_BYTES = 64 << 20  # of an answer
BLOCKED = "blocked_by_server"  # the reason of a row whose prompt or image the server's own rules refuse
BLOCKING_CODES = ("content_policy_violation", "moderation_blocked", "content_filter", "ResponsibleAIPolicyViolation")


class ServerImages:
    """Images from the prompts of the plan, which a server makes."""

    name = "generate"
    version = 1
    needs: tuple[str, ...] = ("prompt", "negative_prompt", "seed", "init_image")
    adds = ADDS
    resources = Resources(workers=1)

    def __init__(self, settings: Settings, shard_rows: int):
        assert settings.server is not None  # Settings has checked it
        self.settings, self.batch = settings, shard_rows
        price = settings.server.price
        self.prices = {settings.model: price} if any(price.model_dump().values()) else {}
        self.server: Server | None = None

    def params(self) -> dict[str, Any]:
        names = {"backend", "model", "revision", "height", "width"}
        assert self.settings.server is not None
        return self.settings.model_dump(mode="json", include=names) | {"extra": self.settings.server.extra, "jpeg_quality": QUALITY}

    def setup(self) -> None:
        assert self.settings.server is not None
        self.server = Server(self.settings.server, self.settings.model, MOST_BYTES)

    def take_used(self) -> Used:
        """What the server did since the last call: see mals.grid.stage.ServedStage."""
        counts = self.server.take_counts() if self.server else {}
        counts.pop("uncounted", 0)  # images are counted here, whatever the server tells
        return {self.settings.model: counts} if counts else {}

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.to_pylist()
        if any(row["init_image"] for row in rows):
            raise UserError("the plan has initial images, and a server makes images from prompts alone; set generate.backend = diffusers")
        assert self.server is not None  # setup has made it
        replies = self.server.post_all("/images/generations", len(rows), lambda number: self._payload(rows[number]), self._read)
        outputs = [self._row(reply) for reply in replies]
        columns = {field.name: [row.get(field.name) for row in outputs] for field in self.adds}
        return output_batch(self.adds, columns, [row.get("reject") for row in outputs], [row.get("error") for row in outputs])

    def _payload(self, row: dict[str, Any]) -> dict[str, Any]:
        """The JSON of one request."""
        keys: dict[str, Any] = {
            "model": self.settings.model,
            "prompt": row["prompt"],
            "negative_prompt": row["negative_prompt"] or None,
            "n": 1,
            "size": f"{self.settings.width}x{self.settings.height}",
            "seed": row["seed"] % SEEDS,
            "response_format": "b64_json",
        }
        assert self.settings.server is not None
        return {name: value for name, value in {**keys, **self.settings.server.extra}.items() if value is not None}

    async def _read(self, answer: Any) -> Pixels:
        """The pixels [H, W, 3] of the image in an answer; Problem where there is none."""
        try:
            image = answer["data"][0]
            encoded, url = image.get("b64_json"), image.get("url")
        except (KeyError, IndexError, TypeError, AttributeError):
            encoded = url = None
        assert self.server is not None
        try:
            if isinstance(encoded, str):
                pixels = decode_image(base64.b64decode(encoded, validate=True))
            elif isinstance(url, str):
                pixels = decode_image(await self.server.fetch_from_own(url))
            else:
                raise Problem(Cause.FAULT, "the answer of the server has no image at data.0.b64_json or data.0.url")
        except (BadImage, binascii.Error, ValueError) as error:
            raise Problem(Cause.FAULT, f"the image of the server cannot be read: {error}") from None
        self.server.counts["images"] += 1
        return pixels

    def _row(self, reply: Pixels | RequestFailed) -> dict[str, Any]:
        """The columns of one row."""
        row = {"model": self.settings.model, "revision": self.settings.revision, "pipeline": "openai", "batch": 1, "origin": "generated"}
        if isinstance(reply, RequestFailed):
            return {**row, "reject": [BLOCKED]} if reply.code in BLOCKING_CODES else {**row, "error": error_message(reply)}
        height, width = reply.shape[:2]
        if (height, width) != (self.settings.height, self.settings.width):
            raise UserError(
                f"the server returned {height} x {width} pixels for generate.height = {self.settings.height}, "
                f"generate.width = {self.settings.width}; set a size that it makes"
            )
        return row | columns_of(reply)
