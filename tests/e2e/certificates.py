"""Throw-away authorities and certificates, made with the openssl command."""
import os
import subprocess


def run(*command):
    done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(command)}: {done.stderr}"
    return done.stdout


class Authority:
    """In its folder: ca.pem, and what issue() makes: <name>.pem and <name>.key."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca, self._ca_key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/CN=test {name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", self._ca_key, "-out", self.ca)

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, common_name, name=None):
        """Paths of the certificate and its key; made anew each time."""
        name = name or common_name
        certificate, key, request, extensions = (self.path(f"{name}.{kind}") for kind in ("pem", "key", "csr", "ext"))
        with open(extensions, "w") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={common_name}", "-keyout", key, "-out",
            request)
        run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key, "-CAcreateserial", "-days", "30", "-extfile", extensions,
            "-out", certificate + ".new")
        os.replace(certificate + ".new", certificate)
        return certificate, key


def served_subject(port, *more):
    """Subject of the certificate that is served on `port` now."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more], input="", capture_output=True, text=True,
                          check=False, timeout=20)
    subjects = [line for line in done.stdout.splitlines() if line.startswith("subject=")]
    return subjects[0].split("CN = ")[-1] if subjects else ""
