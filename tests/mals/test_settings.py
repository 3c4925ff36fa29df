import pytest

from mals import settings
from mals.config import Captioner
from mals.errors import UserError


@pytest.mark.parametrize("name", settings.presets())
def test_every_preset_is_valid(name):
    assert settings.check({"preset": name}).preset == name


def test_the_default_preset_is_tiny():
    assert settings.check({}).preset == "tiny"


def test_a_typo_names_the_nearest_key():
    with pytest.raises(UserError, match=r"crop\.scoer; did you mean crop\.score\?"):
        settings.check({"crop": {"scoer": 1}})


def test_a_typo_inside_a_list_names_the_nearest_key():
    with pytest.raises(UserError, match=r"captioners\.0\.beam; did you mean caption\.captioners\.0\.beams\?"):
        settings.check({"caption": {"captioners": [{"model": "x", "beam": 2}]}})


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(UserError, match="no preset 'big'; there are ham, luperson-mllm, mals, modern, "):
        settings.check({"preset": "big"})


def test_a_wrong_value_is_named():
    with pytest.raises(UserError, match=r"generate\.height = 100: input should be a multiple of 8"):
        settings.check({"generate": {"height": 100}})


def test_split_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(UserError, match=r"sum to 0\.5, not 1"):
        settings.check({"pack": {"split": {"train": 0.5}}})


def test_one_member_of_a_presets_list_can_be_set():
    tree = settings.assign({"preset": "modern"}, ["caption.captioners.1.beams=5"])
    captioners = settings.check(tree).caption.captioners
    assert [type(c) for c in captioners] == [Captioner, Captioner]
    assert captioners[1].beams == 5
    assert captioners[0] == settings.check({"preset": "modern"}).caption.captioners[0]


def test_a_preset_with_a_base_is_its_changes_on_top_of_it():
    webperson, modern = settings.check({"preset": "webperson"}), settings.check({"preset": "modern"})
    assert webperson.crop.around == "detector" and webperson.crop.min_aspect == 2
    assert (webperson.crop.model, webperson.generate, webperson.safety) == (modern.crop.model, modern.generate, modern.safety)
    assert "base" not in settings.preset("webperson") and webperson.preset == "webperson"


def test_one_of_two_places_that_a_file_fills_by_a_reference_can_be_set_alone():
    first = settings.preset("webperson")["caption"]["captioners"][0]["instructions"][0]["text"]
    tree = settings.assign({"preset": "webperson"}, ["caption.captioners.0.instructions.0.text=Like {template}"])
    assert [captioner["instructions"][0]["text"] for captioner in tree["caption"]["captioners"]] == ["Like {template}", first]


def test_a_number_in_exponent_form_is_a_number():
    assert settings.check(settings.assign({}, ["crop.score=1e-1"])).crop.score == 0.1


@pytest.mark.parametrize("text", ["generate.steps", "=3", "generate.steps=[1"])
def test_a_setting_of_another_form_is_refused(text):
    with pytest.raises(UserError):
        settings.assign({}, [text])


def test_a_list_index_past_the_end_is_refused():
    with pytest.raises(UserError, match="there are only 1 in"):
        settings.assign({}, ["caption.captioners.4.beams=2"])


def test_a_file_that_is_not_yaml_is_told_with_its_line():
    with pytest.raises(UserError, match=r"mals\.yaml, line 2 is not YAML"):
        settings.parse("a: 1\nb: ]", "mals.yaml")


def test_what_is_given_wins_over_the_preset_key_by_key():
    config = settings.check({"preset": "mals", "filter": {"min_bytes": 1}})
    assert config.filter.min_bytes == 1
    assert config.filter.min_channel_variance == settings.check({"preset": "mals"}).filter.min_channel_variance


@pytest.mark.parametrize(
    "config",
    [
        lambda: settings.check({"crop": "none"}),
        lambda: settings.check(settings.parse("crop: none", "a file")),
        lambda: settings.check(settings.assign({}, ["crop=none"])),
        lambda: settings.check(settings.assign({"crop": {"min_side": 3}}, ["crop=none", "crop.score=0.2"])),
        lambda: settings.check(settings.assign({"crop": "none"}, ["crop.batch=2"])),
    ],
)
def test_crop_none_is_short_for_its_backend_and_keeps_the_presets_model(config):
    crop = config().crop
    assert (crop.backend, crop.model) == ("none", "embedded")


def test_a_pose_model_is_needed_where_people_are_looked_for_and_nowhere_else():
    assert settings.check(settings.assign({}, ["crop=none", "crop.model=null"])).crop.model is None
    with pytest.raises(UserError, match=r"crop\.model is needed by crop\.backend = vitpose"):
        settings.check(settings.assign({}, ["crop.model=null"]))
    with pytest.raises(UserError, match=r"privacy\.blur_faces finds heads by a pose model; set crop\.model"):
        settings.check(settings.assign({}, ["crop=none", "crop.model=null", "privacy.blur_faces=true"]))


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crop: &a [*a]", "or holds itself by a reference"),
        (BOMB, "holds more than 10,000 values"),
        ("seed: 1\nseed: 2\n", "line 2 is not YAML: 'seed' stands twice"),
        (f"seed: {'9' * 5000}", "holds a value that YAML cannot read"),
        ("seed: 2026-13-45", "holds a value that YAML cannot read"),
        ("[" * 20_000, "nested too deeply"),
        ("seed: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_yaml_that_no_settings_are_written_in_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        settings.parse(text, "own.yaml")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seed=1\nother: 2", "more than one value"),
        ("pack.split.train.x=1", "train"),
        ("generate.\n=1", "there is no setting"),
        ("caption.captioners.0.model.x=1", "model"),
        ("caption.captioners.\u00b2=1", "captioners is a list"),
    ],
)
def test_an_assignment_of_another_form_is_refused_in_one_line(setting: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        settings.check(settings.assign({"caption": {"captioners": [{"model": "x"}]}}, [setting]))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("crop=nonee", "crop = 'nonee': did you mean none?"),
        ("crop=off", "crop = False: did you mean none?"),
        ("caption=nonne", "caption = 'nonne': did you mean none?"),
        ("generate.lora=non", "generate.lora = 'non': did you mean none?"),
        ("caption=blip", "caption = 'blip': this is a section; give none, or its settings, such as caption.captioners"),
        ("crop=vitpose", "crop = 'vitpose': this is a section; give none, or its settings, such as crop.backend"),
        ("filter=none", "filter = 'none': this is a section; give its settings, such as filter.reference_quality"),
        (
            "caption.captioners=[blip]",
            "caption.captioners.0 = 'blip': this is a section; give its settings, such as caption.captioners.0.backend",
        ),
    ],
)
def test_a_word_in_place_of_a_section_is_told_which_word_or_settings_can_stand_there(setting: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        settings.check(settings.assign({}, [setting]))
    assert str(error.value) == f"the settings: {sentence}"


def test_none_is_a_word_for_every_section_that_may_be_missing() -> None:
    config = settings.check(settings.assign({"preset": "modern"}, ["caption=none", "generate.lora=none", "plan.attributes=none"]))
    assert (config.caption, config.generate.lora, config.plan.attributes) == (None, None, None)
