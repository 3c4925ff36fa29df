import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from mals import models, settings
from mals.errors import ModelMissing, UserError
from tests.conftest import ROOT, environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
CARD = "---\nlicense: openrail++\ntags: [a]\n---\n# A model\n"
FILES = {"config.json": '{"model_type": "vit"}', "model.safetensors": "weights", "README.md": CARD}


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, which mals.models looks into."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path, model: str, files: dict[str, str], commit: str = COMMIT, ref: str | None = "main") -> Path:
    """A model laid out as the hub's cache lays it out: blobs, links to them by commit, and a branch."""
    repository = cache / f"models--{model.replace('/', '--')}"
    for name, text in files.items():
        blob = repository / "blobs" / hashlib.sha256(text.encode()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_text(text)
        link = repository / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return repository / "snapshots" / commit


def test_a_cached_model_is_found_by_branch_and_by_commit_with_its_full_commit(cache: Path) -> None:
    snapshot = cached(cache, "someone/vit", FILES)
    cached(cache, "someone/vit", {**FILES, "model.safetensors": "new"}, OTHER, "v2")
    expected = models.ResolvedModel("someone/vit", str(snapshot), COMMIT)
    assert models.resolve("someone/vit") == models.resolve("someone/vit", "main") == models.resolve("someone/vit", COMMIT) == expected
    assert models.resolve("someone/vit", "v2").revision == OTHER


def test_a_missing_model_is_named_with_where_it_was_looked_for_and_three_ways_on(cache: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        models.resolve("someone/vit", "v9", "pose")
    text = str(caught.value)
    for piece in ("someone/vit", "v9", str(cache), "no folder of that name", "mals models RUN --download", "--set crop.model=DIR"):
        assert piece in text
    assert "--preset tiny" in text and "\n" not in text


def test_the_revisions_that_the_cache_does_have_are_named(cache: Path) -> None:
    cached(cache, "someone/vit", FILES, ref=None)
    with pytest.raises(ModelMissing, match=f"has {COMMIT} of it"):
        models.resolve("someone/vit")


def test_half_a_download_does_not_count_as_a_model(cache: Path) -> None:
    cached(cache, "someone/vit", {"config.json": "{}"})
    with pytest.raises(ModelMissing, match="only in part: it has no weights"):
        models.resolve("someone/vit")
    index = {
        "_class_name": "P",
        "unet": ["diffusers", "UNet"],
        "tokenizer": ["transformers", "T"],
        "safety_checker": ["a", "b"],
        "x": [None] * 2,
    }
    files = {"model_index.json": json.dumps(index), "tokenizer/vocab.json": "{}", "unet/config.json": "{}"}
    cached(cache, "someone/sd", files)
    with pytest.raises(ModelMissing, match="it has no unet/weights"):
        models.resolve("someone/sd")
    cached(cache, "someone/sd", {"unet/diffusion_pytorch_model.fp16.safetensors": "w"})
    assert models.resolve("someone/sd").revision == COMMIT


def test_weights_in_pieces_are_whole_when_every_piece_is_there(cache: Path) -> None:
    pieces = ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"]
    index = json.dumps({"weight_map": {"a": pieces[0], "b": pieces[1]}})
    cached(cache, "someone/big", {"config.json": "{}", "model.safetensors.index.fp16.json": index, pieces[0]: "1"})
    with pytest.raises(ModelMissing, match="only in part"):
        models.resolve("someone/big")
    cached(cache, "someone/big", {pieces[1]: "2"})
    assert models.resolve("someone/big").name == "someone/big"


def test_a_folder_is_found_by_its_content_whatever_its_place(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a" / "vit", FILES), folder(tmp_path / "b" / "vit", FILES)
    model = models.resolve(str(first))
    assert model.name == "vit" and model.path == str(first) and model.revision.startswith("sha256:") and len(model.revision) == 23
    assert models.resolve(str(second)).revision == model.revision
    folder(second, {".cache/lock": "", ".gitattributes": ""})
    assert models.resolve(str(second)).revision == model.revision


def test_a_changed_folder_gets_another_revision_within_the_same_process(tmp_path: Path) -> None:
    path = folder(tmp_path / "vit", FILES)
    before = models.resolve(str(path)).revision
    (path / "model.safetensors").write_text("WEIGHTS")
    os.utime(path / "model.safetensors", ns=(1, 1))
    assert models.resolve(str(path)).revision != before
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    assert len({before, models.resolve(str(path)).revision}) == 2


@pytest.mark.parametrize("at", [0, 65_535, 30 << 20, (64 << 20) - 1])
def test_of_a_large_file_head_tail_and_blocks_between_are_hashed(at: int, tmp_path: Path) -> None:
    path = folder(tmp_path / "vit", FILES)
    size = 64 << 20
    with (path / "model.safetensors").open("wb") as file:
        file.truncate(size)
    before = models.resolve(str(path)).revision
    step = (size - models.BLOCK) / (models.BLOCKS - 1)
    place = at if at in (0, 65_535, size - 1) else int(round(at / step) * step) + 9  # inside a block
    with (path / "model.safetensors").open("r+b") as file:
        file.seek(place)
        file.write(b"\1")
    os.utime(path / "model.safetensors", ns=(at + 1, at + 1))
    assert models.resolve(str(path)).revision != before


def test_a_folder_that_is_no_model_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a model: it has no config\.json or model_index\.json"):
        models.resolve(str(folder(tmp_path / "photos", {"a.jpg": ""})))
    with pytest.raises(UserError, match="is a file; a model is a folder"):
        models.resolve(str(folder(tmp_path / "photos", {"sd.safetensors": ""}) / "sd.safetensors"))
    with pytest.raises(ModelMissing, match=r"there is no folder .*nowhere"):
        models.resolve(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"there is no embedded model for safety\.model"):
        models.resolve("embedded", role="safety")


def test_the_estimator_of_openpose_and_a_lora_are_models_without_a_config(tmp_path: Path) -> None:
    assert models.resolve(str(folder(tmp_path / "annotators", {"body_pose_model.pth": "w"})), role="pose").name == "annotators"
    assert models.resolve(str(folder(tmp_path / "style", {"pytorch_lora_weights.safetensors": "w"})), role="lora").name == "style"


def test_an_embedded_model_is_a_folder_that_ships_and_its_content_is_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    folder(tmp_path / "pose", FILES)
    model = models.resolve("embedded", role="pose")
    assert model.name == "embedded" and model.path == str(tmp_path / "pose") and model.revision.startswith("sha256:")


def test_every_model_of_a_config_is_listed_with_licence_and_size(cache: Path, tmp_path: Path) -> None:
    snapshot = cached(cache, "someone/vit", FILES)
    local = folder(tmp_path / "blip", {**FILES, "README.md": "---\nlicense: other\nlicense_name: flux-1-dev\n---\n"})
    bare = folder(tmp_path / "style", {"pytorch_lora_weights.safetensors": "abc"})
    config = settings.check(
        {
            "preset": "modern",
            "generate": {"model": "nobody/sd", "revision": "v1", "lora": {"model": str(bare)}},
            "safety": {"model": "someone/vit"},
            "crop": {"detector": "none", "model": "someone/vit", "revision": COMMIT},
            "caption": {"captioners": [{"model": str(local)}, {"model": "nobody/vlm"}]},
        }
    )
    rows = models.list_models(config)
    assert [row.setting for row in rows] == [
        "generate.model",
        "generate.lora.model",
        "safety.model",
        "crop.model",
        "caption.captioners.0.model",
        "caption.captioners.1.model",
    ]
    missing, style, safety, crop, caption, second = rows
    assert missing.resolved is None and missing.revision == "v1" and "nobody/sd (revision v1)" in missing.missing
    assert "--set caption.captioners.1.model=DIR" in second.missing
    assert style.licence is None and style.bytes == 3 and style.missing is None
    size = sum(len(text.encode()) for text in FILES.values())
    assert replace(safety, stage="crop", setting="crop.model", revision=COMMIT) == crop
    assert (safety.resolved, safety.licence, safety.bytes, safety.where) == (COMMIT, "openrail++", size, str(snapshot))
    assert caption.licence == "flux-1-dev"


def test_the_models_of_a_stage_that_was_replaced_are_not_needed(cache: Path) -> None:
    config = settings.check({"preset": "mals", "stages": {"generate": "mine:stage", "safety": "mine:stage"}})
    assert [need.key for need in models.required_models(config)] == ["crop.model", "caption.captioners.0.model"]


SD = [
    "README.md",
    "model_index.json",
    "v1-5-pruned.ckpt",
    "v1-5-pruned.safetensors",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "safety_checker/model.fp16.safetensors",
    "safety_checker/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]


def weights(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".safetensors", ".bin", ".pth", ".ckpt"))]


def test_of_a_pipeline_only_one_copy_of_each_components_weights_is_fetched() -> None:
    plain = models.needed_files(SD, models.RequiredModel("generate.model", "a/b", None, "generator"))
    text, unet, vae = "text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"
    assert weights(plain) == [f"{text}.safetensors", f"{unet}.safetensors", f"{vae}.safetensors"]
    half = models.needed_files(SD, models.RequiredModel("generate.model", "a/b", None, "generator", variant="fp16"))
    assert weights(half) == [f"{text}.fp16.safetensors", f"{unet}.fp16.safetensors", f"{vae}.safetensors"]
    assert {"README.md", "model_index.json", "tokenizer/merges.txt", "feature_extractor/preprocessor_config.json"} <= set(half)


def test_of_a_model_of_transformers_safetensors_are_fetched_where_there_are_any() -> None:
    files = ["config.json", "pytorch_model.bin", "tf_model.h5", "onnx/model.safetensors", "onnx/config.json", "vocab.txt", "README.md"]
    need = models.RequiredModel("caption.captioners.0.model", "a/b", None, "captioner")
    assert models.needed_files(files, need) == ["README.md", "config.json", "pytorch_model.bin", "vocab.txt"]
    pieces = [*files, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert weights(models.needed_files(pieces, need)) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_of_the_annotators_only_the_body_model_is_fetched_and_of_a_lora_its_own_file() -> None:
    files = ["README.md", "ControlNetHED.pth", "body_pose_model.pth", "hand_pose_model.pth"]
    assert models.needed_files(files, models.RequiredModel("crop.model", "a/b", None, "pose")) == ["README.md", "body_pose_model.pth"]
    files = ["README.md", "one.safetensors", "two.safetensors"]
    assert models.needed_files(files, models.RequiredModel("generate.lora.model", "a/b", None, "lora", weight_name="two.safetensors")) == [
        "README.md",
        "two.safetensors",
    ]


def test_of_an_ip_adapter_its_own_file_and_the_image_encoder_beside_it_are_fetched() -> None:
    ours = ["README.md", "models/image_encoder/config.json", "models/image_encoder/model.safetensors", "models/ip-adapter_sd15.safetensors"]
    others = ["models/image_encoder/pytorch_model.bin", "models/ip-adapter_sd15.bin", "sdxl_models/image_encoder/model.safetensors"]
    adapter = {"model": "h94/IP-Adapter", "subfolder": "models"}
    control = {"model": "a/control", "poses": "world"}
    config = settings.check({"generate": {"model": "embedded", "control": control, "ip_adapter": adapter}, "plan": {"views": 2}})
    needs = {need.key: need for need in models.required_models(config)}
    assert needs["generate.control.model"].model == "a/control"
    assert models.needed_files([*others, *ours], needs["generate.ip_adapter.model"]) == ours


def test_an_ip_adapter_is_a_model_without_a_config(tmp_path: Path) -> None:
    place = folder(tmp_path / "ip", {"models/ip-adapter.bin": "weights"})
    assert models.resolve(str(place), None, "ip_adapter").name == "ip"
    with pytest.raises(UserError, match="has no weights"):
        models.resolve(str(folder(tmp_path / "empty", {"README.md": CARD})), None, "ip_adapter")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs: revisions, trees, files."""

    models: ClassVar[dict[str, dict[str, str]]] = {}

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        headers, data = {}, None
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in self.models:
            files = self.models["/".join(parts[2:4])]
            if len(parts) == 4 or parts[5] in ("main", COMMIT):
                facts = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                tree = [{"type": "file", "path": n, "size": len(t), "oid": hashlib.sha1(t.encode()).hexdigest()} for n, t in files.items()]
                data = json.dumps(tree if "tree" in parts else facts).encode()
                headers = {"Content-Type": "application/json"}
        elif len(parts) > 3 and parts[2] == "resolve" and "/".join(parts[4:]) in self.models.get("/".join(parts[:2]), {}):
            data = self.models["/".join(parts[:2])]["/".join(parts[4:])].encode()
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self.send_response(404 if data is None else 200)
        if data is None and "/".join(parts[2:4]) not in self.models:
            headers = {"X-Error-Code": "RepoNotFound"}
        elif data is None:
            headers = {"X-Error-Code": "RevisionNotFound"}
        for name, value in {**headers, "Content-Length": str(len(data or b""))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and data:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetched(tmp_path: Path, tree: dict[str, Any], **env: str) -> Any:
    """What `download` returns in a process of its own, or the sentence of its UserError."""
    code = (
        "import json, sys; from mals import models, settings\nfrom mals.errors import UserError\n"
        "try: print(json.dumps([model.to_json() for model in models.download(settings.check(json.loads(sys.argv[1])))]))\n"
        "except UserError as error: print(json.dumps(f'{type(error).__name__}: {error}'))"
    )
    extra = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **env}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(tree)], cwd=ROOT, env=environment(**extra), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


MINE = {"preset": "tiny", "generate": {"model": "lab/sd", "variant": "fp16"}, "stages": {"crop": "a:b", "caption": "a:b"}}


def test_download_fetches_what_is_needed_and_leaves_the_rest(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "U"], "text_encoder": ["t", "T"], "vae": ["d", "V"]}
    files = {name: f"content of {name}" for name in SD} | {"model_index.json": json.dumps(index), "README.md": CARD}
    monkeypatch.setattr(Hub, "models", {"lab/sd": files})
    (row,) = fetched(tmp_path, MINE, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    assert (row["resolved"], row["licence"], row["missing"]) == (COMMIT, "openrail++", None)
    here = {path.relative_to(row["where"]).as_posix() for path in Path(row["where"]).rglob("*") if path.is_file()}
    assert here == set(models.needed_files(SD, models.RequiredModel("generate.model", "lab/sd", None, "generator", variant="fp16")))
    assert (Path(row["where"]) / "unet/config.json").read_text() == "content of unet/config.json"
    assert fetched(tmp_path, MINE) == [row]  # offline: it is here, so nothing is asked for


def test_download_says_what_the_hub_does_not_have(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "models", {"lab/other": FILES})
    env = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
    assert fetched(tmp_path, MINE, **env) == "ModelMissing: there is no model lab/sd at the hub, or it is private"
    tree = {**MINE, "generate": {"model": "lab/other", "revision": "v7"}}
    assert fetched(tmp_path, tree, **env) == "ModelMissing: the model lab/other has no revision v7 at the hub"


@pytest.mark.parametrize("env", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_download_without_a_network_names_the_model_and_the_ways_on(env: dict[str, str], tmp_path: Path) -> None:
    text = fetched(tmp_path, MINE, **env)
    assert text.startswith("ModelMissing: cannot fetch lab/sd (revision main) from the hub")
    assert str(tmp_path / "hf" / "hub") in text and "--set generate.model=DIR" in text and "--preset tiny" in text and "\n" not in text


def test_download_has_nothing_to_do_for_the_embedded_models(tmp_path: Path) -> None:
    (row,) = fetched(tmp_path, {"preset": "tiny", "stages": {"crop": "a:b", "caption": "a:b"}})
    assert row["model"] == "embedded" and row["missing"] is None


def test_without_cropping_a_pose_model_is_needed_only_to_blur_faces() -> None:
    def keys(*assignments: str) -> list[str]:
        return [need.key for need in models.required_models(settings.check(settings.assign({}, ["crop=none", *assignments])))]

    assert not [key for key in keys() if key.startswith("crop.")]
    assert [key for key in keys("privacy.blur_faces=true") if key.startswith("crop.")] == ["crop.model", "crop.detector"]
    assert [key for key in keys("privacy.blur_faces=true", "crop.detector=none") if key.startswith("crop.")] == ["crop.model"]


METHOD = {"config.yaml": "method: irra", "model.safetensors": "weights", "tokenizer.json": "{}", "README.md": CARD, "result.json": "{}"}


def test_a_scorer_is_known_by_what_decides_its_results_and_not_by_what_was_measured_later(tmp_path: Path) -> None:
    path = folder(tmp_path / "my-method", METHOD)
    model = models.resolve(str(path), role="scorer")
    assert (model.name, model.path) == ("my-method", str(path)) and models.licence(model) == "openrail++"
    folder(path, {"result.json": '{"R@1": 60}'})
    assert models.resolve(str(path), role="scorer") == model
    folder(path, {"config.yaml": "method: rde"})
    assert models.resolve(str(path), role="scorer").revision != model.revision


def test_a_scorer_is_a_file_of_weights_or_a_hub_id_with_and_without_its_prefix(tmp_path: Path, cache: Path) -> None:
    file = folder(tmp_path / "weights", {"best.pth": "1"}) / "best.pth"
    assert models.resolve(str(file), role="scorer").name == "best.pth"
    snapshot = cached(cache, "someone/method", METHOD)
    for name in ("someone/method", "hf://someone/method"):
        assert models.resolve(name, role="scorer") == models.ResolvedModel("someone/method", str(snapshot), COMMIT)


def test_what_is_no_scorer_is_refused_and_a_missing_one_names_its_setting(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="it has no weights"):
        models.resolve(str(folder(tmp_path / "texts", {"README.md": CARD})), role="scorer")
    with pytest.raises(ModelMissing, match=r"mals models RUN --download.*--set agree\.scorer=DIR") as caught:
        models.resolve("hf://someone/method", role="scorer")
    assert "--preset tiny" not in str(caught.value)


def test_of_a_scorer_one_copy_of_the_weights_is_fetched_with_what_reading_needs() -> None:
    need = models.RequiredModel("agree.scorer", "someone/method", None, "scorer")
    assert models.needed_files([*METHOD, "image.onnx", "model.bin"], need) == sorted(METHOD)
    clip = ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "vocab.json"]
    assert models.needed_files(clip, need) == ["open_clip_config.json", "open_clip_model.safetensors", "vocab.json"]
