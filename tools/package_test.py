#!/usr/bin/env python3
"""Unpacks a package into a clean directory, starts it with its own default config, passes a message through it, stops it."""
import os
import re
import subprocess
import sys
import tarfile
import tempfile


def main():
    with tempfile.TemporaryDirectory(prefix="robustmq-package-") as home:
        with tarfile.open(sys.argv[1]) as tar:
            tar.extractall(home)
        root = os.path.join(home, os.listdir(home)[0])
        program = lambda name: os.path.join(root, "bin", name)  # noqa: E731
        for name in ("LICENSE", "README.md", "robust.toml", "docs/reference/options.md"):
            assert os.path.exists(os.path.join(root, name)), f"{name} is not in the package"
        environment = {"PATH": os.environ["PATH"]}
        flags = [f"--{listener}.listen=127.0.0.1:0" for listener in ("mqtt", "kafka", "admin")] + ["--mqtt.listen_websocket=127.0.0.1:0"]
        server = subprocess.Popen([program("robust-server"), "start", "-c", "robust.toml", *flags], cwd=root, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            ports, said = {}, []
            for line in server.stdout:
                said.append(line)
                found = re.match(r"(\w+) listening on \S*:(\d+)", line)
                if found:
                    ports[found.group(1)] = found.group(2)
                if line.startswith("try: "):
                    break
            assert {"mqtt", "mqtt_websocket", "kafka", "admin"} <= ports.keys(), "the server did not start:\n" + "".join(said)
            sub = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", "-p", ports["mqtt"], "-t", "package/test", "-C", "1", "-d"], stdout=subprocess.PIPE,
                                   text=True)
            for line in sub.stdout:
                if line.startswith("Subscribed"):
                    break
            subprocess.run(["mosquitto_pub", "-p", ports["mqtt"], "-t", "package/test", "-q", "1", "-m", "it works"], check=True, timeout=20)
            out, _ = sub.communicate(timeout=20)
            assert "it works" in out, out
            health = subprocess.run([program("robust-ctl"), "-s", "127.0.0.1:" + ports["admin"], "health"], check=True, timeout=20,
                                    capture_output=True, text=True).stdout
            assert "ready" in health, health
            assert subprocess.run([program("robust-bench"), "--help"], capture_output=True, timeout=20).returncode == 0
            server.terminate()
            assert server.wait(30) == 0, "the server did not stop cleanly"
            assert os.path.isdir(os.path.join(root, "data")), "the data is not where the default says"
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
            server.stdout.close()
    print("package: started in a clean directory, a message passed, stopped: ok")


if __name__ == "__main__":
    main()
