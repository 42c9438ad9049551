"""Where what is driven comes from: Maven Central, PyPI, the Go proxy and crates.io, each asked once; what came is kept under build/interop."""
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(REPO, "build", "interop")


class LeftOut(Exception):
    """A part cannot run here; says which registry or program is missing."""


def run(command, what, timeout=600, **more):
    """Runs a command that brings or builds something. LeftOut when it is not there or does not succeed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **more)
    except FileNotFoundError:
        raise LeftOut(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LeftOut(f"{what}: nothing within {timeout} s") from None
    if done.returncode:
        raise LeftOut(f"{what}: {(done.stderr or done.stdout).strip()[-300:]}")


def stamped(directory, bring):
    """Calls bring() unless it has succeeded before."""
    stamp = os.path.join(directory, ".complete")
    if not os.path.exists(stamp):
        os.makedirs(directory, exist_ok=True)
        bring()
        with open(stamp, "w"):
            pass
    return directory


def jars(version, whole=True):
    """The class path of Kafka's jars in a version."""
    directory = os.path.join(KEPT, "java", version + ("" if whole else "-clients"))
    profiles = ["-Pwhole"] * whole + ["-Plog4j2"] * (not version.startswith("3."))
    command = ["mvn", "-q", "-B", "-f", os.path.join(HERE, "pom.xml"), *profiles, f"-Dkafka={version}", "dependency:copy-dependencies",
               f"-DoutputDirectory={directory}"]
    return os.path.join(stamped(directory, lambda: run(command, "Maven Central is not at hand")), "*")


BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # Java's options for what runs briefly


def java(class_path, main, *args, heap="512m", options=BRIEF):
    """The command that runs a main class."""
    log = [f"-Dlog4j2.configurationFile={HERE}/log4j2.properties", f"-Dlog4j.configuration=file:{HERE}/log4j.properties"]
    return ["java", *options, f"-Xmx{heap}", *log, "-cp", class_path, main, *args]


def classes(version, class_path, *names):
    """Our Java programs, compiled against a class path; the class path to run them with."""
    directory = os.path.join(KEPT, "classes", version, names[-1])
    sources = [os.path.join(HERE, "java", name + ".java") for name in names]
    if not os.path.exists(os.path.join(directory, names[-1] + ".class")) or max(map(os.path.getmtime, sources)) > os.path.getmtime(directory):
        run(["javac", "-nowarn", "-d", directory, "-cp", class_path, *sources], "our Java programs do not compile")
        os.utime(directory)
    return directory + os.pathsep + class_path


def wheel(requirement):
    """The directory of a package of PyPI."""
    directory = os.path.join(KEPT, "python", requirement)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", directory, requirement]
    return stamped(directory, lambda: run(command, "PyPI is not at hand"))


def go(name):
    """The program go/NAME, built with what all share (go/report); its modules are kept beside it."""
    source, out = os.path.join(HERE, "go", name), os.path.join(KEPT, "go", name)
    env = {**os.environ, "GOMODCACHE": os.path.join(KEPT, "go", "modules"), "GOFLAGS": "-modcacherw"}
    if not os.path.exists(out) or max(map(os.path.getmtime, glob.glob(source + "/*") + glob.glob(HERE + "/go/report/*"))) > os.path.getmtime(out):
        run(["go", "build", "-p", "2", "-o", out, "."], "the Go proxy is not at hand", cwd=source, env=env)
    return out


def rust(name):
    """The program rust/NAME, built; crates are kept where cargo keeps them."""
    source, out = os.path.join(HERE, "rust"), os.path.join(KEPT, "rust")
    run(["cargo", "build", "--quiet", "--locked", "-j", "2", "--manifest-path", os.path.join(source, "Cargo.toml"), "-p", name + "-client", "--target-dir", out],
        "crates.io is not at hand", timeout=1800)
    return os.path.join(out, "debug", name + "-client")
