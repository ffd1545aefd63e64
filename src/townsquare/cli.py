"""The command line: one file a command in `townsquare.commands`, imported when it is called."""

import os
import sys
from asyncio import CancelledError
from importlib import import_module

import click

from townsquare import __version__

EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 130, 143

COMMANDS = {
    "up": "Start the whole platform.",
    "serve": "Serve one service on its own port.",
    "worker": "Run one service's jobs and readers, without HTTP.",
    "migrate": "Bring the databases up to this release.",
    "doctor": "Check everything that the platform needs, and say how to mend it.",
    "config": "Show every setting and where it came from.",
    "users": "List, show, suspend and help people.",
    "jobs": "Show the job queues; retry what failed.",
    "demo": "Fill the community with believable people and posts.",
    "import": "Bring in what people have elsewhere.",
    "export": "Write everything of one person into a ZIP file.",
    "cache": "Show what the caches hold and why; drop things by hand.",
    "media": "Show what files take; sweep, verify and remake them.",
    "mail": "Show the mail that was written to the data folder.",
}


class _Commands(click.Group):
    """Imports a command's module only when it is needed, so that `--help` and `up` start at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"townsquare.commands.{cmd_name}_command").command
        assert isinstance(command, click.Command)  # noqa: S101  (says what import_module cannot)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the command that may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand:
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="townsquare")
def cli() -> None:
    """townsquare: the platform that a community runs itself."""


def main() -> None:
    """Run the command line; a foreseen failure is one sentence and exit status 1, never a traceback."""
    from townsquare.commands.shared import FORESEEN, sentence_of

    try:
        status = cli.main(prog_name="townsquare", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except CancelledError:
        sys.exit(EXIT_TERMINATED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read has seen enough (`| head`); nothing is left for the interpreter to flush in vain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except FORESEEN as error:
        click.echo(f"townsquare: {sentence_of(error)}", err=True)
        sys.exit(EXIT_FAILED)
    # click hands over the status of `--help` and of `context.exit(status)`; a command itself returns nothing.
    sys.exit(status if isinstance(status, int) else 0)
