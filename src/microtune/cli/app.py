"""`microtune`: one subcommand per verb. Parses, calls, prints; everything else is in `run`.

torch is imported inside the commands, so that `--help` answers at once. A mistake of the user ends in one sentence on
stderr and exit code 2; `--debug` shows the traceback.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from microtune.cli import (
    ask,
    attending,
    combining,
    comparing,
    demo,
    exporting,
    learn,
    linting,
    listing,
    planning,
    reporting,
    vectors,
)
from microtune.cli.console import err, plain
from microtune.cli.language import KNOWN, asked_for, language
from microtune.errors import InputError, MicrotuneError
from microtune.version import __version__


class Verbs(TyperGroup):
    """The verbs, whose `--help` is in Chinese where that is asked for; each takes `--lang` as it stands before them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = [option for option in self.params if option.name == "lang"]
        for verb in self.commands.values():
            known = {option.name for option in verb.params}
            for behind in (copy(option) for option in own if option.name not in known):
                behind.expose_value = False  # whoever prints looks for it in the arguments
                verb.params.append(behind)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments; the Chinese of the pages is loaded only where it is needed."""
        if asked_for(args):
            from microtune.cli.chinese.help import speak

            speak(self)
        return super().make_context(info_name, args, parent, **extra)


app = typer.Typer(
    name="microtune",
    cls=Verbs,
    help="A language model through its whole working life on an ordinary computer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"microtune {__version__}")
        raise typer.Exit


def _lang(value: str | None) -> str | None:
    if language(value) not in KNOWN:
        raise InputError(f'--lang: "{value}" is not known; reports are written in en and zh.')
    return value


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang",
            callback=_lang,
            help="language of help, messages and reports: en or zh [default: MICROTUNE_LANG, or en]",
        ),
    ] = None,
) -> None:
    """Options before the verb; who needs them looks for them in the arguments."""


app.command("demo")(demo.demo)
app.command("tune")(learn.tune)
app.command("pretrain")(learn.pretrain)
app.command("compare")(comparing.compare)
app.command("plan")(planning.plan)
app.command("lint")(linting.lint)
app.command("evaluate")(ask.evaluate)
app.command("predict")(ask.predict)
app.command("chat")(ask.chat)
app.command("report")(reporting.report)
app.command("attention")(attending.attention)
app.command("export")(exporting.export)
app.command("merge")(exporting.merge)
app.command("combine")(combining.combine)
app.command("vectors")(vectors.vectors)
app.command("list")(listing.list_things)
_VERBS = [str(command.name) for command in app.registered_commands]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command; exits with 0, 1, 2 or 130."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = ["--debug", *(a for a in arguments if a != "--debug")] if debug else arguments
    try:
        code = app(args=arguments, standalone_mode=False)
    except MicrotuneError as error:
        if debug:
            raise
        sys.exit(_complain(str(error), error.exit_code, arguments))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_complain("stopped", 130, arguments))
    except BrokenPipeError:
        sys.exit(0)
    except MemoryError:
        message = "not enough memory; lower train.micro_tokens or choose a smaller model"
        sys.exit(_complain(message, 1, arguments))
    except Exception as error:
        of_the_parser = hasattr(error, "format_message")
        sys.exit(_usage(error, arguments) if of_the_parser else _unexpected(error, arguments, debug=debug))
    sys.exit(code or 0)


def _usage(error: Any, arguments: list[str]) -> int:
    """A mistake in the arguments; typer's own classes differ between its versions, so they are known by their form."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    from microtune.cli.mistaken import other_option, other_verb

    verb = next((word for word in arguments if word in _VERBS), None)
    option = error.option_name if type(error).__name__ == "NoSuchOption" else None
    first = next((word for word in arguments if not word.startswith("-")), "")
    known = other_option(verb or "", option) if option else None if verb else other_verb(first)
    if known is not None:
        return _complain(known, 2, arguments)
    page = f"microtune {verb} --help" if verb else "microtune --help"
    return _complain(f"{error.format_message()} ({page} shows what there is)", 2, arguments)


def _unexpected(error: Exception, arguments: list[str], *, debug: bool) -> int:
    if debug:
        raise error
    text = f"internal error ({type(error).__name__}: {str(error)[:300]}); please report it with the output of --debug"
    return _complain(text, 1, arguments)


def _complain(message: str, code: int, arguments: list[str]) -> int:
    """Say it, in the language of the user, on stderr."""
    line = f"error: {plain(message)}"
    if asked_for(arguments):
        from microtune.cli.chinese import translated

        line = f"错误：{plain(translated(message))}"
    err.print(line, soft_wrap=True)
    return code
