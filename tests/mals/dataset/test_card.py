"""The card and croissant.json: what they say is what the run holds."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from mals import models
from mals.dataset.card import DatasetCardFacts, licence_chain, percent, render, versions, without_paths
from mals.dataset.pack import pack
from mals.dataset.receipts import FileReceipt
from mals.dataset.source import attribute_values, packed_columns, planned_columns
from mals.dataset.statistics import gather
from mals.grid.run import Run
from mals.grid.status import lines as status_lines
from mals.grid.status import status
from tests.small import cells

ROWS = 100


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = cells.small_run(tmp_path_factory.mktemp("card") / "run", ROWS, split={"train": 0.9, "test": 0.1}, name="Little | people")
    pack(run)
    return run


def dataset(run: Run) -> Path:
    assert run.store.folder is not None
    return run.store.folder / "dataset"


def card(run: Run) -> str:
    return (dataset(run) / "README.md").read_text(encoding="utf-8")


def front(run: Run) -> dict[str, Any]:
    return yaml.safe_load(card(run).split("---\n")[1])


def kept(run: Run) -> list[dict[str, Any]]:
    return [row for path in sorted((dataset(run) / "data").iterdir()) for row in pq.read_table(path).to_pylist()]


def lines(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, its head left out."""
    rows = [line for line in text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_the_front_matter_tells_splits_rows_and_bytes_as_they_are(packed: Run) -> None:
    facts = front(packed)
    for info, folder in zip(facts["dataset_info"], ("data", "rejected"), strict=True):
        paths = sorted((dataset(packed) / folder).iterdir())
        rows = Counter(path.name.split("-")[0] for path in paths for _ in range(pq.ParquetFile(path).metadata.num_rows))
        assert {split["name"]: split["num_examples"] for split in info["splits"]} == rows
        assert info["download_size"] == sum(path.stat().st_size for path in paths)
        assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"]) > 0
    assert facts["size_categories"] == ["n<1K"] and facts["pretty_name"] == "Little | people"


def test_datasets_reads_the_features_of_the_front_matter(packed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    builder = datasets.load_dataset_builder(str(dataset(packed)), cache_dir=str(tmp_path))
    schema = pq.read_schema(next((dataset(packed) / "data").iterdir()))
    assert builder.info.features == datasets.Features.from_arrow_schema(schema)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 70, "test": 8}
    assert datasets.get_dataset_config_names(str(dataset(packed))) == ["default", "rejected"]


def test_the_hub_library_accepts_the_card(packed: Run) -> None:
    from huggingface_hub import DatasetCard

    hub_card = DatasetCard(card(packed))
    assert hub_card.data.license == "other" and hub_card.data.license_name
    assert "synthetic" in hub_card.data.tags


def test_nothing_is_left_to_fill_in(packed: Run) -> None:
    text = card(packed)
    assert "[More Information Needed]" not in text
    assert not re.search(r"\bNone\b|\bnan\b|{{|{%|Undefined", text)
    assert "\n\n\n\n" not in text and not re.search(r"[^\n]\n## ", text), "a heading has an empty line before it"


def test_the_funnel_goes_from_what_was_planned_to_what_was_kept(packed: Run) -> None:
    steps = lines(card(packed), "From plan to pack")
    assert [row[0:2] for row in steps] == [
        ["planned", "100"],
        ["generate: failed", "98"],
        ["generated", "98"],
        ["filter: small_file", "88"],
        ["filter: grey", "88"],
        ["crop: no_person", "78"],
        ["kept", "78"],
    ]
    assert steps[4][2:] == ["0", "5"], "a rule that was never the first one to refuse still tells where it fired"


def test_the_attribute_table_is_that_of_the_rows(packed: Run) -> None:
    table = {row[0]: row[1:] for row in lines(card(packed), "Attributes")}
    rows, planned = kept(packed), [cells.attribute_values(at) for at in range(0, ROWS, 3)]
    for number, (name, values) in enumerate(attribute_values(packed).items()):
        now = Counter(row["attributes"][name] for row in rows)
        words = Counter(row["attribute_source"][name] for row in rows)
        kept_counts = Counter(row["wanted"][name] for row in rows if cells.number(row["id"]) % 3 == 0)
        planned_counts = Counter(values[number] for values in planned)
        assert table[name] == [
            " / ".join(values),
            f"{percent(planned_counts[0], len(planned))} / {percent(planned_counts[1], len(planned))}",
            " / ".join(percent(now[value], 78) for value in (0, 1, None)),
            " / ".join(percent(words[word], 78) for word in ("explicit", "implicit", "unknown")),
            f"{percent(kept_counts[0], planned_counts[0])} / {percent(kept_counts[1], planned_counts[1])}",
        ]


def test_a_run_that_planned_no_attributes_has_no_column_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "attribute_values", lambda at: None if at % 3 == 0 else [0] * 27)
    run = cells.small_run(tmp_path / "run", rows=6)
    assert pack(run).receipt.failed == 1  # row 0, for which the label stage has no values; row 3 was refused before it
    assert "kept of requested" not in card(run)


def test_without_a_safety_checker_the_card_says_so(packed: Run) -> None:
    assert "A safety checker scored the images (`tests.small.cells:safety`" in card(packed)
    stages = {name: target for name, target in packed.config.stages.items() if name != "safety"}
    assert "**No safety checker was configured" in render(facts_of(packed, stages))


def facts_of(run: Run, stages: dict[str, str]) -> DatasetCardFacts:
    """The facts of a packed run, as if its settings had these `stages`."""
    config = run.config.model_copy(update={"stages": stages})
    statistics = gather(run.grid, list(attribute_values(run)), planned_columns(run.grid), False)
    receipts = [receipt for name in run.store.list("pack") if (receipt := FileReceipt.load(run.store, name))]
    return DatasetCardFacts(
        config=config,
        counts=statistics.counts(),
        columns=packed_columns(run),
        files=receipts,
        attribute_values=attribute_values(run),
        licences=licence_chain(config),
        versions=versions(run.grid.survey()),
    )


def test_the_licence_chain_names_models_by_their_cards_and_never_by_their_folders(packed: Run, tmp_path: Path) -> None:
    model = tmp_path / "models" / "my-generator"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "README.md").write_text("---\nlicense: openrail\n---\n")
    generate = packed.config.generate.model_copy(update={"model": str(model)})
    pose = packed.config.crop.model_copy(update={"model": "/nowhere/else/pose", "revision": None, "detector": "none"})
    config = packed.config.model_copy(update={"stages": {"caption": "a:b"}, "generate": generate, "crop": pose})
    chain = licence_chain(config)
    assert [(model.model, model.licence) for model in chain] == [("my-generator", "openrail"), ("pose", "unknown")]
    assert chain[0].revision == models.resolve(str(model)).revision
    assert str(tmp_path) not in repr(chain) and "/nowhere" not in repr(chain)


def test_scores_of_a_named_model_are_in_the_card_the_status_and_the_rows_and_others_are_not_spoken_of(packed: Run, tmp_path: Path) -> None:
    quality = {"watermark": {"model": "/models/marks", "label": "text", "threshold": 0.5}}
    stages = {name: f"tests.small.cells:{name}" for name in (*cells.STAGES, "quality")}
    run = cells.small_run(tmp_path / "run", 20, stages=stages, sections={"quality": quality})
    pack(run)
    text = card(run)
    assert "- `watermark_score` is the probability of the label `text` of `marks` for `image`; images over 0.5 are in `rejected`." in text
    assert "`watermark_score`, `nsfw_score`" in text and "aesthetic_score" not in text
    assert ["quality: watermark", "2", "2"] in [[row[0], *row[2:]] for row in lines(text, "From plan to pack")]
    assert "        2 refused: watermark" in "\n".join(status_lines(status(run)))
    assert {row["watermark_score"] for row in kept(run)} == {0.25}
    assert "watermark" not in card(packed).split("## Settings of the run")[0]


def test_settings_in_the_card_are_those_of_the_run_without_folders(packed: Run) -> None:
    settings = yaml.safe_load(card(packed).split("```yaml\n")[1].split("```")[0])
    assert settings["shard_rows"] == 16 and settings["pack"]["name"] == "Little | people" and "run" not in settings
    assert without_paths({"a": ["/home/x/model", "owner/name", "a b /c"]}) == {"a": ["model", "owner/name", "a b /c"]}


def test_croissant_is_valid_and_gives_images_and_labels(packed: Run) -> None:
    import mlcroissant as mlc

    croissant = mlc.Dataset(jsonld=dataset(packed) / "croissant.json")
    assert not croissant.metadata.ctx.issues.errors
    name = next(iter(attribute_values(packed)))
    rows = kept(packed)
    by_id = {row["id"]: row for row in rows}
    records = list(croissant.records("default"))
    assert len(records) == len(rows) == 78
    for record in records[:5]:
        row = by_id[record["default/id"].decode()]
        assert record["default/image"].size == (row["width"], row["height"])
        assert record["default/caption"].decode() == row["caption"]
        assert list(record["default/bbox"]) == row["bbox"]
        value = record[f"default/attributes.{name}"]
        assert value == row["attributes"][name] or (row["attributes"][name] is None and value != value)


def test_croissant_lists_every_parquet_file_with_its_hash_and_the_rai_fields(packed: Run) -> None:
    tree = json.loads((dataset(packed) / "croissant.json").read_text())
    sums = dict(reversed(line.split("  ")) for line in (dataset(packed) / "SHA256SUMS").read_text().splitlines())
    listed = {part["contentUrl"]: part["sha256"] for part in tree["distribution"] if "contentUrl" in part}
    assert listed == {name: sha for name, sha in sums.items() if name.endswith(".parquet")}
    assert tree["rai:hasSyntheticData"] is True
    assert {"rai:dataCollection", "rai:dataBiases", "rai:dataLimitations", "rai:personalSensitiveInformation"} <= set(tree)
    assert "http://mlcommons.org/croissant/RAI/1.0" in tree["conformsTo"] and "datePublished" not in tree
