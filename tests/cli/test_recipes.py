"""`mals recipes`: what each preset is, and what it changes."""

import json

import yaml

from mals.settings import RUN, preset, presets


def test_every_preset_is_listed_with_its_base_its_summary_and_its_changes(mals):
    result = mals("recipes")
    assert result.returncode == 0, result.stderr
    paragraphs = {text.split()[0].rstrip(":"): text for text in result.stdout.strip().split("\n\n")}
    assert list(paragraphs) == sorted(presets(), key=lambda name: ("base" in file_of(name), name))
    for name, text in paragraphs.items():
        base = file_of(name).get("base")
        assert text.startswith(f"{name} (based on {base}): " if base else f"{name}: ")
    assert "\n    generate.steps: 15" in paragraphs["mals"] and "\n    generate.steps" not in paragraphs["webperson"]


def test_the_changes_on_top_of_the_base_are_the_preset(mals):
    for entry in json.loads(mals("recipes", "--json").stdout):
        settings = preset(entry["base"]) if entry["base"] else {}
        for setting, value in entry["changes"].items():
            *sections, last = setting.split(".")
            part = settings
            for section in sections:
                part = part.setdefault(section, {})
            part[last] = value
        assert settings == preset(entry["name"])


def test_a_name_gives_the_file_with_its_sources_and_another_name_is_refused(mals):
    assert mals("recipes", "webperson").stdout == (RUN.folder / "webperson.yaml").read_text(encoding="utf-8")
    refused = mals("recipes", "web")
    assert refused.returncode == 2 and "there is no preset 'web'; there are" in refused.stderr and "Traceback" not in refused.stderr


def file_of(name):
    return yaml.safe_load((RUN.folder / f"{name}.yaml").read_text(encoding="utf-8"))
