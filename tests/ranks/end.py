"""Under torchrun: rank 1 ends with the exit code of the first argument, with `kill` by force; with `wait`, all wait for a signal."""

import os
import signal
import sys
import time

if __name__ == "__main__":
    sys.stdout.write(f"rank {os.environ['RANK']} {sys.argv[1]}\n")
    sys.stdout.flush()
    if sys.argv[1] == "wait":
        time.sleep(120)
    elif os.environ["RANK"] == "1":
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(int(sys.argv[1]))
