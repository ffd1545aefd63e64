"""Serve one of the apps beside this as ours is served: uvicorn with uvloop and httptools, one process, no access log."""

import os
import sys

import uvicorn

if __name__ == "__main__":
    uvicorn.run(
        f"{sys.argv[1]}:app",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )
