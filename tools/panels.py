"""The dashboard's panels, row by row, with their Prometheus queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["short", "s", "bytes", "percentunit"]

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and what its series are called in the legend: labels in {{}}."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A graph over time. `about` says how to read it."""

    title: str
    about: str
    queries: Sequence[Query]
    unit: Unit = "short"
    stacked: bool = False


@dataclass(frozen=True)
class Stat:
    """One number, as it is now. `steps` are the colours from the given values on."""

    title: str
    about: str
    query: Query
    unit: Unit = "short"
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)

    @property
    def queries(self) -> Sequence[Query]:
        return (self.query,)


@dataclass(frozen=True)
class Row:
    """Numbers beside each other, graphs below them."""

    title: str
    stats: Sequence[Stat]
    panels: Sequence[Panel]

    @property
    def all(self) -> Sequence[Stat | Panel]:
        return [*self.stats, *self.panels]


def a_minute(counter: str, by: str = "") -> str:
    """Return the query of a counter's growth in a minute, over all instances."""
    return f"60 * sum{f' by ({by}) ' if by else ''}(rate({counter}[$__rate_interval]))"


def percentiles(histogram: str, matchers: str = "") -> tuple[Query, ...]:
    """Return the queries of a histogram's percentiles over all instances: half, most, nearly all."""
    buckets = f"sum by (le) (rate({histogram}_bucket{matchers}[$__rate_interval]))"
    return tuple(Query(f"histogram_quantile({share}, {buckets})", f"p{100 * share:g}") for share in (0.5, 0.95, 0.99))


ROWS = (
    Row(
        "What callers see",
        (
            Stat(
                "Jobs that wait",
                "In the whole queue, which all gateways share.",
                Query("max(animegan_gateway_queue_depth)"),
            ),
            Stat(
                "Wait",
                "How long 95 of 100 jobs waited at most, of those that began within 5 minutes.",
                Query("animegan:wait_seconds:p95_rate5m > 0 or vector(0)"),
                "s",
                ((None, GREEN), (60, YELLOW), (300, RED)),
            ),
            Stat(
                "Drawing",
                "How long 95 of 100 pictures took at most, of those drawn within 5 minutes.",
                Query("animegan:run_seconds:p95_rate5m > 0 or vector(0)"),
                "s",
            ),
            Stat(
                "Ready workers",
                "Of all TorchServes.",
                Query('sum(animegan_agent_workers{state="ready"})'),
                steps=((None, RED), (1, GREEN)),
            ),
            Stat(
                "Failed by our fault",
                "Share of the jobs that ended within 10 minutes.",
                Query("animegan:jobs_failed:ratio_rate10m > 0 or vector(0)"),
                "percentunit",
                ((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            ),
            Stat(
                "Alerts",
                "That fire now; docs/operations/runbook.md says what to do.",
                Query('count(ALERTS{alertname=~"Animegan.+", alertstate="firing"}) or vector(0)'),
                steps=((None, GREEN), (1, RED)),
            ),
        ),
        (
            Panel(
                "Jobs a minute",
                "Where more are accepted than done, the queue grows.",
                (
                    Query(a_minute("animegan_gateway_jobs_accepted_total"), "accepted"),
                    Query(a_minute("animegan_gateway_jobs_ended_total", "state"), "{{state}}"),
                ),
            ),
            Panel(
                "Wait in the queue",
                "From acceptance to the first attempt.",
                percentiles("animegan_gateway_wait_seconds"),
                "s",
            ),
            Panel(
                "Drawing",
                "From the request to TorchServe to the last byte of its answer.",
                percentiles("animegan_gateway_run_seconds"),
                "s",
            ),
            Panel(
                "Queue",
                "Jobs that wait and that run.",
                (
                    Query("max(animegan_gateway_queue_depth)", "waiting"),
                    Query('max(animegan_gateway_jobs{state="running"})', "running"),
                ),
            ),
            Panel(
                "Oldest waiting job",
                "A line that climbs at 45 degrees is a queue that does not move.",
                (Query("max(animegan_gateway_oldest_waiting_seconds)", "age"),),
                "s",
            ),
            Panel(
                "Refused at the door, a minute",
                "By the error's code: callers' own mistakes, full queues, stores that are away.",
                (Query(a_minute("animegan_gateway_jobs_rejected_total", "reason"), "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "Pictures",
        (),
        (
            Panel(
                "Pictures a minute, by result",
                "As the workers count them, each attempt once: ok, or an error's code.",
                (Query(a_minute("animegan_pictures_total", "result"), "{{result}}"),),
            ),
            Panel(
                "Drawn pictures a minute, by style and plan",
                "bands is usual on a CPU, whole on a GPU; recompute means that memory is scarce.",
                (Query(a_minute('animegan_pictures_total{result="ok"}', "style, plan"), "{{style}}, {{plan}}"),),
            ),
            Panel(
                "Seconds a picture, by phase",
                "Means, one on the other: what a picture's time goes into.",
                (
                    Query(
                        "sum by (phase) (rate(animegan_phase_seconds_sum[$__rate_interval])) "
                        "/ sum by (phase) (rate(animegan_phase_seconds_count[$__rate_interval]))",
                        "{{phase}}",
                    ),
                ),
                "s",
                stacked=True,
            ),
            Panel(
                "Seconds of the phase run",
                "TorchServe's buckets end at 10 s: what takes longer is shown as 10 s.",
                percentiles("animegan_phase_seconds", '{phase="run"}'),
                "s",
            ),
            Panel(
                "Fitted pictures a minute",
                "That were larger than max_side, and scaled down.",
                (Query(a_minute("animegan_fitted_pictures_total"), "fitted"),),
            ),
            Panel(
                "Wait inside TorchServe",
                "Mean of 5 minutes. The gateway sends only what there is room for, so it stays near 0.",
                (Query("animegan:torchserve_queue_seconds:mean_rate5m", "wait"),),
                "s",
            ),
        ),
    ),
    Row(
        "Memory",
        (),
        (
            Panel(
                "Containers",
                "Use without what the kernel can drop, as a part of the limit. Above nine tenths a kill is near.",
                (Query("animegan:memory_used:ratio", "{{instance}}"),),
                "percentunit",
            ),
            Panel(
                "Processes",
                "Resident memory. A worker grows with its largest picture and then stays there.",
                (
                    Query("animegan_agent_worker_memory_bytes", "worker {{worker}}, {{instance}}"),
                    Query("animegan_agent_java_memory_bytes", "Java, {{instance}}"),
                    Query('process_resident_memory_bytes{job="animegan-gateway"}', "gateway, {{instance}}"),
                ),
                "bytes",
            ),
            Panel(
                "Peak of a worker",
                "The most it held since it started.",
                (Query('animegan_peak_memory_bytes{memory="host"}', "{{device}}, {{instance}}"),),
                "bytes",
            ),
            Panel(
                "Device",
                "What PyTorch has reserved on the GPU, and the most since the worker started; 0 on a CPU.",
                (
                    Query('animegan_memory_bytes{memory="device"}', "held, {{device}}, {{instance}}"),
                    Query('animegan_peak_memory_bytes{memory="device"}', "peak, {{device}}, {{instance}}"),
                ),
                "bytes",
            ),
            Panel(
                "Clean-ups a minute",
                "Times that held and unused memory was given back.",
                (Query(a_minute("animegan_cleanups_total"), "clean-ups"),),
            ),
            Panel(
                "Disk of uploads and results",
                "Of the gateway's folder.",
                (
                    Query("animegan_gateway_disk_free_bytes", "free, {{instance}}"),
                    Query("max(animegan_gateway_stored_bytes)", "uploads and results"),
                ),
                "bytes",
            ),
        ),
    ),
    Row(
        "Workers",
        (),
        (
            Panel(
                "Workers, by state",
                "Of all TorchServes, and how many there should be.",
                (
                    Query("sum by (state) (animegan_agent_workers)", "{{state}}"),
                    Query("sum(animegan_agent_workers_wanted)", "wanted"),
                ),
            ),
            Panel(
                "Places",
                "Pictures that the gateway may send at one time, and requests that wait inside TorchServe.",
                (
                    Query("max(animegan_gateway_torchserve_width)", "places"),
                    Query("sum(animegan_agent_queue_pending)", "pending"),
                ),
            ),
            Panel(
                "Ready and paused",
                "By TorchServe. Paused: it is being drained, or a worker replaced.",
                (
                    Query("animegan_agent_ready", "ready, {{instance}}"),
                    Query("animegan_agent_paused", "paused, {{instance}}"),
                ),
            ),
            Panel(
                "Replaced workers within an hour",
                "By result. put_off: there was no room, or it was never idle.",
                (Query("sum by (result) (increase(animegan_agent_recycles_total[1h]))", "{{result}}"),),
            ),
            Panel(
                "Duration of a replacement",
                "Mean of an hour; 0 where there was none.",
                (
                    Query(
                        "sum(increase(animegan_agent_recycle_seconds_sum[1h])) "
                        "/ sum(increase(animegan_agent_recycle_seconds_count[1h])) > 0 or vector(0)",
                        "seconds",
                    ),
                ),
                "s",
            ),
            Panel(
                "Workers that died within an hour",
                "Ended, and not by the agent.",
                (Query("increase(animegan_agent_worker_restarts_total[1h])", "{{instance}}"),),
            ),
        ),
    ),
    Row(
        "Errors",
        (),
        (
            Panel(
                "Attempts a minute, by outcome",
                "What became of pictures that were sent to TorchServe; all but drawn and refused is tried again.",
                (Query(a_minute("animegan_gateway_attempts_total", "outcome"), "{{outcome}}"),),
            ),
            Panel(
                "Failed jobs a minute, by reason",
                "A status of 4xx is the picture's fault, 5xx is ours.",
                (Query(a_minute("animegan_gateway_jobs_failed_total", "reason, status"), "{{status}} {{reason}}"),),
            ),
            Panel(
                "Out of memory, pictures a minute",
                "Recovered: drawn in smaller bands. Refused: tried again later, alone.",
                (
                    Query(a_minute("animegan_out_of_memory_recoveries_total"), "recovered"),
                    Query(a_minute('animegan_pictures_total{result="out_of_memory"}') + " or vector(0)", "refused"),
                ),
            ),
            Panel(
                "Answers of TorchServe a minute, by status",
                "Its own count, with what the agent asks of it.",
                tuple(Query(f"{a_minute(f'Requests{kind}XX')} or vector(0)", f"{kind}xx") for kind in (2, 4, 5)),
            ),
        ),
    ),
)
