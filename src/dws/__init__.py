"""Learning in deep weight spaces: networks whose input is the weights of another network."""

import os

__version__ = "0.1.0"

# OpenMP reads this when torch is loaded. Threads that spin while they wait for each other take the
# processor from the thread they wait for as soon as anything else runs on the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
