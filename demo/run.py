"""`make demo`: start the server, ask it about the picture in $IMAGE, show what it says, stop the server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

OUTPUT = Path("demo-output")
ASTRONAUT = Path("demo/astronaut.jpg")
PORTRAIT = ["--box", "20,10,370,500", "--joint-threshold", "0.6"]
"""A box for the portrait, and a threshold: the joints that are not in the picture score low."""

POSEGLASS = str(Path(sys.executable).with_name("poseglass"))


def main() -> int:
    """Run the demo; the exit status is that of the client."""
    image = os.environ["IMAGE"]
    server = subprocess.Popen([POSEGLASS, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        address = re.search(r"127\.0\.0\.1:\d+", ready)
        if address is None:
            print(f"the server did not start: {ready.strip() or 'see above'}", file=sys.stderr)
            return 1
        print(ready.strip())
        predict = ["predict", image, "--server", address[0], "--overlay", OUTPUT, "--heatmaps", OUTPUT]
        predict += PORTRAIT if Path(image) == ASTRONAUT else []
        return subprocess.run([POSEGLASS, *map(str, predict)], check=False).returncode
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        if OUTPUT.is_dir():
            print(f"pictures are in {OUTPUT}/")


if __name__ == "__main__":
    sys.exit(main())
