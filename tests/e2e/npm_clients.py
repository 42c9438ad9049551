"""npm's mqtt and kafkajs, installed into .deps/ beside the sources, and the scripts that use them."""
import os
import shutil
import subprocess
import unittest

from broker import REPO

DEPS = os.path.join(REPO, ".deps", "npm")
PACKAGES = ("mqtt@5", "kafkajs@2")


def install():
    """Raises SkipTest where they cannot be had."""
    if not shutil.which("npm") or not shutil.which("node"):
        raise unittest.SkipTest("npm is not on the PATH: the npm clients mqtt and kafkajs are not tested")
    if not all(os.path.isdir(os.path.join(DEPS, "node_modules", p.split("@")[0])) for p in PACKAGES):
        os.makedirs(DEPS, exist_ok=True)
        done = subprocess.run(["npm", "install", "--prefix", DEPS, "--no-audit", "--no-fund", *PACKAGES], capture_output=True, text=True,
                              check=False, timeout=180)
        if done.returncode:
            raise unittest.SkipTest(f"the npm registry gave no {' and '.join(PACKAGES)}: {done.stderr.strip()[-200:]}")


def run(test, script, **variables):
    """Runs npm/<script> with these variables in its environment."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm", script)
    env = {**os.environ, "NODE_PATH": os.path.join(DEPS, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1", **variables}
    done = subprocess.run(["node", path], env=env, capture_output=True, text=True, check=False, timeout=90)
    test.assertEqual(done.returncode, 0, f"{script}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
