"""One party of `mpyc_sum`: a program of its own. Arguments: folder, party's number, bits."""

import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from mpyc.runtime import mpc


async def main(folder: Path, number: int, bits: int) -> None:
    """Share out the own vector, add all parties' shares, open the sum."""
    # MPyC would listen on every network interface.
    mpc._loop.create_server = functools.partial(mpc._loop.create_server, host="localhost")
    own = np.load(folder / f"{number}.npy")
    await mpc.start()
    began = time.perf_counter()
    integers = mpc.SecInt(bits)
    shares = mpc.input(integers.array(own.astype(object)))
    total = await mpc.output(functools.reduce(lambda a, b: a + b, shares))
    seconds = time.perf_counter() - began
    sent = sum(p.protocol.nbytes_sent for p in mpc.parties if p.pid != mpc.pid)
    await mpc.shutdown()
    np.save(folder / f"{number}.total.npy", np.array([int(x) for x in total], np.int64))
    report = {"seconds": seconds, "bytes": sent, "process": os.getpid()}
    (folder / f"{number}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    mpc.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
