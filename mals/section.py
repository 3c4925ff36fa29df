"""What every section of settings is: a frozen pydantic model that refuses unknown keys."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Settings under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def none_is_a_word(cls, tree: Any) -> Any:
        """`caption: none`, in place of a section that may be missing, is a text in YAML."""
        if not isinstance(tree, dict):
            return tree
        optional = (name for name, field in cls.model_fields.items() if tree.get(name) == "none" and may_be_missing(field.annotation))
        return {**tree, **dict.fromkeys(optional)}


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The first section in a type such as `list[Captioner]` or `Lora | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((section for part in get_args(annotation) if (section := section_of(part))), None)


def may_be_missing(annotation: Any) -> bool:
    """Whether a type is that of a section, or of none."""
    return type(None) in get_args(annotation) and section_of(annotation) is not None
