"""The plan: what fixes every sample before any model is loaded."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import pre_tokenizers

from mals import settings
from mals.config import Config, Generate
from mals.errors import UserError
from mals.grid.stage import row_seed
from mals.grid.store import Store
from mals.models import resolve
from mals.planning import prompt_length, table
from mals.planning.caption_files import CaptionsForm


def configured(**changes: Any) -> Config:
    """The settings of a run whose generator is missing, so that no tokenizer is loaded."""
    return settings.check({"preset": "tiny", "generate": {"model": "nobody/none"}, "shard_rows": 4, **changes})


def write(
    folder: Path, source: Path | str | None, count: int | None = None, images: Path | None = None, config: Config | None = None
) -> dict[str, Any]:
    if isinstance(source, str):
        (folder / "captions.csv").write_text(source)
        source = folder / "captions.csv"
    return table.write_plan(Store(str(folder / "run")), config or configured(), table.CaptionsSource(source, count, images))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((folder / "run/plan").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "run/plan").iterdir())}


def numbered(folder: Path, number: int) -> Path:
    (folder / "captions.txt").write_text("".join(f"caption {i}\n" for i in range(number)))
    return folder / "captions.txt"


def test_a_shard_is_a_row_group_and_a_file_holds_64(tmp_path):
    receipt = write(tmp_path, numbered(tmp_path, 64 * 4 + 6))
    files = [pq.ParquetFile(tmp_path / "run" / file.path) for file in receipt.files]
    groups = [[file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] for file in files]
    assert groups == [[4] * 64, [4, 2]]
    assert files[0].schema_arrow == table.PLAN
    assert files[1].read_row_group(0)["caption"].to_pylist() == [f"caption {i}" for i in range(256, 260)]
    assert (receipt.rows, receipt.shard_rows, receipt.shards_per_file) == (262, 4, 64)


def test_the_receipt_names_the_bytes_and_hashes_of_what_is_there(tmp_path):
    receipt = write(tmp_path, numbered(tmp_path, 300))
    for file in receipt.files:
        data = (tmp_path / "run" / file.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    assert json.loads((tmp_path / "run/plan/plan.json").read_text()) == receipt.to_json()


def test_the_same_captions_and_settings_give_the_same_bytes(tmp_path):
    receipts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        receipts.append(write(tmp_path / name, numbered(tmp_path / name, 300)))
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    (tmp_path / "c").mkdir()
    other = write(tmp_path / "c", numbered(tmp_path / "c", 300), config=configured(seed=1))
    assert receipts[0].fingerprint == receipts[1].fingerprint != other.fingerprint


def test_ids_are_row_numbers_and_seeds_follow_from_them(tmp_path):
    write(tmp_path, numbered(tmp_path, 6), config=configured(seed=5))
    plan_rows = rows(tmp_path)
    assert [row["id"] for row in plan_rows] == [f"{i:08d}" for i in range(6)]
    assert [row["seed"] for row in plan_rows] == [row_seed(5, f"{i:08d}", "plan") for i in range(6)]


def test_given_columns_are_kept_and_the_settings_fill_the_rest(tmp_path):
    table = "caption,id,person,camera,negative_prompt,seed\na man,m-1,p7,c2,hat,41\na woman,,,,,\n"
    config = configured(plan={"prefix": "photo of ", "suffix": ", street", "negative_prompt": "blurry"})
    write(tmp_path, table, config=config)
    first, second = rows(tmp_path)
    assert first == {
        "id": "m-1",
        "prompt": "photo of a man, street",
        "negative_prompt": "hat",
        "seed": 41,
        "caption": "a man",
        "person": "p7",
        "camera": "c2",
        "wanted": None,
        "init_image": None,
        "prompt_tokens": None,
        "prompt_cut": None,
    }
    assert (second["id"], second["negative_prompt"], second["person"]) == ("00000001", "blurry", None)
    assert second["seed"] == row_seed(0, "00000001", "plan")


def test_count_repeats_captions_in_turn_with_new_seeds(tmp_path):
    write(tmp_path, "caption,id,seed\na,x,1\nb,y,2\n", count=5)
    plan_rows = rows(tmp_path)
    assert [row["caption"] for row in plan_rows] == ["a", "b", "a", "b", "a"]
    assert [row["id"] for row in plan_rows] == ["x", "y", "x-1", "y-1", "x-2"]
    assert [row["seed"] for row in plan_rows[:2]] == [1, 2]
    assert len({row["seed"] for row in plan_rows}) == 5


def test_count_below_the_number_of_captions_takes_the_first(tmp_path):
    assert write(tmp_path, numbered(tmp_path, 9), count=3).rows == 3
    assert [row["caption"] for row in rows(tmp_path)] == ["caption 0", "caption 1", "caption 2"]


def test_pictures_are_looked_for_in_the_folder_that_is_given(tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path, "caption,init_image\na,1.jpg\nb,\nc,s3://bucket/2.jpg\n", images=tmp_path / "pictures")
    assert [row["init_image"] for row in rows(tmp_path)] == [str(tmp_path / "pictures/1.jpg"), None, "s3://bucket/2.jpg"]


def test_relative_initial_images_are_those_beside_the_captions_file_and_the_folder_is_part_of_the_plan(tmp_path, monkeypatch):
    text = "caption,init_image\na,sub/1.jpg\nb,/abs/2.jpg\nc,s3://bucket/3.jpg\nd,\n"
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "captions.csv").write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    write(tmp_path, Path("captions.csv"))
    images = [str(tmp_path / "here/sub/1.jpg"), "/abs/2.jpg", "s3://bucket/3.jpg", None]
    assert [row["init_image"] for row in rows(tmp_path)] == images
    monkeypatch.chdir(tmp_path)
    assert write(tmp_path, tmp_path / "here/captions.csv").rows == 4  # the same plan from another folder
    with pytest.raises(UserError, match=r"another plan .with initial images from .*here"):
        write(tmp_path, tmp_path / "there/captions.csv")


def test_a_captions_file_without_initial_images_may_move(tmp_path):
    (tmp_path / "there").mkdir()
    old = write(tmp_path, numbered(tmp_path, 3))
    assert write(tmp_path, numbered(tmp_path / "there", 3)) == old


def test_columns_and_encodings_that_are_named_are_part_of_the_plan(tmp_path):
    (tmp_path / "c.csv").write_text("text,caption\na,b\n")
    sources = [table.CaptionsSource(tmp_path / "c.csv", form=CaptionsForm(caption_column=name)) for name in ("text", None)]
    store = Store(str(tmp_path / "run"))
    assert table.write_plan(store, configured(), sources[0]) == table.write_plan(store, configured(), sources[0])
    assert rows(tmp_path)[0]["caption"] == "a"
    with pytest.raises(UserError, match=r"another plan .read with caption_column text"):
        table.write_plan(store, configured(), sources[1])
    with pytest.raises(UserError, match="columns and an encoding are named of a captions file, and there is none"):
        table.write_plan(store, configured(), table.CaptionsSource(None, 3, form=CaptionsForm(id_column="x")))


def test_the_pictures_of_a_public_list_are_used_only_if_their_folder_is_given(tmp_path):
    file = tmp_path / "list.json"
    file.write_text('[{"file_path": "1.png", "captions": ["a"], "id": 3}]')
    write(tmp_path, file)
    assert [(row["init_image"], row["person"]) for row in rows(tmp_path)] == [(None, "3")]
    (tmp_path / "with").mkdir()
    write(tmp_path / "with", file, images=tmp_path)
    assert [row["init_image"] for row in rows(tmp_path / "with")] == [str(tmp_path / "1.png")]


def test_a_finished_plan_is_kept_and_another_one_refused(tmp_path):
    receipt = write(tmp_path, numbered(tmp_path, 9))
    before = hashes(tmp_path)
    assert write(tmp_path, numbered(tmp_path, 9)) == receipt
    for change, words in [
        ({"count": 4}, "without --count"),
        ({"images": tmp_path}, "without --images"),
        ({"config": configured(seed=1)}, "other settings: seed: 0 -> 1"),
    ]:
        with pytest.raises(UserError, match=f"holds another plan .*{words}"):
            write(tmp_path, tmp_path / "captions.txt", **change)
    with pytest.raises(UserError, match=r"captions\.txt has changed since"):
        write(tmp_path, numbered(tmp_path, 10))
    with pytest.raises(UserError, match=r"of captions\.txt"):
        write(tmp_path, "caption\na man\n")
    assert hashes(tmp_path) == before


def test_a_plan_that_broke_off_is_made_again_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def killed(self: Store, name: str, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "commit", killed)
        write(tmp_path, numbered(tmp_path, 600))
    assert sorted(hashes(tmp_path)) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    write(tmp_path, numbered(tmp_path, 9))
    assert sorted(hashes(tmp_path)) == ["00000.parquet", "plan.json"]
    assert len(rows(tmp_path)) == 9


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("caption,id\na,x\nb,y\nc,x\n", "the id x comes twice, in rows 1 and 3"),
        ("caption,id\na,00000001\nb,\n", "the id 00000001 comes twice, in rows 1 and 2"),
        ("caption,id\na,a/b\n", "the id 'a/b' of row 1 cannot be a file name"),
        ("caption,id\na,ok\nb,v1.5\n", r"the id 'v1\.5' of row 2"),
        (f"caption,id\na,{'x' * 129}\n", "of row 1 cannot be a file name"),
        ("caption,seed\na,many\n", "the seed 'many' of row 1 is not a whole number"),
        ("caption,seed\na,1\nb,-1\n", "the seed '-1' of row 2 is not from 0"),
        (f"caption,seed\na,{2**63}\n", "of row 1 is not from 0"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_row(tmp_path, table, words):
    with pytest.raises(UserError, match=words):
        write(tmp_path, table)
    assert not (tmp_path / "run/plan/plan.json").exists()


def test_ids_that_come_twice_in_different_files_of_the_plan_are_found(tmp_path):
    names = [f"r{i}" for i in range(700)]
    names[699] = "r3"
    pd.DataFrame({"caption": "a man", "id": names}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match="the id r3 comes twice, in rows 4 and 700"):
        write(tmp_path, tmp_path / "c.parquet")


def test_arguments_that_do_not_go_together_are_refused(tmp_path):
    file, grammar = numbered(tmp_path, 2), configured(plan={"attributes": {}})
    for arguments, words in [
        ((file, 0), "--count 0"),
        ((file, None, tmp_path / "none"), "there is no folder .*none"),
        ((None, 3), "needs --captions"),
        ((None, None, None, grammar), "needs --count"),
        ((file, None, None, grammar), "needs --count"),
        ((tmp_path / "none.txt",), "there is no captions file .*none.txt"),
    ]:
        with pytest.raises(UserError, match=words):
            write(tmp_path, *arguments)


def test_with_captions_and_attributes_the_file_comes_first_and_the_grammar_makes_up_the_count(tmp_path):
    write(tmp_path, numbered(tmp_path, 3), 40, config=configured(plan={"attributes": {}}))
    plan_rows = rows(tmp_path)
    assert len(plan_rows) == 40 and len({row["id"] for row in plan_rows}) == 40 and len({row["seed"] for row in plan_rows}) == 40
    assert [row["wanted"] is None for row in plan_rows] == [True] * 3 + [False] * 37


def test_the_starter_plan_is_made_from_what_ships(tmp_path):
    from mals.planning.create import init

    receipt = init(str(tmp_path / "run"), count=60)
    assert receipt.rows == 60 and receipt.request.captions_file.name == "starter.txt" and not receipt.prompts_cut


def test_prompts_beyond_the_text_encoder_are_flagged_and_counted_and_stay_whole(tmp_path):
    long = "a man in a red coat " * 20
    (tmp_path / "c.txt").write_text(f"a man\n{long}\n{'coat ' * 75}\n{'coat ' * 76}\n")
    receipt = write(tmp_path, tmp_path / "c.txt", config=settings.check({"preset": "tiny"}))
    plan_rows = rows(tmp_path)
    assert [row["prompt_cut"] for row in plan_rows] == [False, True, False, True]
    assert [row["prompt_tokens"] for row in plan_rows] == [4, 122, 77, 78]
    assert plan_rows[1]["prompt"] == long.strip()
    assert (receipt.prompts_cut, receipt.token_limit) == (2, 77)


def test_without_the_generator_prompts_are_not_counted(tmp_path):
    receipt = write(tmp_path, numbered(tmp_path, 3))
    assert (receipt.prompts_cut, receipt.token_limit) == (None, None)
    assert {row["prompt_tokens"] for row in rows(tmp_path)} == {None}


@pytest.fixture(scope="module")
def embedded():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(resolve("embedded", role="generator").path) / "tokenizer")


TEXTS = [
    "A man, 35, in a t-shirt (grey) & long-sleeved coat; he's walking!!",
    "  ein Mädchen\tin 红色 coat 🙂 <|endoftext|> …",
    "",
    "word" * 100,
    "don't can't it's 'quoted' 100% $5 a.b.c",
]


def test_counting_word_by_word_agrees_with_the_tokenizer(embedded):
    backend = embedded.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    lengths = prompt_length.PromptLengths(77, backend)
    assert lengths.count(TEXTS) == [len(embedded(text)["input_ids"]) for text in TEXTS]
    assert lengths.by_word


def test_a_tokenizer_that_sees_spaces_is_not_counted_word_by_word(embedded):
    """A byte-level tokenizer puts the space before a word into its first token."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(embedded.backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    lengths = prompt_length.PromptLengths(77, backend)
    texts = ["a man in a coat", "red hat"]
    assert lengths.count(texts) == [len(backend.encode(text)) for text in texts]
    assert not lengths.by_word


def test_of_two_text_encoders_the_longer_decides(tmp_path, embedded):
    for name, limit in (("tokenizer", 77), ("tokenizer_2", 256)):
        embedded.model_max_length = limit
        embedded.save_pretrained(tmp_path / name)
    (tmp_path / "model_index.json").write_text("{}")
    embedded.model_max_length = 77
    assert prompt_length.lengths_for(Generate(model=str(tmp_path))).limit == 256


def test_the_plan_is_a_table_that_arrow_reads(tmp_path):
    write(tmp_path, numbered(tmp_path, 5))
    assert pq.read_table(tmp_path / "run/plan/00000.parquet").schema.field("wanted").type == pa.list_(pa.int8())
