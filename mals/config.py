"""The settings of a run: one tree of types. The comment beside a setting is its meaning in docs/, where none may lack it.

A run keeps a preset's name and what differs from it in mals.yaml; this tree is the result of both. Unknown keys are refused. Settings
marked "no results" never change a row, or change it by rounding only, and stay out of the fingerprints.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mals.execution import Execution
from mals.generator_settings import Cache, Control, IpAdapter, Lora
from mals.section import Count, Section, Share
from mals.server_settings import Server, check_server

Dtype = Literal["fp32", "fp16", "bf16"]
Circumstance = Literal["view", "pose", "light", "place", "camera"]
LOADER = "pretrain.scorer:load_scorer"  # of scorers: of the methods that this project trains, and of the CLIPs that open_clip saved


class Grammar(Section):
    """Captions phrased from attribute values that are drawn from a distribution, so that a set is balanced by design."""

    space: str = "market1501"  # an attribute space by name, or a YAML file
    shares: dict[str, dict[str, float]] = {}  # attribute or group -> value, "other" color or "unknown" -> share; uniform where not named
    joint: str | None = None  # a .csv or .parquet table: one column an attribute or group, and `weight`
    templates: list[str] = []  # sentences with {fields}, [left out] where a field is empty; none: those of mals/planning/phrases.py

    @field_validator("shares", mode="before")
    @classmethod
    def yes_is_a_word(cls, shares: Any) -> Any:
        """YAML reads yes and no as true and false, which are values of attributes here."""
        words = {True: "yes", False: "no"}

        def spelled(values: Any) -> Any:
            if not isinstance(values, dict):
                return values
            return {words[key] if isinstance(key, bool) else key: share for key, share in values.items()}

        return {name: spelled(values) for name, values in shares.items()} if isinstance(shares, dict) else shares


class Plan(Section):
    """What is put around the captions to make prompts, and how many images a person gets."""

    prefix: str = ""  # before every prompt
    suffix: str = ""  # after every prompt
    negative_prompt: str = ""  # where the captions file gives none
    attributes: Grammar | None = None
    views: Count = 1  # images a person; over 1, each caption, or each draw of plan.attributes, is a person with as many rows
    vary: list[Circumstance] = ["view", "pose", "light", "place", "camera"]  # what the prompts of a person's images differ in
    view_seed: Literal["own", "person"] = "own"  # seeds of a person's images: each its own, or all that of the first
    change_clothes: bool = False  # draw what a person wears and carries anew for each image; only gender, age and hair stay

    @model_validator(mode="after")
    def clothes_change_between_drawn_images(self) -> "Plan":
        if self.change_clothes and (self.views == 1 or self.attributes is None):
            raise ValueError("plan.change_clothes draws clothes for each image of a person; set plan.views over 1, and plan.attributes")
        if self.change_clothes and self.attributes and self.attributes.joint:
            raise ValueError(
                "plan.change_clothes draws clothes apart from the person, and the table plan.attributes.joint draws them together; "
                "set plan.attributes.shares instead"
            )
        return self


class Generate(Section):
    """Images from prompts, by a diffusers pipeline or through a server."""

    backend: Literal["diffusers", "openai"] = (
        "diffusers"  # openai: a server that makes the images; of the settings below it uses height and width
    )
    model: str  # hub id, folder, or "embedded"; openai: the server's name of the model
    revision: str | None = None  # a branch, a tag or, best, a commit; openai: needed, a label of yours for what the server runs
    server: Server | None = None  # of the backend openai
    variant: str | None = None  # "fp16" for weights saved so
    dtype: Dtype = "bf16"  # of the weights and products
    scheduler: str | None = None  # a diffusers class; none: the model's own
    steps: Count = 30  # denoising steps
    guidance: Annotated[float, Field(ge=0)] = 7.5  # classifier-free guidance scale; 0 or 1: none
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6  # of an image-to-image run; 1 ignores the image
    view_strength: Annotated[float, Field(gt=0, le=1)] | None = (
        None  # with plan.views: a person's further images are made from its first one, image to image with this strength; none: from noise
    )
    height: Annotated[int, Field(ge=8, multiple_of=8)] = 512  # pixels
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 512  # pixels of the generated image
    batch: Count = 8  # no results (rounding)
    vae_slicing: bool = True  # decode one image at a time, where the VAE can: a decoder needs many times the memory of the denoiser
    vae_tiling: bool = False  # decode each image in tiles, for sizes that memory does not hold; images change a little
    compile: Literal["none", "regional", "full"] = "none"  # of the denoiser by torch.compile; regional: its repeated blocks, in less time
    quantize: Literal["int8"] | None = None  # int8: weights of the denoiser's linear layers; half the memory of bf16's, and images change
    cache: Cache | None = None
    lora: Lora | None = None
    control: Control | None = None
    ip_adapter: IpAdapter | None = None

    @model_validator(mode="after")
    def server_makes_images_from_prompts_alone(self) -> "Generate":
        check_server("generate", self.backend, self.server, self.revision)
        names = ("lora", "control", "ip_adapter", "view_strength", "quantize", "cache")
        if self.backend == "openai" and (others := [name for name in names if getattr(self, name) is not None]):
            raise ValueError(f"generate.{others[0]} is for diffusers; a server makes images from prompts alone, so leave it out")
        return self

    @model_validator(mode="after")
    def cache_saves_a_step(self) -> "Generate":
        if self.cache and self.compile != "none":
            raise ValueError(
                "generate.cache does not go with generate.compile, which compiles the cache anew for each layer until torch gives up; "
                "leave either out"
            )
        if self.cache and self.cache.kind == "taylor_seer" and self.steps <= self.cache.first_steps:
            raise ValueError(
                f"generate.cache.first_steps = {self.cache.first_steps} leaves none of generate.steps = {self.steps} to be extrapolated; "
                "raise generate.steps, or leave generate.cache out"
            )
        return self


class Safety(Section):
    """A score for each image from a safety checker; pixels are never blanked."""

    model: str | None = None  # a safety checker of diffusers, or an image classifier; none: nothing is checked, and the card says so
    revision: str | None = None  # a branch, a tag or, best, a commit
    label: str = "nsfw"  # the classifier's label whose probability is the score
    threshold: float = 0.5  # a score above it refuses the image
    batch: Count = 16  # no results (rounding)


class Filter(Section):
    """Numbers of each image, and the thresholds beyond which it is refused; none: the rule is off."""

    reference_quality: Annotated[int, Field(ge=1, le=100)] = 75  # JPEG quality at which ref_bytes is counted
    min_bytes: Annotated[int, Field(ge=0)] | None = 24_000  # MALS (ACM MM 2023) removed files under 24 kB
    min_bits_per_pixel: Annotated[float, Field(ge=0)] | None = None  # 0.732 is 24,000 bytes at 512 x 512
    min_channel_variance: Annotated[float, Field(ge=0)] | None = (
        50.0  # near-grey images are under it; the paper does not publish its number
    )
    min_sharpness: Annotated[float, Field(ge=0)] | None = None  # variance of the Laplacian at sharpness_side
    sharpness_side: Annotated[int, Field(ge=32)] = 256  # pixels of the longer side at which sharpness is measured
    min_luminance: Annotated[float, Field(ge=0, le=255)] | None = None  # mean luma; darker images are refused
    max_overexposure: Share | None = None  # share of the pixels with a luma of 250 or more
    min_width: Count | None = None  # pixels of the whole image
    max_width: Count | None = None  # pixels
    min_height: Count | None = None  # pixels
    max_height: Count | None = None  # pixels
    min_aspect: Annotated[float, Field(gt=0)] | None = None  # height / width of the whole image
    max_aspect: Annotated[float, Field(gt=0)] | None = None  # height / width, at most
    batch: Count = 32  # no results


class Crop(Section):
    """Keypoints, the number of persons, and the crop; a rule that is none is off."""

    backend: Literal["vitpose", "openpose", "none"] = "vitpose"  # the estimator of keypoints; none: each image is its own crop
    model: str | None = None  # hub id, folder, or "embedded"; not needed by backend none, unless privacy.blur_faces is on
    revision: str | None = None  # a branch, a tag or, best, a commit
    detector: str = "none"  # person boxes for vitpose: an object detector of transformers; none: the whole image
    detector_revision: str | None = None  # of the detector, at the hub
    detector_score: Share = 0.5  # a person box under it is dropped
    dtype: Dtype = "fp32"  # of the weights and products
    persons: Annotated[int, Field(ge=1)] = 1  # allowed in a image; the one with the best keypoints is cut out
    score: Share = 0.3  # a keypoint under it is not visible
    min_keypoints: Annotated[int, Field(ge=1, le=17)] = 8  # visible ones of the 17, at least
    min_head: Annotated[int, Field(ge=0, le=5)] = 1  # of nose, eyes, ears
    min_hip: Annotated[int, Field(ge=0, le=2)] = 1  # visible ones of the two hips, at least
    min_arms: Annotated[int, Field(ge=0, le=6)] = 0  # visible ones of shoulders, elbows and wrists, at least
    min_legs: Annotated[int, Field(ge=0, le=4)] = 0  # visible ones of knees and ankles, at least
    edge: Annotated[float, Field(ge=0, le=1)] = 0.02  # of the keypoints' height: a visible keypoint so near to the image's border is cut
    max_cut: Annotated[int, Field(ge=0, le=17)] | None = None  # keypoints that are cut, at most
    max_heads: Count | None = None  # heads in the image, also of people who show too little to count as persons
    min_person_score: Annotated[float, Field(ge=0)] | None = None  # of the person, by the detector; without one by the keypoints
    around: Literal["keypoints", "detector"] = "keypoints"  # what is cut out: the visible keypoints, or the detector's box
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1  # of the box's height, on every side
    min_side: Annotated[int, Field(ge=1)] = 90  # pixels of the crop's shorter side
    min_aspect: Annotated[float, Field(gt=0)] = 1.0  # height / width
    max_aspect: Annotated[float, Field(gt=0)] = 5.0  # height / width of the crop, at most
    batch: Count = 16  # no results (rounding)

    @model_validator(mode="after")
    def has_a_model(self) -> "Crop":
        if self.model is None and self.backend != "none":
            raise ValueError(f"the setting crop.model is needed by crop.backend = {self.backend}")
        return self


class Privacy(Section):
    """What is done for the people in photographs before a row is captioned and packed."""

    blur_faces: bool = False  # blur the head of every person in the crop, irreversibly, by the keypoints of the model crop.model
    blur_levels: Annotated[int, Field(ge=1, le=8)] = 4  # mean colours that are left across the width of a head; fewer are stronger
    blur_margin: Annotated[float, Field(ge=0, le=2)] = 0.25  # of the head's height, on every side of the head


class ImageScorer(Section):
    """An image classifier of transformers that scores each crop."""

    model: str  # hub id, or folder
    revision: str | None = None  # a branch, a tag or, best, a commit
    label: str | None = None  # the label whose probability is the score; none: the model has one output, which is the score
    threshold: float | None = None  # none: scores are stored, and nothing is refused


class Quality(Section):
    """Scores of the crops by models that you name; without one nothing is checked, and the card does not speak of it."""

    watermark: ImageScorer | None = None  # of a watermark or text: a score over its threshold refuses
    aesthetic: ImageScorer | None = None  # of beauty: a score under its threshold refuses
    batch: Count = 16  # no results (rounding)

    def scorers(self) -> dict[str, ImageScorer]:
        """The scorers that are set, by the name of their setting."""
        return {name: scorer for name, scorer in (("watermark", self.watermark), ("aesthetic", self.aesthetic)) if scorer}


class Instruction(Section):
    """What a captioner is asked about each image, and how often; `template` alone is short for an instruction of that kind."""

    kind: Literal["static", "template", "style", "questions"] = (
        "static"  # one wording; the shape of a template or the style of a caption, drawn for each image; answers to questions, summarised
    )
    text: str = (
        ""  # of the request, with {template}, {example} or {answers} where its kind has one; blip: what captions begin with; empty: ours
    )
    templates: str = "generated"  # of the kind template: a file with a template in each line; generated: those of `mals templates`
    examples: str | None = None  # of the kind style: a file of real captions of any kind that `mals plan` reads
    questions: list[str] = []  # of the kind questions, each asked beside the image; none: ours
    count: Count = 1  # captions of each image by this instruction

    @model_validator(mode="before")
    @classmethod
    def kind_alone(cls, instruction: Any) -> Any:
        """`template` is short for `kind: template`."""
        return {"kind": instruction} if isinstance(instruction, str) else instruction

    @model_validator(mode="after")
    def has_its_parts(self) -> "Instruction":
        if self.kind == "style" and not self.examples:
            raise ValueError("an instruction of the kind style needs examples, a file of captions")
        place = {"template": "{template}", "style": "{example}", "questions": "{answers}"}.get(self.kind, "")
        if self.text and place not in self.text:
            raise ValueError(f"the text of an instruction of the kind {self.kind} has no {place}, where that is put")
        return self


class Captioner(Section):
    """One captioning model, and what it is asked: the captions of an image are as many as the instructions of all captioners."""

    backend: Literal["blip", "vlm", "openai", "rewrite", "template"] = (
        "blip"  # blip; vlm: a vision-language model with a chat template; openai: such a model behind a server; rewrite: a language
        # model that rewrites captions; template: no model but a stand-in that puts the phrases of a caption into templates, for tests
        # and small presets
    )
    model: str = ""  # hub id, folder, or "embedded"; openai: the server's name of the model; needed by all backends but template
    revision: str | None = None  # a branch, a tag or, best, a commit; openai: needed, a label of yours for what the server runs
    server: Server | None = None  # of the backend openai, which does not use dtype, beams, min_tokens and batch
    dtype: Dtype = "fp32"  # of the weights and products
    prompt: str = ""  # short for one static instruction; blip: what the caption begins with; vlm and openai: the question
    instructions: list[Instruction] = []  # what is asked; none: `prompt`
    source: Annotated[int, Field(ge=0)] = 0  # rewrite and template: the number of the earlier captioner whose caption they start from
    beams: Count = 3  # of the beam search; 1: greedy
    sample: bool = False  # sample words instead of taking the most likely
    temperature: Annotated[float, Field(gt=0)] = 1.0  # of drawn words
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9  # words are drawn from the likeliest whose probabilities sum to this
    min_tokens: Annotated[int, Field(ge=0)] = 5  # of a caption, at least
    max_tokens: Count = 60  # of a caption, at most
    json_schema: dict[str, Any] | None = None  # openai: the JSON Schema of the answer, which is checked here too; none: the answer is text
    json_field: str = "caption"  # openai, with json_schema: the answer's field that is the caption
    batch: Count = 16  # no results (rounding)

    @model_validator(mode="after")
    def can_write(self) -> "Captioner":
        if not self.model and self.backend != "template":
            raise ValueError(f"a captioner of the backend {self.backend} needs a model; set its model")
        check_server("a captioner", self.backend, self.server, self.revision)
        if self.json_schema is not None and self.backend != "openai":
            raise ValueError(f"a captioner of the backend {self.backend} answers with text; leave out json_schema")
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens = {self.min_tokens} of a captioner is over its max_tokens = {self.max_tokens}")
        return self


class CaptionRules(Section):
    """Rules that the text of every caption must pass, and what becomes of one that fails."""

    min_words: Annotated[int, Field(ge=0)] = 0  # at least; HAM (2025) 8
    max_words: Count | None = None  # at most; HAM 130
    markup: bool = True  # refuse <, >, new lines, Markdown and the characters /n
    slots: bool = True  # refuse brackets, braces and the words that stand for a slot of a template
    hedging: bool = False  # refuse "appears to", "possibly", "might" and their like
    absent: bool = False  # refuse what is not there: "no visible", "not wearing", "cannot be seen" and their like
    retries: Annotated[int, Field(ge=0)] = 3  # with another template, example or sampled words; without any of these there is no other try
    on_bad: Literal["error", "static"] = (
        "error"  # of a caption that still fails: it is left out, with its reason; static: the same image's static caption takes its place
    )

    @model_validator(mode="after")
    def a_caption_can_pass(self) -> "CaptionRules":
        if self.max_words is not None and self.min_words > self.max_words:
            raise ValueError(f"caption.rules.min_words = {self.min_words} is over caption.rules.max_words = {self.max_words}")
        return self


class Caption(Section):
    """Captions of the crops."""

    captioners: Annotated[list[Captioner], Field(min_length=1)]
    collapse: bool = True  # write a repetition such as "with his hands on his hips and his hands on his hips" once; the raw text is kept
    rules: CaptionRules = CaptionRules()


class Label(Section):
    """Attribute labels from the captions."""

    space: str = "market1501"  # an attribute space by name, or a YAML file
    batch: Count = 256  # no results


class Identity(Section):
    """Whether the images of a person show one person; what falls out is refused."""

    min_agreement: Share | None = 0.8  # of the labels of an image with those that most images of its person have, of those known in both
    scorer: str | None = None  # a trained method that compares images with the first one: folder, hub id, "embedded"; none: labels alone
    revision: str | None = None  # of the scorer, at the hub
    loader: str = LOADER  # what loads it; one of your own is named by "my_package.my_module:my_function"
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | None = 0.5  # cosine of the image to the person's first one, by the scorer
    batch: Count = 32  # no results (rounding)


class Agree(Section):
    """How well each image agrees with its caption: a score, its rank among captions of other rows, and rules that refuse by them."""

    scorer: str | None = None  # a method of `mals pretrain` or a CLIP of open_clip: folder, hub id, "embedded"; none: min_wanted alone
    revision: str | None = None  # of the scorer: a branch, a tag or, best, a commit
    loader: str = LOADER  # what loads it; one of your own is named by "my_package.my_module:my_function"
    references: Count = 10_000  # captions of other rows that each image is scored with too, for the rank of its own
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None  # a score under it is refused; cosines of two models do not compare
    best_rank: Count | None = None  # a rank behind it is refused; 49 with 10,000 references: Filtering-WoRA (WWW 2025)
    min_wanted: Share | None = None  # share of the requested attributes that the labels confirm, at least
    batch: Count = 32  # no results (rounding)

    @model_validator(mode="after")
    def has_what_its_rules_need(self) -> "Agree":
        if self.scorer is None and (self.min_wanted is None or self.min_score is not None or self.best_rank is not None):
            raise ValueError(
                "the stage agree needs a scorer: set agree.scorer to a training or release of `mals pretrain`, or to a CLIP of open_clip"
            )
        if self.best_rank is not None and self.best_rank > self.references:
            raise ValueError(
                f"agree.best_rank = {self.best_rank} is over agree.references = {self.references}: no row would be refused by it"
            )
        return self


class Dedup(Section):
    """Near-duplicates among all rows, of which one is kept, and rows that stand in sets that you name, of which none is."""

    distance: Annotated[int, Field(ge=0, le=12)] = 8  # bits of 64 in which the hashes of two crops may differ, so that they are compared
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95  # cosine of their embeddings from which on they are duplicates
    scorer: str | None = None  # what embeds in place of thumbnails (mals/stages/embed.py): a trained method as folder, hub id, "embedded"
    revision: str | None = None  # of the scorer: a branch, a tag or, best, a commit
    loader: str = LOADER  # what loads it; one of your own is named by "my_package.my_module:my_function"
    best: str = "sharpness"  # the number of which the most is kept in a cluster: person_score, bits_per_pixel, agreement_wanted ...
    against: list[str] = []  # packed sets as FOLDER/SPLIT, such as cuhk/test: rows with an image or a caption of theirs are refused
    batch: Count = 32  # no results (rounding)


class Keep(Section):
    """The best share of the rows that are still in, by a number of an earlier stage."""

    by: str = "agree_score"  # the number: that of the stage agree, sharpness, person_score ...; a row without it is refused
    share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of the rows that have the number, rounded up; ties are decided by the plan's order
    lowest: bool = False  # the lowest numbers are the best ones, as of nsfw_score


class Pack(Section):
    """The packed data set."""

    name: str = "persons"  # of the data set, in the card
    split: dict[str, Share] = {"train": 1.0}  # shares; they sum to 1
    split_by: Literal["share", "person"] = "share"  # person: all images of one person fall into one split
    rows_per_file: Count = 4096  # rows of one Parquet file, at most
    rows_per_group: Count = 128  # of 28 kB: a row at random takes 1.3 ms (512: 4.0 ms, 16: 0.9 ms), for files 0.8 % larger than with 512
    license: str = "other"  # of the packed set, for the card
    contact: str = ""  # whom to write to, for the card
    language: str = "en"  # of the captions, for the card
    source: str = ""  # where photographs come from, for the card; `mals publish` needs it for images that no model made
    consent: str = ""  # the basis on which people in them are shown, for the card; `mals publish` needs it too

    @model_validator(mode="after")
    def shares_sum_to_one(self) -> "Pack":
        if abs(sum(self.split.values()) - 1) > 1e-6:
            raise ValueError(f"the shares of pack.split sum to {sum(self.split.values()):g}, not 1")
        return self


class Config(Section):
    """The settings of a run."""

    preset: str = "tiny"  # the settings that these differ from, one of `mals recipes`
    source: Literal["generate", "ingest"] = "generate"  # the first stage: images from prompts, or images that exist (`mals plan --ingest`)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # of every random number of the run
    shard_rows: Count = 512  # rows a shard: the work that a kill can cost
    stages: dict[str, str] = {}  # a stage of your own in place of one of mals: "generate: my_package.my_module:my_function"
    plan: Plan = Plan()
    generate: Generate
    safety: Safety = Safety()
    filter: Filter = Filter()
    crop: Crop
    privacy: Privacy = Privacy()
    quality: Quality = Quality()
    caption: Caption | None  # none: nothing is captioned, and the plan's own captions are labelled
    label: Label = Label()
    identity: Identity | None = None  # a check that keeps the images of a person together; none: no check
    agree: Agree | None = None  # none: images and captions are not compared
    dedup: Dedup | None = None  # none: near-duplicates are not looked for
    keep: Keep | None = None  # the best share of all rows; none: all of them
    pack: Pack = Pack()
    run: Execution = Execution()

    @model_validator(mode="after")
    def persons_have_several_images(self) -> "Config":
        for name in ("view_strength", "ip_adapter"):
            if getattr(self.generate, name) is not None and self.plan.views == 1:
                raise ValueError(f"generate.{name} makes a person's further images from its first one; set plan.views over 1")
        plan, ties = self.plan, (self.generate.view_strength, self.generate.ip_adapter, self.generate.control)
        if plan.views > 1 and plan.view_seed == "person" and not (plan.vary or plan.change_clothes or any(ties)):
            raise ValueError("the images of a person would all be the same; set plan.vary, or plan.view_seed = own")
        return self

    @model_validator(mode="after")
    def faces_are_found_by_a_model(self) -> "Config":
        if self.privacy.blur_faces and self.crop.model is None:
            raise ValueError("privacy.blur_faces finds heads by a pose model; set crop.model")
        return self

    @model_validator(mode="after")
    def attributes_are_requested(self) -> "Config":
        if self.agree and self.agree.min_wanted is not None and self.plan.attributes is None:
            raise ValueError(
                "agree.min_wanted compares labels with requested attributes, and only a plan with plan.attributes requests some"
            )
        return self


STAGE_ORDER = (
    "generate",
    "ingest",
    "safety",
    "filter",
    "crop",
    "quality",
    "caption",
    "label",
    "identity",
    "agree",
    "embed",
    "dedup",
    "keep",
)
STAGES = {name: f"mals.stages.{name}:stage" for name in STAGE_ORDER}


def stage_names(config: Config) -> list[str]:
    """The stages of a run, in order: `config.source` is the first; some are there only where their sections are set."""
    is_set = {name: getattr(config, name) is not None for name in ("caption", "identity", "agree", "dedup", "keep")}
    is_set |= {"quality": bool(config.quality.scorers()), "embed": is_set["dedup"]}
    return [name for name in STAGE_ORDER if is_set.get(name, name not in ("generate", "ingest") or name == config.source)]


def dump(config: Config) -> dict[str, Any]:
    """All settings as JSON values."""
    return config.model_dump(mode="json")
