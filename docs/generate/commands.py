"""The command reference, from the Typer application."""

from collections.abc import Iterator
from typing import Any

import typer


def application() -> Any:
    """`mals` with every command."""
    from cli import main

    if not main.app.registered_commands:
        main.register()
    return typer.main.get_command(main.app)


def page() -> Iterator[str]:
    """Markdown: the list of commands, then each with its arguments and options."""
    yield "# Commands\n\nGenerated from the program; `mals COMMAND --help` prints the same.\n\n"
    commands = application().commands
    yield "| command | what it does |\n|---|---|\n"
    for name, command in commands.items():
        yield f"| [`mals {name}`](#mals-{name}) | {summary(command)} |\n"
    for name, command in commands.items():
        yield from section(f"mals {name}", command)


def summary(command: Any) -> str:
    """The first sentence of a command's help."""
    return " ".join((command.help or "").split("\n\n")[0].split()).replace("|", "\\|")


def section(name: str, command: Any) -> Iterator[str]:
    """A command's usage, help and options, or those of the commands under it."""
    yield f"\n## {name}\n\n{command.help or ''}\n\n"
    if hasattr(command, "commands"):
        for inner, subcommand in command.commands.items():
            yield from section(f"{name} {inner}", subcommand)
        return
    context = command.make_context(name, [], resilient_parsing=True)
    params = [parameter for parameter in command.get_params(context) if parameter.name != "help"]
    arguments = [parameter.metavar or parameter.name.upper() for parameter in params if parameter.param_type_name == "argument"]
    yield f"```text\n{' '.join([name, *arguments, '[OPTIONS]'])}\n```\n\n| argument or option | default | meaning |\n|---|---|---|\n"
    for parameter in params:
        if not getattr(parameter, "hidden", False):
            meaning = (getattr(parameter, "help", None) or "").replace("|", "\\|")
            yield f"| {spelled(parameter)} | {shown(parameter)} | {meaning} |\n"


def spelled(parameter: Any) -> str:
    """How a parameter is written: `--set, -s a.b=c`."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return f"`{names}`" if parameter.is_flag else f"`{names} {parameter.metavar or parameter.name.upper()}`"


def shown(parameter: Any) -> str:
    """A parameter's default."""
    if parameter.required:
        return "needed"
    if parameter.default is None or parameter.default is False or callable(parameter.default):
        return ""
    return f"`{parameter.default}`"
