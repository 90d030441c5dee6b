"""The replaying process: `python -m runner.track ROOT URI`."""

import sys
from pathlib import Path

from runner.track.follow import main

main(Path(sys.argv[1]), sys.argv[2])
