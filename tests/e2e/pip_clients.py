"""PyPI's confluent-kafka, which brings a librdkafka of today with it, installed into .deps/ beside the sources."""
import glob
import importlib
import os
import subprocess
import sys
import unittest

from broker import REPO

DEPS = os.path.join(REPO, ".deps", "pip")
PACKAGE = "confluent-kafka>=2.12"  # the first with KIP-848 for every day


def confluent_kafka():
    """The module. Raises SkipTest where it cannot be had."""
    if not glob.glob(os.path.join(DEPS, "confluent_kafka*")):
        os.makedirs(DEPS, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
                   "--target", DEPS, PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        except subprocess.TimeoutExpired as late:
            raise unittest.SkipTest("PyPI gave no confluent-kafka in time: consumer groups of KIP-848 are not driven by librdkafka") from late
        if done.returncode:
            raise unittest.SkipTest(f"there is no confluent-kafka to be had: {done.stderr.strip()[-200:]}")
    sys.path.insert(0, DEPS)
    try:
        return importlib.import_module("confluent_kafka")
    finally:
        sys.path.remove(DEPS)
