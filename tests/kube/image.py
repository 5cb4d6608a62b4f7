"""The Containerfile, as far as it can be judged without an engine: what it copies is there, its build line is one that cargo takes, and the program needs nothing that its base does not have."""

import fnmatch
import re
import shlex
import subprocess

import container

COLUMN = "image"
# The one whom the chart runs pods as.
USER = (65532, 65532)
# Shared libraries of gcr.io/distroless/cc-debian12: glibc, libgcc and libstdc++, OpenSSL.
BASE = ["ld-linux-*.so.*", "libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1", "libssl.so.3", "libcrypto.so.3"]


def stages():
    """Its instructions, stage by stage."""
    text = re.sub(r"\\\n", " ", container.CONTAINERFILE.read_text())
    return [re.findall(r"^([A-Z]+) +(.*)$", "FROM " + stage, flags=re.M) for stage in re.split(r"^FROM ", text, flags=re.M)[1:]]


def cargo():
    """The words of its build line behind `cargo build`."""
    (words,) = [rest.split("cargo build", 1)[1].split("&&")[0] for word, rest in stages()[0] if word == "RUN" and "cargo build" in rest]
    return shlex.split(words)


def option(words, name):
    return words[words.index(name) + 1]


def builds():
    """The build line: its package, features and profile exist, and nothing has to be looked up that the lock file does not have."""
    words = cargo()
    assert "--locked" in words, "the image is not built from the lock file"
    asked = ["cargo", "tree", "--locked", "--quiet", "--edges", "normal,build", "--prefix", "none", "--package", option(words, "--package"), "--features", option(words, "--features")]
    ended = subprocess.run(asked, cwd=container.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stderr[-600:]
    assert re.search(r"^openssl-sys ", ended.stdout, flags=re.M), "the image's Kafka client cannot do TLS"
    manifest = (container.ROOT / "Cargo.toml").read_text()
    profile = option(words, "--profile")
    assert f"[profile.{profile}]" in manifest, f"there is no profile {profile}"
    installed = next(rest for word, rest in stages()[0] if word == "RUN" and "cargo build" in rest)
    assert f"target/{profile}/waybill" in installed, "the program is looked for in the folder of another profile"
    image, wanted = re.search(r"rust:(\d+)\.(\d+)", stages()[0][0][1]), re.search(r'^rust-version = "(\d+)\.(\d+)', manifest, flags=re.M)
    assert tuple(map(int, image.groups())) >= tuple(map(int, wanted.groups())), f"{image[0]} is older than what the workspace wants"


def context():
    """Nothing that is under version control is kept from the build, and nothing secret comes into it."""
    ignored = [line.strip() for line in (container.ROOT / ".dockerignore").read_text().splitlines() if line.strip() and not line.startswith("#")]
    kept = subprocess.run(["git", "ls-files"], cwd=container.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    # A pattern is anchored at the context's root; `**/` is any depth.
    patterns = [re.compile(("(.*/)?" if pattern.startswith("**/") else "") + fnmatch.translate(pattern.removeprefix("**/"))[:-2].replace(".*", "[^/]*") + "(/.*)?$") for pattern in ignored]
    lost = [file for file in kept if file and any(pattern.match(file) for pattern in patterns)]
    assert not lost, f"kept from the build: {lost}"
    for file in (".cargo/config.toml", "Cargo.lock", "deploy/compose/secrets/pepper"):
        is_kept_out = any(pattern.match(file) for pattern in patterns)
        assert is_kept_out == file.startswith("deploy/compose/secrets"), f"{file} is {'not ' if is_kept_out else ''}in the build"


def runs(programs):
    """The last stage: the user of the pods, and the libraries that the program asks for."""
    copied = [rest.split()[-1] for word, rest in stages()[-1] if word == "COPY"]
    image = container.image(programs / "waybill")
    assert image.user == USER and image.entrypoint[0] in copied, "another user than the pods', or a program that is not there"
    needs = [file.name for file in container.libraries(programs / "waybill")]
    lacks = [name for name in needs if not any(fnmatch.fnmatch(name, known) for known in BASE)]
    assert not lacks, f"the base image does not have {lacks}"


def check(report, programs):
    report.check("the build line is one that cargo takes", COLUMN, builds)
    report.check("the build gets all that it needs and no secret", COLUMN, context)
    report.check("the program needs what the base image has", COLUMN, lambda: runs(programs))
