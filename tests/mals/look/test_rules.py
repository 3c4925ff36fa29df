"""The thresholds of pages are settings of the stages."""

from mals.config import Config
from mals.look.rules import THRESHOLDS, name_of
from mals.settings import check


def test_every_threshold_names_a_setting_that_is_there() -> None:
    config = check({"preset": "tiny"})
    for threshold in THRESHOLDS:
        for setting in (threshold.least, threshold.greatest):
            if setting is not None:
                section, name, *_ = setting.split(".")
                kind = Config.model_fields[section].annotation
                model = next(model for model in (kind, *getattr(kind, "__args__", ())) if hasattr(model, "model_fields"))
                assert name in model.model_fields, setting
        assert all(limit is None or isinstance(limit, float) for limit in threshold.limits(config))
    names = [name_of(threshold) for threshold in THRESHOLDS]
    assert len(set(names)) == len(names)


def test_limits_are_those_of_the_settings() -> None:
    limits = {name_of(threshold): threshold.limits(check({"preset": "tiny"})) for threshold in THRESHOLDS}
    assert limits["filter.sharpness"] == (30.0, None) and limits["filter.luminance"] == (None, None)
    assert limits["crop.bad_aspect"] == (1.2, 6.0) and limits["agree.agree_score"] == (None, None)
