"""The options of `poseglass serve` about who may come in, how much one caller may take up, and what is told outside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poseglass_runtime.images import MOST_PIXELS
from poseglass_server.logs import LogFormat, LogLevel

DOORS, LIMITS, OUTSIDE = "Doors", "Limits", "Seen from outside"

MOST_CALLS, LONGEST_S = 1_000_000, 1_000_000
"""Of one caller; and seconds. gRPC holds both, in milliseconds, in 32 bits."""

TlsCertificate = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="PEM certificate (chain); serve over TLS.", rich_help_panel=DOORS),
]
TlsKey = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM key of the certificate.", rich_help_panel=DOORS)
]
TlsClientCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-ca",
        metavar="FILE",
        help="PEM authorities; only clients with a certificate of theirs come in.",
        rich_help_panel=DOORS,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FILE",
        help="Who may come in, one a line: NAME TOKEN \\[admin]. None: everybody, and operators from this machine.",
        rich_help_panel=DOORS,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Let other machines in without TLS; see --host.", rich_help_panel=DOORS),
]

MaxMessage = Annotated[
    int,
    typer.Option(
        "--max-message-mb",
        min=1,
        max=1023,
        help="Largest message in MiB, both ways; set it on the client too.",
        rich_help_panel=LIMITS,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels", min=1, max=MOST_PIXELS, help="Largest picture, width x height.", rich_help_panel=LIMITS
    ),
]
MaxBoxes = Annotated[int, typer.Option("--max-boxes", min=1, help="Most people in a picture.", rich_help_panel=LIMITS)]
MaxStreams = Annotated[
    int,
    typer.Option(
        "--max-streams", min=1, max=MOST_CALLS, help="Streams that one caller has open.", rich_help_panel=LIMITS
    ),
]
MaxRequests = Annotated[
    int,
    typer.Option(
        "--max-requests",
        min=1,
        max=MOST_CALLS,
        help="Other calls that one caller has in progress.",
        rich_help_panel=LIMITS,
    ),
]
MaxConnectionAge = Annotated[
    float | None,
    typer.Option(
        "--max-connection-age",
        metavar="SECONDS",
        min=1,
        max=LONGEST_S,
        help="Then clients connect anew, and find new replicas. None: never.",
        rich_help_panel=LIMITS,
    ),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Tell Prometheus of the server over HTTP. None: do not; 0: any free port.",
        rich_help_panel=OUTSIDE,
    ),
]
MetricsHost = Annotated[
    str | None,
    typer.Option(
        "--metrics-host",
        help="Address for --metrics-port; 0.0.0.0: every one. Default: 127.0.0.1.",
        rich_help_panel=OUTSIDE,
    ),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Text, or JSON with an object a line.", rich_help_panel=OUTSIDE)
]
LogLevelOption = Annotated[
    LogLevel,
    typer.Option(
        "--log-level", help="info: calls that failed; debug: also those that did not.", rich_help_panel=OUTSIDE
    ),
]
