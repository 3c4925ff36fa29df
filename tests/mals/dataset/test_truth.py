"""What a packed row says of its image follows from what made the image."""

from mals.dataset.origins import OriginCounts


def test_the_tag_synthetic_is_for_sets_in_which_every_image_is() -> None:
    assert OriginCounts.of({"generated": 2, "image_to_image": 1}).tags() == ["synthetic", "diffusion"]
    assert OriginCounts.of({"drawn": 2}).tags() == ["synthetic"]
    assert OriginCounts.of({"original": 1, "generated": 2}).tags() == ["partly-synthetic", "diffusion"]
    assert OriginCounts.of({"original": 1, None: 2}).tags() == []


def test_whether_there_is_synthetic_data_is_not_said_where_it_is_not_known() -> None:
    statements = {name: OriginCounts.of({name: 1}).has_synthetic_data for name in ("generated", "drawn", "original", None)}
    assert statements == {"generated": True, "drawn": True, "original": False, None: None}
    assert OriginCounts.of({None: 1, "original": 1}).has_synthetic_data is None
    assert OriginCounts.of({None: 1, "generated": 1}).has_synthetic_data is True
