"""`townsquare doctor`: everything that the platform needs, and how to mend what is wrong."""

from pathlib import Path

import click
from msgspec import Struct

from townsquare.commands.doctor.database import check_database
from townsquare.commands.doctor.finding import Finding
from townsquare.commands.doctor.machine import (
    check_folder,
    check_keys,
    check_ports,
    check_programs,
    check_python,
    check_settings,
)
from townsquare.commands.doctor.servers import check_mail, check_redis
from townsquare.commands.shared import EXIT_FAILED, data_option, json_option, print_json, run, shown, task_settings
from townsquare.settings import Settings

SIGNS = {"ok": "ok", "skipped": "-", "warning": "warning", "failed": "FAILED"}


class Report(Struct, frozen=True):
    """All findings; `healthy` when nothing that is needed has failed."""

    healthy: bool
    checks: list[Finding]


@click.command("doctor")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the gateway (default 8000).")
@data_option
@json_option
@click.pass_context
def command(context: click.Context, port: int | None, data: Path | None, as_json: bool) -> None:
    """Check everything that the platform needs, and say how to mend it; ends with status 1 when something has failed.

    Works while the platform runs and while it does not, and leaves nothing running that was not.
    """
    report = run(_examine(task_settings(data=data, port=port)))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if not report.healthy:
        context.exit(EXIT_FAILED)


async def _examine(settings: Settings) -> Report:
    checks = [
        check_python(),
        check_settings(),
        check_folder(settings),
        check_programs(settings),
        check_keys(settings),
        *await check_ports(settings),
        *await check_database(settings),
        await check_redis(settings),
        await check_mail(settings),
    ]
    return Report(all(finding.status != "failed" for finding in checks), checks)


def _print(report: Report) -> None:
    width = max(len(finding.name) for finding in report.checks)
    for finding in report.checks:
        click.echo(f"{SIGNS[finding.status]:<8} {finding.name:<{width}}  {shown(finding.detail)}")
        if finding.mend:
            click.echo(f"{'':<8} {'':<{width}}  -> {shown(finding.mend)}")
    counts = {word: sum(finding.status == word for finding in report.checks) for word in ("failed", "warning")}
    click.echo(f"\n{counts['failed']} failed, {counts['warning']} to see to." if any(counts.values()) else "\nAll is well.")
