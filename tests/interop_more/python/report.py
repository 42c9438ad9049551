"""What every client program here prints: "ok NAME" or "FAILED NAME: why" for each thing tried; it ends with 1 when one failed."""
import os
import sys
import time
import traceback
import uuid

failed = []


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def step(name, work, *args):
    try:
        work(*args)
        print("ok", name, flush=True)
    except BaseException as e:
        failed.append(name)
        traceback.print_exc()
        print(f"FAILED {name}: {e!r}".replace("\n", " "), flush=True)


def same(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} instead of {wanted!r}")


def wait(done, what, seconds=60):
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def end():
    sys.stderr.flush()
    os._exit(1 if failed else 0)
