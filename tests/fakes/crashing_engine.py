"""The engine's process as it is, but one that dies of SIGSEGV, or hangs, on events whose id says so.

`crash-always-…` kills it each time, `hang-always-…` makes it stand still each time; `crash-once-…` kills it
only while the file named by the second argument is not there. On `wait-once-…` it makes that file, if it is a
named pipe by writing to it, and stands still until it is killed from outside.

A rule set that has `crashes-when-tried` in its text kills it when it is tried.
"""

import os
import signal
import sys
from pathlib import Path

from rapport.types.v1 import stream_pb2

from services.decision.adapters.engine_child import make_jobs, serve


def main():
    rules, marker, descriptor = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def fail_on(event):
        if event.id.startswith("hang-always"):
            signal.pause()
        if event.id.startswith("wait-once") and marker.is_fifo():
            told = marker.open("w")
            marker.unlink()
            told.close()
            signal.pause()
        once = event.id.startswith("crash-once") and not marker.exists()
        if once:
            marker.touch()
        if once or event.id.startswith("crash-always"):
            os.kill(os.getpid(), signal.SIGSEGV)

    def make(progress):
        jobs = dict(make_jobs(rules)(progress))
        evaluate = jobs["evaluate"]

        def crashing(payloads, stored_arms):
            position = 0
            for payload in payloads:
                for event in stream_pb2.EventBatch.FromString(payload).events:
                    progress.at(position)
                    fail_on(event)
                    position += 1
            return evaluate(payloads, stored_arms)

        def tried(context, text, file, version, generated):
            if generated and "crashes-when-tried" in text:
                os.kill(os.getpid(), signal.SIGSEGV)
            return jobs["check"](context, text, file, version, generated)

        return {**jobs, "evaluate": crashing, "check": tried}

    serve(descriptor, make)


if __name__ == "__main__":
    main()
