"""One story a file. `run(world)` tells it; the list of those that run is in `harness/cases.py`."""
