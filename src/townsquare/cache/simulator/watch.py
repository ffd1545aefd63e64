"""What one sees of a storm in a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from townsquare.cache.simulator.process import Process
from townsquare.cache.simulator.storm import Storm
from townsquare.cache.statistics import Counts


def picture(storm: Storm) -> Group:
    """Draw the present moment."""
    storm.sum_up()
    return Group(_headline(storm), _processes(storm), _faults(storm))


def _headline(storm: Storm) -> Text:
    summary = storm.summary
    text = Text(f"storm {summary.seed}   {summary.seconds:.0f} s   {summary.reads} reads   {summary.writes} writes\n")
    text.append(f"oldest answer: {summary.oldest_read:.2f} s behind   ")
    if summary.wrong is None:
        text.append("wrong reads: none", style="bold green")
    else:
        text.append(f"WRONG READ: {summary.wrong}", style="bold red")
    return text


def _processes(storm: Storm) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in ("#", "reads", "hits", "L2", "joined", "fills", "bypass", "stale", "refused", "gone", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for process in storm.world.processes:
        total = _total(process)
        asked = (process.tally.reads, total.hit, total.hit_shared, total.joined, total.miss, total.bypass, total.stale)
        kept = (total.refused, total.invalidated, process.tally.failed_reads)
        table.add_row(process.name.rpartition(" ")[2], *map(str, asked + kept), _state(process))
    return table


def _total(process: Process) -> Counts:
    counts = [count.as_dict() for count in process.cache.statistics.by_strategy().values()]
    return Counts(**{name: sum(count[name] for count in counts) for name in Counts().as_dict()})


def _state(process: Process) -> Text:
    if process.frozen:
        return Text("frozen", style="cyan")
    if process.cache.trusted:
        return Text("in touch", style="green")
    return Text("out of touch", style="yellow")


def _faults(storm: Storm) -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column("fault")
    for name in ("times", "recovered", "longest recovery"):
        table.add_column(name, justify="right")
    under_way = {trouble.fault.name for trouble in storm.troubles if not trouble.ended}
    for name, record in sorted(storm.summary.faults.items()):
        style = "bold red" if name in under_way else ""
        table.add_row(Text(name, style=style), str(record.times), str(record.recoveries), f"{record.longest_recovery:.2f} s")
    return table
